//! `archive show|adopt`: which archive the database knows, and another one in its place after a deliberate move.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;

use super::ask::ended;
use super::reach::{Failure, Reach};
use super::{Common, terminal};
use crate::archive::{self, marker};
use crate::archive_identity;

/// Options of `archive`.
#[derive(Debug, Args)]
pub(super) struct ArchiveArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says which archive the database knows, and which one ARCHIVE_URL names.
    Show,
    /// Takes the archive that ARCHIVE_URL names for that of the database from now on. Nothing is copied: do that first.
    Adopt,
}

pub(super) async fn run(common: &Common, args: ArchiveArgs) -> ExitCode {
    ended(act(common, args.action).await)
}

async fn act(common: &Common, action: Action) -> Result<ExitCode, Failure> {
    let reach = Reach::open(common, "warn").await?;
    let archive = archive::open(reach.secrets.archive_url.expose_secret(), &reach.config.archive).await?;
    let mut out = terminal::stdout();
    match action {
        Action::Show => {
            match reach.store.archive_identity().await? {
                Some(known) => writeln!(out, "database      {}, last at {}", known.id, known.place)?,
                None => writeln!(out, "database      knows no archive yet")?,
            }
            let found = marker::read(archive.as_ref()).await?;
            let id = found.as_deref().unwrap_or("has no marker");
            writeln!(out, "archive       {id}: {}", archive.describe())?;
        }
        Action::Adopt => {
            let (before, now) = archive_identity::adopt(&reach.store, &archive).await?;
            if let Some(before) = before.filter(|before| before.id != now.id) {
                writeln!(out, "before        {}, last at {}", before.id, before.place)?;
            }
            writeln!(out, "now           {}, at {}", now.id, now.place)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
