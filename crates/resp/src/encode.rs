//! Writing RESP: requests for an upstream, and the replies that the gateway makes itself.

use crate::number::write_decimal;

/// The protocol version a reply is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// RESP2, what every connection begins with.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}

impl Protocol {
    /// 2 or 3.
    pub fn version(self) -> i64 {
        match self {
            Self::Resp2 => 2,
            Self::Resp3 => 3,
        }
    }
}

fn line(out: &mut Vec<u8>, kind: u8, number: i64) {
    out.push(kind);
    write_decimal(out, number);
    out.extend_from_slice(b"\r\n");
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// Appends a request as an array of bulk strings.
pub fn write_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    write_array(out, args.len());
    for arg in args {
        write_bulk(out, arg.as_ref());
    }
}

/// Appends a simple string; `text` must not hold CR or LF.
pub fn write_simple(out: &mut Vec<u8>, text: &str) {
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends an error. CR and LF in `text` become spaces, as in Redis, so that no text can break
/// the framing.
pub fn write_error<T: AsRef<[u8]> + ?Sized>(out: &mut Vec<u8>, text: &T) {
    out.push(b'-');
    out.extend(text.as_ref().iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// Appends an integer.
pub fn write_integer(out: &mut Vec<u8>, number: i64) {
    line(out, b':', number);
}

/// Appends a bulk string.
pub fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, b'$', count(bytes.len()));
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends text: a bulk string in RESP2, a verbatim string in RESP3.
pub fn write_text(out: &mut Vec<u8>, protocol: Protocol, text: &str) {
    match protocol {
        Protocol::Resp2 => write_bulk(out, text.as_bytes()),
        Protocol::Resp3 => {
            line(out, b'=', count(text.len() + 4));
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends the null of the protocol version: `$-1` or `_`.
pub fn write_null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// Appends the head of an array of `items`.
pub fn write_array(out: &mut Vec<u8>, items: usize) {
    line(out, b'*', count(items));
}

/// Appends the head of a map of `pairs`: an array of twice as many items in RESP2.
pub fn write_map(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => line(out, b'*', count(pairs * 2)),
        Protocol::Resp3 => line(out, b'%', count(pairs)),
    }
}

/// Appends the head of a push message of `items`: an array in RESP2.
pub fn write_push(out: &mut Vec<u8>, protocol: Protocol, items: usize) {
    let kind = match protocol {
        Protocol::Resp2 => b'*',
        Protocol::Resp3 => b'>',
    };
    line(out, kind, count(items));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_text_cannot_break_the_framing() {
        let mut out = Vec::new();
        write_error(&mut out, "ERR a\r\n+OK");
        assert_eq!(out, b"-ERR a  +OK\r\n");
    }

    #[test]
    fn maps_are_flat_in_resp2() {
        let mut out = Vec::new();
        write_map(&mut out, Protocol::Resp2, 2);
        write_map(&mut out, Protocol::Resp3, 2);
        assert_eq!(out, b"*4\r\n%2\r\n");
    }
}
