//! The line between the server and its bucket: TCP that is passed on, or not.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Good,
    /// Every piece of an upload is this late.
    Slow(Duration),
    /// Packets are lost, which TCP shows as pieces that come late by the time it takes to send them again: one in seven.
    Lossy,
    /// Connections are closed, old ones and new ones.
    Down,
    /// Connections stay open and nothing goes through any more.
    Silent,
    /// A connection breaks off after so many bytes of upload.
    CutAfter(usize),
}

impl Line {
    pub(crate) async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::Good);
        tokio::spawn(accept(listener, service, state.subscribe()));
        Self { address, state }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// The least time after which Linux sends a packet again.
const RESENT_AFTER: Duration = Duration::from_millis(200);

async fn accept(listener: TcpListener, service: SocketAddr, state: watch::Receiver<State>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(pass_on(client, service, state.clone()));
    }
}

async fn pass_on(client: TcpStream, service: SocketAddr, mut state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(service).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let (mut sent, mut pieces) = (0, 0_u32);
    loop {
        let now = *state.borrow_and_update();
        tokio::select! {
            // First what the line is, then what goes through it.
            biased;
            changed = state.changed() => {
                // The test is over.
                if changed.is_err() {
                    return;
                }
                sent = 0;
            }
            // Dropping both ends closes the connection.
            () = std::future::ready(()), if now == State::Down => return,
            read = from_client.read(&mut up), if now != State::Silent => {
                let Ok(count @ 1..) = read else { return };
                pieces += 1;
                let mut piece = &up[..count];
                match now {
                    State::Slow(late) => tokio::time::sleep(late).await,
                    State::CutAfter(limit) => piece = &piece[..count.min(limit.saturating_sub(sent))],
                    State::Lossy if pieces % 7 == 3 => tokio::time::sleep(RESENT_AFTER).await,
                    State::Lossy | State::Good | State::Down | State::Silent => {}
                }
                sent += piece.len();
                if to_server.write_all(piece).await.is_err() || piece.len() < count {
                    return;
                }
            }
            read = from_server.read(&mut down), if now != State::Silent => {
                let Ok(count @ 1..) = read else { return };
                pieces += 1;
                if now == State::Lossy && pieces % 7 == 5 {
                    tokio::time::sleep(RESENT_AFTER).await;
                }
                if to_client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
