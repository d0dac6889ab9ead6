//! DTLS in the server role for the peers of one worker (RFC 6347, RFC 5764), on the sans-I/O endpoint of the `rtc` family.
//!
//! In: records of a peer, the clock. Out: records, SRTP keys, the end. Pure. The endpoint knows its associations by address;
//! a peer may change its own, so each goes under an address made of its key, and a move is no matter here.

mod flight;
mod greeting;
mod ration;

use crate::private_file;
use crate::rtc::srtp::SrtpProfile;
use bytes::BytesMut;
pub(crate) use flight::Flight;
use greeting::{Added, Greeting, offers_gcm};
use ration::Ration;
use rtc::crypto::RTCCryptoProvider;
use rtc::crypto::providers::RingProvider;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::dtls::state::State;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The server's certificate. Kept on disk, so that a restart is no stranger to anyone.
pub(crate) struct Identity {
    configs: Configs,
    fingerprint: String,
}

/// One per SRTP profile: the endpoint takes the first profile of the client's list, and browsers put the older cipher
/// there, which costs four times as much per packet.
#[derive(Clone)]
struct Configs {
    gcm: Arc<HandshakeConfig>,
    cm: Arc<HandshakeConfig>,
}

/// Names a peer to [`DtlsServer`]: its place in the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PeerKey(u32);

pub(crate) struct DtlsServer {
    endpoint: Endpoint,
    configs: Configs,
    /// Handshakes under way, and what each of them said last.
    shaking: Vec<(PeerKey, Flight)>,
    again: VecDeque<(PeerKey, BytesMut)>,
    /// Greetings that are not whole yet.
    greetings: Vec<(PeerKey, Greeting)>,
    /// What those whose greeting was whole have said.
    rations: HashMap<PeerKey, Ration>,
    events: VecDeque<DtlsEvent>,
}

pub(crate) struct DtlsEvent {
    pub(crate) peer: PeerKey,
    pub(crate) kind: DtlsEventKind,
}

pub(crate) enum DtlsEventKind {
    Connected {
        profile: SrtpProfile,
        keying_material: Vec<u8>,
        /// DER; to be held against the fingerprint of the offer.
        certificate: Vec<u8>,
        /// As the handshake went; too long where all of its flights were lost once.
        round_trip: Option<Duration>,
    },
    /// The peer said goodbye.
    Closed,
    Failed(DtlsError),
}

#[derive(Debug, thiserror::Error)]
pub enum DtlsError {
    #[error("cannot read or write {}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} holds no certificate with its key; delete it and a new one is made", path.display())]
    Broken { path: PathBuf },
    #[error("DTLS: {0}")]
    Protocol(String),
}

const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;
/// ContentType and HandshakeType.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const FILE: &str = "webrtc/dtls.pem";

impl Identity {
    /// The certificate in the data directory; made if there is none.
    pub(crate) fn load_or_create(data_dir: &Path) -> Result<Self, DtlsError> {
        let path = data_dir.join(FILE);
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
        let certificate = match std::fs::read_to_string(&path) {
            Ok(pem) => Certificate::from_pem(&pem, provider.crypto()).map_err(|_| DtlsError::Broken { path })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let certificate =
                    Certificate::generate_self_signed(vec!["chobi".to_owned()], provider.crypto()).map_err(protocol)?;
                let pem = certificate.serialize_pem().map_err(protocol)?;
                private_file::write(&path, pem.as_bytes()).map_err(|source| DtlsError::File { path, source })?;
                certificate
            }
            Err(source) => return Err(DtlsError::File { path, source }),
        };
        Self::new(certificate, provider)
    }

    fn new(certificate: Certificate, provider: Arc<dyn RTCCryptoProvider>) -> Result<Self, DtlsError> {
        let der = certificate.certificate.first().ok_or_else(|| DtlsError::Protocol("no certificate".to_owned()))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, der.as_ref());
        let fingerprint = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let gcm = config(&certificate, &provider, SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm)?;
        let cm = config(&certificate, &provider, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80)?;
        Ok(Self { configs: Configs { gcm, cm }, fingerprint })
    }

    /// As SDP writes it: `AB:CD:…`.
    pub(crate) fn fingerprint_sha256(&self) -> String {
        self.fingerprint.clone()
    }
}

