//! Properties of the request decoder: what it finds does not depend on how the bytes arrive, is within the
//! limits, and stays the same when it is encoded and decoded again.

use resp::{Decoded, RequestDecoder, RequestError, RequestLimits};

use crate::cut;

/// A request: its arguments, and whether its bytes may be passed on as they are.
type Found = (Vec<Vec<u8>>, bool);

/// The first byte chooses the limits, the second where to cut, the rest is what a client sends.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) {
    let [choice, seed, input @ ..] = data else { return };
    let limits = limits(*choice);
    let whole = decode(&[input], limits);
    assert_eq!(decode(&cut(input, (*seed).into(), 6), limits), whole, "in pieces");
    if input.len() <= 512 {
        assert_eq!(decode(&input.chunks(1).collect::<Vec<_>>(), limits), whole, "byte by byte");
    }
}

fn limits(choice: u8) -> RequestLimits {
    let default = RequestLimits { unauthenticated: choice & 1 > 0, ..RequestLimits::default() };
    if choice & 2 > 0 {
        return RequestLimits { request_bytes_max: 96, args_max: 4, bulk_bytes_max: 64, ..default };
    }
    default
}

/// All requests in `pieces`, and the error that ended them.
fn decode(pieces: &[&[u8]], limits: RequestLimits) -> (Vec<Found>, Option<RequestError>) {
    let mut decoder = RequestDecoder::new(limits);
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    // No request may be complete before its buffer is this long.
    let mut at_least = 0;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let len = match decoder.decode(&buffer) {
                Err(error) => return (found, Some(error)),
                Ok(Decoded::Incomplete { missing }) => {
                    assert!(missing > 0 && buffer.len() + missing >= at_least);
                    at_least = buffer.len() + missing;
                    break;
                }
                Ok(Decoded::Nothing { len }) => len,
                Ok(Decoded::Request { len }) => {
                    found.push(examine(&decoder, &buffer, len, limits));
                    len
                }
            };
            assert!((1..=buffer.len()).contains(&len) && len >= at_least, "{len} of {}, {at_least}", buffer.len());
            buffer.drain(..len);
            at_least = 0;
        }
    }
    (found, None)
}

/// Takes the request that the decoder has found, after a look at it from all sides.
fn examine(decoder: &RequestDecoder, buffer: &[u8], len: usize, limits: RequestLimits) -> Found {
    let request = decoder.request(buffer);
    let args: Vec<Vec<u8>> = request.args().map(<[u8]>::to_vec).collect();
    assert!(!args.is_empty() && args.len() == request.len());
    if buffer[0] == b'*' {
        assert!(args.len() <= limits.args_max && len <= limits.request_bytes_max);
        assert!(args.iter().all(|arg| arg.len() <= limits.bulk_bytes_max));
        if limits.unauthenticated {
            assert!(args.len() <= 10 && args.iter().all(|arg| arg.len() <= 16 * 1024));
        }
    }
    if let Some(raw) = request.raw() {
        assert_eq!(raw, &buffer[..len]);
    }
    let mut encoded = Vec::new();
    request.write(&mut encoded);
    let mut again = RequestDecoder::new(RequestLimits::default());
    assert_eq!(again.decode(&encoded), Ok(Decoded::Request { len: encoded.len() }));
    let decoded = again.request(&encoded);
    assert!(decoded.args().eq(request.args()), "{args:?} changed when encoded");
    assert_eq!(decoded.raw(), Some(&encoded[..]), "what we write is canonical");
    (args, request.raw().is_some())
}
