//! How `ARCHIVE_URL` is read.

use std::path::PathBuf;

use super::ArchiveError;

/// Where an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A bucket, or a part of it.
    S3(S3Location),
    /// An absolute path.
    Directory(PathBuf),
}

/// A bucket and the prefix under which the archive lies in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket's name.
    pub bucket: String,
    /// Put before every key; empty, or without a slash at its beginning and with one at its end.
    pub prefix: String,
}

impl Location {
    /// Reads an archive's URL.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`], saying what is wrong with it. The text never repeats the URL: somebody may
    /// have written credentials into it.
    pub fn parse(url: &str) -> Result<Self, ArchiveError> {
        match url.split_once("://") {
            Some(("s3", rest)) => S3Location::parse(rest).map(Self::S3),
            Some(("file", path)) => directory(path).map(Self::Directory),
            _ => Err(refused("must be s3://bucket/prefix or file:///absolute/path")),
        }
    }
}

impl S3Location {
    fn parse(rest: &str) -> Result<Self, ArchiveError> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains(['@', ':']) {
            return Err(refused(
                "s3://bucket/prefix holds neither credentials nor a host: set AWS_ACCESS_KEY_ID, \
                 AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL_S3 instead",
            ));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.len() < 3 || bucket.len() > 63 || !bucket.chars().all(named) {
            return Err(refused(
                "s3://bucket/prefix needs a bucket of 3 to 63 letters, digits, dots and dashes",
            ));
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            return Ok(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        if prefix.contains(['?', '#']) || !prefix.split('/').all(is_plain_segment) {
            return Err(refused(
                "the prefix in s3://bucket/prefix must not hold `//`, `.`, `..`, `?` or `#`",
            ));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }
}

fn directory(path: &str) -> Result<PathBuf, ArchiveError> {
    if !path.starts_with('/') {
        return Err(refused("file:///absolute/path needs three slashes: there is no host before the path"));
    }
    let path = percent_decoded(path).ok_or_else(|| refused("the path in file:///path is wrongly escaped"))?;
    if path.contains('\0') {
        return Err(refused("the path in file:///path must not hold a NUL"));
    }
    Ok(PathBuf::from(path))
}

/// Undoes `%41`, as a file URL's path may hold it.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2)?;
        out.extend(data_encoding::HEXLOWER_PERMISSIVE.decode(hex).ok()?);
        rest = tail;
    }
    String::from_utf8(out).ok()
}

/// Whether a piece of a key between two slashes names just itself.
pub(super) fn is_plain_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && !segment.contains('\0')
}

fn refused(what: &str) -> ArchiveError {
    ArchiveError::Refused(format!("ARCHIVE_URL: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, prefix: &str) -> Location {
        Location::S3(S3Location { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    #[test]
    fn a_bucket_may_have_a_prefix() {
        assert_eq!(Location::parse("s3://recordings").unwrap(), s3("recordings", ""));
        assert_eq!(Location::parse("s3://recordings/").unwrap(), s3("recordings", ""));
        assert_eq!(Location::parse("s3://recordings/zoom/eu/").unwrap(), s3("recordings", "zoom/eu/"));
    }

    #[test]
    fn a_directory_is_an_absolute_path() {
        let path = |text: &str| Location::Directory(PathBuf::from(text));
        assert_eq!(Location::parse("file:///srv/zoom").unwrap(), path("/srv/zoom"));
        assert_eq!(Location::parse("file:///srv/my%20zoom").unwrap(), path("/srv/my zoom"));
    }

    #[test]
    fn anything_else_is_refused_without_being_repeated() {
        for url in [
            "",
            "recordings",
            "/srv/zoom",
            "https://bucket.s3.amazonaws.com/",
            "file://srv/zoom",
            "file:///srv/%zz",
            "s3://",
            "s3://ab",
            "s3:///prefix",
            "s3://bucket//prefix",
            "s3://bucket/a/../b",
            "s3://bucket/prefix?region=x",
            "s3://AKIA:secret@bucket",
        ] {
            let error = Location::parse(url).unwrap_err();
            assert!(matches!(error, ArchiveError::Refused(_)), "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