fn config(
    certificate: &Certificate,
    provider: &Arc<dyn RTCCryptoProvider>,
    profile: SrtpProtectionProfile,
) -> Result<Arc<HandshakeConfig>, DtlsError> {
    let config = ConfigBuilder::default()
        .with_crypto_provider(Arc::clone(provider))
        .with_certificates(vec![certificate.clone()])
        .with_srtp_protection_profiles(vec![profile])
        .with_client_auth(ClientAuthType::RequireAnyClientCert)
        // Nobody vouches for a browser's certificate: the fingerprint in its offer does (RFC 8122).
        .with_insecure_skip_verify(true)
        .with_extended_master_secret(ExtendedMasterSecretType::Require)
        .build(false, None)
        .map_err(protocol)?;
    Ok(Arc::new(config))
}

/// One record of a datagram.
///
/// ```text
/// record:    type 1 | version 2 | epoch 2 | sequence 6 | length 2
/// handshake: type 1 | length 3 | message 2 | fragment offset 3 | fragment length 3
/// ```
struct Record<'a> {
    kind: u8,
    /// Of epoch 0: nothing is encrypted.
    is_plain: bool,
    body: &'a [u8],
}

/// The records of a datagram, up to the first that is not whole.
fn records(mut datagram: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (head, behind) = datagram.split_at_checked(RECORD_HEADER)?;
        let length = usize::from(u16::from_be_bytes([head[11], head[12]]));
        let (body, behind) = behind.split_at_checked(length)?;
        datagram = behind;
        Some(Record { kind: head[0], is_plain: head[3..5] == [0, 0], body })
    })
}

fn three_bytes(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) << 16 | usize::from(bytes[at + 1]) << 8 | usize::from(bytes[at + 2])
}

fn protocol(error: impl std::fmt::Display) -> DtlsError {
    DtlsError::Protocol(error.to_string())
}

impl PeerKey {
    pub(crate) fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("a worker has fewer than 2^32 peers"))
    }

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// An address nobody has: unique local, with the key in it.
    fn address(self) -> SocketAddr {
        let key = self.0;
        SocketAddr::from((Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (key >> 16) as u16, key as u16), 1))
    }

    fn of(address: SocketAddr) -> Option<Self> {
        match address {
            SocketAddr::V6(address) => {
                let [.., high, low] = address.ip().segments();
                Some(Self(u32::from(high) << 16 | u32::from(low)))
            }
            SocketAddr::V4(_) => None,
        }
    }
}

