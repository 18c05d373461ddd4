//! The one integration-test binary: sentences about behaviour, on real parts.

mod migrations;
mod store_contract;
mod support;
