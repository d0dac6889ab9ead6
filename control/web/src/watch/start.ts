// Beginning to play, as far as the browser allows it before anybody has touched the page.

/** With sound when the browser lets us, else muted. `false`: it waits for a touch. */
export async function start(video: HTMLVideoElement): Promise<boolean> {
  try {
    await video.play();
  } catch (error) {
    if ((error as DOMException).name !== "NotAllowedError") return true;
    if (video.muted) return false;
    video.muted = true;
    return start(video);
  }
  return true;
}
