//! zoom-archiver: carries Zoom cloud recordings into storage that you own, proven byte for byte.
//!
//! The map of the house (the picture is in `docs/architecture.md`):
//!
//! - [`domain`]: the words of the trade
//! - [`config`]: settings, from file and environment
//! - [`store`]: the record, in Postgres or SQLite
//! - [`archive`]: the storage that the user owns, S3 or a directory
//! - [`simulator`]: a fake Zoom, for the demo and the tests

pub mod archive;
pub mod config;
pub mod domain;
pub mod simulator;
pub mod store;
pub mod zoom;
