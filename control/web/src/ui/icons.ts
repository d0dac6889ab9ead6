// The few line icons of the player and the forms, on a grid of 24.
import { svg } from "../dom.js";

const PATHS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M8 5.5v13M16 5.5v13",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11",
  muted: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9.5l5 5M21 9.5l-5 5",
  fullscreen: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  leaveFullscreen: "M9 4v5H4M15 4v5h5M9 20v-5H4M15 20v-5h5",
  picture: "M3.5 5.5h17v13h-17zM12 12h6v4.5h-6z",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 9.3a2.7 2.7 0 1 0 0 5.4 2.7 2.7 0 0 0 0-5.4z",
  share: "M12 15V4M8 7.5 12 3.5l4 4M5 12.5v7h14v-7",
  send: "M20.5 3.5 3.5 10.5l7 3 3 7zM20.5 3.5l-10 10",
  close: "M5.5 5.5l13 13M18.5 5.5l-13 13",
  broadcast: "M12 10.4a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2zM8.3 8.3a5.2 5.2 0 0 0 0 7.4M15.7 8.3a5.2 5.2 0 0 1 0 7.4M5.4 5.4a9.3 9.3 0 0 0 0 13.2M18.6 5.4a9.3 9.3 0 0 1 0 13.2",
  copy: "M8.5 8.5v-4h11v11h-4M4.5 8.5h11v11h-11z",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGElement {
  const drawing = svg("path", { d: PATHS[name], fill: name === "play" ? "currentColor" : "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round" });
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true", "data-icon": name }, drawing);
}

/** Puts the icons into the buttons that the html only names: <button data-icon="play">. */
export function fillIcons(root: ParentNode = document): void {
  for (const place of root.querySelectorAll<HTMLElement>("[data-icon]:not(svg)")) {
    place.prepend(icon(place.dataset["icon"] as IconName));
  }
}

export function swapIcon(place: HTMLElement, name: IconName): void {
  const shown = place.querySelector("svg");
  if (shown?.getAttribute("data-icon") !== name) shown?.replaceWith(icon(name));
}
