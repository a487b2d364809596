//! Canned replies: finds the requests in what a client has sent and answers each without looking at its
//! key, since nothing is stored. Used by the floor. It allocates nothing once its buffers have grown.

use crate::serve::framing::{BYTES_MAX, NotResp, number};

/// Replies of more than this have to be on their way before further requests are answered, in bytes.
const REPLIES_BYTES_MAX: usize = 1 << 20;
/// Items of an answer to `LRANGE`: what the harness asks for.
const RANGE_ITEMS: usize = 10;

/// What is said to one client after the other.
#[derive(Debug)]
pub struct Canned {
    /// A value as a reply, as long as the last that was set.
    value: Vec<u8>,
    value_bytes: usize,
}

impl Default for Canned {
    fn default() -> Self {
        let mut canned = Self { value: Vec::new(), value_bytes: usize::MAX };
        canned.adopt(64);
        canned
    }
}

impl Canned {
    /// Appends a reply to `out` for each whole request in `input`, as far as `out` has room, and tells how
    /// many bytes these have.
    ///
    /// # Errors
    /// `input` holds something else, or the beginning of a request that is too long.
    pub fn answer(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, NotResp> {
        let mut done = 0;
        while out.len() < REPLIES_BYTES_MAX
            && let Some(length) = self.one(&input[done..], out)?
        {
            done += length;
        }
        if input.len() - done > BYTES_MAX { Err(NotResp) } else { Ok(done) }
    }

    /// Answers the first request; gives its length if it is whole.
    fn one(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, NotResp> {
        let Some((count, mut at)) = number(input, 0, b'*')? else { return Ok(None) };
        let (mut name, mut last) = (0..0, 0..0);
        for index in 0..count {
            let Some((length, begin)) = number(input, at, b'$')? else { return Ok(None) };
            let end = begin.checked_add(length).ok_or(NotResp)?;
            if input.len() < end + 2 {
                return Ok(None);
            }
            last = begin..end;
            if index == 0 {
                name = begin..end;
            }
            at = end + 2;
        }
        self.reply(&input[name], count, last.len(), out);
        Ok(Some(at))
    }

    fn reply(&mut self, name: &[u8], count: usize, last_bytes: usize, out: &mut Vec<u8>) {
        match name {
            b"GET" => out.extend_from_slice(&self.value),
            b"SET" => {
                self.adopt(last_bytes);
                out.extend_from_slice(b"+OK\r\n");
            }
            b"PING" => out.extend_from_slice(b"+PONG\r\n"),
            b"INCR" | b"LPUSH" | b"RPUSH" | b"DEL" => out.extend_from_slice(b":1\r\n"),
            b"MGET" => self.values(count.saturating_sub(1), out),
            b"LRANGE" => self.values(RANGE_ITEMS, out),
            b"BLPOP" => self.values(2, out),
            b"EXEC" => out.extend_from_slice(b"*2\r\n:1\r\n+OK\r\n"),
            _ => out.extend_from_slice(b"+OK\r\n"),
        }
    }

    fn values(&self, count: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{count}\r\n").as_bytes());
        (0..count).for_each(|_| out.extend_from_slice(&self.value));
    }

    fn adopt(&mut self, bytes: usize) {
        if bytes != self.value_bytes {
            self.value_bytes = bytes;
            self.value = format!("${bytes}\r\n").into_bytes();
            self.value.resize(self.value.len() + bytes, b'x');
            self.value.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_whole_request_is_answered_once_wherever_it_is_cut() {
        let input =
            b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nabc\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let whole = {
            let (mut canned, mut out) = (Canned::default(), Vec::new());
            assert_eq!(canned.answer(input, &mut out), Ok(input.len()));
            out
        };
        assert!(whole.starts_with(b"$64\r\nxxx") && whole.ends_with(b"x\r\n+OK\r\n$3\r\nxxx\r\n"));
        for cut in 0..input.len() {
            let (mut canned, mut out) = (Canned::default(), Vec::new());
            let first = canned.answer(&input[..cut], &mut out).unwrap();
            assert_eq!(canned.answer(&input[first..], &mut out), Ok(input.len() - first), "{cut}");
            assert_eq!(out, whole, "{cut}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bad in [&b"GET k\r\n"[..], b"*1\r\n:1\r\n", b"*99999999999\r\n", b"*x\r\n"] {
            assert_eq!(Canned::default().answer(bad, &mut Vec::new()), Err(NotResp));
        }
    }
}
