//! Tags of an FLV file (FLV 10.1 annex E.2 to E.4.1), for clips that are played into the hub.

use bytes::{Buf, Bytes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagKind {
    Audio,
    Video,
    Script,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlvTag {
    pub kind: TagKind,
    pub timestamp_ms: u32,
    /// Shares the clip's memory.
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClipError {
    #[error("not an FLV file")]
    NotFlv,
    #[error("the clip ends inside a tag at byte {at}")]
    Truncated { at: usize },
    #[error("the clip holds no media")]
    Empty,
}

/// All tags in order. Tags of unknown kinds are left out.
///
/// ```text
/// header   "FLV" version 1, flags 1, header size 4          each tag follows the size of the one before (4)
/// tag      kind 1, size 3, timestamp 3, its top byte 1, stream id 3, body
/// ```
pub fn read_tags(clip: &Bytes) -> Result<Vec<FlvTag>, ClipError> {
    const TAG_HEADER: usize = 11;
    let header_size = match clip.get(..9) {
        Some(header) if header.starts_with(b"FLV") => u32::from_be_bytes([header[5], header[6], header[7], header[8]]),
        _ => return Err(ClipError::NotFlv),
    };
    let mut rest = clip.clone();
    let start = header_size as usize + 4;
    if rest.len() < start {
        return Err(ClipError::Truncated { at: rest.len() });
    }
    rest.advance(start);
    let mut tags = Vec::new();
    while !rest.is_empty() {
        let truncated = ClipError::Truncated { at: clip.len() - rest.len() };
        if rest.len() < TAG_HEADER {
            return Err(truncated);
        }
        let head = rest.split_to(TAG_HEADER);
        let size = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let timestamp_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        if rest.len() < size + 4 {
            return Err(truncated);
        }
        let body = rest.split_to(size);
        rest.advance(4);
        let kind = match head[0] & 0x1f {
            8 => TagKind::Audio,
            9 => TagKind::Video,
            18 => TagKind::Script,
            _ => continue,
        };
        tags.push(FlvTag { kind, timestamp_ms, body });
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_and_every_cut_inside_one_is_an_error() {
        let mut clip = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00".to_vec();
        clip.extend([9, 0, 0, 2, 0x34, 0x56, 0x78, 0x12, 0, 0, 0, 1, 2, 0, 0, 0, 13]);
        let clip = Bytes::from(clip);
        let tag = FlvTag { kind: TagKind::Video, timestamp_ms: 0x1234_5678, body: Bytes::from_static(&[1, 2]) };
        assert_eq!(read_tags(&clip), Ok(vec![tag]));
        for end in 14..clip.len() {
            assert_eq!(read_tags(&clip.slice(..end)), Err(ClipError::Truncated { at: 13 }), "{end} bytes");
        }
        assert_eq!(read_tags(&Bytes::from_static(b"RIFF....AVI ")), Err(ClipError::NotFlv));
    }
}
