// Reads the wall clock that the publisher drew into the picture (harness/picture.rs): how old is the frame on the screen now?
// This is independent of every timestamp on the way.

/** Runs inside the page. Fills `clockReadings` with one delay in ms per frame shown. */
export function installClockReader() {
  const BITS = 20;
  const WRAP_MS = 2 ** BITS;
  const video = document.querySelector("video");
  const canvas = new OffscreenCanvas(BITS, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  globalThis.clockReadings = [];
  const onFrame = () => {
    // The ruler is the top 32 of 360 lines, one block per bit, lowest first. Its middle third is far from any blurred edge.
    const { videoWidth, videoHeight } = video;
    const line = videoHeight / 360;
    context.drawImage(video, 0, 11 * line, videoWidth, 10 * line, 0, 0, BITS, 1);
    const { data } = context.getImageData(0, 0, BITS, 1);
    let drawnAt = 0;
    for (let bit = 0; bit < BITS; bit++) if (data[bit * 4] > 127) drawnAt += 2 ** bit;
    globalThis.clockReadings.push((Date.now() - drawnAt) % WRAP_MS);
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}
