//! Spans of `tracing`: one for a client's session, at level debug, and one for each job, at level trace, with
//! where its time went. Neither holds keys or values. While nobody asks for them a job pays for looking at
//! the level, which is one load.

use pool::{Burst, Caller, JobError, Spent};
use tracing::{Instrument, Span, debug_span, field::Empty, trace_span};

use crate::observe::address::Address;

/// What log filters and exports call them, wherever this file stands.
pub(crate) const TARGET: &str = "respool::spans";

/// From a client's coming to its going.
pub(crate) fn session(client: u64, address: &Address) -> Span {
    debug_span!(target: TARGET, "session", client, %address)
}

/// Whether anybody wants to see spans of jobs: one load, as a rule.
pub(crate) fn are_wanted() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::TRACE)
}

/// One job of a client, if anybody wants to see it. No part of the session's span, which may last for weeks.
pub(crate) fn job(client: u64, burst: &Burst) -> Option<Span> {
    let (requests, bytes) = (burst.replies_due, burst.requests.len());
    let span = trace_span!(
        target: TARGET,
        parent: None,
        "job",
        client,
        requests,
        bytes,
        queue_us = Empty,
        upstream_us = Empty,
        failure = Empty
    );
    (!span.is_disabled()).then_some(span)
}

/// Has a job executed within its span.
pub(crate) async fn execute(caller: &mut Caller, burst: &mut Burst, span: Span) -> Result<(), JobError> {
    let result = caller.execute(burst).instrument(span.clone()).await;
    done(&span, caller.spent(), result.as_ref().err());
    result
}

/// Writes into a job's span what became of it.
pub(crate) fn done(span: &Span, spent: Spent, failure: Option<&JobError>) {
    span.record("queue_us", spent.queue_us).record("upstream_us", spent.upstream_us());
    if let Some(failure) = failure {
        span.record("failure", failure.kind());
    }
    tracing::trace!(target: TARGET, parent: span, "job done");
}
