use super::cipher::{CmKey, GcmKey, derive};
use super::replay::{Replay, SOURCES_MAX};
use super::*;
use ring::aead::{AES_128_GCM, LessSafeKey, UnboundKey};
use rtc::crypto::RTCCryptoProvider;
use rtc::crypto::providers::RingProvider;
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

fn material(profile: SrtpProfile) -> Vec<u8> {
    (0..profile.exported_bytes()).map(|byte| byte as u8 * 3 + 1).collect()
}

/// A client's side of the same keys.
fn client(profile: SrtpProfile) -> (Sealer, Opener) {
    let keys = SessionKeys::from_exporter(profile, &material(profile));
    (Sealer::new(profile, &keys.client), Opener::new(profile, &keys.server))
}

fn packet(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80, 96];
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

const BOTH: [SrtpProfile; 2] = [SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn key_derivation_matches_rfc_3711_appendix_b_3() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    assert_eq!(derive::<16>(&key, &salt, 0).to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive::<14>(&key, &salt, 2).to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(derive::<20>(&key, &salt, 1).to_vec(), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

#[test]
fn the_key_stream_matches_rfc_3711_appendix_b_2() {
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
    let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
    let mut stream = vec![0; 48];
    CmKey::new(&key, &[0; 20], salt).apply(0, 0, &mut stream);
    let expected = concat!(
        "E03EAD0935C95E80E166B16DD92B4EB4",
        "D23513162B02D0F72A43A2FE4A5F97AB",
        "41E95B3BB0A2E8DD477901E4FCA894C0"
    );
    assert_eq!(stream, hex(expected));
}

/// Session key and salt of all vectors of RFC 7714.
fn vector_key() -> Cipher {
    let key = UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f")).unwrap();
    let salt = hex("517569642070726f2071756f").try_into().unwrap();
    Cipher::Gcm(Box::new(GcmKey { key: LessSafeKey::new(key), salt }))
}

/// RFC 7714 sections 16.1.1 and 16.1.2.
#[test]
fn rtp_matches_the_vector_of_rfc_7714() {
    let plain = hex(concat!(
        "8040f17b8041f8d35501a0b2",
        "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
    ));
    let sealed = hex(concat!(
        "8040f17b8041f8d35501a0b2",
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833",
        "899d7f27beb16a9152cf765ee4390cce"
    ));
    let mut sealer = Sealer { rtp: vector_key(), rtcp: vector_key(), rtcp_index: 0 };
    let mut arena = plain.clone();
    sealer.seal(&mut arena, 0, 12, 0x5501_a0b2, 0xf17b);
    assert_eq!(arena, sealed);
    let mut opener = Opener { rtp: vector_key(), rtcp: vector_key(), sources: Sources::default() };
    opener.open_rtp(&mut arena).unwrap();
    assert_eq!(arena, plain);
}

/// RFC 7714 sections 17.1 and 17.2.
#[test]
fn rtcp_matches_the_vector_of_rfc_7714() {
    let plain = hex(concat!(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e930",
        "4c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
    ));
    let sealed = hex(concat!(
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b",
        "c84aa45896cf4d2fc5abf87245d9eade800005d4"
    ));
    let mut sealer = Sealer { rtp: vector_key(), rtcp: vector_key(), rtcp_index: 0x5d4 };
    let mut arena = plain.clone();
    sealer.seal_rtcp(&mut arena, 0);
    assert_eq!(arena, sealed);
    let mut opener = Opener { rtp: vector_key(), rtcp: vector_key(), sources: Sources::default() };
    opener.open_rtcp(&mut arena).unwrap();
    assert_eq!(arena, plain);
}

#[test]
fn both_profiles_agree_with_the_family_s_own_context() {
    for profile in BOTH {
        let keys = SessionKeys::from_exporter(profile, &material(profile));
        let family = |(key, salt): &(Vec<u8>, Vec<u8>)| {
            let named = match profile {
                SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
                SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            };
            Context::new(key, salt, named, None, None, RingProvider::new().crypto()).unwrap()
        };
        let plain = packet(1_000, 42, b"a frame of video");
        let mut sealed = vec![1, 2, 3];
        sealed.extend_from_slice(&plain);
        keys.sealer().seal(&mut sealed, 3, 12, 42, 1_000);
        assert_eq!(family(&keys.server).decrypt_rtp(&sealed[3..]).unwrap(), plain);

        let mut theirs = family(&keys.client).encrypt_rtp(&plain).unwrap().to_vec();
        keys.opener().open_rtp(&mut theirs).unwrap();
        assert_eq!(theirs, plain);

        let report = [&[0x80, 201, 0, 1][..], &7_u32.to_be_bytes()].concat();
        let mut sealed = report.clone();
        keys.sealer().seal_rtcp(&mut sealed, 0);
        assert_eq!(family(&keys.server).decrypt_rtcp(&sealed).unwrap(), report);
        let mut theirs = family(&keys.client).encrypt_rtcp(&report).unwrap().to_vec();
        keys.opener().open_rtcp(&mut theirs).unwrap();
        assert_eq!(theirs, report);
    }
}

#[test]
fn the_rollover_counter_follows_over_the_wrap_and_late_packets_are_still_opened() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
        for index in [65_530_u64, 65_535, 65_536, 65_534, 65_600, 65_533, 98_000, 98_080, 98_071, 130_000, 131_080] {
            let plain = packet(index as u16, 9, b"x");
            let mut sealed = plain.clone();
            sealer.seal(&mut sealed, 0, 12, 9, index);
            assert_eq!(opener.open_rtp(&mut sealed), Ok(()), "{index}");
            assert_eq!(sealed, plain);
        }
    }
}

#[test]
fn the_caller_s_index_decides_whatever_was_sealed_before() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let mut seal = |index| {
            let mut sealed = packet(9, 9, b"the same");
            sealer.seal(&mut sealed, 0, 12, 9, index);
            sealed
        };
        let (first, later, again) = (seal(9), seal(65_536 + 9), seal(9));
        assert_ne!(first, later);
        assert_eq!(first, again);
    }
}

