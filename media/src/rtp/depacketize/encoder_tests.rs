//! VP9 and AV1 as real encoders make them: through packets and back.

use super::tests::{frame, through, wire};
use super::*;
use crate::codec::av1::{self, obu};
use crate::codec::vp9;
use crate::model::{Frame, VideoCodec};
use crate::rtp::packetize::{PAYLOAD_MAX, Packetizer, RtpPayload};
use proptest::prelude::*;

const VP9: &[u8] = include_bytes!("../../../tests/fixtures/libvpx-1.12-vp9.ivf");
const AOM: &[u8] = include_bytes!("../../../tests/fixtures/libaom-3.6-av1.ivf");
const SVT: &[u8] = include_bytes!("../../../tests/fixtures/svt-av1-1.4-av1.ivf");

/// The frames of an IVF file: behind a header of 32 bytes each has its size and, in eight bytes, its time.
fn frames(ivf: &'static [u8]) -> (VideoFormat, Vec<Frame>) {
    let is_vp9 = &ivf[8..12] == b"VP90";
    let (mut rest, mut payloads) = (Bytes::from_static(&ivf[32..]), Vec::new());
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let payload = rest.slice(12..12 + size);
        payloads.push(if is_vp9 { payload } else { av1::without_temporal_delimiter(payload) });
        rest = rest.slice(12 + size..);
    }
    if is_vp9 {
        let format = vp9::format_of_keyframe(&payloads[0]).unwrap();
        let keyframe = |payload: &Bytes| vp9::is_keyframe(payload).unwrap();
        return (format, payloads.into_iter().map(|payload| frame(payload.clone(), keyframe(&payload))).collect());
    }
    let first = payloads[0].clone();
    let header = av1::sequence_header(&first).unwrap().unwrap();
    let format = av1::format(av1::record(&header).unwrap()).unwrap();
    let keyframe = |payload: &Bytes| av1::is_keyframe(payload, Some(&header));
    (format, payloads.into_iter().map(|payload| frame(payload.clone(), keyframe(&payload))).collect())
}

fn depacketizer(format: &VideoFormat) -> Depacketizer {
    if format.codec == VideoCodec::Vp9 { Depacketizer::vp9() } else { Depacketizer::av1() }
}

fn packets(format: &VideoFormat, frames: &[Frame]) -> Vec<Vec<RtpPayload>> {
    let mut packetizer = Packetizer::video(format).unwrap();
    let cut = |frame| {
        let mut out = Vec::new();
        packetizer.packetize(frame, &mut out);
        out
    };
    frames.iter().map(cut).collect()
}

#[test]
fn what_encoders_make_comes_back_as_it_was_with_its_format() {
    for (ivf, keyframes, rfc6381) in
        [(VP9, [0, 9], "vp09.00.20.08"), (AOM, [0, 9], "av01.0.00M.08"), (SVT, [0, 16], "av01.0.00M.08")]
    {
        let (format, frames) = frames(ivf);
        let found: Vec<_> = (0..frames.len()).filter(|at| frames[*at].keyframe).collect();
        assert_eq!(found, keyframes, "{rfc6381}");
        let mut packetizer = Packetizer::video(&format).unwrap();
        let units = through(&mut packetizer, &mut depacketizer(&format), &frames, &[]);
        let Some(UnitFormat::Video(told)) = &units[0].format else { panic!("no format") };
        assert_eq!(told, &format);
        assert_eq!((told.width, told.height, told.rfc6381.as_str()), (320, 180, rfc6381));
        assert!(units[1..].iter().all(|unit| unit.format.is_none()), "told once");
        assert_eq!(units.len(), frames.len());
        for (unit, frame) in units.iter().zip(&frames) {
            assert_eq!((unit.keyframe, &unit.payload), (frame.keyframe, &frame.payload));
        }
    }
}

