//! The decision in an error of the store.
//!
//! Codes are those of "Error responses" in the Amazon S3 API Reference, and what other stores were seen to
//! send. Texts name bucket, code and remedy; they never hold a header or a URL, hence no credentials.

use std::borrow::Cow;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::super::ArchiveError;
use crate::clock::{Clock, seconds_ahead};

/// Longest piece of a store's own message that is repeated, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
/// The header in which AWS names the region of a bucket.
const BUCKET_REGION: &str = "x-amz-bucket-region";
/// How much of an error's body is searched for names of headers, in bytes.
const MAX_SEARCHED_BYTES: usize = 8 * 1024;

/// Difference of the clocks from which it is taken for the cause of a refusal, in seconds. S3 refuses requests that are fifteen
/// minutes off ("RequestTimeTooSkewed").
const BLAMED_SKEW_SECS: i64 = 5 * 60;

/// Who gave an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answered {
    /// Nobody.
    No,
    /// The store, in an error document of S3's.
    ByStore,
    /// The answer has no body, as every answer to HEAD: it does not say.
    Silently,
    /// A proxy or a gateway: the body is no error document of S3's. With the name in its `Server` header.
    ByOther(Option<String>),
}

/// What went wrong with one request.
#[derive(Debug)]
pub(super) struct Failure {
    /// HTTP status; `None` when there was no answer.
    status: Option<u16>,
    /// The store's code, or what stands for it where an answer has no body (HEAD).
    code: String,
    /// The store's words, or the SDK's.
    message: String,
    /// The answer's body in lower case, to be searched.
    searched: String,
    answered: Answered,
    /// By how many seconds the clock of whoever answered is ahead of this machine's.
    seconds_ahead: Option<i64>,
}

/// Which options a rejection names. Neither means that it does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejects {
    pub(super) checksum: bool,
    pub(super) condition: bool,
}

impl<E> From<SdkError<E, HttpResponse>> for Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let SdkError::ServiceError(answer) = &error else {
            return Self::without_answer(&error);
        };
        let (raw, meta) = (answer.raw(), answer.err().meta());
        let status = raw.status().as_u16();
        let body = raw.body().bytes().unwrap_or_default();
        let body = String::from_utf8_lossy(&body[..body.len().min(MAX_SEARCHED_BYTES)]).into_owned();
        let header = |name| raw.headers().get(name).map(str::to_owned);
        let answered = match (meta.code(), body.trim().is_empty()) {
            (_, true) => Answered::Silently,
            (Some(_), false) => Answered::ByStore,
            (None, false) => Answered::ByOther(header("server").map(|name| clipped(&name))),
        };
        let code = match (&answered, meta.code()) {
            (Answered::ByOther(_), _) => format!("HTTP {status}"),
            (_, Some(code)) => code.to_owned(),
            (_, None) => code_of(status).to_owned(),
        };
        let words = match &answered {
            Answered::ByOther(_) => without_tags(&body),
            _ => meta.message().unwrap_or_default().to_owned(),
        };
        let region = header(BUCKET_REGION).filter(|_| matches!(status, 301 | 307 | 400));
        let region = region.map(|region| format!("the bucket's region is {region}"));
        let message = [Some(words).filter(|words| !words.is_empty()), region];
        Self {
            status: Some(status),
            code,
            message: clipped(&message.into_iter().flatten().collect::<Vec<_>>().join(": ")),
            searched: body.to_lowercase(),
            answered,
            seconds_ahead: header("date").and_then(|date| seconds_ahead(&date, Clock::System.now())),
        }
    }
}

impl Failure {
    fn without_answer<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> Self {
        // They name what no variant does, such as "connection refused" or a lack of credentials.
        let message = causes(error);
        let code = match error {
            _ if message.contains("credential") => "no credentials",
            SdkError::TimeoutError(_) => "no answer in time",
            SdkError::ResponseError(_) => "broken answer",
            SdkError::ConstructionFailure(_) => "request not sent",
            _ => "no connection",
        };
        Self::unanswered(code, &message)
    }

