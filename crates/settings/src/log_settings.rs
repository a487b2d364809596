//! What the configuration means for what is told to the outside: log lines and exported spans. A part of
//! `settings`, which calls it.

use crate::{Config, ConfigError, ranges::value};

/// Where logs go and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Directives, as `tracing` has them.
    pub filter: String,
    /// One JSON object a line, rather than text.
    pub json: bool,
}

/// Where spans go and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportSettings {
    /// With the path.
    pub endpoint: String,
    /// The share of them, at most 1.
    pub sample_ratio: f64,
}

pub(crate) fn log_settings(config: &Config) -> Result<LogSettings, ConfigError> {
    let json = match config.log.format.as_str() {
        "text" => false,
        "json" => true,
        other => return value("log.format", format!("\"{other}\" is neither \"text\" nor \"json\"")),
    };
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.log.filter) {
        return value("log.filter", error.to_string());
    }
    Ok(LogSettings { filter: config.log.filter.clone(), json })
}

pub(crate) fn export_settings(config: &Config) -> Result<Option<ExportSettings>, ConfigError> {
    let (endpoint, sample_ratio) = (config.otel.endpoint.trim_end_matches('/'), config.otel.sample_ratio);
    if !(0.0..=1.0).contains(&sample_ratio) {
        return value("otel.sample_ratio", "must be between 0 and 1");
    }
    if endpoint.is_empty() {
        return Ok(None);
    }
    if cfg!(not(feature = "otel")) {
        return value("otel.endpoint", "this build exports nothing; it lacks the feature \"otel\"");
    }
    if !endpoint.starts_with("http://") {
        return value("otel.endpoint", format!("\"{endpoint}\" does not begin with http://"));
    }
    Ok(Some(ExportSettings { endpoint: format!("{endpoint}/v1/traces"), sample_ratio }))
}
