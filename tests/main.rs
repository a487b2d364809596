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
mod lendings;
mod limits;
mod logins;
mod observe;
mod operate;
mod parity;
mod pipelining;
mod secrets;
mod shared_pubsub;
mod shutdown;
mod support;
mod tidy;
mod upstream_failure;
mod waiting;
