//! All that Zoom knows.
//!
//! - [`signature`]: whether Zoom sent a request

pub mod signature;
