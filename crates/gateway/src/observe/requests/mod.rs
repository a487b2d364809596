//! Requests as they are shown to those who look on: the slow log has those that took long (`slow_log`), and monitors are
//! shown those that the gateway answers itself (`monitors`), both without secrets (`args`). Sessions add to both.

mod args;
pub(crate) mod monitors;
pub(crate) mod slow_log;
