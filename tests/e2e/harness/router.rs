//! A router between a browser and the server's UDP port, as at home: what comes from inside leaves by a port of its own for
//! each inner address, and those ports change when the router is told that it was restarted.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Where browsers find the server when they go by the router: its port, at this address.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const DATAGRAM_MAX: usize = 2_048;

pub(crate) struct Router {
    /// Counts restarts.
    round: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Router {
    /// Stands at [`ADDRESS`] before the UDP port of a server on loopback.
    pub(crate) async fn before(port: u16) -> Result<Self> {
        let inside =
            Arc::new(UdpSocket::bind((ADDRESS, port)).await.context("the whole of 127/8 is loopback on Linux")?);
        let (round, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        tasks.spawn(route(inside, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Arc::clone(&round)));
        Ok(Self { round, _tasks: tasks })
    }

    /// Every port it gave away is another from now on.
    pub(crate) fn restart(&self) {
        self.round.fetch_add(1, Ordering::Relaxed);
    }
}

/// Runs until it is dropped, and with it the tasks that bring answers back.
async fn route(inside: Arc<UdpSocket>, server: SocketAddr, round: Arc<AtomicU64>) {
    let mut outside: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut known = 0;
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        let Ok((length, from)) = inside.recv_from(&mut datagram).await else { return };
        let now = round.load(Ordering::Relaxed);
        if now != known {
            known = now;
            outside.clear();
            answers.abort_all();
        }
        let socket = match outside.get(&from) {
            Some(socket) => Arc::clone(socket),
            None => {
                let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.map(Arc::new) else { return };
                answers.spawn(bring_back(Arc::clone(&socket), Arc::clone(&inside), from));
                outside.entry(from).or_insert(socket).clone()
            }
        };
        // What cannot be delivered is lost, as on any network.
        let _ = socket.send_to(&datagram[..length], server).await;
    }
}

async fn bring_back(outside: Arc<UdpSocket>, inside: Arc<UdpSocket>, to: SocketAddr) {
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        if let Ok((length, _)) = outside.recv_from(&mut datagram).await {
            let _ = inside.send_to(&datagram[..length], to).await;
        }
    }
}
