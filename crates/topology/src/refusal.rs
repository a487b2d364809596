//! What a replica says to what it does not execute. A script can say the same of its own: these words are no news of the node
//! that says them until it has turned out to be a replica.

use std::iter;

use memchr::memmem;
use resp::ReplyScanner;

/// What Redis says to a write at a replica and to a read at one that is cut off, each by itself and of a script; and to a
/// script that has declared that it writes or reads. `EXEC`, and scripts before Redis 7, say it behind words of their own.
const WORDS: [&[u8]; 5] = [
    b"READONLY You can't write against a read only replica.",
    b"READONLY Can not run script with write flag on readonly replica",
    b"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    b"MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no'",
    b"Can not execute the command on a stale replica",
];

/// What a node of a cluster says of a script that reads at a replica a key which it was not given: other keys than its own
/// are there as well, and the primary of another shard says it too. Before Redis 7 it begins with another word.
const NOT_HERE: &[u8] = b"cript attempted to access a non local key in a cluster node";

/// What a node of a cluster that is down says of any key in such a script, and of a write where it is to be read all the same.
const DOWN: [&[u8]; 2] = [
    b"cript attempted to execute a command while the cluster is down",
    b"cript attempted to execute a write command while the cluster is down and readonly",
];

/// Why a node of a cluster has not executed scripts to which no keys were given, unless they say so of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The cluster is down, as far as the node knows.
    Down,
    /// It is a replica, if it is one.
    Replica,
}

impl Refusal {
    /// Reads a reply to such a script, or to `EXEC` with some. What it says of keys that are not there a primary says as well.
    pub fn read(reply: &[u8]) -> Option<Self> {
        let is_there = |words: &[u8]| memmem::find(reply, words).is_some();
        let is_down = DOWN.into_iter().any(is_there);
        if !is_down && !is_there(NOT_HERE) && !are_refusals_in(reply) {
            return None;
        }
        if reply.starts_with(b"-") { Self::of(reply) } else { items(reply).find_map(Self::of) }
    }

    fn of(error: &[u8]) -> Option<Self> {
        let has = |words: &[u8]| error.starts_with(b"-") && memmem::find(error, words).is_some();
        match () {
            () if DOWN.into_iter().any(has) => Some(Self::Down),
            () if has(NOT_HERE) || says_refused(error) => Some(Self::Replica),
            () => None,
        }
    }
}

/// Whether such words are anywhere in `replies`, in values too.
pub fn are_refusals_in(replies: &[u8]) -> bool {
    WORDS.iter().any(|words| memmem::find(replies, words).is_some())
}

/// Whether a reply is an error with such words.
pub fn says_refused(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-') && are_refusals_in(reply)
}

/// Whether one of the replies within that of `EXEC` is.
pub fn says_refused_within(reply: &[u8]) -> bool {
    are_refusals_in(reply) && items(reply).any(says_refused)
}

/// The items of an array.
fn items(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let line = memmem::find(array, b"\r\n").filter(|_| array.starts_with(b"*"));
    let (mut rest, mut scanner) = (line.map_or(&[][..], |line| &array[line + 2..]), ReplyScanner::new(usize::MAX));
    iter::from_fn(move || {
        let progress = scanner.scan(rest).ok().filter(|progress| progress.complete.is_some())?;
        let (item, next) = rest.split_at(progress.consumed);
        rest = next;
        Some(item)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_an_error_whatever_stands_before_its_words() {
        let words = "READONLY You can't write against a read only replica.";
        for (before, after) in [
            ("-", ""),
            ("-", " script: 1a2b, on @user_script:1."),
            ("-EXECABORT Transaction discarded because of: ", ""),
            ("-ERR Error running script (call to f_1a2b): @user_script:1: @user_script: 1: -", " "),
        ] {
            let reply = format!("{before}{words}{after}\r\n");
            assert!(says_refused(reply.as_bytes()), "{reply}");
            assert_eq!(Refusal::read(reply.as_bytes()), Some(Refusal::Replica), "{reply}");
            let within = format!("*3\r\n$1\r\nv\r\n{reply}:1\r\n");
            assert!(says_refused_within(within.as_bytes()) && !says_refused(within.as_bytes()), "{within}");
            assert_eq!(Refusal::read(within.as_bytes()), Some(Refusal::Replica), "{within}");
        }
        let value = format!("${}\r\n{words}\r\n", words.len());
        assert!(!says_refused(value.as_bytes()));
        for other in [format!("*1\r\n{value}"), format!("*1\r\n*1\r\n-{words}\r\n"), "*0\r\n".into(), value] {
            assert!(!says_refused_within(other.as_bytes()) && Refusal::read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn a_node_of_a_cluster_says_more() {
        let of_replica = "attempted to access a non local key in a cluster node";
        let down = ["a command while the cluster is down", "a write command while the cluster is down and readonly"];
        let down = down.map(|what| (format!("attempted to execute {what}"), Refusal::Down));
        for (words, refusal) in down.into_iter().chain([(of_replica.to_owned(), Refusal::Replica)]) {
            for begin in ["-ERR Script", "-ERR Error running script (call to f_1a): @user_script:1: -Lua script"] {
                let reply = format!("{begin} {words} script: 1a\r\n");
                assert_eq!(Refusal::read(reply.as_bytes()), Some(refusal), "{reply}");
                assert_eq!(Refusal::read(format!("*2\r\n:1\r\n{reply}").as_bytes()), Some(refusal), "{reply}");
                assert!(!says_refused(reply.as_bytes()), "{reply}");
            }
        }
    }
}
