//! A decoded picture made smaller: each sample is the mean of the area that it stands for. Pure.

use super::decode::{Picture, Plane};

/// A picture as small as it is wanted, every plane of the same size.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) luma: Vec<u8>,
    pub(super) chroma: [Vec<u8>; 2],
}

/// A phone held upright is twice as high as it is wide; nothing needs to be higher.
const HEIGHT_MAX_WIDTHS: usize = 2;

/// The size of the picture within `width`, with square pixels: even, never larger than it is.
pub(super) fn fit(picture: &Picture<'_>, width: u16) -> (u16, u16) {
    let (across, along) = picture.pixel_aspect;
    let wide = picture.width as f64 * f64::from(across) / f64::from(along);
    let high = picture.height as f64;
    let width = f64::from(width);
    let shrink = (width / wide).min(width * HEIGHT_MAX_WIDTHS as f64 / high).min(1.0);
    let even = |length: f64| ((length / 2.0).round() as u16).max(1) * 2;
    (even(wide * shrink), even(high * shrink))
}

pub(super) fn planes(picture: &Picture<'_>, width: u16, height: u16) -> Small {
    let size = (usize::from(width), usize::from(height));
    Small { luma: shrink(&picture.luma, size), chroma: picture.chroma.each_ref().map(|plane| shrink(plane, size)) }
}

/// Parts of a sample, so that areas that end within one are weighed right.
const PARTS: usize = 256;

/// Lines first, then columns of what is left of them.
fn shrink(plane: &Plane<'_>, (width, height): (usize, usize)) -> Vec<u8> {
    let columns: Vec<_> = (0..width).map(|at| area(at, width, plane.width)).collect();
    let lines = (0..height).map(|at| area(at, height, plane.height));
    let mut small = Vec::with_capacity(width * height);
    let mut sums = vec![0_u32; plane.width];
    for (lines, weight) in lines.map(|area| (area.samples(), area.len())) {
        sums.fill(0);
        for (line, part) in lines {
            let samples = &plane.samples[line * plane.stride..][..plane.width];
            for (sum, sample) in sums.iter_mut().zip(samples) {
                *sum += u32::from(*sample) * part as u32;
            }
        }
        for column in &columns {
            let sum: u64 = column.samples().map(|(at, part)| u64::from(sums[at]) * part as u64).sum();
            let whole = (weight * column.len()) as u64;
            small.push(((sum + whole / 2) / whole) as u8);
        }
    }
    small
}

/// A stretch of a line or column, in parts of a sample.
#[derive(Debug, Clone, Copy)]
struct Area {
    from: usize,
    to: usize,
}

/// What the sample `at` of `count` stands for among `samples`.
fn area(at: usize, count: usize, samples: usize) -> Area {
    let from = at * samples * PARTS / count;
    let to = ((at + 1) * samples * PARTS / count).max(from + 1);
    Area { from, to }
}

impl Area {
    fn len(self) -> usize {
        self.to - self.from
    }

    /// Each sample that it touches, and how much of it.
    fn samples(self) -> impl Iterator<Item = (usize, usize)> {
        (self.from / PARTS..self.to.div_ceil(PARTS)).map(move |sample| {
            let (from, to) = (self.from.max(sample * PARTS), self.to.min((sample + 1) * PARTS));
            (sample, to - from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::h264::Colour;

    fn plane(samples: &[u8], width: usize) -> Plane<'_> {
        Plane { samples, stride: width, width, height: samples.len() / width }
    }

    fn sized(width: usize, height: usize, pixel_aspect: (u16, u16)) -> (u16, u16) {
        let empty = Plane { samples: &[], stride: 0, width: 0, height: 0 };
        let colour = Colour { matrix: 2, full_range: false };
        fit(&Picture { width, height, luma: empty, chroma: [empty; 2], colour, pixel_aspect }, 320)
    }

    #[test]
    fn a_sample_is_the_mean_of_what_it_covers() {
        let samples = [0, 10, 20, 30, 100, 110, 120, 130];
        assert_eq!(shrink(&plane(&samples, 4), (2, 1)), [55, 75]);
        assert_eq!(shrink(&plane(&samples, 4), (4, 2)), samples);
        // Three into two: each takes one and a half.
        assert_eq!(shrink(&plane(&[0, 90, 180], 3), (2, 1)), [30, 150]);
        // One into two, as chroma is spread over luma that is hardly shrunk.
        assert_eq!(shrink(&plane(&[7, 9], 2), (4, 1)), [7, 7, 9, 9]);
    }

    #[test]
    fn nothing_is_brightened_or_darkened_at_any_size() {
        let samples = vec![255; 1921 * 3];
        for width in [1, 2, 319, 320, 1000, 1921] {
            assert!(shrink(&plane(&samples, 1921), (width, 2)).iter().all(|sample| *sample == 255), "{width}");
        }
    }

    #[test]
    fn pictures_keep_their_shape_and_are_never_enlarged() {
        assert_eq!(sized(1920, 1080, (1, 1)), (320, 180));
        assert_eq!(sized(720, 1280, (1, 1)), (320, 568));
        assert_eq!(sized(180, 320, (1, 1)), (180, 320));
        assert_eq!(sized(720, 576, (16, 11)), (320, 176), "PAL of a wide screen");
        assert_eq!(sized(2, 4096, (1, 1)), (2, 640));
        assert_eq!(sized(4096, 2, (1, 1)), (320, 2));
    }
}
