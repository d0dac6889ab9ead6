//! A playlist's bytes, as every viewer gets them: plain, and compressed once for all who take it so.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::sync::OnceLock;

#[derive(Debug)]
pub(crate) struct Text {
    plain: Bytes,
    gzip: OnceLock<Bytes>,
    brotli: OnceLock<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Gzip,
    Brotli,
}

/// Playlists live for a part's duration and are a few kilobytes: the cheap levels already save nine tenths.
const GZIP_LEVEL: u32 = 4;
const BROTLI_LEVEL: u32 = 4;
/// 2^16 bytes hold any live playlist.
const BROTLI_WINDOW: u32 = 16;

impl Text {
    pub(crate) fn new(text: String) -> Self {
        Self { plain: text.into(), gzip: OnceLock::new(), brotli: OnceLock::new() }
    }

    pub(crate) fn bytes(&self, encoding: Encoding) -> Bytes {
        match encoding {
            Encoding::Plain => self.plain.clone(),
            Encoding::Gzip => self.gzip.get_or_init(|| gzip(&self.plain)).clone(),
            Encoding::Brotli => self.brotli.get_or_init(|| brotli(&self.plain)).clone(),
        }
    }
}

impl Encoding {
    /// The best of those an `Accept-Encoding` allows (RFC 9110 section 12.5.3): brotli, gzip, plain.
    pub(crate) fn choose(accept: &str) -> Self {
        let allows = |name: &str| {
            accept.split(',').any(|item| {
                let mut fields = item.split(';').map(str::trim);
                let named = fields.next().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
                let refused = fields.any(|field| {
                    field.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
                });
                named && !refused
            })
        };
        if allows("br") {
            Self::Brotli
        } else if allows("gzip") {
            Self::Gzip
        } else {
            Self::Plain
        }
    }

    /// The `Content-Encoding`, if there is any.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(GZIP_LEVEL));
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory does not fail").into()
}

fn brotli(plain: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(plain.len() / 4);
    let mut encoder = brotli::CompressorWriter::new(&mut out, 4_096, BROTLI_LEVEL, BROTLI_WINDOW);
    encoder.write_all(plain).expect("writing to memory does not fail");
    drop(encoder);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_client_chooses_the_coding_and_a_zero_refuses_one() {
        assert_eq!(Encoding::choose("gzip, deflate, br, zstd"), Encoding::Brotli);
        assert_eq!(Encoding::choose("br;q=0, GZIP;q=0.5"), Encoding::Gzip);
        assert_eq!(Encoding::choose("gzip;q=0.000"), Encoding::Plain);
        assert_eq!(Encoding::choose("brotli, xgzip"), Encoding::Plain);
        assert_eq!(Encoding::choose(""), Encoding::Plain);
    }

    #[test]
    fn every_coding_reads_back() {
        let plain = "#EXT-X-PART:DURATION=0.20000\n".repeat(100);
        let text = Text::new(plain.clone());
        let mut gunzipped = String::new();
        flate2::read::GzDecoder::new(&text.bytes(Encoding::Gzip)[..]).read_to_string(&mut gunzipped).unwrap();
        let mut unbrotlied = String::new();
        brotli::Decompressor::new(&text.bytes(Encoding::Brotli)[..], 4_096).read_to_string(&mut unbrotlied).unwrap();
        assert_eq!((gunzipped, unbrotlied), (plain.clone(), plain.clone()));
        assert!(text.bytes(Encoding::Brotli).len() * 5 < plain.len());
    }
}
