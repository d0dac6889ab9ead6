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
use std::time::Instant;

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
        Ok(Self { endpoint, role, expected, flight: Some(Flight::default()), again: VecDeque::new() })
    }

    pub(super) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Option<Progress> {
        if let Some(flight) = &mut self.flight {
            flight.heard();
        }
        match self.endpoint.read(now, OTHER, None, BytesMut::from(datagram)) {
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => {
                    self.flight = None;
                    Some(self.keys())
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

    fn keys(&self) -> Progress {
        match dtls::keys(self.endpoint.get_connection_state(OTHER)) {
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
        if let Some(flight) = &mut self.flight {
            self.again.extend(flight.again(now).iter().cloned());
        }
    }
}
