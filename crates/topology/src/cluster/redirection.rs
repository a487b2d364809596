//! The words with which a node of a cluster does not execute a request: it belongs elsewhere, or has to wait. A script
//! that was executed can answer with any error. So only what a node itself says is read as one of these words: exact
//! texts, and another node than the one that says it.

use crate::Address;

/// What a node says instead of executing a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirection {
    /// Another node has this slot.
    Moved {
        /// The slot.
        slot: u16,
        /// Who has it.
        to: Address,
    },
    /// This slot is on its way to another node, and this key is there already or not here: ask there, once.
    Ask {
        /// The slot.
        slot: u16,
        /// Where it goes.
        to: Address,
    },
    /// Keys of one slot that is on its way are on two nodes.
    TryAgain,
    /// No node has the slot, or the cluster is down.
    Down,
    /// The node reads its data from disk or from its primary.
    Loading,
    /// The node is a replica, and this is a write without a key: one with keys is sent elsewhere.
    ReadOnly,
}

/// What Redis and Valkey say, word for word; the second one is of Redis 8.4.
const TRY_AGAIN: [&str; 2] = ["Multiple keys request during rehashing of slot", "Slot is being trimmed"];
const DOWN: [&str; 3] =
    ["Hash slot not served", "The cluster is down", "The cluster is down and only accepts read commands"];
/// Behind the name of the program.
const LOADING: &str = "is loading the dataset in memory";
const READ_ONLY: &str = "You can't write against a read only replica.";
const WITHOUT_PRIMARY: &str = "Link with MASTER is down and replica-serve-stale-data is set to 'no'.";

impl Redirection {
    /// Reads a reply as it came from the node at `from`; `None` for every other one. What it says of a slot counts only
    /// if that is one of the request, which the caller knows.
    pub fn read(reply: &[u8], from: &Address) -> Option<Self> {
        let text = std::str::from_utf8(reply.strip_prefix(b"-")?.strip_suffix(b"\r\n")?).ok()?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "MOVED" | "ASK" => {
                let (slot, place) = rest.split_once(' ')?;
                let (host, port) = place.rsplit_once(':')?;
                let host = if matches!(host, "" | "?") { &from.host } else { host };
                let (slot, to) = (slot.parse().ok()?, Address::new(host, port.parse().ok()?));
                let found = if word == "MOVED" { Self::Moved { slot, to } } else { Self::Ask { slot, to } };
                (found.to() != Some(from)).then_some(found)
            }
            "TRYAGAIN" => TRY_AGAIN.contains(&rest).then_some(Self::TryAgain),
            "CLUSTERDOWN" => DOWN.contains(&rest).then_some(Self::Down),
            "LOADING" => (rest.split_once(' ')?.1 == LOADING).then_some(Self::Loading),
            "READONLY" => (rest == READ_ONLY).then_some(Self::ReadOnly),
            "MASTERDOWN" => (rest == WITHOUT_PRIMARY).then_some(Self::Loading),
            _ => None,
        }
    }

    /// The slot that it is about, if it names one.
    pub fn slot(&self) -> Option<u16> {
        match self {
            Self::Moved { slot, .. } | Self::Ask { slot, .. } => Some(*slot),
            Self::TryAgain | Self::Down | Self::Loading | Self::ReadOnly => None,
        }
    }

    fn to(&self) -> Option<&Address> {
        match self {
            Self::Moved { to, .. } | Self::Ask { to, .. } => Some(to),
            Self::TryAgain | Self::Down | Self::Loading | Self::ReadOnly => None,
        }
    }

    /// Whether a reply may be one; costs next to nothing.
    pub fn is_possible(reply: &[u8]) -> bool {
        matches!(reply, [b'-', b'M' | b'A' | b'T' | b'C' | b'L' | b'R', ..])
    }
}
