//! Certificates for HTTPS and RTMPS: files of the operator, or one that this server makes for itself.
//!
//! In: `[tls]` of the configuration. Out: `rustls` configurations for both listeners, which follow the files while the
//! server runs. `pair` reads a certificate and its key, `validity` its dates, `self_signed` makes a pair, `names` finds
//! what this machine is called, `certificates` holds the one in use and watches.

mod certificates;
mod names;
mod pair;
mod self_signed;
mod validity;

pub(crate) use certificates::Certificates;
pub(crate) use names::lan_addresses;

use chobi_media::config::ConfigFault;
use pair::Pair;
use serde::{Deserialize, Serialize};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use validity::Validity;

/// HTTPS and RTMPS. Their ports are opened when a certificate and its key are named, or `self_signed` is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate, those that signed it behind it. Empty: none.
    pub certificate: PathBuf,
    /// PEM file with its private key, not encrypted. Empty: none.
    pub key: PathBuf,
    /// Make a certificate for this machine and keep it in the data directory. For a LAN: browsers ask before they
    /// trust it.
    pub self_signed: bool,
    /// Address and port of HTTPS, the same as `http.listen` serves.
    pub http_listen: SocketAddr,
    /// Address and port of RTMPS, the same as `rtmp.listen` serves.
    pub rtmp_listen: SocketAddr,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            self_signed: false,
            http_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 3443)),
            rtmp_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1936)),
        }
    }
}

/// A certificate that ends sooner is worth a notice: renewal is usually due a month before the end.
const ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);
const DAY_SECONDS: u64 = 86_400;

impl TlsConfig {
    /// Whether the TLS listeners are opened.
    pub fn is_on(&self) -> bool {
        self.self_signed || self.names_files()
    }

    fn names_files(&self) -> bool {
        !self.certificate.as_os_str().is_empty() && !self.key.as_os_str().is_empty()
    }

    /// What cannot be right, and notices about what is accepted but will trouble clients. Reads the files.
    pub(crate) fn check(&self, now: SystemTime) -> (Vec<ConfigFault>, Vec<String>) {
        let (mut faults, mut notices) = (Vec::new(), Vec::new());
        let mut fault = |key, problem: String, mend: &str| {
            faults.push(ConfigFault { key, problem, mend: mend.to_owned() });
        };
        match (self.certificate.as_os_str().is_empty(), self.key.as_os_str().is_empty()) {
            (true, true) => {}
            (false, true) => fault(
                "tls.key",
                "is not set, but tls.certificate is".to_owned(),
                "name the PEM file with the certificate's private key, or leave both empty",
            ),
            (true, false) => fault(
                "tls.certificate",
                "is not set, but tls.key is".to_owned(),
                "name the PEM file with the certificate, or leave both empty",
            ),
            (false, false) if self.self_signed => fault(
                "tls.self_signed",
                "is true, but tls.certificate names a certificate of your own".to_owned(),
                "leave out self_signed (--self-signed), or certificate and key",
            ),
            (false, false) => match Pair::read(&self.certificate, &self.key) {
                Ok(pair) => notices.extend(self.notice(&pair.validity, now)),
                Err(error) => fault(error.key(), error.to_string(), error.mend()),
            },
        }
        (faults, notices)
    }

    fn notice(&self, validity: &Validity, now: SystemTime) -> Option<String> {
        let file = self.certificate.display();
        let days = |span: Duration| span.as_secs() / DAY_SECONDS;
        if let Ok(ago) = now.duration_since(validity.not_after) {
            let days = days(ago);
            return Some(format!(
                "tls.certificate: {file} expired {days} days ago; clients refuse it. It is taken up as soon as the file is renewed"
            ));
        }
        if validity.not_before > now {
            return Some(format!("tls.certificate: {file} is not valid yet; is this machine's clock right?"));
        }
        let left = validity.left(now);
        (left < ENDS_SOON).then(|| format!("tls.certificate: {file} expires in {} days", days(left)))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
