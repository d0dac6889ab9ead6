//! Text that people write for other people, made safe to show.
//!
//! In: anything. Out: the same in NFC, without characters that are invisible and only there to deceive or to break a
//! layout. Arabic marks, joiners and emoji sequences stay: they carry meaning.

use unicode_normalization::UnicodeNormalization;

/// Which line breaks survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Names and titles: a break becomes a space.
    One,
    Many,
}

/// `text` without control characters, bidirectional overrides and isolates, and byte order marks.
pub(crate) fn plain(text: &str, lines: Lines) -> String {
    let shown = text.nfc().filter_map(|c| match c {
        '\n' if lines == Lines::Many => Some(c),
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => None,
        c if c.is_control() => None,
        c => Some(c),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deceiving_characters_go_and_meaning_stays() {
        assert_eq!(plain("a\u{202e}b\u{7}c\u{feff}\u{2066}d", Lines::Many), "abcd");
        for text in ["مَرْحَبًا 👋🏽", "👩‍👩‍👧", "می‌خواهم", "line\nline"] {
            assert_eq!(plain(text, Lines::Many), text);
        }
    }

    #[test]
    fn titles_are_one_line() {
        assert_eq!(plain("a\nb\tc\r", Lines::One), "a b c");
    }

    #[test]
    fn one_letter_has_one_form() {
        assert_eq!(plain("e\u{301}", Lines::One), "é");
    }
}
