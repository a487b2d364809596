//! Framing of requests. Resumable: what was seen once is not looked at again, and no tree is built;
//! arguments are spans of the caller's buffer. The rules are those of Redis's `networking.c`.

use std::ops::Range;

use memchr::memchr2;

use crate::number::{parse_integer, short_length};
use crate::{
    Decoded, Request, RequestError, RequestLimits,
    inline::split_inline,
    request::{Limits, Span},
};

/// Redis's `PROTO_INLINE_MAX_SIZE`: the longest inline request, count line or length line, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Arguments, and bytes of an inline request, whose memory is kept from one request to the next.
const KEPT: (usize, usize) = (128, 1024);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// Looking for the length line of the next of so many arguments.
    Length(u32),
    /// Waiting for the argument that will be there, the first of so many.
    Bulk(u32, Span),
}

/// Finds requests in a client's bytes, one at a time.
///
/// The buffer given to [`decode`](Self::decode) always begins where the current request begins and
/// only grows until that request is complete; the caller then drops the request's bytes and goes on.
pub struct RequestDecoder {
    limits: Limits,
    state: State,
    /// The offset up to which the buffer has been understood.
    at: usize,
    /// The offset up to which the current line has been searched for its end.
    searched: usize,
    spans: Vec<Span>,
    /// The unquoted arguments of an inline request, which have no place in the buffer.
    inline: Vec<u8>,
    canonical: bool,
    is_inline: bool,
}

