//! The codec parameters in force, from sequence headers, from inside keyframes, or from the first packet.

use super::Hints;
use crate::codec::nal::NalUnits;
use crate::codec::{CodecError, aac, av1, h264, h265, opus, vp9};
use crate::model::{AudioCodec, AudioFormat, MediaFormat, Timescale, TrackFormat, TrackId, VideoCodec, VideoFormat};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Tracks {
    video: Option<VideoTrack>,
    /// VP9's record holds no size: it waits here for a keyframe.
    vp9_record: Option<Bytes>,
    audio: Option<AudioFormat>,
}

#[derive(Debug)]
struct VideoTrack {
    format: VideoFormat,
    sets: ParameterSets,
}

#[derive(Debug)]
enum ParameterSets {
    H264(h264::Configuration),
    H265(h265::Configuration),
    /// AV1 and VP9 repeat theirs in every keyframe and need no record to be decoded.
    InFrame,
}

/// Where a publication has sent no record, its frames have the usual four-byte lengths.
const LENGTH_SIZE_DEFAULT: u8 = 4;

impl Tracks {
    pub(super) fn video(&self) -> Option<&VideoFormat> {
        self.video.as_ref().map(|video| &video.format)
    }

    pub(super) fn audio(&self) -> Option<&AudioFormat> {
        self.audio.as_ref()
    }

    /// Bytes of a NAL unit's length in the frames of this codec.
    pub(super) fn length_size(&self) -> u8 {
        match self.video.as_ref().map(|video| &video.sets) {
            Some(ParameterSets::H264(configuration)) => configuration.length_size,
            Some(ParameterSets::H265(configuration)) => configuration.length_size,
            Some(ParameterSets::InFrame) | None => LENGTH_SIZE_DEFAULT,
        }
    }

    /// Takes a configuration record. `true`: it differs from the one in force.
    pub(super) fn configure_video(&mut self, codec: VideoCodec, record: Bytes) -> Result<bool, CodecError> {
        if self.video().is_some_and(|format| format.codec == codec && format.configuration == record) {
            return Ok(false);
        }
        let (format, sets) = match codec {
            VideoCodec::H264 => {
                let configuration = h264::Configuration::parse(&record)?;
                (configuration.format(record)?, ParameterSets::H264(configuration))
            }
            VideoCodec::H265 => {
                let configuration = h265::Configuration::parse(&record)?;
                (configuration.format(record)?, ParameterSets::H265(configuration))
            }
            VideoCodec::Av1 => (av1::format(record)?, ParameterSets::InFrame),
            VideoCodec::Vp8 | VideoCodec::Vp9 => {
                self.vp9_record = Some(record);
                return Ok(false);
            }
        };
        self.video = Some(VideoTrack { format, sets });
        Ok(true)
    }

    /// Looks into a keyframe for parameters that differ from those in force; `true` when it has such. What cannot be
    /// read leaves them as they are.
    pub(super) fn observe_keyframe(&mut self, codec: VideoCodec, payload: &[u8]) -> bool {
        let observed = match codec {
            VideoCodec::H264 => self.h264_in_band(payload),
            VideoCodec::H265 => self.h265_in_band(payload),
            VideoCodec::Vp8 | VideoCodec::Vp9 => self.vp9_in_band(payload),
            VideoCodec::Av1 => None,
        };
        let differs = observed.is_some();
        self.video = observed.or(self.video.take());
        differs
    }

    fn h264_in_band(&self, payload: &[u8]) -> Option<VideoTrack> {
        let in_force = match self.video.as_ref().map(|video| &video.sets) {
            Some(ParameterSets::H264(configuration)) => Some(configuration),
            _ => None,
        };
        let of = |kind| {
            let units = NalUnits::new(payload, self.length_size()).map_while(Result::ok);
            units.filter(move |unit| h264::UnitKind::of(unit) == kind)
        };
        let known = |list: fn(&h264::Configuration) -> &Vec<Bytes>, unit: &[u8]| {
            in_force.is_some_and(|configuration| list(configuration).iter().any(|set| set == unit))
        };
        let news = of(h264::UnitKind::Sps).any(|unit| !known(|configuration| &configuration.sps, unit))
            || of(h264::UnitKind::Pps).any(|unit| !known(|configuration| &configuration.pps, unit));
        if !news {
            return None;
        }
        let merged = |kind, list: fn(&h264::Configuration) -> &Vec<Bytes>| {
            let found: Vec<_> = of(kind).map(Bytes::copy_from_slice).collect();
            if found.is_empty() { in_force.map(list).cloned().unwrap_or_default() } else { found }
        };
        let sps = merged(h264::UnitKind::Sps, |configuration| &configuration.sps);
        let pps = merged(h264::UnitKind::Pps, |configuration| &configuration.pps);
        let configuration = h264::Configuration::from_parameter_sets(sps, pps, self.length_size()).ok()?;
        let format = configuration.format(configuration.write()).ok()?;
        Some(VideoTrack { format, sets: ParameterSets::H264(configuration) })
    }

