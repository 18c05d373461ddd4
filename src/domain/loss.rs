//! Until when a file can be had. Zoom keeps what is in its trash for thirty days (Zoom support, "Managing and sharing
//! cloud recordings"), deletes by itself what an account's rules say, and hands out tokens for a day.
//!
//! A token counts only where another one cannot be asked for: then its end is the end, unless a later event brings
//! one. What the databases make of it stands in `store`, beside the rows that it is made of.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde_json::{Map, Value};

/// How the reason of a file begins that is parked because its recording lies in Zoom's trash. What comes after it is of one
/// recording alone.
pub const IN_TRASH: &str = "it lies in Zoom's trash";

/// What Zoom says of when it deletes a recording by itself (`auto_delete`, `auto_delete_date`: Zoom API reference,
/// "Get meeting recordings"): `None` when it says nothing, `Some(None)` when it will not. A date counts from its
/// first moment: nobody said at which hour.
#[must_use]
pub fn auto_delete(metadata: &Map<String, Value>) -> Option<Option<DateTime<Utc>>> {
    if metadata.get("auto_delete").and_then(Value::as_bool) == Some(false) {
        return Some(None);
    }
    let text = metadata.get("auto_delete_date").and_then(Value::as_str)?;
    let day = text.parse::<NaiveDate>().map(|date| date.and_time(NaiveTime::MIN).and_utc());
    day.or_else(|_| text.parse::<DateTime<Utc>>()).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(metadata: Value) -> Option<Option<DateTime<Utc>>> {
        auto_delete(metadata.as_object().unwrap())
    }

    #[test]
    fn a_date_counts_from_its_first_moment() {
        let day = "2026-03-01T00:00:00Z".parse().ok();
        assert_eq!(said(json!({"auto_delete": true, "auto_delete_date": "2026-03-01"})), Some(day));
        assert_eq!(said(json!({"auto_delete_date": "2026-03-01T00:00:00Z"})), Some(day));
    }

    #[test]
    fn never_is_something_else_than_nothing() {
        assert_eq!(said(json!({"auto_delete": false, "auto_delete_date": "2026-03-01"})), Some(None));
        for nothing in [json!({}), json!({"auto_delete": true}), json!({"auto_delete_date": "soon"})] {
            assert_eq!(said(nothing), None);
        }
    }
}
