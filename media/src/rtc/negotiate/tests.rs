use super::answer::SendSection;
use super::offer::OfferError;
use super::testing::local;
use super::*;
use proptest::prelude::*;

fn chromium(direction: &str) -> String {
    include_str!("testdata/chromium-like.sdp").replace("a=DIRECTION", &format!("a={direction}"))
}

fn outgoing(codec: Codec) -> Outgoing {
    Outgoing {
        codec,
        needed: codec != Codec::Opus,
        ssrc: 10,
        rtx_ssrc: Some(11),
        stream: "chobi".to_owned(),
        track: "video".to_owned(),
    }
}

const HIGH: Codec = Codec::H264 { profile_level_id: [0x64, 0x00, 0x1f] };

#[test]
fn a_publisher_is_answered_with_all_codecs_we_can_carry() {
    let offer = Offer::parse(&chromium("sendonly")).unwrap();
    let (agreement, answer) = answer_publisher(&offer, &local()).unwrap();
    let codecs: Vec<_> = agreement.sections.iter().map(|section| section.codecs.len()).collect();
    assert_eq!(codecs, [1, 4], "Opus; H.264 twice, AV1, VP8");
    assert_eq!(agreement.sections[1].codecs[0].rtx, Some(104));
    assert_eq!(agreement.sections[1].transport_cc, Some(3));
    let expected = [
        "a=group:BUNDLE 0 1",
        "a=ice-lite",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=candidate:1 1 udp 2130706431 203.0.113.5 8189 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::5 8189 typ host",
        "a=candidate:3 1 tcp 1526726143 203.0.113.5 8189 typ host tcptype passive",
        "a=end-of-candidates",
        "a=setup:passive",
        "a=recvonly",
        "m=video 9 UDP/TLS/RTP/SAVPF 103 104 107 108 45 46 96 97",
    ];
    for line in expected {
        assert!(answer.lines().any(|found| found == line), "{line} is missing in\n{answer}");
    }
    assert!(answer.ends_with("\r\n") && !answer.contains("\n\n"));
}

#[test]
fn a_viewer_gets_high_profile_under_constrained_baseline() {
    let offer = Offer::parse(&chromium("recvonly")).unwrap();
    let audio = Outgoing { ssrc: 20, rtx_ssrc: None, ..outgoing(Codec::Opus) };
    let (agreement, answer) = answer_viewer(&offer, &local(), &[outgoing(HIGH), audio], true).unwrap();
    let sent: Vec<_> = agreement.sections.iter().map(|section| (section.track, section.payload_type)).collect();
    assert_eq!(sent, [(Some(1), 111), (Some(0), 107)]);
    assert_eq!(agreement.sections[1].rtx_payload_type, Some(108));
    for line in ["a=sendonly", "a=ssrc-group:FID 10 11", "a=ssrc:11 cname:chobi", "a=msid:chobi video"] {
        assert!(answer.lines().any(|found| found == line), "{line} is missing in\n{answer}");
    }
}

