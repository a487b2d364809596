//! What is counted, as Prometheus reads it. Looks at everything when it is asked and keeps nothing: no
//! label has more values than there are kinds of things, pools, or users that the configuration names.
//! `config/grafana-dashboard.json` and
//! `config/alerts.yml` go by these names.

use std::{collections::BTreeMap, fmt::Error, fs};

use cluster::Cluster;
use pool::{ClassTotals, Login, Totals, Upstream, WorkerState};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder,
        text::{encode_eof, encode_registry},
    },
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::task::spawn_blocking;

use crate::{
    command::class::Reason,
    console::{
        http::{
            page::{Page, as_f64},
            process::Process,
            source::Source,
        },
        topology,
        views::{Clients, reason_column},
    },
    observe::{logs, sharing::account::UserFigures},
};

const MICROS: f64 = 1e6;

/// The label of all users whom the configuration does not name, so that there are not more labels than it has names.
const OTHERS: &str = "(others)";

/// All metrics in the OpenMetrics text format. Written on a thread of its own: it takes as long as some
/// hundred requests.
pub(crate) async fn text(source: &Source) -> Result<String, Error> {
    let clients = Clients::of(&source.published).await;
    let scrape = Scrape { source: source.clone(), clients };
    spawn_blocking(move || write(scrape)).await.unwrap_or(Err(Error))
}

fn write(scrape: Scrape) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("respool");
    registry.register_collector(Box::new(scrape));
    let mut process = Registry::with_prefix("process");
    process.register_collector(Box::new(Process));
    let mut text = String::new();
    encode_registry(&mut text, &registry)?;
    encode_registry(&mut text, &process)?;
    encode_eof(&mut text)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    source: Source,
    clients: Clients,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let (mut page, source) = (Page(&mut encoder), &self.source);
        let totals = source.operator.pools().totals();
        requests(source, &totals, &mut page)?;
        jobs(source, &totals, &mut page)?;
        clients(source, &self.clients, &mut page)?;
        users(source, &mut page)?;
        connections(source, &mut page)?;
        pools(source, &mut page)?;
        nodes(source, &mut page)?;
        memory(source, &mut page)?;
        process(source, &mut page)
    }
}

/// Classes of requests that went on to the upstream.
fn forwarded(source: &Source, totals: &Totals) -> Vec<(&'static str, ClassTotals)> {
    let shared = totals.classes.iter().map(|(class, totals)| (class.name(), totals.clone()));
    let exclusive =
        Reason::ALL.into_iter().map(|why| (reason_column(why), source.published.counts.exclusive(why).totals()));
    shared.chain(exclusive).collect()
}

fn requests(source: &Source, totals: &Totals, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let forwarded = forwarded(source, totals);
    let own = [("here", source.published.counts.here.totals()), ("refused", source.published.counts.refused.totals())];
    let all = || forwarded.iter().chain(&own);
    let requests = all().map(|(class, totals)| (*class, totals.requests));
    page.counters("requests", "Requests of clients, by class of command", "class", requests)?;
    let replied = all().map(|(class, totals)| (*class, totals.replied));
    page.counters("replies", "Requests to which there was a reply", "class", replied)?;
    let failed = all().map(|(class, totals)| (*class, totals.failed));
    let help = "Requests that got an error of the gateway, or whose client was gone before the reply";
    page.counters("failed_requests", help, "class", failed)?;
    let pending = all().map(|(class, totals)| (*class, totals.under_way()));
    page.gauges("pending_requests", "Requests that have neither a reply nor failed", "class", pending)?;
    let queue = forwarded.iter().map(|(class, totals)| (*class, &totals.queue_time));
    page.histograms(
        "queue_seconds",
        "Time that a job waited for a connection to the upstream",
        "class",
        queue,
        MICROS,
    )?;
    let upstream = forwarded.iter().map(|(class, totals)| (*class, &totals.upstream_time));
    page.histograms(
        "upstream_seconds",
        "Time from a job's connection until its last reply",
        "class",
        upstream,
        MICROS,
    )?;
    let total = forwarded.iter().map(|(class, totals)| (*class, &totals.total_time));
    page.histograms("total_seconds", "Time from a job's arrival until its last reply", "class", total, MICROS)
}

