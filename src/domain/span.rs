//! A length of time as a person writes it: a whole number and its unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Seconds of each unit.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
/// Longest number before the unit, in digits.
const DIGITS: usize = 6;

/// A length of time, such as `90s`, `30m`, `6h` or `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// What is written is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a length of time is a number with s, m, h or d, such as 6h")]
pub struct NoSpan;

impl FromStr for Span {
    type Err = NoSpan;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = text.chars().last().and_then(|last| UNITS.into_iter().find(|(unit, _)| *unit == last));
        let (unit, secs) = unit.ok_or(NoSpan)?;
        let number = text.strip_suffix(unit).unwrap_or_default();
        let is_number = (1..=DIGITS).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit());
        let number = number.parse::<u64>().ok().filter(|_| is_number).ok_or(NoSpan)?;
        Ok(Self(Duration::from_secs(number * secs)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        let whole = UNITS.into_iter().rev().find(|(_, unit)| secs.is_multiple_of(*unit));
        let (unit, length) = whole.unwrap_or(UNITS[0]);
        write!(f, "{}{unit}", secs / length)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_its_unit_and_nothing_else() {
        for (text, secs) in
            [("0s", 0), ("90s", 90), ("30m", 1800), ("6h", 21_600), ("999999d", 86_399_913_600)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(secs))), "{text}");
        }
        for text in ["", "h", "6", "6 h", "-6h", "+6h", "6H", "6.5h", "1234567s", "6hh", "６h", "6ｈ"] {
            assert_eq!(text.parse::<Span>(), Err(NoSpan), "{text}");
        }
    }

    #[test]
    fn a_span_is_written_so_that_it_can_be_read_again() {
        for (text, written) in [("0s", "0d"), ("90s", "90s"), ("60m", "1h"), ("36h", "36h"), ("48h", "2d")] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), written);
            assert_eq!(written.parse(), Ok(span));
        }
    }
}
