//! What a node is to its shard.

/// What a node is to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows a primary and refuses writes.
    Replica,
}

impl Role {
    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }

    /// From the words that Redis and Valkey have for it.
    pub(crate) fn from_words(words: &[u8]) -> Option<Self> {
        match words {
            b"master" | b"primary" => Some(Self::Primary),
            b"replica" | b"slave" => Some(Self::Replica),
            _ => None,
        }
    }
}
