//! What the console shows, with PgBouncer's names where it has the like: `cl_` for clients, `sv_` for
//! connections to the upstream.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use pool::{BurstClass, ClassTotals, Distribution, Listed, Stage, Status, Upstream, WorkerState};
use settings::{Change, DEFAULT_USER};
use tokio::task::yield_now;

use crate::{
    command::class::Reason,
    config::{operator::Operator, outcome::Outcome},
    console::rows::{Cell, Row, number, text},
    observe::{
        logs,
        published::Published,
        registry::{CLIENTS_AT_A_TIME, Entry},
        requests::slow_log::SlowBurst,
        sharing::account::UserFigures,
    },
};

/// As long as a worker has patience with a connection at least: a node that answers at all answers sooner, unless it holds
/// the request back.
const HELD_FROM: Duration = Duration::from_millis(30);

/// How many clients wait, and for how long the first of them.
// Open: a plain value, counted here and shown by whoever asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clients {
    pub(crate) total: usize,
    pub(crate) active: usize,
    pub(crate) waiting: usize,
    pub(crate) max_wait: Duration,
    /// In a request that blocks.
    pub(crate) blocked: usize,
    /// Of the others those that have waited for [so long](HELD_FROM).
    pub(crate) held: usize,
    pub(crate) tracking: usize,
    pub(crate) subscribed: usize,
    /// In the order of [`Reason::ALL`].
    pub(crate) exclusive: [usize; Reason::ALL.len()],
}

impl Clients {
    /// Looks at all clients, a few at a time.
    pub(crate) async fn of(published: &Published) -> Self {
        let mut clients = Self::default();
        for some in published.registry.all().chunks(CLIENTS_AT_A_TIME) {
            clients.add(some);
            yield_now().await;
        }
        clients
    }

    /// How many are blocked in the upstream, which says so of `connections`. If these are more than there are requests that
    /// block, it holds others back as well: by a pause, and with them what is behind them on the same connection.
    pub(crate) fn blocked_of(&self, connections: usize) -> usize {
        if connections > self.blocked { self.blocked + self.held } else { connections }
    }

    fn add(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            self.total += 1;
            let (exclusive, tracks, listens) =
                entry.look(|details| (details.exclusive, details.tracking.is_some(), details.subscriptions != [0; 3]));
            self.tracking += usize::from(tracks);
            self.subscribed += usize::from(listens);
            if let Some(reason) = exclusive {
                self.exclusive[reason as usize] += 1;
            }
            let stage = entry.stage();
            match stage {
                _ if entry.blocked().is_blocked() => self.blocked += 1,
                Stage::Waiting(age) | Stage::InFlight(age) => self.held += usize::from(age >= HELD_FROM),
                Stage::Idle => {}
            }
            match stage {
                Stage::Waiting(age) => {
                    self.waiting += 1;
                    self.max_wait = self.max_wait.max(age);
                }
                Stage::InFlight(_) => self.active += 1,
                Stage::Idle if exclusive.is_some() => self.active += 1,
                Stage::Idle => {}
            }
        }
    }
}

/// One word for the pool's condition.
pub(crate) fn condition(status: &Status) -> &'static str {
    match &status.upstream {
        _ if status.paused => "paused",
        _ if status.held.is_some() => "waiting",
        Upstream::Up(_) => "up",
        Upstream::Connecting => "connecting",
        Upstream::Unready { .. } => "unready",
        Upstream::Down(_) => "down",
    }
}

fn reason(status: &Status) -> Option<&str> {
    match (&status.held, &status.upstream) {
        (Some(reason), _) | (None, Upstream::Down(reason) | Upstream::Unready { reason, .. }) => Some(reason),
        (None, Upstream::Up(_) | Upstream::Connecting) => None,
    }
}

/// `RESPOOL POOLS`: a row for each pool, that of the configured upstream first, and the kind of each other one. What counts
/// for the whole process, such as clients, stands in that one alone.
pub(crate) fn pools(operator: &Operator, clients: &Clients) -> Vec<Row> {
    let all = operator.pools().all();
    let others = all.iter().skip(1).map(|listed| {
        let mut row = pool(listed, None);
        row.insert(0, ("kind", text(listed.key.at.kind())));
        row
    });
    let mut rows: Vec<Row> = all.first().map(|first| pool(first, Some(clients))).into_iter().chain(others).collect();
    if let Some(first) = rows.first_mut() {
        first.insert(0, ("upstream", text(operator.settings().session.upstream)));
    }
    rows
}

