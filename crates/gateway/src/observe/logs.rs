//! Logging: set up once, on standard error, as text or JSON; what is logged can change meanwhile. The spans that
//! are exported take the same way in.

use std::io::{IsTerminal, stderr};

use settings::LogSettings;
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::observe::export::Export;

/// Changes what is logged.
#[derive(Debug, Clone)]
pub(crate) struct Logs(Handle<Targets, Registry>);

impl Logs {
    /// Starts logging for the whole process.
    pub(crate) fn start(settings: &LogSettings, export: Option<&Export>) -> Self {
        let (filter, handle) = reload::Layer::new(settings.filter.clone());
        let lines = fmt::layer().with_writer(stderr).with_ansi(is_coloured());
        let lines = if settings.json { lines.json().boxed() } else { lines.boxed() };
        // The filter is that of the lines: what is exported does not depend on it.
        let mut layers = vec![lines.with_filter(filter).boxed()];
        layers.extend(export.map(Export::layer));
        tracing_subscriber::registry().with(layers).init();
        Self(handle)
    }

    /// Puts another filter in force.
    pub(crate) fn refilter(&self, settings: &LogSettings) {
        if let Err(error) = self.0.reload(settings.filter.clone()) {
            tracing::error!(%error, "cannot change log.filter, the old one stays in force");
        }
    }
}

/// Files, pipes and the journal want text alone. So does an operator who has set `NO_COLOR`.
fn is_coloured() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
