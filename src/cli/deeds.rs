//! What a command does to many things, and how it tells of that: in words, or as one JSON object at its end. The object
//! is the same over the network as on the database, and there also when the command is broken off: then it says how far
//! it came.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ask::{Office, print_one};
use super::reach::Failure;
use super::terminal;

/// How it is told.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Telling {
    /// As one JSON object: how many there were, how many were done and which, and what was left alone and why.
    #[arg(long)]
    json: bool,
}

/// What has been done so far.
#[derive(Debug, Serialize)]
pub(super) struct Deeds {
    #[serde(skip)]
    telling: Telling,
    /// What those are now that were done, after "2 of 3".
    #[serde(skip)]
    words: &'static str,
    /// Things that it was to be done to.
    matched: u64,
    /// Those to which it was done.
    done: u64,
    ids: Vec<String>,
    left_alone: Vec<LeftAlone>,
    /// Those of them that need it no more.
    #[serde(skip)]
    spared: u64,
}

/// A thing to which nothing was done.
#[derive(Debug, Serialize)]
struct LeftAlone {
    id: String,
    reason: String,
}

impl Deeds {
    /// Nothing so far, of so many.
    pub(super) fn of(matched: u64, words: &'static str, telling: Telling) -> Self {
        Self { telling, words, matched, done: 0, ids: Vec::new(), left_alone: Vec::new(), spared: 0 }
    }

    /// It was done to this one.
    pub(super) fn did(&mut self, id: impl fmt::Display) {
        self.done += 1;
        self.ids.push(id.to_string());
    }

    /// It was not done to this one, for this reason: in words that is said at once.
    pub(super) fn left(&mut self, id: impl fmt::Display, reason: impl fmt::Display) -> io::Result<()> {
        self.say(format_args!("{id}: {reason}"))?;
        self.leave(id, reason);
        Ok(())
    }

    /// The same, where the caller has words of its own.
    pub(super) fn leave(&mut self, id: impl fmt::Display, reason: impl fmt::Display) {
        self.left_alone.push(LeftAlone { id: id.to_string(), reason: reason.to_string() });
    }

    /// It need not be done to this one any more, which is no failure.
    pub(super) fn spare(&mut self, id: impl fmt::Display, reason: &str) -> io::Result<()> {
        self.say(format_args!("{id} {reason}"))?;
        self.leave(id, reason);
        self.spared += 1;
        Ok(())
    }

    /// Something on the way, where it is told in words.
    pub(super) fn say(&self, words: fmt::Arguments<'_>) -> io::Result<()> {
        if self.telling.json { Ok(()) } else { writeln!(terminal::stdout(), "{words}") }
    }

    /// Whether it was done to all of them.
    pub(super) fn are_complete(&self) -> bool {
        self.done + self.spared == self.matched
    }

    /// Says how many there are, where nothing is to be done to them.
    pub(super) fn tell_count(&self) -> Result<(), Failure> {
        if self.telling.json {
            print_one(self, true)?;
        }
        Ok(self.say(format_args!("{} {}", self.matched, self.words))?)
    }

    /// Says what was done.
    pub(super) fn tell(&self) -> Result<(), Failure> {
        if self.telling.json {
            print_one(self, true)?;
        }
        Ok(self.say(format_args!("{} of {} {}", self.done, self.matched - self.spared, self.words))?)
    }

    /// Says how far it came, and fails.
    pub(super) fn broken_off(&self, error: impl Into<Failure>) -> Result<ExitCode, Failure> {
        self.tell()?;
        Err(error.into())
    }

    /// Says what was done. Exit code 1 when something was left alone.
    pub(super) fn end(&self) -> Result<ExitCode, Failure> {
        self.tell()?;
        Ok(if self.are_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Asks for the same to be done to each of some things; `words` are what those are then, after "2 of 3".
pub(super) async fn each_deed<I, T>(
    office: &Office,
    ids: Vec<I>,
    path: impl Fn(&I) -> String,
    body: &impl Serialize,
    (words, telling): (&'static str, Telling),
) -> Result<ExitCode, Failure>
where
    I: fmt::Display,
    T: DeserializeOwned,
{
    let mut deeds = Deeds::of(ids.len() as u64, words, telling);
    for id in ids {
        match office.post::<T>(&path(&id), body).await {
            Ok(_) => deeds.did(id),
            Err(error) if error.is_about_the_thing() => deeds.left(id, error)?,
            Err(error) => return deeds.broken_off(error),
        }
    }
    deeds.end()
}