fn jobs(source: &Source, totals: &Totals, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let (status, settings) = (source.operator.pools().status(), source.operator.pool().settings());
    let errors = totals.failures.iter().copied().chain(source.published.counts.faults());
    page.counters("errors", "Errors that jobs and clients met, by kind", "kind", errors)?;
    page.counter("request_bytes", "Bytes of the requests that were sent on shared connections", totals.request_bytes)?;
    page.counter("reply_bytes", "Bytes of the replies on shared connections", totals.reply_bytes)?;
    let traffic = source.operator.pool().traffic();
    let help = "Error replies of the upstream, by the word that they begin with; errors within a reply are not counted";
    page.counters("upstream_errors", help, "code", traffic.errors)?;
    page.counter("upstream_sent_bytes", "Bytes sent to the upstream, logins left out", traffic.sent)?;
    page.counter("upstream_received_bytes", "Bytes received from the upstream, logins left out", traffic.received)?;
    page.counter("retries", "Jobs that were sent to the upstream a second time", status.retried)?;
    page.histogram("job_requests", "Requests of one job", &totals.job_requests, 1.0)?;
    page.histogram("write_jobs", "Jobs of one write to the upstream", &totals.write_jobs, 1.0)?;
    page.histogram("write_requests", "Requests of one write to the upstream", &totals.write_requests, 1.0)?;
    page.gauge("queue_jobs", "Jobs that wait in the queue for a worker", as_f64(status.queued_jobs as u64))?;
    page.gauge("queue_jobs_max", "Jobs that the queue has room for", as_f64(settings.queue_capacity as u64))?;
    page.gauge("paused", "1 while RESPOOL PAUSE holds new jobs back, otherwise 0", as_f64(status.paused.into()))
}

fn clients(source: &Source, clients: &Clients, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let counts = &source.published.counts;
    let idle = clients.total.saturating_sub(clients.active + clients.waiting);
    let by_state = [("active", clients.active), ("waiting", clients.waiting), ("idle", idle)];
    page.gauges(
        "clients",
        "Connected clients, by state",
        "state",
        by_state.map(|(state, count)| (state, count as u64)),
    )?;
    page.gauge(
        "clients_max",
        "Clients that may be connected at the same time",
        as_f64(source.operator.sessions().clients_max as u64),
    )?;
    page.gauge(
        "max_wait_seconds",
        "How long the client that waits longest has waited",
        clients.max_wait.as_secs_f64(),
    )?;
    page.counter("clients_accepted", "Clients that were accepted", counts.clients_accepted.get())?;
    page.counter("client_received_bytes", "Bytes received from clients", counts.bytes_read.get())?;
    page.counter("client_sent_bytes", "Bytes sent to clients", counts.bytes_written.get())?;
    page.counter(
        "clients_refused",
        "Clients that were turned away because clients_max were connected",
        counts.clients_refused.get(),
    )?;
    page.counter(
        "logins_refused",
        "Logins that were refused for a wrong name or password",
        counts.logins_refused.get(),
    )?;
    let overrun = counts.subscribers_overrun.get();
    page.counter("subscribers_overrun", "Subscribers that were closed because they read too slowly", overrun)?;
    page.counter(
        "log_lines_lost",
        "Lines of the log that were not written, because nobody read it",
        logs::logs::lost_lines(),
    )?;
    let subscriptions = counts.subscriptions.get();
    page.gauge(
        "subscriptions",
        "Channels and patterns that the gateway has subscribed to for all clients",
        as_f64(subscriptions as u64),
    )?;
    let by_reason = Reason::ALL.into_iter().map(Reason::name).zip(clients.exclusive.map(|count| count as u64));
    page.gauges("exclusive", "Clients that have an exclusive connection, by reason", "reason", by_reason)
}

