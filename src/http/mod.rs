//! The two doors. The public one takes Zoom's webhook and answers health checks; the private one is for those
//! who run the service.
//!
//! - [`server`]: accepts connections within bounds, and stops on time
//! - [`public`]: the public door's routes
//! - `signers`: whose secret signed an event, and what it may speak of
//! - [`webhook`]: `POST /webhooks/zoom`: verify, read, make durable, answer
//! - [`private`]: the private door's routes
//! - [`api`]: `/api/v1`, behind it

pub mod api;
mod gauges;
pub mod private;
pub mod public;
pub mod server;
mod signers;
pub mod webhook;
