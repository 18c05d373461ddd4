//! How a download goes wrong, or a question to the API, and how often.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::content::Content;

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectTo {
    /// Another path of the same origin.
    OtherPath,
    /// The fake Zoom's second origin (another port); no bearer token is asked for there, a signature in the
    /// query is.
    OtherOrigin,
    /// Back to where it came from, for ever.
    Itself,
    /// Anywhere, as the value of `Location`.
    Anywhere(String),
}

/// How one answer goes wrong.
///
/// Counts of bytes (`after`) are counted within the answer, from its first byte. The faults that are named `…At`
/// strike at a *position* in the file instead: in the first answer that would carry that byte, whichever range
/// was asked for, and beside any other fault of that answer. Once one has struck, the rules that wait for it
/// ([`When::AfterBreak`]) are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed after so many bytes of the body.
    Cut {
        /// Bytes sent before.
        after: u64,
    },
    /// Nothing more is sent after so many bytes, and the connection is held open.
    Stall {
        /// Bytes sent before.
        after: u64,
    },
    /// The body trickles.
    Slow {
        /// At most this fast.
        bytes_per_sec: u64,
    },
    /// An HTTP status instead of the file.
    Status {
        /// Which one.
        code: StatusCode,
        /// Seconds in `Retry-After`.
        retry_after: Option<u64>,
    },
    /// 200 with Zoom's sign-in page, as HTML.
    SignInPage,
    /// 200 with a short JSON error.
    JsonError,
    /// The token is refused as expired: 401 with code 124.
    ExpiredToken,
    /// `Content-Length` names so many bytes more (or less) than there are. With more, the connection ends
    /// early; with less, the end of the file is missing and nothing shows it.
    ContentLength {
        /// Added to the true length.
        delta: i64,
    },
    /// No `Content-Length`: chunked.
    Chunked,
    /// 200 without any byte.
    Empty,
    /// A `Range` is not honoured: 200 and the whole file.
    RangesIgnored,
    /// A `Range` is answered by a range that begins so many bytes later, and says so.
    RangeShifted {
        /// Bytes by which it is off.
        by: u64,
    },
    /// A request with a `Range` is refused: 416.
    RangesRefused,
    /// A `Range` with `If-Range` is answered by the whole file, and one without by the range: 200 and 206.
    ConditionalRangesIgnored,
    /// A range of which nothing says how long the whole file is: `bytes 0-9/*`.
    UnknownLength,
    /// A range is no longer than so many bytes, however long the one is that was asked for.
    ShortRanges {
        /// Most bytes.
        most: u64,
    },
    /// The entity tag is a weak one.
    WeakEtag,
    /// No entity tag, and the time of the last change instead of it.
    LastModifiedOnly,
    /// Neither an entity tag nor the time of the last change.
    NoValidator,
    /// The content comes with a `Content-Encoding` that nobody asked for.
    Encoded,
    /// The content is repeated without an end, without a `Content-Length`.
    Endless,
    /// 302.
    Redirect(RedirectTo),
    /// The connection is closed just before this byte of the file.
    CutAt {
        /// Offset in the file of the first byte that is not sent.
        position: u64,
    },
    /// Nothing is sent from this byte of the file on, and the connection is held open.
    StallAt {
        /// Offset in the file of the first byte that is not sent.
        position: u64,
    },
    /// The same, until the file is [let go](super::library::Library::let_go): then the rest is sent.
    HoldAt {
        /// Offset in the file of the first byte that is held back.
        position: u64,
    },
    /// As [`CutAt`](Self::CutAt); and every token given out so far for the recording is refused from then on.
    ExpireAt {
        /// Offset in the file of the first byte that is not sent.
        position: u64,
    },
    /// As [`CutAt`](Self::CutAt); and every signed URL that a redirect has led to so far is refused from then on (403),
    /// while tokens stay good.
    PassesExpireAt {
        /// Offset in the file of the first byte that is not sent.
        position: u64,
    },
    /// As [`CutAt`](Self::CutAt); and from then on there is other content under the same URL.
    ReplaceAt {
        /// Offset in the file of the first byte that is not sent.
        position: u64,
        /// What lies there afterwards.
        content: Content,
    },
}

