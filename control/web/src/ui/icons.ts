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
  download: "M12 4v11.5M8 11.5l4 4 4-4M5 16.5v3h14v-3",
  send: "M20.5 3.5 3.5 10.5l7 3 3 7zM20.5 3.5l-10 10",
  close: "M5.5 5.5l13 13M18.5 5.5l-13 13",
  broadcast: "M12 10.4a1.6 1.6 0 1 0 0 3.2 1.6 1.6 0 0 0 0-3.2zM8.3 8.3a5.2 5.2 0 0 0 0 7.4M15.7 8.3a5.2 5.2 0 0 1 0 7.4M5.4 5.4a9.3 9.3 0 0 0 0 13.2M18.6 5.4a9.3 9.3 0 0 1 0 13.2",
  microphone: "M12 3.5a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0v-5a3 3 0 0 1 3-3zM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5v3.5M8.5 21h7",
  microphoneOff: "M9 9v2.5a3 3 0 0 0 4.6 2.5M15 10.5v-4a3 3 0 0 0-5.7-1.3M5.5 11a6.5 6.5 0 0 0 10.2 5.3M18.5 11a6.5 6.5 0 0 1-.6 2.7M12 17.5v3.5M8.5 21h7M3.5 3.5l17 17",
  camera: "M3 7.5a2 2 0 0 1 2-2h8.5a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2zM15.5 10.5l5.5-3.5v10l-5.5-3.5z",
  cameraOff: "M9 5.5h4.5a2 2 0 0 1 2 2v4.5M15.5 15.5v1a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-9a2 2 0 0 1 1.5-1.9M15.5 10.5l5.5-3.5v10l-3.5-2.2M3.5 3.5l17 17",
  screen: "M3.5 4.5h17v11.5h-17zM8.5 20.5h7M12 16v4.5M12 13V7.5M9.5 9.8 12 7.3l2.5 2.5",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.7a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6zM9 14.7a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6z",
  external: "M13.5 4.5h6v6M19.5 4.5l-9 9M10 5.5H5.5v13h13V14",
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
