//! The figures that two results have in common, taken from their JSON.

use serde_json::Value;

/// Figures without a known range that differ by less are taken for the same.
const SAME: f64 = 0.03;

/// A figure in one result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The median, or the only one.
    pub value: f64,
    /// Between which values it was found, or is with 95 % confidence.
    pub range: Option<(f64, f64)>,
}

/// A figure in both.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Of what.
    pub name: String,
    /// What it is and its unit.
    pub unit: &'static str,
    is_more_better: bool,
    /// The first.
    pub before: Reading,
    /// The second.
    pub after: Reading,
}

/// What is compared: the name of a figure in JSON, how it is shown, and whether more of it is better.
type Kind = (&'static str, &'static str, bool);
const OF_A_RUN: [Kind; 4] = [
    ("/rate", "operations/s", true),
    ("/latency/p50_us", "p50 in us", false),
    ("/latency/p99_us", "p99 in us", false),
    ("/latency/p99_9_us", "p99.9 in us", false),
];
const OF_A_SYSTEM: [Kind; 4] = [
    ("rate", "operations/s", true),
    ("p99_us", "p99 in us", false),
    ("system_cpu_us", "processor time in us", false),
    ("redis_cpu_us", "Redis's processor time in us", false),
];

impl Figure {
    /// By which part it is better after: less than nothing if it is worse, nothing if measurements differ as much.
    pub fn gain(&self) -> f64 {
        let (before, after) = (self.before.value, self.after.value);
        let is_same = match (self.before.range, self.after.range) {
            (Some(before), Some(after)) => before.0 <= after.1 && after.0 <= before.1,
            _ => (after - before).abs() <= before.abs() * SAME,
        };
        match (after - before) / before.abs().max(f64::MIN_POSITIVE) {
            _ if is_same => 0.0,
            change if self.is_more_better => change,
            change => -change,
        }
    }

    /// The same in a word.
    pub fn verdict(&self) -> &'static str {
        match self.gain() {
            gain if gain > 0.0 => "better",
            gain if gain < 0.0 => "worse",
            _ => "no difference",
        }
    }

    /// Which direction is better.
    pub fn better(&self) -> &'static str {
        if self.is_more_better { "more" } else { "less" }
    }

    /// A reading as text.
    pub fn shown(&self, reading: Reading) -> String {
        if reading.value >= 1_000.0 { format!("{:.0}", reading.value) } else { format!("{:.2}", reading.value) }
    }
}

/// All figures that two results have in common, in the order of the first.
pub fn figures(before: &Value, after: &Value) -> Vec<Figure> {
    let (tables, curve) = (list(before, "tables"), list(before, "curve"));
    if !tables.is_empty() {
        tables.iter().flat_map(|table| of_table(table, same(after, "tables", table, "title"))).collect()
    } else if !curve.is_empty() {
        curve.iter().filter_map(|pool| of_pool(pool, same(after, "curve", pool, "point")?)).flatten().collect()
    } else {
        let reading =
            |result: &Value, path: &str| Some(Reading { value: result.pointer(path)?.as_f64()?, range: None });
        let kinds = OF_A_RUN.iter();
        kinds.filter_map(|kind| figure("all", kind, reading(before, kind.0), reading(after, kind.0))).collect()
    }
}

fn list<'v>(result: &'v Value, key: &str) -> &'v [Value] {
    result.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The entry of a list that is called like `entry`.
fn same<'v>(result: &'v Value, key: &str, entry: &Value, name: &str) -> Option<&'v Value> {
    list(result, key).iter().find(|other| other.get(name) == entry.get(name))
}

fn figure(name: &str, kind: &Kind, before: Option<Reading>, after: Option<Reading>) -> Option<Figure> {
    let (_, unit, is_more_better) = *kind;
    Some(Figure { name: name.to_owned(), unit, is_more_better, before: before?, after: after? })
}

fn of_table(before: &Value, after: Option<&Value>) -> Vec<Figure> {
    let Some(after) = after else { return Vec::new() };
    let title = before["title"].as_str().unwrap_or_default();
    let of_system = |row: &Value| {
        let other = same(after, "rows", row, "system")?;
        let name = format!("{title}: {}", row["system"].as_str().unwrap_or_default());
        let kinds = OF_A_SYSTEM.iter();
        Some(kinds.filter_map(|kind| figure(&name, kind, of_rounds(row, kind.0), of_rounds(other, kind.0))).collect())
    };
    list(before, "rows").iter().filter_map(of_system).flat_map(|figures: Vec<_>| figures).collect()
}

