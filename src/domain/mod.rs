//! The words of the trade, as types. Pure: no clock, no I/O, no database, no network.
//!
//! - [`account`]: what a person calls the Zoom accounts
//! - [`ids`]: what an event, a recording, a file and a job are called in our own database
//! - [`recording`]: what Zoom announces: a recording and its files, and what makes each the same one
//! - [`event`]: one verified delivery and what was read in it
//! - [`file`]: the states of a file, and the proof that it is archived
//! - [`file_identity`]: which descriptions of a file are about the same one
//! - [`job`]: the queue's words: job, lease, checkpoint, outcome, settlement
//! - [`fact`]: plain facts about a file, for an object's metadata
//! - [`key`]: where in the archive a file lies
//! - [`loss`]: until when a file can be had
//! - [`manifest`]: the JSON beside the objects of a recording
//! - [`notice`]: what is told to receivers outside, and who wants to hear of what
//! - [`media`]: file types, extensions, media types
//! - [`origin`]: which origins recordings may be fetched from
//! - [`part`]: how a file is cut into parts
//! - [`probe`]: whether a file has the shape that its type promises
//! - [`checksum`]: the CRC-64/NVME that proves parts and whole
//! - [`filter`]: which files are taken
//! - [`finding`]: what `doctor` finds; [`verification`]: what a verification finds
//! - [`json`]: JSON from outside that is not quite JSON
//! - [`hash`]: the SHA-256 of a file while it comes, to be continued elsewhere
//! - [`span`]: a length of time as a person writes it

pub mod account;
pub mod archive;
pub mod checksum;
pub mod event;
pub mod fact;
pub mod file;
pub mod file_identity;
pub mod filter;
pub mod finding;
pub mod hash;
pub mod ids;
pub mod job;
pub mod json;
pub mod key;
pub mod loss;
pub mod manifest;
pub mod media;
pub mod notice;
pub mod origin;
pub mod part;
pub mod probe;
pub mod recording;
pub mod span;
pub mod verification;
