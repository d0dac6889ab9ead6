//! Names and labels of this plane's counters. No label ever holds an id or an address.

/// RTMP connections open now.
pub(crate) const RTMP_CONNECTIONS: &str = "chobi_rtmp_connections";
/// RTMP connections closed, by `reason`.
pub(crate) const RTMP_CLOSED: &str = "chobi_rtmp_connections_closed_total";
/// Publish attempts refused, by `reason`.
pub(crate) const PUBLISH_REFUSED: &str = "chobi_publish_refused_total";
/// Bytes read from publishers, by `protocol` (rtmp, rtmps).
pub(crate) const INGEST_BYTES: &str = "chobi_ingest_bytes_total";
/// Frames written to the hub, by `kind` (video, audio).
pub(crate) const INGEST_FRAMES: &str = "chobi_ingest_frames_total";
/// Bodies of publications that were no use, by `reason`.
pub(crate) const INGEST_SKIPPED: &str = "chobi_ingest_skipped_total";
/// Time jumps in publications, by `mend` (smoothed, rebased, discontinuity).
pub(crate) const INGEST_TIME_JUMPS: &str = "chobi_ingest_time_jumps_total";
/// Broadcasts by `state` (live, interrupted).
pub(crate) const BROADCASTS: &str = "chobi_broadcasts";
/// Publishers replaced by the same identity.
pub(crate) const TAKEOVERS: &str = "chobi_takeovers_total";
/// Frames a subscriber did not get because its queue was full.
pub(crate) const SUBSCRIBER_DROPPED: &str = "chobi_subscriber_dropped_frames_total";
/// HLS answers, by `what` (multivariant, playlist, part, segment, init, thumbnail, thumbnails, download,
/// download_progress) and `status`.
pub(crate) const HLS_REQUESTS: &str = "chobi_hls_requests_total";
/// Bytes served over HLS.
pub(crate) const HLS_BYTES: &str = "chobi_hls_bytes_total";
/// Segments closed.
pub(crate) const HLS_SEGMENTS: &str = "chobi_hls_segments_total";
/// Thumbnails made of keyframes.
pub(crate) const THUMBNAILS_MADE: &str = "chobi_thumbnails_made_total";
/// Keyframes that could not be decoded, or not made a thumbnail of.
pub(crate) const THUMBNAILS_FAILED: &str = "chobi_thumbnails_failed_total";
/// Keyframes for which there was no time: more shows than one core can picture. Each show tries again with its next segment.
pub(crate) const THUMBNAILS_DROPPED: &str = "chobi_thumbnails_dropped_total";
/// What the disk did not take of the shows, or did not give back for the bucket.
pub(crate) const STORE_FAILURES: &str = "chobi_store_failures_total";
/// Objects that the bucket has acknowledged.
pub(crate) const STORE_UPLOADS: &str = "chobi_store_uploads_total";
/// How long each of them took.
pub(crate) const STORE_UPLOAD_SECONDS: &str = "chobi_store_upload_seconds";
/// Attempts that failed, of objects and playlists, by `reason` (timed_out, unreachable, busy, denied, refused, other).
pub(crate) const STORE_UPLOAD_FAILURES: &str = "chobi_store_upload_failures_total";
/// Attempts that were not an object's first.
pub(crate) const STORE_UPLOAD_RETRIES: &str = "chobi_store_upload_retries_total";
/// Segments on the disk that the bucket lacks.
pub(crate) const STORE_BACKLOG_SEGMENTS: &str = "chobi_store_backlog_segments";
/// How much of the show that is furthest behind they are.
pub(crate) const STORE_BACKLOG_SECONDS: &str = "chobi_store_backlog_seconds";
/// Segments that the bucket's live playlists went on without: EXT-X-GAP there, until the replay has them.
pub(crate) const STORE_GAPS: &str = "chobi_store_gaps_total";
/// Bytes of objects on the disk while there is a bucket.
pub(crate) const STORE_SPOOL_BYTES: &str = "chobi_store_spool_bytes";
/// Viewers present now, by `transport`.
pub(crate) const VIEWERS: &str = "chobi_viewers";
/// WebRTC peers by `role` (viewer, publisher).
pub(crate) const WEBRTC_PEERS: &str = "chobi_webrtc_peers";
/// WebRTC peers that are gone, by `reason`.
pub(crate) const WEBRTC_CLOSED: &str = "chobi_webrtc_peers_closed_total";
/// Datagrams that were no use, by `reason`.
pub(crate) const WEBRTC_DROPPED: &str = "chobi_webrtc_dropped_datagrams_total";
/// Packets sent by the workers.
pub(crate) const WEBRTC_SENT: &str = "chobi_webrtc_sent_packets_total";
/// Packets the system would not take, and commands a busy worker had no room for.
pub(crate) const WEBRTC_SEND_FAILED: &str = "chobi_webrtc_unsent_packets_total";
/// Messages of several packets that the system would not cut, as where a peer's way takes smaller packets; they went singly.
pub(crate) const WEBRTC_UNCUT: &str = "chobi_webrtc_uncut_messages_total";
/// Bursts a busy worker had no room for; its viewers go on with the next keyframe.
pub(crate) const WEBRTC_BURSTS_DROPPED: &str = "chobi_webrtc_dropped_bursts_total";
/// Packets sent again because a viewer missed them.
pub(crate) const WHEP_RESENT: &str = "chobi_whep_resent_packets_total";
