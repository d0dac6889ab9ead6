//! Names of stored objects. Immutable: a key includes the epoch, and no epoch number is ever used twice, so no key ever
//! stands for different bytes. Epochs are numbered by the wall clock and by what is known of those before, so that is so also
//! where a disk was lost.

use crate::model::BroadcastId;
use std::fmt;

/// One encoding of one track, as it is named in URLs and on disk: `v0`, `a0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenditionId {
    pub kind: RenditionKind,
    pub index: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RenditionKind {
    Video,
    Audio,
}

/// `<broadcast>/<rendition>/<epoch>/<object>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    pub broadcast: BroadcastId,
    pub rendition: RenditionId,
    pub epoch: u64,
    pub object: ObjectName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectName {
    Init,
    Segment(u64),
    /// A picture of the segment of that number.
    Thumbnail(u64),
}

impl RenditionId {
    pub fn parse(text: &str) -> Option<Self> {
        let kind = match text.as_bytes().first()? {
            b'v' => RenditionKind::Video,
            b'a' => RenditionKind::Audio,
            _ => return None,
        };
        Some(Self { kind, index: u8::try_from(parse_number(text.get(1..)?)?).ok()? })
    }
}

impl ObjectKey {
    /// A strong validator (RFC 9110 section 8.8.3): no key ever stands for other bytes.
    pub(crate) fn entity_tag(&self) -> String {
        format!("\"{}-{}-{}\"", self.rendition, self.epoch, self.object)
    }
}

impl ObjectName {
    /// What it is served and kept in a bucket as, of a rendition of this kind.
    pub(crate) fn content_type(self, kind: RenditionKind) -> &'static str {
        match (self, kind) {
            (Self::Thumbnail(_), _) => "image/jpeg",
            (Self::Init | Self::Segment(_), RenditionKind::Video) => "video/mp4",
            (Self::Init | Self::Segment(_), RenditionKind::Audio) => "audio/mp4",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "init.mp4" => Some(Self::Init),
            _ => {
                let (number, kind) = text.split_once('.')?;
                let number = parse_number(number)?;
                match kind {
                    "m4s" => Some(Self::Segment(number)),
                    "jpg" => Some(Self::Thumbnail(number)),
                    _ => None,
                }
            }
        }
    }
}

/// Decimal digits in the one way we write them: no sign, no leading zero, so that a resource has one name.
pub fn parse_number(text: &str) -> Option<u64> {
    let canonical =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

impl fmt::Display for RenditionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            RenditionKind::Video => 'v',
            RenditionKind::Audio => 'a',
        };
        write!(f, "{letter}{}", self.index)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init.mp4"),
            Self::Segment(number) => write!(f, "{number}.m4s"),
            Self::Thumbnail(number) => write!(f, "{number}.jpg"),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.broadcast, self.rendition, self.epoch, self.object)
    }
}

impl serde::Serialize for RenditionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for RenditionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a rendition id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_and_has_one_spelling() {
        for text in ["v0", "a0", "v12", "a255"] {
            assert_eq!(RenditionId::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "v", "x0", "v00", "v256", "v-1", "v 1", "V0", "v0/..", "é0"] {
            assert_eq!(RenditionId::parse(text), None, "{text}");
        }
        assert_eq!(ObjectName::parse("init.mp4"), Some(ObjectName::Init));
        assert_eq!(ObjectName::parse("17.m4s"), Some(ObjectName::Segment(17)));
        assert_eq!(ObjectName::parse("17.jpg"), Some(ObjectName::Thumbnail(17)));
        for text in [
            "",
            ".jpg",
            "1.jpeg",
            "1.2.jpg",
            ".m4s",
            "+1.m4s",
            "01.m4s",
            "1.M4S",
            "../init.mp4",
            "99999999999999999999.m4s",
        ] {
            assert_eq!(ObjectName::parse(text), None, "{text}");
        }
    }
}
