//! Where requests and replies end, by the least work: for programs that look at nothing else of them.

/// A number of bytes or values far beyond this is none, and a client that has sent more of one request is closed.
pub const BYTES_MAX: usize = 64 << 20;

/// What came is no request, or no reply.
#[derive(Debug, PartialEq, Eq)]
pub struct NotResp;

/// A line of `mark` and a number at `at`: the number, and where the line ends; nothing if it is not whole.
pub fn number(input: &[u8], at: usize, mark: u8) -> Result<Option<(usize, usize)>, NotResp> {
    let Some(line) = input.get(at..).filter(|line| !line.is_empty()) else { return Ok(None) };
    if line[0] != mark {
        return Err(NotResp);
    }
    let mut number = 0_usize;
    for (index, byte) in line.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' if number <= BYTES_MAX => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if line.len() > index + 1 => return Ok(Some((number, at + index + 2))),
            b'\r' => return Ok(None),
            _ => return Err(NotResp),
        }
    }
    Ok(None)
}

/// Where the value at `at` ends, of a request or of a reply in RESP2; nothing if it is not whole.
pub fn end(input: &[u8], mut at: usize) -> Result<Option<usize>, NotResp> {
    let mut values = 1_usize;
    while values > 0 {
        values -= 1;
        let (Some(mark), next) = (input.get(at), input.get(at + 1)) else { return Ok(None) };
        match mark {
            b'$' | b'*' if next != Some(&b'-') => {
                let Some((number, begin)) = number(input, at, *mark)? else { return Ok(None) };
                if *mark == b'*' {
                    (values, at) = (values + number, begin);
                } else {
                    at = begin + number + 2;
                }
            }
            b'$' | b'*' | b'+' | b'-' | b':' => {
                let Some(line) = input[at..].iter().position(|byte| *byte == b'\n') else { return Ok(None) };
                at += line + 1;
            }
            _ => return Err(NotResp),
        }
        if at > input.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_its_last_byte_is_wherever_it_is_cut() {
        for whole in [
            &b"+OK\r\n"[..],
            b"-ERR no\r\n",
            b":-12\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$3\r\na\r\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*1\r\n:1\r\n$2\r\nab\r\n",
        ] {
            let followed = [whole, b"+next\r\n"].concat();
            assert_eq!(end(&followed, 0), Ok(Some(whole.len())), "{whole:?}");
            for cut in 0..whole.len() {
                assert_eq!(end(&whole[..cut], 0), Ok(None), "{whole:?} {cut}");
            }
        }
    }

    #[test]
    fn what_is_neither_request_nor_reply_is_refused() {
        for bad in [&b"GET k\r\n"[..], b"$x\r\n", b"*99999999999\r\n", b"*1\r\n!\r\n"] {
            assert_eq!(end(bad, 0), Err(NotResp), "{bad:?}");
        }
    }
}
