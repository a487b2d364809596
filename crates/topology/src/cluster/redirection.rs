//! The words with which a node of a cluster does not execute a request: it belongs elsewhere, or has to wait.

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
}

impl Redirection {
    /// Reads a reply as it came from the node at `from`; `None` for every other one.
    pub fn read(reply: &[u8], from: &Address) -> Option<Self> {
        let text = std::str::from_utf8(reply.strip_prefix(b"-")?).ok()?.trim_end();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "MOVED" | "ASK" => {
                let (slot, place) = rest.split_once(' ')?;
                let (host, port) = place.rsplit_once(':')?;
                let host = if matches!(host, "" | "?") { &from.host } else { host };
                let (slot, to) = (slot.parse().ok()?, Address::new(host, port.parse().ok()?));
                Some(if word == "MOVED" { Self::Moved { slot, to } } else { Self::Ask { slot, to } })
            }
            "TRYAGAIN" => Some(Self::TryAgain),
            "CLUSTERDOWN" => Some(Self::Down),
            "LOADING" | "MASTERDOWN" => Some(Self::Loading),
            _ => None,
        }
    }

    /// Whether a reply may be one; costs next to nothing.
    pub fn is_possible(reply: &[u8]) -> bool {
        matches!(reply, [b'-', b'M' | b'A' | b'T' | b'C' | b'L', ..])
    }
}
