//! The port: one UDP socket per worker, and TCP on the same number.

use super::config::WebrtcConfig;
use super::service::ServiceError;
use crate::listen::{self, or_ipv4};
use crate::rtc::socket::UdpSocket;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// All of one address and port.
pub(super) struct Sockets {
    pub(super) address: SocketAddr,
    /// One per worker.
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Option<TcpListener>,
}

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
        let tcp = if config.tcp { Some(listen::tcp(address).map_err(failed)?) } else { None };
        let mut udp = vec![first];
        while udp.len() < count {
            udp.push(UdpSocket::bind(address, true).map_err(failed)?);
        }
        Ok(Self { address, udp, tcp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_port_is_reached_by_both_versions_over_udp_and_tcp() {
        let any = "[::]:0".parse().unwrap();
        let sockets = Sockets::bind(&WebrtcConfig { listen: any, workers: 2, ..WebrtcConfig::default() }).unwrap();
        let hosts = listen::loopback_hosts();
        assert_eq!((sockets.udp.len(), sockets.address.is_ipv6()), (2, hosts.len() == 2));
        for host in hosts {
            let address = SocketAddr::new(host.parse().unwrap(), sockets.address.port());
            let client = tokio::net::TcpStream::connect(address).await.unwrap();
            let (_accepted, from) = sockets.tcp.as_ref().unwrap().accept().await.unwrap();
            assert_eq!(from.port(), client.local_addr().unwrap().port());
            assert!(UdpSocket::bind(address, false).is_err(), "{address} is taken");
        }
    }
}
