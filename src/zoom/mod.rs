//! All that Zoom knows.
//!
//! - [`signature`]: whether Zoom sent a request
//! - [`payload`]: what an event says
//! - [`download`]: fetching a file, from allowed hosts only
//! - [`address`]: which network addresses may be fetched from

pub mod address;
pub mod download;
pub mod payload;
pub mod signature;
