//! `[log]` and `[otel]`: what is told to the outside, as log lines and as spans.

use crate::section::section;

section! {
    /// `[log]`
    Log {
        /// Which messages: a level, or `target=level` directives separated by commas.
        filter: String = "info,mini_redis=off".into(),
        /// `text` or `json`, one line a message, on standard error.
        format: String = "text".into(),
    }
}

section! {
    /// `[otel]`
    Otel {
        /// Where spans go, as OTLP over HTTP: `http://host:4318` of an OpenTelemetry collector; empty for nowhere. One
        /// span a session and one a job, without keys or values. Costs about a microsecond a job; a collector that is
        /// slow or absent costs spans and nothing else. Only in builds with the feature `otel`. Needs a restart.
        endpoint: String = "".into(),
        /// The share of jobs and sessions that is exported, from 0 to 1. Needs a restart.
        sample_ratio: f64 = 0.01,
    }
}
