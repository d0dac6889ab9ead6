//! What this machine is called on its own network: host name and addresses, from what the kernel shows in `/proc`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// A machine with many containers has an address for each; a certificate need not name them all.
const ADDRESSES_MAX: usize = 16;

/// Names and addresses a certificate for this machine should hold, loopback first.
pub(super) fn of_this_machine() -> Vec<String> {
    let mut names: Vec<_> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if let Some(host) = host_name() {
        // On a LAN without a name server, this is how mDNS calls it (RFC 6762 section 3).
        if !host.contains('.') {
            names.push(format!("{host}.local"));
        }
        names.push(host);
    }
    names.extend(lan_addresses().iter().map(IpAddr::to_string));
    names
}

/// `None` when there is none, or none that can stand in a certificate.
pub(super) fn host_name() -> Option<String> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = name.ok()?.trim().to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    (!name.is_empty() && name != "localhost" && name.len() <= 253 && name.bytes().all(legal)).then_some(name)
}

/// Addresses others may reach this machine by, IPv4 first.
pub(crate) fn lan_addresses() -> Vec<IpAddr> {
    let mut found = BTreeSet::new();
    if let Ok(text) = std::fs::read_to_string("/proc/net/fib_trie") {
        found.extend(local_ipv4(&text).map(IpAddr::V4));
    }
    if let Ok(text) = std::fs::read_to_string("/proc/net/if_inet6") {
        found.extend(local_ipv6(&text).map(IpAddr::V6));
    }
    if found.is_empty() {
        found.extend(default_route());
    }
    found.retain(is_reachable);
    found.into_iter().take(ADDRESSES_MAX).collect()
}

/// Each local address stands as `|-- 192.168.1.7` with `/32 host LOCAL` in the line below.
fn local_ipv4(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> {
    fib_trie.lines().zip(fib_trie.lines().skip(1)).filter_map(|(line, below)| {
        let address = line.trim().strip_prefix("|-- ")?;
        below.contains("/32 host LOCAL").then(|| address.parse().ok())?
    })
}

/// Each line begins with an address in 32 hexadecimal digits.
fn local_ipv6(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> {
    let digits = if_inet6.lines().filter_map(|line| line.split_whitespace().next());
    digits
        .filter(|text| text.len() == 32)
        .filter_map(|text| u128::from_str_radix(text, 16).ok())
        .map(Ipv6Addr::from_bits)
}

/// The address the kernel would send from. Connecting a UDP socket sends nothing; the target is one of RFC 5737.
fn default_route() -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_unspecified() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unspecified() && !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.7\n        \
                    /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\n";
        assert_eq!(local_ipv4(trie).collect::<Vec<_>>(), [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 168, 1, 7)]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     20010db8000000000000000000000007 02 40 00 80     eth0\nnonsense\n";
        let found: Vec<_> = local_ipv6(inet6).map(IpAddr::V6).filter(is_reachable).collect();
        assert_eq!(found, ["2001:db8::7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn this_machine_is_called_localhost_at_least_and_nothing_twice() {
        let names = of_this_machine();
        assert_eq!(names[..3], ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}
