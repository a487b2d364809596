//! What operators see and change: `RESPOOL …` over the clients' own port (`command`, `answer`), metrics and health
//! over HTTP (`http`). Both show the same `views` of what sessions publish and of the pool. Called by `session` and
//! `process`; `local_reply` shows the views in `INFO`. May use what is published and the operator; knows no session.

pub(crate) mod answer;
pub(crate) mod command;
mod glob;
pub(crate) mod http;
pub(crate) mod rows;
pub(crate) mod topology;
pub(crate) mod views;
