//! Logging: set up once, on standard error, as text or JSON; what is logged can change meanwhile. The spans that
//! are exported take the same way in. A thread of its own writes the lines, because whoever reads them may stall, and
//! nobody else is to wait for that: lines are lost then, and counted.

use std::{
    io::{IsTerminal, Result, Write, stderr},
    sync::OnceLock,
};

use settings::LogSettings;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::observe::export::Export;

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
    /// Starts logging for the whole process. When the guard is dropped, what waits is written, if that takes no longer
    /// than a second; nothing is after that.
    pub(crate) fn start(settings: &LogSettings, export: Option<&Export>) -> (Self, WorkerGuard) {
        let (filter, handle) = reload::Layer::new(settings.filter.clone());
        let thread = NonBlockingBuilder::default().thread_name("respool-log").buffered_lines_limit(LINES_MAX);
        let (writer, guard) = thread.finish(OneLine(stderr()));
        LOST.get_or_init(|| writer.error_counter());
        let lines = fmt::layer().with_writer(writer).with_ansi(is_coloured());
        let lines = if settings.json { lines.json().boxed() } else { lines.boxed() };
        // The filter is that of the lines: what is exported does not depend on it.
        let mut layers = vec![lines.with_filter(filter).boxed()];
        layers.extend(export.map(Export::layer));
        tracing_subscriber::registry().with(layers).init();
        (Self(handle), guard)
    }

    /// Puts another filter in force.
    pub(crate) fn refilter(&self, settings: &LogSettings) {
        if let Err(error) = self.0.reload(settings.filter.clone()) {
            tracing::error!(%error, "cannot change log.filter, the old one stays in force");
        }
    }
}

/// Writes a message, which comes as a whole, in one line: texts of others (a wrong value, an upstream's error) cannot
/// begin a line of their own.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, message: &[u8]) -> Result<usize> {
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        if !line.iter().any(|byte| is_break(*byte)) {
            return self.0.write(message);
        }
        let mut escaped = Vec::with_capacity(message.len() + 16);
        for byte in line {
            if is_break(*byte) {
                escaped.extend(byte.escape_ascii());
            } else {
                escaped.push(*byte);
            }
        }
        escaped.extend(&message[line.len()..]);
        self.0.write_all(&escaped)?;
        Ok(message.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

/// Control characters, but for the one that begins a colour, which the formatter escapes in what it is given.
fn is_break(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\x1b'
}

/// Files, pipes and the journal want text alone. So does an operator who has set `NO_COLOR`.
fn is_coloured() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
