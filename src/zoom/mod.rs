//! All that Zoom knows.
//!
//! - [`signature`]: whether Zoom sent a request
//! - [`events`]: every event that is about a recording, and what it means: one table
//! - [`payload`]: what an event says
//! - [`bounds`]: how much one event may say
//! - `redact`: what of it is kept
//! - `summary`, `phone`, `voicemail`, [`meeting_transcript`]: events whose shape is none of the usual
//! - [`accounts`]: which account a question is asked with
//! - [`api`]: questions to Zoom's API, with the credentials for it
//! - [`auto_start`]: sessions whose recording is started when they begin
//! - [`session_token`]: tokens with which a person joins a session
//! - [`download`]: fetching a file, from allowed hosts only
//! - [`token`]: when a download token expires
//! - [`address`]: which network addresses may be fetched from

pub mod accounts;
pub mod address;
pub mod api;
pub mod auto_start;
pub mod bounds;
pub mod download;
pub mod events;
mod jwt;
pub mod meeting_transcript;
pub mod payload;
mod phone;
mod redact;
pub mod session_token;
pub mod signature;
mod summary;
pub mod token;
mod voicemail;
