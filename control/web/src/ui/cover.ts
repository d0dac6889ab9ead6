// A cover for a show without a thumbnail: the star-and-cross tiling of old courtyards, in colours drawn from the show's id.
import { svg } from "../dom.js";
import { fingerprint } from "./avatar.js";

/** Crosses, stars, the stars' hearts, and the one star that is lit. Each row was chosen to sit well under white text. */
const PALETTES = [
  ["#3d1420", "#7a1f2e", "#e2a24a", "#f25c45"],
  ["#10302f", "#1d5a54", "#e6b45c", "#f07a4f"],
  ["#2a1a3d", "#54306b", "#f0a15a", "#ef5d5d"],
  ["#3a2210", "#8a4b1c", "#f4d08a", "#e4572e"],
  ["#16243f", "#2c4a78", "#f0b35e", "#ea5f4a"],
  ["#33121a", "#9c3a2b", "#f3c27b", "#2f9c8c"],
] as const;

const WIDTH = 320;
const HEIGHT = 180;
/** Inner to outer radius of the star made by two crossed squares. */
const STAR_WAIST = Math.cos(Math.PI / 4) / Math.cos(Math.PI / 8);

function star(x: number, y: number, radius: number, fill: string, waist = STAR_WAIST): SVGElement {
  const points = Array.from({ length: 16 }, (_, i) => {
    const r = i % 2 === 0 ? radius : radius * waist;
    const angle = (i * Math.PI) / 8;
    return `${(x + r * Math.cos(angle)).toFixed(1)},${(y + r * Math.sin(angle)).toFixed(1)}`;
  });
  return svg("polygon", { points: points.join(" "), fill });
}

export function cover(id: string): SVGElement {
  let seed = fingerprint(id);
  const draw = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const [ground, stars, hearts, lit] = PALETTES[draw(PALETTES.length)] ?? PALETTES[0];
  const cell = [40, 52, 64][draw(3)] ?? 52;
  const shift = draw(cell);
  const columns = Math.ceil(WIDTH / cell) + 1;
  const rows = Math.ceil(HEIGHT / cell) + 1;
  const litAt = draw(columns * rows);
  const heart = draw(2) === 0 ? 0.36 : 0.5;
  const tiles: SVGElement[] = [svg("rect", { width: WIDTH, height: HEIGHT, fill: ground })];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const x = column * cell - shift / 2;
      const y = row * cell - shift / 3;
      const isLit = row * columns + column === litAt;
      tiles.push(star(x, y, cell / 2, isLit ? lit : stars));
      tiles.push(star(x, y, (cell / 2) * heart, isLit ? hearts : ground, draw(3) === 0 ? 0.5 : STAR_WAIST));
      if ((row + column) % 2 === 0) tiles.push(star(x, y, cell * 0.07, hearts));
    }
  }
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "xMidYMid slice", class: "cover-art", "aria-hidden": "true" }, ...tiles);
}