/// What independent stacks really offer; only addresses, credentials, fingerprints and names are replaced.
#[test]
fn offers_of_every_stack_are_answered() {
    let h264 = |number, rtx| (number, "H.264", rtx);
    let publishers = [
        (
            "chromium",
            include_str!("testdata/chromium-156-sends-three-layers.sdp"),
            vec![
                vec![(111, "Opus", None)],
                vec![
                    h264(102, Some(103)),
                    h264(108, Some(109)),
                    h264(116, Some(117)),
                    (45, "AV1", Some(46)),
                    (98, "VP9", Some(99)),
                    (96, "VP8", Some(97)),
                ],
            ],
            vec!["r0", "r1", "r2"],
        ),
        (
            "aiortc",
            include_str!("testdata/aiortc-1.16-sends.sdp"),
            vec![vec![h264(99, Some(100)), h264(101, Some(102)), (97, "VP8", Some(98))], vec![(96, "Opus", None)]],
            vec![],
        ),
        (
            "gstreamer",
            include_str!("testdata/gstreamer-1.22-sends.sdp"),
            vec![vec![h264(96, None)], vec![(97, "Opus", None)]],
            vec![],
        ),
    ];
    for (stack, offer, codecs, layers) in publishers {
        let (agreement, _) = answer_publisher(&Offer::parse(offer).unwrap(), &local()).unwrap();
        let agreed = |section: &ReceiveSection| {
            let named = |codec: &AgreedCodec| match codec.codec {
                Codec::H264 { .. } => (codec.payload_type, "H.264", codec.rtx),
                Codec::Av1 => (codec.payload_type, "AV1", codec.rtx),
                Codec::Vp9 => (codec.payload_type, "VP9", codec.rtx),
                Codec::Vp8 => (codec.payload_type, "VP8", codec.rtx),
                Codec::Opus => (codec.payload_type, "Opus", codec.rtx),
                other => panic!("{stack}: {other:?} cannot be carried"),
            };
            section.codecs.iter().map(named).collect::<Vec<_>>()
        };
        assert_eq!(agreement.sections.iter().map(agreed).collect::<Vec<_>>(), codecs, "{stack}");
        let rids = agreement.sections.iter().filter_map(|section| section.simulcast.as_ref());
        assert_eq!(rids.flat_map(|simulcast| &simulcast.rids).collect::<Vec<_>>(), layers, "{stack}");
    }
    let viewers = [
        (
            "chromium",
            include_str!("testdata/chromium-156-receives.sdp"),
            [(0, 108, Some(109)), (1, 111, None)],
            Some(4),
        ),
        ("aiortc", include_str!("testdata/aiortc-1.16-receives.sdp"), [(0, 101, Some(102)), (1, 96, None)], None),
        ("gstreamer", include_str!("testdata/gstreamer-1.22-receives.sdp"), [(0, 96, None), (1, 97, None)], None),
    ];
    for (stack, offer, sent, transport_cc) in viewers {
        let audio = Outgoing { ssrc: 20, rtx_ssrc: None, ..outgoing(Codec::Opus) };
        let offer = Offer::parse(offer).unwrap();
        let (agreement, _) = answer_viewer(&offer, &local(), &[outgoing(HIGH), audio], true).unwrap();
        let agreed = |section: &SendSection| (section.track.unwrap(), section.payload_type, section.rtx_payload_type);
        assert_eq!(agreement.sections.iter().map(agreed).collect::<Vec<_>>(), sent, "{stack}");
        assert_eq!(agreement.sections[0].transport_cc, transport_cc, "{stack}");
    }
}

#[test]
fn the_host_has_the_first_sections_and_co_hosts_the_others() {
    let named = |codec, ssrc, needed| Outgoing { ssrc, needed, ..outgoing(codec) };
    let tracks = [
        named(HIGH, 1, true),
        named(Codec::Opus, 2, false),
        // A co-host whose picture this client cannot decode is heard all the same.
        named(Codec::H265, 3, false),
        named(Codec::Opus, 4, false),
        named(Codec::Vp8, 5, false),
        named(Codec::Opus, 6, false),
    ];
    let placed = |sections: [&str; 4]| {
        let [one, two, three, four] = sections;
        let whole = include_str!("testdata/chromium-156-receives.sdp");
        let (head, media) = whole.split_once("m=").unwrap();
        let of = |kind: &str, mid: usize| {
            let section = media.split("m=").find(|section| section.starts_with(kind)).unwrap();
            let mut lines: Vec<String> = section.lines().map(str::to_owned).collect();
            lines.iter_mut().filter(|line| line.starts_with("a=mid:")).for_each(|line| *line = format!("a=mid:{mid}"));
            format!("m={}\r\n", lines.join("\r\n"))
        };
        let media: String = [one, two, three, four].iter().enumerate().map(|(mid, kind)| of(kind, mid)).collect();
        let head: String = head
            .lines()
            .map(|line| if line.starts_with("a=group") { "a=group:BUNDLE 0 1 2 3" } else { line })
            .map(|line| format!("{line}\r\n"))
            .collect();
        let offer = Offer::parse(&format!("{head}{media}")).unwrap();
        let (agreement, _) = answer_viewer(&offer, &local(), &tracks, false).unwrap();
        agreement.sections.iter().map(|section| section.track.map(|track| tracks[track].ssrc)).collect::<Vec<_>>()
    };
    assert_eq!(placed(["video", "audio", "video", "audio"]), [Some(1), Some(2), Some(5), Some(4)]);
    assert_eq!(placed(["audio", "audio", "audio", "video"]), [Some(2), Some(4), Some(6), Some(1)]);
    assert_eq!(placed(["video", "video", "video", "audio"]), [Some(1), Some(5), None, Some(2)]);
}

