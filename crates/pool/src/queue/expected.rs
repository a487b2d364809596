//! What is known beforehand of how large the replies to a job are.

/// A reply larger than this, in bytes, makes others wait that lie behind it.
pub(crate) const BULKY_BYTES: usize = 256 * 1024;

/// What the replies to a burst are expected to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expected {
    /// So small that nobody waits for them for long.
    #[default]
    Small,
    /// Nothing is known of them, because they are their client's first. Few are asked for on one connection at a time.
    Unknown,
    /// So large that others do not wait behind them, as far as that can be had.
    Large,
}

impl Expected {
    /// Replies of about so many bytes, if that is known.
    pub fn of(bytes: Option<usize>) -> Self {
        match bytes {
            None => Self::Unknown,
            Some(bytes) if bytes > BULKY_BYTES => Self::Large,
            Some(_) => Self::Small,
        }
    }
}
