//! Who is sent a film: so many at a time, and nobody who stands still.
//!
//! In: the bytes of a film as they are read. Out: the same, as they are taken. Each viewer has a task, for a connection that takes
//! nothing asks for nothing either: nobody else would notice.

use super::reel::TornReel;
use crate::places::{NoPlace, PlaceLimits, Places};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Debug)]
pub(crate) struct Audience {
    seats: Arc<Places>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// Viewers at the same time, each with two segments in memory. Others are told to come back.
const SEATS: usize = 128;
/// The same from one address, so that one cannot keep all others out. Many share the address of a carrier, and a player may take
/// a film in several pieces at once.
const SEATS_PER_ADDRESS: usize = 16;
/// What is handed over at once, and how long a viewer may take for it: a kilobyte a second is enough to stay.
const PIECE: usize = 64 * 1_024;
const PATIENCE: Duration = Duration::from_secs(60);

type Piece = Result<Bytes, TornReel>;

impl Audience {
    pub(crate) fn new(tasks: TaskTracker, cancel: CancellationToken) -> Self {
        let limits = PlaceLimits { connections: SEATS, per_address: SEATS_PER_ADDRESS, handshakes: SEATS };
        Self { seats: Places::new(limits), tasks, cancel }
    }

    /// The film for one viewer, unless all seats are taken, or those of its address. It ends early for who stands still, and when
    /// the server stops.
    pub(crate) fn seat<F>(&self, viewer: IpAddr, film: F) -> Result<impl Stream<Item = Piece> + use<F>, NoPlace>
    where
        F: Stream<Item = Piece> + Send + 'static,
    {
        let seat = self.seats.take(viewer)?;
        let (pieces, taken) = mpsc::channel(1);
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            let _held = seat;
            tokio::select! {
                () = pour(film, &pieces) => {}
                () = pieces.closed() => {}
                () = cancel.cancelled() => {}
            }
        });
        Ok(stream::unfold(taken, async |mut taken| Some((taken.recv().await?, taken))))
    }
}

async fn pour(film: impl Stream<Item = Piece>, pieces: &mpsc::Sender<Piece>) {
    let mut film = pin!(film);
    while let Some(read) = film.next().await {
        let mut rest = match read {
            Ok(bytes) => bytes,
            Err(torn) => {
                // Who has gone need not be told.
                let _ = timeout(PATIENCE, pieces.send(Err(torn))).await;
                return;
            }
        };
        while !rest.is_empty() {
            let piece = rest.split_to(PIECE.min(rest.len()));
            match timeout(PATIENCE, pieces.send(Ok(piece))).await {
                Ok(Ok(())) => {}
                Ok(Err(_gone)) => return,
                Err(_elapsed) => {
                    tracing::debug!("a download stands still and is cut off");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience() -> Audience {
        Audience::new(TaskTracker::new(), CancellationToken::new())
    }

    fn film(bytes: usize) -> impl Stream<Item = Piece> + Send + 'static {
        stream::iter([Ok(Bytes::from(vec![7; bytes]))])
    }

    async fn length(film: impl Stream<Item = Piece>) -> usize {
        film.map(|piece| piece.unwrap().len()).collect::<Vec<_>>().await.iter().sum()
    }

    fn address(network: u8, host: u8) -> IpAddr {
        IpAddr::from([198, 51, network, host])
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_still_loses_the_seat_and_who_is_slow_keeps_it() {
        let audience = audience();
        let mut still = Box::pin(audience.seat(address(0, 1), film(10 * PIECE)).unwrap());
        let mut slow = Box::pin(audience.seat(address(0, 1), film(10 * PIECE)).unwrap());
        assert_eq!(still.next().await.unwrap().unwrap().len(), PIECE);
        let mut seen = 0;
        while let Some(piece) = slow.next().await {
            seen += piece.unwrap().len();
            tokio::time::sleep(PATIENCE * 9 / 10).await;
        }
        assert_eq!(seen, 10 * PIECE);
        let all: Vec<_> = (0..SEATS).map(|host| audience.seat(address(1, host as u8), film(1))).collect();
        assert!(all.iter().all(Result::is_ok), "both seats are free again");
        assert!(length(still).await < 9 * PIECE, "the rest is not sent");
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_seats_and_who_goes_frees_one() {
        let audience = audience();
        let mut seated: Vec<_> =
            (0..SEATS).map(|host| audience.seat(address(1, host as u8), film(10 * PIECE)).unwrap()).collect();
        assert_eq!(audience.seat(address(2, 1), film(1)).err(), Some(NoPlace::Connections));
        seated.pop();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(length(audience.seat(address(2, 1), film(3 * PIECE + 5)).unwrap()).await, 3 * PIECE + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_keeps_no_other_out() {
        let audience = audience();
        let greedy: Vec<_> =
            std::iter::from_fn(|| audience.seat(address(0, 1), film(10 * PIECE)).ok()).take(SEATS).collect();
        assert_eq!(greedy.len(), SEATS_PER_ADDRESS);
        assert_eq!(audience.seat(address(0, 1), film(1)).err(), Some(NoPlace::Address));
        assert!(audience.seat(address(0, 2), film(1)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_all() {
        let audience = audience();
        let watching = audience.seat(address(0, 1), film(10 * PIECE)).unwrap();
        audience.cancel.cancel();
        audience.tasks.close();
        audience.tasks.wait().await;
        assert!(length(watching).await <= 2 * PIECE);
    }
}
