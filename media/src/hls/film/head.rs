//! In: the tracks of a film. Out: everything before its media: `ftyp`, `moov`, and the header of `mdat`. Pure.
//! Driven by the maker. ISO/IEC 14496-12 sections 4.3, 8.1.1 and 8.2.

use super::track::Track;
use crate::model::Timescale;
use bytes::{BufMut, Bytes};
use mp4_atom::{Encode, FourCC, Ftyp, Matrix, Moov, Mvhd, Trak};
use std::time::Duration;

/// The clock of the film as a whole. That of video, so that edits of its picture are exact.
pub(super) const MOVIE_SCALE: Timescale = Timescale::VIDEO;
/// Size 1, the kind, the size in 64 bits: films are larger than 4 GiB.
const MDAT_HEADER: u64 = 16;

/// The head, and how long the film is. `zero`: its beginning on the film's clock. `media_bytes`: what follows the head.
pub(super) fn write(tracks: Vec<Track>, zero: i64, media_bytes: u64) -> Result<(Bytes, Duration), mp4_atom::Error> {
    let mut duration = 0;
    let trak: Vec<Trak> = (1..)
        .zip(tracks)
        .map(|(id, track)| {
            let (trak, shown) = track.finish(id, zero);
            duration = duration.max(shown);
            trak
        })
        .collect();
    let mvhd = Mvhd {
        creation_time: 0,
        modification_time: 0,
        timescale: MOVIE_SCALE.get(),
        duration,
        rate: 1.into(),
        volume: 1.into(),
        matrix: Matrix::default(),
        next_track_id: u32::try_from(trak.len() + 1).unwrap_or(u32::MAX),
    };
    let mut moov = Moov { mvhd, trak, ..Moov::default() };
    let ftyp = Ftyp {
        major_brand: FourCC::new(b"isom"),
        minor_version: 0,
        compatible_brands: vec![FourCC::new(b"isom"), FourCC::new(b"iso6"), FourCC::new(b"mp42")],
    };
    let mut head = Vec::new();
    ftyp.encode(&mut head)?;
    let before = head.len();
    moov.encode(&mut head)?;
    // Places of chunks have a fixed length, so the head stays as long as it is once they are known.
    let media = head.len() as u64 + MDAT_HEADER;
    for chunks in moov.trak.iter_mut().filter_map(|trak| trak.mdia.minf.stbl.co64.as_mut()) {
        chunks.entries.iter_mut().for_each(|place| *place += media);
    }
    head.truncate(before);
    moov.encode(&mut head)?;
    head.put_u32(1);
    head.put_slice(b"mdat");
    head.put_u64(MDAT_HEADER + media_bytes);
    debug_assert_eq!(head.len() as u64, media);
    let micros = u128::from(duration) * 1_000_000 / u128::from(MOVIE_SCALE.get());
    Ok((head.into(), Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))))
}
