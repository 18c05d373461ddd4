//! What the commands that ask Zoom need, opened: settings, database, accounts.

use std::str::FromStr;

use chrono::{Days as Count, NaiveDate};

use super::Common;
use crate::app;
use crate::clock::Clock;
use crate::config::{Config, Secrets};
use crate::store::{self, SharedStore};
use crate::telemetry::{self, LogTarget};
use crate::zoom::accounts::Accounts;
use crate::zoom::api::days::Days;

pub(super) type Failure = Box<dyn std::error::Error>;

/// What is needed to ask Zoom and to compare.
pub(super) struct Reach {
    pub(super) config: Config,
    pub(super) secrets: Secrets,
    pub(super) store: SharedStore,
    pub(super) accounts: Accounts,
}

impl Reach {
    /// Opens it. `log` is what is logged when `RUST_LOG` says nothing.
    pub(super) async fn open(common: &Common, log: &str) -> Result<Self, Failure> {
        let (config, secrets) = common.load()?;
        telemetry::init_log(config.log.format, LogTarget::Stderr, Some(log));
        let accounts = Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System)?;
        let intake = app::intake(&config, &secrets, accounts.clone());
        let store = store::open_with(&secrets.database_url, &config.store, intake).await?;
        Ok(Self { config, secrets, store, accounts })
    }
}

/// A day as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(pub(super) NaiveDate);

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "a day is written YYYY-MM-DD".to_owned())
    }
}

/// The days from one up to and with another.
pub(super) fn days(from: Day, to: Day) -> Result<Days, String> {
    if to.0 < from.0 {
        return Err(format!("--to {} is before --from {}", to.0, from.0));
    }
    let until = to.0.checked_add_days(Count::new(1)).ok_or("--to is too far ahead")?;
    Ok(Days::new(from.0, until))
}

/// The last of these days, for people.
pub(super) fn last(days: Days) -> NaiveDate {
    days.until.pred_opt().unwrap_or(days.until)
}