/// What each user has that the configuration names, and what all others have together.
fn users(source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let settings = source.operator.sessions();
    let is_named = |name: &str| settings.of_users.name(name) || settings.users.has(name);
    let mut figures: BTreeMap<String, UserFigures> = BTreeMap::new();
    figures.insert(OTHERS.to_owned(), source.published.accounts.past());
    for account in source.published.accounts.all() {
        let label = if is_named(account.name()) { account.name() } else { OTHERS };
        let sum = figures.entry(label.to_owned()).or_default();
        *sum = sum.and(account.figures());
    }
    let each = |figure: fn(&UserFigures) -> u64| figures.iter().map(move |(name, user)| (name.as_str(), figure(user)));
    page.gauges("user_clients", "Clients of each user", "user", each(|user| user.clients as u64))?;
    let help = "Clients beyond the user's clients_max";
    page.counters("user_clients_refused", help, "user", each(|user| user.clients_refused))?;
    page.counters("user_requests", "Requests that went on to the upstream", "user", each(|user| user.requests))?;
    let help = "Requests beyond the user's requests_per_second";
    page.counters("user_requests_refused", help, "user", each(|user| user.requests_refused))?;
    page.counters(
        "user_requests_denied",
        "Requests whose commands are denied",
        "user",
        each(|user| user.requests_denied),
    )
}

fn connections(source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let (pools, settings) = (source.operator.pools(), source.operator.pool().settings());
    let (status, all) = (pools.status(), pools.all());
    let workers: Vec<_> = all.iter().flat_map(|listed| listed.control.workers()).collect();
    let count = |state| workers.iter().filter(|worker| worker.state == state).count() as u64;
    let by_state = WorkerState::ALL.map(|state| (state.name(), count(state)));
    page.gauges("workers", "Workers, by state", "state", by_state)?;
    page.gauge(
        "workers_target",
        "Workers that there should be",
        as_f64(all.iter().map(|listed| listed.control.settings().workers as u64).sum()),
    )?;
    let in_flight: usize = workers.iter().map(|worker| worker.in_flight).sum();
    page.gauge("in_flight", "Requests that workers have sent and that have no reply yet", as_f64(in_flight as u64))?;
    page.gauge(
        "upstream_up",
        "1 while at least one worker is connected to the upstream, otherwise 0",
        as_f64(is_up(&status.upstream).into()),
    )?;
    let lines = [("lent", status.exclusive_lent as u64), ("idle", status.exclusive_idle as u64)];
    page.gauges("exclusive_connections", "Exclusive connections, by state", "state", lines)?;
    page.gauge(
        "exclusive_max",
        "Exclusive connections that there may be",
        as_f64((all.len() * settings.exclusive_max) as u64),
    )?;
    let opened = [("worker", status.opened), ("exclusive", status.exclusive_opened)];
    page.counters("connections_opened", "Connections to the upstream that were opened, by kind", "kind", opened)?;
    page.counter(
        "connection_attempts_failed",
        "Attempts of workers to connect to the upstream that failed",
        status.attempts_failed,
    )?;
    let broken = status.lost.saturating_sub(status.lost_idle);
    let closed = [("broken", broken), ("idle", status.lost_idle), ("retired", status.retired)];
    let help =
        "Connections of workers that ended: broken with requests in flight, lost while idle, or replaced in order";
    page.counters("connections_closed", help, "reason", closed)
}

/// What each pool is at. Counts begin anew with a pool that does. Pools of users are in the sums alone, since there may
/// be thousands.
fn pools(source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let all = source.operator.pools().all().into_iter().filter(|pool| pool.key.login == Login::Configured);
    let all: Vec<_> = all.map(|pool| (pool.control.status(), pool)).collect();
    let up = ("pool_up", "1 while a worker of the pool is connected", MetricType::Gauge);
    page.pools(up, &all, |(status, _)| gauge(u64::from(is_up(&status.upstream))))?;
    let ready = ("pool_ready", "1 while its node is what it should be", MetricType::Gauge);
    page.pools(ready, &all, |(status, _)| gauge(u64::from(matches!(status.upstream, Upstream::Up(_)))))?;
    let queued = ("pool_queue_jobs", "Jobs in its queue", MetricType::Gauge);
    page.pools(queued, &all, |(status, _)| gauge(status.queued_jobs as u64))?;
    let in_flight =
        ("pool_in_flight", "Requests that its workers have sent and that are not answered", MetricType::Gauge);
    page.pools(in_flight, &all, |(_, pool)| {
        gauge(pool.control.workers().iter().map(|worker| worker.in_flight as u64).sum::<u64>())
    })?;
    let requests = ("pool_requests", "Requests of clients on its shared connections", MetricType::Counter);
    page.pools(requests, &all, |(_, pool)| ConstCounter::new(pool.control.totals().together().requests))?;
    let opened = ("pool_connections_opened", "Connections that its workers opened", MetricType::Counter);
    page.pools(opened, &all, |(status, _)| ConstCounter::new(status.opened))?;
    let lost = ("pool_connections_lost", "Connections of its workers that broke", MetricType::Counter);
    page.pools(lost, &all, |(status, _)| ConstCounter::new(status.lost))
}