#[test]
fn a_show_without_sound_leaves_the_audio_section_inactive() {
    let offer = Offer::parse(&chromium("recvonly")).unwrap();
    let (agreement, answer) = answer_viewer(&offer, &local(), &[outgoing(Codec::Vp8)], true).unwrap();
    assert_eq!(agreement.sections[0].track, None);
    assert!(answer.contains("a=inactive") && answer.contains("m=audio 9 "));
}

#[test]
fn a_codec_the_client_lacks_is_named() {
    let offer = Offer::parse(&chromium("recvonly")).unwrap();
    let audio = outgoing(Codec::Opus);
    let error = answer_viewer(&offer, &local(), &[outgoing(Codec::H265), audio], true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the show is H.265, Opus, the client plays Opus, VP8, H.264, AV1: no codec in common"
    );
}

/// Chromium's second m-line when it sends three layers.
const LAYERS: &str = "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n\
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\n\
    a=rid:h send\na=rid:m send\na=rid:l send\na=simulcast:send h;~m;l,x\n";

#[test]
fn every_layer_of_simulcast_is_taken_when_packets_can_name_theirs() {
    let offer = Offer::parse(&(chromium("sendonly") + LAYERS)).unwrap();
    let (agreement, answer) = answer_publisher(&offer, &local()).unwrap();
    let rids = ["h", "m", "l"].map(str::to_owned).to_vec();
    assert_eq!(agreement.sections[1].simulcast, Some(Simulcast { rids, rid: 10, repaired_rid: Some(11) }));
    for line in [
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=rid:h recv",
        "a=rid:l recv",
        "a=simulcast:recv h;m;l",
    ] {
        assert!(answer.lines().any(|found| found == line), "{line} is missing in\n{answer}");
    }
    let nameless = LAYERS.replace("rtp-stream-id", "unknown");
    let offer = Offer::parse(&(chromium("sendonly") + &nameless)).unwrap();
    let (agreement, answer) = answer_publisher(&offer, &local()).unwrap();
    assert_eq!(agreement.sections[1].simulcast, None);
    assert!(!answer.contains("simulcast") && !answer.contains("a=rid"));
}

