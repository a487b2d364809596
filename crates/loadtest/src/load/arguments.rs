//! The arguments that several commands share: what to send, and how numbers are read. Commands have the
//! others beside them.

use clap::Args;

use crate::load::{Load, keys::KeyChoice, mix::Mix, size::ValueSize};

/// What the requests are.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// Operations with weights: ping, get, set, incr, mget, lpush, lrange, transaction, blocking.
    #[arg(long, default_value = "get:10,set:1")]
    pub mix: Mix,
    /// Bytes of a value, or a range of them: 64, 16k, 100-2000.
    #[arg(long, value_name = "BYTES", default_value = "64")]
    pub size: ValueSize,
    /// Different keys.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub keys: u64,
    /// How they are chosen: uniform, zipf, zipf:EXPONENT.
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    pub key_choice: KeyChoice,
    /// What the names of the keys begin with.
    #[arg(long, value_name = "TEXT", default_value = "loadtest:")]
    pub key_prefix: String,
    /// Write all keys once before the load, so that no `get` finds nothing.
    #[arg(long)]
    pub fill: bool,
    /// Remove the keys that the load has written, when it is over. Without it they stay.
    #[arg(long)]
    pub clean: bool,
    /// RESP version: 2 or 3.
    #[arg(long, value_name = "VERSION", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    pub protocol: u8,
    /// Refill the pipeline reply by reply, as most clients do: read at most 4 KiB of replies and send as many
    /// requests as came back. Without it a whole pipeline is sent once all replies to the last one are there.
    #[arg(long)]
    pub refill: bool,
    /// Check every reply: each value carries its key, writer and version. Any wrong reply makes the
    /// exit code 1. Nobody else may write the same keys meanwhile.
    #[arg(long)]
    pub verify: bool,
    /// Where the random choices begin.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl WorkArgs {
    /// Puts what was typed into `load`.
    pub fn apply(&self, load: &mut Load) {
        load.mix = self.mix.clone();
        load.sizes = self.size;
        load.keys = self.keys;
        load.key_choice = self.key_choice;
        load.key_prefix.clone_from(&self.key_prefix);
        load.fill = self.fill;
        load.clean = self.clean;
        load.protocol = self.protocol;
        load.refill = self.refill;
        load.verify = self.verify;
        load.seed = self.seed;
    }
}

/// Reads a number between two bounds; `what` begins the sentence about one that is not.
pub(crate) fn within(text: &str, least: f64, most: f64, what: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!("{what} from {least} to {most}")),
    }
}

/// Reads a time of at least 100 ms and at most a day.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.1, 86_400.0, "seconds are a number")
}

/// Reads a time of at most a day.
pub(crate) fn seconds_or_none(text: &str) -> Result<f64, String> {
    within(text, 0.0, 86_400.0, "seconds are a number")
}

/// Reads a rate.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1, 10_000_000.0, "a rate is a number of operations a second")
}
