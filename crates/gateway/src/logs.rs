//! Logging: set up once, on standard error, as text or JSON.

use tracing_subscriber::EnvFilter;

use crate::settings::LogSettings;

/// Starts logging for the whole process.
pub(crate) fn start(settings: &LogSettings) {
    let logs = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(EnvFilter::new(&settings.filter));
    if settings.json { logs.json().init() } else { logs.init() }
}