/// What is known of the nodes, where their primary is followed.
fn nodes(source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    if let Some(cluster) = source.published.cluster.get() {
        return shards(cluster, source, page);
    }
    let Some(topology) = source.published.nodes.topology.borrow().clone() else { return Ok(()) };
    page.gauge("topology_generation", "Primaries that there were since the start", as_f64(topology.generation))?;
    let waits = u64::from(topology.awaited.is_some());
    page.gauge("topology_awaited", "1 while requests wait for a primary", as_f64(waits))?;
    let sentinels = [("up", topology.sentinels_up), ("known", topology.sentinels)];
    let sentinels = sentinels.map(|(state, count)| (state, count as u64));
    page.gauges("sentinels", "Sentinels that answer, and that are known", "state", sentinels)?;
    let proven = u64::from(topology.proven);
    let primary = topology.primary.iter().map(|primary| (primary.to_string(), proven));
    page.nodes("primary_up", "1 while the primary says that it is one", primary)?;
    let linked = topology.replicas.iter().map(|replica| (replica.address.to_string(), u64::from(replica.linked)));
    page.nodes("replica_linked", "1 while the replica follows the primary", linked)?;
    let lags = topology.replicas.iter().filter_map(|replica| Some((replica.address.to_string(), replica.behind?)));
    page.nodes("replica_lag_bytes", "Bytes of the replication stream that the replica lacks", lags)
}

/// What is known of the shards of a cluster.
fn shards(cluster: &Cluster, source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let (map, shards) = (cluster.map(), topology::shards(cluster, &source.operator));
    let generation = as_f64(map.layout().generation);
    page.gauge("topology_generation", "Primaries, or slots of a cluster, that there were since the start", generation)?;
    let uncovered = as_f64(map.layout().uncovered() as u64);
    page.gauge("cluster_slots_uncovered", "Slots of the cluster that no node has", uncovered)?;
    let up =
        shards.iter().map(|shard| (shard.primary.to_string(), u64::from(matches!(shard.upstream, Upstream::Up(_)))));
    page.nodes("primary_up", "1 while the primary says that it is one", up)?;
    let slots = shards.iter().map(|shard| (shard.primary.to_string(), shard.slots as u64));
    page.nodes("cluster_slots", "Slots of the cluster that the primary has", slots)
}

fn is_up(upstream: &Upstream) -> bool {
    matches!(upstream, Upstream::Up(_) | Upstream::Unready { .. })
}

fn gauge(value: u64) -> ConstGauge<f64> {
    ConstGauge::new(as_f64(value))
}

/// What is held against each bound, and the bound.
fn memory(source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let (pool, sessions) = (source.operator.pool(), source.operator.sessions());
    let status = pool.status();
    let held = [
        ("queue", status.queued_bytes as u64),
        ("input", source.published.input.used() as u64),
        ("replies", status.reply_bytes as u64),
    ];
    let help = "Bytes in memory: queued and sent requests, incomplete requests, replies that clients have not read";
    page.gauges("held_bytes", help, "what", held)?;
    let bounds = [
        ("queue", pool.settings().queue_bytes_max as u64),
        ("input", sessions.input_bytes_max as u64),
        ("replies", sessions.replies_bytes_max as u64),
    ];
    page.gauges("held_bytes_max", "Bytes that may be in memory, by the same kinds", "what", bounds)?;
    page.gauge("resident_bytes", "Memory of the process", as_f64(resident_bytes().unwrap_or(0)))
}

fn process(source: &Source, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let generation = source.operator.generation();
    page.gauge("config_generation", "Configurations that have been in force since the start", as_f64(generation))?;
    let refused = source.operator.refused();
    page.counter("config_refused", "Configurations that were refused as wrong", refused)?;
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    page.gauges("build_info", "Always 1; the version is the label", "version", version)?;
    page.gauge(
        "draining",
        "1 while the gateway drains, otherwise 0",
        as_f64(source.published.registry.is_draining().into()),
    )
}

/// As Linux counts it.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}
