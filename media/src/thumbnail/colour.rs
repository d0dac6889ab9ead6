//! Samples as the encoder of the show meant them → samples as a JPEG holds them: BT.601, full range (JFIF 1.02). Pure.
//! ITU-T H.264 tables E-5, ITU-T H.273 section 8.3.

use super::scale::Small;
use crate::codec::h264::Colour;

/// Shares of red and blue in luma; green has the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Matrix {
    red: f32,
    blue: f32,
}

const BT601: Matrix = Matrix { red: 0.299, blue: 0.114 };
const BT709: Matrix = Matrix { red: 0.2126, blue: 0.0722 };
const BT2020: Matrix = Matrix { red: 0.2627, blue: 0.0593 };
/// Where nothing is stated, a picture from this height on is taken for high definition, as most players do.
const HIGH_DEFINITION: usize = 720;

/// Interleaved Y, Cb and Cr. `height`: of the show's picture.
pub(super) fn to_jpeg(small: &Small, colour: Colour, height: usize) -> Vec<u8> {
    let from = matrix(colour, height);
    let (black, luma_range, chroma_range) = if colour.full_range { (0.0, 255.0, 255.0) } else { (16.0, 219.0, 224.0) };
    let mut pixels = Vec::with_capacity(small.luma.len() * 3);
    let [blues, reds] = &small.chroma;
    for ((luma, blue), red) in small.luma.iter().zip(blues).zip(reds) {
        let y = (f32::from(*luma) - black) / luma_range;
        let (cb, cr) = ((f32::from(*blue) - 128.0) / chroma_range, (f32::from(*red) - 128.0) / chroma_range);
        let (y, cb, cr) = if from == BT601 { (y, cb, cr) } else { to_bt601(from, y, cb, cr) };
        pixels.extend([y * 255.0, cb * 255.0 + 128.0, cr * 255.0 + 128.0].map(|sample| sample.round() as u8));
    }
    pixels
}

fn to_bt601(from: Matrix, y: f32, cb: f32, cr: f32) -> (f32, f32, f32) {
    let red = y + 2.0 * (1.0 - from.red) * cr;
    let blue = y + 2.0 * (1.0 - from.blue) * cb;
    let green = (y - from.red * red - from.blue * blue) / (1.0 - from.red - from.blue);
    let y = BT601.red * red + (1.0 - BT601.red - BT601.blue) * green + BT601.blue * blue;
    (y, (blue - y) / (2.0 * (1.0 - BT601.blue)), (red - y) / (2.0 * (1.0 - BT601.red)))
}

fn matrix(colour: Colour, height: usize) -> Matrix {
    match colour.matrix {
        1 => BT709,
        4..=7 => BT601,
        9 | 10 => BT2020,
        _ if height >= HIGH_DEFINITION => BT709,
        _ => BT601,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(y: u8, cb: u8, cr: u8, matrix: u8, full_range: bool) -> [u8; 3] {
        let small = Small { luma: vec![y], chroma: [vec![cb], vec![cr]] };
        to_jpeg(&small, Colour { matrix, full_range }, 360).try_into().unwrap()
    }

    #[test]
    fn black_and_white_are_those_of_the_range() {
        assert_eq!(pixel(16, 128, 128, 1, false), [0, 128, 128]);
        assert_eq!(pixel(235, 128, 128, 6, false), [255, 128, 128]);
        assert_eq!(pixel(255, 128, 128, 6, true), [255, 128, 128]);
        assert_eq!(pixel(255, 128, 128, 6, false), [255, 128, 128], "brighter than white is white");
    }

    /// Red (BT.709: 63, 102, 240; BT.601: 81, 90, 240) is 76, 85, 255 in a JPEG.
    #[test]
    fn red_is_red_in_every_matrix() {
        for (sample, matrix) in [([63, 102, 240], 1), ([81, 90, 240], 6), ([81, 90, 240], 2)] {
            let found = pixel(sample[0], sample[1], sample[2], matrix, false);
            for (found, wanted) in found.into_iter().zip([76_u8, 85, 255]) {
                assert!(found.abs_diff(wanted) <= 2, "{found} instead of {wanted} in {matrix}");
            }
        }
    }
}
