//! A comparison as text and as a page.

use std::fmt::Write;

use crate::{
    compare::{
        comparison::{Comparison, Row, Table},
        standing::{self, is_yardstick},
    },
    measure::{counts::Counts, outcome::Ended},
    report::{
        about::About,
        bars::{Bar, bars},
        page::{page, preformatted, quantiles, section, wide},
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

/// A column: its head, and what stands there for a system.
type Column = (&'static str, fn(&Row) -> String);

/// Every table has these.
const COLUMNS: [Column; 13] = [
    ("", |row| row.system.clone()),
    ("rate/s", |row| rate(row.medians.rate)),
    ("to direct", |row| or_dash(row.rate_to_direct, |ratio| format!("{:.0} %", ratio * 100.0))),
    ("p50 ms", |row| ms(row.medians.p50_us)),
    ("p99 ms", |row| ms(row.medians.p99_us)),
    ("p99.9 ms", |row| ms(row.medians.p99_9_us)),
    ("CPU us/op", |row| or_dash(row.medians.system_cpu_us, hundredths)),
    ("user us", |row| or_dash(row.medians.system_user_us, hundredths)),
    ("CPU x", |row| or_dash(row.system_cpu_to_direct, hundredths)),
    ("Redis us/op", |row| or_dash(row.medians.redis_cpu_us, hundredths)),
    ("Redis x", |row| or_dash(row.redis_cpu_to_direct, hundredths)),
    ("peak MB", |row| or_dash(row.medians.peak_bytes, |bytes| format!("{:.1}", bytes / 1e6))),
    ("upstream", |row| or_dash(row.medians.upstream_connections, rate)),
];
/// Those in which the floor takes part have this.
const FLOOR: Column = ("CPU/floor", |row| or_dash(row.cpu_to_floor, hundredths));
/// And with an open loop, in which latencies are of the same rate, these.
const OPEN_FLOOR: [Column; 2] = [
    ("p50/floor", |row| or_dash(row.p50_to_floor, hundredths)),
    ("p99/floor", |row| or_dash(row.p99_to_floor, hundredths)),
];
const HARNESS: Column = ("harness", |row| format!("{:.0} %{}", row.medians.harness_busy * 100.0, doubt(row)));
const LATENESS: Column = ("late p99 ms", |row| or_dash(row.medians.lag_p99_us, ms));

fn table_text(table: &Table) -> String {
    let has = |figure: fn(&Row) -> Option<f64>| table.rows.iter().any(|row| figure(row).is_some());
    let is_open = has(|row| row.medians.lag_p99_us);
    let mut shown = COLUMNS.to_vec();
    if has(|row| row.cpu_to_floor) {
        shown.push(FLOOR);
        shown.extend(OPEN_FLOOR.iter().filter(|_| is_open));
    }
    shown.push(HARNESS);
    shown.extend(is_open.then_some(LATENESS));
    let mut rows = vec![shown.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>()];
    rows.extend(measured(table).map(|row| shown.iter().map(|(_, cell)| cell(row)).collect()));
    let mut text = columns(&rows);
    for row in &table.rows {
        text += &failures(row);
    }
    text
}

fn or_dash(figure: Option<f64>, show: fn(f64) -> String) -> String {
    figure.map_or_else(|| "-".to_owned(), show)
}

fn hundredths(figure: f64) -> String {
    format!("{figure:.2}")
}

/// A mark where the harness may have set the figures itself.
fn doubt(row: &Row) -> &'static str {
    let figures = &row.medians;
    let is_late = figures.lag_p99_us.is_some_and(|lag| lag > figures.p99_us * LATE);
    if figures.harness_busy > BUSY || is_late { " (!)" } else { "" }
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

/// The rate of each system; the fastest between clients and Redis is marked.
fn rates(table: &Table) -> String {
    let fastest = standing::fastest(table).map(|row| row.system.as_str());
    let bar = |row: &Row| {
        let to_direct = row.rate_to_direct.map(|ratio| format!(", {:.0} % of direct", ratio * 100.0));
        let of_rounds = || row.rounds.iter().map(|round| round.figures.rate);
        Bar {
            name: row.system.clone(),
            figure: row.medians.rate,
            text: format!("{}/s{}", rate(row.medians.rate), to_direct.unwrap_or_default()),
            range: Some((of_rounds().fold(f64::INFINITY, f64::min), of_rounds().fold(0.0, f64::max))),
            is_marked: fastest == Some(&row.system),
        }
    };
    bars(
        "operations a second (more is better; the line spans the rounds)",
        &measured(table).map(bar).collect::<Vec<_>>(),
    )
}

/// What one operation costs the system and the Redis behind it.
fn processor_time(table: &Table) -> String {
    let cost = |row: &Row, whose: &str, figure: Option<f64>, is_marked| {
        Some(Bar {
            name: format!("{}: {whose}", row.system),
            figure: figure?,
            text: format!("{:.2} us", figure?),
            range: None,
            is_marked,
        })
    };
    let of_row = |row: &Row| {
        let system = cost(row, "itself", row.medians.system_cpu_us, !is_yardstick(&row.system));
        [system, cost(row, "Redis", row.medians.redis_cpu_us, false)]
    };
    let shown: Vec<_> = measured(table).flat_map(of_row).flatten().collect();
    if shown.is_empty() { String::new() } else { bars("processor time of an operation in us (less is better)", &shown) }
}

fn measured(table: &Table) -> impl Iterator<Item = &Row> {
    table.rows.iter().filter(|row| !row.rounds.is_empty())
}

/// The page: who is faster and at what cost, and for each workload bars, the latency of all systems and the table.
pub fn html(comparison: &Comparison, about: &About) -> String {
    let plots = comparison.tables.iter().map(|table| {
        let last: Vec<_> = table
            .rows
            .iter()
            .filter_map(|row| Some((row.system.clone(), row.rounds.last()?.outcome.as_ref()?)))
            .collect();
        let plot = if last.is_empty() { String::new() } else { quantiles(&last) };
        let charts = [rates(table), processor_time(table), plot].concat();
        section(&table.title, &format!("{}{}", wide(&charts), preformatted(&table_text(table))))
    });
    let systems = text(&Comparison {
        systems: comparison.systems.clone(),
        skipped: comparison.skipped.clone(),
        tables: Vec::new(),
        ended: comparison.ended,
        keys: Vec::new(),
    });
    let body = format!("{}{}", plots.collect::<String>(), preformatted(&systems));
    page("Systems compared", &standing::answer(comparison), about, &body)
}
