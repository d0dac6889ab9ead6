// The picture of a show where a cover was: shown once it is there, changed for a newer one without a flicker. Without one, or when
// it cannot be loaded, the generated cover stays.
import { reachable } from "../address.js";
import { h } from "../dom.js";
import { cover } from "./cover.js";

/** The server makes a picture in ten seconds; all who ask within them ask for the same address. */
const MOMENT_MS = 10_000;

/** `holder`: its first child is the cover or the picture. `address`: null while there is no picture. */
export function showPicture(holder: HTMLElement, id: string, address: string | null | undefined): void {
  const shown = holder.firstElementChild;
  if (!address) {
    if (!(shown instanceof SVGElement)) replaceFirst(holder, cover(id));
    return;
  }
  if (!shown) holder.prepend(cover(id));
  const url = reachable(address);
  url.searchParams.set("at", String(Math.floor(Date.now() / MOMENT_MS)));
  if (holder.dataset["picture"] === url.href || !isNear(holder)) return;
  holder.dataset["picture"] = url.href;
  const image = h("img", { src: url.href, alt: "", decoding: "async", class: "cover-art" });
  const isWanted = (): boolean => holder.dataset["picture"] === url.href;
  image.decode().then(
    () => isWanted() && replaceFirst(holder, image),
    () => isWanted() && delete holder.dataset["picture"],
  );
}

function replaceFirst(holder: HTMLElement, element: Element): void {
  if (holder.firstElementChild) holder.firstElementChild.replaceWith(element);
  else holder.prepend(element);
}

/** What is far from the screen is not worth a download; it is asked about again with the next list. */
function isNear(holder: HTMLElement): boolean {
  if (!holder.isConnected) return true;
  const box = holder.getBoundingClientRect();
  return box.bottom > -window.innerHeight && box.top < 2 * window.innerHeight;
}
