//! What a comparison says first: who is the fastest between clients and Redis, what that costs, and how it was set.

use crate::{
    compare::comparison::{Comparison, Row, Table},
    report::plot::escape,
};

/// Whether a system only shows what others can be measured by: Redis alone, and what nobody can do better.
pub fn is_yardstick(system: &str) -> bool {
    matches!(system, "direct" | "floor" | "bare")
}

/// The fastest system between clients and Redis.
pub fn fastest(table: &Table) -> Option<&Row> {
    let rows = table.rows.iter().filter(|row| !row.rounds.is_empty() && !is_yardstick(&row.system));
    rows.max_by(|one, other| one.medians.rate.total_cmp(&other.medians.rate))
}

/// The answer as sentences of HTML.
pub fn answer(comparison: &Comparison) -> String {
    let leaders: Vec<_> = comparison.tables.iter().filter_map(fastest).collect();
    let wins = |system: &str| leaders.iter().filter(|row| row.system == system).count();
    let names = comparison.systems.iter().map(|(name, _)| name.as_str()).filter(|name| !is_yardstick(name));
    let Some(best) = names.clone().max_by_key(|name| wins(name)).filter(|name| wins(name) > 0) else {
        return "Nothing stood between the clients and Redis, so there is nothing to compare.".to_owned();
    };
    let rows: Vec<_> =
        comparison.tables.iter().flat_map(|table| &table.rows).filter(|row| row.system == best).collect();
    let mut answer = match names.count() {
        1 => format!("<b>{}</b> alone stood between the clients and Redis.", escape(best)),
        several => format!(
            "<b>{}</b> is the fastest of {several} systems between clients and Redis in {} of {} loads.",
            escape(best),
            wins(best),
            leaders.len()
        ),
    };
    let figures = |figure: fn(&Row) -> Option<f64>| span(rows.iter().filter_map(|row| figure(row)));
    if let Some(rate) = figures(|row| row.rate_to_direct) {
        answer += &format!(" It takes {rate} of the operations a second that Redis takes directly.");
    }
    if let Some(own) = figures(|row| row.system_cpu_to_direct) {
        answer += &format!(" It costs {own} of the processor time that Redis needs for an operation directly");
        let redis = figures(|row| row.redis_cpu_to_direct);
        answer +=
            &redis.map_or_else(|| ".".to_owned(), |redis| format!(", and Redis behind it needs {redis} of that."));
    }
    let settings = comparison.systems.iter().find(|(name, _)| name == best).map(|(_, settings)| settings.as_str());
    if let Some(settings) = settings.filter(|settings| !settings.is_empty()) {
        answer += &format!(" It ran with: {}.", escape(settings));
    }
    answer
}

/// The least and the most of some ratios.
fn span(ratios: impl Iterator<Item = f64>) -> Option<String> {
    let (low, high) = ratios.fold((f64::INFINITY, 0.0_f64), |(low, high), ratio| (low.min(ratio), high.max(ratio)));
    let percent = |ratio: f64| format!("{:.0}", ratio * 100.0);
    match (percent(low), percent(high)) {
        _ if low > high => None,
        (low, high) if low == high => Some(format!("{high} %")),
        (low, high) => Some(format!("{low} to {high} %")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::round::{Figures, Round},
        measure::outcome::Ended,
    };

    fn row(system: &str, rate: f64, to_direct: f64) -> Row {
        let figures = Figures { rate, ..Figures::default() };
        let rounds = vec![Round { figures: figures.clone(), outcome: None }];
        let ratio = |part: f64| (system != "direct").then_some(to_direct * part);
        Row {
            system: system.to_owned(),
            medians: figures,
            rate_to_direct: Some(to_direct),
            system_cpu_to_direct: ratio(1.0),
            redis_cpu_to_direct: ratio(0.5),
            rounds,
            ..Row::default()
        }
    }

    fn comparison(systems: &[&str], tables: Vec<Vec<Row>>) -> Comparison {
        let table = |rows| Table { title: String::new(), load: String::new(), rows };
        Comparison {
            systems: systems.iter().map(|name| ((*name).to_owned(), "a<b".to_owned())).collect(),
            skipped: Vec::new(),
            tables: tables.into_iter().map(table).collect(),
            ended: Ended::Done,
            keys: Vec::new(),
        }
    }

    #[test]
    fn the_answer_names_the_fastest_and_its_price() {
        let one = vec![row("direct", 100.0, 1.0), row("slow", 40.0, 0.4), row("fast", 80.0, 0.8)];
        let other = vec![row("direct", 100.0, 1.0), row("slow", 70.0, 0.7), row("fast", 90.0, 0.9)];
        let found = answer(&comparison(&["direct", "slow", "fast"], vec![one, other]));
        assert!(found.starts_with("<b>fast</b> is the fastest of 2 systems"), "{found}");
        assert!(found.contains("in 2 of 2 loads. It takes 80 to 90 % of"), "{found}");
        assert!(found.contains("costs 80 to 90 %") && found.contains("needs 40 to 45 %"), "{found}");
        assert!(found.ends_with("ran with: a&lt;b."), "{found}");
        let alone = answer(&comparison(&["direct"], vec![vec![row("direct", 100.0, 1.0)]]));
        assert!(alone.contains("nothing to compare"), "{alone}");
    }
}
