//! Which key the next operation goes to: evenly spread, or by Zipf's law, where few keys get most.

use std::{fmt, str::FromStr};

/// How keys are chosen. Parsed from `uniform`, `zipf` (exponent 0.99, as in YCSB) or `zipf:1.2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyChoice {
    /// Every key as often as any other.
    Uniform,
    /// Key number r (from 1) is chosen in proportion to r to the power of minus this exponent.
    Zipf(f64),
}

impl FromStr for KeyChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let exponent = match text.split_once(':') {
            None if text == "uniform" => return Ok(Self::Uniform),
            None if text == "zipf" => Some(0.99),
            Some(("zipf", exponent)) => exponent.parse().ok(),
            _ => None,
        };
        match exponent {
            Some(exponent) if exponent > 0.0 && exponent <= 10.0 => Ok(Self::Zipf(exponent)),
            _ => Err("keys are chosen `uniform`, `zipf` or `zipf:EXPONENT` with an exponent up to 10".to_owned()),
        }
    }
}

impl fmt::Display for KeyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => write!(f, "uniform"),
            Self::Zipf(exponent) => write!(f, "zipf:{exponent}"),
        }
    }
}

/// Draws key numbers from 0 up to the number of keys.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// See [`KeyChoice::Uniform`].
    Uniform(u64),
    /// See [`KeyChoice::Zipf`].
    Zipf(Zipf),
}

impl Keys {
    /// Draws from `count` keys.
    pub fn new(choice: KeyChoice, count: u64) -> Self {
        match choice {
            KeyChoice::Uniform => Self::Uniform(count),
            KeyChoice::Zipf(exponent) => Self::Zipf(Zipf::new(count, exponent)),
        }
    }

    /// The next key.
    pub fn pick(&self, rng: &mut fastrand::Rng) -> u64 {
        match self {
            Self::Uniform(count) => rng.u64(..*count),
            Self::Zipf(zipf) => zipf.pick(rng),
        }
    }
}

/// Zipf's law by rejection-inversion (Hörmann and Derflinger 1996): constant time and memory for any
/// number of keys, and exact. The hat is the integral of x^-s, which is inverted; a draw is rejected
/// where the hat stands above the bar of its key.
#[derive(Debug, Clone, Copy)]
pub struct Zipf {
    exponent: f64,
    count: f64,
    /// The hat's integral at the left end of the first key's bar, less that bar.
    low: f64,
    /// The hat's integral at the right end of the last key's bar.
    high: f64,
}

impl Zipf {
    /// Draws from `count` keys with this exponent.
    pub fn new(count: u64, exponent: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "numbers of keys are far below 2^52")]
        let count = count as f64;
        let mut zipf = Self { exponent, count, low: 0.0, high: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(count + 0.5);
        zipf
    }

    fn integral(&self, x: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { x.ln() } else { (x.powf(power) - 1.0) / power }
    }

    fn inverse(&self, y: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { y.exp() } else { (1.0 + y * power).max(0.0).powf(1.0 / power) }
    }

    fn pick(&self, rng: &mut fastrand::Rng) -> u64 {
        // Fewer than one draw in three is rejected, so the bound is never met in practice.
        for _ in 0..64 {
            let y = self.low + rng.f64() * (self.high - self.low);
            let rank = self.inverse(y).round().clamp(1.0, self.count);
            if y >= self.integral(rank + 0.5) - rank.powf(-self.exponent) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to the count")]
                return rank as u64 - 1;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_gives_each_rank_its_share() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let (zipf, mut rng) = (Zipf::new(1_000, exponent), fastrand::Rng::with_seed(7));
            let mut counts = vec![0_u32; 1_000];
            for _ in 0..400_000 {
                counts[usize::try_from(zipf.pick(&mut rng)).unwrap()] += 1;
            }
            let sum: f64 = (1..=1_000).map(|rank| f64::from(rank).powf(-exponent)).sum();
            for rank in [1_u32, 2, 10, 100] {
                let expected = 400_000.0 * f64::from(rank).powf(-exponent) / sum;
                let found = f64::from(counts[rank as usize - 1]);
                assert!((found - expected).abs() < 6.0 * expected.sqrt(), "{exponent} {rank}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn choices_are_read_and_refused() {
        assert_eq!("zipf".parse(), Ok(KeyChoice::Zipf(0.99)));
        assert_eq!("uniform".parse(), Ok(KeyChoice::Uniform));
        assert!("zipf:0".parse::<KeyChoice>().is_err());
        assert!("normal".parse::<KeyChoice>().is_err());
    }
}
