//! The one integration-test binary: sentences about behaviour, on real parts.

mod archive_contract;
mod fault_proxy;
mod support;
