//! What delivery sees of a show: snapshots that the packager task publishes and requests wait for.

use super::delivery::Viewers;
use super::packager::{
    Alternative, Choice, RenditionSnapshot, ShowState, render_multivariant, render_multivariant_with,
};
use super::remux::Unfit;
use super::text::Text;
use crate::hub::Broadcast;
use crate::model::BroadcastId;
use crate::store::RenditionId;
use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) id: BroadcastId,
    /// The show of whose host it is a co-host's.
    part_of: Option<BroadcastId>,
    channels: ArcSwap<Vec<Arc<Channel>>>,
    offer: ArcSwap<Offer>,
    stage: watch::Sender<Stage>,
    /// Rung when a rendition has its first part.
    begun: watch::Sender<()>,
    ending: watch::Sender<Ending>,
    /// What leaves the window is in the store.
    keeps: AtomicBool,
    thumbnail: ArcSwapOption<LatestThumbnail>,
    pub(crate) viewers: Viewers,
}

/// The newest picture of a show.
#[derive(Debug)]
pub(crate) struct LatestThumbnail {
    pub(crate) jpeg: Bytes,
    /// Its name, and no other's.
    pub(crate) tag: String,
}

/// How far a show is with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It goes on.
    Open,
    /// Its last playlists are shown until every player has seen them. `replay`: whoever comes now is given all of it.
    Lingers { replay: bool },
    /// The same, until its task has seen that it is not to wait any longer.
    Dismissed,
    /// Nothing of it is served from memory any more, and nothing will be written.
    Gone,
}

/// What a player that comes now can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing yet.
    Starting,
    /// Playlists: the first segment of every rendition is whole.
    Ready,
    /// Nothing, until the publisher sends something else.
    Unfit(Unfit),
}

/// One rendition's newest snapshot; rung with every part.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: RenditionId,
    newest: watch::Sender<Arc<RenditionSnapshot>>,
}

/// What the multivariant playlist is made of.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) choices: Vec<Choice>,
    independent: bool,
    /// The same for everyone who needs no pass.
    pub(crate) text: Text,
}

impl Show {
    pub(crate) fn new(broadcast: &Broadcast, viewers: Viewers) -> Self {
        Self {
            id: broadcast.id().clone(),
            part_of: broadcast.part_of().cloned(),
            channels: ArcSwap::default(),
            offer: ArcSwap::from_pointee(Offer::new(Vec::new(), true)),
            stage: watch::Sender::new(Stage::Starting),
            begun: watch::Sender::new(()),
            ending: watch::Sender::new(Ending::Open),
            keeps: AtomicBool::new(false),
            thumbnail: ArcSwapOption::empty(),
            viewers,
        }
    }

    /// The show it belongs to: itself, or that of its host.
    pub(crate) fn of(&self) -> &BroadcastId {
        self.part_of.as_ref().unwrap_or(&self.id)
    }

    /// The show of its host, of a co-host's.
    pub(crate) fn part_of(&self) -> Option<&BroadcastId> {
        self.part_of.as_ref()
    }

    /// Whether it can be watched now beside its host.
    pub(crate) fn is_live_part_of(&self, host: &BroadcastId) -> bool {
        let is_live = || self.channels.load().iter().any(|channel| channel.snapshot().state == ShowState::Live);
        self.part_of.as_ref() == Some(host) && self.stage() == Stage::Ready && is_live()
    }

    pub(crate) fn channel(&self, id: RenditionId) -> Option<Arc<Channel>> {
        self.channels.load().iter().find(|channel| channel.id == id).cloned()
    }

    pub(crate) fn offer(&self) -> Arc<Offer> {
        self.offer.load_full()
    }

    /// The longest target duration any rendition states.
    pub(crate) fn target_duration(&self) -> Duration {
        let longest = self.channels.load().iter().map(|channel| channel.snapshot().target_duration).max();
        Duration::from_secs(longest.unwrap_or(0))
    }

    pub(crate) fn watch_begun(&self) -> watch::Receiver<()> {
        self.begun.subscribe()
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(crate) fn watch_stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Whether it is over and the recording has all of it.
    pub(crate) fn has_replay(&self) -> bool {
        *self.ending.borrow() == Ending::Lingers { replay: true }
    }

    /// Whether anything of it was made.
    pub(crate) fn has_begun(&self) -> bool {
        !self.channels.load().is_empty()
    }

    /// Has a show that is over go at once, and waits until it is gone. `false`: it goes on.
    pub(crate) async fn dismiss(&self) -> bool {
        let lingers = |ending: &mut Ending| matches!(ending, Ending::Lingers { .. });
        self.ending
            .send_if_modified(|ending| lingers(ending) && std::mem::replace(ending, Ending::Dismissed) != *ending);
        if *self.ending.borrow() == Ending::Open {
            return false;
        }
        self.comes_to(Ending::Gone).await;
        true
    }

    /// Waits until the show is dismissed, or gone.
    pub(crate) async fn dismissed(&self) {
        self.comes_to(Ending::Dismissed).await;
    }

    async fn comes_to(&self, wanted: Ending) {
        let is_there = |ending: &Ending| *ending == wanted || *ending == Ending::Gone;
        // The sender is this show's own.
        let _ = self.ending.subscribe().wait_for(is_there).await;
    }

    /// Whether the store is to have what is in memory no more.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps.load(Ordering::Relaxed)
    }

    pub(crate) fn thumbnail(&self) -> Option<Arc<LatestThumbnail>> {
        self.thumbnail.load_full()
    }

    /// Only the packager task of the show calls these.
    pub(crate) fn set_keeps(&self, keeps: bool) {
        self.keeps.store(keeps, Ordering::Relaxed);
    }

    pub(crate) fn set_ending(&self, ending: Ending) {
        self.ending.send_replace(ending);
    }

    pub(crate) fn publish(&self, snapshot: RenditionSnapshot) {
        let snapshot = Arc::new(snapshot);
        match self.channel(snapshot.id) {
            Some(channel) => drop(channel.newest.send_replace(snapshot)),
            None => {
                let mut channels = Vec::clone(&self.channels.load());
                channels.push(Arc::new(Channel { id: snapshot.id, newest: watch::Sender::new(snapshot) }));
                self.channels.store(Arc::new(channels));
                self.begun.send_replace(());
            }
        }
    }

    pub(crate) fn set_thumbnail(&self, thumbnail: LatestThumbnail) {
        self.thumbnail.store(Some(Arc::new(thumbnail)));
    }

    pub(crate) fn set_offer(&self, choices: Vec<Choice>) {
        let independent = self.channels.load().iter().all(|channel| channel.snapshot().independent());
        let before = self.offer.load();
        if before.choices != choices || before.independent != independent {
            self.offer.store(Arc::new(Offer::new(choices, independent)));
        }
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.send_if_modified(|present| std::mem::replace(present, stage) != stage);
    }
}

impl Offer {
    fn new(choices: Vec<Choice>, independent: bool) -> Self {
        let text = Text::new(render_multivariant(&choices, independent, ""));
        Self { choices, independent, text }
    }

    pub(crate) fn render(&self, alternatives: &[Alternative], prefix: &str) -> String {
        render_multivariant_with(&self.choices, alternatives, self.independent, prefix)
    }
}

impl Channel {
    /// The newest there is.
    pub(crate) fn snapshot(&self) -> Arc<RenditionSnapshot> {
        Arc::clone(&self.newest.borrow())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<RenditionSnapshot>> {
        self.newest.subscribe()
    }
}