impl Fault {
    /// Where in the file it strikes, if it is one of those that do.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        match self {
            Self::CutAt { position }
            | Self::StallAt { position }
            | Self::HoldAt { position }
            | Self::ExpireAt { position }
            | Self::PassesExpireAt { position }
            | Self::ReplaceAt { position, .. } => Some(*position),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { after } => write!(f, "cut after {after}"),
            Self::Stall { after } => write!(f, "stall after {after}"),
            Self::Slow { bytes_per_sec } => write!(f, "slow, {bytes_per_sec} B/s"),
            Self::Status { code, .. } => write!(f, "status {}", code.as_u16()),
            Self::SignInPage => f.write_str("sign-in page"),
            Self::JsonError => f.write_str("JSON error in a 200"),
            Self::ExpiredToken => f.write_str("expired token"),
            Self::ContentLength { delta } => write!(f, "Content-Length off by {delta}"),
            Self::Chunked => f.write_str("no Content-Length"),
            Self::Empty => f.write_str("empty"),
            Self::RangesIgnored => f.write_str("ranges ignored"),
            Self::RangeShifted { by } => write!(f, "range off by {by}"),
            Self::RangesRefused => f.write_str("ranges refused"),
            Self::ConditionalRangesIgnored => f.write_str("conditional ranges ignored"),
            Self::UnknownLength => f.write_str("length unknown"),
            Self::ShortRanges { most } => write!(f, "ranges of at most {most}"),
            Self::WeakEtag => f.write_str("weak entity tag"),
            Self::LastModifiedOnly => f.write_str("Last-Modified only"),
            Self::NoValidator => f.write_str("no validator"),
            Self::Encoded => f.write_str("encoded"),
            Self::Endless => f.write_str("without an end"),
            Self::Redirect(to) => write!(f, "redirect to {to}"),
            Self::CutAt { position } => write!(f, "cut at {position}"),
            Self::StallAt { position } => write!(f, "stall at {position}"),
            Self::HoldAt { position } => write!(f, "held at {position}"),
            Self::ExpireAt { position } => write!(f, "cut and tokens expired at {position}"),
            Self::PassesExpireAt { position } => write!(f, "cut and signed URLs expired at {position}"),
            Self::ReplaceAt { position, .. } => write!(f, "cut and content replaced at {position}"),
        }
    }
}

impl fmt::Display for RedirectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPath => f.write_str("another path"),
            Self::OtherOrigin => f.write_str("another origin"),
            Self::Itself => f.write_str("itself"),
            Self::Anywhere(url) => f.write_str(url),
        }
    }
}

/// How one answer of the API goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiFault {
    /// 404 with code 3301: there is no such recording.
    Gone,
    /// An HTTP status instead of the answer.
    Status {
        /// Which one.
        code: StatusCode,
        /// `Retry-After`.
        retry_after: Option<String>,
    },
    /// 200 with a code and a message.
    ErrorIn200 {
        /// Which code.
        code: i64,
    },
    /// 400 with code 4711: the app has not been given the scope.
    MissingScope,
    /// 401 with code 124: the bearer token has expired.
    ExpiredToken,
    /// The right answer, but late.
    Slow(Duration),
    /// The right answer, dated by a clock that is ahead.
    ClockAhead {
        /// By so much.
        secs: i64,
    },
    /// 200 with the sign-in page, as HTML.
    SignInPage,
    /// 200 with so many bytes of JSON.
    Flood {
        /// How many.
        bytes: usize,
    },
    /// 302 to somewhere.
    Redirect {
        /// The value of `Location`.
        to: String,
    },
    /// The connection is closed amid the answer.
    Cut,
    /// The right answer, in which `null` stands for the first file.
    NullFile,
    /// The right answer, which names another SHA-256 of its first file than the file has.
    AnotherSha256,
    /// The right answer without a download token, as for an app whose role may not see the content.
    NoDownloadToken,
    /// The same, with the files at another origin.
    NoDownloadTokenAt {
        /// Which one, as in `http://127.0.0.1:9`.
        origin: String,
    },
    /// 400 with code 300, as for a page token that has expired.
    InvalidField,
    /// The right answer, in which every topic begins with half an emoji.
    HalfAnEmoji,
    /// An access token of an app that has been given other scopes, as the answer says.
    Scope {
        /// Those, between blanks.
        scope: String,
    },
    /// 200 with an empty page of a list, which leads on.
    LeadsTo {
        /// Its `next_page_token`.
        token: String,
    },
    /// 200 with an answer about another recording.
    About {
        /// Its `session_id` or `uuid`.
        instance_id: String,
    },
}

