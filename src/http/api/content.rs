//! The content of a file: streamed from the archive, whole or in pieces, or an address at the store itself.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_range_header::{RangeUnsatisfiableError, parse_range_header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;
use tracing::info;

use super::Desk;
use super::ask::Path;
use super::files::known;
use super::problem::{Missing, Problem, Refusal, Trouble};
use super::words::Link;
use crate::archive::SharedArchive;
use crate::domain::file::ArchivedFile;
use crate::domain::ids::FileId;

/// What may stand in a name as it is: RFC 8187, `attr-char`, without those that mean something to a shell.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Reads the content of an archived file.
///
/// With `Range`, a piece of it; `If-Range` and `If-None-Match` take its `ETag`.
#[utoipa::path(
    get,
    operation_id = "read_content",
    path = "/files/{id}/content",
    tag = "files",
    params(
        ("id" = FileId, Path, description = "The file"),
        ("Range" = Option<String>, Header, description = "One range of bytes, such as `bytes=0-1023`")
    ),
    responses(
        (status = 200, description = "All of it", body = Vec<u8>, content_type = "*/*"),
        (status = 206, description = "The piece that was asked for", body = Vec<u8>, content_type = "*/*"),
        (status = 304, description = "It is what `If-None-Match` names"),
        (status = 409, description = "It is not archived", body = Problem, content_type = "application/problem+json"),
        (status = 416, description = "It has no such piece", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The archive does not hold what it should", body = Problem,
            content_type = "application/problem+json"),
        Trouble, Missing
    )
)]
pub(super) async fn read(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<FileId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (archive, file) = archived(&desk, id).await?;
    let tag = format!("\"{}\"", file.sha256);
    let names =
        |name: HeaderName| headers.get_all(name).iter().any(|value| value.as_bytes() == tag.as_bytes());
    if names(IF_NONE_MATCH) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    check(&archive, &file).await?;
    let piece = match headers.get(RANGE) {
        Some(range) if !headers.contains_key(IF_RANGE) || names(IF_RANGE) => piece(range, file.bytes),
        _ => Piece::Whole,
    };
    let (status, range) = match piece {
        Piece::Whole => (StatusCode::OK, 0..file.bytes),
        Piece::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Piece::None => {
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no such bytes");
            return Ok(([(CONTENT_RANGE, format!("bytes */{}", file.bytes))], problem).into_response());
        }
    };
    let body = if range.is_empty() {
        Body::empty()
    } else if status == StatusCode::OK {
        Body::from_stream(archive.read(&file.object_key).await?)
    } else {
        Body::from_stream(archive.read_range(&file.object_key, range.clone()).await?)
    };
    let mut response = (status, body).into_response();
    describe(response.headers_mut(), &file, &range, status, tag);
    Ok(response)
}

fn describe(
    headers: &mut HeaderMap,
    file: &ArchivedFile,
    range: &Range<u64>,
    status: StatusCode,
    tag: String,
) {
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(CONTENT_TYPE, file.content_type.clone());
    set(CONTENT_LENGTH, (range.end - range.start).to_string());
    set(CONTENT_DISPOSITION, disposition(&file.object_key));
    set(ETAG, tag);
    set(ACCEPT_RANGES, "bytes".to_owned());
    set(CACHE_CONTROL, "private".to_owned());
    set(X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
    if status == StatusCode::PARTIAL_CONTENT {
        set(CONTENT_RANGE, format!("bytes {}-{}/{}", range.start, range.end - 1, file.bytes));
    }
}

/// Makes an address under which whoever has it can read the content for a while.
///
/// It leads to the store itself, and stands for our right to read this one object.
#[utoipa::path(
    post,
    operation_id = "make_link",
    path = "/files/{id}/link",
    tag = "files",
    params(("id" = FileId, Path, description = "The file")),
    responses(
        (status = 200, description = "The address; a secret", body = Link),
        (status = 502, description = "The archive does not hold what it should", body = Problem,
            content_type = "application/problem+json"),
        Trouble, Missing, Refusal
    )
)]
pub(super) async fn link(State(desk): State<Arc<Desk>>, Path(id): Path<FileId>) -> Result<Response, Problem> {
    let (archive, file) = archived(&desk, id).await?;
    check(&archive, &file).await?;
    let disposition = disposition(&file.object_key);
    let url = archive.link(&file.object_key, &disposition, desk.link_valid).await?;
    let url =
        url.ok_or_else(|| Problem::conflict("this archive gives no addresses; read `content` instead"))?;
    info!(file.id = %id, "a person has an address made for a file");
    let link = Link { url: url.expose_secret().to_owned(), valid_secs: desk.link_valid.as_secs() };
    Ok(([(CACHE_CONTROL, "no-store")], Json(link)).into_response())
}