/// The median of a system, and how far its rounds lie apart if there are several.
fn of_rounds(row: &Value, key: &str) -> Option<Reading> {
    let value = row["medians"][key].as_f64()?;
    let rounds: Vec<_> = list(row, "rounds").iter().filter_map(|round| round["figures"][key].as_f64()).collect();
    let range = (rounds.iter().copied().fold(f64::INFINITY, f64::min), rounds.iter().copied().fold(0.0, f64::max));
    Some(Reading { value, range: (rounds.len() > 1).then_some(range) })
}

fn of_pool(before: &Value, after: &Value) -> Option<Vec<Figure>> {
    let point = |name: &str| before["point"][name].as_u64();
    let name = format!("{} threads, {} workers, depth {}", point("threads")?, point("workers")?, point("depth")?);
    let rate = |pool: &Value| {
        let bound = |index: usize| pool["rate_range"][index].as_f64();
        Some(Reading { value: pool["rate"].as_f64()?, range: bound(0).zip(bound(1)) })
    };
    let p99 = |pool: &Value| Some(Reading { value: pool["p99_ms"].as_f64()?, range: None });
    let found = [
        figure(&name, &("rate", "operations/s", true), rate(before), rate(after)),
        figure(&name, &("p99_ms", "p99 in ms", false), p99(before), p99(after)),
    ];
    Some(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdicts(before: &Value, after: &Value) -> Vec<(String, &'static str)> {
        let found = figures(before, after);
        found.iter().map(|figure| (format!("{}, {}", figure.name, figure.unit), figure.verdict())).collect()
    }

    #[test]
    fn loads_differ_by_more_than_a_few_per_cent_or_not_at_all() {
        let run = |rate: f64, p99: f64| json!({"rate": rate, "latency": {"p99_us": p99}});
        let found = verdicts(&run(100.0, 50.0), &run(102.0, 90.0));
        assert_eq!(found, [("all, operations/s".to_owned(), "no difference"), ("all, p99 in us".to_owned(), "worse")]);
        assert_eq!(verdicts(&run(100.0, 0.0), &run(150.0, 0.0))[0].1, "better");
    }

    #[test]
    fn systems_differ_if_their_rounds_do_not_overlap() {
        let row = |system: &str, rates: [f64; 2]| {
            let rounds = rates.map(|rate| json!({"figures": {"rate": rate}}));
            json!({"system": system, "medians": {"rate": (rates[0] + rates[1]) / 2.0}, "rounds": rounds})
        };
        let of = |rows: Vec<Value>| json!({"tables": [{"title": "c50", "rows": rows}]});
        let before = of(vec![row("a", [90.0, 110.0]), row("b", [90.0, 110.0]), row("gone", [1.0, 1.0])]);
        let after = of(vec![row("b", [120.0, 140.0]), row("a", [105.0, 130.0])]);
        assert_eq!(
            verdicts(&before, &after),
            [("c50: a, operations/s".to_owned(), "no difference"), ("c50: b, operations/s".to_owned(), "better")]
        );
    }

    #[test]
    fn pools_are_compared_one_by_one_and_other_results_not_at_all() {
        let pool = |workers: u64, low: f64, high: f64| {
            let point = json!({"threads": 1, "workers": workers, "depth": 64});
            json!({"point": point, "rate": (low + high) / 2.0, "rate_range": [low, high], "p99_ms": 1.0})
        };
        let before = json!({"curve": [pool(1, 90.0, 100.0), pool(2, 90.0, 100.0)]});
        let after = json!({"curve": [pool(2, 70.0, 80.0)]});
        assert_eq!(verdicts(&before, &after)[0], ("1 threads, 2 workers, depth 64, operations/s".to_owned(), "worse"));
        assert_eq!(verdicts(&before, &after).len(), 2);
        assert!(figures(&before, &json!({"rate": 1.0})).is_empty());
    }
}
