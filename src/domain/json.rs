//! JSON from outside that is not quite JSON. Zoom cuts a topic amid an emoji, which leaves half a surrogate pair; others put raw
//! bytes, a byte order mark or control characters into their texts. One such text must not cost the whole document.

use serde_json::Value;

/// What stands in for text that cannot be read.
const REPLACEMENT: &str = "\\ufffd";
/// Length of an escape such as `\ud83d`, in bytes.
const ESCAPE_BYTES: usize = 6;

/// Parses a document. Bytes that are not UTF-8, and escapes of half a surrogate pair, become U+FFFD; a byte order mark is
/// passed over; control characters in strings are taken as if they had been escaped.
///
/// # Errors
/// Where it is not JSON all the same, nested too deeply, or followed by something else.
pub fn parse(body: &[u8]) -> serde_json::Result<Value> {
    // Nearly all documents are well-formed: only the others pay for the second look.
    serde_json::from_slice(body).or_else(|_| serde_json::from_str(&repaired(body)))
}

fn repaired(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text.strip_prefix('\u{feff}').unwrap_or(&text), false);
    while let Some(next) = rest.chars().next() {
        let taken = match next {
            '\\' => take_escape(rest, &mut out),
            control if in_string && control.is_control() && control.is_ascii() => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
                1
            }
            _ => {
                in_string ^= next == '"';
                out.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Copies the escape that `rest` begins with; returns its length in bytes.
fn take_escape(rest: &str, out: &mut String) -> usize {
    const HIGH: std::ops::Range<u32> = 0xd800..0xdc00;
    const LOW: std::ops::Range<u32> = 0xdc00..0xe000;
    match unit(rest) {
        Some(high) if HIGH.contains(&high) => {
            let is_pair = unit(&rest[ESCAPE_BYTES..]).is_some_and(|low| LOW.contains(&low));
            if is_pair {
                out.push_str(&rest[..2 * ESCAPE_BYTES]);
                return 2 * ESCAPE_BYTES;
            }
            out.push_str(REPLACEMENT);
            ESCAPE_BYTES
        }
        Some(low) if LOW.contains(&low) => {
            out.push_str(REPLACEMENT);
            ESCAPE_BYTES
        }
        _ => {
            // The character behind the backslash, too: a second backslash begins no escape of its own.
            let length = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..length]);
            length
        }
    }
}

/// The UTF-16 code unit of an escape such as `\ud83d` at the beginning of `text`.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(body: &[u8]) -> String {
        let value = parse(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)));
        value["topic"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn text_that_cannot_be_read_is_replaced_and_the_rest_is_kept() {
        for (body, expected) in [
            (br#"{"topic":"Budget \ud83d"}"#.as_slice(), "Budget \u{fffd}"),
            (br#"{"topic":"\udc00 low"}"#, "\u{fffd} low"),
            (br#"{"topic":"\ud83d\ud83d\ude00"}"#, "\u{fffd}\u{1f600}"),
            (br#"{"topic":"\uD83D\u0041"}"#, "\u{fffd}A"),
            (br#"{"topic":"whole \ud83d\ude00"}"#, "whole \u{1f600}"),
            (b"{\"topic\":\"caf\xe9\"}", "caf\u{fffd}"),
            (b"\xef\xbb\xbf{\"topic\":\"mark\"}", "mark"),
            (b"{\n\t\"topic\": \"a\tb\nc\"\n}", "a\tb\nc"),
            (b"{\"\\udfff\":1,\"topic\":\"key\"}", "key"),
        ] {
            assert_eq!(topic(body), expected);
        }
    }

    #[test]
    fn what_only_looks_like_an_escape_stays_as_it_is() {
        // Broken behind it, so that the second look is taken.
        for (body, expected) in [
            (b"{\"topic\":\"\\\\ud83d\xff\"}".as_slice(), "\\ud83d\u{fffd}"),
            (b"{\"topic\":\"\\\\\\ud83d\"}", "\\\u{fffd}"),
            (b"{\"topic\":\"quoted \\\" \\ud83d\"}", "quoted \" \u{fffd}"),
        ] {
            assert_eq!(topic(body), expected);
        }
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for body in [b"".as_slice(), b"\xff", b"{", b"{\"a\":\"\\u12\"}", b"{\"a\":\"\\", b"{} x", b"\\ud83d"]
        {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
