//! What has to hold for any bytes at all: one module for each place where the gateway reads what others
//! wrote, each with a `check` that panics where a property does not hold.
//!
//! `crates/fuzz/run` has libFuzzer look for such bytes (the binaries in `targets`); `tests/corpus.rs`, a plain
//! test, checks the committed corpus, in which each bug that was found has its input.

pub mod configuration;
pub mod inline;
pub mod reply;
pub mod request;

/// A target's name and its check.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; each has a directory of its name in the corpus.
pub const TARGETS: [Target; 4] =
    [("request", request::check), ("reply", reply::check), ("inline", inline::check), ("config", configuration::check)];

/// Cuts `input` into up to `pieces` pieces, at places that `seed` decides.
pub(crate) fn cut(input: &[u8], seed: u64, pieces: usize) -> Vec<&[u8]> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut cuts: Vec<usize> = (1..pieces).map(|_| rng.usize(..=input.len())).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}
