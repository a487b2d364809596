//! Logging: set up once, on standard error, as text or JSON; what is logged can change meanwhile.

use tracing_subscriber::{
    EnvFilter, Registry, fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::settings::LogSettings;

/// Changes what is logged.
#[derive(Debug, Clone)]
pub(crate) struct Logs(Handle<EnvFilter, Registry>);

impl Logs {
    /// Starts logging for the whole process.
    pub(crate) fn start(settings: &LogSettings) -> Self {
        let (filter, handle) = reload::Layer::new(EnvFilter::new(&settings.filter));
        let lines = fmt::layer().with_writer(std::io::stderr);
        let logs = tracing_subscriber::registry().with(filter);
        if settings.json {
            logs.with(lines.json()).init()
        } else {
            logs.with(lines).init()
        }
        Self(handle)
    }

    /// Puts another filter in force.
    pub(crate) fn refilter(&self, settings: &LogSettings) {
        if let Err(error) = self.0.reload(EnvFilter::new(&settings.filter)) {
            tracing::error!(%error, "log filter stays as it was");
        }
    }
}
