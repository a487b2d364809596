//! How many bytes a value has: always the same (`64`), or evenly spread over a range (`100-2000`).

use std::{fmt, str::FromStr};

/// The smallest verified value, in bytes: a stamp takes as many.
pub const STAMP_BYTES: usize = 44;
/// The largest value that Redis takes by default, in bytes.
const VALUE_BYTES_MAX: usize = 512 << 20;

/// Sizes of values in bytes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueSize {
    /// The smallest.
    pub min: usize,
    /// The largest.
    pub max: usize,
}

impl ValueSize {
    /// Picks a size.
    pub fn pick(self, rng: &mut fastrand::Rng) -> usize {
        if self.min == self.max { self.min } else { rng.usize(self.min..=self.max) }
    }
}

impl FromStr for ValueSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let bytes = |text: &str| {
            let (digits, unit) = match text.to_ascii_lowercase().strip_suffix('k') {
                Some(digits) => (digits.to_owned(), 1024),
                None => (text.to_owned(), 1),
            };
            digits.parse::<usize>().ok().and_then(|bytes| bytes.checked_mul(unit))
        };
        match (bytes(min), bytes(max)) {
            (Some(min), Some(max)) if min <= max && max <= VALUE_BYTES_MAX => Ok(Self { min, max }),
            _ => Err("a size is bytes (`64`, `16k`) or a range of them (`100-2000`), up to 512 MiB".to_owned()),
        }
    }
}

impl fmt::Display for ValueSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_and_range() {
        assert_eq!("16k".parse(), Ok(ValueSize { min: 16_384, max: 16_384 }));
        let range: ValueSize = "3-5".parse().unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut seen: Vec<_> = (0..100).map(|_| range.pick(&mut rng)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [3, 4, 5]);
        assert!("5-3".parse::<ValueSize>().is_err());
        assert!("-1".parse::<ValueSize>().is_err());
    }
}