impl DtlsServer {
    pub(crate) fn new(identity: &Identity) -> Self {
        let here = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1));
        let endpoint = Endpoint::new(here, TransportProtocol::UDP, None);
        Self {
            endpoint,
            configs: identity.configs.clone(),
            shaking: Vec::new(),
            again: VecDeque::new(),
            greetings: Vec::new(),
            rations: HashMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes what a peer sent. An error is a datagram that was no use; the handshake goes on.
    pub(crate) fn handle_datagram(&mut self, now: Instant, peer: PeerKey, datagram: &[u8]) -> Result<(), DtlsError> {
        if self.endpoint.get_connection_state(peer.address()).is_some() {
            return self.read(now, peer, BytesMut::from(datagram));
        }
        let known = self.greetings.iter().position(|(known, _)| *known == peer);
        let mut greeting = known.map_or_else(Greeting::default, |at| self.greetings.swap_remove(at).1);
        let added = greeting.add(datagram);
        if added != Added::Whole {
            if !greeting.datagrams.is_empty() {
                self.greetings.push((peer, greeting));
            }
            let useless = || DtlsError::Protocol("no new part of a ClientHello".to_owned());
            return if added == Added::Part { Ok(()) } else { Err(useless()) };
        }
        let Configs { gcm, cm } = &self.configs;
        let config = if offers_gcm(&greeting.message) { gcm } else { cm };
        self.endpoint.set_server_config(Some(Arc::clone(config)));
        self.shaking.push((peer, Flight::default()));
        greeting.datagrams.into_iter().try_for_each(|datagram| self.read(now, peer, datagram))
    }

    fn read(&mut self, now: Instant, peer: PeerKey, datagram: BytesMut) -> Result<(), DtlsError> {
        let address = peer.address();
        let flight = self.shaking.iter_mut().find(|(shaking, _)| *shaking == peer).map(|(_, flight)| flight);
        self.rations.entry(peer).or_default().take(&datagram, flight.is_some())?;
        if let Some(flight) = flight {
            flight.heard();
        }
        let read = self.endpoint.read(now, address, None, datagram);
        if matches!(read, Err(Error::ErrAlertFatalOrClose)) {
            // Nothing more comes of it: the peer has given up, or was told that we have. Once the handshake is done, nobody
            // else can say so.
            let kind = DtlsEventKind::Failed(protocol(Error::ErrAlertFatalOrClose));
            self.events.push_back(DtlsEvent { peer, kind });
            return Ok(());
        }
        for event in read.map_err(protocol)? {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let done = self.shaking.extract_if(.., |(shaking, _)| *shaking == peer).next();
                    let round_trip = done.and_then(|(_, mut flight)| flight.answered(now));
                    let state = self.endpoint.get_connection_state(address);
                    let kind = keys(state, round_trip).unwrap_or_else(DtlsEventKind::Failed);
                    self.events.push_back(DtlsEvent { peer, kind });
                }
                EndpointEvent::PeerClosed => self.events.push_back(DtlsEvent { peer, kind: DtlsEventKind::Closed }),
                // No data channel was agreed on.
                _ => {}
            }
        }
        Ok(())
    }

    /// A record to send.
    pub(crate) fn poll_transmit(&mut self) -> Option<(PeerKey, BytesMut)> {
        if let Some(again) = self.again.pop_front() {
            return Some(again);
        }
        let transmit = self.endpoint.poll_transmit()?;
        let peer = PeerKey::of(transmit.transport.peer_addr)?;
        if let Some((_, flight)) = self.shaking.iter_mut().find(|(shaking, _)| *shaking == peer) {
            flight.sent(transmit.now, &transmit.message);
        }
        Some((peer, transmit.message))
    }

    pub(crate) fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.shaking.iter().filter_map(|(_, flight)| flight.due()).min()
    }

    /// Sends flights again that were not answered.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let Self { shaking, again, .. } = self;
        for (peer, flight) in shaking {
            again.extend(flight.again(now).iter().map(|record| (*peer, record.clone())));
        }
    }

    /// Whether nothing is kept of anybody.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_empty(&self) -> bool {
        let Self { endpoint, shaking, again, greetings, rations, events, .. } = self;
        let handshakes = endpoint.get_connections_keys().count() + shaking.len() + again.len() + greetings.len();
        handshakes + rations.len() + events.len() == 0
    }

    /// Says goodbye and forgets the peer.
    pub(crate) fn close(&mut self, now: Instant, peer: PeerKey) {
        self.shaking.retain(|(shaking, _)| *shaking != peer);
        self.again.retain(|(again, _)| *again != peer);
        self.greetings.retain(|(greeting, _)| *greeting != peer);
        self.rations.remove(&peer);
        self.endpoint.stop(now, peer.address());
        self.events.retain(|event| event.peer != peer);
    }
}

/// What a finished handshake left, in either role.
pub(crate) fn keys(state: Option<&State>, round_trip: Option<Duration>) -> Result<DtlsEventKind, DtlsError> {
    let missing = || DtlsError::Protocol("the handshake left no keys".to_owned());
    let state = state.ok_or_else(missing)?;
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpProfile::AesCm128HmacSha1_80,
        _ => return Err(DtlsError::Protocol("no SRTP profile in common".to_owned())),
    };
    let exported = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], profile.exported_bytes());
    let keying_material = exported.map_err(protocol)?.as_ref().to_vec();
    let certificate = state.peer_certificates.first().ok_or_else(missing)?.clone();
    Ok(DtlsEventKind::Connected { profile, keying_material, certificate, round_trip })
}

#[cfg(test)]
mod tests;
