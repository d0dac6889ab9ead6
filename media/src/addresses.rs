//! The addresses of this machine, as its interfaces have them now: for candidates, and for whoever names this machine.
//!
//! Out: those that others may reach, best first, loopback last. The standard library cannot list interfaces, so this
//! is one of the two files of the crate with unsafe code.
#![allow(unsafe_code)]

use socket2::{SockAddr, SockAddrStorage};
use std::collections::HashMap;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::{io, ptr};

/// A machine with many containers has an address for each; a client need not try them all.
const ADDRESSES_MAX: usize = 16;

/// Public ones first, then private and unique local ones, loopback last; where two are alike, the one that the system
/// sends from. IPv4 and IPv6 take turns (RFC 8421 section 4), so that none crowds out the other. Link-local ones are
/// left out, for they mean nothing without a scope, and so are those of interfaces that are down.
pub fn own() -> Vec<IpAddr> {
    let routed = routed();
    let found = interfaces().unwrap_or_else(|error| {
        tracing::debug!(%error, "the interfaces cannot be listed; the default routes tell what they can");
        routed.iter().copied().chain([Ipv4Addr::LOCALHOST.into()]).collect()
    });
    best_first(found, &routed)
}

fn best_first(mut found: Vec<IpAddr>, routed: &[IpAddr]) -> Vec<IpAddr> {
    found.retain(|address| rank(address).is_some());
    found.sort_by_key(|address| (rank(address), !routed.contains(address), *address));
    found.dedup();
    let (loopback, mut rest): (Vec<_>, Vec<_>) = found.into_iter().partition(IpAddr::is_loopback);
    let mut turns = HashMap::new();
    // Stable: within a family the order stays.
    rest.sort_by_cached_key(|address| {
        let turn = turns.entry((rank(address), address.is_ipv6())).or_insert(0);
        *turn += 1;
        (rank(address), *turn, address.is_ipv6())
    });
    rest.truncate(ADDRESSES_MAX);
    // The two that everybody knows; a machine may use others of 127.0.0.0/8 for itself.
    let known = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    rest.extend(known.into_iter().filter(|address| loopback.contains(address)));
    rest
}

/// `None`: of no use to others.
fn rank(address: &IpAddr) -> Option<u8> {
    let (is_useless, is_private) = match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // RFC 6598: what a provider gives its customers behind its own NAT.
            let is_shared = first == 100 && second & 0xc0 == 64;
            let is_useless = address.is_unspecified() || address.is_link_local() || address.is_multicast();
            (is_useless, address.is_private() || is_shared)
        }
        IpAddr::V6(address) => {
            let is_useless =
                address.is_unspecified() || address.is_unicast_link_local() || address.to_ipv4_mapped().is_some();
            (is_useless, address.is_unique_local())
        }
    };
    match (is_useless, address.is_loopback()) {
        (true, _) => None,
        (false, true) => Some(2),
        (false, false) => Some(u8::from(is_private)),
    }
}

/// The addresses the system would send from. Connecting a UDP socket sends nothing; the targets are those of RFC 5737
/// and RFC 3849.
fn routed() -> Vec<IpAddr> {
    let targets = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::from(([192, 0, 2, 1], 9))),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 9))),
    ];
    let source = |(local, remote): (IpAddr, SocketAddr)| {
        let socket = UdpSocket::bind((local, 0)).ok()?;
        socket.connect(remote).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    targets.into_iter().filter_map(source).collect()
}

/// Every address of an interface that is up.
fn interfaces() -> io::Result<Vec<IpAddr>> {
    let mut first = ptr::null_mut();
    // SAFETY: the call writes the head of a list, which is given back below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let (mut found, mut next) = (Vec::new(), first);
    // SAFETY: until it is freed the list is valid and nobody writes to it; its last entry has no next.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as u32 != 0 {
            // SAFETY: an entry's address is null or points to one that is as long as its family says.
            found.extend(unsafe { ip_of(entry.ifa_addr) });
        }
    }
    // SAFETY: the list came from getifaddrs, and nothing points into it any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// # Safety
/// `address` is null or points to a whole address of its family.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller says so.
    let family = i32::from(unsafe { address.as_ref() }?.sa_family);
    let length = match family {
        libc::AF_INET => size_of::<libc::sockaddr_in>(),
        libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
        _ => return None,
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: both addresses are shorter than the storage, which is of any family.
    let address = unsafe {
        ptr::copy_nonoverlapping(address.cast::<u8>(), (&raw mut storage).cast::<u8>(), length);
        SockAddr::new(storage, length as libc::socklen_t)
    };
    Some(address.as_socket()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn public_addresses_come_first_and_families_take_turns() {
        let found = all(&[
            "127.0.0.1",
            "127.0.0.53",
            "172.17.0.1",
            "192.168.1.7",
            "203.0.113.9",
            "100.64.3.3",
            "169.254.7.7",
            "::1",
            "fe80::1",
            "fd00::7",
            "2001:db8::8",
            "2001:db8::7",
            "203.0.113.9",
        ]);
        let routed = all(&["192.168.1.7", "2001:db8::8"]);
        let expected = all(&[
            "203.0.113.9",
            "2001:db8::8",
            "2001:db8::7",
            "192.168.1.7",
            "fd00::7",
            "100.64.3.3",
            "172.17.0.1",
            "127.0.0.1",
            "::1",
        ]);
        assert_eq!(best_first(found, &routed), expected);
    }

    #[test]
    fn of_very_many_some_of_both_families_are_left() {
        let many = (0..200_u8).flat_map(|last| {
            [IpAddr::V4([10, 0, 0, last].into()), IpAddr::V6([0xfd00, 0, 0, 0, 0, 0, 0, last.into()].into())]
        });
        let left = best_first(many.chain(all(&["127.0.0.1"])).collect(), &[]);
        assert_eq!(left.len(), ADDRESSES_MAX + 1);
        assert_eq!(left.iter().filter(|address| address.is_ipv6()).count(), ADDRESSES_MAX / 2);
    }

    #[test]
    fn this_machines_own_are_ones_that_a_socket_can_have() {
        let own = own();
        assert!(own.contains(&Ipv4Addr::LOCALHOST.into()), "{own:?}");
        for address in own {
            UdpSocket::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }
}
