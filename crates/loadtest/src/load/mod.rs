//! What is to be done to a target: the settled form of a command's arguments. Used by all that measure.

pub mod arguments;
pub mod definition;
pub mod key_kind;
pub mod keys;
pub mod mix;
pub mod size;

pub use definition::{Load, LoadError, Pace, Until};
