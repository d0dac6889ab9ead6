//! The sample tables of one track of a film, as they grow. Pure.
//!
//! In: samples with their places on the film's timeline. Out: a `trak` box. Driven by the maker.
//! ISO/IEC 14496-12 sections 8.5 to 8.7.
//!
//! Time is kept, not lengths: where a sample is missing, the one before is shown until the next is due, so picture and sound
//! stay where the replay has them.

use super::head::MOVIE_SCALE;
use super::sets::ParameterSets;
use crate::hls::remux::StoredSample;
use crate::model::{MediaTime, Timescale};
use mp4_atom::{
    Co64, Codec, Ctts, CttsEntry, Edts, Elst, ElstEntry, Mdhd, Moov, Stbl, Stsc, StscEntry, Stsd, Stss, Stsz,
    StszSamples, Stts, SttsEntry, Trak,
};
use std::ops::Range;

/// What an init says of a track.
#[derive(Debug, Clone)]
pub(super) struct Init {
    pub(super) scale: Timescale,
    /// The sample entry.
    pub(super) codec: Codec,
    /// All but samples and times.
    trak: Trak,
    /// What its keyframes get, and where the film has it; in a film in which that changes.
    pub(super) sets: Option<(ParameterSets, Range<usize>)>,
}

#[derive(Debug)]
pub(super) struct Track {
    /// Of the first epoch; others are laid on it.
    scale: Timescale,
    trak: Trak,
    entries: Vec<Codec>,
    /// Decode time of the first sample.
    begin: i64,
    newest: Option<Newest>,
    /// Earliest and end of the latest presentation.
    shown: (i64, i64),
    steps: Vec<SttsEntry>,
    offsets: Vec<CttsEntry>,
    sizes: Vec<u32>,
    syncs: Vec<u32>,
    runs: Vec<StscEntry>,
    /// Where chunks begin, from the first byte of media on.
    chunks: Vec<u64>,
}

/// The newest sample, whose step to the next is not known yet.
#[derive(Debug, Clone, Copy)]
struct Newest {
    at: i64,
    duration: u32,
}

impl Init {
    /// `None`: it is not one of ours.
    pub(super) fn read(moov: Moov) -> Option<Self> {
        let mut trak = moov.trak.into_iter().next()?;
        let scale = trak.mdia.mdhd.timescale;
        let scale = (scale > 0).then(|| Timescale::new(scale))?;
        let mut codecs = std::mem::take(&mut trak.mdia.minf.stbl.stsd.codecs);
        let codec = codecs.pop().filter(|_| codecs.is_empty())?;
        Some(Self { scale, codec, trak, sets: None })
    }
}

