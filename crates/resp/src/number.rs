//! Integers as Redis reads and writes them: used by the framing of both directions.

/// Parses a decimal integer exactly as Redis's `string2ll` does: an optional `-`, no `+`, no
/// leading zero, no spaces, within `i64`.
///
/// ```
/// assert_eq!(resp::parse_integer(b"-12"), Some(-12));
/// assert_eq!(resp::parse_integer(b"02"), None);
/// assert_eq!(resp::parse_integer(b"-0"), None);
/// ```
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(digit - b'0');
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}

/// Appends `number` in decimal.
pub(crate) fn write_decimal(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_redis_on_the_edges() {
        for (text, value) in [
            (&b"0"[..], Some(0)),
            (b"7", Some(7)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"9223372036854775808", None),
            (b"", None),
            (b"-", None),
            (b"+1", None),
            (b"01", None),
            (b"-01", None),
            (b" 1", None),
            (b"1 ", None),
            (b"1a", None),
        ] {
            assert_eq!(parse_integer(text), value, "{text:?}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for number in [0, 1, -1, 10, 12345, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(parse_integer(&out), Some(number));
        }
    }
}
