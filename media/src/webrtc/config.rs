//! Settings of WebRTC.

use crate::config::ConfigFault;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// WHIP in, WHEP out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebrtcConfig {
    /// Address and port for media: UDP, and TCP on the same number for networks that block UDP.
    pub listen: SocketAddr,
    /// Addresses that browsers reach this server by, when they are not the machine's own: behind NAT or a load balancer.
    /// Empty: every address of this machine.
    pub external_addresses: Vec<IpAddr>,
    /// Offer ICE-TCP as well.
    pub tcp: bool,
    /// Threads that carry media. 0: one per core, less one for the rest of the server.
    pub workers: usize,
    /// Viewers and publishers at one time. Beyond it new ones are told to come later. Each costs about 50 KiB.
    pub max_peers: usize,
    /// STUN and TURN servers that clients are told of (RFC 9725 section 4.6). This server needs none; clients behind strict
    /// firewalls may.
    pub ice_servers: Vec<IceServer>,
    /// A peer that was not heard for so long is gone.
    #[serde(with = "humantime_serde")]
    pub silence_timeout: Duration,
}

/// One STUN or TURN server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp`, `turns:…`.
    pub url: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub credential: Option<String>,
}

impl Default for WebrtcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8189)),
            external_addresses: Vec::new(),
            tcp: true,
            workers: 0,
            max_peers: 5_000,
            ice_servers: Vec::new(),
            silence_timeout: Duration::from_secs(15),
        }
    }
}

impl WebrtcConfig {
    /// Everything that is wrong, all at once.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut check = |legal: bool, key: &'static str, problem: String, mend: &str| {
            if !legal {
                faults.push(ConfigFault { key, problem, mend: mend.to_owned() });
            }
        };
        let usable = |address: &&IpAddr| address.is_unspecified() || address.is_multicast();
        if let Some(address) = self.external_addresses.iter().find(usable) {
            let problem = format!("nobody can send to {address}");
            check(false, "webrtc.external_addresses", problem, "name the addresses browsers reach this server by");
        }
        check(self.workers <= 255, "webrtc.workers", format!("{} is too many", self.workers), "use 0");
        check(self.max_peers > 0, "webrtc.max_peers", "nobody could watch".to_owned(), "choose at least 1");
        let legal = (Duration::from_secs(5)..=Duration::from_secs(120)).contains(&self.silence_timeout);
        let problem = format!("{:?} is not between 5s and 2m", self.silence_timeout);
        check(legal, "webrtc.silence_timeout", problem, "use 15s");
        let known = |server: &IceServer| {
            ["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| server.url.starts_with(scheme))
        };
        if let Some(server) = self.ice_servers.iter().find(|server| !known(server)) {
            let problem = format!("{:?} is no STUN or TURN address", server.url);
            check(false, "webrtc.ice_servers", problem, "write stun:host:port or turn:host:port?transport=udp");
        }
        faults
    }

    /// Addresses for candidates, best first.
    pub(crate) fn candidate_addresses(&self) -> Vec<IpAddr> {
        if !self.external_addresses.is_empty() {
            return self.external_addresses.clone();
        }
        let ip = self.listen.ip();
        if !ip.is_unspecified() {
            return vec![ip];
        }
        let with_v6 = ip.is_ipv6();
        let mut found = own_addresses(with_v6);
        if found.is_empty() {
            found.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        found
    }

    pub(crate) fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).clamp(1, 64)),
            count => count,
        }
    }
}

/// The addresses of this machine that others may reach, then loopback for whoever runs on it. Link-local ones need a
/// scope that a candidate cannot carry.
fn own_addresses(with_v6: bool) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    // The source address the system would choose towards the outside; nothing is sent.
    for (local, remote) in [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::from(([192, 0, 2, 1], 9))),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9))),
    ] {
        if local.is_ipv6() && !with_v6 {
            continue;
        }
        let found = std::net::UdpSocket::bind((local, 0))
            .and_then(|socket| socket.connect(remote).and_then(|()| socket.local_addr()));
        if let Ok(found) = found {
            addresses.push(found.ip());
        }
    }
    addresses.retain(|address| !address.is_unspecified() && !address.is_loopback());
    addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_faults_and_wrong_values_are_named() {
        assert_eq!(WebrtcConfig::default().faults(), []);
        let server = IceServer { url: "http://x".to_owned(), username: None, credential: None };
        let wrong = WebrtcConfig {
            external_addresses: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            max_peers: 0,
            silence_timeout: Duration::from_secs(1),
            ice_servers: vec![server],
            ..WebrtcConfig::default()
        };
        let keys: Vec<_> = wrong.faults().into_iter().map(|fault| fault.key).collect();
        let expected =
            ["webrtc.external_addresses", "webrtc.max_peers", "webrtc.silence_timeout", "webrtc.ice_servers"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn candidates_are_what_is_configured_or_this_machine() {
        let mut config = WebrtcConfig::default();
        assert!(config.candidate_addresses().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let outside = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
        config.external_addresses = vec![outside];
        assert_eq!(config.candidate_addresses(), [outside]);
    }
}