    fn unanswered(code: &str, message: &str) -> Self {
        Self {
            status: None,
            code: code.to_owned(),
            message: clipped(message),
            searched: String::new(),
            answered: Answered::No,
            seconds_ahead: None,
        }
    }

    /// Of reading a body whose request had succeeded.
    pub(super) fn of_body(error: impl std::error::Error) -> Self {
        Self::unanswered("broken answer", &causes(&error))
    }

    /// Of reading a body that does not go on.
    pub(super) fn stalled() -> Self {
        Self::unanswered("no answer in time", "the body does not go on")
    }

    /// Whether the answer refuses the request without a word why, so that another verb may be told more.
    pub(super) fn is_silent_refusal(&self) -> bool {
        self.answered == Answered::Silently && matches!(self.status, Some(400..=403 | 405 | 407 | 411 | 501))
    }

    /// Whether a request without some header may be taken.
    pub(super) fn may_reject_a_header(&self) -> bool {
        matches!(self.status, Some(400 | 501))
    }

    /// Whether the store itself was perhaps not reached.
    pub(super) fn is_from_elsewhere(&self) -> bool {
        matches!(self.answered, Answered::No | Answered::ByOther(_))
    }

    /// For requests to a bucket whose 404 says no more than that.
    pub(super) fn missing_bucket(mut self) -> Self {
        if self.code == NOT_FOUND {
            self.code = "NoSuchBucket".to_owned();
        }
        self
    }

