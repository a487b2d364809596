//! What operators rely on: the configuration, its reload, the console, logs, metrics and spans.

mod config;
mod listeners;
mod observe;
mod operate;
#[cfg(feature = "otel")]
mod otel;
mod process;
mod reload_watch;
mod secrets;
mod slow_log;
mod spans;
mod tls;
mod upstream_login;
