use super::*;
use crate::codec::nal;
use crate::ingest::flv::{TagKind, read_tags};
use crate::model::{Frame, TrackId, VideoCodec};
use crate::rtp::packetize::{PAYLOAD_MAX, Packetizer, RtpPayload};
use bytes::BytesMut;
use proptest::prelude::*;

pub(super) fn wire(payload: &RtpPayload) -> Bytes {
    let mut out = Vec::new();
    payload.write(&mut out);
    assert_eq!(out.len(), payload.len());
    Bytes::from(out)
}

pub(super) fn frame(payload: Bytes, keyframe: bool) -> Frame {
    Frame { track: TrackId(0), dts: 0, pts: 0, keyframe, payload }
}

fn avcc() -> VideoFormat {
    // The first video tag of an FLV holds the record behind five bytes.
    let clip = Bytes::from_static(include_bytes!("../../../tests/fixtures/ffmpeg-5.1-h264-aac.flv"));
    let tags = read_tags(&clip).unwrap();
    let record =
        tags.iter().find(|tag| tag.kind == TagKind::Video && tag.body.get(1) == Some(&0)).unwrap().body.slice(5..);
    crate::codec::h264::Configuration::parse(&record).unwrap().format(record).unwrap()
}

/// Sends frames through both and gives back what arrives; `lost` says which packets do not.
pub(super) fn through(
    packetizer: &mut Packetizer,
    depacketizer: &mut Depacketizer,
    frames: &[Frame],
    lost: &[usize],
) -> Vec<AccessUnit> {
    let (mut units, mut number, mut gap) = (Vec::new(), 0, false);
    for (at, frame) in frames.iter().enumerate() {
        let mut payloads = Vec::new();
        packetizer.packetize(frame, &mut payloads);
        for payload in &payloads {
            assert!(payload.len() <= PAYLOAD_MAX);
            number += 1;
            if lost.contains(&number) {
                gap = true;
                continue;
            }
            units.extend(depacketizer.push(at as u32 * 3_000, payload.marker, &wire(payload), gap));
            gap = false;
        }
    }
    units
}

fn picture(kind: u8, length: usize) -> Bytes {
    let unit: Vec<u8> = std::iter::once(kind).chain((1..length).map(|byte| byte as u8 | 1)).collect();
    nal::join(&[unit])
}

#[test]
fn h264_keyframes_carry_their_parameter_sets_and_come_back_as_they_were() {
    let format = avcc();
    let mut packetizer = Packetizer::video(&format).unwrap();
    let frames =
        [frame(picture(0x65, 5_000), true), frame(picture(0x41, 100), false), frame(picture(0x41, 3_000), false)];
    let units = through(&mut packetizer, &mut Depacketizer::h264(), &frames, &[]);
    assert_eq!(units.len(), 3);
    let Some(UnitFormat::Video(found)) = &units[0].format else { panic!("no parameters") };
    assert_eq!((found.width, found.height, &found.rfc6381), (format.width, format.height, &format.rfc6381));
    assert!(units[0].payload.ends_with(&frames[0].payload), "behind SPS and PPS");
    assert_eq!((&units[1].payload, &units[2].payload), (&frames[1].payload, &frames[2].payload));
    assert_eq!(units.iter().map(|unit| unit.keyframe).collect::<Vec<_>>(), [true, false, false]);
    assert!(units[1..].iter().all(|unit| unit.format.is_none()), "told once");
}

#[test]
fn a_lost_packet_costs_everything_up_to_the_next_keyframe() {
    let format = avcc();
    let frames: Vec<_> = [true, false, false, true, false]
        .map(|keyframe| frame(picture(if keyframe { 0x65 } else { 0x41 }, 2_000), keyframe))
        .into();
    // Packets: 3 for a keyframe (sets and two fragments), 2 for the others.
    let mut depacketizer = Depacketizer::h264();
    let units = through(&mut Packetizer::video(&format).unwrap(), &mut depacketizer, &frames, &[4]);
    assert_eq!(units.iter().map(|unit| unit.timestamp).collect::<Vec<_>>(), [0, 9_000, 12_000]);
    assert!(!depacketizer.needs_keyframe());
    let units = through(&mut Packetizer::video(&format).unwrap(), &mut depacketizer, &frames[1..2], &[1]);
    assert!(units.is_empty() && depacketizer.needs_keyframe());
}

fn vp8(keyframe: bool, length: usize) -> Bytes {
    let mut bytes = BytesMut::from(&[u8::from(!keyframe), 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00][..]);
    bytes.extend((0..length).map(|byte| byte as u8));
    bytes.freeze()
}

#[test]
fn vp8_comes_back_as_it_was_with_its_size() {
    let format = VideoFormat {
        codec: VideoCodec::Vp8,
        configuration: Bytes::new(),
        rfc6381: String::new(),
        width: 0,
        height: 0,
        frame_rate: None,
    };
    let frames = [frame(vp8(true, 4_000), true), frame(vp8(false, 10), false)];
    let units = through(&mut Packetizer::video(&format).unwrap(), &mut Depacketizer::vp8(), &frames, &[]);
    let Some(UnitFormat::Video(found)) = &units[0].format else { panic!("no size") };
    assert_eq!((found.width, found.height), (320, 240));
    assert_eq!((&units[0].payload, &units[1].payload), (&frames[0].payload, &frames[1].payload));
}

#[test]
fn opus_packets_are_frames() {
    let frames = [frame(Bytes::from_static(&[0xfc, 1, 2]), true), frame(Bytes::from_static(&[0xf8, 3]), true)];
    let units = through(&mut Packetizer::opus(), &mut Depacketizer::opus(), &frames, &[]);
    let Some(UnitFormat::Audio(format)) = &units[0].format else { panic!("no format") };
    assert_eq!((format.channels, units[1].format.is_none()), (2, true));
    assert_eq!(units[1].payload, frames[1].payload);
}

proptest! {
    #[test]
    fn any_size_of_h264_survives(lengths in prop::collection::vec(2_usize..6_000, 1..8)) {
        let units: Vec<Vec<u8>> = lengths.iter().map(|length| {
            std::iter::once(0x65).chain((1..*length).map(|byte| byte as u8)).collect()
        }).collect();
        let frames = [frame(nal::join(&units), true)];
        let found = through(&mut Packetizer::video(&avcc()).unwrap(), &mut Depacketizer::h264(), &frames, &[]);
        prop_assert!(found[0].payload.ends_with(&frames[0].payload));
    }

    #[test]
    fn arbitrary_payloads_never_panic(payloads in prop::collection::vec(
        (any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..40)) {
        let all = [Depacketizer::h264(), Depacketizer::vp8(), Depacketizer::vp9(), Depacketizer::av1(), Depacketizer::opus()];
        for mut depacketizer in all {
            for (timestamp, marker, payload, gap) in &payloads {
                let _ = depacketizer.push(timestamp % 3, *marker, &Bytes::from(payload.clone()), *gap);
            }
        }
    }
}
