//! What Enhanced RTMP wraps around a body: the FourCC, ModEx and multitrack headers (Enhanced RTMP v2, "Enhanced
//! Video" and "Enhanced Audio"). Video and audio share their shape.

use super::{Skipped, skip};
use bytes::{Buf, Bytes};

/// One track's body behind an extended header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Enhanced {
    /// VideoPacketType or AudioPacketType.
    pub(super) packet_type: u8,
    pub(super) fourcc: [u8; 4],
    pub(super) body: Bytes,
}

pub(super) const SEQUENCE_START: u8 = 0;
pub(super) const CODED_FRAMES: u8 = 1;
/// Video: coded frames whose composition time is zero and left out.
pub(super) const CODED_FRAMES_X: u8 = 3;

/// Packet types that mean a wrapper; they differ between video and audio only in the number.
pub(super) struct Wrappers {
    pub(super) multitrack: u8,
    pub(super) mod_ex: u8,
}

/// Takes the wrappers off; of several tracks the first (track 0) is taken, the others
/// are counted.
pub(super) fn unwrap(mut packet_type: u8, mut body: Bytes, wrappers: &Wrappers) -> Result<Enhanced, Skipped> {
    while packet_type == wrappers.mod_ex {
        packet_type = skip_mod_ex(&mut body)?;
    }
    if packet_type != wrappers.multitrack {
        let fourcc = take_fourcc(&mut body)?;
        return Ok(Enhanced { packet_type, fourcc, body });
    }
    let head = take(&mut body, 1)?[0];
    let (kind, packet_type) = (MultitrackKind::parse(head >> 4)?, head & 0xf);
    let common = match kind {
        MultitrackKind::ManyTracksManyCodecs => None,
        MultitrackKind::OneTrack | MultitrackKind::ManyTracks => Some(take_fourcc(&mut body)?),
    };
    let mut first = None;
    while !body.is_empty() {
        match next_track(&mut body, kind, common) {
            Ok((0, fourcc, own)) if first.is_none() => first = Some(Enhanced { packet_type, fourcc, body: own }),
            Ok(_) => skip(Skipped::OtherTrack),
            // What is behind the fault is lost, what was before it is not.
            Err(reason) => return first.ok_or(reason),
        }
    }
    first.ok_or(Skipped::NoMedia)
}

/// One track of a multitrack body: its number, its codec, its own body.
fn next_track(
    body: &mut Bytes,
    kind: MultitrackKind,
    common: Option<[u8; 4]>,
) -> Result<(u8, [u8; 4], Bytes), Skipped> {
    let fourcc = match common {
        Some(fourcc) => fourcc,
        None => take_fourcc(body)?,
    };
    let track = take(body, 1)?[0];
    let own = match kind {
        MultitrackKind::OneTrack => std::mem::take(body),
        MultitrackKind::ManyTracks | MultitrackKind::ManyTracksManyCodecs => {
            let size = take(body, 3)?;
            take(body, u32::from_be_bytes([0, size[0], size[1], size[2]]) as usize)?
        }
    };
    Ok((track, fourcc, own))
}

#[derive(Debug, Clone, Copy)]
enum MultitrackKind {
    OneTrack,
    ManyTracks,
    ManyTracksManyCodecs,
}

impl MultitrackKind {
    fn parse(value: u8) -> Result<Self, Skipped> {
        match value {
            0 => Ok(Self::OneTrack),
            1 => Ok(Self::ManyTracks),
            2 => Ok(Self::ManyTracksManyCodecs),
            _ => Err(Skipped::NoMedia),
        }
    }
}

/// A modifier's data (today: nanoseconds to add to the timestamp, finer than any output shows), then the packet type
/// it modifies.
fn skip_mod_ex(body: &mut Bytes) -> Result<u8, Skipped> {
    let mut size = usize::from(take(body, 1)?[0]) + 1;
    if size == 256 {
        let wide = take(body, 2)?;
        size = usize::from(u16::from_be_bytes([wide[0], wide[1]])) + 1;
    }
    take(body, size)?;
    Ok(take(body, 1)?[0] & 0xf)
}

fn take_fourcc(body: &mut Bytes) -> Result<[u8; 4], Skipped> {
    let fourcc = *body.first_chunk().ok_or(Skipped::Truncated)?;
    body.advance(4);
    Ok(fourcc)
}

pub(super) fn take(body: &mut Bytes, count: usize) -> Result<Bytes, Skipped> {
    if body.len() < count {
        return Err(Skipped::Truncated);
    }
    Ok(body.split_to(count))
}

/// A signed 24-bit composition time (FLV 10.1 annex E.4.3.1), in milliseconds.
pub(super) fn take_composition_time(body: &mut Bytes) -> Result<i32, Skipped> {
    let [a, b, c] = *body.first_chunk::<3>().ok_or(Skipped::Truncated)?;
    body.advance(3);
    Ok(i32::from_be_bytes([a, b, c, 0]) >> 8)
}
