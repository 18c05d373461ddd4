//! How commands ask `/api/v1`: a running service by `--url`, or the same routes within this process, straight on the
//! database. The answer is the same document either way.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use clap::Args;
use comfy_table::{Table, presets};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;
use url::Url;
use url::form_urlencoded::Serializer;

use super::reach::{Failure, Reach};
use super::terminal;
use super::{Common, failed};
use crate::archive;
use crate::archive_identity;
use crate::domain::origin::is_loopback;
use crate::http::api::problem::Problem;
use crate::http::api::words::{Listed, MAX_PAGE};
use crate::http::api::{self, Desk, PREFIX, Shelf};
use crate::telemetry::{self, LogTarget};

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Time for an answer over the network.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct Whom {
    /// Asks a running service by its private door, such as http://127.0.0.1:8081, instead of the database itself.
    #[arg(long, global = true, value_name = "URL")]
    url: Option<Url>,
    /// File that holds ADMIN_TOKEN, for --url; without it ADMIN_TOKEN itself counts, where it is set.
    #[arg(long, global = true, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Sends the token over plain http to another machine as well: whoever is on the way can read it.
    #[arg(long, global = true, requires = "url")]
    allow_plain_http: bool,
}

/// How much of a list is wanted, and in which shape.
#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// Shows this many at most; all of them without it.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Begins with the oldest instead of the newest.
    #[arg(long)]
    oldest_first: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    /// All of a list, for what is done to each of it: what comes meanwhile is at its end.
    pub(super) fn everything() -> Self {
        Self { limit: None, oldest_first: true, json: false }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// It was refused, in words.
    Refused(Problem),
    /// Nobody could be asked, or the answer is none.
    Failed(String),
}

impl Unanswered {
    /// Whether the thing stands where that cannot be done to it, or is not there.
    pub(super) fn is_about_the_thing(&self) -> bool {
        let about = [StatusCode::NOT_FOUND, StatusCode::CONFLICT];
        matches!(self, Self::Refused(problem) if about.iter().any(|status| status.as_u16() == problem.status))
    }

