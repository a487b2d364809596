//! RESP2 and RESP3 framing: bytes in, boundaries and arguments out. No I/O, no clock.
//!
//! The principal types are [`RequestDecoder`], which finds complete requests in what a client has
//! sent, [`ReplyScanner`], which finds the ends of replies in a stream of chunks, and [`Value`], a
//! reply as a tree for those who want to look inside.
//!
//! ```
//! use resp::{Decoded, RequestDecoder, RequestLimits};
//!
//! let mut decoder = RequestDecoder::new(RequestLimits::default());
//! let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
//! assert_eq!(decoder.decode(input), Ok(Decoded::Request { len: input.len() }));
//! let request = decoder.request(input);
//! assert_eq!(request.arg(0), Some(&b"GET"[..]));
//! assert_eq!(request.arg(1), Some(&b"k"[..]));
//! ```

mod decoded;
mod decoder;
mod encode;
mod error;
mod inline;
mod levels;
mod number;
mod plain;
mod push;
mod reply;
mod request;
mod value;

pub use decoded::Decoded;
pub use decoder::RequestDecoder;
pub use encode::{
    Protocol, write_array, write_bulk, write_error, write_integer, write_map, write_null, write_push, write_request,
    write_simple, write_text,
};
pub use error::{ReplyError, RequestError};
pub use inline::split_inline;
pub use number::parse_integer;
pub use plain::Run;
pub use push::{confirms, pushes_inside};
pub use reply::{Progress, ReplyKind, ReplyScanner};
pub use request::{Request, RequestLimits};
pub use value::{Value, ValueError};