impl RequestDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: RequestLimits) -> Self {
        Self {
            limits: limits.into(),
            state: State::Start,
            at: 0,
            searched: 0,
            spans: Vec::new(),
            inline: Vec::new(),
            canonical: true,
            is_inline: false,
        }
    }

    /// Changes the limits, from the next length that is read on.
    pub fn set_limits(&mut self, limits: RequestLimits) {
        self.limits = limits.into();
    }

    /// Bytes of memory that it holds for the request at hand and the last one.
    pub fn held_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.inline.capacity()
    }

    /// Gives back the memory that few requests need. The last request is forgotten; one that has been begun is not.
    pub fn shrink(&mut self) {
        if self.state == State::Start {
            self.spans.clear();
        }
        if self.spans.capacity() > KEPT.0.max(4 * self.spans.len()) {
            self.spans.shrink_to(KEPT.0.max(2 * self.spans.len()));
        }
        if self.inline.capacity() > KEPT.1 {
            self.inline = Vec::new();
        }
    }

    /// A decoder with the same limits at the beginning of a request.
    pub fn restarted(&self) -> Self {
        Self { limits: self.limits, ..Self::new(RequestLimits::accepted()) }
    }

    /// Whether a request has been begun and not finished.
    pub fn is_midway(&self) -> bool {
        self.state != State::Start || self.searched > 0
    }

    /// Looks for one whole request at the beginning of `buffer`.
    ///
    /// # Errors
    /// The bytes break the protocol or a limit: answer the text and close, as Redis does.
    #[inline]
    pub fn decode(&mut self, buffer: &[u8]) -> Result<Decoded, RequestError> {
        let plain = self.decode_plain(buffer);
        plain.map_or_else(|| self.decode_in_steps(buffer), |len| Ok(Decoded::Request { len }))
    }

    fn decode_in_steps(&mut self, buffer: &[u8]) -> Result<Decoded, RequestError> {
        if self.state == State::Start {
            self.at = 0;
            self.canonical |= self.searched == 0;
            match buffer.first() {
                None => return Ok(Decoded::Incomplete { missing: 1 }),
                Some(b'*') => {
                    let Some(line) = self.line(buffer, RequestError::MultibulkLineTooLong)? else {
                        return Ok(Decoded::Incomplete { missing: 1 });
                    };
                    let count = parse_integer(&buffer[1..line.end]).ok_or(RequestError::MultibulkLength)?;
                    if count <= 0 {
                        self.restart();
                        return Ok(Decoded::Nothing { len: line.end + 2 });
                    }
                    let left = u32::try_from(count).map_err(|_| RequestError::MultibulkLength)?;
                    if left > self.limits.args_max {
                        return Err(RequestError::MultibulkLength);
                    }
                    if self.limits.unauthenticated && left > 10 {
                        return Err(RequestError::UnauthenticatedMultibulkLength);
                    }
                    self.begin(false);
                    self.state = State::Length(left);
                }
                Some(_) => return self.decode_inline(buffer),
            }
        }
        self.decode_args(buffer)
    }

    /// The common case in one go: a request in canonical framing that is whole, with short lengths. Nothing where there is
    /// more to decide. Some 190 instructions a request, instead of 416 by the steps that can be resumed.
    fn decode_plain(&mut self, buffer: &[u8]) -> Option<usize> {
        let (count, len) = short_length(buffer.strip_prefix(b"*").filter(|_| !self.is_midway())?)?;
        let limits = self.limits;
        if count == 0 || count > limits.args_max as usize || limits.unauthenticated {
            return None;
        }
        self.begin(false);
        let mut at = 1 + len;
        for _ in 0..count {
            let (length, len) = short_length(buffer.get(at..)?.strip_prefix(b"$")?)?;
            let start = at + 1 + len;
            let end = start + length;
            let fits = length <= limits.bulk_bytes_max as usize && end + 2 <= limits.request_bytes_max as usize;
            if !fits || buffer.get(end..end + 2)? != b"\r\n" {
                return None;
            }
            self.spans.push(Span::new(start, end));
            at = end + 2;
        }
        self.at = at;
        self.canonical = true;
        Some(at)
    }

    /// The request that [`decode`](Self::decode) has just found in the same `buffer`.
    pub fn request<'d>(&'d self, buffer: &'d [u8]) -> Request<'d> {
        let data = if self.is_inline { &self.inline[..] } else { buffer };
        Request::new(data, &self.spans, &buffer[..self.at], self.canonical)
    }

    fn begin(&mut self, is_inline: bool) {
        self.spans.clear();
        self.inline.clear();
        self.is_inline = is_inline;
        self.canonical &= !is_inline;
    }

    fn restart(&mut self) {
        self.state = State::Start;
        self.at = 0;
        self.searched = 0;
    }

    /// The line that begins at `at`, without its end, which is stepped over. Redis looks for CR only, as in a
    /// C string: it takes whatever byte follows for the LF, and finds nothing behind a NUL.
    fn line(&mut self, buffer: &[u8], too_long: RequestError) -> Result<Option<Range<usize>>, RequestError> {
        let from = self.searched.max(self.at);
        let end = memchr2(b'\r', 0, &buffer[from..]).map_or(buffer.len(), |found| from + found);
        match buffer.get(end) {
            Some(b'\r') if end + 1 < buffer.len() => {
                let line = self.at..end;
                self.canonical &= buffer[line.end + 1] == b'\n';
                self.at = line.end + 2;
                self.searched = self.at;
                Ok(Some(line))
            }
            Some(b'\r') => {
                self.searched = end;
                Ok(None)
            }
            _ if buffer.len() - self.at > LINE_BYTES_MAX => Err(too_long),
            _ => {
                self.searched = end;
                Ok(None)
            }
        }
    }

    fn decode_args(&mut self, buffer: &[u8]) -> Result<Decoded, RequestError> {
        loop {
            match self.state {
                State::Start => unreachable!("the count line was read"),
                State::Length(0) => {
                    self.state = State::Start;
                    self.searched = 0;
                    return Ok(Decoded::Request { len: self.at });
                }
                State::Length(left) => {
                    let Some(line) = self.line(buffer, RequestError::BulkLineTooLong)? else {
                        return Ok(Decoded::Incomplete { missing: 1 });
                    };
                    if buffer[line.start] != b'$' {
                        return Err(RequestError::ExpectedBulk(buffer[line.start]));
                    }
                    let end = self.at + self.bulk_length(&buffer[line.start + 1..line.end])?;
                    if end + 2 > self.limits.request_bytes_max as usize {
                        return Err(RequestError::TooLarge(self.limits.request_bytes_max as usize));
                    }
                    self.state = State::Bulk(left, Span::new(self.at, end));
                }
                State::Bulk(left, span) => {
                    let end = span.end();
                    if buffer.len() < end + 2 {
                        return Ok(Decoded::Incomplete { missing: end + 2 - buffer.len() });
                    }
                    self.canonical &= buffer[end..end + 2] == *b"\r\n";
                    self.spans.push(span);
                    self.at = end + 2;
                    self.searched = self.at;
                    self.state = State::Length(left - 1);
                }
            }
        }
    }

    fn bulk_length(&self, digits: &[u8]) -> Result<usize, RequestError> {
        let length = parse_integer(digits).ok_or(RequestError::BulkLength)?;
        let length = usize::try_from(length).map_err(|_| RequestError::BulkLength)?;
        if self.limits.bulk_bytes_max < Span::END_MAX && length > self.limits.bulk_bytes_max as usize {
            return Err(RequestError::BulkLength);
        }
        if self.limits.unauthenticated && length > 16 * 1024 {
            return Err(RequestError::UnauthenticatedBulkLength);
        }
        Ok(length)
    }

    fn decode_inline(&mut self, buffer: &[u8]) -> Result<Decoded, RequestError> {
        let found = memchr2(b'\n', 0, &buffer[self.searched..]);
        let end = found.map_or(buffer.len(), |found| self.searched + found);
        // Redis looks for the end of a line as in a C string: nothing behind a NUL is ever found.
        if buffer.get(end) != Some(&b'\n') {
            self.searched = end;
            if buffer.len() > LINE_BYTES_MAX {
                return Err(RequestError::InlineTooLong);
            }
            return Ok(Decoded::Incomplete { missing: 1 });
        }
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        self.begin(true);
        self.restart();
        let mut ends = Vec::new();
        if !split_inline(line, &mut self.inline, &mut ends) {
            return Err(RequestError::UnbalancedQuotes);
        }
        if ends.is_empty() {
            return Ok(Decoded::Nothing { len: end + 1 });
        }
        let mut start = 0;
        self.spans.extend(ends.iter().map(|end| Span::new(std::mem::replace(&mut start, *end), *end)));
        self.at = end + 1;
        Ok(Decoded::Request { len: end + 1 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::write_request;

    type Found = Vec<Vec<Vec<u8>>>;

    /// Feeds `input` in `pieces` and returns the requests found and the error that ended it.
    fn run<'i>(pieces: impl IntoIterator<Item = &'i [u8]>, limits: RequestLimits) -> (Found, Option<RequestError>) {
        let mut decoder = RequestDecoder::new(limits);
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.decode(&buffer) {
                    Ok(Decoded::Incomplete { missing }) => {
                        assert!(missing > 0);
                        break;
                    }
                    Ok(Decoded::Request { len }) => {
                        found.push(decoder.request(&buffer).args().map(<[u8]>::to_vec).collect());
                        buffer.drain(..len);
                    }
                    Ok(Decoded::Nothing { len }) => drop(buffer.drain(..len)),
                    Err(error) => return (found, Some(error)),
                }
            }
        }
        (found, None)
    }

    fn whole(input: &[u8]) -> (Found, Option<RequestError>) {
        run([input], RequestLimits::default())
    }

    #[test]
    fn errors_are_those_of_redis() {
        for (input, error) in [
            (&b"*02\r\n"[..], RequestError::MultibulkLength),
            (b"*abc\r\n", RequestError::MultibulkLength),
            (b"*1048577\r\n", RequestError::MultibulkLength),
            (b"*1\r\n:1\r\n", RequestError::ExpectedBulk(b':')),
            (b"*1\r\n$-1\r\n", RequestError::BulkLength),
            (b"*1\r\n$01\r\na\r\n", RequestError::BulkLength),
            (b"*1\r\n$99999999999\r\n", RequestError::BulkLength),
            (b"get \"a\r\n", RequestError::UnbalancedQuotes),
        ] {
            assert_eq!(whole(input), (vec![], Some(error)), "{input:?}");
        }
        let long = vec![b'a'; LINE_BYTES_MAX + 1];
        assert_eq!(whole(&long).1, Some(RequestError::InlineTooLong));
        assert_eq!(whole(&[b"*", &long[..]].concat()).1, Some(RequestError::MultibulkLineTooLong));
        assert_eq!(whole(&[b"*1\r\n$", &long[..]].concat()).1, Some(RequestError::BulkLineTooLong));
    }

    #[test]
    fn limits_hold_before_login_and_for_the_whole_request() {
        let limits = RequestLimits { unauthenticated: true, ..Default::default() };
        assert_eq!(run([&b"*11\r\n"[..]], limits).1, Some(RequestError::UnauthenticatedMultibulkLength));
        assert_eq!(run([&b"*1\r\n$16385\r\n"[..]], limits).1, Some(RequestError::UnauthenticatedBulkLength));
        let limits = RequestLimits { request_bytes_max: 100, ..Default::default() };
        assert_eq!(run([&b"*2\r\n$80\r\n"[..]], limits).1, None);
        assert_eq!(run([&b"*2\r\n$100\r\n"[..]], limits).1, Some(RequestError::TooLarge(100)));
    }

    #[test]
    fn empty_requests_ask_for_nothing() {
        let (found, error) = whole(b"*0\r\n*-1\r\n\r\n  \n*1\r\n$4\r\nPING\r\n");
        assert_eq!((found, error), (vec![vec![b"PING".to_vec()]], None));
    }

    #[test]
    fn the_memory_of_a_request_of_many_arguments_is_given_back() {
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        for many in [
            [&b"*100000\r\n"[..], &b"$0\r\n\r\n".repeat(100_000)].concat(),
            [&b"x ".repeat(30_000)[..], b"\n"].concat(),
        ] {
            let (head, small) = (many.len() - 1, b"*1\r\n$4\r\nPING\r\n");
            assert!(matches!(decoder.decode(&many[..head]), Ok(Decoded::Incomplete { .. })));
            decoder.shrink();
            assert_eq!(decoder.decode(&many), Ok(Decoded::Request { len: many.len() }));
            assert!(decoder.held_bytes() >= 8 * decoder.request(&many).len());
            decoder.shrink();
            assert!(decoder.held_bytes() <= 2 * 1024, "{}", decoder.held_bytes());
            assert_eq!(decoder.decode(small), Ok(Decoded::Request { len: small.len() }));
        }
    }

    fn requests() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let arg = prop::collection::vec(any::<u8>(), 0..40);
        prop::collection::vec(prop::collection::vec(arg, 1..6), 1..8)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_requests(requests in requests(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let mut input = Vec::new();
            for request in &requests {
                write_request(&mut input, request);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            prop_assert_eq!(run(pieces, RequestLimits::default()), (requests, None));
        }

        #[test]
        fn arbitrary_bytes_give_the_same_whole_and_bytewise(input in prop::collection::vec(prop::sample::select(b"*$:+-0123\r\n\"' ab\0".to_vec()), 0..80)) {
            let limits = RequestLimits { request_bytes_max: 200, args_max: 8, bulk_bytes_max: 100, unauthenticated: false };
            prop_assert_eq!(run(input.chunks(1), limits), run([&input[..]], limits));
        }
    }
}