#[test]
fn packets_of_a_frame_are_of_about_equal_size() {
    for ivf in [VP9, AOM, SVT] {
        let (format, frames) = frames(ivf);
        for (payloads, frame) in packets(&format, &frames).iter().zip(&frames) {
            let sizes: Vec<_> = payloads.iter().map(RtpPayload::len).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            // SVT-AV1 puts several units of any size into one.
            assert!(ivf == SVT || most - least <= payloads.len() + 16, "{sizes:?}");
            assert!(*most <= PAYLOAD_MAX);
            assert_eq!(sizes.len(), frame.payload.len().div_ceil(PAYLOAD_MAX - 4), "no more packets than needed");
        }
    }
}

#[test]
fn a_sequence_header_goes_with_its_keyframe_and_is_put_there_when_it_is_missing() {
    let (format, frames) = frames(AOM);
    let (header, rest) = obu::Obu::take(&frames[0].payload).unwrap();
    let bare = frame(frames[0].payload.slice_ref(rest), true);
    let whole = packets(&format, &frames[..2]);
    // W 2 and N, and the beginning of the frame in the same packet: from it a receiver knows a keyframe.
    assert_eq!(wire(&whole[0][0])[..3], [0x68, 1 + header.payload.len() as u8, 0x08]);
    assert!(whole[0][1..].iter().all(|payload| wire(payload)[0] & 0xb8 == 0x90), "one piece each, no N");
    assert_eq!(wire(&whole[1][0])[0], 0x10, "a unit alone");
    assert_eq!(packets(&format, &[bare]), whole[..1]);
}