impl Track {
    pub(super) fn new(init: &Init) -> Self {
        Self {
            scale: init.scale,
            trak: init.trak.clone(),
            entries: Vec::new(),
            begin: 0,
            newest: None,
            shown: (i64::MAX, i64::MIN),
            steps: Vec::new(),
            offsets: Vec::new(),
            sizes: Vec::new(),
            syncs: Vec::new(),
            runs: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Whether samples of this kind can go on in this track. Players follow another configuration, not another codec.
    pub(super) fn takes(&self, init: &Init) -> bool {
        let kind = std::mem::discriminant::<Codec>;
        self.entries.first().is_none_or(|first| kind(first) == kind(&init.codec))
    }

    pub(super) fn samples(&self) -> usize {
        self.sizes.len()
    }

    /// Samples follow that begin at this byte of media and are decoded with this init.
    pub(super) fn begin_chunk(&mut self, offset: u64, init: &Init) {
        let known = self.entries.iter().position(|entry| *entry == init.codec);
        let entry = known.unwrap_or_else(|| {
            self.entries.push(init.codec.clone());
            self.entries.len() - 1
        });
        self.chunks.push(offset);
        self.runs.push(StscEntry {
            first_chunk: count(self.chunks.len()),
            samples_per_chunk: 0,
            sample_description_index: count(entry + 1),
        });
    }

    /// The next samples of the chunk, the first of them decoded at `decode_time` of the init's clock. `shift`: from there to the
    /// film's.
    pub(super) fn push(&mut self, decode_time: i64, samples: &[StoredSample], init: &Init, shift: i64) {
        let shift = MediaTime::new(shift, MOVIE_SCALE).rescale_nearest(self.scale).ticks;
        let here = |ticks: i64| MediaTime::new(ticks, init.scale).rescale_nearest(self.scale).ticks + shift;
        let mut at = decode_time;
        let placed: Vec<(i64, i64, i64, StoredSample)> = samples
            .iter()
            .map(|sample| {
                let (starts, shown) = (here(at), here(at + i64::from(sample.composition_offset)));
                at += i64::from(sample.duration);
                (starts, here(at), shown, *sample)
            })
            .collect();
        for (starts, ends, shown, sample) in placed {
            self.take(starts, ends, shown, sample);
        }
        if let Some(run) = self.runs.last_mut() {
            run.samples_per_chunk += count(samples.len());
        }
    }

    fn take(&mut self, starts: i64, ends: i64, shown: i64, sample: StoredSample) {
        let duration = u32::try_from(ends - starts).unwrap_or(1).max(1);
        let at = match self.newest {
            None => {
                self.begin = starts;
                starts
            }
            // Where an epoch with B-frames follows one without, its first are decoded before the last of that one are shown. An order
            // of decoding there must be all the same.
            Some(newest) => {
                let step = u32::try_from((starts - newest.at).max(1)).unwrap_or(u32::MAX);
                self.step(step);
                newest.at + i64::from(step)
            }
        };
        self.newest = Some(Newest { at, duration });
        self.shown = (self.shown.0.min(shown), self.shown.1.max(shown + i64::from(duration)));
        let sample_offset = shown - at;
        match self.offsets.last_mut() {
            Some(run) if run.sample_offset == sample_offset => run.sample_count += 1,
            _ => self.offsets.push(CttsEntry { sample_count: 1, sample_offset }),
        }
        self.sizes.push(sample.bytes);
        if sample.is_sync {
            self.syncs.push(count(self.sizes.len()));
        }
    }

    fn step(&mut self, sample_delta: u32) {
        match self.steps.last_mut() {
            Some(run) if run.sample_delta == sample_delta => run.sample_count += 1,
            _ => self.steps.push(SttsEntry { sample_count: 1, sample_delta }),
        }
    }

    /// The newest sample is shown until then, on the film's clock.
    pub(super) fn hold_until(&mut self, film_time: i64) {
        let more = MediaTime::new(film_time - self.ends(), MOVIE_SCALE).rescale_nearest(self.scale).ticks.max(0);
        if let Some(newest) = &mut self.newest {
            let longer = u32::try_from(i64::from(newest.duration) + more).unwrap_or(u32::MAX);
            self.shown.1 += i64::from(longer - newest.duration);
            newest.duration = longer;
        }
    }

    /// When the last sample is no longer shown, on the film's clock.
    pub(super) fn ends(&self) -> i64 {
        self.on_film(self.shown.1)
    }

    /// When the first sample is shown, on the film's clock.
    pub(super) fn starts(&self) -> i64 {
        self.on_film(self.shown.0)
    }

    fn on_film(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.scale).rescale_nearest(MOVIE_SCALE).ticks
    }

    /// The box and its duration on the film's clock. `zero`: the beginning of the film, on that clock.
    pub(super) fn finish(mut self, id: u32, zero: i64) -> (Trak, u64) {
        if let Some(newest) = self.newest {
            self.step(newest.duration);
        }
        let (first, end) = self.shown;
        // Nothing may be shown before the time of the first sample; where that happened, everything is later by as much, and
        // the edit begins at once.
        let shift = (self.begin - first).max(0);
        self.offsets.iter_mut().for_each(|run| run.sample_offset += shift);
        let media_time = u64::try_from(first + shift - self.begin).unwrap_or(0);
        let shown = u64::try_from(self.on_film(end) - self.on_film(first)).unwrap_or(0);
        let wait = u64::try_from(self.on_film(first) - zero).unwrap_or(0);
        let mut edits = Vec::new();
        if wait > 0 {
            edits.push(ElstEntry { segment_duration: wait, media_time: None, media_rate: 1.into() });
        }
        edits.push(ElstEntry { segment_duration: shown, media_time: Some(media_time), media_rate: 1.into() });

        let decoded: u64 = self.steps.iter().map(|run| u64::from(run.sample_count) * u64::from(run.sample_delta)).sum();
        let lasts = u64::try_from(end - first).unwrap_or(0) + media_time;
        let mut trak = self.trak;
        trak.tkhd.track_id = id;
        trak.tkhd.duration = wait + shown;
        trak.edts = Some(Edts { elst: Some(Elst { entries: edits }) });
        trak.mdia.mdhd = Mdhd { timescale: self.scale.get(), duration: decoded.max(lasts), ..trak.mdia.mdhd };
        let all_sync = self.syncs.len() == self.sizes.len();
        let composes = self.offsets.iter().any(|run| run.sample_offset != 0);
        trak.mdia.minf.stbl = Stbl {
            stsd: Stsd { codecs: self.entries },
            stts: Stts { entries: self.steps },
            ctts: composes.then_some(Ctts { entries: self.offsets }),
            stss: (!all_sync).then_some(Stss { entries: self.syncs }),
            stsc: Stsc { entries: runs_of(self.runs) },
            stsz: Stsz { samples: StszSamples::Different { sizes: self.sizes } },
            co64: Some(Co64 { entries: self.chunks }),
            ..Stbl::default()
        };
        (trak, wait + shown)
    }
}

/// Chunks that are alike are said once.
fn runs_of(chunks: Vec<StscEntry>) -> Vec<StscEntry> {
    let mut runs: Vec<StscEntry> = Vec::new();
    for chunk in chunks {
        let like = |run: &StscEntry| (run.samples_per_chunk, run.sample_description_index);
        if runs.last().is_none_or(|run| like(run) != like(&chunk)) {
            runs.push(chunk);
        }
    }
    runs
}

/// The maker takes fewer samples than 32 bits count.
fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a film has fewer samples than 2^32")
}

