//! Which packets of a source were seen (RFC 3711 section 3.3.2), and what a sequence number means (section 3.3.1).

use super::SrtpError;

/// The sources of a client that proved themselves. What is forged never gets in here, so it costs no memory.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

/// What is known of one synchronisation source.
struct Source {
    ssrc: u32,
    rtp: Replay,
    rtcp: Replay,
}

/// The newest index and which of those before it were seen.
#[derive(Default)]
pub(super) struct Replay {
    newest: Option<u64>,
    seen: [u64; WINDOW_WORDS],
}

/// 1 024 packets: more than a second of the fastest track.
const WINDOW_WORDS: usize = 16;
const WINDOW: u64 = WINDOW_WORDS as u64 * 64;
/// Two tracks of three layers, each with retransmissions, and a few more.
pub(super) const SOURCES_MAX: usize = 32;

impl Sources {
    /// The 48-bit index of an RTP packet that may be opened.
    pub(super) fn rtp_index(&self, ssrc: u32, sequence: u16) -> Result<u64, SrtpError> {
        let Some(source) = self.find(ssrc)? else { return Ok(u64::from(sequence)) };
        let index = source.rtp.guess(sequence);
        if source.rtp.was_seen(index) { Err(SrtpError::Replayed) } else { Ok(index) }
    }

    /// Whether an RTCP packet may be opened.
    pub(super) fn check_rtcp(&self, ssrc: u32, index: u32) -> Result<(), SrtpError> {
        let known = self.find(ssrc)?;
        if known.is_some_and(|source| source.rtcp.was_seen(u64::from(index))) {
            return Err(SrtpError::Replayed);
        }
        Ok(())
    }

    /// An RTP packet was authentic.
    pub(super) fn note_rtp(&mut self, ssrc: u32, index: u64) {
        self.entry(ssrc).rtp.note(index);
    }

    /// An RTCP packet was authentic.
    pub(super) fn note_rtcp(&mut self, ssrc: u32, index: u32) {
        self.entry(ssrc).rtcp.note(u64::from(index));
    }

    /// `None`: a new source, for which there is room.
    fn find(&self, ssrc: u32) -> Result<Option<&Source>, SrtpError> {
        let known = self.0.iter().find(|source| source.ssrc == ssrc);
        if known.is_none() && self.0.len() >= SOURCES_MAX {
            return Err(SrtpError::TooManySources);
        }
        Ok(known)
    }

    fn entry(&mut self, ssrc: u32) -> &mut Source {
        let at = self.0.iter().position(|source| source.ssrc == ssrc).unwrap_or_else(|| {
            self.0.push(Source { ssrc, rtp: Replay::default(), rtcp: Replay::default() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

impl Replay {
    /// The index nearest to the newest that ends in `sequence` (RFC 3711 section 3.3.1).
    pub(super) fn guess(&self, sequence: u16) -> u64 {
        let Some(newest) = self.newest else { return u64::from(sequence) };
        let step = i64::from(sequence.wrapping_sub(newest as u16).cast_signed());
        newest.checked_add_signed(step).unwrap_or(u64::from(sequence))
    }

    pub(super) fn was_seen(&self, index: u64) -> bool {
        let Some(newest) = self.newest else { return false };
        index <= newest && (newest - index >= WINDOW || self.seen[slot(index)] & bit(index) != 0)
    }

    pub(super) fn note(&mut self, index: u64) {
        let newest = *self.newest.get_or_insert(index);
        if index > newest {
            // What comes into the window has not been seen.
            for fresh in (newest + 1..=index).take(WINDOW as usize) {
                self.seen[slot(fresh)] &= !bit(fresh);
            }
            if index - newest >= WINDOW {
                self.seen = [0; WINDOW_WORDS];
            }
            self.newest = Some(index);
        }
        self.seen[slot(index)] |= bit(index);
    }
}

fn slot(index: u64) -> usize {
    (index % WINDOW / 64) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % 64)
}
