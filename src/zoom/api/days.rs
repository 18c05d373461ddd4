//! Spans of whole days, UTC, cut into pieces that Zoom takes in one question.

use std::fmt;

use chrono::{DateTime, Days as Count, NaiveDate, Utc};

/// Longest span of one question, in days. Zoom takes "a month", and we ask for a day more on either side.
const LONGEST: u64 = 28;

/// Days from one on, up to and without another: half open, so that spans lie side by side without gap or overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first day.
    pub from: NaiveDate,
    /// The day after the last one.
    pub until: NaiveDate,
}

impl Days {
    /// The days from `from` on, up to and without `until`; none when `until` is not later.
    #[must_use]
    pub fn new(from: NaiveDate, until: NaiveDate) -> Self {
        Self { from, until: until.max(from) }
    }

    /// The last `count` days up to and with the one of `now`.
    #[must_use]
    pub fn last(count: u32, now: DateTime<Utc>) -> Self {
        let until = later(now.date_naive(), 1);
        Self::new(earlier(until, count.into()), until)
    }

    /// Whether a moment lies in them.
    #[must_use]
    pub fn contain(&self, moment: DateTime<Utc>) -> bool {
        (self.from..self.until).contains(&moment.date_naive())
    }

    /// Whether there is no day in them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.until
    }

    /// The first piece that Zoom takes at once, and what is left.
    #[must_use]
    pub fn split(&self) -> (Self, Self) {
        let cut = later(self.from, LONGEST).min(self.until);
        (Self { from: self.from, until: cut }, Self { from: cut, until: self.until })
    }

    /// What an answer leaves of the days that were asked for: Zoom moves `from` where a span is longer than it takes, or too
    /// long ago, without a word; `from` and `to` of the answer tell. Days before and days after, both perhaps empty.
    pub(super) fn left_by(&self, from: Option<NaiveDate>, to: Option<NaiveDate>) -> [Self; 2] {
        let from = from.unwrap_or(self.from).clamp(self.from, self.until);
        // The last day may or may not count.
        let to = to.unwrap_or(self.until).clamp(from, self.until);
        let to = if to >= earlier(self.until, 1) { self.until } else { to };
        [Self { from: self.from, until: from }, Self { from: to, until: self.until }]
    }

    /// First and last day to ask Zoom for. One more on either side than is wanted: Zoom does not say whether its
    /// days are those of UTC or of the account's time zone, nor whether the last one counts. What belongs to the
    /// neighbours is left to them by [`contain`](Self::contain).
    pub(super) fn asked(&self) -> (NaiveDate, NaiveDate) {
        (earlier(self.from, 1), self.until)
    }
}

/// `2026-01-31..2026-03-01`
impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.from, self.until)
    }
}

fn later(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_add_days(Count::new(days)).unwrap_or(NaiveDate::MAX)
}

fn earlier(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Count::new(days)).unwrap_or(NaiveDate::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn pieces_lie_side_by_side_and_none_is_longer_than_zoom_takes() {
        let whole = Days::new(day("2024-12-30"), day("2026-03-02"));
        let (mut rest, mut next) = (whole, whole.from);
        while !rest.is_empty() {
            let (piece, left) = rest.split();
            assert_eq!(piece.from, next);
            assert!(!piece.is_empty());
            let (from, to) = piece.asked();
            // February has 28 days, and both ends count.
            assert!((to - from).num_days() <= 29, "{piece}");
            assert!(from < piece.from && to >= piece.until);
            next = piece.until;
            rest = left;
        }
        assert_eq!(next, whole.until);
    }

    #[test]
    fn a_moment_belongs_to_one_of_two_neighbours() {
        let (first, second) = Days::new(day("2026-01-01"), day("2026-02-10")).split();
        for text in ["2026-01-28T23:59:59Z", "2026-01-29T00:00:00Z"] {
            let moment = text.parse().unwrap();
            assert!(first.contain(moment) != second.contain(moment), "{text}");
        }
    }

    #[test]
    fn what_an_answer_leaves_lies_before_and_behind_it() {
        let asked = Days::new(day("2026-01-01"), day("2026-01-29"));
        let left = |from: &str, to: &str| {
            asked
                .left_by(from.parse().ok(), to.parse().ok())
                .map(|days| (!days.is_empty()).then(|| days.to_string()))
        };
        assert_eq!(left("2025-12-31", "2026-01-29"), [None, None]);
        assert_eq!(left("2026-01-01", "2026-01-28"), [None, None], "the last day may count");
        assert_eq!(left("", ""), [None, None], "an answer that does not say");
        let before = Some("2026-01-01..2026-01-20".to_owned());
        assert_eq!(left("2026-01-20", "2026-01-29"), [before, None]);
        let behind = Some("2026-01-11..2026-01-29".to_owned());
        assert_eq!(left("2026-01-01", "2026-01-11"), [None, behind]);
        let all = Some("2026-01-01..2026-01-29".to_owned());
        assert_eq!(left("2026-06-01", "2026-07-01"), [all, None]);
    }

    #[test]
    fn the_last_days_end_with_today_and_a_span_that_ends_before_it_begins_is_empty() {
        let last = Days::last(2, "2026-03-01T00:00:00Z".parse().unwrap());
        assert_eq!(last, Days::new(day("2026-02-28"), day("2026-03-02")));
        assert!(Days::new(day("2026-01-02"), day("2026-01-01")).is_empty());
        assert!(Days::new(NaiveDate::MIN, NaiveDate::MIN).split().1.is_empty());
    }
}
