//! Properties of inline requests: words and quotes come apart as in Redis's `sdssplitargs`, of which a
//! second account stands here, written after Redis's own, index by index, to be as unlike ours as can be.

use resp::split_inline;

/// One line; whatever a line cannot hold is left out of it.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) {
    let line: Vec<u8> = data.iter().copied().filter(|byte| !matches!(byte, 0 | b'\n')).collect();
    let (mut out, mut ends) = (Vec::new(), Vec::new());
    let balanced = split_inline(&line, &mut out, &mut ends);
    let words = balanced.then(|| {
        let starts = [0].into_iter().chain(ends.iter().copied());
        starts.zip(&ends).map(|(start, end)| out[start..*end].to_vec()).collect::<Vec<_>>()
    });
    assert_eq!(words, as_redis_splits(&line), "{:?}", String::from_utf8_lossy(&line));
}

/// `sdssplitargs`: the words, or none where quotes are not balanced.
fn as_redis_splits(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let at = |index: usize| line.get(index).copied().unwrap_or(0);
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let (mut p, mut words) = (0, Vec::new());
    loop {
        while is_space(at(p)) {
            p += 1;
        }
        if at(p) == 0 {
            return Some(words);
        }
        let (mut word, mut double, mut single) = (Vec::new(), false, false);
        loop {
            let c = at(p);
            if double {
                let digit = |index: usize| char::from(at(index)).to_digit(16);
                if let (b'\\', b'x', Some(high), Some(low)) = (c, at(p + 1), digit(p + 2), digit(p + 3)) {
                    word.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits"));
                    p += 3;
                } else if c == b'\\' && at(p + 1) != 0 {
                    p += 1;
                    word.push(match at(p) {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => other,
                    });
                } else if c == b'"' {
                    if at(p + 1) != 0 && !is_space(at(p + 1)) {
                        return None;
                    }
                    p += 1;
                    break;
                } else if c == 0 {
                    return None;
                } else {
                    word.push(c);
                }
            } else if single {
                if c == b'\\' && at(p + 1) == b'\'' {
                    p += 1;
                    word.push(b'\'');
                } else if c == b'\'' {
                    if at(p + 1) != 0 && !is_space(at(p + 1)) {
                        return None;
                    }
                    p += 1;
                    break;
                } else if c == 0 {
                    return None;
                } else {
                    word.push(c);
                }
            } else {
                match c {
                    b' ' | b'\n' | b'\r' | b'\t' | 0 => break,
                    b'"' => double = true,
                    b'\'' => single = true,
                    other => word.push(other),
                }
            }
            p += 1;
        }
        words.push(word);
    }
}
