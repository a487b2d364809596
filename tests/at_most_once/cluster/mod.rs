//! The promise about a cluster: a plain client uses it as one Redis. Whatever its slots and primaries do meanwhile, no
//! client sees a word of it, nothing is executed twice, and what could not be executed is an error and never data.

mod bound;
mod everywhere;
mod failover;
mod members;
mod moving;
pub(crate) mod nodes;
mod reads;
pub(crate) mod scripted;
mod scripts;
mod shown;
mod trial;
mod within;
