//! Reads that replicas may have, where the operator says so. A replica knows less of its cluster than its primary: not
//! that a slot is on its way to another shard, say, and that some keys have gone there already. So the primary is asked
//! whatever a replica has no value for.

use std::time::{Duration, Instant};

use pool::Access;
use route::replies;
use topology::Address;

/// Levels of a reply that are looked at.
const LEVELS_MAX: u32 = 4;

/// Where the reads of a shard go.
#[derive(Debug)]
pub enum Choice {
    /// To the primary.
    Primary,
    /// To this replica.
    Replica(Access),
    /// No replica may have them, and the primary is not to.
    Nobody,
}

/// What a burst of nothing but reads goes by.
#[derive(Clone, Copy)]
pub struct Reads<'r> {
    /// Where those of the shard with this primary go.
    pub choose: &'r (dyn Fn(&Address) -> Choice + Sync),
    /// How long a replica may take for what is little work.
    pub patience: Duration,
    /// What a client is told if it is to be nobody.
    pub nobody: &'r str,
}

/// A replica that has been chosen for the reads of a shard.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) access: Access,
    /// When its connections were made. It may have been restarted since, and hold nothing.
    connected_at: Instant,
}

impl Chosen {
    pub(crate) fn new(access: Access) -> Self {
        Self { connected_at: access.connected_at(), access }
    }

    /// Whether `reply` to a read of one key is for the client: the replica has something to say.
    pub(crate) fn counts(&self, reply: &[u8]) -> bool {
        self.access.connected_at() == self.connected_at && !says_nothing(reply, LEVELS_MAX)
    }
}

/// Whether a reply is an error, or one that a read of a key may give which is not there.
fn says_nothing(reply: &[u8], levels: u32) -> bool {
    let Some(end) = reply.iter().position(|byte| *byte == b'\r') else { return true };
    let (line, rest) = (&reply[..end], reply.get(end + 2..).unwrap_or_default());
    match line.first() {
        Some(b'*' | b'~' | b'%') => levels == 0 || replies(rest).all(|item| says_nothing(item, levels - 1)),
        Some(b'-' | b'!' | b'_') | None => true,
        Some(_) => {
            matches!(line, b"$-1" | b"$0" | b"*-1" | b":0" | b":-1" | b":-2" | b",0" | b"#f" | b"+none" | b"+")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_missing_key_gives_says_nothing() {
        let said = |reply: &str| !says_nothing(reply.as_bytes(), LEVELS_MAX);
        for nothing in [
            "$-1\r\n",
            "_\r\n",
            ":0\r\n",
            ":-2\r\n",
            "*0\r\n",
            "*-1\r\n",
            "%0\r\n",
            "~0\r\n",
            "$0\r\n\r\n",
            "+none\r\n",
            "-MOVED 7 h:1\r\n",
            "*2\r\n$-1\r\n$-1\r\n",
            "*2\r\n*-1\r\n:0\r\n",
            "",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:5\r\n",
        ] {
            assert!(!said(nothing), "{nothing:?}");
        }
        for something in [
            "$1\r\n0\r\n",
            ":1\r\n",
            ":-3\r\n",
            "*2\r\n$-1\r\n$1\r\na\r\n",
            "+string\r\n",
            "%1\r\n$1\r\na\r\n$0\r\n\r\n",
            "#t\r\n",
        ] {
            assert!(said(something), "{something:?}");
        }
    }
}
