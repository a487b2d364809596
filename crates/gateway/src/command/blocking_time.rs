//! How long a request asks the upstream to let it wait. Used by `request`: an upstream that stays
//! silent for longer than that is no longer waiting, but stuck.

use std::time::Duration;

use resp::Request;

use crate::command::stream_read;

/// Longer than this is as good as for ever.
const BLOCKING_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The time-out of a blocking request; `None` for none. Nothing where the upstream will refuse it at once.
pub(crate) fn blocking_time(request: &Request<'_>) -> Option<Duration> {
    let (at, unit) = place(request)?;
    let text = request.arg(at).and_then(|arg| std::str::from_utf8(arg).ok());
    if text.is_some_and(|text| text.contains(['x', 'X'])) {
        // Redis takes hexadecimal seconds, too. They are nobody's habit: it may take as long as it likes.
        return None;
    }
    let asked = text.and_then(|text| text.parse().ok()).map_or(Err(()), |asked: f64| {
        if asked == 0.0 { Ok(None) } else { Duration::try_from_secs_f64(asked * unit).map(Some).map_err(drop) }
    });
    asked.unwrap_or(Some(Duration::ZERO)).filter(|asked| *asked < BLOCKING_MAX)
}

/// Where the time-out stands, and in which part of a second it is; nothing of a command that is known to block, and no
/// more.
fn place(request: &Request<'_>) -> Option<(usize, f64)> {
    let name = request.arg(0).unwrap_or_default().to_ascii_uppercase();
    Some(match name.as_slice() {
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => (request.len() - 1, 1.0),
        b"BLMPOP" | b"BZMPOP" => (1, 1.0),
        b"WAIT" => (2, 1e-3),
        b"WAITAOF" => (3, 1e-3),
        b"XREAD" | b"XREADGROUP" => (stream_read::timeout_at(request).unwrap_or(request.len()), 1e-3),
        _ => return None,
    })
}

/// Where the time-out stands, and what stands there for another one.
pub(crate) fn time_out(request: &Request<'_>, time: Duration) -> Option<(usize, String)> {
    let (at, unit) = place(request)?;
    let text = if unit < 1.0 { time.as_millis().to_string() } else { format!("{:.3}", time.as_secs_f64()) };
    (at < request.len()).then_some((at, text))
}

#[cfg(test)]
mod tests {
    use resp::{Decoded, RequestDecoder, RequestLimits};

    use super::*;

    fn of(line: &str) -> Option<Duration> {
        let line = format!("{line}\r\n");
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        assert_eq!(decoder.decode(line.as_bytes()), Ok(Decoded::Request { len: line.len() }));
        blocking_time(&decoder.request(line.as_bytes()))
    }

    #[test]
    fn each_command_has_its_time_out_where_it_has_it() {
        for line in ["BLPOP 9 9 1.5", "BLMOVE a b LEFT LEFT 1.5", "BZMPOP 1.5 1 key MIN", "blmpop 1.5 1 key LEFT"] {
            assert_eq!(of(line), Some(Duration::from_millis(1500)), "{line}");
        }
        let group = "XREADGROUP GROUP block 9 BLOCK 1500 STREAMS s >";
        for line in ["WAIT 1 1500", "WAITAOF 1 1 1500", "XREAD COUNT 2 block 1500 STREAMS s $", group] {
            assert_eq!(of(line), Some(Duration::from_millis(1500)), "{line}");
        }
    }

    #[test]
    fn nought_is_for_ever_and_nonsense_is_refused_at_once() {
        for line in
            ["BLPOP key 0", "WAIT 1 0", "XREAD BLOCK 0 STREAMS s $", "BLPOP key 1e12", "BLPOP key 0x1p3", "M.BPOP 1"]
        {
            assert_eq!(of(line), None, "{line}");
        }
        for line in ["BLPOP key nonsense", "BLPOP key -1", "BLPOP", "WAIT 1", "XREAD BLOCK", "BLPOP key nan"] {
            assert_eq!(of(line), Some(Duration::ZERO), "{line}");
        }
    }
}
