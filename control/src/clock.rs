//! Points in time as the database and the app know them, and where "now" comes from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// A point in time: UTC microseconds since 1970, which is also its form in the database (`bigint`).
///
/// Serialises as ISO text with milliseconds, `2026-01-02T03:04:05.678Z`. Inside a superjson answer the same value is
/// announced as a `Date`: the tRPC serializer knows it by [`Timestamp::MARKER`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The newtype name under which this type passes through serde.
    pub(crate) const MARKER: &'static str = "chobi::Timestamp";
    /// The years 0 to 9999: what ISO text with four year digits can say.
    const EARLIEST: i64 = -62_167_219_200_000_000;
    const LATEST: i64 = 253_402_300_799_999_999;

    /// Clamped to the years 0 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        if micros < Self::EARLIEST {
            Self(Self::EARLIEST)
        } else if micros > Self::LATEST {
            Self(Self::LATEST)
        } else {
            Self(micros)
        }
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, as JWT claims count; rounded down.
    pub const fn as_unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self::from_micros(seconds.saturating_mul(1_000_000))
    }

    /// Zero when `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// ISO 8601 with milliseconds and `Z`, exactly as JavaScript's `toISOString` writes it.
    pub fn to_iso(self) -> String {
        let millis = self.0.div_euclid(1000);
        let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }

    /// Reads what JavaScript's `Date` reads of ISO 8601: a date, optionally a time with any fraction, `Z` or an offset.
    pub fn parse_iso(text: &str) -> Option<Self> {
        let (date, rest) = text.split_at_checked(10)?;
        let (year, month, day) = (digits(date.get(0..4)?)?, digits(date.get(5..7)?)?, digits(date.get(8..10)?)?);
        if date.as_bytes()[4] != b'-' || date.as_bytes()[7] != b'-' || !(1..=12).contains(&month) {
            return None;
        }
        if !(1..=days_in_month(year, month)).contains(&day) {
            return None;
        }
        let time = if rest.is_empty() { 0 } else { parse_time(rest.strip_prefix('T')?)? };
        let micros = days_from_civil(year, month, day).checked_mul(86_400_000_000)?.checked_add(time)?;
        (Self::EARLIEST..=Self::LATEST).contains(&micros).then_some(Self(micros))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::from_micros(micros(after)),
            Err(before) => Self::from_micros(-micros(before.duration())),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let span = Duration::from_micros(time.0.unsigned_abs());
        if time.0 >= 0 { UNIX_EPOCH + span } else { UNIX_EPOCH - span }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(Self::MARKER, &self.to_iso())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_iso())
    }
}

/// Where services read the time, so that tests move it instead of sleeping.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn standing(at: Timestamp) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.as_micros()))))
    }

    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => SystemTime::now().into(),
            Some(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a standing clock; the system's clock moves by itself.
    pub fn advance(&self, span: Duration) {
        if let Some(micros) = &self.0 {
            micros.fetch_add(i64::try_from(span.as_micros()).unwrap_or(0), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "standing clock" } else { "system clock" })
    }
}

/// `HH:MM[:SS[.fraction]]` and `Z` or `±HH:MM`, in microseconds from midnight UTC.
fn parse_time(text: &str) -> Option<i64> {
    let (clock, offset) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => return None,
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (digits(exactly_two(parts.next()?)?)?, digits(exactly_two(parts.next()?)?)?);
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => match text.split_once('.') {
            None => (digits(exactly_two(text)?)?, 0),
            Some((whole, fraction)) => (digits(exactly_two(whole)?)?, micros_of_fraction(fraction)?),
        },
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset_minutes = match offset.strip_prefix('Z') {
        Some("") => 0,
        Some(_) => return None,
        None => {
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let (hours, minutes) = (digits(exactly_two(hours)?)?, digits(exactly_two(minutes)?)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 60 + minutes)
        }
    };
    Some(((hour * 60 + minute - offset_minutes) * 60 + second) * 1_000_000 + fraction)
}

fn exactly_two(text: &str) -> Option<&str> {
    (text.len() == 2).then_some(text)
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn micros_of_fraction(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits(&format!("{text:0<6}")[..6])
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that leap days come last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn iso_text_is_what_javascript_writes() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_323_045_678_901, "2026-01-02T03:04:05.678Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (Timestamp::EARLIEST, "0000-01-01T00:00:00.000Z"),
            (Timestamp::LATEST, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_iso(), text);
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        let at = |text| Timestamp::parse_iso(text).map(Timestamp::to_iso);
        let noon = Some("2026-01-02T12:00:00.000Z".to_owned());
        assert_eq!(at("2026-01-02T12:00Z"), noon);
        assert_eq!(at("2026-01-02T14:00:00+02:00"), noon);
        assert_eq!(at("2026-01-02T06:30:00.000000-05:30"), noon);
        assert_eq!(at("2026-01-02"), Some("2026-01-02T00:00:00.000Z".to_owned()));
        assert_eq!(Timestamp::parse_iso("2026-01-02T00:00:00.1234567Z").map(|t| t.0 % 1_000_000), Some(123_456));
    }

    #[test]
    fn nonsense_is_no_date() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T00:00:00",
            "2026-01-02T00:00:00.Z",
            "2026-01-02 00:00:00Z",
            "٢٠٢٦-01-02T00:00:00Z",
            "2026-01-02T00:00:00Zjunk",
        ] {
            assert_eq!(Timestamp::parse_iso(text), None, "{text}");
        }
    }

    #[test]
    fn standing_clock_moves_only_when_told() {
        let clock = Clock::standing(Timestamp::from_unix_seconds(100));
        assert_eq!(clock.now(), clock.clone().now());
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now().as_unix_seconds(), 105);
    }

    proptest! {
        #[test]
        fn iso_round_trip_keeps_milliseconds(micros in Timestamp::EARLIEST..=Timestamp::LATEST) {
            let time = Timestamp::from_micros(micros - micros.rem_euclid(1000));
            prop_assert_eq!(Timestamp::parse_iso(&time.to_iso()), Some(time));
        }

        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            let _ = Timestamp::parse_iso(&text);
        }
    }
}
