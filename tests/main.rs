//! The integration tests: the built gateway, real Redis processes and scripted upstreams, a module per
//! concern. The fixtures are in `support`. Every name is a claim; a seed is printed where chance is used.

mod backpressure;
mod cancellation;
mod commands;
mod config;
mod dependencies;
mod embedded;
mod faults;
mod guarantees;
mod hostile;
mod info;
mod lendings;
mod limits;
mod logins;
mod observe;
mod operate;
#[cfg(feature = "otel")]
mod otel;
mod overload;
mod parity;
mod pipelining;
mod reload_watch;
mod secrets;
mod shared_pubsub;
mod shutdown;
mod slow_log;
mod spans;
mod support;
mod takeover;
mod tidy;
mod upstream_failure;
mod waiting;
