//! What a request decoder finds at the beginning of a buffer.

/// What [`RequestDecoder::decode`](crate::RequestDecoder::decode) found at the beginning of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// No whole request yet; at least `missing` further bytes are needed.
    Incomplete {
        /// A lower bound, so that a reader can make room for a large argument at once.
        missing: usize,
    },
    /// A request of `len` bytes; see [`RequestDecoder::request`](crate::RequestDecoder::request).
    Request {
        /// Bytes from the beginning of the buffer.
        len: usize,
    },
    /// `len` bytes that ask for nothing (an empty line, `*0`), which get no reply.
    Nothing {
        /// Bytes from the beginning of the buffer.
        len: usize,
    },
}
