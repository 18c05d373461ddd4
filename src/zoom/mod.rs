//! All that Zoom knows.
//!
//! - [`signature`]: whether Zoom sent a request
//! - [`payload`]: what an event says
//! - [`download`]: fetching a file, from allowed hosts only
//! - [`address`]: which network addresses may be fetched from
//! - `client`: the way to Zoom

pub mod address;
mod client;
pub mod download;
pub mod payload;
pub mod signature;
