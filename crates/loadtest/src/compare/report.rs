//! A comparison as text and as a page.

use std::fmt::Write;

use crate::{
    compare::{Comparison, Row, Table},
    outcome::{Ended, Outcome},
    report::{
        page::{page, preformatted, quantiles, section},
        table::{columns, ms, rate},
    },
};

/// Above this the harness itself may have set the rate.
const BUSY: f64 = 0.97;

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
        "Redis us/op",
        "peak MB",
        "upstream",
        "harness",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(table.rows.iter().filter(|row| !row.rounds.is_empty()).map(row));
    let mut text = columns(&rows);
    for row in &table.rows {
        text += &failures(row);
    }
    text
}

fn row(row: &Row) -> Vec<String> {
    let figures = &row.medians;
    let or_dash = |figure: Option<f64>, show: fn(f64) -> String| figure.map_or_else(|| "-".to_owned(), show);
    vec![
        row.system.clone(),
        rate(figures.rate),
        or_dash(row.rate_to_direct, |ratio| format!("{:.0} %", ratio * 100.0)),
        ms(figures.p50_us),
        ms(figures.p99_us),
        ms(figures.p99_9_us),
        or_dash(figures.system_cpu_us, |us| format!("{us:.2}")),
        or_dash(figures.redis_cpu_us, |us| format!("{us:.2}")),
        or_dash(figures.peak_bytes, |bytes| format!("{:.1}", bytes / 1e6)),
        or_dash(figures.upstream_connections, rate),
        format!("{:.0} %{}", figures.harness_busy * 100.0, if figures.harness_busy > BUSY { " (!)" } else { "" }),
    ]
}

fn failures(row: &Row) -> String {
    let sum = |figure: fn(&Outcome) -> u64| row.rounds.iter().map(|round| figure(&round.outcome)).sum::<u64>();
    let found = [
        (sum(Outcome::wrong_total), "WRONG REPLIES"),
        (sum(|outcome| outcome.error_replies), "error replies"),
        (sum(|outcome| outcome.connections_lost), "connections lost"),
        (sum(|outcome| outcome.unsent), "scheduled operations never sent"),
    ];
    let outcomes = || row.rounds.iter().map(|round| &round.outcome);
    let example = outcomes().find_map(|outcome| {
        let texts = outcome.error_texts.keys().next();
        outcome.wrong_examples.first().or(texts).or(outcome.last_loss.as_ref())
    });
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
            .filter_map(|row| row.rounds.last().map(|round| (row.system.clone(), &round.outcome)))
            .collect();
        section(&table.title, &format!("{}{}", preformatted(&table_text(table)), quantiles(&last)))
    });
    let systems = text(&Comparison {
        systems: comparison.systems.clone(),
        skipped: comparison.skipped.clone(),
        tables: Vec::new(),
        ended: comparison.ended,
    });
    page("Systems compared", &format!("{}{}", preformatted(&systems), plots.collect::<String>()))
}
