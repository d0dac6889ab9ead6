//! A client's side of DTLS, bent: an honest client's datagrams, changed, repeated, lost and mixed with others as the input says.
//!
//! The endpoint behind ours is not instrumented, so bytes alone would hardly get past the first message.

use crate::rtc::dtls::{DtlsEventKind, DtlsServer, Identity, PeerKey};
use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::crypto::providers::RingProvider;
use rtc::dtls::config::{ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::Endpoint;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Made once: keys cost more than everything else here.
struct Kit {
    identity: Identity,
    client: Arc<HandshakeConfig>,
}

/// The client, and what it has said that is not delivered yet.
struct Client {
    endpoint: Endpoint,
    said: VecDeque<BytesMut>,
}

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 1);
/// Longer inputs say nothing new.
const STEPS_MAX: usize = 256;
/// An honest handshake takes three rounds, and one more for what it lost.
const ROUNDS: usize = 8;

fn kit() -> &'static Kit {
    static KIT: OnceLock<Kit> = OnceLock::new();
    KIT.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("chobi-fuzz-dtls-{}", std::process::id()));
        let identity = Identity::load_or_create(&folder).expect("a certificate of ours");
        let _ = std::fs::remove_dir_all(&folder);
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
        let certificate = Certificate::generate_self_signed(vec!["client".to_owned()], provider.crypto())
            .expect("a certificate of the client");
        let client = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)
            .expect("a client's configuration");
        Kit { identity, client: Arc::new(client) }
    })
}

impl Client {
    fn begin(now: Instant) -> Self {
        let mut endpoint = Endpoint::new(SERVER, TransportProtocol::UDP, None);
        endpoint.connect(now, SERVER, Arc::clone(&kit().client), None).expect("it greets");
        let mut client = Self { endpoint, said: VecDeque::new() };
        client.collect();
        client
    }

    fn collect(&mut self) {
        while let Some(datagram) = self.endpoint.poll_transmit() {
            self.said.push_back(datagram.message);
        }
    }

    fn hear(&mut self, now: Instant, datagram: BytesMut) {
        let _ = self.endpoint.read(now, SERVER, None, datagram);
        self.collect();
    }
}

/// Steps, each a byte and what it needs: `0` to `7` deliver the client's next datagram, as it is for the most part, or let time
/// pass; everything above is the length of a datagram of anything, which follows.
pub fn dtls(bytes: &[u8]) {
    let mut now = Instant::now();
    let (hostile, honest) = (PeerKey::from_index(1), PeerKey::from_index(2));
    let mut server = DtlsServer::new(&kit().identity);
    let mut client = Client::begin(now);
    let mut rest = bytes.iter().copied();
    for _ in 0..STEPS_MAX {
        let Some(step) = rest.next() else { break };
        let mut operand = || usize::from(rest.next().unwrap_or(0));
        match step {
            0..=4 => {
                let Some(mut datagram) = client.said.pop_front() else { continue };
                let at = |place: usize, datagram: &BytesMut| place % datagram.len().max(1);
                match step {
                    0 => {}
                    1 => {
                        for _ in 0..=operand() % 8 {
                            let place = at(operand() << 8 | operand(), &datagram);
                            datagram[place] ^= operand() as u8;
                        }
                    }
                    2 => datagram.truncate(at(operand() << 8 | operand(), &datagram)),
                    3 => drop(server.handle_datagram(now, hostile, &datagram)),
                    _ => client.said.push_back(datagram.split_off(at(operand() << 8 | operand(), &datagram))),
                }
                let _ = server.handle_datagram(now, hostile, &datagram);
            }
            5 => drop(client.said.pop_front()),
            6 => client.said.rotate_left(1.min(client.said.len())),
            7 => {
                now += Duration::from_millis(50 * operand() as u64);
                server.handle_timeout(now);
                let _ = client.endpoint.handle_timeout(SERVER, now);
                client.collect();
            }
            length => {
                let datagram: Vec<u8> = rest.by_ref().take(usize::from(length)).collect();
                let _ = server.handle_datagram(now, hostile, &datagram);
            }
        }
        while let Some((peer, datagram)) = server.poll_transmit() {
            assert_eq!(peer, hostile, "nobody else is told anything");
            client.hear(now, datagram);
        }
        while let Some(event) = server.poll_event() {
            assert_eq!(event.peer, hostile);
        }
    }
    if bytes.first().is_some_and(|first| first & 1 == 0) {
        assert!(connects(&mut server, honest, now), "another peer is served as if this one were not there");
        server.close(now, honest);
    }
    server.close(now, hostile);
    while server.poll_transmit().is_some() {}
    assert!(server.is_empty(), "something is left of a peer that is gone");
}

fn connects(server: &mut DtlsServer, peer: PeerKey, now: Instant) -> bool {
    let mut client = Client::begin(now);
    for _ in 0..ROUNDS {
        while let Some(datagram) = client.said.pop_front() {
            let _ = server.handle_datagram(now, peer, &datagram);
        }
        while let Some((to, datagram)) = server.poll_transmit() {
            if to == peer {
                client.hear(now, datagram);
            }
        }
        while let Some(event) = server.poll_event() {
            if event.peer == peer {
                return matches!(event.kind, DtlsEventKind::Connected { .. });
            }
        }
    }
    false
}
