//! What one viewer is offered: the host's tracks first, then those of the co-hosts.
//!
//! In: feeds with what they offer, and the agreement about it. Out: the tracks to negotiate about, and one showing per feed
//! that got a place. Pure but for random numbers.

use super::burst::Lane;
use super::feed::{FeedLease, Tracks};
use super::send_lane::LaneSetup;
use super::showing::Showing;
use crate::model::VideoCodec;
use crate::rtc::negotiate::{Codec, Offer, Outgoing, SectionKind, ViewerAgreement};
use std::ops::Range;

pub(crate) struct LineUp {
    tracks: Vec<Outgoing>,
    acts: Vec<Act>,
    has_layers: bool,
}

/// One feed.
struct Act {
    lease: FeedLease,
    /// Which of the tracks are its own.
    tracks: Range<usize>,
}

/// The stream that the host's tracks are of. A co-host's is named after their broadcast.
const HOST_STREAM: &str = "chobi";

impl LineUp {
    pub(crate) fn new(host: FeedLease, tracks: &Tracks) -> Self {
        let mut line_up = Self { tracks: Vec::new(), acts: Vec::new(), has_layers: false };
        line_up.put(HOST_STREAM.to_owned(), true, host, tracks);
        line_up
    }

    /// A co-host's feed.
    pub(crate) fn add(&mut self, co_host: FeedLease, tracks: &Tracks) {
        self.put(co_host.broadcast().id().to_string(), false, co_host, tracks);
    }

    /// Whether the client offers to receive more than one sound and one picture.
    pub(crate) fn leaves_room(&self, offer: &Offer) -> bool {
        let received = offer.sections.iter().filter(|section| section.receives && section.kind != SectionKind::Other);
        received.count() > self.tracks.len()
    }

    pub(crate) fn tracks(&self) -> &[Outgoing] {
        &self.tracks
    }

    /// Whether there is something to choose by what the client's way carries.
    pub(crate) fn has_layers(&self) -> bool {
        self.has_layers
    }

    /// The host's showing first. A feed of which nothing was placed is not shown.
    pub(crate) fn showings(self, agreement: &ViewerAgreement) -> Vec<Showing> {
        let tracks = &self.tracks;
        let placed = |act: Act| {
            let own = agreement.sections.iter().filter_map(|section| Some((section, section.track?)));
            let setups: Vec<LaneSetup> = own
                .filter(|(_, track)| act.tracks.contains(track))
                .map(|(section, track)| {
                    let track = &tracks[track];
                    LaneSetup {
                        lane: if track.codec == Codec::Opus { Lane::Audio } else { Lane::Video },
                        m_line: section.m_line,
                        ssrc: track.ssrc,
                        payload_type: section.payload_type,
                        rtx: track.rtx_ssrc.zip(section.rtx_payload_type),
                        first_sequence: rand::random::<u16>() & 0x3fff,
                        transport_cc: section.transport_cc,
                    }
                })
                .collect();
            let is_host = act.tracks.start == 0;
            (is_host || !setups.is_empty()).then(|| Showing::new(&setups, act.lease))
        };
        self.acts.into_iter().filter_map(placed).collect()
    }

    fn put(&mut self, stream: String, is_host: bool, mut lease: FeedLease, tracks: &Tracks) {
        lease.promise(tracks);
        let first = self.tracks.len();
        let video = tracks.video.map(|codec| match codec {
            VideoCodec::H264 => Codec::H264 { profile_level_id: tracks.profile.unwrap_or([0x42, 0xe0, 0x1f]) },
            VideoCodec::H265 => Codec::H265,
            VideoCodec::Av1 => Codec::Av1,
            VideoCodec::Vp8 => Codec::Vp8,
            VideoCodec::Vp9 => Codec::Vp9,
        });
        self.tracks.extend(video.map(|codec| Outgoing {
            codec,
            needed: is_host,
            ssrc: rand::random(),
            rtx_ssrc: Some(rand::random()),
            stream: stream.clone(),
            track: format!("{stream}-video"),
        }));
        self.tracks.extend(tracks.audio.then(|| Outgoing {
            codec: Codec::Opus,
            needed: false,
            ssrc: rand::random(),
            rtx_ssrc: None,
            track: format!("{stream}-audio"),
            stream,
        }));
        self.has_layers |= tracks.layers > 1;
        self.acts.push(Act { lease, tracks: first..self.tracks.len() });
    }
}
