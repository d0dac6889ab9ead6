//! The parsers of what anybody can send to the WebRTC port and to WHIP, opened to `fuzz/`. Each function takes any bytes and
//! asserts what the parser promises of them; not part of any build but the fuzzer's.

mod dtls;

use crate::codec::nal::NalUnits;
use crate::rtc::datagram::{self, Kind};
use crate::rtc::feedback::estimate::{START_BPS, SendEstimate};
use crate::rtc::ice::BindingRequest;
use crate::rtc::negotiate::testing::local;
use crate::rtc::negotiate::{self, Codec, Offer, Outgoing};
use crate::rtc::rtcp::{self, Feedback, NtpTime, SenderReport};
use crate::rtp::depacketize::{AccessUnit, Depacketizer};
use crate::rtp::header::{RtpHeader, extensions};
use crate::signalling::SdpFragment;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use dtls::dtls;

/// A check of ICE: what is read lies within it, and it can be answered.
pub fn stun(bytes: &[u8]) {
    let Ok(request) = BindingRequest::parse(bytes) else { return };
    let _ = request.use_candidate();
    assert!(request.local_ufrag().len() <= bytes.len());
    let _ = request.verify(b"a-password-of-22-chars");
    for from in ["203.0.113.7:4242", "[2001:db8::7]:65535"] {
        let from: SocketAddr = from.parse().expect("a good address");
        let mut out = Vec::new();
        request.write_success(&mut out, from, b"a-password-of-22-chars");
        assert_eq!(datagram::classify(&out), Kind::Stun);
        assert!(out.len() <= 80, "an answer is never much more than what it answers");
    }
}

/// One datagram on the way that the worker takes.
pub fn datagram(bytes: &[u8]) {
    match datagram::classify(bytes) {
        Kind::Stun => stun(bytes),
        Kind::Rtp => rtp(bytes),
        Kind::Rtcp => rtcp(bytes),
        Kind::Dtls | Kind::Unknown => assert!(bytes.len() < 2 || !matches!(bytes[0], 0..=3 | 128..=191)),
    }
}

/// An RTP packet: payload and extensions lie within it.
pub fn rtp(bytes: &[u8]) {
    let Some(header) = RtpHeader::parse(bytes) else { return };
    assert!(header.payload.start >= 12 && header.payload.start <= header.payload.end);
    assert!(header.payload.end <= bytes.len());
    let mut within = 0;
    for (_, value) in extensions(bytes) {
        within += 1 + value.len();
    }
    assert!(within <= header.payload.start - 12, "extensions end where the payload begins");
}

/// A compound of RTCP: blocks do not overlap, lists end.
pub fn rtcp(bytes: &[u8]) {
    let mut read = 0;
    for block in rtcp::blocks(bytes) {
        read += 4 + block.body.len();
        let _ = SenderReport::parse(block.body);
        match block.feedback(NtpTime(1 << 48)) {
            // A pair of four bytes names seventeen packets.
            Feedback::Nack { sequences, .. } => assert!(sequences.count() <= block.body.len() / 4 * 17),
            Feedback::RoundTrip(trip) => assert!(trip <= Duration::from_secs(2)),
            Feedback::Arrivals(body) => assert_eq!(body, block.body),
            Feedback::KeyframeRequest { .. } | Feedback::Other => {}
        }
    }
    assert!(read <= bytes.len());
}

/// An offer, answered as to a publisher and as to a viewer: no line of an answer can be made by the client, and each m-line has
/// its own.
pub fn offer(text: &str) {
    let Ok(offer) = Offer::parse(text) else { return };
    let local = local();
    let _ = offer.fingerprint.matches(b"certificate");
    if let Ok((agreement, answer)) = negotiate::answer_publisher(&offer, &local) {
        assert!(agreement.sections.len() <= offer.sections.len());
        check_answer(&offer, &answer);
    }
    let track = |codec, ssrc| {
        let (stream, track) = ("chobi".to_owned(), "track".to_owned());
        Outgoing { codec, needed: codec != Codec::Opus, ssrc, rtx_ssrc: Some(ssrc + 1), stream, track }
    };
    let high = track(Codec::H264 { profile_level_id: [0x64, 0x00, 0x1f] }, 10);
    for tracks in [vec![high, track(Codec::Opus, 20)], vec![track(Codec::Vp8, 10)], vec![track(Codec::Opus, 20)]] {
        for measures in [false, true] {
            if let Ok((agreement, answer)) = negotiate::answer_viewer(&offer, &local, &tracks, measures) {
                let sent: Vec<_> = agreement.sections.iter().filter_map(|section| section.track).collect();
                assert!(!sent.is_empty() && sent.len() <= tracks.len());
                check_answer(&offer, &answer);
            }
        }
    }
}

