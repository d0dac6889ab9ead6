//! Settings of WebRTC.

use crate::addresses;
use crate::config::ConfigFault;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// WHIP in, WHEP out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebrtcConfig {
    /// Address and port for media: UDP, and TCP on the same number for networks that block UDP. `[::]` is IPv6 and
    /// IPv4, and IPv4 alone on a machine without IPv6.
    pub listen: SocketAddr,
    /// Addresses that browsers reach this server by, when they are not the machine's own: behind NAT or a load balancer.
    /// Empty: every address of this machine.
    pub external_addresses: Vec<IpAddr>,
    /// Offer ICE-TCP as well.
    pub tcp: bool,
    /// Threads that carry media. 0: one per core, less one for the rest of the server.
    pub workers: usize,
    /// Viewers and publishers at one time. Beyond it new ones are told to come later. Each costs about 50 KiB. One place in
    /// twenty, and one at least, is for publishers only: a host who lost the network finds it again.
    pub max_peers: usize,
    /// Of them, viewers of one address (IPv6: of one /64). A mobile network or an office may be one address to us; so is a
    /// reverse proxy unless `api.trusted_proxies` names it, and a machine that tests with many viewers.
    pub max_viewers_per_ip: usize,
    /// Viewers and publishers of one address (IPv6: of one /64) that are not connected yet, which lasts twenty seconds at
    /// most. Keep it well below `max_peers`, or one stranger takes all places. A reverse proxy is one address unless
    /// `api.trusted_proxies` names it.
    pub max_connecting_per_ip: usize,
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

/// Of this machine's own, loopback aside: each is tried by every client, over UDP and over TCP.
const CANDIDATE_ADDRESSES_MAX: usize = 8;

impl Default for WebrtcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8189)),
            external_addresses: Vec::new(),
            tcp: true,
            workers: 0,
            max_peers: 5_000,
            max_viewers_per_ip: 1_000,
            max_connecting_per_ip: 256,
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
        if let Some(address) = self.out_of_reach_by_ipv4().filter(|_| self.listen.is_ipv4()) {
            let listen = self.listen;
            let problem = format!("{address} is IPv6, and webrtc.listen = \"{listen}\" is IPv4 only");
            let mend =
                format!("listen on both, webrtc.listen = \"[::]:{}\", or name IPv4 addresses only", listen.port());
            check(false, "webrtc.external_addresses", problem, &mend);
        }
        check(self.workers <= 255, "webrtc.workers", format!("{} is too many", self.workers), "use 0");
        check(self.max_peers > 0, "webrtc.max_peers", "nobody could watch".to_owned(), "choose at least 1");
        let (key, problem) = ("webrtc.max_viewers_per_ip", "nobody could watch".to_owned());
        check(self.max_viewers_per_ip > 0, key, problem, "choose at least 1");
        let (key, problem) = ("webrtc.max_connecting_per_ip", "nobody could connect".to_owned());
        check(self.max_connecting_per_ip > 0, key, problem, "choose at least 1");
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

    /// Addresses for candidates, best first, for a socket that is bound to `bound`.
    pub(crate) fn candidate_addresses(&self, bound: IpAddr) -> Vec<IpAddr> {
        if !self.external_addresses.is_empty() {
            return self.external_addresses.clone();
        }
        if !bound.is_unspecified() {
            return vec![bound];
        }
        let mut own = addresses::own();
        own.retain(|address| address.is_ipv4() || bound.is_ipv6());
        let others = own.iter().filter(|address| !address.is_loopback()).count();
        own.drain(CANDIDATE_ADDRESSES_MAX.min(others)..others);
        if own.is_empty() {
            own.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        own
    }

    /// The first of the outside addresses that nothing can come in by where only IPv4 is listened on.
    pub(crate) fn out_of_reach_by_ipv4(&self) -> Option<IpAddr> {
        self.external_addresses.iter().find(|address| address.to_canonical().is_ipv6()).copied()
    }

    /// Of all peers, those that are not kept for publishers.
    pub(crate) fn max_viewers(&self) -> usize {
        let kept = (self.max_peers / 20).max(1);
        self.max_peers.saturating_sub(kept).max(1)
    }

    pub(crate) fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() - 1).clamp(1, 64)),
            count => count,
        }
    }
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
            max_viewers_per_ip: 0,
            max_connecting_per_ip: 0,
            silence_timeout: Duration::from_secs(1),
            ice_servers: vec![server],
            ..WebrtcConfig::default()
        };
        let keys: Vec<_> = wrong.faults().into_iter().map(|fault| fault.key).collect();
        let expected = [
            "webrtc.external_addresses",
            "webrtc.max_peers",
            "webrtc.max_viewers_per_ip",
            "webrtc.max_connecting_per_ip",
            "webrtc.silence_timeout",
            "webrtc.ice_servers",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn candidates_are_what_is_configured_or_this_machine() {
        let mut config = WebrtcConfig::default();
        let any = |address: &str| address.parse::<IpAddr>().unwrap();
        let (both, four) = (config.candidate_addresses(any("::")), config.candidate_addresses(any("0.0.0.0")));
        for found in [&both, &four] {
            assert!(found.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{found:?}");
            assert!(found.len() <= CANDIDATE_ADDRESSES_MAX + 2, "{found:?}");
        }
        assert!(four.iter().all(IpAddr::is_ipv4), "nothing comes in by IPv6 there: {four:?}");
        let has_ipv6 = crate::listen::loopback_hosts().len() == 2;
        assert_eq!(both.iter().any(IpAddr::is_ipv6), has_ipv6, "{both:?}");
        assert_eq!(config.candidate_addresses(any("2001:db8::5")), [any("2001:db8::5")]);
        let outside = any("203.0.113.9");
        config.external_addresses = vec![outside];
        assert_eq!(config.candidate_addresses(any("::")), [outside]);
    }

    #[test]
    fn an_outside_address_that_nothing_comes_in_by_is_a_fault() {
        let with = |listen: &str, outside: &str| {
            let outside = vec![outside.parse().unwrap()];
            let config = WebrtcConfig {
                listen: listen.parse().unwrap(),
                external_addresses: outside,
                ..WebrtcConfig::default()
            };
            config.faults().into_iter().map(|fault| format!("{}: {}", fault.key, fault.problem)).collect::<Vec<_>>()
        };
        let told = "webrtc.external_addresses: 2001:db8::9 is IPv6, and webrtc.listen = \"0.0.0.0:8189\" is IPv4 only";
        assert_eq!(with("0.0.0.0:8189", "2001:db8::9"), [told]);
        assert_eq!(with("0.0.0.0:8189", "203.0.113.9"), [""; 0]);
        for outside in ["2001:db8::9", "203.0.113.9"] {
            assert_eq!(with("[::]:8189", outside), [""; 0]);
        }
    }
}
