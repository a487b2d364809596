//! A page of metrics being written, one after the other, by the library that knows the format.

use std::{borrow::Cow, fmt::Error};

use pool::{Distribution, Listed, Status};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

/// See the module's documentation. Names are without the prefix, and those of counters without `_total`.
pub(super) struct Page<'p, 'e>(pub(super) &'p mut DescriptorEncoder<'e>);

impl Page<'_, '_> {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        self.one(name, help, &ConstCounter::new(value))
    }

    pub(super) fn counter_f64(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.one(name, help, &ConstCounter::new(value))
    }

    pub(super) fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> Result<(), Error> {
        let counters = values.into_iter().map(|(value, count)| (value, ConstCounter::new(count)));
        self.each(name, help, MetricType::Counter, label, counters)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        self.one(name, help, &ConstGauge::new(value))
    }

    pub(super) fn gauges<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> Result<(), Error> {
        let gauges = values.into_iter().map(|(value, count)| (value, ConstGauge::new(as_f64(count))));
        self.each(name, help, MetricType::Gauge, label, gauges)
    }

    /// One for each pool, by its node, login and kind.
    pub(super) fn pools<M: EncodeMetric>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        pools: &[(Status, Listed)],
        metric: impl Fn(&(Status, Listed)) -> M,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for listed in pools {
            let (_, pool) = listed;
            let (node, login) = (pool.control.settings().endpoint.to_string(), pool.key.login.name());
            let (login, kind) = (escaped(login.unwrap_or_default()), pool.key.at.kind().into());
            let labels = [("node", escaped(&node)), ("login", login), ("kind", kind)];
            metric(listed).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// A gauge for each node.
    pub(super) fn nodes(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (String, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (node, value) in values {
            ConstGauge::new(as_f64(value)).encode(family.encode_family(&[("node", escaped(&node))])?)?;
        }
        Ok(())
    }

    fn one(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> Result<(), Error> {
        metric.encode(self.0.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    fn each<'v, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        label: &str,
        metrics: impl Iterator<Item = (&'v str, M)>,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, metric) in metrics {
            metric.encode(family.encode_family(&[(label, escaped(value))])?)?;
        }
        Ok(())
    }

    /// Values are divided by `unit`.
    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Distribution, unit: f64) -> Result<(), Error> {
        write(self.0.encode_descriptor(name, help, None, MetricType::Histogram)?, values, unit)
    }

    /// Likewise, one for each value of a label.
    pub(super) fn histograms<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'static str, &'v Distribution)>,
        unit: f64,
    ) -> Result<(), Error> {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (value, distribution) in values {
            write(family.encode_family(&[(label, value)])?, distribution, unit)?;
        }
        Ok(())
    }
}

/// A label's value as the format wants it, which the library leaves to its callers: users and nodes have the names that
/// somebody gave them (OpenMetrics 1.0, "Escaping").
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return value.into();
    }
    value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n").into()
}

fn write(mut metric: MetricEncoder<'_>, values: &Distribution, unit: f64) -> Result<(), Error> {
    let bound = |bound: Option<u64>| bound.map_or(f64::MAX, |bound| as_f64(bound) / unit);
    let buckets: Vec<_> = values.buckets.iter().map(|(upper, count)| (bound(*upper), *count)).collect();
    metric.encode_histogram::<NoLabelSet>(as_f64(values.sum) / unit, values.count(), &buckets, None)
}

/// Exact up to 2^53, which no count here reaches.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floating point")]
pub(super) fn as_f64(number: u64) -> f64 {
    number as f64
}
