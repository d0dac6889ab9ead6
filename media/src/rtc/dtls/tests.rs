use super::greeting::{GREETING_BYTES_MAX, GREETING_DATAGRAMS_MAX};
use super::*;

fn server() -> (tempfile::TempDir, Identity) {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(dir.path()).unwrap();
    (dir, identity)
}

/// A browser's side, made of the same family.
fn client(now: Instant, at: PeerKey) -> Endpoint {
    client_with(
        now,
        at,
        &[SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
    )
}

fn client_with(now: Instant, at: PeerKey, profiles: &[SrtpProtectionProfile]) -> Endpoint {
    let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
    let certificate = Certificate::generate_self_signed(vec!["browser".to_owned()], provider.crypto()).unwrap();
    let config = ConfigBuilder::default()
        .with_crypto_provider(provider)
        .with_certificates(vec![certificate])
        .with_srtp_protection_profiles(profiles.to_vec())
        .with_insecure_skip_verify(true)
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .build(true, None)
        .unwrap();
    let mut endpoint = Endpoint::new(SocketAddr::from(([127, 0, 0, 1], 1)), TransportProtocol::UDP, None);
    endpoint.connect(now, at.address(), Arc::new(config), None).unwrap();
    endpoint
}

/// Runs the handshake on a virtual clock; `lost` says which of the server's records the network drops.
fn shake(
    server: &mut DtlsServer,
    client: &mut Endpoint,
    peer: PeerKey,
    mut lost: impl FnMut(usize) -> bool,
) -> DtlsEventKind {
    let mut now = Instant::now();
    let mut sent = 0;
    for _ in 0..200 {
        while let Some(record) = client.poll_transmit() {
            let _ = server.handle_datagram(now, peer, &record.message);
        }
        while let Some((to, record)) = server.poll_transmit() {
            assert_eq!(to, peer);
            sent += 1;
            if !lost(sent) {
                client.read(now, peer.address(), None, record).unwrap();
            }
        }
        if let Some(event) = server.poll_event() {
            return event.kind;
        }
        now += Duration::from_millis(50);
        server.handle_timeout(now);
        let _ = client.handle_timeout(peer.address(), now);
    }
    panic!("no end in ten seconds");
}

#[test]
fn both_sides_export_the_same_keys_also_when_records_are_lost() {
    for drop_first in [0, 3] {
        let (_dir, identity) = server();
        let (mut server, peer) = (DtlsServer::new(&identity), PeerKey::from_index(70_000));
        let mut client = client(Instant::now(), peer);
        let end = shake(&mut server, &mut client, peer, |sent| sent <= drop_first);
        let DtlsEventKind::Connected { profile, keying_material, certificate, .. } = end else { panic!("no keys") };
        assert_eq!(profile, SrtpProfile::AeadAes128Gcm);
        assert!(!certificate.is_empty());
        let theirs = client.get_connection_state(peer.address()).unwrap();
        let theirs = theirs.export_keying_material("EXTRACTOR-dtls_srtp", &[], 56).unwrap();
        assert_eq!(theirs.as_ref(), keying_material);
        assert!(server.poll_timeout().is_none(), "nothing is left to wait for");
    }
}

#[test]
fn garbage_before_the_handshake_changes_nothing_not_even_the_cipher() {
    let (_dir, identity) = server();
    let goodbye = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
    for garbage in [&[][..], &[22], &[22, 254, 253, 0], &[20; 300], &[63; 13], &goodbye] {
        let (mut server, peer) = (DtlsServer::new(&identity), PeerKey::from_index(1));
        assert!(server.handle_datagram(Instant::now(), peer, garbage).is_err());
        assert!(server.is_empty());
        let mut client = client_with(Instant::now(), peer, &[SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm]);
        let end = shake(&mut server, &mut client, peer, |_| false);
        assert!(matches!(end, DtlsEventKind::Connected { profile: SrtpProfile::AeadAes128Gcm, .. }), "{garbage:?}");
    }
}

/// A record with a part of a ClientHello of `total` bytes.
fn part(total: usize, offset: usize, bytes: usize) -> Vec<u8> {
    let three = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let mut out = vec![HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&((HANDSHAKE_HEADER + bytes) as u16).to_be_bytes());
    out.push(CLIENT_HELLO);
    out.extend([three(total), vec![0, 0], three(offset), three(bytes), vec![7; bytes]].concat());
    out
}

#[test]
fn a_greeting_is_whole_when_every_byte_came_however_often_and_in_whatever_order() {
    let mut greeting = Greeting::default();
    assert_eq!(greeting.add(&part(1_800, 0, 1_100)), Added::Part);
    assert_eq!(greeting.add(&part(1_800, 0, 1_100)), Added::Nothing, "sent again");
    assert_eq!(greeting.add(&part(900, 0, 900)), Added::Nothing, "another length");
    assert_eq!(greeting.add(&part(1_800, 1_700, 101)), Added::Nothing, "past the end");
    assert_eq!(greeting.add(&part(1_800, 1_500, 0)), Added::Nothing, "empty");
    assert_eq!(greeting.pieces.len(), 1);
    assert_eq!(greeting.add(&part(1_800, 1_000, 800)), Added::Whole, "overlapping");
    assert_eq!((greeting.datagrams.len(), greeting.message), (2, vec![7; 1_800]));

    let mut backwards = Greeting::default();
    assert_eq!(backwards.add(&part(30, 20, 10)), Added::Part);
    assert_eq!(backwards.add(&part(30, 0, 10)), Added::Part);
    assert_eq!(backwards.add(&[part(30, 10, 5), part(30, 15, 5)].concat()), Added::Whole);
}

#[test]
fn a_greeting_cannot_claim_or_keep_more_than_its_share() {
    let mut greeting = Greeting::default();
    assert_eq!(greeting.add(&part(GREETING_BYTES_MAX + 1, 0, 10)), Added::Nothing);
    assert!(greeting.message.is_empty());
    for at in 1..GREETING_DATAGRAMS_MAX {
        assert_eq!(greeting.add(&part(GREETING_BYTES_MAX, at * 20, 10)), Added::Part);
    }
    assert_eq!(greeting.add(&part(GREETING_BYTES_MAX, 0, 10)), Added::Whole, "taken as it is");
}

/// A record with parts `numbers` of a message, all of them empty, each said to be one byte behind the one before.
fn empty_parts(record: u8, numbers: std::ops::Range<usize>) -> Vec<u8> {
    let three = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let parts: Vec<u8> =
        numbers.flat_map(|number| [vec![16, 0, 0, 0, 0, 1], three(number), three(1)].concat()).collect();
    let length = (parts.len() as u16).to_be_bytes();
    [&[HANDSHAKE, 254, 253, 0, 0, 0, 0, 0, 0, 0, record][..], &length, &parts].concat()
}

#[test]
fn a_message_in_ten_thousand_parts_does_not_end_the_thread() {
    let (_dir, identity) = server();
    let (mut server, now) = (DtlsServer::new(&identity), Instant::now());
    let (hostile, other) = (PeerKey::from_index(1), PeerKey::from_index(2));
    let mut greets = client(now, hostile);
    while let Some(record) = greets.poll_transmit() {
        server.handle_datagram(now, hostile, &record.message).unwrap();
    }
    // From behind: only with the first of them is there something to join.
    let mut refused = 0;
    for (record, first) in (100..).zip((0..10_000).step_by(100).rev()) {
        let parts = empty_parts(record, first..first + 100);
        refused += usize::from(server.handle_datagram(now, hostile, &parts).is_err());
    }
    assert!(refused > 90, "{refused} of 100 datagrams were too much");
    server.close(now, hostile);
    while server.poll_transmit().is_some() {}
    let end = shake(&mut server, &mut client(now, other), other, |_| false);
    assert!(matches!(end, DtlsEventKind::Connected { .. }), "others are served");
}

#[test]
fn what_a_connected_peer_says_of_handshakes_is_bounded_too() {
    let (_dir, identity) = server();
    let (mut server, peer, now) = (DtlsServer::new(&identity), PeerKey::from_index(1), Instant::now());
    let mut client = client(now, peer);
    shake(&mut server, &mut client, peer, |_| false);
    // What it is, nobody can tell before it is opened.
    let sealed = [&[HANDSHAKE, 254, 253, 0, 1, 0, 0, 0, 0, 1, 0, 3, 232][..], &[7; 1_000]].concat();
    let taken = (0..100).filter(|_| server.handle_datagram(now, peer, &sealed).is_ok()).count();
    assert_eq!(taken, 8);
    server.close(now, peer);
    assert!(server.is_empty());
}

#[test]
fn a_thousand_peers_that_left_in_mid_handshake_leave_nothing_behind() {
    let (_dir, identity) = server();
    let (mut server, now) = (DtlsServer::new(&identity), Instant::now());
    for index in 0..1_000 {
        let peer = PeerKey::from_index(index);
        if index % 2 == 0 {
            server.handle_datagram(now, peer, &part(1_800, 0, 1_100)).unwrap();
        } else {
            let mut client = client(now, peer);
            while let Some(record) = client.poll_transmit() {
                server.handle_datagram(now, peer, &record.message).unwrap();
            }
        }
        assert_eq!(server.endpoint.get_connections_keys().count() + server.greetings.len(), 1);
        server.close(now, peer);
        while server.poll_transmit().is_some() {}
    }
    assert!(server.is_empty() && server.poll_timeout().is_none());
}

#[test]
fn goodbyes_are_heard_in_both_directions_and_nothing_is_left_behind() {
    let (_dir, identity) = server();
    let (mut server, peer, now) = (DtlsServer::new(&identity), PeerKey::from_index(5), Instant::now());
    let mut client = client(now, peer);
    shake(&mut server, &mut client, peer, |_| false);
    client.stop(now, peer.address());
    while let Some(record) = client.poll_transmit() {
        let _ = server.handle_datagram(now, peer, &record.message);
    }
    assert!(matches!(server.poll_event().map(|event| event.kind), Some(DtlsEventKind::Closed)));
    server.close(now, peer);
    assert_eq!(server.endpoint.get_connections_keys().count(), 0);
}

#[test]
fn who_gives_up_on_the_handshake_is_not_waited_for_and_nobody_ends_a_connection_of_others() {
    let (_dir, identity) = server();
    let (mut server, peer, now) = (DtlsServer::new(&identity), PeerKey::from_index(5), Instant::now());
    let mut client = client(now, peer);
    // handshake_failure, fatal; without a key anybody could have written it.
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 2, 40];
    shake(&mut server, &mut client, peer, |_| false);
    let _ = server.handle_datagram(now, peer, &alert);
    assert!(server.poll_event().is_none());
    server.close(now, peer);
    while server.poll_transmit().is_some() {}

    let mut client = client_with(now, peer, &[SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm]);
    while let Some(record) = client.poll_transmit() {
        server.handle_datagram(now, peer, &record.message).unwrap();
    }
    assert!(server.handle_datagram(now, peer, &alert).is_ok());
    assert!(matches!(server.poll_event().map(|event| event.kind), Some(DtlsEventKind::Failed(_))));
    server.close(now, peer);
    while server.poll_transmit().is_some() {}
    assert!(server.is_empty());
}

