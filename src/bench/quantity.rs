//! Numbers as people write and read them.

use serde_json::{Value, json};
use std::time::Duration;

/// `20s`, `1m 30s`; from a second to a day.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}; write 20s or 2m"))?;
    if (Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&duration) {
        Ok(duration)
    } else {
        Err("choose between 1s and 24h".to_owned())
    }
}

/// Bits per second: `2.4M`, `800k`, `2400000`.
pub(super) fn parse_bit_rate(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'm' | 'M')) => (&text[..at], 1e6),
        _ => (text, 1.0),
    };
    let bits = number.parse::<f64>().map_err(|_| "write 2.4M, 800k or a number of bits".to_owned())? * factor;
    if (10e3..=100e6).contains(&bits) { Ok(bits as u64) } else { Err("choose between 10k and 100M".to_owned()) }
}

/// One viewer in so many; `all` is one in one.
pub(super) fn parse_verify(text: &str) -> Result<u32, String> {
    if text == "all" {
        return Ok(1);
    }
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "write a number above 0, or all".to_owned())
}

/// 1234567 as `1 234 567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// The value that so many per cent do not exceed; of nothing, nothing.
pub(super) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The percentiles of times that are told: milliseconds, for programs.
pub(super) fn times_json(sorted: &[Duration]) -> Value {
    let at = |percent| percentile(sorted, percent).map(millis);
    json!({ "p50": at(50), "p95": at(95), "p99": at(99), "max": at(100) })
}

/// The same for people; of nothing, nothing.
pub(super) fn times_text(sorted: &[Duration]) -> Option<String> {
    let at = |percent| percentile(sorted, percent).map(millis);
    Some(format!("p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", at(50)?, at(95)?, at(99)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_nonsense_is_refused() {
        assert_eq!(parse_bit_rate("2.4M"), Ok(2_400_000));
        assert_eq!(parse_bit_rate("800k"), Ok(800_000));
        assert_eq!(parse_bit_rate("96000"), Ok(96_000));
        for wrong in ["", "M", "fast", "-1M", "1", "1e99", "NaN"] {
            assert!(parse_bit_rate(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "20", "10ms", "2d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!((parse_verify("all"), parse_verify("7")), (Ok(1), Ok(7)));
        assert!(parse_verify("0").is_err() && parse_verify("some").is_err());
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).unwrap().as_millis();
        assert_eq!((at(50), at(95), at(99), at(100)), (100, 190, 198, 200));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!((grouped(7), grouped(1_234), grouped(1_234_567)), ("7".into(), "1 234".into(), "1 234 567".into()));
    }
}
