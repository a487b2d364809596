//! Which slots requests may be about, where nobody knows which of their arguments are keys; what a node may say of the keys of
//! a script; and which requests a transaction with keys of a slot may hold.

use resp::{Decoded, Request, RequestDecoder, RequestLimits};
use route::{Commands, Route};
use topology::Refusal;

use crate::{map::Map, round::unit::is, shown::standalone::NO_CLUSTER, taught::loads_script};

/// Redis's own.
const CROSS_SLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// Where clients see a cluster.
const ABOUT_CLUSTER: &str = "ERR respool: requests about the cluster cannot be part of a transaction";

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
    let Some(command) = commands.find(&request).filter(|_| runs_script(&request)) else { return true };
    match reply {
        // A replica says it in the words of the script, too: see `refusal`.
        _ if reply.starts_with(b"-READONLY ") => false,
        _ if reply.starts_with(b"-LOADING ") || reply.starts_with(b"-MASTERDOWN ") => true,
        _ if reply.starts_with(b"-TRYAGAIN Multiple keys ") => command.has_several_keys(&request),
        _ => !command.keys(&request).is_empty(),
    }
}

/// Why a node may have refused the scripts among these requests, which are one or a transaction: they wrote nothing then. All
/// else there only reads. One with keys would have been sent elsewhere.
pub(crate) fn refusal(requests: &[u8], reply: &[u8], commands: &Commands) -> Option<Refusal> {
    let refusal = Refusal::read(reply)?;
    let (mut decoder, mut at, mut has_script) = (RequestDecoder::new(RequestLimits::accepted()), 0, false);
    while let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) {
        let request = decoder.request(&requests[at..]);
        let command = commands.find(&request);
        let is_script = runs_script(&request) && command.is_some_and(|command| command.keys(&request).is_empty());
        let is_frame = is(&request, "MULTI") || is(&request, "EXEC");
        if !is_script && !is_frame && !command.is_some_and(|command| command.only_reads()) {
            return None;
        }
        (has_script, at) = (has_script || is_script, at + len);
    }
    Some(refusal).filter(|_| has_script)
}

fn runs_script(request: &Request<'_>) -> bool {
    let name = request.arg(0).unwrap_or_default();
    let begins = |word: &[u8]| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    begins(b"EVAL") || begins(b"FCALL")
}

/// Why a request cannot be part of a transaction whose keys are in `slot`, which is that of the first one.
pub(crate) fn fault_within(request: &Request<'_>, map: &Map, slot: &mut Option<u16>) -> Option<String> {
    match map.commands.route(request) {
        Route::Slot(other) => (*slot.get_or_insert(other) != other).then(|| CROSS_SLOT.to_owned()),
        // The node that it goes to says that its keys are in several slots.
        Route::Split(..) => Some(CROSS_SLOT.to_owned()),
        Route::Anywhere => None,
        Route::Everywhere(_) | Route::RandomKey if map.is_one_shard() => None,
        // The others are told of the script once they are to execute it.
        Route::Everywhere(_) if loads_script(request) || is(request, "DEBUG") => None,
        Route::Everywhere(_) | Route::Scan | Route::RandomKey => {
            let name = String::from_utf8_lossy(request.arg(0).unwrap_or_default()).to_ascii_uppercase();
            Some(format!("ERR respool: {name} is about all shards of a cluster and cannot be part of a transaction"))
        }
        Route::Nowhere if map.is_shown => Some(ABOUT_CLUSTER.to_owned()),
        Route::Nowhere => Some(NO_CLUSTER.to_owned()),
    }
}