#[test]
fn data_channels_and_disabled_sections_are_rejected_line_by_line() {
    let mut text = chromium("sendonly").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 2");
    text.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP4 0.0.0.0\na=mid:2\na=sctp-port:5000\n");
    let offer = Offer::parse(&text).unwrap();
    let (_, answer) = answer_publisher(&offer, &local()).unwrap();
    assert!(answer.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel"));
    assert!(answer.contains("a=group:BUNDLE 0 1\r\n"), "what is rejected is not bundled");

    let disabled = chromium("sendonly").replace("m=video 9 ", "m=video 0 ");
    let (agreement, answer) = answer_publisher(&Offer::parse(&disabled).unwrap(), &local()).unwrap();
    assert_eq!((agreement.sections.len(), answer.contains("m=video 0 ")), (1, true), "RFC 3264 section 6");
    let bundled = disabled.replace("a=mid:1", "a=mid:1\na=bundle-only");
    let (agreement, _) = answer_publisher(&Offer::parse(&bundled).unwrap(), &local()).unwrap();
    assert_eq!(agreement.sections.len(), 2);
}

#[test]
fn an_offer_that_could_be_taken_in_part_only_is_refused_as_a_whole() {
    let refused = |text: &str| answer_publisher(&Offer::parse(text).unwrap(), &local()).unwrap_err();
    let camera = "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:2\na=sendonly\na=rtcp-mux\na=rtpmap:96 VP8/90000\n";
    let bundled = chromium("sendonly").replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 2");
    assert_eq!(refused(&(bundled.clone() + camera)), NegotiationError::SecondTrack("video"));
    let exotic = camera.replace("VP8", "X-NOBODYS");
    assert_eq!(refused(&(bundled.clone() + &exotic)), NegotiationError::NothingToReceive("video"));
    assert_eq!(
        refused(&chromium("sendonly").replace("opus/48000/2", "ISAC/16000")),
        NegotiationError::NothingToReceive("audio")
    );
    assert_eq!(refused(&chromium("recvonly")), NegotiationError::NothingSent);
    // What is not sent is not missed.
    let idle = camera.replace("sendonly", "inactive");
    assert!(answer_publisher(&Offer::parse(&(bundled + &idle)).unwrap(), &local()).is_ok());
}

#[test]
fn only_feedback_that_was_offered_is_answered() {
    let (_, answer) = answer_publisher(&Offer::parse(&chromium("sendonly")).unwrap(), &local()).unwrap();
    let feedback: Vec<_> = answer.lines().filter(|line| line.starts_with("a=rtcp-fb")).collect();
    assert_eq!(feedback, ["a=rtcp-fb:96 nack pli"]);
    let every = chromium("sendonly") + "a=rtcp-fb:* nack\na=rtcp-fb:103 transport-cc\n";
    let (agreement, answer) = answer_publisher(&Offer::parse(&every).unwrap(), &local()).unwrap();
    let asked = |place: usize| agreement.sections[1].codecs[place].feedback;
    assert!(asked(0).nack && asked(0).transport_cc && !asked(0).pli);
    assert!(answer.contains("a=rtcp-fb:107 nack\r\n"));
}

#[test]
fn thousands_of_payload_types_cost_no_more_than_their_lines() {
    let mut text = chromium("sendonly");
    text.push_str(&"a=rtpmap:101 VP8/90000\na=fmtp:101 apt=101\n".repeat(1_500));
    let numbers = " 101".repeat(4_000);
    let offer = Offer::parse(&text.replace(" 45 46\n", &format!(" 45 46{numbers}\n"))).unwrap();
    let vp8 = offer.sections[1].codecs.iter().filter(|codec| codec.codec == Codec::Vp8).count();
    assert_eq!(vp8, 2, "a repeated payload type is one");
}

#[test]
fn what_is_missing_is_named() {
    let good = chromium("sendonly");
    let without = |what: &str| {
        let lines: Vec<_> = good.lines().filter(|line| !line.starts_with(what)).collect();
        Offer::parse(&lines.join("\r\n")).unwrap_err()
    };
    assert_eq!(without("a=ice-pwd"), OfferError::NoIceCredentials);
    assert_eq!(without("a=fingerprint"), OfferError::NoFingerprint);
    assert_eq!(without("a=setup"), OfferError::Setup);
    assert_eq!(without("a=group"), OfferError::NotBundled);
    assert_eq!(without("a=rtcp-mux"), OfferError::NoRtcpMux("0".to_owned()));
    assert_eq!(without("v="), OfferError::NotSdp);
    assert_eq!(without("m="), OfferError::NoMedia);
    assert_eq!(Offer::parse(&good.replace("actpass", "passive")), Err(OfferError::Setup));
    assert!(Offer::parse(&good.replace('\n', "\r\n")).is_ok());
}

/// Found by fuzzing: a viewer without a single track was let in.
#[test]
fn a_track_goes_to_a_section_of_its_kind_only() {
    let audio = outgoing(Codec::Opus);
    let text = chromium("recvonly").replace("m=audio", "m=text");
    let refused = answer_viewer(&Offer::parse(&text).unwrap(), &local(), &[audio], false).unwrap_err();
    assert!(matches!(refused, NegotiationError::NoCommonCodec { .. }), "{refused}");
}

/// A mid is echoed in the answer; the fuzz target `offer` looks for the same.
#[test]
fn an_offer_cannot_write_lines_into_its_answer() {
    for hidden in ["\r", "\0"] {
        let text = chromium("sendonly").replace("a=mid:0", &format!("a=mid:0{hidden}a=ice-pwd:theirs"));
        assert_eq!(Offer::parse(&text), Err(OfferError::ControlCharacter));
    }
    assert!(Offer::parse(&chromium("sendonly").replace('\n', "\r\n")).is_ok());
}

#[test]
fn a_fingerprint_matches_its_certificate_only() {
    let digest = ring::digest::digest(&ring::digest::SHA256, b"certificate");
    let text = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let fingerprint: Fingerprint = format!("SHA-256 {text}").parse().unwrap();
    assert!(fingerprint.matches(b"certificate") && !fingerprint.matches(b"another"));
    assert!("sha-1 AA".parse::<Fingerprint>().is_err() && "sha-256 AA:BB".parse::<Fingerprint>().is_err());
}

proptest! {
    #[test]
    fn damaged_offers_never_panic(cut in 0_usize..3_000, at in 0_usize..3_000, byte in any::<char>()) {
        let good = chromium("sendrecv");
        let mut text: String = good.chars().take(cut).collect();
        if at < text.len() && text.is_char_boundary(at) {
            text.insert(at, byte);
        }
        if let Ok(offer) = Offer::parse(&text) {
            let _ = answer_publisher(&offer, &local());
            let _ = answer_viewer(&offer, &local(), &[outgoing(HIGH)], true);
        }
    }
}
