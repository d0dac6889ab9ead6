//! A viewer by HLS: what a player does, but for decoding.
//!
//! In: the address of a show. Out: requests in a player's rhythm, counted in a shared [`Tally`], and a [`Report`]. A live
//! show is followed at its edge, part by part where the server offers parts; a recording is played from its beginning.
//! Picture and sound are fetched side by side, each over a connection of its own.

use super::super::web;
use super::playlist::{MediaPlaylist, Place, Playlist};
use super::visit::{Found, Visit};
use anyhow::{Context, anyhow, bail};
use http::Uri;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// How viewers watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Whole segments, even where there are parts.
    pub(super) plain: bool,
    /// A recording again and again, as fast as it comes.
    pub(super) unpaced: bool,
}

/// Sums over all viewers.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) playlists: AtomicU64,
    pub(super) media: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Viewers who have something to play.
    pub(super) playing: AtomicU64,
    /// Viewers who have stopped, for whatever reason.
    pub(super) stopped: AtomicU64,
    /// Times are written down.
    pub(super) is_measuring: AtomicBool,
}

/// What became of one viewer.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// From the first request to the first picture or sound in hand.
    pub(super) first_media: Option<Duration>,
    pub(super) times: Times,
    pub(super) stalls: u64,
    pub(super) stalled: Duration,
    /// Media that left the playlist before it was fetched.
    pub(super) fell_behind: u64,
}

/// While it was measured.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Of a request for media, to its last byte.
    pub(super) media: Vec<Duration>,
    /// Of a request for a playlist that the server need not hold.
    pub(super) playlists: Vec<Duration>,
    /// From a part's last frame at the server, by its EXT-X-PROGRAM-DATE-TIME, to the part in hand.
    pub(super) behind: Vec<Duration>,
}

/// Of one viewer and kind; later ones are not written down.
const TIMES_MAX: usize = 20_000;
/// A player fetches no further ahead.
const AHEAD_MAX: Duration = Duration::from_secs(30);
/// Between looks at a playlist that has nothing new and cannot be waited for.
const LOOK_MIN: Duration = Duration::from_millis(200);

/// Watches until the show ends or the future is dropped; `report` tells what happened until then.
pub(super) async fn watch(
    mut visit: Visit,
    address: &Uri,
    manner: Manner,
    tally: &Tally,
    reports: [&mut Report; 2],
) -> anyhow::Result<()> {
    let began = Instant::now();
    let found = visit.playlist(address).await?;
    tally.playlists.fetch_add(1, Relaxed);
    tally.bytes.fetch_add(found.bytes, Relaxed);
    let [main_report, sound_report] = reports;
    let lane = |visit, report, is_main| Lane {
        visit,
        manner,
        tally,
        report,
        began,
        is_main,
        init: None,
        play: Play::default(),
    };
    let choice = match Playlist::parse(&found.text)? {
        Playlist::Media(playlist) => return lane(visit, main_report, true).follow(found.uri, Some(playlist)).await,
        Playlist::Multivariant(choice) => choice,
    };
    let at = |uri: &str| web::resolve(&found.uri, uri).with_context(|| format!("{uri:?} is no address"));
    let main = at(&choice.main)?;
    let Some(sound) = choice.sound.as_deref().map(at).transpose()? else {
        return lane(visit, main_report, true).follow(main, None).await;
    };
    let second = visit.another();
    let (main, sound) =
        (lane(visit, main_report, true).follow(main, None), lane(second, sound_report, false).follow(sound, None));
    tokio::try_join!(main, sound).map(|_| ())
}

/// One rendition.
struct Lane<'a> {
    visit: Visit,
    manner: Manner,
    tally: &'a Tally,
    report: &'a mut Report,
    began: Instant,
    is_main: bool,
    /// The one that was fetched last.
    init: Option<Uri>,
    play: Play,
}

/// A player that plays whatever it has.
#[derive(Debug, Default)]
struct Play {
    since: Option<Instant>,
    /// All that was fetched.
    fetched: Duration,
}

impl Play {
    /// How much is in hand that was not played yet.
    fn ahead(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| self.fetched.saturating_sub(since.elapsed()))
    }

    /// Takes in what was fetched just now; how long the player stood still for it.
    fn take(&mut self, duration: Duration) -> Option<Duration> {
        let late =
            self.since.and_then(|since| since.elapsed().checked_sub(self.fetched)).filter(|late| !late.is_zero());
        if let (Some(late), Some(since)) = (late, &mut self.since) {
            *since += late;
        }
        self.fetched += duration;
        late
    }
}

