//! Names and labels of this plane's counters. No label ever holds an id or an address.

/// RTMP connections open now.
pub const RTMP_CONNECTIONS: &str = "chobi_rtmp_connections";
/// RTMP connections closed, by `reason`.
pub const RTMP_CLOSED: &str = "chobi_rtmp_connections_closed_total";
/// Publish attempts refused, by `reason`.
pub const PUBLISH_REFUSED: &str = "chobi_publish_refused_total";
/// Bytes read from publishers, by `protocol`.
pub const INGEST_BYTES: &str = "chobi_ingest_bytes_total";
/// Frames written to the hub, by `kind` (video, audio).
pub const INGEST_FRAMES: &str = "chobi_ingest_frames_total";
/// Bodies of publications that were no use, by `reason`.
pub const INGEST_SKIPPED: &str = "chobi_ingest_skipped_total";
/// Time jumps in publications, by `mend` (smoothed, rebased, discontinuity).
pub const INGEST_TIME_JUMPS: &str = "chobi_ingest_time_jumps_total";
/// Broadcasts by `state` (live, interrupted).
pub const BROADCASTS: &str = "chobi_broadcasts";
/// Publishers replaced by the same identity.
pub const TAKEOVERS: &str = "chobi_takeovers_total";
/// Frames a subscriber did not get because its queue was full.
pub const SUBSCRIBER_DROPPED: &str = "chobi_subscriber_dropped_frames_total";
/// HLS answers, by `what` (multivariant, playlist, part, segment, init) and `status`.
pub const HLS_REQUESTS: &str = "chobi_hls_requests_total";
/// Bytes served over HLS.
pub const HLS_BYTES: &str = "chobi_hls_bytes_total";
/// Segments closed.
pub const HLS_SEGMENTS: &str = "chobi_hls_segments_total";
/// Segments that could not be kept on disk.
pub const STORE_FAILURES: &str = "chobi_store_failures_total";
/// Viewers present now, by `transport`.
pub const VIEWERS: &str = "chobi_viewers";
