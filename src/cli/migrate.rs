//! `migrate`: brings the database schema up to date, as `serve` does when it starts.

use std::process::ExitCode;

use super::{Common, failed};
use crate::store;
use crate::telemetry::{self, LogTarget};

#[allow(clippy::print_stdout, reason = "the command's output")]
pub(super) async fn run(common: &Common) -> ExitCode {
    let (config, secrets) = match common.load() {
        Ok(loaded) => loaded,
        Err(error) => return failed(&error.to_string()),
    };
    telemetry::init_log(config.log.format, LogTarget::Stderr, None);
    match store::migrate(&secrets.database_url, &config.store).await {
        Ok(migrated) => {
            if migrated.from == migrated.to {
                println!("the schema is at version {}; nothing to do", migrated.to);
            } else {
                println!("the schema went from version {} to {}", migrated.from, migrated.to);
            }
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("DATABASE_URL: {error}")),
    }
}
