//! What the tests share, one file each.

pub(crate) mod announce;
pub(crate) mod api;
pub(crate) mod database;
pub(crate) mod delivery;
pub(crate) mod fault_proxy;
pub(crate) mod otlp;
pub(crate) mod place;
pub(crate) mod postgres;
pub(crate) mod private;
pub(crate) mod program;
pub(crate) mod receiver;
pub(crate) mod s3;
pub(crate) mod said;
pub(crate) mod scene;
pub(crate) mod service;
pub(crate) mod split;
