//! One line of the table.

use crate::endpoint::Endpoint;
use anyhow::Result;
use std::pin::Pin;

#[derive(Clone, Copy)]
pub(crate) struct Requirement {
    /// Where it stands in RFC 9725; `None`: WHEP alone asks for it.
    pub(crate) whip: Option<&'static str>,
    /// Where it stands in draft-ietf-wish-whep.
    pub(crate) whep: Option<&'static str>,
    pub(crate) level: Level,
    pub(crate) text: &'static str,
    pub(crate) check: Check,
}

pub(crate) type Check = for<'a> fn(&'a Endpoint) -> Pin<Box<dyn Future<Output = Result<Finding>> + 'a>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Must,
    Should,
    /// Nobody need do it; whoever does must do it so.
    May,
}

/// What a check found, unless the requirement is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    Met,
    /// It cannot be told here, for this reason.
    Open(String),
}

impl Requirement {
    pub(crate) fn section(&self, document: &str) -> Option<&'static str> {
        if document == "WHIP" { self.whip } else { self.whep }
    }
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        }
    }
}

/// `requirement!(section in WHIP, section in WHEP, level, "in our words", check)`; a `-` for a document that does not ask.
macro_rules! requirement {
    (@section -) => { None };
    (@section $section:literal) => { Some($section) };
    ($whip:tt, $whep:tt, $level:ident, $text:literal, $check:path) => {
        $crate::requirement::Requirement {
            whip: $crate::requirement::requirement!(@section $whip),
            whep: $crate::requirement::requirement!(@section $whep),
            level: $crate::requirement::Level::$level,
            text: $text,
            check: |endpoint| Box::pin($check(endpoint)),
        }
    };
}
pub(crate) use requirement;
