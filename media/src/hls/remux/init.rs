//! In: a track's format. Out: `ftyp` + `moov` with that one track and no samples.
//! Driven by the packager when formats change. ISO/IEC 14496-12 section 8, ISO/IEC 23000-19 section 7.

use super::{RemuxError, TRACK, Unfit, file_timescale};
use crate::model::{AudioCodec, AudioFormat, MediaFormat, TrackFormat, VideoCodec, VideoFormat};
use bytes::Bytes;
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig};
use mp4_atom::{
    Atom, Audio, Av01, Av1c, Avc1, Avcc, Codec, Decode, Dinf, Dops, Dref, DrefEntry, Encode, Esds, FourCC, Ftyp, Hdlr,
    Hvc1, Hvcc, Matrix, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url,
    Visual, Vmhd, Vp09, VpcC,
};
use mp4_atom::{DecodeAtom, Header};

pub(crate) fn write_init(format: &TrackFormat) -> Result<Bytes, RemuxError> {
    let ftyp = Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: vec![FourCC::new(b"iso6"), FourCC::new(b"cmfc"), FourCC::new(b"mp41")],
    };
    let mut out = Vec::with_capacity(1_024);
    ftyp.encode(&mut out).map_err(RemuxError::Write)?;
    moov(format)?.encode(&mut out).map_err(RemuxError::Write)?;
    Ok(out.into())
}

fn moov(format: &TrackFormat) -> Result<Moov, RemuxError> {
    let timescale = file_timescale(format).get();
    let mvhd = Mvhd {
        creation_time: 0,
        modification_time: 0,
        timescale,
        duration: 0,
        rate: 1.into(),
        volume: 1.into(),
        matrix: Matrix::default(),
        next_track_id: TRACK + 1,
    };
    let trex = Trex {
        track_id: TRACK,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: 0,
    };
    let trak = Trak {
        tkhd: tkhd(format),
        mdia: Mdia {
            mdhd: Mdhd { creation_time: 0, modification_time: 0, timescale, duration: 0, language: "und".to_owned() },
            hdlr: hdlr(format),
            minf: minf(format)?,
        },
        ..Trak::default()
    };
    Ok(Moov { mvhd, mvex: Some(Mvex { mehd: None, trex: vec![trex] }), trak: vec![trak], ..Moov::default() })
}

fn tkhd(format: &TrackFormat) -> Tkhd {
    let (width, height) = format.video().map_or((0, 0), |video| (video.width, video.height));
    Tkhd {
        track_id: TRACK,
        enabled: true,
        in_movie: true,
        volume: if format.is_video() { 0.into() } else { 1.into() },
        width: width.into(),
        height: height.into(),
        ..Tkhd::default()
    }
}

fn hdlr(format: &TrackFormat) -> Hdlr {
    let (handler, name) = if format.is_video() { (b"vide", "video") } else { (b"soun", "audio") };
    Hdlr { handler: FourCC::new(handler), name: name.to_owned() }
}

fn minf(format: &TrackFormat) -> Result<Minf, RemuxError> {
    let codec = match &format.media {
        MediaFormat::Video(video) => video_entry(video)?,
        MediaFormat::Audio(audio) => audio_entry(audio)?,
    };
    Ok(Minf {
        vmhd: format.is_video().then(Vmhd::default),
        smhd: (!format.is_video()).then(Smhd::default),
        dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
        stbl: Stbl { stsd: Stsd { codecs: vec![codec] }, stco: Some(Stco::default()), ..Stbl::default() },
        ..Minf::default()
    })
}

fn video_entry(video: &VideoFormat) -> Result<Codec, RemuxError> {
    let visual = Visual { data_reference_index: 1, width: video.width, height: video.height, ..Visual::default() };
    let body = &video.configuration;
    Ok(match video.codec {
        VideoCodec::H264 => {
            Codec::Avc1(Avc1 { visual, avcc: configuration::<Avcc>("H.264", body)?, ..Avc1::default() })
        }
        VideoCodec::H265 => {
            Codec::Hvc1(Hvc1 { visual, hvcc: configuration::<Hvcc>("H.265", body)?, ..Hvc1::default() })
        }
        VideoCodec::Av1 => Codec::Av01(Av01 { visual, av1c: configuration::<Av1c>("AV1", body)?, ..Av01::default() }),
        VideoCodec::Vp8 => return Err(Unfit::Vp8.into()),
        VideoCodec::Vp9 => Codec::Vp09(Vp09 { visual, vpcc: configuration::<VpcC>("VP9", body)?, ..Vp09::default() }),
    })
}

fn audio_entry(format: &AudioFormat) -> Result<Codec, RemuxError> {
    let audio = Audio {
        data_reference_index: 1,
        channel_count: u16::from(format.channels),
        sample_size: 16,
        // A 16-bit field: 88.2 and 96 kHz do not fit and are left to the decoder configuration, as the standard says.
        sample_rate: u16::try_from(format.sample_rate).unwrap_or(0).into(),
    };
    Ok(match format.codec {
        AudioCodec::Aac => Codec::Mp4a(Mp4a { audio, esds: esds(&format.configuration), btrt: None, taic: None }),
        AudioCodec::Opus => {
            Codec::Opus(Opus { audio, dops: configuration::<Dops>("Opus", &format.configuration)?, btrt: None })
        }
    })
}

/// ISO/IEC 14496-1 section 7.2.6: object type 0x40 is AAC, type 5 is audio.
fn esds(audio_specific_config: &Bytes) -> Esds {
    let dec_config = DecoderConfig {
        object_type_indication: 0x40,
        stream_type: 5,
        up_stream: 0,
        dec_specific: Some(DecoderSpecific { raw: audio_specific_config.to_vec(), ..DecoderSpecific::default() }),
        ..DecoderConfig::default()
    };
    Esds { es_desc: EsDescriptor { es_id: 1, dec_config, sl_config: SLConfig::default(), ..EsDescriptor::default() } }
}

/// Reads the body of a configuration box as it came over the wire.
fn configuration<A: Atom + Decode>(codec: &'static str, body: &Bytes) -> Result<A, RemuxError> {
    let mut body: &[u8] = body;
    let header = Header { kind: A::KIND, size: Some(body.len()) };
    A::decode_atom(&header, &mut body).map_err(|source| RemuxError::Configuration { codec, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Timescale, TrackId};

    #[test]
    fn hostile_configurations_are_errors() {
        for codec in [VideoCodec::H264, VideoCodec::H265, VideoCodec::Av1, VideoCodec::Vp9] {
            for body in [&[][..], &[1][..], &[1, 0x64, 0, 0x1f, 0xff, 0xff, 0xff, 0xff][..]] {
                let video = VideoFormat {
                    codec,
                    configuration: Bytes::copy_from_slice(body),
                    rfc6381: "avc1.64001f".to_owned(),
                    width: 1280,
                    height: 720,
                    frame_rate: None,
                };
                let format = TrackFormat {
                    id: TrackId(0),
                    rid: None,
                    timescale: Timescale::VIDEO,
                    media: MediaFormat::Video(video),
                };
                assert!(write_init(&format).is_err(), "{codec:?} {body:?}");
            }
        }
    }
}