/// How often a fault strikes. Only requests with a valid token are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every time.
    Always,
    /// The next so many times.
    First(u32),
    /// The next so many times once a fault has struck the file at a position.
    AfterBreak(u32),
}

/// The faults of one file, or of one call, in the order in which they were set.
#[derive(Debug, Clone)]
pub(super) struct Rules<F = Fault>(Vec<(F, When)>);

impl<F> Default for Rules<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<F: Clone> Rules<F> {
    pub(super) fn add(&mut self, fault: F, when: When) {
        if !matches!(when, When::First(0) | When::AfterBreak(0)) {
            self.0.push((fault, when));
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes now, if any.
    pub(super) fn strike_first(&mut self) -> Option<F> {
        let index = self.first(|_| true)?;
        Some(self.take(index))
    }

    fn first(&self, wanted: impl Fn(&F) -> bool) -> Option<usize> {
        self.0.iter().position(|(fault, when)| !matches!(when, When::AfterBreak(_)) && wanted(fault))
    }

    /// The fault of a rule, once more; a rule that has struck as often as it should is gone.
    fn take(&mut self, index: usize) -> F {
        let (fault, when) = &mut self.0[index];
        let fault = fault.clone();
        if let When::First(left) = when {
            *left -= 1;
            if *left == 0 {
                self.0.remove(index);
            }
        }
        fault
    }
}

impl Rules {
    /// The fault that strikes an answer now, if any, but for those that strike at a position. At the front door
    /// a redirect comes before all else; behind it there is none, so a file can be redirected *and* cut.
    pub(super) fn strike(&mut self, behind_redirect: bool) -> Option<Fault> {
        let is_redirect = |fault: &Fault| matches!(fault, Fault::Redirect(_));
        let first =
            |redirect: bool| self.first(|fault| fault.position().is_none() && is_redirect(fault) == redirect);
        let index = if behind_redirect { first(false) } else { first(true).or_else(|| first(false)) }?;
        Some(self.take(index))
    }

    /// The fault that strikes at a position within bytes `from..to` of the file, if any.
    pub(super) fn strike_within(&mut self, from: u64, to: u64) -> Option<Fault> {
        let index = self.first(|fault| fault.position().is_some_and(|at| (from..to).contains(&at)))?;
        Some(self.take(index))
    }

    /// Puts in force what waits for a fault that strikes at a position: it just has.
    pub(super) fn broke(&mut self) {
        for (_, when) in &mut self.0 {
            if let When::AfterBreak(times) = *when {
                *when = When::First(times);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_as_often_as_it_was_told_to() {
        let mut rules = Rules::default();
        rules.add(Fault::SignInPage, When::First(2));
        rules.add(Fault::Empty, When::Always);
        let struck: Vec<_> = (0..4).map(|_| rules.strike(false).unwrap()).collect();
        assert_eq!(struck, [Fault::SignInPage, Fault::SignInPage, Fault::Empty, Fault::Empty]);
    }

    #[test]
    fn behind_a_redirect_the_other_faults_strike() {
        let mut rules = Rules::default();
        rules.add(Fault::Empty, When::First(1));
        rules.add(Fault::Redirect(RedirectTo::OtherOrigin), When::Always);
        assert_eq!(rules.strike(false), Some(Fault::Redirect(RedirectTo::OtherOrigin)));
        assert_eq!(rules.strike(true), Some(Fault::Empty));
        assert_eq!(rules.strike(true), None);
    }

    #[test]
    fn a_fault_at_a_position_strikes_the_first_answer_that_carries_it_and_no_other() {
        let mut rules = Rules::default();
        rules.add(Fault::CutAt { position: 10 }, When::First(1));
        rules.add(Fault::RangesIgnored, When::Always);
        assert_eq!(rules.strike(false), Some(Fault::RangesIgnored));
        assert_eq!(rules.strike_within(0, 10), None);
        assert_eq!(rules.strike_within(11, 20), None);
        assert_eq!(rules.strike_within(10, 11), Some(Fault::CutAt { position: 10 }));
        assert_eq!(rules.strike_within(0, 20), None);
    }

    #[test]
    fn what_waits_for_a_break_strikes_after_it() {
        let mut rules = Rules::default();
        rules.add(Fault::SignInPage, When::AfterBreak(1));
        assert_eq!(rules.strike(false), None);
        rules.broke();
        assert_eq!(rules.strike(false), Some(Fault::SignInPage));
        assert_eq!(rules.strike(false), None);
    }
}
