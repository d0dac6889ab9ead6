//! What this machine is called on its own network: host name and addresses.

use std::net::IpAddr;

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

/// Addresses others may reach this machine by.
pub(crate) fn lan_addresses() -> Vec<IpAddr> {
    let mut addresses = chobi_media::addresses::own();
    addresses.retain(|address| !address.is_loopback());
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn this_machine_is_called_localhost_at_least_and_nothing_twice() {
        let names = of_this_machine();
        assert_eq!(names[..3], ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    }
}
