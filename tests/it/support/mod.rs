//! What the tests stand on, one file each.

pub(crate) mod database;
pub(crate) mod postgres;
