//! The one integration-test binary: sentences about behaviour, on real parts.

mod access;
mod accounts;
mod archive_contract;
mod archive_options;
mod chaos;
mod cli;
mod compare_contract;
mod demo;
mod docs;
mod events;
mod fault_matrix;
mod fault_proxy;
mod interrupted;
mod janitor;
mod migrations;
mod receiver;
mod scale_out;
mod simulator;
mod store_contract;
mod support;
mod transfer;
mod worker;
mod zoom_api;
mod zoom_changes;
mod zoom_lists;
