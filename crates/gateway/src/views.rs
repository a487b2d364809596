//! What the console shows, with PgBouncer's names where it has the like: `cl_` for clients, `sv_` for
//! connections to the upstream.

use std::time::Duration;

use pool::{Distribution, Stage, Status, Upstream, WorkerState};

use crate::{
    command::Reason,
    context::Context,
    operator::Outcome,
    registry::Entry,
    rows::{Cell, Row, number, text},
};

/// How many clients wait, and for how long the first of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clients {
    pub(crate) total: usize,
    pub(crate) active: usize,
    pub(crate) waiting: usize,
    pub(crate) max_wait: Duration,
    /// In the order of [`Reason::ALL`].
    pub(crate) exclusive: [usize; Reason::ALL.len()],
}

impl Clients {
    pub(crate) fn of(context: &Context) -> Self {
        let mut clients = Self::default();
        for entry in context.registry.all() {
            clients.total += 1;
            let exclusive = entry.details().exclusive;
            if let Some(index) = Reason::ALL.iter().position(|reason| Some(*reason) == exclusive) {
                clients.exclusive[index] += 1;
            }
            match entry.progress.stage() {
                Stage::Waiting(age) => {
                    clients.waiting += 1;
                    clients.max_wait = clients.max_wait.max(age);
                }
                Stage::InFlight(_) => clients.active += 1,
                Stage::Idle if exclusive.is_some() => clients.active += 1,
                Stage::Idle => {}
            }
        }
        clients
    }
}

/// One word for the pool's condition.
pub(crate) fn condition(status: &Status) -> &'static str {
    match &status.upstream {
        _ if status.paused => "paused",
        Upstream::Up(_) => "up",
        Upstream::Connecting => "connecting",
        Upstream::Down(_) => "down",
    }
}

/// `RESPOOL POOLS`.
pub(crate) fn pools(context: &Context) -> Vec<Row> {
    let pool = &context.operator.pool;
    let (status, workers, clients) = (pool.status(), pool.workers(), Clients::of(context));
    let settings = context.operator.settings();
    let in_state = |state| number(workers.iter().filter(|worker| worker.state == state).count());
    let mut row = vec![
        ("upstream", text(settings.session.upstream)),
        ("state", text(condition(&status))),
        ("cl_active", number(clients.active)),
        ("cl_waiting", number(clients.waiting)),
        ("cl_idle", number(clients.total.saturating_sub(clients.active + clients.waiting))),
        ("sv_active", in_state(WorkerState::Active)),
        ("sv_idle", in_state(WorkerState::Idle)),
        ("sv_login", in_state(WorkerState::Login)),
        ("sv_closing", in_state(WorkerState::Closing)),
        ("sv_target", number(settings.pool.workers)),
        ("maxwait", number(clients.max_wait.as_secs())),
        ("maxwait_us", number(clients.max_wait.subsec_micros())),
        ("queue_jobs", number(status.queued_jobs)),
        ("queue_bytes", number(status.queued_bytes)),
        ("in_flight", number(workers.iter().map(|worker| worker.in_flight).sum::<usize>())),
        ("exclusive_lent", number(status.exclusive_lent)),
        ("exclusive_idle", number(status.exclusive_idle)),
        ("exclusive_max", number(settings.pool.exclusive_max)),
    ];
    row.extend(Reason::ALL.iter().zip(clients.exclusive).map(|(reason, count)| (reason.column(), number(count))));
    row.extend([
        ("opened", number(status.opened)),
        ("lost", number(status.lost)),
        ("exclusive_opened", number(status.exclusive_opened)),
        ("retried", number(status.retried)),
    ]);
    if let Upstream::Down(reason) = &status.upstream {
        row.push(("reason", text(reason.to_string())));
    }
    vec![row]
}

/// `RESPOOL CLIENTS`.
pub(crate) fn clients(context: &Context) -> Vec<Row> {
    context.registry.all().iter().map(|entry| client(entry)).collect()
}

fn client(entry: &Entry) -> Row {
    let details = entry.details();
    let (state, wait) = match entry.progress.stage() {
        Stage::Waiting(age) => ("waiting", age),
        Stage::InFlight(_) => ("active", Duration::ZERO),
        Stage::Idle if details.exclusive.is_some() => ("exclusive", Duration::ZERO),
        Stage::Idle => ("idle", Duration::ZERO),
    };
    vec![
        ("id", number(entry.id)),
        ("user", text(details.user.unwrap_or_default())),
        ("name", text(String::from_utf8_lossy(&details.name))),
        ("database", number(details.db)),
        ("state", text(state)),
        ("addr", text(entry.address.to_string())),
        ("wait_us", number(wait.as_micros())),
        ("exclusive", text(details.exclusive.map_or("", Reason::name))),
        ("resp", number(details.protocol.version())),
        ("connected_s", number(entry.since.elapsed().as_secs())),
    ]
}

/// `RESPOOL WORKERS`.
pub(crate) fn workers(context: &Context) -> Vec<Row> {
    let workers = context.operator.pool.workers();
    let row = |worker: &pool::WorkerStatus| {
        vec![
            ("name", text(format!("respool-worker-{}", worker.number))),
            ("state", text(worker.state.name())),
            ("in_flight", number(worker.in_flight)),
            ("requests", number(worker.requests)),
            ("opened", number(worker.opened)),
            ("connected_s", number(worker.connected_for.map_or(0, |age| age.as_secs()))),
        ]
    };
    workers.iter().map(row).collect()
}

/// `RESPOOL STATS`.
pub(crate) fn stats(context: &Context) -> Row {
    let (totals, status, counts) = (context.operator.pool.totals(), context.operator.pool.status(), &context.counts);
    let mean = |times: &Distribution| number(times.sum.checked_div(times.count()).unwrap_or(0));
    let mut row = vec![
        ("total_query_count", number(totals.requests)),
        ("total_replied", number(totals.replied)),
        ("total_failed", number(totals.failed)),
        ("total_received", number(totals.request_bytes)),
        ("total_sent", number(totals.reply_bytes)),
        ("total_wait_time", number(totals.queue_time.sum)),
        ("total_query_time", number(totals.upstream_time.sum)),
        ("avg_wait_time", mean(&totals.queue_time)),
        ("avg_query_time", mean(&totals.upstream_time)),
        ("avg_batch", mean(&totals.job_requests)),
        ("requests_here", number(counts.requests_here.get())),
        ("requests_exclusive", number(counts.requests_exclusive.get())),
        ("requests_refused", number(counts.requests_refused.get())),
        ("clients_accepted", number(counts.clients_accepted.get())),
        ("clients_refused", number(counts.clients_refused.get())),
        ("subscribers_overrun", number(counts.subscribers_overrun.get())),
        ("opened", number(status.opened)),
        ("lost", number(status.lost)),
        ("retried", number(status.retried)),
        ("config_generation", number(context.operator.generation())),
    ];
    row.extend(totals.failures.into_iter().map(|(kind, count)| (kind, number(count))));
    row
}

/// `RESPOOL RELOAD` and `RESPOOL CONFIG SET`.
pub(crate) fn outcome(outcome: Outcome) -> Row {
    vec![
        ("generation", number(outcome.generation)),
        ("applied", Cell::List(outcome.applied)),
        ("needs_restart", Cell::List(outcome.needs_restart)),
        ("unchanged", Cell::List(outcome.unchanged)),
    ]
}
