//! The load test as a library, so that its tests can hold the pieces against known truth.
//!
//! The principal types are [`load::Load`], what to do to a target; [`drive::drive`], which does it;
//! and [`outcome::Outcome`], what came of it. `compare` and `tune` are series of such loads.

pub mod alarm;
pub mod check;
pub mod cli;
pub mod compare;
pub mod counts;
pub mod drive;
pub mod failure;
pub mod fill;
pub mod in_process;
pub mod interrupt;
pub mod keys;
pub mod lane;
pub mod ledger;
pub mod load;
pub mod mix;
pub mod outcome;
pub mod pacer;
pub mod progress;
pub mod redis_benchmark;
pub mod relay;
pub mod replies;
pub mod report;
pub mod requests;
pub mod run;
pub mod shard;
pub mod size;
pub mod stamp;
pub mod stream;
pub mod system;
pub mod tally;
pub mod target;
pub mod timeline;
pub mod tune;
