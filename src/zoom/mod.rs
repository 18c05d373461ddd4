//! All that Zoom knows.
//!
//! - [`signature`]: whether Zoom sent a request
//! - [`payload`]: what an event says
//! - [`accounts`]: which account a question is asked with
//! - [`api`]: questions to Zoom's API, with the credentials for it
//! - [`download`]: fetching a file, from allowed hosts only
//! - [`token`]: when a download token expires
//! - [`address`]: which network addresses may be fetched from
//! - `client`: the way to Zoom, for both of them

pub mod accounts;
pub mod address;
pub mod api;
mod client;
pub mod download;
pub mod payload;
pub mod signature;
pub mod token;
