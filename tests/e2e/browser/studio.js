// Runs inside the studio's page: what a host would see and read there, in one look.
globalThis.lookAround = () => {
  const text = (selector) => document.querySelector(selector)?.innerText ?? null;
  const shown = (selector) => document.querySelector(selector)?.checkVisibility() ?? false;
  const preview = document.querySelector("#preview");
  return {
    state: { ...document.documentElement.dataset },
    preview: { width: preview.videoWidth, frames: preview.getVideoPlaybackQuality().totalVideoFrames, muted: preview.muted },
    card: shown("#card") ? `${text("#card-title")}\n${text("#card-text")}\n${text("#card-code")}` : null,
    cameras: [...document.querySelectorAll("#cameras option")].map((option) => option.label),
    microphones: [...document.querySelectorAll("#microphones option")].map((option) => option.label),
    unfinished: [...document.querySelectorAll(".unfinished-title")].map((title) => title.innerText),
    ways: [...document.querySelectorAll("#show-form button[type=submit]")].length,
    chat: [...document.querySelectorAll(".chat-text")].map((line) => line.innerText),
    onAir: shown("#on-air") ? { title: text("#show-title"), address: text("#watch-address"), elapsed: text("#elapsed"), health: text("#health-title") } : null,
    /** Values of the copyable fields, and which of them lie open. */
    lines: [...document.querySelectorAll("#encoders-body input")].map(({ id, type, value }) => ({ id, type, value })),
    kept: JSON.parse(sessionStorage.getItem("chobi.studio.show") ?? "null"),
  };
};
