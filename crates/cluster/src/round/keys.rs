//! Which slots requests may be about, where nobody knows which of their arguments are keys; and what a node may say of the keys
//! of a script.

use resp::{Decoded, RequestDecoder, RequestLimits};
use route::Commands;

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

/// Whether the error `reply` to the first of these requests, in words of a node about its cluster, may be the node's: a script,
/// which can say what it likes, is executed before it says anything. Of a request without keys a node never says such
/// things, and of one with a single key not that its keys are on two nodes.
pub(crate) fn may_be_of_node(requests: &[u8], reply: &[u8], commands: &Commands) -> bool {
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return true };
    let request = decoder.request(requests);
    let name = request.arg(0).unwrap_or_default();
    let begins = |word: &[u8]| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    let Some(command) = commands.find(&request).filter(|_| begins(b"EVAL") || begins(b"FCALL")) else { return true };
    match reply {
        _ if reply.starts_with(b"-LOADING ") || reply.starts_with(b"-MASTERDOWN ") => true,
        _ if reply.starts_with(b"-TRYAGAIN Multiple keys ") => command.has_several_keys(&request),
        _ => !command.keys(&request).is_empty(),
    }
}
