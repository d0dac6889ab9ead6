// The picture while there is none: viewers of a show with its camera off see the mark, and every output goes on having frames.

const WIDTH = 1280;
const HEIGHT = 720;
/** A still picture costs an encoder nearly nothing; fewer frames than this and players would think that it stalls. */
const FRAMES_PER_SECOND = 10;

/** Runs until its track is stopped. */
export function slate(): MediaStreamTrack | null {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { alpha: false });
  const track = context && "captureStream" in canvas ? canvas.captureStream(FRAMES_PER_SECOND).getVideoTracks()[0] : undefined;
  if (!context || !track) return null;
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  draw(context);
  const timer = window.setInterval(() => {
    if (track.readyState === "ended") return window.clearInterval(timer);
    draw(context);
  }, 1000 / FRAMES_PER_SECOND);
  return track;
}

function draw(context: CanvasRenderingContext2D): void {
  context.fillStyle = "#150f0d";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  diamond(context, 600, 316, 40, "#f6b24a");
  diamond(context, 600, 404, 40, "#f6b24a");
  diamond(context, 688, 360, 48, "#f4543f");
}

function diamond(context: CanvasRenderingContext2D, x: number, y: number, radius: number, fill: string): void {
  context.fillStyle = fill;
  context.beginPath();
  context.moveTo(x, y - radius);
  context.lineTo(x + radius, y);
  context.lineTo(x, y + radius);
  context.lineTo(x - radius, y);
  context.fill();
}