    /// Whether there is no such object.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self.code.as_str(), NOT_FOUND | "NoSuchKey")
    }

    /// Whether the upload is not known any more.
    pub(super) fn is_no_such_upload(&self) -> bool {
        self.code == "NoSuchUpload"
    }

    /// Whether an object stands under the key already.
    pub(super) fn is_exists(&self) -> bool {
        self.code == "PreconditionFailed" || self.status == Some(412)
    }

    /// Whether another conditional write under the same key is under way.
    pub(super) fn is_conflict(&self) -> bool {
        self.code == "ConditionalRequestConflict"
    }

    /// Whether the store rejects an option of the request rather than the request, and which.
    pub(super) fn rejects_option(&self) -> Option<Rejects> {
        let may_mean_it = match self.status {
            Some(501) => true,
            Some(400) => !self.is_mismatch() && self.remedy().is_none(),
            _ => false,
        };
        if !may_mean_it {
            return None;
        }
        let names = |words: &[&str]| words.iter().any(|word| self.searched.contains(word));
        let rejects = Rejects {
            checksum: names(&["checksum", "algorithm", "crc64"]),
            condition: names(&["if-none-match", "ifnonematch", "conditional", "precondition"]),
        };
        let says_little = matches!(self.code.as_str(), "InvalidArgument" | "InvalidRequest");
        let unclear = self.status == Some(501) || says_little || names(&["header"]);
        (rejects.checksum || rejects.condition || unclear).then_some(rejects)
    }

    /// Code and message in lower case, when the store rejects what the request asks for.
    pub(super) fn words_of_rejection(&self) -> Option<String> {
        let rejects = match self.status {
            Some(501) => true,
            Some(status @ 400..=499) => !matches!(status, 401 | 403 | 408 | 412 | 425 | 429 | CLIENT_GONE),
            _ => false,
        };
        rejects.then(|| format!("{} {}", self.code, self.message).to_lowercase())
    }

    /// Whether the credentials lack a right.
    pub(super) fn is_denied(&self) -> bool {
        self.blamed_skew().is_none()
            && matches!(self.code.as_str(), "AccessDenied" | "AllAccessDisabled" | "Forbidden")
    }

    fn is_mismatch(&self) -> bool {
        matches!(
            self.code.as_str(),
            "BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch" | "InvalidPart"
        )
    }

    /// What follows from it for the caller.
    pub(super) fn decide(&self, bucket: &str, what: &str, key: &str) -> ArchiveError {
        self.decide_with(bucket, what, key, "")
    }

    /// The same, in words that end with `advice`.
    pub(super) fn decide_with(&self, bucket: &str, what: &str, key: &str, advice: &str) -> ArchiveError {
        if self.is_exists() || self.is_conflict() {
            return ArchiveError::Exists(key.to_owned());
        }
        if self.is_no_such_upload() {
            return ArchiveError::NoSuchUpload(key.to_owned());
        }
        let text = self.text(bucket, what, key, advice);
        if self.is_mismatch() {
            ArchiveError::Mismatch(text)
        } else if self.is_refusal() {
            ArchiveError::Refused(text)
        } else {
            ArchiveError::Unavailable(text)
        }
    }

    /// Whether repeating the request cannot help: what the client did wrong, but for what an operator can mend
    /// in the store's or our settings.
    fn is_refusal(&self) -> bool {
        let mendable = self.remedy().is_some() || self.code.to_lowercase().contains("quota");
        match self.status {
            // A proxy that refuses says nothing of the store.
            _ if self.is_from_elsewhere() => false,
            Some(501) => true,
            Some(401 | 403 | 407 | 408 | 409 | 413 | 425 | 429 | CLIENT_GONE) => false,
            Some(400..=499) => !mendable,
            _ => false,
        }
    }

    /// What happened, in words that end with what an operator can do about it, and with `advice`.
    pub(super) fn text(&self, bucket: &str, what: &str, key: &str, advice: &str) -> String {
        let place = if key.is_empty() { String::new() } else { format!(" {key}") };
        let mut text = format!("bucket {bucket}: cannot {what}{place}: {}", self.code);
        let right = right_for(what).filter(|_| self.is_denied()).map(|right| format!("it takes {right}"));
        let right = right.unwrap_or_default();
        let remedy = self.remedy().filter(|_| advice.is_empty() || self.is_denied()).unwrap_or_default();
        let source = self.source().unwrap_or_default();
        for more in [source.as_str(), &self.message, &right, &remedy, advice] {
            if !more.is_empty() {
                text.push_str(": ");
                text.push_str(more);
            }
        }
        text
    }

    /// Who answered, where it was not the store.
    fn source(&self) -> Option<String> {
        let Answered::ByOther(server) = &self.answered else { return None };
        let server = server.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        Some(format!("the answer is not the store's, but of something before it{server}"))
    }

    /// By how many seconds the store's clock is ahead, where that is why it refuses.
    fn blamed_skew(&self) -> Option<i64> {
        let is_refused = matches!(self.status, Some(400 | 401 | 403));
        self.seconds_ahead.filter(|ahead| is_refused && ahead.abs() >= BLAMED_SKEW_SECS)
    }

    /// What an operator can do about it.
    pub(super) fn remedy(&self) -> Option<Cow<'static, str>> {
        if let Some(ahead) = self.blamed_skew() {
            let way = if ahead > 0 { "behind" } else { "ahead of" };
            return Some(Cow::Owned(format!(
                "this machine's clock is {} s {way} the store's: set this machine's clock",
                ahead.abs()
            )));
        }
        match (&self.answered, self.status) {
            (_, Some(413)) => Some(
                "it refuses bodies of this size: raise its limit (nginx: client_max_body_size), or lower transfer.part_bytes",
            ),
            (_, Some(407)) => Some("the proxy wants credentials: give them in its URL"),
            (Answered::ByOther(_), _) => {
                Some("check AWS_ENDPOINT_URL_S3, and what the proxy or gateway before the store lets through")
            }
            _ => self.remedy_by_code(),
        }
        .map(Cow::Borrowed)
    }

    fn remedy_by_code(&self) -> Option<&'static str> {
        Some(match self.code.as_str() {
            "NoSuchBucket" => "create the bucket, or mend ARCHIVE_URL",
            "AccessDenied" | "AllAccessDisabled" | "Forbidden" => {
                "allow s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, s3:GetObject, \
                 s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListMultipartUploadParts on its \
                 objects, and s3:GetObjectVersion and s3:DeleteObjectVersion where it keeps versions"
            }
            "InvalidAccessKeyId" | "UserSuspended" | "AccountProblem" | "NotSignedUp" | "Unauthorized" => {
                "the key does not exist or is disabled: check AWS_ACCESS_KEY_ID, or the profile"
            }
            "no credentials" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidSecurity" => {
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile"
            }
            "ExpiredToken" | "TokenRefreshRequired" => "renew the session credentials",
            "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException" => {
                "set AWS_REGION to the bucket's region, or AWS_ENDPOINT_URL_S3 to its endpoint"
            }
            // HEAD has no body to say more in; AWS answers so to a wrong region and to expired credentials.
            BAD_REQUEST => "check AWS_REGION and the AWS credentials",
            "InvalidObjectState" => "restore the object first: its storage class cannot be read from",
            "RequestTimeTooSkewed" => "set this machine's clock",
            "SlowDown" | "TooManyRequests" | "ThrottlingException" | "Throttling" => {
                "the store asks for fewer requests"
            }
            "XMinioStorageFull" | "InsufficientStorage" | "EntityStorageFull" => "the store is full",
            "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => "raise the bucket's quota",
            "RequestTimeout" | "IncompleteBody" | "OperationAborted" => "it is tried again",
            "request not sent" => "check the AWS credentials, region and endpoint",
            "no connection" | "no answer in time" => "check AWS_ENDPOINT_URL_S3, AWS_REGION and the network",
            "NotImplemented" => "set archive.s3.checksum and archive.s3.conditional_create to \"auto\"",
            _ => return None,
        })
    }
}

