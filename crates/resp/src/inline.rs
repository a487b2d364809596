//! Inline requests: one line of words, with the quoting of Redis's `sdssplitargs`.

/// Splits a line into arguments, appending their bytes to `out` and the end of each to `ends`.
/// Double quotes know `\n \r \t \b \a \xHH` and `\` before any other byte; single quotes know `\'`.
/// There is no NUL in a line, since Redis takes lines for C strings; see [`RequestDecoder`](crate::RequestDecoder).
/// Returns `false` where quotes do not match or a closing quote is followed by anything but space.
pub fn split_inline(line: &[u8], out: &mut Vec<u8>, ends: &mut Vec<usize>) -> bool {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return true;
        }
        match word(rest, out) {
            Some(tail) => rest = tail,
            None => return false,
        }
        ends.push(out.len());
    }
}

/// C's `isspace`, which also counts the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Reads one word; quoted parts may stand anywhere in it. `None` where the quoting is wrong.
fn word<'l>(mut rest: &'l [u8], out: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return Some(&[]),
            [b'"', tail @ ..] => return quoted(double_quoted(tail, out)?),
            [b'\'', tail @ ..] => return quoted(single_quoted(tail, out)?),
            // Fewer than separate words: to Redis a vertical tab or form feed inside a word is part of it.
            [b' ' | b'\t' | b'\r' | b'\n', tail @ ..] => return Some(tail),
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

/// A closing quote ends the word and must be followed by space or the end of the line.
fn quoted(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(&[]),
        [byte, ..] if is_space(*byte) => Some(rest),
        _ => None,
    }
}

fn double_quoted<'l>(mut rest: &'l [u8], out: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', tail @ ..] => return Some(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', byte, tail @ ..] => {
                out.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn single_quoted<'l>(mut rest: &'l [u8], out: &mut Vec<u8>) -> Option<&'l [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', tail @ ..] => return Some(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        split_inline(line, &mut out, &mut ends).then(|| {
            let mut from = 0;
            ends.iter().map(|end| out[std::mem::replace(&mut from, *end)..*end].to_vec()).collect()
        })
    }

    #[test]
    fn words_and_quotes_as_redis_splits_them() {
        assert_eq!(split(b"  set  k v "), Some(vec![b"set".to_vec(), b"k".to_vec(), b"v".to_vec()]));
        assert_eq!(split(b"set k \"a\\x41\\n\\q\""), Some(vec![b"set".to_vec(), b"k".to_vec(), b"aA\nq".to_vec()]));
        assert_eq!(split(b"set k 'it\\'s \\n'"), Some(vec![b"set".to_vec(), b"k".to_vec(), b"it's \\n".to_vec()]));
        assert_eq!(split(b"get \"\""), Some(vec![b"get".to_vec(), b"".to_vec()]));
        assert_eq!(split(b"get a\"b c\""), Some(vec![b"get".to_vec(), b"ab c".to_vec()]));
        assert_eq!(split(b""), Some(vec![]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&b"get \"a"[..], b"get 'a", b"get \"a\"b", b"get 'a'b", b"get \"a\\"] {
            assert_eq!(split(line), None, "{line:?}");
        }
    }
}