#[test]
fn other_parties_follow_our_rollover_counter_and_report_index() {
    let profile = SrtpProfile::AesCm128HmacSha1_80;
    let keys = SessionKeys::from_exporter(profile, &material(profile));
    let (key, salt) = &keys.server;
    let named = ProtectionProfile::Aes128CmHmacSha1_80;
    let (rtp, rtcp) = (Some(srtp_replay_protection(64)), Some(srtcp_replay_protection(64)));
    let mut theirs = Context::new(key, salt, named, rtp, rtcp, RingProvider::new().crypto()).unwrap();
    let mut sealer = keys.sealer();
    for _ in 0..3 {
        let mut report = [&[0x80, 201, 0, 1][..], &7_u32.to_be_bytes()].concat();
        sealer.seal_rtcp(&mut report, 0);
        theirs.decrypt_rtcp(&report).unwrap();
    }
    for index in [65_534_u64, 65_535, 65_536, 65_537] {
        let plain = packet(index as u16, 9, b"over the wrap");
        let mut sealed = plain.clone();
        sealer.seal(&mut sealed, 0, 12, 9, index);
        assert_eq!(theirs.decrypt_rtp(&sealed).unwrap(), plain, "{index}");
    }
}

#[test]
fn headers_with_sources_and_extensions_stay_readable() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
        let mut plain = packet(3, 9, &[0, 0, 0, 5, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
        plain[0] = 0x91;
        plain.extend_from_slice(b"payload");
        let mut sealed = plain.clone();
        sealer.seal(&mut sealed, 0, 24, 9, 3);
        assert_eq!(sealed[..24], plain[..24]);
        assert_ne!(sealed[24..31], plain[24..]);
        assert_eq!(opener.open_rtp(&mut sealed), Ok(()));
        assert_eq!(sealed, plain);
    }
}

