//! Whether a session is blocked on a connection of the upstream, and whether another has asked to unblock it. One lock
//! holds both, so that no request to unblock falls between the two.

use std::sync::{Mutex, MutexGuard, PoisonError};

use topology::Address;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Blocked(Mutex<Option<Blocking>>);

#[derive(Debug)]
struct Blocking {
    /// As `CLIENT ID` of the upstream says it.
    upstream_id: i64,
    /// Of which node, where there are several.
    node: Option<Address>,
    /// Another session has learnt the id, and may use it late.
    asked: bool,
}

impl Blocked {
    /// The session is about to block on the connection of that id, at this node where there are several.
    pub(crate) fn begin(&self, upstream_id: i64, node: Option<Address>) {
        *self.lock() = Some(Blocking { upstream_id, node, asked: false });
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

    /// The id to unblock the session by, if it is blocked, and at which node.
    pub(crate) fn ask(&self) -> Option<(i64, Option<Address>)> {
        let mut blocking = self.lock();
        let blocking = blocking.as_mut()?;
        blocking.asked = true;
        Some((blocking.upstream_id, blocking.node.clone()))
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
        blocked.begin(7, None);
        assert!(!blocked.end(), "nobody has asked");
        blocked.begin(7, None);
        assert_eq!(blocked.ask(), Some((7, None)));
        assert!(blocked.end());
        assert_eq!(blocked.ask(), None);
        assert!(!blocked.end(), "once");
    }
}
