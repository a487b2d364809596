//! A request as its decoder found it, and what one may cost.

use crate::write_request;

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

/// Where an argument is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One request: its arguments, borrowed from the buffer it came in.
#[derive(Debug, Clone, Copy)]
pub struct Request<'d> {
    data: &'d [u8],
    spans: &'d [Span],
    raw: &'d [u8],
    canonical: bool,
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
        self.spans.get(index).map(|span| &self.data[span.start..span.end])
    }

    /// All arguments in order, the command's name first.
    pub fn args(&self) -> impl ExactSizeIterator<Item = &'d [u8]> + use<'d> {
        let data = self.data;
        self.spans.iter().map(move |span| &data[span.start..span.end])
    }

    /// The client's own bytes where they are an array in canonical framing; otherwise (inline
    /// requests, line ends that Redis forgives) nothing, and the request has to be encoded anew.
    pub fn raw(&self) -> Option<&'d [u8]> {
        self.canonical.then_some(self.raw)
    }

    /// Appends the request as an array in canonical framing, in the client's own bytes if they are one.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.raw() {
            Some(raw) => out.extend_from_slice(raw),
            None => {
                let args: Vec<&[u8]> = self.args().collect();
                write_request(out, &args);
            }
        }
    }
}
