//! What numbers of the configuration may be. Used by the other files of this room.

use std::time::Duration;

use crate::{
    ConfigError,
    typed::units::{ByteCount, Micros, Millis, bytes_text, millis_text},
};

/// More of anything than that is a mistake, and could not be set aside.
const COUNT_MAX: usize = 1 << 24;

/// More bytes than that no machine has; sums of a few such bounds are numbers still.
const BYTES_MAX: usize = 1 << 48;

/// A year: longer waits are mistakes.
const MILLIS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// A refusal of the value of `key`.
pub(crate) fn value<T>(key: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key: key.to_owned(), place: None, problem: problem.into() })
}

/// A number from `min` to `max`.
pub(crate) fn within(key: &str, number: usize, min: usize, max: usize) -> Result<usize, ConfigError> {
    if (min..=max).contains(&number) { Ok(number) } else { value(key, format!("{number} is not from {min} to {max}")) }
}

/// A number of things of which each costs memory.
pub(crate) fn count(key: &str, number: usize) -> Result<usize, ConfigError> {
    within(key, number, 1, COUNT_MAX)
}

/// A number of bytes, which cost nothing before they are there.
pub(crate) fn bytes(key: &str, bytes: ByteCount, min: usize) -> Result<usize, ConfigError> {
    let ByteCount(bytes) = bytes;
    if (min..=BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    value(key, format!("{bytes} bytes are not from {min} bytes to {}", bytes_text(BYTES_MAX)))
}

/// A time of at least `min` milliseconds and at most a year.
pub(crate) fn millis(key: &str, time: Millis, min: u64) -> Result<Duration, ConfigError> {
    let Millis(millis) = time;
    if (min..=MILLIS_MAX).contains(&millis) {
        return Ok(Duration::from_millis(millis));
    }
    value(key, format!("{millis} ms are not from {min} ms to {}", millis_text(MILLIS_MAX)))
}

/// As `millis`, or 0 for none.
pub(crate) fn millis_or_zero(key: &str, time: Millis, min: u64) -> Result<Duration, ConfigError> {
    let Millis(number) = time;
    match number {
        0 => Ok(Duration::ZERO),
        number if !(min..=MILLIS_MAX).contains(&number) => {
            value(key, format!("{number} ms are neither 0 nor from {min} ms to {}", millis_text(MILLIS_MAX)))
        }
        _ => millis(key, time, min),
    }
}

/// Microseconds up to a year; 0 means none.
pub(crate) fn micros(key: &str, time: Micros) -> Result<u64, ConfigError> {
    let Micros(micros) = time;
    if micros <= MILLIS_MAX * 1_000 {
        return Ok(micros);
    }
    value(key, format!("{micros} us are not from 0 us to {}", millis_text(MILLIS_MAX)))
}

/// One of a few words; which one of `words`.
pub(crate) fn one_of<const N: usize>(key: &str, word: &str, words: [&str; N]) -> Result<usize, ConfigError> {
    match words.iter().position(|known| *known == word) {
        Some(index) => Ok(index),
        None => value(key, format!("\"{word}\" is neither \"{}\"", words.join("\" nor \""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_is_possible() {
        let text = |refused: ConfigError| refused.to_string();
        assert_eq!(text(count("k", 0).expect_err("refused")), "k: 0 is not from 1 to 16777216");
        assert_eq!(
            text(bytes("k", ByteCount(3), 512).expect_err("refused")),
            "k: 3 bytes are not from 512 bytes to 256 TiB"
        );
        assert_eq!(text(millis("k", Millis(0), 1).expect_err("refused")), "k: 0 ms are not from 1 ms to 365 d");
        assert_eq!(
            text(millis_or_zero("k", Millis(9), 10).expect_err("refused")),
            "k: 9 ms are neither 0 nor from 10 ms to 365 d"
        );
        assert_eq!(
            text(millis_or_zero("k", Millis(u64::MAX), 1).expect_err("refused")),
            "k: 18446744073709551615 ms are neither 0 nor from 1 ms to 365 d"
        );
        assert_eq!(text(one_of("k", "x", ["a", "b"]).expect_err("refused")), "k: \"x\" is neither \"a\" nor \"b\"");
    }
}
