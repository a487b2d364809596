//! Slots: which of the 16,384 parts of the key space a key is in.

use crc::{CRC_16_XMODEM, Crc, Table};
use memchr::memchr;

/// Keys of fewer bytes are looked through here: to ask for the way that is best on this machine takes longer.
const SHORT_KEY: usize = 64;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// So many bytes go into the checksum at a step; those that are left over one by one, which takes longer for all but few.
const STEP: usize = 16;
const HALF: usize = STEP / 2;

const CRC: Crc<u16, Table<STEP>> = Crc::<u16, Table<STEP>>::new(&CRC_16_XMODEM);

/// The slot of a key. Of a key with a part in braces that part alone counts, as in Redis: the first `{`, and the first
/// `}` after it, if there is anything between them.
///
/// ```
/// use route::slot;
/// assert_eq!(slot(b"123456789"), 12_739);
/// assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
/// ```
pub fn slot(key: &[u8]) -> u16 {
    let tag = tag(key);
    let (first, steps) = tag.split_at(tag.len() % STEP);
    let (Some(begin), Some(end)) = (first.first_chunk::<HALF>(), first.last_chunk::<HALF>()) else {
        return CRC.checksum(tag) % SLOTS;
    };
    // Zeros in front change nothing, since the checksum begins with zero.
    let mut padded = [0; STEP];
    padded[STEP - first.len()..][..HALF].copy_from_slice(begin);
    padded[HALF..].copy_from_slice(end);
    if steps.is_empty() {
        return CRC.checksum(&padded) % SLOTS;
    }
    let mut digest = CRC.digest();
    digest.update(&padded);
    digest.update(steps);
    digest.finalize() % SLOTS
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
    fn the_checksum_of_each_length_is_that_of_its_bytes_one_by_one() {
        let bytewise = Crc::<u16, Table<1>>::new(&CRC_16_XMODEM);
        let bytes: Vec<u8> = (1..=u8::MAX).filter(|byte| *byte != b'{').collect();
        for length in 0..bytes.len() {
            assert_eq!(slot(&bytes[..length]), bytewise.checksum(&bytes[..length]) % SLOTS, "{length} bytes");
        }
    }

    #[test]
    fn slots_of_the_specification() {
        for (key, expected) in [("", 0), ("foo", 12_182), ("bar", 5_061), ("hello", 866), ("somekey", 11_058)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
