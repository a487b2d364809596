//! A request as its decoder found it, and what one may cost.

use std::fmt;

use crate::{write_array, write_bulk};

/// What one request may cost. See [`RequestDecoder`](crate::RequestDecoder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Bytes of one whole request, framing included; at most 4 GiB.
    pub request_bytes_max: usize,
    /// Arguments of one request, its name included.
    pub args_max: usize,
    /// Bytes of one argument (Redis's `proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// The client has not logged in yet: Redis then allows 10 arguments of 16 KiB.
    pub unauthenticated: bool,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { request_bytes_max: 512 << 20, args_max: 1 << 20, bulk_bytes_max: 512 << 20, unauthenticated: false }
    }
}

impl RequestLimits {
    /// None, for requests that a decoder with limits has let through before.
    pub fn accepted() -> Self {
        Self { request_bytes_max: usize::MAX, args_max: usize::MAX, bulk_bytes_max: usize::MAX, unauthenticated: false }
    }
}

/// The same as a decoder keeps it: every offset in a request has a place in a [`Span`], and so has every limit: the
/// largest is none. Each client has a decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) request_bytes_max: u32,
    pub(crate) args_max: u32,
    pub(crate) bulk_bytes_max: u32,
    pub(crate) unauthenticated: bool,
}

impl From<RequestLimits> for Limits {
    fn from(limits: RequestLimits) -> Self {
        let within_reach = |limit: usize| u32::try_from(limit).unwrap_or(Span::END_MAX);
        Self {
            request_bytes_max: within_reach(limits.request_bytes_max),
            args_max: within_reach(limits.args_max),
            bulk_bytes_max: within_reach(limits.bulk_bytes_max),
            unauthenticated: limits.unauthenticated,
        }
    }
}

/// Where an argument is. In 8 bytes, because an argument may be empty and a request have a million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The largest offset that there is.
    pub(crate) const END_MAX: u32 = u32::MAX;

    /// From `start` to `end`, which is [`END_MAX`](Self::END_MAX) at most.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= Self::END_MAX as usize, "a request is no larger");
        #[allow(clippy::cast_possible_truncation, reason = "a request is no larger")]
        Self { start: start as u32, end: end as u32 }
    }

    /// Where what comes behind it begins.
    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    fn of(self, data: &[u8]) -> &[u8] {
        &data[self.start as usize..self.end as usize]
    }
}

/// One request: its arguments, borrowed from the buffer it came in.
#[derive(Clone, Copy)]
pub struct Request<'d> {
    data: &'d [u8],
    spans: &'d [Span],
    raw: &'d [u8],
    canonical: bool,
}

impl fmt::Debug for Request<'_> {
    /// Sizes only: what a client sends has no place in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("args", &self.spans.len())
            .field("bytes", &self.raw.len())
            .finish_non_exhaustive()
    }
}

impl<'d> Request<'d> {
    pub(crate) fn new(data: &'d [u8], spans: &'d [Span], raw: &'d [u8], canonical: bool) -> Self {
        Self { data, spans, raw, canonical }
    }

    /// How many arguments, the command's name included; at least one.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Never: a request has a name.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`; 0 is the command's name.
    pub fn arg(&self, index: usize) -> Option<&'d [u8]> {
        self.spans.get(index).map(|span| span.of(self.data))
    }

    /// All arguments in order, the command's name first.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'d [u8]> + use<'d> {
        let data = self.data;
        self.spans.iter().map(move |span| span.of(data))
    }

    /// The client's own bytes where they are an array in canonical framing; otherwise (inline
    /// requests, line ends that Redis forgives) nothing, and the request has to be encoded anew.
    pub fn raw(&self) -> Option<&'d [u8]> {
        self.canonical.then_some(self.raw)
    }

    /// The first bytes of [`raw`](Self::raw), up to the end of the command's name. Requests that have these in common have
    /// the same name and as many arguments.
    pub fn head(&self) -> Option<&'d [u8]> {
        self.raw().zip(self.spans.first()).map(|(raw, name)| &raw[..name.end as usize])
    }

    /// Appends the request as an array in canonical framing, in the client's own bytes if they are one.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.raw() {
            Some(raw) => out.extend_from_slice(raw),
            None => {
                write_array(out, self.len());
                self.args().for_each(|arg| write_bulk(out, arg));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoded, RequestDecoder, RequestError};

    #[test]
    fn a_line_with_a_nul_never_ends_so_that_no_part_of_it_is_executed() {
        let decode = |input: &[u8]| RequestDecoder::new(RequestLimits::default()).decode(input);
        for input in [&b"DEL a\0b\r\n"[..], b"\0PING\r\n", b"get \"a\0\"\n", b"*1\0\r\n", b"*1\r\n\0\r\n"] {
            assert_eq!(decode(input), Ok(Decoded::Incomplete { missing: 1 }), "{input:?}");
        }
        let long = [&b"DEL a\0\n"[..], &[b'a'; 64 * 1024]].concat();
        assert_eq!(decode(&long), Err(RequestError::InlineTooLong));
    }

    #[test]
    fn only_canonical_framing_is_passed_on_raw() {
        for (input, raw) in [
            (&b"*1\r\n$4\r\nPING\r\n"[..], true),
            (b"*1\rX$4\r\nPING\r\n", false),
            (b"*1\r\n$4\r\nPINGxx", false),
            (b"PING\r\n", false),
        ] {
            let mut decoder = RequestDecoder::new(RequestLimits::default());
            // A request before it must not leave its mark.
            assert!(matches!(decoder.decode(b"GET a\n"), Ok(Decoded::Request { len: 6 })));
            assert_eq!(decoder.decode(input), Ok(Decoded::Request { len: input.len() }), "{input:?}");
            let request = decoder.request(input);
            assert_eq!(request.raw().is_some(), raw, "{input:?}");
            let mut out = Vec::new();
            request.write(&mut out);
            assert_eq!(out, b"*1\r\n$4\r\nPING\r\n");
        }
    }

    #[test]
    fn debug_output_holds_nothing_of_what_a_client_sent() {
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        let input = b"AUTH hunter2\r\n";
        assert_eq!(decoder.decode(input), Ok(Decoded::Request { len: input.len() }));
        let shown = format!("{:?}", decoder.request(input));
        let bytes = format!("{:?}", b"hunter2").replace(['[', ']'], "");
        assert!(!shown.contains("hunter2") && !shown.contains(&bytes) && shown.contains("args: 2"), "{shown}");
    }
}
