//! Whether a session is blocked on a connection of the upstream, and whether another has asked to unblock it. One lock
//! holds both, so that no request to unblock falls between the two.

use std::sync::{Mutex, MutexGuard, PoisonError};

use topology::Address;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Blocked(Mutex<Option<Blocking>>);

/// A connection of the upstream.
// Open: a plain value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// As `CLIENT ID` of the upstream says it.
    pub(crate) upstream_id: i64,
    /// Of the upstream: another one gives the same id to somebody else.
    pub(crate) generation: u64,
    /// Of which node, where there are several.
    pub(crate) node: Option<Address>,
}

#[derive(Debug)]
struct Blocking {
    at: At,
    /// Another session has learnt the id, and may use it late.
    asked: bool,
}

impl Blocked {
    /// The session is about to block on that connection.
    pub(crate) fn begin(&self, at: At) {
        *self.lock() = Some(Blocking { at, asked: false });
    }

    /// The session blocks no more. True if another session has learnt the id of the connection: a `CLIENT UNBLOCK`
    /// may still be on its way, so that the connection is for nobody else.
    #[must_use = "the connection may have to be closed"]
    pub(crate) fn end(&self) -> bool {
        self.lock().take().is_some_and(|blocking| blocking.asked)
    }

    /// Whether it is blocked.
    pub(crate) fn is_blocked(&self) -> bool {
        self.lock().is_some()
    }

    /// What to unblock the session by, if it is blocked.
    pub(crate) fn ask(&self) -> Option<At> {
        let mut blocking = self.lock();
        let blocking = blocking.as_mut()?;
        blocking.asked = true;
        Some(blocking.at.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Blocking>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_went_out_is_remembered_until_the_session_blocks_no_more() {
        let blocked = Blocked::default();
        assert_eq!(blocked.ask(), None);
        let at = At { upstream_id: 7, generation: 1, node: None };
        blocked.begin(at.clone());
        assert!(!blocked.end(), "nobody has asked");
        blocked.begin(at.clone());
        assert_eq!(blocked.ask(), Some(at));
        assert!(blocked.end());
        assert_eq!(blocked.ask(), None);
        assert!(!blocked.end(), "once");
    }
}
