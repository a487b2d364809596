//! The integration tests: the built gateway, real Redis processes and scripted upstreams, a module per
//! concern. The fixtures are in `support`. Every name is a claim; a seed is printed where chance is used.

mod backpressure;
mod cancellation;
mod commands;
mod config;
mod embedded;
mod faults;
mod hostile;
mod lendings;
mod limits;
mod operate;
mod parity;
mod pipelining;
mod shared_pubsub;
mod shutdown;
mod support;
mod tidy;
mod upstream_failure;
mod waiting;
