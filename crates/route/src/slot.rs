//! Slots: which of the 16,384 parts of the key space a key is in.

use crc::{CRC_16_XMODEM, Crc, Table};
use memchr::memchr;

/// Keys of fewer bytes are looked through here: to ask for the way that is best on this machine takes longer.
const SHORT_KEY: usize = 64;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

const CRC: Crc<u16, Table<16>> = Crc::<u16, Table<16>>::new(&CRC_16_XMODEM);

/// The slot of a key. Of a key with a part in braces that part alone counts, as in Redis: the first `{`, and the first
/// `}` after it, if there is anything between them.
///
/// ```
/// use route::slot;
/// assert_eq!(slot(b"123456789"), 12_739);
/// assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
/// ```
pub fn slot(key: &[u8]) -> u16 {
    CRC.checksum(tag(key)) % SLOTS
}

#[inline]
fn tag(key: &[u8]) -> &[u8] {
    if key.len() < SHORT_KEY && !has_open(key) {
        return key;
    }
    let Some(open) = memchr(b'{', key) else { return key };
    let rest = &key[open + 1..];
    match memchr(b'}', rest) {
        None | Some(0) => key,
        Some(length) => &rest[..length],
    }
}

/// Whether there is a `{`, eight bytes at a time.
#[inline]
fn has_open(key: &[u8]) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    let (eights, rest) = key.as_chunks::<8>();
    let has = |eight: &[u8; 8]| {
        let zero_if_open = u64::from_ne_bytes(*eight) ^ (EACH * u64::from(b'{'));
        zero_if_open.wrapping_sub(EACH) & !zero_if_open & (EACH * 0x80) != 0
    };
    eights.iter().any(has) || rest.contains(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_in_braces_is_the_one_that_redis_takes() {
        for (key, counted) in [
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
            ("}foo{bar}", "bar"),
            ("", ""),
            ("12345678{9}", "9"),
            ("1234567{8}", "8"),
            ("{1}23456789abcdef", "1"),
            ("12345678", "12345678"),
        ] {
            assert_eq!(tag(key.as_bytes()), counted.as_bytes(), "{key}");
        }
    }

    #[test]
    fn slots_of_the_specification() {
        for (key, expected) in [("", 0), ("foo", 12_182), ("bar", 5_061), ("hello", 866), ("somekey", 11_058)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
