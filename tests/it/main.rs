//! The one integration-test binary: sentences about behaviour, on real parts.

mod archive_contract;
mod archive_options;
mod cli;
mod demo;
mod docs;
mod fault_proxy;
mod migrations;
mod receiver;
mod scale_out;
mod simulator;
mod store_contract;
mod support;
mod transfer;
mod worker;
