//! Which language a reader wants: what the address says, then what was chosen before, then what the browser prefers.

use http::header::{ACCEPT_LANGUAGE, COOKIE};
use http::{HeaderMap, HeaderValue, Uri};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Arabic,
    English,
}

/// Set for a year by `?lang=`; pages read the language off the html they were given, never off the cookie.
const COOKIE_NAME: &str = "chobi_lang";

impl Language {
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::Arabic => "ar",
            Self::English => "en",
        }
    }

    /// `?lang=ar` or `?lang=en`.
    pub(super) fn asked(uri: &Uri) -> Option<Self> {
        uri.query()?.split('&').find_map(|pair| Self::parse(pair.strip_prefix("lang=")?))
    }

    /// The remembered choice, else the first of our languages on the browser's list, else Arabic.
    pub(super) fn preferred(headers: &HeaderMap) -> Self {
        Self::remembered(headers).or_else(|| Self::accepted(headers)).unwrap_or(Self::Arabic)
    }

    pub(super) fn cookie(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Arabic => "chobi_lang=ar; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly",
            Self::English => "chobi_lang=en; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly",
        })
    }

    fn parse(tag: &str) -> Option<Self> {
        [Self::Arabic, Self::English].into_iter().find(|language| language.tag() == tag)
    }

    fn remembered(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies.flat_map(|value| value.split(';')).find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            Self::parse(value).filter(|_| name == COOKIE_NAME)
        })
    }

    /// RFC 9110 section 12.5.4: ranges with weights; equal weights keep their order.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?;
        let mut ranges: Vec<(Self, f32)> = value
            .split(',')
            .filter_map(|range| {
                let (tag, parameters) = range.trim().split_once(';').unwrap_or((range.trim(), ""));
                let primary = tag.split('-').next()?.to_ascii_lowercase();
                let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |q| q.parse().ok())?;
                Some((Self::parse(&primary)?, weight)).filter(|_| weight > 0.0)
            })
            .collect();
        ranges.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranges.first().map(|(language, _)| *language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(accept: &str, cookie: &str) -> Language {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ACCEPT_LANGUAGE, accept), (COOKIE, cookie)] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        Language::preferred(&headers)
    }

    #[test]
    fn arabic_unless_something_says_otherwise() {
        assert_eq!(preferred("", ""), Language::Arabic);
        assert_eq!(preferred("fr, de;q=0.5", ""), Language::Arabic);
        assert_eq!(preferred("\u{fffd}", ""), Language::Arabic);
    }

    #[test]
    fn browser_preference_is_heard_by_weight() {
        assert_eq!(preferred("en-GB,en;q=0.9", ""), Language::English);
        assert_eq!(preferred("ar-IQ,en;q=0.9", ""), Language::Arabic);
        assert_eq!(preferred("en;q=0.4, ar;q=0.8", ""), Language::Arabic);
        assert_eq!(preferred("fr, en;q=0.3", ""), Language::English);
        assert_eq!(preferred("en;q=0", ""), Language::Arabic);
        assert_eq!(preferred("en;q=much, ar;q=0.1", ""), Language::Arabic);
    }

    #[test]
    fn remembered_choice_beats_the_browser() {
        assert_eq!(preferred("ar", "a=b; chobi_lang=en"), Language::English);
        assert_eq!(preferred("en", "chobi_lang=ar"), Language::Arabic);
        assert_eq!(preferred("en", "chobi_lang=fr; xchobi_lang=ar"), Language::English);
    }

    #[test]
    fn address_names_a_language_or_none() {
        let asked = |uri: &'static str| Language::asked(&Uri::from_static(uri));
        assert_eq!(asked("/?lang=en"), Some(Language::English));
        assert_eq!(asked("/watch/x?a=1&lang=ar"), Some(Language::Arabic));
        assert_eq!(asked("/?lang=../../etc"), None);
        assert_eq!(asked("/?slang=en"), None);
        assert_eq!(asked("/"), None);
    }
}
