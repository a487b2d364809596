//! What a replica says to what it does not execute, and who may say so of itself.

use std::time::Duration;

use memchr::memmem;
use resp::{Decoded, RequestDecoder, RequestLimits};

/// What Redis says to a write at a replica, and to a read at one that is cut off and is not to show what it has.
const REFUSALS: [&[u8]; 2] = [
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
];

/// What a primary says to a write while fewer replicas follow it than `min-replicas-to-write`: nothing was executed. A new one
/// has none at first.
const NO_REPLICAS: &[u8] = b"NOREPLICAS Not enough good replicas to write.\r\n";

/// How long a node that has said so has to turn out to be no primary any more before it is asked once more.
pub(crate) const TURNS_OUT: Duration = Duration::from_millis(100);

/// How long it has where a script may have said so of its own.
pub(crate) const SCRIPT_TURNS_OUT: Duration = Duration::from_secs(1);

/// Commands that run a script, which may say anything.
const SCRIPTS: [&[u8]; 3] = [b"EVAL", b"EVALSHA", b"FCALL"];

/// Whether the command of this name runs a script that may write.
pub(crate) fn is_script(name: &[u8]) -> bool {
    SCRIPTS.iter().any(|script| name.eq_ignore_ascii_case(script))
}

/// Whether one of these requests runs a script, be it one that only reads.
pub(crate) fn has_scripts(requests: &[u8]) -> bool {
    let (mut decoder, mut at) = (RequestDecoder::new(RequestLimits::accepted()), 0);
    while let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) {
        let request = decoder.request(&requests[at..]);
        let begins = |script: &[u8]| request.arg(0)?.get(..script.len()).map(|name| name.eq_ignore_ascii_case(script));
        if SCRIPTS.into_iter().filter_map(begins).any(|begins| begins) {
            return true;
        }
        at += len;
    }
    false
}

/// Whether a reply is such a refusal, which no script has a part in: nothing was executed, by a replica.
pub(crate) fn is_refusal(reply: &[u8]) -> bool {
    REFUSALS.contains(&reply)
}

/// Whether a reply, of which no script has a part, says that the node has too few replicas for a write. `EXEC` says it behind
/// words of its own.
pub(crate) fn lacks_replicas(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-') && reply.ends_with(NO_REPLICAS)
}

/// Whether that is anywhere in `replies`, in values too.
pub(crate) fn are_replicas_lacked_in(replies: &[u8]) -> bool {
    memmem::find(replies, NO_REPLICAS).is_some()
}

#[cfg(test)]
mod tests {
    use topology::says_refused;

    use super::*;

    #[test]
    fn what_no_script_has_a_part_in_has_the_same_words() {
        assert!(REFUSALS.iter().all(|refusal| is_refusal(refusal) && says_refused(refusal)));
    }
}
