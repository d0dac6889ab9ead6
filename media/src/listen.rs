//! Ports: one listener for both versions of IP where the machine has both.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Where both versions are wanted and the machine has no IPv6, IPv4 is what there is.
pub(crate) fn or_ipv4<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let error = match open(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() => error,
        outcome => return outcome,
    };
    if !matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)) {
        return Err(error);
    }
    let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    tracing::info!("this machine has no IPv6: listening on {four} instead of {address}");
    open(four)
}

/// Listens for TCP connections. `[::]` takes IPv4 too, whatever the system's own choice is (`net.ipv6.bindv6only`), and
/// is IPv4 alone on a machine without IPv6.
pub fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    or_ipv4(address, |address| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // A server that was just stopped has left connections behind that still count as its port's.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    })
}

/// IPv4 that came through a socket for both is IPv4. What is IPv6 keeps its scope: without it nothing goes back to a
/// link-local address.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(six) => six.ip().to_ipv4_mapped().map_or(address, |ip| (ip, six.port()).into()),
        SocketAddr::V4(_) => address,
    }
}

/// What counts as one address: one subscriber holds a whole IPv6 /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Hosts that this machine has itself by: a container may be without IPv6, and a test leaves that out and says so.
#[cfg(test)]
pub(crate) fn loopback_hosts() -> Vec<&'static str> {
    use std::io::Write;
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        return vec!["127.0.0.1", "::1"];
    }
    // Past the capture of what passing tests print.
    let _ = writeln!(io::stderr(), "    this machine has no IPv6: left out");
    vec!["127.0.0.1"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// What is tried and what comes of it, on a machine that answers IPv6 with an error.
    fn tried(listen: &str, error: i32) -> (Vec<String>, bool) {
        let tried = RefCell::new(Vec::new());
        let open = |address: SocketAddr| {
            tried.borrow_mut().push(address.to_string());
            if address.is_ipv6() { Err(io::Error::from_raw_os_error(error)) } else { Ok(()) }
        };
        let opened = or_ipv4(listen.parse().unwrap(), open).is_ok();
        (tried.into_inner(), opened)
    }

    #[test]
    fn without_ipv6_both_versions_become_ipv4_and_nothing_else_does() {
        for error in [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL] {
            assert_eq!(tried("[::]:8189", error), (vec!["[::]:8189".to_owned(), "0.0.0.0:8189".to_owned()], true));
            assert_eq!(tried("[2001:db8::5]:8189", error), (vec!["[2001:db8::5]:8189".to_owned()], false));
        }
        assert_eq!(tried("[::]:8189", libc::EADDRINUSE), (vec!["[::]:8189".to_owned()], false), "another server runs");
        assert_eq!(tried("127.0.0.1:8189", libc::EAFNOSUPPORT), (vec!["127.0.0.1:8189".to_owned()], true));
    }

    #[tokio::test]
    async fn one_tcp_port_is_reached_by_both_versions_and_says_who_came() {
        let listener = tcp("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in loopback_hosts() {
            let client = tokio::net::TcpStream::connect((host, port)).await.unwrap();
            let (_accepted, from) = listener.accept().await.unwrap();
            assert_eq!(canonical(from), client.local_addr().unwrap());
        }
    }
}
