//! The one integration-test binary: sentences about behaviour, on real parts.

mod simulator;
