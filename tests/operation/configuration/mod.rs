//! The configuration: what a start takes and refuses, what a change tells, a file that is watched, and how the gateway
//! logs in to its upstream.

mod change;
mod reload_watch;
mod start;
mod upstream_login;
mod users;
