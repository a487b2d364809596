//! Results as text: aligned columns and a load's outcome in words.

use std::fmt::Write;

use crate::measure::{
    outcome::{Ended, Outcome, Times},
    written_keys::WrittenKeys,
};

/// Lines up columns: the first to the left, the others to the right.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            line += &if column == 0 { format!("{cell}{padding}") } else { format!("  {padding}{cell}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A whole number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate with its thousands apart.
pub fn rate(per_second: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are positive and small")]
    count(per_second.round() as u64)
}

/// A time given in microseconds, in milliseconds with three digits that count.
pub fn ms(us: f64) -> String {
    let ms = us / 1e3;
    if ms < 10.0 {
        format!("{ms:.3}")
    } else if ms < 100.0 {
        format!("{ms:.2}")
    } else {
        format!("{ms:.0}")
    }
}

/// The head of a table of [`times`].
pub fn times_head(first: &str) -> Vec<String> {
    [first, "count", "min", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"].map(str::to_owned).to_vec()
}

/// A row of a table of latencies.
pub fn times(name: &str, times: &Times) -> Vec<String> {
    let figures = [
        times.min_us,
        times.mean_us,
        times.p50_us,
        times.p90_us,
        times.p99_us,
        times.p99_9_us,
        times.p99_99_us,
        times.max_us,
    ];
    [name.to_owned(), count(times.count)].into_iter().chain(figures.map(ms)).collect()
}

/// The outcome of one load.
pub fn outcome(outcome: &Outcome) -> String {
    let mut text = format!("{}\n{}\n\n", outcome.target, outcome.load);
    // Writing into a String cannot fail.
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all");
    let wanted = outcome.rate_wanted.map(|wanted| format!(" of {} wanted", rate(wanted))).unwrap_or_default();
    line(format!(
        "{} operations/s{wanted}   ({} answered in {:.2} s, {:.1} MB/s received)",
        rate(outcome.rate),
        count(outcome.operations),
        outcome.seconds,
        outcome.received_per_s / 1e6
    ));
    if outcome.operations_late > 0 {
        line(format!("{} more were answered after that; they count for latency only", count(outcome.operations_late)));
    }
    line(String::new());
    let mut rows = vec![times_head("latency, ms"), times("all", &outcome.latency)];
    if outcome.by_operation.len() > 1 {
        rows.extend(outcome.by_operation.iter().map(|(operation, found)| times(operation.name(), found)));
    }
    rows.extend(outcome.queued.as_ref().map(|found| times("in queue", found)));
    rows.extend(outcome.connecting.as_ref().map(|found| times("connecting", found)));
    rows.extend(outcome.lag.as_ref().map(|found| times("harness lag", found)));
    line(columns(&rows));
    failures(outcome, &mut line);
    keys(&outcome.keys).into_iter().for_each(line);
    text
}

/// What became of the keys that a command has written.
pub fn keys(keys: &WrittenKeys) -> Option<String> {
    if let Some(reason) = &keys.not_removed {
        return Some(format!("KEYS NOT REMOVED: {reason}"));
    }
    match keys.removed {
        Some(removed) => Some(format!("{} keys that begin with `{}` removed again", count(removed), keys.prefix)),
        None if keys.at_most == 0 => None,
        None => Some(format!(
            "up to {} keys that begin with `{}` stay in the target; --clean removes them",
            count(keys.at_most),
            keys.prefix
        )),
    }
}

fn failures(outcome: &Outcome, line: &mut impl FnMut(String)) {
    match outcome.ended {
        Ended::Done => {}
        Ended::Interrupted => line("interrupted: this is what there was until then".to_owned()),
        Ended::Dead => line(format!(
            "the target went away, and this is what there was until then: {}",
            outcome.counts.last_loss.as_deref().unwrap_or("no connection could be made")
        )),
    }
    if outcome.counts.error_replies > 0 {
        line(format!("{} error replies:", count(outcome.counts.error_replies)));
        for (text, times) in &outcome.counts.error_texts {
            line(format!("  {} × {text}", count(*times)));
        }
    }
    if outcome.counts.connections_lost > 0 {
        let why = outcome.counts.last_loss.as_deref().unwrap_or("unknown");
        line(format!("{} connections lost, last: {why}", count(outcome.counts.connections_lost)));
    }
    if outcome.counts.unanswered > 0 {
        line(format!("{} operations not answered", count(outcome.counts.unanswered)));
    }
    if outcome.counts.unsent > 0 {
        line(format!("{} scheduled operations never sent: the target cannot keep up", count(outcome.counts.unsent)));
    }
    if outcome.counts.reconnects > 0 {
        line(format!("{} connections made again", count(outcome.counts.reconnects)));
    }
    if outcome.verify && outcome.counts.wrong.is_empty() {
        let with_warmup = match outcome.operations_warmup {
            0 => String::new(),
            warmup => format!(" ({} operations of the warm-up included)", count(warmup)),
        };
        line(format!("{} replies verified, none wrong{with_warmup}", count(outcome.counts.verified)));
    } else if !outcome.counts.wrong.is_empty() {
        let kinds: Vec<_> =
            outcome.counts.wrong.iter().map(|(wrong, times)| format!("{} {wrong}", count(*times))).collect();
        line(format!("{} WRONG REPLIES: {}", count(outcome.counts.wrong_total()), kinds.join(", ")));
        outcome.counts.wrong_examples.iter().for_each(|example| line(format!("  {example}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!((ms(123.4), ms(12_345.0), ms(123_456.0)), ("0.123".into(), "12.35".into(), "123".into()));
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "10".to_owned()], vec!["long".to_owned(), "7".to_owned()]];
        assert_eq!(columns(&rows), "a     10\nlong   7\n");
    }
}
