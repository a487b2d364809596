//! What a replica says to what it does not execute, and who may say so of itself.

use std::time::Duration;

use memchr::memmem;
use resp::ReplyScanner;

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

/// The same with what it says to a script that writes or reads, and to one that has declared that it does. `EXEC`, and scripts
/// before Redis 7, say it behind words of their own.
const WORDS: [&[u8]; 5] = [
    b"READONLY You can't write against a read only replica.",
    b"READONLY Can not run script with write flag on readonly replica",
    b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no'",
    b"Can not execute the command on a stale replica",
];

/// Commands that run a script, which may say anything.
const SCRIPTS: [&[u8]; 3] = [b"EVAL", b"EVALSHA", b"FCALL"];

/// Whether the command of this name runs a script that may write.
pub(crate) fn is_script(name: &[u8]) -> bool {
    SCRIPTS.iter().any(|script| name.eq_ignore_ascii_case(script))
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

/// Whether such words are anywhere in `replies`, in values too.
pub(crate) fn are_words_in(replies: &[u8]) -> bool {
    WORDS.iter().any(|words| memmem::find(replies, words).is_some())
}

/// Whether a reply is an error with such words.
pub(crate) fn says_refused(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-') && are_words_in(reply)
}

/// Whether one of the replies within that of `EXEC` is.
pub(crate) fn says_refused_within(reply: &[u8]) -> bool {
    let Some(mut rest) = reply.strip_prefix(b"*").filter(|reply| are_words_in(reply)) else { return false };
    let Some(line) = memmem::find(rest, b"\r\n") else { return false };
    rest = &rest[line + 2..];
    let mut scanner = ReplyScanner::new(usize::MAX);
    while let Ok(progress) = scanner.scan(rest)
        && progress.complete.is_some()
    {
        let (element, next) = rest.split_at(progress.consumed);
        if says_refused(element) {
            return true;
        }
        rest = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_error_whatever_stands_before_its_words() {
        for (refusal, words) in REFUSALS.iter().zip([WORDS[0], WORDS[2]]) {
            assert!(is_refusal(refusal) && says_refused(refusal) && refusal[1..].starts_with(words));
        }
        let words = "READONLY You can't write against a read only replica.";
        for (before, after) in [
            ("-", ""),
            ("-", " script: 1a2b, on @user_script:1."),
            ("-EXECABORT Transaction discarded because of: ", ""),
            ("-ERR Error running script (call to f_1a2b): @user_script:1: @user_script: 1: -", " "),
        ] {
            let reply = format!("{before}{words}{after}\r\n");
            assert!(says_refused(reply.as_bytes()), "{reply}");
            let within = format!("*3\r\n$1\r\nv\r\n{reply}:1\r\n");
            assert!(says_refused_within(within.as_bytes()) && !says_refused(within.as_bytes()), "{within}");
        }
        let value = format!("${}\r\n{words}\r\n", words.len());
        assert!(!says_refused(value.as_bytes()));
        for other in [format!("*1\r\n{value}"), format!("*1\r\n*1\r\n-{words}\r\n"), "*0\r\n".into(), value] {
            assert!(!says_refused_within(other.as_bytes()), "{other}");
        }
    }
}
