//! Puts a load on its target: threads, connections, pace, and the end. Called by every command that
//! measures; the requests and replies themselves are of the room `traffic`.

pub mod alarm;
pub mod budget;
pub mod driver;
pub mod interrupt;
pub mod lane;
pub mod pacer;
pub mod shard;
pub mod shared;

pub use driver::{Moment, drive};
