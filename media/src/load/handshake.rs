//! DTLS of one light peer, in the role the answer leaves it: mostly the client's (RFC 6347, RFC 5764, RFC 8842).
//!
//! In: records, the clock. Out: records, SRTP keys, the end. Pure.

use crate::rtc::dtls::{self, DtlsEventKind, Flight};
use crate::rtc::negotiate::Fingerprint;
use crate::rtc::srtp::SessionKeys;
use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;
use rtc::crypto::providers::RingProvider;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One certificate for all peers of a run. Servers know a peer by its address and password, not by this.
#[derive(Clone)]
pub struct Identity {
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
    fingerprint: String,
}

#[derive(Debug, thiserror::Error)]
#[error("no certificate for DTLS can be made: {0}")]
pub struct IdentityError(String);

/// Who greets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    /// The answer said `a=setup:active`.
    Server,
}

pub(super) struct Handshake {
    endpoint: Endpoint,
    role: Role,
    expected: Fingerprint,
    /// `None`: it is over.
    flight: Option<Flight>,
    again: VecDeque<BytesMut>,
    /// The next number for a record that is sent again.
    renumbered: u16,
}

pub(super) enum Progress {
    Connected(SessionKeys),
    Closed,
    Failed(String),
}

/// The endpoint knows its associations by address; this one has a single one, wherever its datagrams go.
const OTHER: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 1);

impl Identity {
    pub fn generate() -> Result<Self, IdentityError> {
        let failed = |error: &dyn std::fmt::Display| IdentityError(error.to_string());
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(RingProvider::new());
        let certificate = Certificate::generate_self_signed(vec!["bench".to_owned()], provider.crypto())
            .map_err(|error| failed(&error))?;
        let der = certificate.certificate.first().ok_or_else(|| failed(&"it is empty"))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, der.as_ref());
        let fingerprint = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let config = |is_client| {
            let config = ConfigBuilder::default()
                .with_crypto_provider(Arc::clone(&provider))
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(vec![
                    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                ])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                // The fingerprint in the answer vouches for the certificate (RFC 8122); it is compared below.
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                .build(is_client, None);
            config.map(Arc::new).map_err(|error| failed(&error))
        };
        Ok(Self { client: config(true)?, server: config(false)?, fingerprint })
    }

    /// As SDP writes it: `AB:CD:…`.
    pub(super) fn fingerprint_sha256(&self) -> &str {
        &self.fingerprint
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Handshake {
    /// Begins: a client's greeting waits in [`Self::poll_transmit`].
    pub(super) fn begin(identity: &Identity, role: Role, expected: Fingerprint, now: Instant) -> Result<Self, String> {
        let here = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1));
        let config = (role == Role::Server).then(|| Arc::clone(&identity.server));
        let mut endpoint = Endpoint::new(here, TransportProtocol::UDP, config);
        if role == Role::Client {
            endpoint.connect(now, OTHER, Arc::clone(&identity.client), None).map_err(|error| error.to_string())?;
        }
        let (flight, again) = (Some(Flight::default()), VecDeque::new());
        Ok(Self { endpoint, role, expected, flight, again, renumbered: RENUMBERED_FROM })
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<Progress> {
        if let Some(flight) = &mut self.flight {
            flight.heard();
        }
        match self.endpoint.read(now, OTHER, None, BytesMut::from(datagram)) {
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => {
                    let round_trip = self.flight.take().and_then(|mut flight| flight.answered(now));
                    Some(self.keys(round_trip))
                }
                EndpointEvent::PeerClosed => Some(Progress::Closed),
                // No data channel was offered.
                _ => None,
            }),
            Err(Error::ErrAlertFatalOrClose) => Some(Progress::Failed("the server refused the handshake".to_owned())),
            // A datagram that was no use; anybody can send one.
            Err(_) => None,
        }
    }

    fn keys(&self, round_trip: Option<Duration>) -> Progress {
        match dtls::keys(self.endpoint.get_connection_state(OTHER), round_trip) {
            Ok(DtlsEventKind::Connected { certificate, .. }) if !self.expected.matches(&certificate) => {
                Progress::Failed("the server's certificate is not the one its answer names".to_owned())
            }
            Ok(DtlsEventKind::Connected { profile, keying_material, .. }) => {
                let keys = SessionKeys::from_exporter(profile, &keying_material);
                Progress::Connected(if self.role == Role::Client { keys.turned() } else { keys })
            }
            Ok(DtlsEventKind::Closed) => Progress::Closed,
            Ok(DtlsEventKind::Failed(error)) | Err(error) => Progress::Failed(error.to_string()),
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        if let Some(again) = self.again.pop_front() {
            return Some(again);
        }
        let transmit = self.endpoint.poll_transmit()?;
        if let Some(flight) = &mut self.flight {
            flight.sent(transmit.now, &transmit.message);
        }
        Some(transmit.message)
    }

    /// Sends a flight again that was not answered.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let Some(flight) = &mut self.flight else { return };
        let mut again = flight.again(now).to_vec();
        let is_last = again.iter().any(|datagram| records(datagram).any(|at| datagram[at + EPOCH..][..2] != [0, 0]));
        if self.role == Role::Client && is_last {
            again.iter_mut().for_each(|datagram| self.renumbered = renumber(datagram, self.renumbered));
        }
        self.again.extend(again);
    }
}

