//! Which track a packet is of: by its source, once a packet of it has said so.
//!
//! In: headers and header extensions. Out: the index of a track. RFC 8852 section 3, RFC 8843 section 9.2: a client names the
//! layer in its first packets only, until a report shows that the source is known.

use super::track::Track;
use crate::rtc::negotiate::PublisherAgreement;
use crate::rtp::header::{RtpHeader, extensions};
use std::collections::VecDeque;

/// Ids of the extensions that were agreed on. One number has one meaning in the whole bundle (RFC 9143 section 9.2).
#[derive(Debug, Default)]
pub(super) struct MarkIds {
    transport_sequence: Option<u8>,
    rid: Option<u8>,
    repaired_rid: Option<u8>,
    audio_level: Option<u8>,
}

/// What a packet's header extensions say.
#[derive(Debug, Default)]
pub(super) struct Marks<'a> {
    pub(super) transport_sequence: Option<u16>,
    /// The layer it is of, or that it mends.
    rid: Option<&'a [u8]>,
    /// Decibels below the loudest there is (RFC 6464 section 3); of sound.
    pub(super) audio_level: Option<u8>,
}

/// Sources by SSRC, newest last.
#[derive(Debug, Default)]
pub(super) struct Sources {
    known: VecDeque<(u32, usize)>,
}

/// Four layers with their retransmissions and sound make nine; a client that restarts its encoders makes more.
const SOURCES_MAX: usize = 32;

impl MarkIds {
    pub(super) fn of(agreement: &PublisherAgreement) -> Self {
        let sections = &agreement.sections;
        let simulcast = sections.iter().find_map(|section| section.simulcast.as_ref());
        Self {
            transport_sequence: sections.iter().find_map(|section| section.transport_cc),
            rid: simulcast.map(|simulcast| simulcast.rid),
            repaired_rid: simulcast.and_then(|simulcast| simulcast.repaired_rid),
            audio_level: sections.iter().find_map(|section| section.audio_level),
        }
    }
}

impl<'a> Marks<'a> {
    pub(super) fn read(packet: &'a [u8], ids: &MarkIds) -> Self {
        let mut marks = Self::default();
        for (id, value) in extensions(packet) {
            if ids.transport_sequence == Some(id) {
                marks.transport_sequence = value.try_into().ok().map(u16::from_be_bytes);
            } else if ids.rid == Some(id) || ids.repaired_rid == Some(id) {
                marks.rid = Some(value);
            } else if ids.audio_level == Some(id) {
                // The first bit is the sender's own guess whether this is speech.
                marks.audio_level = value.first().map(|byte| byte & 0x7f);
            }
        }
        marks
    }
}

impl Sources {
    /// `None`: nobody can tell, or nobody agreed to it.
    pub(super) fn track_of(&mut self, header: &RtpHeader, marks: &Marks<'_>, tracks: &[Track]) -> Option<usize> {
        if let Some((_, track)) = self.known.iter().find(|(ssrc, _)| *ssrc == header.ssrc) {
            return Some(*track);
        }
        let track = tracks.iter().position(|track| track.takes(header.payload_type, marks.rid))?;
        if self.known.len() >= SOURCES_MAX {
            self.known.pop_front();
        }
        self.known.push_back((header.ssrc, track));
        Some(track)
    }
}
