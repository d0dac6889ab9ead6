//! What publishers play: an FLV clip, cut into packets once for all of them.
//!
//! In: H.264 without B-frames and AAC or Opus in FLV. Out: packets with their times; sound as Opus. The picture is brought
//! to the wanted bit rate by supplemental information that decoders pass over (ITU-T H.264 annex D.2.6), so that the
//! stream stays one that plays.

use crate::codec::nal::NalUnits;
use crate::codec::{CodecError, h264};
use crate::ingest::flv::{self, Arrival, ClipError, FrameSink, TagKind, ToHub};
use crate::model::{AudioCodec, AudioFormat, Epoch, Frame, MediaTime, Timescale, VideoCodec, VideoFormat};
use crate::rtp::packetize::{Packetizer, RtpPayload};
use crate::transcode::{AacToOpus, default_bitrate};
use crate::whep::burst::Lane;
use bytes::{BufMut, Bytes, BytesMut};
use std::time::{Duration, SystemTime};

/// One lap, ready to be sent.
#[derive(Debug)]
pub struct Clip {
    profile_level_id: [u8; 3],
    has_audio: bool,
    /// Sorted by time; begins with a keyframe.
    pub(super) frames: Vec<ClipFrame>,
    /// From the first frame of a lap to that of the next.
    pub(super) length: Duration,
}