async fn archived(desk: &Desk, id: FileId) -> Result<(SharedArchive, ArchivedFile), Problem> {
    let row = known(desk, id).await?;
    let file = row.archived.ok_or_else(|| Problem::conflict(format!("{id} is {}", row.state)))?;
    match &desk.archive.opened {
        Ok(archive) => Ok((Arc::clone(archive), file)),
        Err(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason.clone())),
    }
}

/// Looks whether the object is there, before anything is answered.
async fn check(archive: &SharedArchive, file: &ArchivedFile) -> Result<(), Problem> {
    let wrong = match archive.inspect(&file.object_key).await? {
        Some(object) if object.bytes == file.bytes => return Ok(()),
        Some(object) => {
            format!("it holds {} bytes under that key, and should hold {}", object.bytes, file.bytes)
        }
        None => "it holds nothing under that key".to_owned(),
    };
    Err(Problem::new(StatusCode::BAD_GATEWAY, format!("the archive is not as it should be: {wrong}")))
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Whole,
    Part(Range<u64>),
    None,
}

/// What of a file of `bytes` is asked for. A header that cannot be understood is ignored, and so are several ranges at
/// once (RFC 9110, section 14.2).
fn piece(header: &HeaderValue, bytes: u64) -> Piece {
    let parsed = header.to_str().map_err(|_| None);
    let ranges = parsed
        .and_then(|text| parse_range_header(text).and_then(|ranges| ranges.validate(bytes)).map_err(Some));
    match ranges.as_deref() {
        Ok([range]) => Piece::Part(*range.start()..range.end().saturating_add(1)),
        Err(Some(RangeUnsatisfiableError::Unsatisfiable)) => Piece::None,
        _ => Piece::Whole,
    }
}

/// `Content-Disposition` for a download under the last segment of its key: the name in full (RFC 6266), and one of
/// plain ASCII for those who do not know that.
fn disposition(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._ ".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, PLAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_piece_and_what_cannot_be_understood_is_ignored() {
        for (header, expected) in [
            ("bytes=0-9", Piece::Part(0..10)),
            ("bytes=90-", Piece::Part(90..100)),
            ("bytes=-10", Piece::Part(90..100)),
            ("bytes=90-1000", Piece::Part(90..100)),
            ("bytes=100-", Piece::None),
            ("bytes=1-2,5-6", Piece::Whole),
            ("bytes=9-1", Piece::Whole),
            ("lines=1-2", Piece::Whole),
            ("bytes=x", Piece::Whole),
        ] {
            assert_eq!(piece(&HeaderValue::from_static(header), 100), expected, "{header}");
        }
    }

    #[test]
    fn no_name_breaks_out_of_its_header() {
        let odd = disposition("a/b/Über\"\r\n; x=y\\.mp4");
        assert_eq!(
            odd,
            "attachment; filename=\"_ber____ x_y_.mp4\"; filename*=UTF-8''%C3%9Cber%22%0D%0A%3B%20x%3Dy%5C.mp4"
        );
        assert!(HeaderValue::try_from(odd).is_ok());
    }
}
