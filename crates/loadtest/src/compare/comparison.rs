//! What a comparison has found: a table for each workload, with a row for each system.

use serde::Serialize;

use crate::{
    compare::round::{Figures, Round, medians},
    measure::{
        median::median,
        outcome::{Ended, Outcome},
        written_keys::WrittenKeys,
    },
};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Names and settings of the systems, in the order of every table.
    pub systems: Vec<(String, String)>,
    /// What was asked for and is not here, with the reason.
    pub skipped: Vec<String>,
    /// One table for each workload.
    pub tables: Vec<Table>,
    /// How it ended.
    pub ended: Ended,
    /// Of each system that somebody else has started, what became of the keys that were written there.
    pub keys: Vec<(String, WrittenKeys)>,
}

/// The systems under one workload.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The workload.
    pub title: String,
    /// The load in words.
    pub load: String,
    /// One row for each system.
    pub rows: Vec<Row>,
}

/// One system under one workload. The ratios are medians of those of each round.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// The system.
    pub system: String,
    /// Medians over the rounds.
    pub medians: Figures,
    /// The rate relative to direct's.
    pub rate_to_direct: Option<f64>,
    /// The system's processor time for each operation, relative to that of Redis when loaded directly.
    pub system_cpu_to_direct: Option<f64>,
    /// The same of the Redis behind the system.
    pub redis_cpu_to_direct: Option<f64>,
    /// The system's processor time for each operation relative to the floor's; of direct, that of Redis.
    pub cpu_to_floor: Option<f64>,
    /// The median latency relative to the floor's.
    pub p50_to_floor: Option<f64>,
    /// The same of what 99 % kept.
    pub p99_to_floor: Option<f64>,
    /// All rounds.
    pub rounds: Vec<Round>,
}

impl Table {
    /// Works out medians and ratios.
    pub fn settle(&mut self) {
        let (direct, floor) = (self.rounds_of("direct"), self.rounds_of("floor"));
        for row in &mut self.rows {
            row.medians = medians(&row.rounds);
            row.rate_to_direct = row.ratio(|figures| Some(figures.rate), &direct, |direct| Some(direct.rate));
            row.system_cpu_to_direct =
                row.ratio(|figures| figures.system_cpu_us, &direct, |direct| direct.redis_cpu_us);
            row.redis_cpu_to_direct = row.ratio(|figures| figures.redis_cpu_us, &direct, |direct| direct.redis_cpu_us);
            // Redis itself is measured against the floor as well.
            let own = |figures: &Figures| figures.system_cpu_us.or(figures.redis_cpu_us);
            row.cpu_to_floor = row.ratio(own, &floor, |floor| floor.system_cpu_us);
            row.p50_to_floor = row.ratio(|figures| Some(figures.p50_us), &floor, |floor| Some(floor.p50_us));
            row.p99_to_floor = row.ratio(|figures| Some(figures.p99_us), &floor, |floor| Some(floor.p99_us));
        }
    }

    fn rounds_of(&self, system: &str) -> Vec<Figures> {
        let rows = self.rows.iter().filter(|row| row.system == system);
        rows.flat_map(|row| row.rounds.iter().map(|round| round.figures.clone())).collect()
    }
}

impl Row {
    /// The median, over the rounds, of a figure relative to one of another system in the same round.
    fn ratio(
        &self,
        figure: fn(&Figures) -> Option<f64>,
        others: &[Figures],
        base: fn(&Figures) -> Option<f64>,
    ) -> Option<f64> {
        let rounds = self.rounds.iter().zip(others);
        let ratios: Vec<_> = rounds
            .filter_map(|(round, other)| Some(figure(&round.figures)? / base(other).filter(|base| *base > 0.0)?))
            .collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

impl Comparison {
    /// The exit code: see the README's table.
    pub fn exit_code(&self) -> u8 {
        let rounds = self.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.rounds);
        let outcomes = || rounds.clone().filter_map(|round| round.outcome.as_ref());
        if outcomes().any(|outcome| outcome.counts.wrong_total() > 0) {
            1
        } else if self.ended == Ended::Interrupted {
            130
        } else {
            let is_left = self.keys.iter().any(|(_, keys)| keys.not_removed.is_some());
            u8::from(is_left || outcomes().any(Outcome::is_target_failing)) * 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: &str, figures: &[(f64, Option<f64>, f64)]) -> Row {
        let round = |(rate, system_cpu_us, redis_cpu_us): &(f64, Option<f64>, f64)| Round {
            figures: Figures {
                rate: *rate,
                system_cpu_us: *system_cpu_us,
                redis_cpu_us: Some(*redis_cpu_us),
                ..Figures::default()
            },
            outcome: None,
        };
        Row { system: system.to_owned(), rounds: figures.iter().map(round).collect(), ..Row::default() }
    }

    #[test]
    fn ratios_are_of_rounds_and_relative_to_redis_alone() {
        let direct = row("direct", &[(100.0, None, 4.0), (50.0, None, 8.0), (200.0, None, 2.0)]);
        let other = row("other", &[(50.0, Some(2.0), 1.0), (25.0, Some(4.0), 2.0), (10.0, Some(1.0), 0.5)]);
        let mut table = Table { title: String::new(), load: String::new(), rows: vec![direct, other] };
        table.settle();
        assert_eq!((table.rows[0].rate_to_direct, table.rows[0].system_cpu_to_direct), (Some(1.0), None));
        let other = &table.rows[1];
        assert_eq!((other.rate_to_direct, other.system_cpu_to_direct), (Some(0.5), Some(0.5)));
        assert_eq!(other.redis_cpu_to_direct, Some(0.25));
    }
}
