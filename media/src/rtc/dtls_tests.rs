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
        let DtlsEventKind::Connected { profile, keying_material, certificate } = end else { panic!("no keys") };
        assert_eq!(profile, SrtpProfile::AeadAes128Gcm);
        assert!(!certificate.is_empty());
        let theirs = client.get_connection_state(peer.address()).unwrap();
        let theirs = theirs.export_keying_material("EXTRACTOR-dtls_srtp", &[], 56).unwrap();
        assert_eq!(theirs.as_ref(), keying_material);
        assert!(server.poll_timeout().is_none(), "nothing is left to wait for");
    }
}

#[test]
fn garbage_before_the_handshake_does_not_stop_it() {
    let (_dir, identity) = server();
    let (mut server, peer) = (DtlsServer::new(&identity), PeerKey::from_index(1));
    for garbage in [&[22][..], &[22, 254, 253, 0], &[20; 300], &[63; 13]] {
        let _ = server.handle_datagram(Instant::now(), peer, garbage);
    }
    let mut client = client(Instant::now(), peer);
    assert!(matches!(shake(&mut server, &mut client, peer, |_| false), DtlsEventKind::Connected { .. }));
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
fn the_certificate_is_the_same_after_a_restart_and_a_broken_one_is_named() {
    let (dir, identity) = server();
    assert_eq!(Identity::load_or_create(dir.path()).unwrap().fingerprint, identity.fingerprint);
    assert_eq!(identity.fingerprint.len(), 95);
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
