//! What numbers of the configuration may be. Used by `settings` and its parts.

use std::time::Duration;

use crate::ConfigError;

/// More of anything than that is a mistake, and could not be set aside.
const COUNT_MAX: usize = 1 << 24;

/// More bytes than that no machine has; sums of a few such bounds are numbers still.
pub(crate) const BYTES_MAX: usize = 1 << 48;

/// A year: longer waits are mistakes.
const MILLIS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// A refusal of the value of `key`.
pub(crate) fn value<T>(key: &'static str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key, problem: problem.into() })
}

/// A number from 1 to `max`.
pub(crate) fn within(key: &'static str, number: usize, max: usize) -> Result<usize, ConfigError> {
    match number {
        0 => value(key, "must be at least 1"),
        number if number > max => value(key, format!("must be at most {max}")),
        number => Ok(number),
    }
}

/// A number of things of which each costs memory.
pub(crate) fn count(key: &'static str, number: usize) -> Result<usize, ConfigError> {
    within(key, number, COUNT_MAX)
}

/// A number of bytes, or of what else costs nothing before it is there.
pub(crate) fn at_least_one(key: &'static str, number: usize) -> Result<usize, ConfigError> {
    within(key, number, BYTES_MAX)
}

/// A wait from 1 ms to a year.
pub(crate) fn millis(key: &'static str, number: u64) -> Result<Duration, ConfigError> {
    match number {
        0 => value(key, "must be at least 1 ms"),
        1..=MILLIS_MAX => Ok(Duration::from_millis(number)),
        _ => value(key, format!("must be at most {MILLIS_MAX} ms")),
    }
}

/// As `millis`, or none.
pub(crate) fn millis_or_zero(key: &'static str, number: u64) -> Result<Duration, ConfigError> {
    if number == 0 { Ok(Duration::ZERO) } else { millis(key, number) }
}
