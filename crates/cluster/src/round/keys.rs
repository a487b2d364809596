//! Which slots requests may be about, where nobody knows which of their arguments are keys.

use resp::{Decoded, RequestDecoder, RequestLimits};

/// Whether an argument of one of these requests is in this slot.
pub(crate) fn has_slot(requests: &[u8], slot: u16) -> bool {
    let (mut decoder, mut at) = (RequestDecoder::new(RequestLimits::accepted()), 0);
    while let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) {
        if decoder.request(&requests[at..]).args().any(|arg| route::slot(arg) == slot) {
            return true;
        }
        at += len;
    }
    false
}
