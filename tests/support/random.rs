//! Chance that can be repeated: every generator has a seed, and the seed is printed with the test's output.

/// A generator whose seed is printed; `RESPOOL_TEST_SEED` repeats an earlier run.
pub fn seeded(what: &str) -> fastrand::Rng {
    let given = std::env::var("RESPOOL_TEST_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("RESPOOL_TEST_SEED is a number"));
    println!("{what}: RESPOOL_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
