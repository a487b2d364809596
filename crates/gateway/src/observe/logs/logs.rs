//! Logging: set up once, on standard error, as text or JSON; what is logged can change meanwhile. The spans that
//! are exported take the same way in. A thread of its own writes the lines, because whoever reads them may stall, and
//! nobody else is to wait for that: lines are lost then, and counted.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{IsTerminal, stderr},
    panic,
    sync::OnceLock,
    thread,
};

use settings::LogSettings;
use tracing::{Level, field};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::observe::{
    export::Export,
    logs::{line::Lines, rest::Rest},
};

/// Lines that wait to be written. A line has some 200 bytes.
const LINES_MAX: usize = 4096;

/// Of the one log that a process has.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that were not written, because those before them were not read.
pub(crate) fn lost_lines() -> u64 {
    LOST.get().map_or(0, |lost| lost.dropped_lines() as u64)
}

/// Changes what is logged.
#[derive(Debug, Clone)]
pub(crate) struct Logs(Handle<Targets, Registry>);

impl Logs {
    /// Starts logging for the whole process. When the last is dropped, what waits is written, if that takes no longer
    /// than a second; nothing is after that.
    pub(crate) fn start(settings: &LogSettings, export: Option<&Export>) -> (Self, Rest) {
        let (filter, handle) = reload::Layer::new(settings.filter.clone());
        let thread = NonBlockingBuilder::default().thread_name("respool-log").buffered_lines_limit(LINES_MAX);
        let (writer, guard) = thread.finish(stderr());
        LOST.get_or_init(|| writer.error_counter());
        let json = settings.json;
        let lines = fmt::layer().with_writer(move || Lines::new(writer.clone(), json)).with_ansi(is_coloured());
        let lines = if json { lines.json().boxed() } else { lines.boxed() };
        // The filter is that of the lines: what is exported does not depend on it.
        let mut layers = vec![lines.with_filter(filter).boxed()];
        layers.extend(export.map(Export::layer));
        tracing_subscriber::registry().with(layers).init();
        log_panics();
        (Self(handle), Rest::new(guard))
    }

    /// Puts another filter in force.
    pub(crate) fn refilter(&self, settings: &LogSettings) {
        if let Err(error) = self.0.reload(settings.filter.clone()) {
            tracing::error!(%error, "cannot change log.filter, the old one stays in force");
        }
    }
}

/// Has what a panic says go the way of all lines: in their format, and with nobody who waits for its reader.
fn log_panics() {
    let plain = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !tracing::enabled!(Level::ERROR) {
            return plain(panic);
        }
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| field::display(backtrace));
        tracing::error!(%panic, thread = thread::current().name(), backtrace, "a fault in respool itself");
    }));
}

/// Files, pipes and the journal want text alone. So does an operator who has set `NO_COLOR`.
fn is_coloured() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    #[test]
    fn what_a_panic_says_is_a_line_like_others() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&written);
        let lines = fmt::layer().with_writer(move || Shared(Arc::clone(&to))).json();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            log_panics();
            assert!(panic::catch_unwind(|| panic!("first\nsecond")).is_err());
            drop(panic::take_hook());
        });
        let line: Value = serde_json::from_slice(&written.lock().expect("it is whole")).expect("one object");
        let said = line["fields"]["panic"].as_str().expect("text");
        assert!(said.contains("logs.rs") && said.ends_with("first\nsecond"), "{said}");
        assert_eq!(line["level"], "ERROR");
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("it is whole").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
