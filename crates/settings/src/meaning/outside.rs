//! What the configuration means for what others are told or may ask: exported spans, metrics and health over HTTP.

use std::{net::SocketAddr, time::Duration};

use crate::{
    Config, ConfigError, Place,
    listen::place::tcp,
    logins::users::Users,
    meaning::{
        ranges::{count, millis, value, within},
        session::users,
    },
};

/// More web consoles are a mistake.
const CONSOLES_MAX: usize = 1 << 16;

/// Where spans go and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportSettings {
    /// With the path.
    pub endpoint: String,
    /// The share of them, at most 1.
    pub sample_ratio: f64,
}

/// What those who ask for metrics are bound by.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Who may see the web console and the status; anybody who reaches a loopback address if there are none.
    pub users: Users,
    /// Connections at a time, web consoles not counted.
    pub connections_max: usize,
    /// Web consoles at a time.
    pub consoles_max: usize,
    /// How long a request and its reply may take.
    pub timeout: Duration,
}

pub(crate) fn export_settings(config: &Config) -> Result<Option<ExportSettings>, ConfigError> {
    let (endpoint, sample_ratio) = (config.otel.endpoint.trim_end_matches('/'), config.otel.sample_ratio);
    if !(0.0..=1.0).contains(&sample_ratio) {
        return value("otel.sample_ratio", format!("{sample_ratio} is not from 0 to 1"));
    }
    if endpoint.is_empty() {
        return Ok(None);
    }
    if cfg!(not(feature = "otel")) {
        return value("otel.endpoint", "this build exports no spans; build with --features otel");
    }
    // It may hold a login and is not repeated.
    let Some(host) = endpoint.strip_prefix("http://") else {
        return value("otel.endpoint", "does not begin with http://; write http://host:4318");
    };
    if host.is_empty() || host.contains(char::is_whitespace) || host.contains(['?', '#']) {
        return value("otel.endpoint", "is not of the form http://host:4318");
    }
    Ok(Some(ExportSettings { endpoint: format!("{endpoint}/v1/traces"), sample_ratio }))
}

pub(crate) fn http_settings(config: &Config) -> Result<Option<(SocketAddr, HttpSettings)>, ConfigError> {
    let metrics = &config.metrics;
    let settings = HttpSettings {
        users: users("metrics.users", &metrics.users)?,
        consoles_max: within("metrics.consoles_max", metrics.consoles_max, 0, CONSOLES_MAX)?,
        connections_max: count("metrics.connections_max", metrics.connections_max)?,
        timeout: millis("metrics.timeout_ms", metrics.timeout_ms, 1)?,
    };
    if metrics.listen.is_empty() {
        return Ok(None);
    }
    match tcp(&metrics.listen) {
        Ok(Place::Tcp(addresses)) => Ok(addresses.first().map(|address| (*address, settings))),
        Ok(Place::Unix(_) | Place::Passed(_)) => value("metrics.listen", "is no address and port"),
        Err(error) => value("metrics.listen", format!("\"{}\": {error}", metrics.listen)),
    }
}
