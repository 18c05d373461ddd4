//! What the tests share, one file each.

pub(crate) mod fault_proxy;
pub(crate) mod s3;
