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

/// A length as nearly everybody writes a short one, and the bytes it takes with the end of its line.
/// Nothing where the rules in full have to judge. In these few bytes a search costs more than it finds, and a loop costs
/// twice what looking at one or two digits does, which most lengths have.
#[inline(always)]
pub(crate) fn short_length(text: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *text {
        [one @ b'0'..=b'9', b'\r', b'\n', ..] => Some((digit(one), 3)),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', b'\n', ..] => Some((10 * digit(ten) + digit(one), 4)),
        _ => short_length_of_many_digits(text),
    }
}

#[inline(never)]
fn short_length_of_many_digits(text: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in text.iter().enumerate().take(8) {
        match byte {
            b'0'..=b'9' if index == 0 || value > 0 => value = value * 10 + usize::from(byte - b'0'),
            b'\r' if index > 0 && text.get(index + 1) == Some(&b'\n') => return Some((value, index + 2)),
            _ => return None,
        }
    }
    None
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
    fn a_short_length_is_never_one_that_the_rules_refuse() {
        for (text, found) in [
            (&b"0\r\n"[..], Some((0, 3))),
            (b"7\r\nx", Some((7, 3))),
            (b"42\r\n", Some((42, 4))),
            (b"100\r\n", Some((100, 5))),
            (b"07\r\n", None),
            (b"1234567\r\n", Some((1_234_567, 9))),
            (b"12345678\r\n", None),
            (b"01\r\n", None),
            (b"-1\r\n", None),
            (b"\r\n", None),
            (b"1\rX", None),
            (b"1\r", None),
            (b"1", None),
            (b"", None),
        ] {
            assert_eq!(short_length(text), found, "{text:?}");
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