    fn h265_in_band(&self, payload: &[u8]) -> Option<VideoTrack> {
        const KINDS: [u8; 3] = [h265::VPS, h265::SPS, h265::PPS];
        let in_force = match self.video.as_ref().map(|video| &video.sets) {
            Some(ParameterSets::H265(configuration)) => Some(configuration),
            _ => None,
        };
        let units = || NalUnits::new(payload, self.length_size()).map_while(Result::ok);
        let is_set = |unit: &&[u8]| KINDS.contains(&h265::unit_type(unit));
        let known = |unit: &[u8]| {
            in_force.is_some_and(|configuration| configuration.units(h265::unit_type(unit)).any(|set| set == unit))
        };
        if units().filter(is_set).all(known) {
            return None;
        }
        let mut sets: Vec<_> =
            units().filter(is_set).map(|unit| (h265::unit_type(unit), Bytes::copy_from_slice(unit))).collect();
        for kind in KINDS {
            if !sets.iter().any(|set| set.0 == kind) {
                let kept = in_force.into_iter().flat_map(|configuration| configuration.units(kind));
                sets.extend(kept.map(|unit| (kind, unit.clone())));
            }
        }
        let configuration = h265::Configuration::from_parameter_sets(&sets, self.length_size()).ok()?;
        let format = configuration.format(configuration.write()).ok()?;
        Some(VideoTrack { format, sets: ParameterSets::H265(configuration) })
    }

    fn vp9_in_band(&self, payload: &[u8]) -> Option<VideoTrack> {
        let format = vp9::format(self.vp9_record.as_ref()?, vp9::keyframe_size(payload).ok()?).ok()?;
        let differs = self.video() != Some(&format);
        differs.then_some(VideoTrack { format, sets: ParameterSets::InFrame })
    }

    /// Takes a configuration record. `true`: it differs from the one in force.
    pub(super) fn configure_audio(&mut self, codec: AudioCodec, record: Bytes) -> Result<bool, CodecError> {
        let format = match codec {
            AudioCodec::Aac => aac::format(record)?,
            AudioCodec::Opus => opus::format(&record)?,
        };
        let same =
            |before: &AudioFormat| (before.codec, &before.configuration) == (format.codec, &format.configuration);
        if self.audio.as_ref().is_some_and(same) {
            return Ok(false);
        }
        self.audio = Some(format);
        Ok(true)
    }

    /// Opus may come without a header. `true`: this packet began the track.
    pub(super) fn observe_audio(&mut self, codec: AudioCodec, payload: &[u8]) -> bool {
        if self.audio.is_some() || codec != AudioCodec::Opus {
            return false;
        }
        self.audio = opus::format_of_packet(payload).ok();
        self.audio.is_some()
    }

    /// Samples of one audio frame.
    pub(super) fn samples(&self, payload: &[u8]) -> u32 {
        match &self.audio {
            Some(format) if format.codec == AudioCodec::Opus => {
                opus::packet_samples(payload).unwrap_or(format.samples_per_frame)
            }
            Some(format) => format.samples_per_frame,
            None => 0,
        }
    }

    /// The tracks of an epoch, video first.
    pub(super) fn formats(&self, with_video: bool, hints: Hints) -> Vec<Arc<TrackFormat>> {
        let video = self.video().filter(|_| with_video).map(|format| {
            let frame_rate = format.frame_rate.or(hints.frame_rate);
            (Timescale::VIDEO, MediaFormat::Video(VideoFormat { frame_rate, ..format.clone() }))
        });
        let audio =
            self.audio.as_ref().map(|format| (Timescale::new(format.sample_rate), MediaFormat::Audio(format.clone())));
        let track = |(index, (timescale, media))| {
            Arc::new(TrackFormat { id: TrackId(index as u8), rid: None, timescale, media })
        };
        video.into_iter().chain(audio).enumerate().map(track).collect()
    }
}
