//! Who may open a socket: counts per node, per address and per user.
//!
//! Every number is held by a guard, so that it is given back however a connection ends.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;

use crate::caller::ClientAddress;
use crate::config::WsConfig;
use crate::id::UserId;

/// Why a socket may not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GateRefusal {
    #[error("the server holds all the connections it can")]
    ServerFull,
    #[error("too many connections from this address")]
    AddressFull,
    #[error("too many new connections at once")]
    TooManyHandshakes,
    #[error("the server is restarting")]
    Draining,
}

/// The counts of this node.
pub(crate) struct Gate {
    limits: Limits,
    handshakes: DefaultDirectRateLimiter,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    sockets: usize,
    per_address: usize,
    per_user: usize,
}

/// Bounded by the number of open sockets: an entry goes when its count does.
#[derive(Default)]
struct Counts {
    sockets: usize,
    by_address: HashMap<ClientAddress, usize>,
    by_user: HashMap<UserId, usize>,
}

impl Gate {
    pub(crate) fn new(config: &WsConfig) -> Arc<Self> {
        let limits = Limits {
            sockets: config.sockets_max,
            per_address: config.sockets_per_address,
            per_user: config.sockets_per_user,
        };
        let rate = config.handshakes;
        let per_period = Quota::with_period(rate.every).unwrap_or_else(|| Quota::per_second(rate.burst));
        let quota = per_period.allow_burst(rate.burst);
        Arc::new(Self { limits, handshakes: RateLimiter::direct(quota), counts: Mutex::default() })
    }

    /// Counts a new socket in, before the upgrade is answered.
    pub(crate) fn admit(self: &Arc<Self>, address: ClientAddress) -> Result<SocketGuard, GateRefusal> {
        let mut counts = self.counts.lock();
        if counts.sockets >= self.limits.sockets {
            return Err(GateRefusal::ServerFull);
        }
        if counts.by_address.get(&address).is_some_and(|open| *open >= self.limits.per_address) {
            return Err(GateRefusal::AddressFull);
        }
        self.handshakes.check().map_err(|_| GateRefusal::TooManyHandshakes)?;
        counts.sockets += 1;
        *counts.by_address.entry(address).or_default() += 1;
        metrics::gauge!("chobi_ws_sockets").set(counts.sockets as f64);
        Ok(SocketGuard { gate: Arc::clone(self), address })
    }

    /// Counts a socket in for its user; `None` when the user has as many as allowed.
    pub(crate) fn sign_in(self: &Arc<Self>, user_id: &UserId) -> Option<UserGuard> {
        let mut counts = self.counts.lock();
        let open = counts.by_user.get(user_id).copied().unwrap_or(0);
        if open >= self.limits.per_user {
            return None;
        }
        counts.by_user.insert(user_id.clone(), open + 1);
        Some(UserGuard { gate: Arc::clone(self), user_id: user_id.clone() })
    }
}

/// One open socket.
pub(crate) struct SocketGuard {
    gate: Arc<Gate>,
    address: ClientAddress,
}

impl Drop for SocketGuard {
    fn drop(&mut self) {
        let mut counts = self.gate.counts.lock();
        counts.sockets -= 1;
        metrics::gauge!("chobi_ws_sockets").set(counts.sockets as f64);
        release(&mut counts.by_address, &self.address);
    }
}

/// One socket of a signed-in user.
pub(crate) struct UserGuard {
    gate: Arc<Gate>,
    user_id: UserId,
}

impl Drop for UserGuard {
    fn drop(&mut self) {
        release(&mut self.gate.counts.lock().by_user, &self.user_id);
    }
}

fn release<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    let open = counts.get_mut(key).expect("a guard is counted until it drops");
    *open -= 1;
    if *open == 0 {
        counts.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Rate;

    fn gate() -> Arc<Gate> {
        Gate::new(&WsConfig { sockets_max: 3, sockets_per_address: 2, sockets_per_user: 1, ..WsConfig::default() })
    }

    fn ip(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    #[test]
    fn address_gets_its_share_and_no_more() {
        let gate = gate();
        let first = gate.admit(ip("192.0.2.1")).expect("room");
        let _second = gate.admit(ip("192.0.2.1")).expect("room");
        assert_eq!(gate.admit(ip("192.0.2.1")).err(), Some(GateRefusal::AddressFull));
        drop(first);
        let _third = gate.admit(ip("192.0.2.1")).expect("a place came free");
        let _other = gate.admit(ip("192.0.2.2")).expect("room");
        assert_eq!(gate.admit(ip("192.0.2.3")).err(), Some(GateRefusal::ServerFull));
    }

    #[test]
    fn storm_of_handshakes_is_held_back() {
        let gate = Gate::new(&WsConfig { handshakes: Rate::per_second(1, 2), ..WsConfig::default() });
        drop(gate.admit(ip("192.0.2.1")).expect("first"));
        drop(gate.admit(ip("192.0.2.1")).expect("second"));
        assert_eq!(gate.admit(ip("192.0.2.1")).err(), Some(GateRefusal::TooManyHandshakes));
    }

    #[test]
    fn user_has_so_many_sockets() {
        let gate = gate();
        let user_id = UserId::generate();
        let held = gate.sign_in(&user_id).expect("the first");
        assert!(gate.sign_in(&user_id).is_none());
        assert!(gate.sign_in(&UserId::generate()).is_some());
        drop(held);
        assert!(gate.sign_in(&user_id).is_some());
        assert!(gate.counts.lock().by_user.is_empty());
    }
}
