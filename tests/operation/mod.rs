//! What operators rely on: the configuration, its reload, the console, logs, metrics and spans.

mod configuration;
mod listeners;
mod observe;
mod operate;
#[cfg(feature = "otel")]
mod otel;
mod process;
mod secrets;
mod service;
mod slow_log;
mod spans;
pub(crate) mod tls;