impl Lane<'_> {
    async fn follow(mut self, address: Uri, first: Option<MediaPlaylist>) -> anyhow::Result<()> {
        let (mut playlist, mut base) = match first {
            Some(playlist) => (self.seen(playlist), address.clone()),
            None => self.load(&address, None).await?,
        };
        let mut place = playlist.start().context("the playlist has no media")?;
        loop {
            let loaded = Instant::now();
            if playlist.has_left(place) {
                self.report.fell_behind += 1;
                place = playlist.start().context("the playlist has no media any more")?;
            }
            let before = place;
            for item in playlist.items(place) {
                if let Some(init) = item.init {
                    self.fetch_init(&base, init).await?;
                }
                if playlist.has_ended && !self.manner.unpaced {
                    tokio::time::sleep(self.play.ahead().saturating_sub(AHEAD_MAX)).await;
                }
                self.fetch(&base, item.uri).await?;
                place = item.next;
                if let (Some(at), Some(_), false) = (item.ended_at, self.play.since, playlist.has_ended) {
                    let behind = SystemTime::now().duration_since(at).unwrap_or_default();
                    self.note(|times| &mut times.behind, behind);
                }
                if let Some(stalled) = self.play.take(item.duration).filter(|_| !self.manner.unpaced) {
                    self.report.stalls += 1;
                    self.report.stalled += stalled;
                }
            }
            if place != before && self.play.since.is_none() {
                self.play.since = Some(Instant::now());
            }
            if playlist.has_ended {
                if !self.manner.unpaced {
                    tokio::time::sleep(self.play.ahead()).await;
                    return Ok(());
                }
                place = playlist.start().context("the playlist has no media")?;
                (playlist, base) = self.load(&address, None).await?;
                continue;
            }
            if playlist.can_block {
                (playlist, base) = self.load(&address, Some((&playlist, place))).await?;
                continue;
            }
            // RFC 8216 section 6.3.4: the target duration, or half of it when nothing had changed.
            let wait = if place == before { playlist.target / 2 } else { playlist.target };
            tokio::time::sleep(wait.max(LOOK_MIN).saturating_sub(loaded.elapsed())).await;
            (playlist, base) = self.load(&address, None).await?;
        }
    }

    /// A playlist; with a place, one that names it.
    async fn load(
        &mut self,
        address: &Uri,
        wanted: Option<(&MediaPlaylist, Place)>,
    ) -> anyhow::Result<(MediaPlaylist, Uri)> {
        let Found { text, uri, bytes, took } = match wanted {
            None => self.visit.playlist(address).await?,
            Some((last, place)) => self.visit.playlist(&blocking(address, last.has_parts(), place)?).await?,
        };
        self.tally.playlists.fetch_add(1, Relaxed);
        self.tally.bytes.fetch_add(bytes, Relaxed);
        if wanted.is_none() {
            self.note(|times| &mut times.playlists, took);
        }
        match Playlist::parse(&text)? {
            Playlist::Media(playlist) => Ok((self.seen(playlist), uri)),
            Playlist::Multivariant(_) => bail!("a variant leads to another multivariant playlist"),
        }
    }

    fn seen(&self, playlist: MediaPlaylist) -> MediaPlaylist {
        if self.manner.plain { playlist.without_parts() } else { playlist }
    }

    async fn fetch_init(&mut self, base: &Uri, init: &str) -> anyhow::Result<()> {
        let uri = web::resolve(base, init).with_context(|| format!("{init:?} is no address"))?;
        if self.init.as_ref() != Some(&uri) {
            let (bytes, _) = self.visit.media(&uri).await.map_err(|error| of(&uri, error))?;
            self.count(bytes);
            self.init = Some(uri);
        }
        Ok(())
    }

    async fn fetch(&mut self, base: &Uri, uri: &str) -> anyhow::Result<()> {
        let uri = web::resolve(base, uri).with_context(|| format!("{uri:?} is no address"))?;
        let (bytes, took) = self.visit.media(&uri).await.map_err(|error| of(&uri, error))?;
        self.count(bytes);
        self.note(|times| &mut times.media, took);
        if self.report.first_media.is_none() {
            self.report.first_media = Some(self.began.elapsed());
            self.tally.playing.fetch_add(u64::from(self.is_main), Relaxed);
        }
        Ok(())
    }

    fn count(&self, bytes: u64) {
        self.tally.media.fetch_add(1, Relaxed);
        self.tally.bytes.fetch_add(bytes, Relaxed);
    }

    fn note(&mut self, kind: impl FnOnce(&mut Times) -> &mut Vec<Duration>, time: Duration) {
        let times = kind(&mut self.report.times);
        if self.tally.is_measuring.load(Relaxed) && times.len() < TIMES_MAX {
            times.push(time);
        }
    }
}

/// The kind of address, so that many failures of one kind are one line.
fn of(uri: &Uri, error: anyhow::Error) -> anyhow::Error {
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    let kind: String = name.chars().map(|char| if char.is_ascii_digit() { '#' } else { char }).collect();
    anyhow!("{kind}: {error:#}")
}

/// Asks the server to hold its answer until there is that place (rfc8216bis section 6.2.5.2).
fn blocking(address: &Uri, has_parts: bool, (segment, part): Place) -> anyhow::Result<Uri> {
    let text = address.to_string();
    let separator = if address.query().is_some() { '&' } else { '?' };
    let part = if has_parts { format!("&_HLS_part={part}") } else { String::new() };
    format!("{text}{separator}_HLS_msn={segment}{part}").parse().context("the address of a held playlist")
}