    /// Whether something that the answer hangs on is away.
    pub(super) fn is_for_now(&self) -> bool {
        let away = StatusCode::SERVICE_UNAVAILABLE.as_u16();
        matches!(self, Self::Refused(problem) if problem.status == away)
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(problem) => f.write_str(&problem.detail),
            Self::Failed(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Unanswered {}

fn no_answer(error: impl fmt::Display) -> Unanswered {
    Unanswered::Failed(error.to_string())
}

/// Whether a command looks at the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Archive {
    Needed,
    Unused,
}

/// Somebody who answers.
pub(super) enum Office {
    /// The routes themselves.
    Here(Router),
    /// A service.
    There { client: reqwest::Client, base: String, token: Option<SecretString> },
}

impl Office {
    /// Opens what `whom` names.
    pub(super) async fn open(common: &Common, whom: &Whom, archive: Archive) -> Result<Self, Failure> {
        let Some(url) = &whom.url else {
            let reach = Reach::open(common, "error").await?;
            return Ok(Self::Here(api::router(Arc::new(desk(reach, archive).await))));
        };
        let (config, secrets) = common.load()?;
        telemetry::init_log(config.log.format, LogTarget::Stderr, Some("error"));
        let token = match &whom.token_file {
            Some(path) => {
                let token = std::fs::read_to_string(path)
                    .map_err(|error| format!("--token-file {}: {error}", path.display()))?;
                Some(token.trim().to_owned().into())
            }
            None => secrets.admin_token,
        };
        if token.is_some() && url.scheme() == "http" && !is_loopback(url) && !whom.allow_plain_http {
            let origin = url.origin().ascii_serialization();
            return Err(format!(
                "--url {origin}: the token is not sent over plain http to another machine; use https, a tunnel to \
                 loopback, or --allow-plain-http"
            )
            .into());
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()?;
        Ok(Self::There { client, base: url.as_str().trim_end_matches('/').to_owned(), token })
    }

    /// Asks.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Unanswered> {
        let mut address = format!("{PREFIX}{path}");
        if !query.is_empty() {
            address.push('?');
            address.push_str(&Serializer::new(String::new()).extend_pairs(query).finish());
        }
        self.ask(Method::GET, &address, Bytes::new()).await
    }

    /// Has something done.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Unanswered> {
        let body = serde_json::to_vec(body).map_err(no_answer)?;
        self.ask(Method::POST, &format!("{PREFIX}{path}"), body.into()).await
    }

    /// A list, page by page, up to `limit`.
    pub(super) async fn each<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        args: &ListArgs,
        mut see: impl FnMut(Vec<T>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut left = args.limit.unwrap_or(u64::MAX);
        let mut after = None;
        while left > 0 {
            let mut query = query.to_vec();
            query.push(("limit", left.min(MAX_PAGE.into()).to_string()));
            query.push(("order", if args.oldest_first { "oldest" } else { "newest" }.to_owned()));
            query.extend(after.map(|after| ("after", after)));
            let page: Listed<T> = self.get(path, &query).await?;
            left = left.saturating_sub(page.items.len() as u64);
            see(page.items)?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        address: &str,
        body: Bytes,
    ) -> Result<T, Unanswered> {
        let (status, answer) = match self {
            Self::Here(router) => ask_here(router, method, address, body).await?,
            Self::There { client, base, token } => {
                let mut request = client
                    .request(method, format!("{base}{address}"))
                    .header(CONTENT_TYPE, "application/json");
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
                }
                let response = request.body(body).send().await.map_err(|error| unreachable(base, &error))?;
                (response.status(), response.bytes().await.map_err(|error| unreachable(base, &error))?)
            }
        };
        if status.is_success() {
            return serde_json::from_slice(&answer)
                .map_err(|error| Unanswered::Failed(format!("the answer cannot be read: {error}")));
        }
        match serde_json::from_slice(&answer) {
            Ok(problem) => Err(Unanswered::Refused(problem)),
            Err(_) => Err(Unanswered::Failed(format!("answered {status}, and not by a zoom-archiver"))),
        }
    }
}

async fn ask_here(
    router: &Router,
    method: Method,
    address: &str,
    body: Bytes,
) -> Result<(StatusCode, Bytes), Unanswered> {
    let request = Request::builder()
        .method(method)
        .uri(address)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(no_answer)?;
    let Ok(response) = TowerToHyperService::new(router.clone()).call(request).await;
    let status = response.status();
    Ok((status, to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.map_err(no_answer)?))
}

/// The whole chain: reqwest's own words name neither host nor reason.
fn unreachable(base: &str, error: &reqwest::Error) -> Unanswered {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Unanswered::Failed(format!("{base} does not answer: {cause}"))
}

async fn desk(reach: Reach, wanted: Archive) -> Desk {
    let place = reach.secrets.archive_without_password();
    let shelf = match wanted {
        Archive::Unused => Shelf { place, opened: Err("the archive is not open".to_owned()) },
        Archive::Needed => {
            match archive::open(reach.secrets.archive_url.expose_secret(), &reach.config.archive).await {
                Ok(archive) => match archive_identity::check(&reach.store, &archive).await {
                    Ok(()) => Shelf::new(archive),
                    Err(error) => Shelf { place, opened: Err(error.to_string()) },
                },
                Err(error) => Shelf { place, opened: Err(error.to_string()) },
            }
        }
    };
    let accounts = reach.secrets.zoom_accounts();
    Desk {
        store: reach.store,
        archive: shelf,
        accounts: reach.accounts,
        known_accounts: accounts.iter().map(Into::into).collect(),
        only_account: api::only_account(&accounts),
        // Workers of other processes find new work at their next look into the queue.
        wake: Arc::new(Notify::new()),
        link_valid: reach.config.http.link_valid(),
    }
}

/// Prints a list: as a table, or as JSON.
pub(super) async fn print_list<T, const N: usize>(
    office: &Office,
    path: &str,
    query: &[(&str, String)],
    args: &ListArgs,
    (header, row): ([&str; N], impl Fn(&T) -> [String; N]),
) -> Result<ExitCode, Failure>
where
    T: DeserializeOwned + Serialize,
{
    let mut out = terminal::stdout();
    if args.json {
        office
            .each(path, query, args, |page: Vec<T>| {
                page.iter().try_for_each(|item| print_json(&mut out, item))
            })
            .await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    office
        .each(path, query, args, |page: Vec<T>| {
            table.add_rows(page.iter().map(&row));
            Ok(())
        })
        .await?;
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

/// Prints one thing: as lines of its fields, or as JSON.
pub(super) fn print_one(thing: &impl Serialize, json: bool) -> Result<ExitCode, Failure> {
    let mut out = terminal::stdout();
    if json {
        print_json(&mut out, thing)?;
        return Ok(ExitCode::SUCCESS);
    }
    let value = serde_json::to_value(thing)?;
    let fields = value.as_object().cloned().unwrap_or_default();
    let width = fields.keys().map(String::len).max().unwrap_or_default();
    for (name, value) in &fields {
        match value {
            Value::Null => {}
            Value::String(text) => writeln!(out, "{name:<width$}  {text}")?,
            Value::Array(_) | Value::Object(_) => {
                writeln!(out, "{name:<width$}  {}", serde_json::to_string_pretty(value)?)?;
            }
            plain => writeln!(out, "{name:<width$}  {plain}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(out: &mut impl Write, thing: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, thing).map_err(io::Error::from)?;
    writeln!(out)
}

/// The exit code of a command that asks.
pub(super) fn ended(result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Words between commas, as the API takes them; nothing when there are none.
pub(super) fn list_of<T: fmt::Display>(name: &'static str, words: &[T]) -> Option<(&'static str, String)> {
    let words: Vec<_> = words.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| (name, words.join(",")))
}

/// A parameter that is asked only where it is said.
pub(super) fn said<T: fmt::Display>(name: &'static str, value: Option<&T>) -> Option<(&'static str, String)> {
    value.map(|value| (name, value.to_string()))
}

/// A moment to the second, for tables.
pub(super) fn moment(time: Option<chrono::DateTime<chrono::Utc>>) -> String {
    time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).unwrap_or_default()
}

/// A span of time in its largest unit, rounded down.
pub(super) fn span_in_words(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_is_told_in_its_largest_unit() {
        for (secs, words) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span_in_words(secs), words);
        }
    }
}
