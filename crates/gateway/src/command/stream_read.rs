//! Whether an `XREAD` or `XREADGROUP` blocks: its options, read one after another as Redis reads them. A group, a
//! consumer or a stream may be called like an option. Asked by `classify`, and for the time-out by `exclusive`.

use resp::Request;

/// Where the time-out stands of a request that may block. `None` for one that does not block, or that Redis refuses.
pub(crate) fn timeout_at(request: &Request<'_>) -> Option<usize> {
    let in_group = request.arg(0)?.eq_ignore_ascii_case(b"XREADGROUP");
    let (mut at, mut timeout_at, mut has_group) = (1, None, false);
    loop {
        let option = request.arg(at)?;
        let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        let left = request.len() - at - 1;
        at += match () {
            // No streams can follow.
            () if left == 0 => return None,
            () if is("STREAMS") => {
                let is_whole = left.is_multiple_of(2) && has_group == in_group;
                return timeout_at.filter(|_| is_whole);
            }
            () if is("BLOCK") => {
                timeout_at = Some(at + 1);
                2
            }
            () if is("COUNT") => 2,
            () if is("GROUP") && left > 1 && in_group => {
                has_group = true;
                3
            }
            () if is("NOACK") && in_group => 1,
            // Redis 7 refuses any other option. A later one may know it and block, which must not happen to a
            // connection that is shared.
            () => return timeout_at.or_else(|| block_after(at, request)),
        };
    }
}

/// Where the names of the streams stand of an `XREAD` that blocks; as many ids follow them.
pub(crate) fn streams_at(request: &Request<'_>) -> Option<usize> {
    // All other options have one argument.
    (1..request.len())
        .step_by(2)
        .find(|at| request.arg(*at).is_some_and(|arg| arg.eq_ignore_ascii_case(b"STREAMS")))
        .map(|at| at + 1)
}

/// The argument that follows the first `BLOCK` from `at` on.
fn block_after(at: usize, request: &Request<'_>) -> Option<usize> {
    let found = request.args().skip(at).position(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))?;
    Some(at + found + 1)
}

#[cfg(test)]
mod tests {
    use resp::{Decoded, RequestDecoder, RequestLimits};

    use super::*;

    fn of(line: &str) -> Option<String> {
        let line = format!("{line}\r\n");
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        assert_eq!(decoder.decode(line.as_bytes()), Ok(Decoded::Request { len: line.len() }));
        let request = decoder.request(line.as_bytes());
        timeout_at(&request).map(|at| String::from_utf8_lossy(request.arg(at).unwrap_or(b"nothing")).into_owned())
    }

    #[test]
    fn options_are_found_where_redis_finds_them() {
        for line in [
            "xread block 7 streams s $",
            "XREAD COUNT 1 BLOCK 7 STREAMS s $",
            "XREAD BLOCK 1 BLOCK 7 STREAMS a b 0 0",
            "XREADGROUP GROUP streams c BLOCK 7 STREAMS s >",
            "XREADGROUP GROUP g streams BLOCK 7 STREAMS s >",
            "XREADGROUP GROUP block block BLOCK 7 STREAMS s >",
            "XREADGROUP BLOCK 7 NOACK COUNT 1 GROUP g c STREAMS s >",
        ] {
            assert_eq!(of(line).as_deref(), Some("7"), "{line}");
        }
        for line in [
            "XREAD STREAMS block 7",
            "XREAD COUNT 1 STREAMS block 0",
            "XREADGROUP GROUP block c STREAMS s >",
            "XREADGROUP GROUP g block STREAMS s >",
            "XREADGROUP GROUP g c COUNT block STREAMS s >",
            "XREADGROUP GROUP g c STREAMS block s > >",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn what_redis_refuses_does_not_block() {
        for line in [
            "XREAD",
            "XREAD BLOCK",
            "XREAD BLOCK 7",
            "XREAD BLOCK 7 STREAMS",
            "XREAD BLOCK 7 STREAMS s",
            "XREADGROUP GROUP g",
            "XREADGROUP BLOCK 7 STREAMS s >",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn what_only_a_later_redis_knows_may_block() {
        assert_eq!(of("XREADGROUP GROUP g c BLOCK 7 CLAIM 10 STREAMS s >").as_deref(), Some("7"));
        assert_eq!(of("XREADGROUP GROUP g c CLAIM 10 BLOCK 7 STREAMS s >").as_deref(), Some("7"));
        assert_eq!(of("XREAD CLAIM 10 STREAMS s $"), None);
    }
}