#[test]
fn a_frame_whose_end_was_never_sent_is_none_although_no_number_is_missing() {
    for ivf in [VP9, AOM] {
        let (format, frames) = frames(ivf);
        let mut depacketizer = depacketizer(&format);
        let mut found = Vec::new();
        let all = packets(&format, &[&frames[..], &frames[..]].concat());
        for (at, payloads) in all.iter().enumerate() {
            // The first keyframe, cut; what comes before the next one refers to it.
            let sent = if at == frames.len() { &payloads[..payloads.len() - 1] } else { payloads };
            for payload in sent {
                let unit = depacketizer.push(at as u32 * 3_000, payload.marker, &wire(payload), false);
                found.extend(unit.map(|unit| unit.timestamp as usize / 3_000));
            }
        }
        let expected: Vec<_> = (0..frames.len()).chain(frames.len() + 9..2 * frames.len()).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn picture_ids_go_on_over_their_wrap() {
    let (format, frames) = frames(VP9);
    let mut packetizer = Packetizer::video(&format).unwrap();
    let mut ids = Vec::new();
    for _ in 0..0x8002 {
        let mut out = Vec::new();
        packetizer.packetize(&frames[3], &mut out);
        let packet = wire(&out[0]);
        assert_eq!((packet[0], packet[3]), (0xdc, 2), "flexible, and refers to the one before");
        ids.push(u16::from_be_bytes([packet[1], packet[2]]) & 0x7fff);
    }
    assert_eq!(ids[0x7ffe..], [0x7ffe, 0x7fff, 0, 1]);
}

#[test]
fn profiles_that_browsers_do_not_decode_are_not_sent() {
    let (format, _) = frames(VP9);
    let record = Bytes::from_static(&[2, 31, 0xa2, 1, 1, 1, 0, 0]);
    assert!(Packetizer::video(&vp9::format(&record, (320, 180)).unwrap()).is_none(), "ten bits");
    let broken = VideoFormat { configuration: Bytes::from_static(&[1, 0]), ..format };
    assert!(Packetizer::video(&broken).is_none());
    let (format, _) = frames(AOM);
    let mut record = format.configuration.to_vec();
    record[1] |= 1 << 5;
    assert!(Packetizer::video(&VideoFormat { configuration: record.into(), ..format }).is_none(), "4:4:4");
}

/// Any units whose first is part of a picture.
fn units() -> impl Strategy<Value = Vec<(u8, Option<u8>, Vec<u8>)>> {
    let unit = || (prop::sample::select(vec![3_u8, 4, 5, 6, 7, 9]), prop::option::of(0_u8..=0xf8), body());
    prop::collection::vec(unit(), 0..9).prop_map(|mut units| {
        units.insert(0, (obu::FRAME, None, vec![0x30]));
        units
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(any::<u8>(), 0..90), prop::collection::vec(any::<u8>(), 900..4_000)]
}

proptest! {
    /// Whatever is lost, what comes out was sent, and begins anew with a keyframe.
    #[test]
    fn loss_costs_everything_up_to_the_next_keyframe(
        which in 0_usize..3,
        lost in prop::collection::btree_set(1_usize..40, 0..6),
    ) {
        let (format, frames) = frames([VP9, AOM, SVT][which]);
        let mut packetizer = Packetizer::video(&format).unwrap();
        let lost: Vec<usize> = lost.into_iter().collect();
        let units = through(&mut packetizer, &mut depacketizer(&format), &frames, &lost);
        let mut number = 0;
        let mut expected = Vec::new();
        let mut broken = true;
        for (at, payloads) in packets(&format, &frames).iter().enumerate() {
            let first = number + 1;
            number += payloads.len();
            let torn = lost.iter().any(|one| (first..=number).contains(one));
            // A frame whose last packet is lost is given up when the next one comes: that one has no hole before it.
            broken = torn || (broken && !frames[at].keyframe);
            if !broken {
                expected.push((at as u32 * 3_000, frames[at].payload.clone()));
            }
        }
        let found: Vec<_> = units.into_iter().map(|unit| (unit.timestamp, unit.payload)).collect();
        // A keyframe right behind a loss is refused with the frame before it: nothing tells whose packet is missing.
        prop_assert!(found.iter().all(|unit| expected.contains(unit)));
        if lost.is_empty() {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn any_units_of_av1_survive_their_packets(units in units(), keyframe in any::<bool>()) {
        let (format, _) = frames(AOM);
        let mut payload = Vec::new();
        for (kind, extension, body) in &units {
            obu::Obu { kind: *kind, extension: *extension, payload: body }.write(&mut payload);
        }
        let sent = frame(payload.into(), keyframe);
        let mut assembler = super::av1::Av1Assembler::default();
        let payloads = &packets(&format, std::slice::from_ref(&sent))[0];
        for (at, payload) in payloads.iter().enumerate() {
            let packet = wire(payload);
            prop_assert!(packet.len() <= PAYLOAD_MAX);
            prop_assert_eq!(packet[0] & 0x08 != 0, keyframe && at == 0, "N");
            prop_assert!(packet[0] & 0x30 != 0, "W is stated");
            let ends_inside = packet[0] & 0x40 != 0;
            prop_assert!(ends_inside != (at + 1 == payloads.len()) || units.iter().any(|unit| unit.2.len() < 2), "Y");
            prop_assert!(assembler.push(&packet));
        }
        let found = assembler.finish(1).unwrap();
        prop_assert!(found.payload.ends_with(&sent.payload));
        prop_assert!(keyframe || found.payload == sent.payload);
    }

    #[test]
    fn damaged_packets_never_panic(
        which in 0_usize..3,
        damage in prop::collection::vec((0_usize..30, any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..12),
    ) {
        let (format, frames) = frames([VP9, AOM, SVT][which]);
        let mut wires: Vec<_> = packets(&format, &frames)
            .iter()
            .enumerate()
            .flat_map(|(at, payloads)| payloads.iter().map(move |payload| (at as u32, payload.marker, wire(payload))))
            .collect();
        for (packet, at, byte, cut) in damage {
            let count = wires.len();
            let (_, _, wire) = &mut wires[packet % count];
            let mut bytes = wire.to_vec();
            if bytes.is_empty() {
                continue;
            }
            let at = at.index(bytes.len().min(24));
            bytes[at] = byte;
            bytes.truncate(if cut { at } else { bytes.len() });
            *wire = bytes.into();
        }
        let mut depacketizer = depacketizer(&format);
        for (timestamp, marker, wire) in &wires {
            if let Some(unit) = depacketizer.push(*timestamp, *marker, wire, false) {
                // What still comes out is cut again without a word.
                let again = frame(unit.payload, unit.keyframe);
                Packetizer::video(&format).unwrap().packetize(&again, &mut Vec::new());
            }
        }
    }
}