/// A refusal of HEAD has no body: asks by another verb, which takes the same right, why.
pub(super) async fn explained(failure: Failure, again: impl Future<Output = Option<Failure>>) -> Failure {
    if !failure.is_silent_refusal() {
        return failure;
    }
    again
        .await
        .filter(|told| told.status == failure.status || told.answered == Answered::ByStore)
        .unwrap_or(failure)
}

/// The right that a request takes, by what it was to do in the words of its errors ("Actions, resources, and condition keys
/// for Amazon S3"). `None` for what is asked of nobody.
fn right_for(what: &str) -> Option<&'static str> {
    Some(match what {
        "write" | "replace" | "begin" | "write a part of" | "complete" => "s3:PutObject",
        "look at" | "read" => "s3:GetObject",
        "remove" => "s3:DeleteObject",
        "abort" => "s3:AbortMultipartUpload",
        "list the parts of" | "look for the upload of" => "s3:ListMultipartUploadParts",
        "list unfinished uploads of" => "s3:ListBucketMultipartUploads",
        "look into" | "list the objects of" => "s3:ListBucket",
        "read the tags of an object" => "s3:GetObjectTagging",
        _ => return None,
    })
}

/// What stands for the code of an answer without body.
const NOT_FOUND: &str = "NotFound";
/// Likewise.
const BAD_REQUEST: &str = "BadRequest";
/// The client seems to have gone, says the store (nginx's number, and MinIO's `ClientDisconnected`): what MinIO answers
/// to requests that are on their way while it stops.
const CLIENT_GONE: u16 = 499;

fn code_of(status: u16) -> &'static str {
    match status {
        301 | 307 => "PermanentRedirect",
        400 => BAD_REQUEST,
        401 | 403 => "Forbidden",
        404 => NOT_FOUND,
        412 => "PreconditionFailed",
        429 => "TooManyRequests",
        501 => "NotImplemented",
        503 => "SlowDown",
        507 => "InsufficientStorage",
        500..=599 => "server error",
        _ => "unexpected answer",
    }
}

/// An error and its causes, in words.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !words.ends_with(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        source = cause.source();
    }
    words
}

/// The words of an HTML page, or of any other text.
fn without_tags(body: &str) -> String {
    let outside = body.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, words)| words));
    outside.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// A message on one line, bounded, and cut before anything that looks like a signed URL.
fn clipped(message: &str) -> String {
    let safe = message.find("X-Amz-").map_or(message, |at| &message[..at]);
    let line: String = safe.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().chars().take(MAX_MESSAGE_CHARS).collect()
}
