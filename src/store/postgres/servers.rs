//! The servers that `DATABASE_URL` names, and connecting to the one that can be written to.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use super::super::postgres_url::PostgresUrl;

/// Longest wait for the answer of an idle connection. A connection that takes longer is replaced.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Limits of a session at the server. A client whose packets are dropped on the way never says goodbye; the server ends its
/// session after a minute and a half instead of the two hours that are the default of Linux. Where the server's system lacks
/// a parameter, PostgreSQL accepts the setting and keeps its own (manual, "Connection Settings").
const SERVER_KEEPALIVE: &str =
    "SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;";

/// On in a session that cannot write: on a standby, during recovery, and where `default_transaction_read_only` is set. This
/// is what libpq asks for `target_session_attrs=read-write` (manual, "Connection Control Functions").
const READ_ONLY: &str = "SHOW transaction_read_only";

/// Encodings of a database that can hold whatever Zoom sends. `SQL_ASCII` keeps bytes as they come.
const ENCODINGS: &[&str] = &["UTF8", "SQL_ASCII"];

/// The servers of one database, at least one.
#[derive(Debug)]
pub(super) struct Servers {
    hosts: Vec<PgConnectOptions>,
    /// Longest time to connect to one server.
    connect_timeout: Duration,
    /// The server to try first.
    next: AtomicUsize,
    /// Connections that were made before this moment are not used any more.
    valid_since: Mutex<Instant>,
}

impl Servers {
    /// `connect_timeout` is the longest time for one server where the URL names none.
    pub(super) fn new(url: PostgresUrl, connect_timeout: Duration) -> Self {
        Self {
            hosts: url.hosts,
            connect_timeout: url.connect_timeout.unwrap_or(connect_timeout),
            next: AtomicUsize::new(0),
            valid_since: Mutex::new(Instant::now()),
        }
    }

    /// Connects to the first server that can be written to, beginning with the one that could be last, and runs `setup` (SQL).
    ///
    /// # Errors
    /// Those of the server that was tried last. One that cannot be written to counts as not available.
    pub(super) async fn connect(&self, setup: &str) -> Result<PgConnection, sqlx::Error> {
        let first = self.next.load(Ordering::Relaxed);
        let mut failure = sqlx::Error::PoolTimedOut;
        for turn in 0..self.hosts.len() {
            let place = (first + turn) % self.hosts.len();
            // Whoever gives up waiting for this one has the next attempt begin with another.
            self.next.store((place + 1) % self.hosts.len(), Ordering::Relaxed);
            match tokio::time::timeout(self.connect_timeout, connect_to(&self.hosts[place], setup)).await {
                Ok(Ok(connection)) => {
                    self.next.store(place, Ordering::Relaxed);
                    return Ok(connection);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = no_answer(&self.hosts[place]),
            }
        }
        Err(failure)
    }

    /// Has every connection replaced that was made before now: their server cannot be written to, or they are dead.
    pub(super) fn discard_connections(&self) {
        *self.valid_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether a connection that was made then may still be used.
    pub(super) fn is_valid(&self, since: Instant) -> bool {
        since >= *self.valid_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect_to(host: &PgConnectOptions, setup: &str) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(host).await.map_err(with_advice_on_certificates)?;
    let sql = format!("SHOW server_encoding; {SERVER_KEEPALIVE} {setup} {READ_ONLY}");
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    let encoding: &str = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    if !ENCODINGS.contains(&encoding) {
        let words = format!(
            "the database has the encoding {encoding}, which cannot hold all that Zoom sends: create it with ENCODING 'UTF8'"
        );
        return Err(sqlx::Error::Configuration(words.into()));
    }
    if is_on(&rows)? {
        let is_standby: bool =
            sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut connection).await?;
        // A goodbye that does not arrive is none that matters.
        let _ = tokio::time::timeout(CHECK_TIMEOUT, connection.close()).await;
        let name = name(host);
        return Err(sqlx::Error::Io(std::io::Error::other(match is_standby {
            true => format!(
                "the server at {name} is a standby that cannot be written to: name the primary in DATABASE_URL, or \
                 all servers one of which is it"
            ),
            false => format!("the server at {name} is read-only (default_transaction_read_only is on)"),
        })));
    }
    Ok(connection)
}

/// What an idle connection is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It answers, and its server can be written to.
    Usable,
    /// Its server cannot be written to.
    ReadOnly,
    /// It does not answer in time, or is closed.
    Dead,
}

/// Asks the server behind a connection; takes [`CHECK_TIMEOUT`] at most.
pub(super) async fn check(connection: &mut PgConnection) -> Condition {
    match tokio::time::timeout(CHECK_TIMEOUT, is_read_only(connection)).await {
        Ok(Ok(false)) => Condition::Usable,
        Ok(Ok(true)) => Condition::ReadOnly,
        Ok(Err(_)) | Err(_) => Condition::Dead,
    }
}

async fn is_read_only(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    is_on(&connection.fetch_all(sqlx::raw_sql(READ_ONLY)).await?)
}

/// Whether the answer to [`READ_ONLY`], the last of these rows, is `on`.
fn is_on(rows: &[PgRow]) -> Result<bool, sqlx::Error> {
    let answer: &str = rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    Ok(answer == "on")
}

/// Says what to do about a certificate that is not trusted. The words are those of rustls.
fn with_advice_on_certificates(error: sqlx::Error) -> sqlx::Error {
    let words = error.to_string();
    let advice = match () {
        () if words.contains("UnknownIssuer") || words.contains("CaUsedAsEndEntity") => {
            "name the file with the certificate of its authority as sslrootcert in DATABASE_URL"
        }
        () if words.contains("NotValidForName") || words.contains("certificate not valid for name") => {
            "name the server in DATABASE_URL as its certificate does"
        }
        () if words.contains("Expired") || words.contains("certificate expired") => {
            "renew the server's certificate"
        }
        () => return error,
    };
    sqlx::Error::Io(std::io::Error::other(format!("{words}: {advice}")))
}

fn no_answer(host: &PgConnectOptions) -> sqlx::Error {
    let name = name(host);
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("the server at {name} does not answer"),
    ))
}

/// Host and port, or the directory of its socket.
fn name(host: &PgConnectOptions) -> String {
    match host.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", host.get_host(), host.get_port()),
    }
}
