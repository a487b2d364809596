//! Which operations a load is made of, and in what proportion: `get:10,set:1`.

use std::{fmt, str::FromStr};

use serde::Serialize;

/// One thing a client does; some take several requests. Latency and rate count operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// `PING`.
    Ping,
    /// `GET` of one string.
    Get,
    /// `SET` of one string.
    Set,
    /// `INCR` of one counter.
    Incr,
    /// `MGET` of ten strings.
    Mget,
    /// `LPUSH` of one item, then `LTRIM` to 100 items, so that no list grows for ever.
    Lpush,
    /// `LRANGE` of the first ten items.
    Lrange,
    /// `MULTI`, `INCR`, `SET`, `EXEC`, sent together.
    Transaction,
    /// `RPUSH` to a list of the connection's own, then `BLPOP` from it.
    Blocking,
}

impl Operation {
    /// Every operation, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Ping,
        Self::Get,
        Self::Set,
        Self::Incr,
        Self::Mget,
        Self::Lpush,
        Self::Lrange,
        Self::Transaction,
        Self::Blocking,
    ];

    /// The word that names it in a mix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Get => "get",
            Self::Set => "set",
            Self::Incr => "incr",
            Self::Mget => "mget",
            Self::Lpush => "lpush",
            Self::Lrange => "lrange",
            Self::Transaction => "transaction",
            Self::Blocking => "blocking",
        }
    }
}

/// Operations with their weights. Parsed from `get:10,set:1`; a weight left out is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    parts: Vec<(Operation, u32)>,
    total: u32,
}

impl Mix {
    /// Picks an operation, each as often as its weight says.
    pub fn pick(&self, rng: &mut fastrand::Rng) -> Operation {
        let mut at = if self.parts.len() == 1 { 0 } else { rng.u32(..self.total) };
        for (operation, weight) in &self.parts {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return *operation,
            }
        }
        // Not reached: `at` is below the sum of the weights.
        self.parts[0].0
    }

    /// The operations in the order given.
    pub fn operations(&self) -> impl Iterator<Item = Operation> + '_ {
        self.parts.iter().map(|(operation, _)| *operation)
    }

    /// A mix of these parts, or what is wrong with them.
    ///
    /// # Errors
    /// No part, a weight of 0, an operation twice, or weights that add up to more than a million.
    pub fn new(parts: Vec<(Operation, u32)>) -> Result<Self, String> {
        let mut total = 0_u32;
        for (index, (operation, weight)) in parts.iter().enumerate() {
            if *weight == 0 {
                return Err(format!("the weight of `{}` is 0", operation.name()));
            }
            if parts[..index].iter().any(|(earlier, _)| earlier == operation) {
                return Err(format!("`{}` is named twice", operation.name()));
            }
            total = total.saturating_add(*weight);
        }
        match total {
            0 => Err("a mix needs an operation".to_owned()),
            1..=1_000_000 => Ok(Self { parts, total }),
            _ => Err("the weights add up to more than 1000000".to_owned()),
        }
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.trim().split_once(':').unwrap_or((part.trim(), "1"));
            let operation = Operation::ALL.into_iter().find(|operation| operation.name() == name).ok_or_else(|| {
                let known: Vec<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
                format!("no operation `{name}`; there are {}", known.join(", "))
            })?;
            let weight = weight.parse().map_err(|_| format!("`{weight}` is no weight of `{name}`"))?;
            parts.push((operation, weight));
        }
        Self::new(parts)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (operation, weight)) in self.parts.iter().enumerate() {
            write!(f, "{}{}:{weight}", if index == 0 { "" } else { "," }, operation.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept() {
        let mix: Mix = "get:9,set".parse().unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        let sets = (0..100_000).filter(|_| mix.pick(&mut rng) == Operation::Set).count();
        assert!((9_000..11_000).contains(&sets), "{sets}");
        assert_eq!(mix.to_string(), "get:9,set:1");
    }

    #[test]
    fn nonsense_is_named() {
        for (text, part) in
            [("got", "no operation `got`"), ("get:x", "no weight"), ("get:0", "is 0"), ("get,get", "twice")]
        {
            assert!(text.parse::<Mix>().unwrap_err().contains(part), "{text}");
        }
    }
}
