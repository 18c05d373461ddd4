//! What must be put right again and again, by period: idempotent, without input, any number of them at once.
//!
//! - [`janitor`]: gives up unfinished uploads that no transfer goes on with
//! - [`rounds`]: has Zoom asked for what no event brought, and the archive verified
//! - [`retention`]: forgets old events and finished jobs
//! - [`loss_watch`]: has it told which files will soon be lost
//!
//! (The sweeper, which returns expired leases, lives with the leases in `worker`.)

pub mod janitor;
pub mod loss_watch;
pub mod retention;
pub mod rounds;
