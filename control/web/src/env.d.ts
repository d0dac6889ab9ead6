/** Address of hls.js's worker script, put in by build.mjs. */
declare const HLS_WORKER_URL: string;