fn pool(listed: &Listed, clients: Option<&Clients>) -> Row {
    let Listed { key, control } = listed;
    let (status, workers, settings) = (control.status(), control.workers(), control.settings());
    let in_state = |state| number(workers.iter().filter(|worker| worker.state == state).count());
    let mut row = vec![
        ("node", text(settings.endpoint.to_string())),
        ("login", text(key.login.name().unwrap_or_default())),
        ("state", text(condition(&status))),
    ];
    row.extend(clients.into_iter().flat_map(|clients| {
        let idle = clients.total.saturating_sub(clients.active + clients.waiting);
        [("cl_active", clients.active), ("cl_waiting", clients.waiting), ("cl_idle", idle)]
            .map(|(name, count)| (name, number(count)))
    }));
    row.extend([
        ("sv_active", in_state(WorkerState::Active)),
        ("sv_idle", in_state(WorkerState::Idle)),
        ("sv_login", in_state(WorkerState::Login)),
        ("sv_closing", in_state(WorkerState::Closing)),
        ("sv_target", number(settings.workers)),
    ]);
    row.extend(clients.into_iter().flat_map(|clients| {
        let wait = clients.max_wait;
        [
            ("maxwait", number(wait.as_secs())),
            ("maxwait_us", number(wait.subsec_micros())),
            ("queue_bytes", number(status.queued_bytes)),
        ]
    }));
    row.extend([
        ("queue_jobs", number(status.queued_jobs)),
        ("in_flight", number(workers.iter().map(|worker| worker.in_flight).sum::<usize>())),
        ("exclusive_lent", number(status.exclusive_lent)),
        ("exclusive_idle", number(status.exclusive_idle)),
        ("exclusive_max", number(settings.exclusive_max)),
    ]);
    row.extend(clients.into_iter().flat_map(|clients| {
        Reason::ALL.iter().zip(clients.exclusive).map(|(reason, count)| (reason_column(*reason), number(count)))
    }));
    row.extend([
        ("opened", number(status.opened)),
        ("lost", number(status.lost)),
        ("exclusive_opened", number(status.exclusive_opened)),
        ("retried", number(status.retried)),
    ]);
    row.extend(reason(&status).map(|reason| ("reason", text(reason.to_string()))));
    row
}

/// One of `RESPOOL CLIENTS`.
pub(crate) fn client(entry: &Entry) -> Row {
    let details = entry.details();
    let (state, wait) = match entry.stage() {
        Stage::Waiting(age) => ("waiting", age),
        Stage::InFlight(_) => ("active", Duration::ZERO),
        Stage::Idle if details.exclusive.is_some() => ("active", Duration::ZERO),
        Stage::Idle => ("idle", Duration::ZERO),
    };
    vec![
        ("user", text(details.user.as_deref().unwrap_or(DEFAULT_USER))),
        ("database", number(details.db)),
        ("state", text(state)),
        ("addr", text(entry.address().host())),
        ("port", number(entry.address().port())),
        ("wait", number(wait.as_secs())),
        ("wait_us", number(wait.subsec_micros())),
        ("application_name", text(String::from_utf8_lossy(&details.name))),
        ("id", number(entry.id())),
        ("exclusive", text(details.exclusive.map_or("", Reason::name))),
        ("resp", number(details.protocol.version())),
        ("connected_s", number(entry.since().elapsed().as_secs())),
    ]
}

/// `RESPOOL USERS`. A bound of 0 is none.
pub(crate) fn users(operator: &Operator, published: &Published) -> Vec<Row> {
    let limits = &operator.sessions().of_users;
    let accounts = published.accounts.all();
    let there: BTreeMap<&str, UserFigures> =
        accounts.iter().map(|account| (&**account.name(), account.figures())).collect();
    let named = limits.names().filter(|name| !there.contains_key(name)).map(|name| (name, UserFigures::default()));
    let all: BTreeMap<&str, UserFigures> = there.iter().map(|(name, figures)| (*name, *figures)).chain(named).collect();
    let row = |(name, figures): (&str, UserFigures)| {
        let of_user = limits.of(name);
        vec![
            ("user", text(name)),
            ("clients", number(figures.clients)),
            ("clients_max", number(of_user.clients_max.unwrap_or(0))),
            ("clients_refused", number(figures.clients_refused)),
            ("requests", number(figures.requests)),
            ("requests_per_second", number(of_user.requests_per_second.map_or(0, NonZeroU32::get))),
            ("requests_refused", number(figures.requests_refused)),
            ("requests_denied", number(figures.requests_denied)),
        ]
    };
    all.into_iter().map(row).collect()
}

/// `RESPOOL WORKERS`, pool by pool.
pub(crate) fn workers(operator: &Operator) -> Vec<Row> {
    operator.pools().all().iter().flat_map(workers_of).collect()
}

fn workers_of(listed: &Listed) -> Vec<Row> {
    let node = listed.control.settings().endpoint.to_string();
    let row = |worker: &pool::WorkerStatus| {
        vec![
            ("name", text(format!("respool-worker-{}", worker.number))),
            ("state", text(worker.state.name())),
            ("in_flight", number(worker.in_flight)),
            ("requests", number(worker.requests)),
            ("opened", number(worker.opened)),
            ("connected_s", number(worker.connected_for.map_or(0, |age| age.as_secs()))),
            ("node", text(node.as_str())),
            ("login", text(listed.key.login.name().unwrap_or_default())),
        ]
    };
    listed.control.workers().iter().map(row).collect()
}

