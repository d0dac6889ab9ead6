// The wall clock of HLS that the browser plays by itself.

/** Safari knows the wall clock of a playlist's start (EXT-X-PROGRAM-DATE-TIME); the standard element type does not list it. */
export interface DatedVideo extends HTMLVideoElement {
  getStartDate?: () => Date;
}

/** When the picture on screen was taken, in milliseconds since 1970; null while unknown. */
export function takenAt(video: DatedVideo): number | null {
  const start = video.getStartDate?.().getTime();
  return start === undefined || Number.isNaN(start) ? null : start + video.currentTime * 1000;
}
