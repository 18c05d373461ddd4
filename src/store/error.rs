//! Which of the databases' errors may pass, and which of their words may be repeated.

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::StoreError;
use crate::domain::recording::UnknownWord;

/// SQLSTATEs after which the same call may succeed later (PostgreSQL manual, appendix A), beside all of classes
/// 08 (connection), 53 (resources: connections, memory, disk) and 58 (operating system).
const PASSING_SQLSTATES: &[&str] = &[
    "25006", // read-only: we reached a standby
    "40001", // serialization failure
    "40P01", // deadlock, several times over
    "55P03", // lock not available
    "57014", // statement cancelled
    "57P01", // shut down by the administrator
    "57P02", // shut down after a crash
    "57P03", // starting up, or recovering
    "57P05", // idle session closed
];

/// Primary result codes of SQLite after which the same call may succeed later (sqlite.org, "Result and Error
/// Codes"): BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
const PASSING_SQLITE_CODES: &[i32] = &[5, 6, 7, 8, 10, 13, 14, 15];

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if may_pass(&error) {
            Self::Unavailable(without_detail(error))
        } else {
            Self::Refused(without_detail(error))
        }
    }
}

impl From<UnknownWord> for StoreError {
    fn from(error: UnknownWord) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Whether the statement lost a race against another one, and can simply be sent again.
pub(super) fn lost_a_race(error: &sqlx::Error) -> bool {
    sqlstate(error).is_some_and(|code| matches!(code.as_str(), "40001" | "40P01" | "23505"))
}

pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(database) => database_may_pass(database.as_ref()),
        _ => false,
    }
}

fn database_may_pass(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<PgDatabaseError>().is_some() {
        let passing_class = ["08", "53", "58"].iter().any(|class| code.starts_with(class));
        return passing_class || PASSING_SQLSTATES.contains(&code.as_ref());
    }
    // An extended result code holds its primary code in the lowest byte.
    code.parse::<i32>().is_ok_and(|code| PASSING_SQLITE_CODES.contains(&(code & 0xff)))
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let database = error.as_database_error()?;
    database.try_downcast_ref::<PgDatabaseError>()?;
    database.code().map(|code| code.into_owned())
}

/// What an operator can do about an error of PostgreSQL's, by its SQLSTATE (manual, appendix A).
fn advice(code: &str, message: &str) -> Option<&'static str> {
    Some(match code {
        "42501" => {
            "grant this user what it lacks: CREATE on the schema, which migrations need (GRANT CREATE ON SCHEMA public TO …), and \
             SELECT, INSERT, UPDATE and DELETE on all tables"
        }
        "28P01" => "check the user and the password in DATABASE_URL",
        "28000" => "check the user and sslmode in DATABASE_URL, and pg_hba.conf of the server",
        "3D000" => {
            "create the database (CREATE DATABASE … ENCODING 'UTF8'), or name another one in DATABASE_URL"
        }
        "53300" => "raise max_connections of the server, or lower store.max_connections",
        "22P05" | "22021" => "the encoding of the database must be UTF8",
        // PgBouncer, which refuses whatever it does not know in the first message.
        "08P01" if message.contains("startup parameter") => {
            "the pooler does not take a parameter of DATABASE_URL: leave it out there, or name it in the pooler's \
             ignore_startup_parameters"
        }
        "26000" | "42P05" => "a pooler before the server must keep sessions (PgBouncer: pool_mode = session)",
        _ => return None,
    })
}

/// Postgres adds a detail to its errors that quotes the failing row, and with it URLs and tokens; sqlx shows it
/// in `Debug`. What is kept is the message and the code.
fn without_detail(error: sqlx::Error) -> sqlx::Error {
    match &error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            let advice = advice(&code, database.message()).map(|advice| format!(": {advice}"));
            sqlx::Error::Protocol(format!("{} ({code}){}", database.message(), advice.unwrap_or_default()))
        }
        _ => error,
    }
}