#[derive(Debug)]
pub(super) struct ClipFrame {
    pub(super) at: Duration,
    pub(super) lane: Lane,
    pub(super) keyframe: bool,
    pub(super) packets: Vec<RtpPayload>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClipProblem {
    #[error(transparent)]
    Flv(#[from] ClipError),
    #[error("its parameters cannot be read: {0}")]
    Codec(#[from] CodecError),
    #[error("its video is not H.264")]
    NotH264,
    #[error("its video has B-frames, which WebRTC cannot carry")]
    BFrames,
    #[error("its sound cannot be made Opus: {0}")]
    Sound(String),
    #[error("it has {natural} bit/s already, more than the {wanted} asked for")]
    TooMuch { natural: u64, wanted: u64 },
}

#[derive(Default)]
struct Collected {
    epoch: Option<Epoch>,
    frames: Vec<Frame>,
}

impl FrameSink for Collected {
    fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch.get_or_insert(epoch);
    }

    fn write(&mut self, frame: Frame) {
        self.frames.push(frame);
    }
}

const OPUS_CLOCK: Timescale = Timescale::new(48_000);
/// Random, as the annex wants it: whose information this is.
const PADDING_ID: [u8; 16] =
    [0x9c, 0x1e, 0x40, 0xd7, 0x5b, 0x22, 0x4f, 0x83, 0xa6, 0x31, 0x8e, 0x77, 0xc4, 0x0d, 0x6a, 0xf5];
/// Neither needs escaping nor looks like a start code.
const PADDING: u8 = 0x5a;
/// Header, payload type, identifier and stop bit; sizes come on top, one byte per 255.
const PADDING_OVERHEAD: usize = 19;

impl Clip {
    /// `bits_per_second`: of picture and sound together, headers of packets not counted.
    pub fn load(file: &Bytes, bits_per_second: u64) -> Result<Self, ClipProblem> {
        let collected = read(file)?;
        let epoch = collected.epoch.ok_or(ClipError::Empty)?;
        let mut video = None;
        let mut audio = None;
        for track in &epoch.tracks {
            match (track.video(), track.audio()) {
                (Some(format), _) => video = Some((track.id, track.timescale, format)),
                (_, Some(format)) => audio = Some((track.id, track.timescale, format)),
                _ => {}
            }
        }
        let (video_id, video_scale, format) = video.ok_or(ClipProblem::NotH264)?;
        if format.codec != VideoCodec::H264 {
            return Err(ClipProblem::NotH264);
        }
        let pictures: Vec<&Frame> = collected.frames.iter().filter(|frame| frame.track == video_id).collect();
        if pictures.iter().any(|frame| frame.pts != frame.dts) {
            return Err(ClipProblem::BFrames);
        }
        let (first, last) = (pictures.first().ok_or(ClipError::Empty)?, pictures.last().ok_or(ClipError::Empty)?);
        let step = (last.dts - first.dts) / (pictures.len() as i64 - 1).max(1);
        let at = |frame: &Frame| MediaTime::new(frame.dts - first.dts, video_scale).to_duration();
        let length = at(last) + MediaTime::new(step, video_scale).to_duration();
        let sound = match audio {
            Some((id, scale, format)) => {
                let units = collected.frames.iter().filter(|frame| frame.track == id);
                opus(format, scale, units, length)?
            }
            None => Vec::new(),
        };
        let sound_bytes: usize = sound.iter().map(|(_, packet)| packet.len()).sum();
        let padding = padding(&pictures, sound_bytes, length, bits_per_second)?;
        let mut frames = cut_video(format, &pictures, padding, at)?;
        let mut packetizer = Packetizer::opus();
        for (at, payload) in &sound {
            let mut packets = Vec::new();
            let frame = Frame { track: video_id, dts: 0, pts: 0, keyframe: true, payload: payload.clone() };
            packetizer.packetize(&frame, &mut packets);
            frames.push(ClipFrame { at: *at, lane: Lane::Audio, keyframe: true, packets });
        }
        frames.sort_by_key(|frame| frame.at);
        let profile_level_id = format.configuration.get(1..4).and_then(|id| id.try_into().ok());
        let profile_level_id = profile_level_id.ok_or(ClipProblem::NotH264)?;
        Ok(Self { profile_level_id, has_audio: !sound.is_empty(), frames, length })
    }

    pub(super) fn has_audio(&self) -> bool {
        self.has_audio
    }

    /// As SDP writes it (RFC 6184 section 8.1).
    pub(super) fn profile_level_id(&self) -> String {
        self.profile_level_id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn read(file: &Bytes) -> Result<Collected, ClipProblem> {
    let (mut to_hub, mut collected) = (ToHub::default(), Collected::default());
    for tag in flv::read_tags(file)? {
        let elapsed = Duration::from_millis(u64::from(tag.timestamp_ms));
        let arrival = Arrival { elapsed, wall: SystemTime::UNIX_EPOCH + elapsed };
        match tag.kind {
            TagKind::Video => to_hub.video(&mut collected, tag.timestamp_ms, tag.body, arrival)?,
            TagKind::Audio => to_hub.audio(&mut collected, tag.timestamp_ms, tag.body, arrival)?,
            TagKind::Script => {}
        }
    }
    Ok(collected)
}

/// Packets of 20 ms with their times.
fn opus<'a>(
    format: &AudioFormat,
    scale: Timescale,
    units: impl Iterator<Item = &'a Frame>,
    length: Duration,
) -> Result<Vec<(Duration, Bytes)>, ClipProblem> {
    let failed = |error: &dyn std::fmt::Display| ClipProblem::Sound(error.to_string());
    let mut packets = Vec::new();
    match format.codec {
        AudioCodec::Opus => {
            packets.extend(units.map(|unit| (MediaTime::new(unit.pts, scale).to_duration(), unit.payload.clone())));
        }
        AudioCodec::Aac => {
            let transcoder = AacToOpus::new(format, default_bitrate(format.channels));
            let (mut transcoder, mut made) = (transcoder.map_err(|error| failed(&error))?, Vec::new());
            for unit in units {
                transcoder.push(unit.dts, &unit.payload, &mut made).map_err(|error| failed(&error))?;
            }
            packets.extend(
                made.into_iter().map(|packet| (MediaTime::new(packet.pts, OPUS_CLOCK).to_duration(), packet.payload)),
            );
        }
    }
    packets.retain(|(at, _)| *at < length);
    Ok(packets)
}

/// Bytes to add to every picture.
fn padding(pictures: &[&Frame], sound_bytes: usize, length: Duration, wanted: u64) -> Result<usize, ClipProblem> {
    let natural_bytes = pictures.iter().map(|frame| frame.payload.len()).sum::<usize>() + sound_bytes;
    let natural = (natural_bytes as f64 * 8.0 / length.as_secs_f64()) as u64;
    let missing = wanted.checked_sub(natural).ok_or(ClipProblem::TooMuch { natural, wanted })?;
    Ok((missing as f64 / 8.0 * length.as_secs_f64()) as usize / pictures.len())
}

fn cut_video(
    format: &VideoFormat,
    pictures: &[&Frame],
    padding: usize,
    at: impl Fn(&Frame) -> Duration,
) -> Result<Vec<ClipFrame>, ClipProblem> {
    let mut packetizer = Packetizer::video(format).ok_or(ClipProblem::NotH264)?;
    let length_size = h264::Configuration::parse(&format.configuration)?.length_size;
    let cut = pictures.iter().map(|picture| {
        let payload = padded(&picture.payload, length_size, padding);
        let frame = Frame { payload, ..(*picture).clone() };
        let mut packets = Vec::new();
        packetizer.packetize(&frame, &mut packets);
        ClipFrame { at: at(picture), lane: Lane::Video, keyframe: picture.keyframe, packets }
    });
    Ok(cut.collect())
}

/// The access unit with user data in front of its first slice.
fn padded(unit: &Bytes, length_size: u8, bytes: usize) -> Bytes {
    const SEI: u8 = 6;
    const USER_DATA: u8 = 5;
    if bytes <= PADDING_OVERHEAD + usize::from(length_size) {
        return unit.clone();
    }
    let filled = bytes - PADDING_OVERHEAD - usize::from(length_size);
    let mut size = PADDING_ID.len() + filled;
    let mut sei = vec![SEI, USER_DATA];
    while size >= 255 {
        sei.push(255);
        size -= 255;
    }
    sei.push(size as u8);
    sei.extend_from_slice(&PADDING_ID);
    sei.resize(sei.len() + filled, PADDING);
    sei.push(0x80);
    let mut out = BytesMut::with_capacity(unit.len() + sei.len() + 4);
    let mut pending = Some(sei);
    let mut put = |nal: &[u8]| {
        out.put_uint(nal.len() as u64, usize::from(length_size));
        out.put_slice(nal);
    };
    for nal in NalUnits::new(unit, length_size).map_while(Result::ok) {
        if (1..=5).contains(&(nal[0] & 0x1f))
            && let Some(sei) = pending.take()
        {
            put(&sei);
        }
        put(nal);
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    static FILE: &[u8] = include_bytes!("../../tests/fixtures/ffmpeg-5.1-h264-aac.flv");

    #[test]
    fn a_clip_gets_the_bit_rate_asked_for_and_sound_as_opus() {
        let clip = Clip::load(&Bytes::from_static(FILE), 3_000_000).unwrap();
        assert!(clip.has_audio() && clip.frames[0].lane == Lane::Video && clip.frames[0].keyframe);
        let bytes: usize = clip.frames.iter().flat_map(|frame| &frame.packets).map(RtpPayload::len).sum();
        let rate = bytes as f64 * 8.0 / clip.length.as_secs_f64();
        assert!((2_900_000.0..3_100_000.0).contains(&rate), "{rate} bit/s");
        assert!(clip.frames.is_sorted_by_key(|frame| frame.at));
    }

    #[test]
    fn what_cannot_be_played_is_named() {
        let file = Bytes::from_static(FILE);
        assert!(matches!(Clip::load(&file, 1_000), Err(ClipProblem::TooMuch { wanted: 1_000, .. })));
        let none = Bytes::from_static(b"RIFF....AVI ");
        assert_eq!(Clip::load(&none, 1_000).unwrap_err(), ClipProblem::Flv(ClipError::NotFlv));
        assert!(matches!(Clip::load(&file.slice(..20_000), 9_000_000), Err(ClipProblem::Flv(_))));
    }

    #[test]
    fn padding_stands_before_the_slice_and_is_whole() {
        let unit = Bytes::from_static(&[0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x65, 9]);
        for bytes in [0, 23, 24, 300, 2_000] {
            let padded = padded(&unit, 4, bytes);
            let units: Vec<_> = NalUnits::new(&padded, 4).map(Result::unwrap).collect();
            let kinds: Vec<_> = units.iter().map(|unit| unit[0] & 0x1f).collect();
            if bytes <= 23 {
                assert_eq!(kinds, [7, 5]);
                continue;
            }
            assert_eq!(kinds, [7, 6, 5]);
            let sizes: Vec<u8> = units[1][2..].iter().copied().take_while(|byte| *byte == 255).collect();
            let size = sizes.len() * 255 + usize::from(units[1][2 + sizes.len()]);
            assert_eq!(units[1].len(), 2 + sizes.len() + 1 + size + 1, "{bytes}");
        }
    }
}
