//! What went wrong during a load, and how much was checked. Counted by each thread, summed, and part of
//! every report; unlike rates and latencies it covers the warm-up too.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::measure::wrong::Wrong;

/// Distinct error replies that are kept.
const TEXTS_MAX: usize = 8;
/// Descriptions of wrong replies that are kept.
const EXAMPLES_MAX: usize = 10;

/// See the module's documentation.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Error replies.
    pub error_replies: u64,
    /// Some of their texts, with how often each came.
    pub error_texts: BTreeMap<String, u64>,
    /// Operations that were sent and not answered before their connection or the load ended.
    pub unanswered: u64,
    /// Operations of an open loop's schedule that were never sent.
    pub unsent: u64,
    /// Connections that ended although nobody wanted it.
    pub connections_lost: u64,
    /// Why the last of them did.
    pub last_loss: Option<String>,
    /// Connections made again, on purpose or not.
    pub reconnects: u64,
    /// Replies that were verified.
    pub verified: u64,
    /// What was wrong with replies, by kind.
    pub wrong: BTreeMap<Wrong, u64>,
    /// Some of it in words.
    pub wrong_examples: Vec<String>,
}

impl Counts {
    /// One error reply came.
    pub fn record_error(&mut self, text: &str) {
        self.error_replies += 1;
        if self.error_texts.len() < TEXTS_MAX || self.error_texts.contains_key(text) {
            *self.error_texts.entry(text.to_owned()).or_default() += 1;
        }
    }

    /// Something wrong was found.
    pub fn record_wrong(&mut self, wrong: Wrong, example: impl FnOnce() -> String) {
        *self.wrong.entry(wrong).or_default() += 1;
        if self.wrong_examples.len() < EXAMPLES_MAX {
            self.wrong_examples.push(example());
        }
    }

    /// Replies that were wrong in any way.
    pub fn wrong_total(&self) -> u64 {
        self.wrong.values().sum()
    }

    /// Whether the target answered errors or ended connections.
    pub fn has_failures(&self) -> bool {
        self.error_replies > 0 || self.connections_lost > 0
    }

    /// What went wrong first, in words.
    pub fn example(&self) -> Option<&String> {
        self.wrong_examples.first().or(self.error_texts.keys().next()).or(self.last_loss.as_ref())
    }

    /// Takes in what another thread has counted.
    pub fn merge(&mut self, other: &Self) {
        self.error_replies += other.error_replies;
        for (text, count) in &other.error_texts {
            *self.error_texts.entry(text.clone()).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.unsent += other.unsent;
        self.connections_lost += other.connections_lost;
        self.last_loss = other.last_loss.clone().or(self.last_loss.take());
        self.reconnects += other.reconnects;
        self.verified += other.verified;
        for (wrong, count) in &other.wrong {
            *self.wrong.entry(*wrong).or_default() += count;
        }
        let room = EXAMPLES_MAX.saturating_sub(self.wrong_examples.len());
        self.wrong_examples.extend(other.wrong_examples.iter().take(room).cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_and_texts_bounded() {
        let (mut one, mut other) = (Counts::default(), Counts::default());
        for number in 0..20 {
            one.record_error(&format!("ERR {number}"));
            other.record_wrong(Wrong::Stale, || number.to_string());
        }
        other.record_error("ERR 0");
        one.merge(&other);
        assert_eq!((one.error_replies, one.error_texts.len(), one.error_texts["ERR 0"]), (21, TEXTS_MAX, 2));
        assert_eq!((one.wrong_total(), one.wrong_examples.len()), (20, EXAMPLES_MAX));
        assert!(one.has_failures() && !other.wrong.is_empty());
        assert_eq!(one.example().map(String::as_str), Some("0"));
    }
}
