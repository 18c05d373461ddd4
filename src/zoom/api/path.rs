//! Addresses of the API. Zoom's ids are Base64 and may hold `/` and `+`; Zoom decodes such an id twice, so it has to
//! be encoded twice (Zoom API reference: "If the UUID begins with a `/` or contains `//`, double-encode it"; one
//! `/` anywhere and `+` fare no better in practice, and encoding them twice is always understood).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::{ApiError, Product};

/// All but letters, digits, `-`, `_` and `~`. The full stop too: `.` and `..` are steps of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// An id as one segment of a path: encoded twice when it holds `/` or `+` or is nothing but full stops, else once.
pub(super) fn encoded(id: &str) -> String {
    let once = utf8_percent_encode(id, SEGMENT).to_string();
    let twice = id.contains(['/', '+']) || id.bytes().all(|byte| byte == b'.');
    if twice { utf8_percent_encode(&once, SEGMENT).to_string() } else { once }
}

/// Where the recordings of one session or meeting are.
pub(super) fn recordings_of(product: Product, instance_id: &str) -> String {
    let things = match product {
        Product::VideoSdk => "videosdk/sessions",
        Product::Meetings => "meetings",
    };
    format!("{things}/{}/recordings", encoded(instance_id))
}

/// Where a meeting's transcript is told.
pub(super) fn transcript_of(uuid: &str) -> String {
    format!("meetings/{}/transcript", encoded(uuid))
}

/// `path`, already encoded, below a base address.
pub(super) fn under(base: &Url, path: &str) -> Result<Url, ApiError> {
    // A base that is an http address takes every path; the configuration is checked for that.
    Url::parse(&format!("{}/{path}", base.as_str().trim_end_matches('/')))
        .map_err(|error| ApiError::NotAllowed(format!("zoom.api_base_url or zoom.oauth_base_url: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_with_a_slash_or_a_plus_is_encoded_twice_and_any_other_once() {
        assert_eq!(encoded("/Q0z9aaTTu1BcD2eFgHiA=="), "%252FQ0z9aaTTu1BcD2eFgHiA%253D%253D");
        assert_eq!(encoded("Q0z//aaT=="), "Q0z%252F%252FaaT%253D%253D");
        assert_eq!(encoded("Q0z/aaT=="), "Q0z%252FaaT%253D%253D");
        assert_eq!(encoded("Q0z+aaT=="), "Q0z%252BaaT%253D%253D");
        assert_eq!(encoded("Q0z9aaT=="), "Q0z9aaT%3D%3D");
        assert_eq!(encoded("a b%c?d#e"), "a%20b%25c%3Fd%23e");
    }

    #[test]
    fn no_id_leaves_its_place_in_the_path() {
        let base = Url::parse("https://api.zoom.us/v2/").unwrap();
        for id in [".", "..", "../..", "a/../..", "?x", "#x", "%2e%2e"] {
            let url = under(&base, &format!("meetings/{}/recordings", encoded(id))).unwrap();
            let segments: Vec<_> = url.path_segments().unwrap().collect();
            assert_eq!(segments.len(), 4, "{id}: {url}");
            assert_eq!(
                (segments[0], segments[1], segments[3]),
                ("v2", "meetings", "recordings"),
                "{id}: {url}"
            );
        }
    }
}