/// Offsets in a record: `type 1 | version 2 | epoch 2 | sequence 6 | length 2` (RFC 6347 section 4.1).
const EPOCH: usize = 3;
const SEQUENCE: usize = 5;
const LENGTH: usize = 11;
const RECORD_HEADER: usize = 13;
/// More than a handshake has records.
const RENUMBERED_FROM: u16 = 32;

/// Where the records of a datagram begin.
fn records(datagram: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = datagram.get(at + LENGTH..at + RECORD_HEADER)?;
        let start = at;
        at += RECORD_HEADER + usize::from(u16::from_be_bytes([length[0], length[1]]));
        Some(start)
    })
}

/// Gives the records that are not encrypted new numbers from `next` on, and gives back the one behind them. A server that
/// is done and whose last words were lost repeats them only when it hears something it has not heard (RFC 6347 sections
/// 4.2.4 and 4.1.2.6). In a client's last flight that takes no number from later records: those are encrypted.
fn renumber(datagram: &mut BytesMut, mut next: u16) -> u16 {
    let starts: Vec<usize> = records(datagram).filter(|at| datagram[at + EPOCH..][..2] == [0, 0]).collect();
    for at in starts {
        datagram[at + SEQUENCE + 4..][..2].copy_from_slice(&next.to_be_bytes());
        next = next.wrapping_add(1).max(RENUMBERED_FROM);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::time::Duration;

    /// Both roles against each other over a network that loses so many per cent, by chance from `seed`.
    fn shake(lost_percent: u32, seed: u64, named: &Identity, used: &Identity) -> [Progress; 2] {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut now = Instant::now();
        let ours = Identity::generate().unwrap();
        let fingerprint = |identity: &Identity| format!("sha-256 {}", identity.fingerprint_sha256()).parse().unwrap();
        let mut client = Handshake::begin(&ours, Role::Client, fingerprint(named), now).unwrap();
        let mut server = Handshake::begin(used, Role::Server, fingerprint(&ours), now).unwrap();
        let (mut ends, mut sent) = ([None, None], 0);
        while ends.iter().any(Option::is_none) {
            for (from, to, end) in [(0, 1, 1), (1, 0, 0)] {
                let sides = [&mut client, &mut server];
                let records: Vec<_> = std::iter::from_fn(|| sides[from].poll_transmit()).collect();
                for record in records {
                    sent += 1;
                    if chance.random_range(0..100) >= lost_percent {
                        ends[end] = sides[to].handle_datagram(now, &record).or(ends[end].take());
                    }
                }
            }
            now += Duration::from_millis(10);
            client.handle_timeout(now);
            server.handle_timeout(now);
            assert!(sent < 500, "no end in sight with {lost_percent} % lost and seed {seed}");
        }
        ends.map(|end| end.expect("both have ended"))
    }

    #[test]
    fn both_roles_get_keys_that_fit_also_when_records_are_lost() {
        let theirs = Identity::generate().unwrap();
        for (lost_percent, seed) in [(0, 0), (10, 1), (10, 2), (20, 3), (20, 4), (30, 5), (30, 6)] {
            let ends = shake(lost_percent, seed, &theirs, &theirs);
            let [Progress::Connected(client), Progress::Connected(server)] = ends else {
                panic!("no keys, seed {seed}")
            };
            // A server's keys seen by the server, a client's turned: each opens what the other seals.
            for (sender, receiver) in [(&client, &server), (&server, &client)] {
                let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3];
                let plain = packet.clone();
                sender.sealer().seal(&mut packet, 0, 12, 7, 1);
                assert_ne!(packet, plain);
                receiver.opener().open_rtp(&mut packet).unwrap();
                assert_eq!(packet, plain);
            }
        }
    }

    #[test]
    fn a_server_with_another_certificate_than_its_answer_names_is_refused() {
        let [client, _] = shake(0, 0, &Identity::generate().unwrap(), &Identity::generate().unwrap());
        let Progress::Failed(why) = client else { panic!("it was believed") };
        assert!(why.contains("certificate"), "{why}");
    }
}
