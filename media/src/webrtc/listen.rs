//! The port: one UDP socket per worker, and TCP on the same number.

use super::config::WebrtcConfig;
use super::service::ServiceError;
use crate::rtc::socket::UdpSocket;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// All of one address and port.
pub(super) struct Sockets {
    pub(super) address: SocketAddr,
    /// One per worker.
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Option<TcpListener>,
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
const PORTS_TRIED: usize = 16;

impl Sockets {
    /// Where any port will do, the system names one that is free over UDP; when it is not over TCP, it is asked for another.
    pub(super) fn bind(config: &WebrtcConfig) -> Result<Self, ServiceError> {
        let is_taken = |error: &ServiceError| matches!(error, ServiceError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse);
        let mut bound = Self::bind_once(config);
        for _ in 1..PORTS_TRIED {
            match &bound {
                Err(error) if config.listen.port() == 0 && is_taken(error) => bound = Self::bind_once(config),
                _ => break,
            }
        }
        bound
    }

    fn bind_once(config: &WebrtcConfig) -> Result<Self, ServiceError> {
        let failed = |source| ServiceError::Bind { address: config.listen, source };
        let count = config.worker_count();
        let first = or_ipv4(config.listen, |address| UdpSocket::bind(address, count > 1)).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        if let Some(outside) = config.out_of_reach_by_ipv4().filter(|_| address.is_ipv4()) {
            return Err(ServiceError::NoIpv6 { outside });
        }
        let tcp = if config.tcp { Some(listener(address).map_err(failed)?) } else { None };
        let mut udp = vec![first];
        while udp.len() < count {
            udp.push(UdpSocket::bind(address, true).map_err(failed)?);
        }
        Ok(Self { address, udp, tcp })
    }
}

/// Where both versions are wanted and the machine has no IPv6, IPv4 is what there is.
fn or_ipv4<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let error = match open(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() => error,
        outcome => return outcome,
    };
    if !matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)) {
        return Err(error);
    }
    let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    tracing::info!("this machine has no IPv6: WebRTC listens on {four}");
    open(four)
}

/// Like the UDP sockets, it takes IPv4 too whatever the system's own choice is (`net.ipv6.bindv6only`).
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
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
    async fn one_port_is_reached_by_both_versions_over_udp_and_tcp() {
        let listen = "[::]:0".parse().unwrap();
        let sockets = Sockets::bind(&WebrtcConfig { listen, workers: 2, ..WebrtcConfig::default() }).unwrap();
        assert_eq!((sockets.udp.len(), sockets.address.is_ipv6()), (2, true));
        for host in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(host.parse().unwrap(), sockets.address.port());
            let client = tokio::net::TcpStream::connect(address).await.unwrap();
            let (_accepted, from) = sockets.tcp.as_ref().unwrap().accept().await.unwrap();
            assert_eq!(from.port(), client.local_addr().unwrap().port());
            assert!(UdpSocket::bind(address, false).is_err(), "{address} is taken");
        }
    }
}
