//! What is counted, as Prometheus reads it. Looks at everything when it is asked and keeps nothing: no
//! label has more values than there are kinds of things.

use std::{fmt::Error, sync::Arc};

use pool::{Distribution, Upstream, WorkerState};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use crate::{command::Reason, context::Context, views::Clients};

const MICROS: f64 = 1e6;

/// All metrics in the OpenMetrics text format.
pub(crate) fn text(context: &Arc<Context>) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("respool");
    registry.register_collector(Box::new(Source(Arc::clone(context))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Source(Arc<Context>);

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut page = Page(&mut encoder);
        jobs(&self.0, &mut page)?;
        clients(&self.0, &mut page)?;
        connections(&self.0, &mut page)?;
        let generation = self.0.operator.generation();
        page.gauge("config_generation", "Configurations in force since the start", as_f64(generation))
    }
}

fn jobs(context: &Context, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let (totals, status, counts) = (context.operator.pool.totals(), context.operator.pool.status(), &context.counts);
    let by_class = [
        ("shared", totals.requests),
        ("exclusive", counts.requests_exclusive.get()),
        ("here", counts.requests_here.get()),
        ("refused", counts.requests_refused.get()),
    ];
    page.counters("requests", "Requests of clients, by class of command", "class", &by_class)?;
    page.counter("replies", "Shared requests that the upstream has replied to", totals.replied)?;
    page.counter("failed_requests", "Shared requests that got an error of the gateway", totals.failed)?;
    page.counters("errors", "Jobs that failed, by kind of error", "kind", &totals.failures)?;
    page.counter("request_bytes", "Bytes of shared requests", totals.request_bytes)?;
    page.counter("reply_bytes", "Bytes of the replies to them", totals.reply_bytes)?;
    page.counter("retries", "Jobs sent again", status.retried)?;
    let seconds = [
        ("queue_seconds", "From a job's beginning until a worker took it", &totals.queue_time),
        ("upstream_seconds", "From there until its last reply", &totals.upstream_time),
        ("total_seconds", "Both together", &totals.total_time),
    ];
    for (name, help, times) in seconds {
        page.histogram(name, help, times, MICROS)?;
    }
    page.histogram("job_requests", "Requests of one job", &totals.job_requests, 1.0)?;
    page.gauge("queue_jobs", "Jobs in the queue", as_f64(status.queued_jobs as u64))?;
    page.gauge("queue_bytes", "Bytes of requests, queued and in flight", as_f64(status.queued_bytes as u64))?;
    page.gauge("paused", "1 while new jobs are held back", f64::from(u8::from(status.paused)))
}

fn clients(context: &Context, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let (clients, counts) = (Clients::of(context), &context.counts);
    let idle = clients.total.saturating_sub(clients.active + clients.waiting);
    let by_state = [("active", clients.active), ("waiting", clients.waiting), ("idle", idle)];
    page.gauges("clients", "Clients, by state", "state", &by_state)?;
    page.gauge("clients_max", "Clients there may be", as_f64(context.operator.sessions().clients_max as u64))?;
    page.gauge("max_wait_seconds", "For how long the first client has waited", clients.max_wait.as_secs_f64())?;
    page.counter("clients_accepted", "Clients let in", counts.clients_accepted.get())?;
    page.counter("clients_refused", "Clients beyond clients_max", counts.clients_refused.get())?;
    let overrun = counts.subscribers_overrun.get();
    page.counter("subscribers_overrun", "Subscribers closed because they were too slow", overrun)?;
    let by_reason: Vec<_> = Reason::ALL.into_iter().map(Reason::name).zip(clients.exclusive).collect();
    page.gauges("exclusive", "Clients with an exclusive connection, by reason", "reason", &by_reason)
}

fn connections(context: &Context, page: &mut Page<'_, '_>) -> Result<(), Error> {
    let pool = &context.operator.pool;
    let (status, workers) = (pool.status(), pool.workers());
    let count = |state| workers.iter().filter(|worker| worker.state == state).count();
    let by_state = WorkerState::ALL.map(|state| (state.name(), count(state)));
    page.gauges("workers", "Workers, by state", "state", &by_state)?;
    let settings = pool.settings();
    page.gauge("workers_target", "Workers there should be", as_f64(settings.workers as u64))?;
    let in_flight: usize = workers.iter().map(|worker| worker.in_flight).sum();
    page.gauge("in_flight", "Requests sent and not answered", as_f64(in_flight as u64))?;
    let up = matches!(status.upstream, Upstream::Up(_));
    page.gauge("upstream_up", "1 while a worker is connected", f64::from(u8::from(up)))?;
    let lines = [("lent", status.exclusive_lent), ("idle", status.exclusive_idle)];
    page.gauges("exclusive_connections", "Exclusive connections, by state", "state", &lines)?;
    page.gauge("exclusive_max", "Exclusive connections there may be", as_f64(settings.exclusive_max as u64))?;
    let opened = [("worker", status.opened), ("exclusive", status.exclusive_opened)];
    page.counters("connections_opened", "Connections to the upstream opened, by kind", "kind", &opened)?;
    page.counter("connections_lost", "Connections of workers that broke", status.lost)
}

/// Exact up to 2^53, which no count here reaches.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floating point")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// Writes one metric after the other.
struct Page<'p, 'e>(&'p mut DescriptorEncoder<'e>);

impl Page<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let metric = ConstCounter::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, count) in values {
            ConstCounter::new(*count).encode(family.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let metric = ConstGauge::new(value);
        metric.encode(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    fn gauges(&mut self, name: &str, help: &str, label: &str, values: &[(&str, usize)]) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, count) in values {
            ConstGauge::new(as_f64(*count as u64)).encode(family.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    }

    /// Values are divided by `unit`.
    fn histogram(&mut self, name: &str, help: &str, values: &Distribution, unit: f64) -> Result<(), Error> {
        let bound = |bound: Option<u64>| bound.map_or(f64::MAX, |bound| as_f64(bound) / unit);
        let buckets: Vec<_> = values.buckets.iter().map(|(upper, count)| (bound(*upper), *count)).collect();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(as_f64(values.sum) / unit, values.count(), &buckets, None)
    }
}
