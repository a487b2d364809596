//! What bursts are counted as.

/// What bursts are counted as. A burst is of one class, with all of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BurstClass {
    /// Nothing but requests that change nothing.
    Read,
    /// Any other without a transaction in it.
    Write,
    /// With at least one transaction.
    Transaction,
}

impl BurstClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Transaction];

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Transaction => "transaction",
        }
    }
}