fn check_answer(offer: &Offer, answer: &str) {
    let lines: Vec<&str> = answer.strip_suffix("\r\n").expect("the last line ends").split("\r\n").collect();
    for line in &lines {
        let mut characters = line.chars();
        let begins = (characters.next().is_some_and(|letter| letter.is_ascii_lowercase()), characters.next());
        assert_eq!(begins, (true, Some('=')), "no line of SDP: {line:?}");
        assert!(!line.contains(['\r', '\n', '\0']), "a line in a line: {line:?}");
    }
    let sections = lines.iter().filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections, offer.sections.len(), "each m-line is answered (RFC 3264 section 6)");
    let credentials = lines.iter().filter(|line| line.starts_with("a=ice-ufrag:"));
    assert!(credentials.clone().all(|line| *line == "a=ice-ufrag:00ours"), "only ours");
}

/// A fragment of PATCH.
pub fn sdpfrag(text: &str) {
    if let Some(fragment) = SdpFragment::parse(text) {
        assert!(fragment.ufrag().is_none_or(|ufrag| text.contains(ufrag)));
    }
}

/// Payloads of H.264 in any order, each behind a byte of flags and one of its length.
pub fn depacketize_h264(bytes: &[u8]) {
    let sent = bytes.len();
    depacketize(Depacketizer::h264(), bytes, |unit| {
        // What is joined gets four bytes of length for each unit, and a unit has one byte or more.
        assert!(unit.payload.len() <= sent * 5);
        let whole = |unit: Result<&[u8], _>| unit.is_ok_and(|unit| !unit.is_empty());
        assert!(NalUnits::new(&unit.payload, 4).all(whole), "units are whole");
    });
}

/// Payloads of VP8, as above.
pub fn depacketize_vp8(bytes: &[u8]) {
    let sent = bytes.len();
    depacketize(Depacketizer::vp8(), bytes, |unit| assert!(unit.payload.len() <= sent));
}

/// Payloads of VP9, as above.
pub fn depacketize_vp9(bytes: &[u8]) {
    let sent = bytes.len();
    depacketize(Depacketizer::vp9(), bytes, |unit| assert!(unit.payload.len() <= sent));
}

/// Payloads of AV1, as above.
pub fn depacketize_av1(bytes: &[u8]) {
    let sent = bytes.len();
    // Every OBU is given its size, up to eight bytes of it.
    depacketize(Depacketizer::av1(), bytes, |unit| assert!(unit.payload.len() <= sent * 9));
}

fn depacketize(mut depacketizer: Depacketizer, mut bytes: &[u8], check: impl Fn(&AccessUnit)) {
    let (mut timestamp, mut keyframe) = (0_u32, false);
    while let [flags, length, rest @ ..] = bytes {
        let (payload, behind) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = behind;
        let (marker, gap) = (flags & 1 != 0, flags & 2 != 0);
        timestamp = timestamp.wrapping_add(u32::from(flags >> 2) * 1_000);
        if let Some(unit) = depacketizer.push(timestamp, marker, &Bytes::copy_from_slice(payload), gap) {
            keyframe |= unit.keyframe;
            assert!(keyframe, "nothing comes before a keyframe");
            check(&unit);
        }
    }
}

/// Transport-wide reports, each behind a byte of its length in words, on an estimate that sends on: it stays a rate.
pub fn transport_cc(mut bytes: &[u8]) {
    let mut now = Instant::now();
    let mut estimate = SendEstimate::new(now, START_BPS);
    while let [words, rest @ ..] = bytes {
        for _ in 0..20 {
            estimate.sent(now, 1_200);
            now += Duration::from_millis(2);
        }
        let (report, behind) = rest.split_at((usize::from(*words) * 4).min(rest.len()));
        bytes = behind;
        if let Ok(acked) = estimate.feedback(now, report) {
            // 20 packets for each report so far; a packet is lost once and arrives once.
            assert!(acked.arrived <= 2_048 && acked.lost <= 2_048);
        }
        let bps = estimate.bitrate();
        assert!((50_000..=50_000_000).contains(&bps), "{bps} bit/s");
    }
}
