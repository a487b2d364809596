//! What others than Redis clients are told over HTTP: metrics, health, status, the web console. Reads what sessions
//! publish, and never a session. Started by `process`.

mod families;
mod guard;
mod live;
mod page;
mod process;
mod routes;
pub(crate) mod server;
mod snapshot;
pub(crate) mod source;
mod visitors;
mod web;
