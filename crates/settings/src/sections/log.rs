//! `[log]` and `[otel]`: what is told to the outside, as log lines and as spans.

use crate::typed::section::section;

section! {
    /// `[log]`
    Log {
        /// Which messages are logged: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or several
        /// `target=level` with commas between them.
        filter: String = "info,mini_redis=off".into(),
        /// `text` or `json`. Each message is one line on standard error. Needs a restart.
        format: String = "text".into() => AtStart,
    }
}

section! {
    /// `[otel]`
    Otel {
        /// Where spans go, as OTLP over HTTP: `http://host:4318` of an OpenTelemetry collector. Empty: nowhere. A
        /// session and a job have one span each, without keys and values. A job costs about a microsecond more. A
        /// collector that is slow or absent costs spans and nothing else. Only in builds with the feature `otel`.
        /// Needs a restart.
        endpoint: String = "".into() => AtStart,
        /// The share of jobs and sessions that is exported, from 0 to 1. Needs a restart.
        sample_ratio: f64 = 0.01 => AtStart,
    }
}
