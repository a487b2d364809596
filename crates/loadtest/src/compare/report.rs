//! A comparison as text and as a page.

use std::fmt::Write;

use crate::{
    compare::comparison::{Comparison, Row, Table},
    measure::{counts::Counts, outcome::Ended},
    report::{
        page::{page, preformatted, quantiles, section},
        table::{self, columns, ms, rate},
    },
};

/// Above this the harness itself may have set the rate.
const BUSY: f64 = 0.97;
/// In an open loop, above this part of the p99 so may its lateness.
const LATE: f64 = 0.25;

/// All tables.
pub fn text(comparison: &Comparison) -> String {
    let mut text = String::from("Systems, each in front of the same Redis:\n");
    let rows: Vec<_> = comparison.systems.iter().map(|(name, settings)| format!("  {name}: {settings}\n")).collect();
    text += &rows.concat();
    for skipped in &comparison.skipped {
        // Writing into a String cannot fail.
        writeln!(text, "  skipped: {skipped}").expect("a String takes all");
    }
    for table in &comparison.tables {
        text += &format!("\n{}\n({})\n{}", table.title, table.load, table_text(table));
    }
    for (name, keys) in &comparison.keys {
        text += &table::keys(keys).map(|keys| format!("\n{name}: {keys}\n")).unwrap_or_default();
    }
    if comparison.ended == Ended::Interrupted {
        text += "\ninterrupted: this is what there was until then\n";
    }
    text
}

fn table_text(table: &Table) -> String {
    let head = [
        "",
        "rate/s",
        "to direct",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "CPU us/op",
        "CPU x",
        "Redis us/op",
        "Redis x",
        "peak MB",
        "upstream",
        "harness",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(table.rows.iter().filter(|row| !row.rounds.is_empty()).map(row));
    if table.rows.iter().any(|row| row.medians.lag_p99_us.is_some()) {
        rows[0].push("late p99 ms".to_owned());
    }
    let mut text = columns(&rows);
    for row in &table.rows {
        text += &failures(row);
    }
    text
}

fn row(row: &Row) -> Vec<String> {
    let figures = &row.medians;
    let or_dash = |figure: Option<f64>, show: fn(f64) -> String| figure.map_or_else(|| "-".to_owned(), show);
    let times = |ratio: f64| format!("{ratio:.2}");
    let is_late = figures.lag_p99_us.is_some_and(|lag| lag > figures.p99_us * LATE);
    let doubt = if figures.harness_busy > BUSY || is_late { " (!)" } else { "" };
    let cells = [
        row.system.clone(),
        rate(figures.rate),
        or_dash(row.rate_to_direct, |ratio| format!("{:.0} %", ratio * 100.0)),
        ms(figures.p50_us),
        ms(figures.p99_us),
        ms(figures.p99_9_us),
        or_dash(figures.system_cpu_us, |us| format!("{us:.2}")),
        or_dash(row.system_cpu_to_direct, times),
        or_dash(figures.redis_cpu_us, |us| format!("{us:.2}")),
        or_dash(row.redis_cpu_to_direct, times),
        or_dash(figures.peak_bytes, |bytes| format!("{:.1}", bytes / 1e6)),
        or_dash(figures.upstream_connections, rate),
        format!("{:.0} %{doubt}", figures.harness_busy * 100.0),
    ];
    cells.into_iter().chain(figures.lag_p99_us.map(ms)).collect()
}

fn failures(row: &Row) -> String {
    let outcomes = || row.rounds.iter().filter_map(|round| round.outcome.as_ref());
    let sum = |figure: fn(&Counts) -> u64| outcomes().map(|outcome| figure(&outcome.counts)).sum::<u64>();
    let found = [
        (sum(Counts::wrong_total), "WRONG REPLIES"),
        (sum(|counts| counts.error_replies), "error replies"),
        (sum(|counts| counts.connections_lost), "connections lost"),
        (sum(|counts| counts.unsent), "scheduled operations never sent"),
    ];
    let example = outcomes().find_map(|outcome| outcome.counts.example());
    let example = example.map(|example| format!(" ({example})")).unwrap_or_default();
    let found = found.iter().filter(|(count, _)| *count > 0);
    found.map(|(count, what)| format!("{}: {count} {what}{example}\n", row.system)).collect()
}

/// The page: the tables, and the latency of all systems for each workload.
pub fn html(comparison: &Comparison) -> String {
    let plots = comparison.tables.iter().map(|table| {
        let last: Vec<_> = table
            .rows
            .iter()
            .filter_map(|row| Some((row.system.clone(), row.rounds.last()?.outcome.as_ref()?)))
            .collect();
        let plot = if last.is_empty() { String::new() } else { quantiles(&last) };
        section(&table.title, &format!("{}{plot}", preformatted(&table_text(table))))
    });
    let systems = text(&Comparison {
        systems: comparison.systems.clone(),
        skipped: comparison.skipped.clone(),
        tables: Vec::new(),
        ended: comparison.ended,
        keys: Vec::new(),
    });
    page("Systems compared", &format!("{}{}", preformatted(&systems), plots.collect::<String>()))
}