#[test]
fn the_certificate_is_the_same_after_a_restart_and_a_broken_one_is_named() {
    let (dir, identity) = server();
    assert_eq!(Identity::load_or_create(dir.path()).unwrap().fingerprint, identity.fingerprint);
    assert_eq!(identity.fingerprint.len(), 95);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else may read the key");
    }
    std::fs::write(dir.path().join(FILE), "nonsense").unwrap();
    assert!(matches!(Identity::load_or_create(dir.path()), Err(DtlsError::Broken { .. })));
}

#[test]
fn the_fast_cipher_is_chosen_where_it_is_offered_and_the_older_one_otherwise() {
    let (_dir, identity) = server();
    let (mut server, peer) = (DtlsServer::new(&identity), PeerKey::from_index(9));
    let mut client = client_with(Instant::now(), peer, &[SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80]);
    let end = shake(&mut server, &mut client, peer, |_| false);
    let DtlsEventKind::Connected { profile, .. } = end else { panic!("no keys") };
    assert_eq!(profile, SrtpProfile::AesCm128HmacSha1_80);
}

/// Runs the handshake on a virtual clock over a network that takes `delay` each way and loses every `lost`th datagram.
/// The round trip that the server made of it.
fn shake_over(delay: Duration, lost: usize) -> Result<Option<Duration>, String> {
    let (_dir, identity) = server();
    let (mut server, peer, began) = (DtlsServer::new(&identity), PeerKey::from_index(3), Instant::now());
    let mut client = client(began, peer);
    let (mut to_server, mut to_client) = (VecDeque::new(), VecDeque::new());
    let (mut now, mut sent) = (began, 0);
    let mut passes = |now| {
        sent += 1;
        (lost == 0 || sent % lost != 0).then_some(now + delay)
    };
    while now < began + Duration::from_secs(60) {
        while let Some(record) = client.poll_transmit() {
            to_server.extend(passes(now).map(|at| (at, record.message)));
        }
        while let Some((_, record)) = server.poll_transmit() {
            to_client.extend(passes(now).map(|at| (at, record)));
        }
        if let Some((_, record)) = to_server.pop_front_if(|(at, _): &mut (Instant, BytesMut)| *at <= now) {
            let _ = server.handle_datagram(now, peer, &record);
        } else if let Some((_, record)) = to_client.pop_front_if(|(at, _): &mut (Instant, BytesMut)| *at <= now) {
            let _ = client.read(now, peer.address(), None, record);
        } else {
            now += Duration::from_millis(1);
            server.handle_timeout(now);
            let _ = client.handle_timeout(peer.address(), now);
        }
        match server.poll_event().map(|event| event.kind) {
            Some(DtlsEventKind::Connected { round_trip, .. }) => return Ok(round_trip),
            Some(DtlsEventKind::Failed(error)) => return Err(format!("after {:?}: {error}", now - began)),
            Some(DtlsEventKind::Closed) => return Err(format!("closed after {:?}", now - began)),
            None => {}
        }
    }
    Err("no end in a minute".to_owned())
}

#[test]
fn slow_networks_are_waited_for_and_what_they_lose_is_sent_again() {
    for delay_ms in [1, 40, 60, 120, 300, 500, 900] {
        // The client here waits a second between tries, eight times, and one that loses every other datagram can need more.
        for lost in [0, 3, 4, 5, 7] {
            let end = shake_over(Duration::from_millis(delay_ms), lost);
            let Ok(Some(round_trip)) = end else { panic!("{delay_ms} ms each way, every {lost}th lost: {end:?}") };
            let (least, most) = (Duration::from_millis(2 * delay_ms), Duration::from_millis(2 * delay_ms + 5));
            assert!(round_trip >= least, "{delay_ms} ms each way, every {lost}th lost: {round_trip:?}");
            assert!(lost > 0 || round_trip <= most, "{delay_ms} ms each way: {round_trip:?}");
        }
    }
}
