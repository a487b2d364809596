//! What a search for the pool has found.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    measure::written_keys::WrittenKeys,
    tune::{
        point::Point,
        verdict::{Certainty, Choice},
    },
};

/// One pool with its medians.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The pool.
    pub point: Point,
    /// Rounds it was measured.
    pub rounds: usize,
    /// Operations a second.
    pub rate: f64,
    /// Between which rates the truth is, at 95 % confidence.
    pub rate_range: (f64, f64),
    /// Latency that 99 % kept, in milliseconds.
    pub p99_ms: f64,
}

/// The result.
#[derive(Debug, Serialize)]
pub struct Tuned {
    /// The upstream, without its password.
    pub upstream: String,
    /// The load in words.
    pub load: String,
    /// The answer.
    pub choice: Choice,
    /// The target, if there is one.
    pub p99_ms_max: Option<f64>,
    /// Every pool that was measured, by size.
    pub curve: Vec<Measured>,
    /// Why the search ended before it was through.
    pub ended_early: Option<String>,
    /// Whether the answer is written to a file.
    pub written: Written,
    /// What became of the keys that the measurements have written to the upstream.
    pub keys: WrittenKeys,
}

/// Whether the answer is written to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Written {
    /// Nobody asked for that.
    NotAsked,
    /// It is in this file.
    To(PathBuf),
    /// It is not, for this reason.
    Refused(String),
}

impl Tuned {
    /// Why nobody should rely on the answer, if that is so.
    pub fn doubt(&self) -> Option<String> {
        match self.choice.certainty {
            Certainty::Sure => {}
            Certainty::Likely => return Some("the answer is likely, but not sure".to_owned()),
            Certainty::NotSure => return Some("the answer is not sure".to_owned()),
        }
        let target = self.p99_ms_max.filter(|_| !self.choice.keeps_target)?;
        Some(format!("no pool kept the p99 of {target} ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sure_answer_that_keeps_the_target_is_relied_on() {
        let point = Point { threads: 1, workers: 1, depth: 64 };
        let doubt = |certainty, p99_ms_max, keeps_target| {
            let (rounds, noise, slower_at_most, any_depth) = (9, 0.01, 0.01, false);
            let best = point;
            Tuned {
                upstream: String::new(),
                load: String::new(),
                choice: Choice { point, best, rounds, noise, slower_at_most, certainty, any_depth, keeps_target },
                p99_ms_max,
                curve: Vec::new(),
                ended_early: None,
                written: Written::NotAsked,
                keys: WrittenKeys::default(),
            }
            .doubt()
        };
        assert_eq!(doubt(Certainty::Sure, None, true), None);
        assert!(doubt(Certainty::Likely, Some(1.0), true).unwrap().contains("not sure"));
        assert!(doubt(Certainty::NotSure, None, true).unwrap().contains("not sure"));
        assert!(doubt(Certainty::Sure, Some(1.0), false).unwrap().contains("no pool kept"));
    }
}
