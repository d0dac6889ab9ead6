//! How many connections there may be: in all, from one address, and in their handshake. Of RTMP, of ICE-TCP, of WebRTC
//! while they are made, and of its viewers.

use crate::listen::network;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Places for connections. Nobody waits for one: a connection without a place is closed.
#[derive(Debug)]
pub(crate) struct Places {
    limits: PlaceLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceLimits {
    pub(crate) connections: usize,
    pub(crate) per_address: usize,
    pub(crate) handshakes: usize,
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    handshakes: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    Connections,
    Address,
    Handshakes,
}

impl NoPlace {
    /// Value of the counter's `reason` label.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Connections => "too_many_connections",
            Self::Address => "too_many_from_address",
            Self::Handshakes => "too_many_handshakes",
        }
    }
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct PlaceGuard {
    places: Arc<Places>,
    address: IpAddr,
    shakes_hands: bool,
}

impl Places {
    pub(crate) fn new(limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// For a connection that begins its handshake.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<PlaceGuard, NoPlace> {
        let address = network(address);
        let mut taken = self.taken.lock();
        let from_address = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.connections >= self.limits.connections {
            return Err(NoPlace::Connections);
        }
        if from_address >= self.limits.per_address {
            return Err(NoPlace::Address);
        }
        if taken.handshakes >= self.limits.handshakes {
            return Err(NoPlace::Handshakes);
        }
        taken.connections += 1;
        taken.handshakes += 1;
        taken.by_address.insert(address, from_address + 1);
        Ok(PlaceGuard { places: Arc::clone(self), address, shakes_hands: true })
    }
}

impl PlaceGuard {
    /// The handshake is done; the connection keeps its place.
    pub(crate) fn handshake_done(&mut self) {
        if std::mem::take(&mut self.shakes_hands) {
            self.places.taken.lock().handshakes -= 1;
        }
    }
}

impl Drop for PlaceGuard {
    fn drop(&mut self) {
        self.handshake_done();
        let mut taken = self.places.taken.lock();
        taken.connections -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_per_kind_and_given_back() {
        let places = Places::new(PlaceLimits { connections: 3, per_address: 2, handshakes: 2 });
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut first = places.take(address(1)).unwrap();
        let second = places.take(address(1)).unwrap();
        assert_eq!(places.take(address(1)).unwrap_err(), NoPlace::Address);
        assert_eq!(places.take(address(2)).unwrap_err(), NoPlace::Handshakes);
        first.handshake_done();
        let third = places.take(address(2)).unwrap();
        assert_eq!(places.take(address(3)).unwrap_err(), NoPlace::Connections);
        drop((first, second, third));
        let taken = places.taken.lock();
        assert_eq!((taken.connections, taken.handshakes, taken.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together() {
        let places = Places::new(PlaceLimits { connections: 9, per_address: 1, handshakes: 9 });
        let _first = places.take("2001:db8::1".parse().unwrap()).unwrap();
        assert_eq!(places.take("2001:db8::2".parse().unwrap()).unwrap_err(), NoPlace::Address);
        assert!(places.take("2001:db8:0:1::1".parse().unwrap()).is_ok());
        assert!(places.take("192.0.2.1".parse().unwrap()).is_ok());
        assert!(places.take("::ffff:192.0.2.2".parse().unwrap()).is_ok());
    }
}
