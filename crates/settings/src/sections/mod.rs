//! The sections of the configuration file as they are typed: one struct a section, with the default of each key, its
//! meaning and its cost. A key is added here; what it means is decided in `settings`.

pub mod auth;
pub mod clients;
pub mod commands;
pub mod log;
pub mod metrics;
pub mod pool;
pub mod process;
pub mod pubsub;
pub mod sentinel;
pub mod slowlog;
pub mod tls;
pub mod upstream;
