//! How paths, queries and bodies are read, and how pages are turned. What cannot be read is a problem.

use std::fmt::Display;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use chrono::{DateTime, Datelike, Utc};
use data_encoding::BASE64URL_NOPAD;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use uuid::Uuid;

use super::problem::Problem;
use super::words::{Listed, MAX_PAGE, MAX_REASON};
use crate::domain::ids::FileId;
use crate::store::{Order, Page};

/// Rows of a page where nothing is said.
const PAGE: u32 = 100;
/// The first moment that both databases can hold: of the year 1, in microseconds.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// And the last: of the year 9999.
const LAST_MICROS: i64 = 253_402_300_799_999_999;

macro_rules! extractor {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub(super) struct $name<T>(pub(super) T);

        impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for $name<T> {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                match axum::extract::$name::<T>::from_request_parts(parts, state).await {
                    Ok(axum::extract::$name(value)) => Ok(Self(value)),
                    Err(rejection) => Err(Problem::new(rejection.status(), rejection.body_text())),
                }
            }
        }
    };
}

extractor!(
    /// What stands in the path.
    Path
);
extractor!(
    /// What stands in the query.
    Query
);

/// A body of JSON; nothing at all, or `null`, is as good as an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        let body: &[u8] = match body.as_ref() {
            [] => b"null",
            _ if !is_json => {
                let detail = "the body must be JSON, and `Content-Type` must say so";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
            }
            body => body,
        };
        // Serde would take a list for the fields of an object, one by one.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::bad("the body: an object is wanted, not a list".to_owned()));
        }
        let body = serde_json::from_slice::<Option<T>>(body);
        body.map(|body| Self(body.unwrap_or_default()))
            .map_err(|error| Problem::bad(format!("the body: {error}")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json"))
}

/// Words between commas.
pub(super) fn words<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = String::deserialize(deserializer)?;
    text.split(',').map(|word| word.parse().map_err(D::Error::custom)).collect()
}

/// A moment that both databases can hold.
pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    match Option::<DateTime<Utc>>::deserialize(deserializer)? {
        Some(time) if !(1..=9999).contains(&time.year()) => Err(D::Error::custom("no year from 1 to 9999")),
        time => Ok(time),
    }
}

/// The query of a list: its own filters, and which page of it. Not by `flatten`: a query holds texts, which no number is
/// read from then, and a parameter that is not known would be taken.
macro_rules! list_query {
    ($visibility:vis struct $name:ident { $($filters:tt)* }) => {
        $crate::http::api::ask::list_query!(
            $visibility struct $name after "^[A-Za-z0-9_-]{21}[AQgw]$" { $($filters)* }
        );

        impl $name {
            fn page(&self) -> Result<$crate::store::Page, $crate::http::api::problem::Problem> {
                $crate::http::api::ask::page(self.after.as_deref(), self.limit, self.order)
            }
        }
    };
    ($visibility:vis struct $name:ident after $cursor:tt { $($filters:tt)* }) => {
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        $visibility struct $name {
            $($filters)*
            /// `next` of the page before.
            #[param(pattern = $cursor)]
            after: Option<String>,
            /// Most rows of the page.
            #[param(minimum = 1, maximum = 500, default = 100)]
            limit: Option<u32>,
            /// Which way the list goes.
            #[param(inline)]
            order: Option<$crate::store::Order>,
        }
    };
}

pub(super) use list_query;

/// The page that a query asks for.
pub(super) fn page(after: Option<&str>, limit: Option<u32>, order: Option<Order>) -> Result<Page, Problem> {
    let after = after.map(|cursor| read_cursor(cursor).ok_or_else(no_cursor)).transpose()?;
    Ok(Page { after, order: order.unwrap_or_default(), limit: rows_of_a_page(limit)? })
}

/// Most rows of the page that a query asks for.
pub(super) fn rows_of_a_page(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad(format!("`limit` is {limit}, and must be 1 to {MAX_PAGE}")));
    }
    Ok(limit)
}

fn no_cursor() -> Problem {
    Problem::bad("`after` is no `next` of a page")
}

/// A page as it is answered: `rows` are those that `page` gave, and `id` names them.
pub(super) fn listed<R, T>(
    page: Page,
    rows: Vec<R>,
    id: impl Fn(&R) -> Uuid,
    item: impl FnMut(R) -> T,
) -> Listed<T> {
    listed_by(page.limit, rows, |row| BASE64URL_NOPAD.encode(id(row).as_bytes()), item)
}

/// The same, where more than its id says where a row stands.
pub(super) fn listed_by<R, T>(
    limit: u32,
    rows: Vec<R>,
    cursor: impl Fn(&R) -> String,
    item: impl FnMut(R) -> T,
) -> Listed<T> {
    let is_full = rows.len() == limit as usize;
    let next = rows.last().filter(|_| is_full).map(cursor);
    Listed { items: rows.into_iter().map(item).collect(), next }
}

/// Where a file stands, in either order: by when it is lost (the first moment of all where that is not known), and by its id.
pub(super) fn place(loses_at: Option<DateTime<Utc>>, id: FileId) -> String {
    let micros = loses_at.map_or(FIRST_MICROS, |time| time.timestamp_micros());
    BASE64URL_NOPAD.encode(&[&micros.to_be_bytes()[..], id.0.as_bytes()].concat())
}

/// Reads back what [`place`] wrote. A moment that the databases do not hold is the nearest one that they do.
pub(super) fn read_place(cursor: &str) -> Result<(DateTime<Utc>, FileId), Problem> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
    let read = bytes.as_deref().and_then(|bytes| {
        let (micros, id) = bytes.split_first_chunk::<8>()?;
        let micros = i64::from_be_bytes(*micros).clamp(FIRST_MICROS, LAST_MICROS);
        Some((DateTime::from_timestamp_micros(micros)?, FileId(Uuid::from_slice(id).ok()?)))
    });
    read.ok_or_else(no_cursor)
}

fn read_cursor(cursor: &str) -> Option<Uuid> {
    Uuid::from_slice(&BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?).ok()
}

/// A person's reason, bounded.
pub(super) fn reason(given: Option<String>, otherwise: &str) -> Result<String, Problem> {
    let given = given.unwrap_or_default();
    match given.trim() {
        "" => Ok(otherwise.to_owned()),
        reason if reason.chars().count() > MAX_REASON => {
            Err(Problem::bad(format!("`reason` has more than {MAX_REASON} characters")))
        }
        reason => Ok(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_looks_like_the_place_of_a_file_is_one_that_the_databases_can_hold() {
        let id = FileId(Uuid::now_v7());
        let loses_at = DateTime::from_timestamp_micros(1_799_000_000_123_456);
        assert_eq!(read_place(&place(loses_at, id)).unwrap(), (loses_at.unwrap(), id));
        for micros in [i64::MIN, i64::MAX] {
            let cursor = BASE64URL_NOPAD.encode(&[&micros.to_be_bytes()[..], id.0.as_bytes()].concat());
            let (time, read) = read_place(&cursor).unwrap();
            assert!((1..=9999).contains(&time.year()) && read == id, "{time}");
        }
        assert_eq!(read_place(&place(None, id)).unwrap().0.year(), 1);
        for cursor in ["", "xyz", "AAAAAAAAAAAAAAAAAAAAAA"] {
            assert!(read_place(cursor).is_err(), "{cursor}");
        }
    }
}
