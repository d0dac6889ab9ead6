// A phone that falls asleep ends a show: the screen stays on while it lasts, where the browser knows how (W3C Screen Wake Lock).

let wanted = false;
let lock: WakeLockSentinel | null = null;

export function stayAwake(on: boolean): void {
  wanted = on;
  if (!on) {
    void lock?.release().catch(() => undefined);
    lock = null;
  } else void hold();
}

async function hold(): Promise<void> {
  if (!wanted || lock || document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
  lock = await navigator.wakeLock.request("screen").catch(() => null);
  // Taken away when the tab is hidden, to be asked for again.
  lock?.addEventListener("release", () => (lock = null));
  if (!wanted) stayAwake(false);
}

document.addEventListener("visibilitychange", () => void hold());
