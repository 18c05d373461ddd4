//! zoom-archiver: carries Zoom cloud recordings into storage that you own, proven byte for byte.
//!
//! The map of the house (the picture is in `docs/architecture.md`). Data flows one way: Zoom → [`http`] →
//! [`store`] → [`worker`] → [`jobs`], which carry files from [`zoom`] to [`archive`].
//!
//! - [`cli`]: one file per command; [`app`]: puts the rooms together; [`lifecycle`], [`telemetry`], [`clock`];
//!   `doctor`: a look at database, archive and Zoom from all sides; `outgoing`: what all HTTP that goes out has in common
//! - [`config`]: settings, from file and environment
//! - [`domain`]: the words of the trade, pure
//! - [`http`]: the public door and the private door
//! - [`zoom`]: all that Zoom knows: signatures, payloads, downloads
//! - [`store`]: the record, in Postgres or SQLite: events, recordings, files, jobs
//! - [`worker`]: the queue's workers; they know leases, not the work
//! - [`jobs`]: the work itself, the only room where Zoom meets the archive
//! - [`notify`]: signed requests to receivers outside, and what they say
//! - [`reconcile`]: what Zoom has against what we have
//! - [`scheduler`]: what is put right by period
//! - [`archive`]: the storage that the user owns, S3 or a directory
//! - [`simulator`]: a fake Zoom, for `demo`, `simulate` and the tests

pub mod app;
pub mod archive;
pub mod archive_identity;
pub mod cli;
pub mod clock;
pub mod config;
mod doctor;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod lifecycle;
pub mod notify;
mod outgoing;
pub mod reconcile;
pub mod scheduler;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod worker;
pub mod zoom;