/// Whoever can send from a viewer's address could otherwise fill our memory, one invented source after the other.
#[test]
fn forged_sources_cost_no_memory_and_authentic_ones_are_bounded() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
        let mut packets: Vec<_> = (0..1_000).map(|ssrc| packet(1, ssrc, &[7; 60])).collect();
        let mut reports: Vec<_> =
            (0..1_000_u32).map(|ssrc| [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes(), &[0xff; 40]].concat()).collect();
        let allocated = crate::allocations::during(|| {
            packets.iter_mut().for_each(|packet| assert_eq!(opener.open_rtp(packet), Err(SrtpError::Forged)));
            reports.iter_mut().for_each(|report| assert_eq!(opener.open_rtcp(report), Err(SrtpError::Forged)));
        });
        assert_eq!(allocated, 0, "{profile:?}");

        let mut seal = |ssrc| {
            let mut sealed = packet(1, ssrc, b"x");
            sealer.seal(&mut sealed, 0, 12, ssrc, 1);
            sealed
        };
        let most = SOURCES_MAX as u32;
        (0..most).for_each(|ssrc| assert_eq!(opener.open_rtp(&mut seal(ssrc)), Ok(())));
        assert_eq!(opener.open_rtp(&mut seal(most)), Err(SrtpError::TooManySources));
    }
}

#[test]
fn sealing_allocates_nothing_while_the_arena_has_room() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let plain = packet(1, 9, &[7; 1_200]);
        let mut arena = Vec::with_capacity(64 * 1_024);
        let allocated = crate::allocations::during(|| {
            for index in 0..40 {
                let start = arena.len();
                arena.extend_from_slice(&plain);
                sealer.seal(&mut arena, start, 12, 9, index);
            }
        });
        assert_eq!(allocated, 0, "{profile:?}");
    }
}

#[test]
fn replayed_and_forged_packets_are_refused_and_change_nothing() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
        let mut sealed = packet(5, 9, b"payload");
        sealer.seal(&mut sealed, 0, 12, 9, 5);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert!(opener.open_rtp(&mut forged).is_err(), "byte {at}");
        }
        for end in 0..sealed.len() {
            assert!(opener.open_rtp(&mut sealed[..end].to_vec()).is_err(), "cut at {end}");
            assert!(opener.open_rtcp(&mut sealed[..end].to_vec()).is_err(), "cut at {end}");
        }
        assert_eq!(opener.open_rtp(&mut sealed.clone()), Ok(()));
        assert_eq!(opener.open_rtp(&mut sealed.clone()), Err(SrtpError::Replayed));
    }
}

#[test]
fn the_replay_window_slides_and_forgets() {
    let mut replay = Replay::default();
    for index in [10, 12, 11, 2_000, 1_990] {
        assert!(!replay.was_seen(index), "{index}");
        replay.note(index);
        assert!(replay.was_seen(index), "{index}");
    }
    assert!(replay.was_seen(900), "too old to tell");
    assert!(!replay.was_seen(1_500));
    assert_eq!(replay.guess(1_999), 1_999);
}

#[test]
fn replayed_and_forged_reports_are_refused_and_each_has_its_own_index() {
    for profile in BOTH {
        let (mut sealer, _) = client(profile);
        let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
        let plain = [&[0x80, 201, 0, 2][..], &7_u32.to_be_bytes(), &[1, 2, 3, 4]].concat();
        let mut sealed = [plain.clone(), plain.clone(), plain.clone()];
        sealed.iter_mut().for_each(|report| sealer.seal_rtcp(report, 0));
        assert_ne!(sealed[0], sealed[1]);
        for at in 0..sealed[0].len() {
            let mut forged = sealed[0].clone();
            forged[at] ^= 1;
            assert!(opener.open_rtcp(&mut forged).is_err(), "byte {at}");
        }
        for end in 0..sealed[0].len() {
            assert!(opener.open_rtcp(&mut sealed[0][..end].to_vec()).is_err(), "cut at {end}");
        }
        for at in [2, 0, 1] {
            let mut report = sealed[at].clone();
            assert_eq!(opener.open_rtcp(&mut report), Ok(()));
            assert_eq!(report, plain);
            assert_eq!(opener.open_rtcp(&mut sealed[at].clone()), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn empty_and_tiny_packets_never_panic() {
    for profile in BOTH {
        let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
        for first in [0x00, 0x80, 0x90, 0x9f, 0xff] {
            for length in 0..64 {
                let mut bytes = vec![0xff; length];
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                assert!(opener.open_rtp(&mut bytes.clone()).is_err());
                assert!(opener.open_rtcp(&mut bytes).is_err());
            }
        }
    }
}
