//! Requests and commands of tests.

use std::sync::OnceLock;

use bytes::Bytes;
use resp::{Decoded, Request, RequestDecoder, RequestLimits, Value, write_request};
use route::Commands;

use crate::redis::Redis;

/// The commands of the Redis that is installed.
pub(crate) fn commands() -> &'static Commands {
    static COMMANDS: OnceLock<Commands> = OnceLock::new();
    COMMANDS.get_or_init(|| Commands::read(&Redis::start().ask(&["COMMAND"])).expect("commands"))
}

/// Looks at a request with these arguments.
pub(crate) fn with<A: AsRef<[u8]>, T>(args: &[A], look: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    write_request(&mut bytes, args);
    let mut decoder = RequestDecoder::new(RequestLimits::default());
    assert_eq!(decoder.decode(&bytes), Ok(Decoded::Request { len: bytes.len() }));
    look(&decoder.request(&bytes))
}

/// The arguments of requests that stand one after another.
pub(crate) fn requests(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut decoder = RequestDecoder::new(RequestLimits::default());
    while let Ok(Decoded::Request { len }) = decoder.decode(bytes) {
        found.push(decoder.request(bytes).args().map(<[u8]>::to_vec).collect());
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty());
    found
}

pub(crate) fn value(wire: &[u8]) -> Value {
    Value::decode(&Bytes::copy_from_slice(wire)).expect("a reply").0
}
