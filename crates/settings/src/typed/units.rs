//! Times and sizes: a plain number, in the unit that the key's name says, or a text with a unit of its own. They are
//! written as plain numbers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Milliseconds: `5000` or `"5s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// Microseconds: `5000` or `"5ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Micros(pub u64);

/// Seconds: `300` or `"5m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// Bytes: `65536` or `"64KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ByteCount(pub usize);

/// Microseconds in each unit of time.
const TIMES: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];

/// Bytes in each unit of size. `kb`, `mb` and `gb` are what they are in `redis.conf`.
const SIZES: [(&str, u64); 8] = [
    ("b", 1),
    ("kib", 1 << 10),
    ("kb", 1 << 10),
    ("mib", 1 << 20),
    ("mb", 1 << 20),
    ("gib", 1 << 30),
    ("gb", 1 << 30),
    ("tib", 1 << 40),
];

/// A number and its unit, which is empty for a number alone.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|next: char| !next.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// A text that means a time, as a number of what lasts `step` microseconds.
fn read_time(text: &str, step: u64) -> Option<u64> {
    match split(text)? {
        (number, "") => Some(number),
        (number, unit) => {
            let micros = number.checked_mul(TIMES.iter().find(|(name, _)| *name == unit)?.1)?;
            micros.is_multiple_of(step).then_some(micros / step)
        }
    }
}

/// A text that means seconds.
pub(crate) fn read_seconds(text: &str) -> Option<u64> {
    read_time(text, 1_000_000)
}

/// A text that means milliseconds.
pub(crate) fn read_millis(text: &str) -> Option<u64> {
    read_time(text, 1_000)
}

/// A text that means microseconds.
pub(crate) fn read_micros(text: &str) -> Option<u64> {
    read_time(text, 1)
}

/// A text that means bytes. Small letters will do.
pub(crate) fn read_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let unit = unit.to_ascii_lowercase();
    let size = if unit.is_empty() { 1 } else { SIZES.iter().find(|(name, _)| *name == unit)?.1 };
    number.checked_mul(size)?.try_into().ok()
}

/// Milliseconds in the largest unit that says them as a whole number.
pub(crate) fn millis_text(millis: u64) -> String {
    let unit = TIMES.iter().rev().find(|(_, micros)| millis > 0 && (millis * 1_000).is_multiple_of(*micros));
    unit.map_or_else(|| format!("{millis} ms"), |(unit, micros)| format!("{} {unit}", millis * 1_000 / micros))
}

/// Bytes in the largest unit that says them as a whole number.
pub(crate) fn bytes_text(bytes: usize) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1_usize << shift));
    unit.map_or_else(|| format!("{bytes} B"), |(unit, shift)| format!("{} {unit}", bytes >> shift))
}

/// Takes a number as it is and has a text read.
struct NumberOrText<T> {
    wanted: &'static str,
    read: fn(&str) -> Option<T>,
}

impl<T: TryFrom<u64>> de::Visitor<'_> for NumberOrText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wanted)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::custom(self.wanted))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number).map_err(|_| E::custom(self.wanted)).and_then(|number| self.visit_u64(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::custom(self.wanted))
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberOrText { wanted: "milliseconds", read: read_millis }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberOrText { wanted: "microseconds", read: read_micros }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberOrText { wanted: "seconds", read: read_seconds }).map(Self)
    }
}

impl<'de> Deserialize<'de> for ByteCount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NumberOrText { wanted: "bytes", read: read_bytes }).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in
            [("5s", 5_000), ("250ms", 250), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000), ("3000us", 3)]
        {
            assert_eq!(read_millis(text), Some(millis), "{text}");
        }
        assert_eq!((read_millis("5 s"), read_millis(" 7 "), read_micros("5ms")), (Some(5_000), Some(7), Some(5_000)));
        for refused in
            ["", "s", "5 S", "5sec", "-5s", "1.5s", "5s5", "1us", "5_000ms", "99999999999999999d", "٣s", "+5s"]
        {
            assert_eq!(read_millis(refused), None, "{refused}");
        }
        for (millis, text) in [(0, "0 ms"), (250, "250 ms"), (5_000, "5 s"), (90_000, "90 s"), (3_600_000, "1 h")] {
            assert_eq!(millis_text(millis), text);
            assert_eq!(read_millis(text), Some(millis));
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("64kb", 65_536),
            ("1 MiB", 1 << 20),
            ("1mb", 1 << 20),
            ("2GiB", 2 << 30),
            ("7", 7),
            ("7B", 7),
        ] {
            assert_eq!(read_bytes(text), Some(bytes), "{text}");
        }
        for refused in ["", "MiB", "64 M", "64k", "-1B", "1.5GiB", "99999999999TiB"] {
            assert_eq!(read_bytes(refused), None, "{refused}");
        }
        for (bytes, text) in
            [(0, "0 B"), (1_000, "1000 B"), (65_536, "64 KiB"), (1 << 30, "1 GiB"), (3 << 19, "1536 KiB")]
        {
            assert_eq!(bytes_text(bytes), text);
            assert_eq!(read_bytes(text), Some(bytes));
        }
    }
}