/// `RESPOOL STATS`. Times in microseconds, of jobs on shared connections.
pub(crate) fn stats(operator: &Operator, published: &Published) -> Row {
    let (totals, status, counts) = (operator.pools().totals(), operator.pools().status(), &published.counts);
    let shared = totals.together();
    let exclusive = Reason::ALL.map(|reason| counts.exclusive(reason).totals());
    let sum = |count: fn(&ClassTotals) -> u64| number(exclusive.iter().map(count).sum::<u64>());
    let mean = |times: &Distribution| number(times.sum.checked_div(times.count()).unwrap_or(0));
    let mut row = vec![
        ("total_query_count", number(shared.requests)),
        ("total_replied", number(shared.replied)),
        ("total_failed", number(shared.failed)),
        ("total_received", number(totals.request_bytes)),
        ("total_sent", number(totals.reply_bytes)),
        ("total_wait_time", number(shared.queue_time.sum)),
        ("total_query_time", number(shared.upstream_time.sum)),
        ("avg_wait_time", mean(&shared.queue_time)),
        ("avg_query_time", mean(&shared.upstream_time)),
        ("avg_batch", mean(&totals.job_requests)),
        ("avg_write_jobs", mean(&totals.write_jobs)),
        ("avg_write_requests", mean(&totals.write_requests)),
    ];
    row.extend(totals.classes.iter().map(|(class, totals)| (column(*class), number(totals.requests))));
    row.extend([
        ("requests_exclusive", sum(|totals| totals.requests)),
        ("failed_exclusive", sum(|totals| totals.failed)),
        ("requests_here", number(counts.here.totals().requests)),
        ("requests_refused", number(counts.refused.totals().requests)),
        ("clients_accepted", number(counts.clients_accepted.get())),
        ("clients_refused", number(counts.clients_refused.get())),
        ("logins_refused", number(counts.logins_refused.get())),
        ("subscribers_overrun", number(counts.subscribers_overrun.get())),
        ("log_lines_lost", number(logs::logs::lost_lines())),
        ("opened", number(status.opened)),
        ("lost", number(status.lost)),
        ("lost_idle", number(status.lost_idle)),
        ("retired", number(status.retired)),
        ("attempts_failed", number(status.attempts_failed)),
        ("retried", number(status.retried)),
        ("config_generation", number(operator.generation())),
    ]);
    row.extend(totals.failures.into_iter().chain(counts.faults()).map(|(kind, count)| (kind, number(count))));
    row
}

/// The column of a reason, in `RESPOOL POOLS` and in metrics.
pub(crate) fn reason_column(reason: Reason) -> &'static str {
    match reason {
        Reason::Transaction => "exclusive_transaction",
        Reason::Watch => "exclusive_watch",
        Reason::Blocking => "exclusive_blocking",
        Reason::Wait => "exclusive_wait",
        Reason::PubSub => "exclusive_pubsub",
        Reason::Monitor => "exclusive_monitor",
        Reason::Tracking => "exclusive_tracking",
        Reason::NoTouch => "exclusive_no_touch",
        Reason::ImportSource => "exclusive_import_source",
        Reason::Other => "exclusive_other",
    }
}

fn column(class: BurstClass) -> &'static str {
    match class {
        BurstClass::Read => "requests_read",
        BurstClass::Write => "requests_write",
        BurstClass::Transaction => "requests_transaction",
    }
}

/// `RESPOOL RELOAD` and `RESPOOL CONFIG SET`.
pub(crate) fn outcome(outcome: &Outcome) -> Row {
    let list = |changes: &[Change]| Cell::List(changes.iter().map(Change::to_string).collect());
    vec![
        ("applied", list(&outcome.applied)),
        ("needs_restart", list(&outcome.needs_restart)),
        ("warnings", Cell::List(outcome.warnings.clone())),
        ("unchanged", number(outcome.unchanged)),
        ("generation", number(outcome.generation)),
    ]
}

/// One of `RESPOOL SLOWLOG GET`.
pub(crate) fn slow_burst(burst: &SlowBurst) -> Row {
    vec![
        ("id", number(burst.id)),
        ("time", number(burst.time)),
        ("total_us", number(burst.spent.total_us)),
        ("queue_us", number(burst.spent.queue_us)),
        ("upstream_us", number(burst.spent.upstream_us())),
        ("requests", number(burst.requests)),
        ("command", Cell::List(burst.args.clone())),
        ("addr", text(burst.address.as_str())),
        ("name", text(burst.name.as_str())),
    ]
}
