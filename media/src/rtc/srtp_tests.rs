use super::*;

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

#[test]
fn key_derivation_matches_rfc_3711_appendix_b_3() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
    assert_eq!(derive(&key, &salt, LABEL_RTP_KEY).to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive(&key, &salt, LABEL_RTP_SALT)[..14].to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// RFC 7714 section 16.1.1.
#[test]
fn sealing_matches_the_vector_of_rfc_7714() {
    let key = UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f")).unwrap();
    let salt = hex("517569642070726f2071756f").try_into().unwrap();
    let gcm = || GcmKey { key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[0; 16]).unwrap()), salt: [0; 12] };
    let mut sealer = Sealer::Gcm(Box::new(GcmSealer {
        rtp: GcmKey { key: LessSafeKey::new(key), salt },
        rtcp: gcm(),
        rtcp_index: 0,
    }));
    let mut arena = hex(concat!(
        "8040f17b8041f8d35501a0b2",
        "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573"
    ));
    sealer.seal(&mut arena, 0, 12, 0x5501_a0b2, 0xf17b);
    let expected = hex(concat!(
        "8040f17b8041f8d35501a0b2",
        "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833",
        "899d7f27beb16a9152cf765ee4390cce"
    ));
    assert_eq!(arena, expected);
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
    let profile = SrtpProfile::AeadAes128Gcm;
    let (mut sealer, _) = client(profile);
    let mut opener = SessionKeys::from_exporter(profile, &material(profile)).opener();
    for index in [65_530_u64, 65_535, 65_536, 65_534, 65_600, 65_533, 98_000, 98_080, 98_071, 130_000, 131_080] {
        let mut sealed = packet(index as u16, 9, b"x");
        sealer.seal(&mut sealed, 0, 12, 9, index);
        assert_eq!(opener.open_rtp(&mut sealed), Ok(()), "{index}");
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
        assert!(opener.open_rtp(&mut sealed.clone()).is_err(), "seen before");
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
