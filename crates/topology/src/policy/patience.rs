//! How long the policy believes what it cannot see confirmed.

use std::time::Duration;

/// The times that the policy goes by.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// At the start: how long other sentinels may take to answer once the first has.
    pub settle: Duration,
    /// How long requests are held for a failover that was heard to begin and not to end.
    pub hold: Duration,
    /// How long requests are held because a replica turned primary though no failover was heard of.
    pub explain: Duration,
    /// How long a primary may go without proof, or without a sentinel that names it, before the word of most
    /// sentinels is enough to leave it.
    pub doubt: Duration,
    /// How long after something is awaited nodes are asked at the fast pace.
    pub haste: Duration,
}

impl Patience {
    /// For requests that wait at most `failover_wait`: a hold ends while they can still be served.
    pub fn within(failover_wait: Duration) -> Self {
        Self {
            settle: Duration::from_millis(50),
            hold: failover_wait / 2,
            explain: Duration::from_millis(2_500).min(failover_wait / 2),
            doubt: Duration::from_secs(3),
            haste: Duration::from_secs(5),
        }
    }
}