#[cfg(test)]
mod tests {
    use super::super::head;
    use super::*;
    use crate::hls::remux::write_init;
    use crate::model::{AudioCodec, AudioFormat, MediaFormat, TrackFormat, TrackId};
    use bytes::Bytes;
    use mp4_atom::{Decode, Ftyp};

    /// Of AAC at this rate. The tables are the same for every codec.
    fn init(sample_rate: u32) -> Init {
        let audio = AudioFormat {
            codec: AudioCodec::Aac,
            configuration: Bytes::copy_from_slice(&[0x12, (sample_rate / 1_000) as u8]),
            rfc6381: "mp4a.40.2".to_owned(),
            sample_rate,
            channels: 2,
            samples_per_frame: 1_024,
        };
        let (timescale, media) = (Timescale::new(sample_rate), MediaFormat::Audio(audio));
        let bytes = write_init(&TrackFormat { id: TrackId(0), rid: None, timescale, media }).unwrap();
        let mut rest = &bytes[..];
        Ftyp::decode(&mut rest).unwrap();
        Init::read(Moov::decode(&mut rest).unwrap()).unwrap()
    }

    fn sample(duration: u32, composition_offset: i32, is_sync: bool) -> StoredSample {
        StoredSample { duration, composition_offset, bytes: 10, is_sync }
    }

    fn finished(track: Track, zero: i64) -> (Trak, f64) {
        let (head, duration) = head::write(vec![track], zero, 1_000).unwrap();
        let mut rest = &head[..];
        Ftyp::decode(&mut rest).unwrap();
        let moov = Moov::decode(&mut rest).unwrap();
        assert_eq!(rest, [&[0, 0, 0, 1][..], b"mdat", &1_016_u64.to_be_bytes()[..]].concat());
        (moov.trak.into_iter().next().unwrap(), duration.as_secs_f64())
    }

    fn steps(trak: &Trak) -> Vec<(u32, u32)> {
        trak.mdia.minf.stbl.stts.entries.iter().map(|run| (run.sample_count, run.sample_delta)).collect()
    }

    fn edits(trak: &Trak) -> Vec<(u64, Option<u64>)> {
        let list = trak.edts.as_ref().unwrap().elst.as_ref().unwrap();
        list.entries.iter().map(|edit| (edit.segment_duration, edit.media_time)).collect()
    }

    #[test]
    fn samples_that_are_alike_are_said_once_and_chunks_are_found_behind_the_head() {
        let (init, mut track) = (init(45_000), Track::new(&init(45_000)));
        for (number, offset) in [(0, 0), (1, 70), (2, 90)] {
            track.begin_chunk(offset, &init);
            track.push(
                number * 2_000,
                &[sample(1_000, 0, true), sample(1_000, 0, true)][..(2 - number as usize / 2)],
                &init,
                0,
            );
        }
        assert_eq!(track.samples(), 5);
        let (trak, seconds) = finished(track, 0);
        let stbl = &trak.mdia.minf.stbl;
        assert_eq!(steps(&trak), [(5, 1_000)]);
        assert!(stbl.ctts.is_none() && stbl.stss.is_none(), "nothing is reordered, every sample stands alone");
        let runs: Vec<_> = stbl.stsc.entries.iter().map(|run| (run.first_chunk, run.samples_per_chunk)).collect();
        assert_eq!(runs, [(1, 2), (3, 1)]);
        let places = &stbl.co64.as_ref().unwrap().entries;
        assert_eq!((places[1] - places[0], places[2] - places[1]), (70, 20));
        assert_eq!(edits(&trak), [(10_000, Some(0))]);
        assert!((seconds - 5.0 / 45.0).abs() < 0.000_1);
    }

    #[test]
    fn a_hole_is_shown_through_and_an_overlap_makes_no_step_back() {
        let (init, mut track) = (init(45_000), Track::new(&init(45_000)));
        track.begin_chunk(0, &init);
        track.push(1_000, &[sample(1_000, 0, true)], &init, 0);
        track.push(10_000, &[sample(1_000, 0, true)], &init, 0);
        // The next epoch begins before the last sample did, and goes on at its own pace.
        track.push(9_990, &[sample(1_000, 200, true), sample(1_000, 0, true)], &init, 0);
        let (trak, _) = finished(track, 0);
        assert_eq!(steps(&trak), [(1, 9_000), (1, 1), (1, 989), (1, 1_000)]);
        let offsets: Vec<_> =
            trak.mdia.minf.stbl.ctts.as_ref().unwrap().entries.iter().map(|run| run.sample_offset).collect();
        assert_eq!(offsets, [0, 189, 0], "what is decoded later is shown when it is due");
    }

    #[test]
    fn an_edit_puts_the_first_picture_where_the_film_has_it() {
        let (init, mut track) = (init(45_000), Track::new(&init(45_000)));
        track.begin_chunk(0, &init);
        let group = [sample(1_000, 2_000, true), sample(1_000, 4_000, false), sample(1_000, 1_000, false)];
        track.push(0, &group, &init, 0);
        // The film begins a second before.
        let (trak, seconds) = finished(track, 4_000 - 90_000);
        assert_eq!(edits(&trak), [(90_000, None), (8_000, Some(2_000))]);
        assert_eq!(trak.mdia.minf.stbl.stss.as_ref().unwrap().entries, [1]);
        assert_eq!(trak.mdia.mdhd.duration, 6_000);
        assert!((seconds - 98_000.0 / 90_000.0).abs() < 0.000_1);
    }

    #[test]
    fn a_picture_that_is_shown_before_its_decoding_moves_all_offsets_and_no_time() {
        let (init, mut track) = (init(45_000), Track::new(&init(45_000)));
        track.begin_chunk(0, &init);
        track.push(5_000, &[sample(1_000, -90, true), sample(1_000, 0, false)], &init, 0);
        let (trak, _) = finished(track, 9_820);
        let offsets: Vec<_> =
            trak.mdia.minf.stbl.ctts.as_ref().unwrap().entries.iter().map(|run| run.sample_offset).collect();
        assert_eq!(offsets, [0, 90]);
        assert_eq!(edits(&trak), [(4_180, Some(0))]);
    }

    #[test]
    fn another_configuration_is_another_entry_on_the_same_clock() {
        let (first, other) = (init(48_000), init(44_100));
        let mut track = Track::new(&first);
        assert!(track.takes(&other));
        track.begin_chunk(0, &first);
        track.push(0, &[sample(1_024, 0, true); 2], &first, 0);
        track.begin_chunk(20, &other);
        // Right behind: 2048/48000 s are 1881.6 ticks there.
        track.push(1_882, &[sample(1_024, 0, true); 3], &other, 0);
        track.begin_chunk(50, &first);
        track.push(5_391, &[sample(1_024, 0, true)], &first, 0);
        let (trak, seconds) = finished(track, 0);
        assert_eq!(trak.mdia.mdhd.timescale, 48_000);
        assert_eq!(trak.mdia.minf.stbl.stsd.codecs.len(), 2);
        let entries = trak.mdia.minf.stbl.stsc.entries.iter().map(|run| run.sample_description_index);
        assert_eq!(entries.collect::<Vec<_>>(), [1, 2, 1]);
        assert!((seconds - (5_391.0 + 1_024.0) / 48_000.0).abs() < 0.000_1, "no rounding adds up");
    }

    #[test]
    fn the_last_sample_is_held_until_the_end() {
        let (init, mut track) = (init(45_000), Track::new(&init(45_000)));
        track.begin_chunk(0, &init);
        track.push(0, &[sample(1_000, 0, true)], &init, 0);
        assert_eq!(track.ends(), 2_000);
        track.hold_until(20_000);
        track.hold_until(10_000);
        assert_eq!(track.ends(), 20_000);
        assert_eq!(steps(&finished(track, 0).0), [(1, 10_000)]);
    }
}
