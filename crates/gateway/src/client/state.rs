//! What the gateway remembers of a client: the state that Redis would keep for its connection.

use std::{sync::Arc, time::Instant};

use pool::{JobError, Needs};
use settings::FailedLogins;

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// The reply to the next request is left out.
    SkipNext,
    /// The reply to the request at hand is left out, and that to the next.
    SkipAgain,
}

/// Whether a transaction of the client may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Transaction {
    #[default]
    Open,
    /// A `WATCH` was refused: the next transaction may not run. Holds the hash of that request, unless several were
    /// refused: the same request with success takes the refusal back.
    Unwatched(Option<u32>),
    /// A `MULTI` was refused: nothing up to the end of its transaction may run.
    Aborted,
}

impl Transaction {
    /// A `WATCH` with this hash was refused.
    pub(crate) fn watch_refused(&mut self, hash: Option<u32>) {
        match self {
            Self::Open => *self = Self::Unwatched(hash),
            Self::Unwatched(before) if *before == hash => {}
            Self::Unwatched(before) => *before = None,
            Self::Aborted => {}
        }
    }

    /// A `WATCH` with this hash has taken effect.
    pub(crate) fn watched(&mut self, hash: u32) {
        if *self == Self::Unwatched(Some(hash)) {
            *self = Self::Open;
        }
    }

    /// Nothing is to be watched any more.
    pub(crate) fn unwatched(&mut self) {
        if matches!(self, Self::Unwatched(_)) {
            *self = Self::Open;
        }
    }
}

/// See the module's documentation.
// Open: a plain value that the commands of a client read and change.
#[derive(Debug)]
pub(crate) struct ClientState {
    /// As `CLIENT ID` says it.
    pub(crate) id: u64,
    /// `CLIENT SETNAME`; empty for none.
    pub(crate) name: Box<[u8]>,
    /// Database and protocol version, which every job of the session needs.
    pub(crate) needs: Needs,
    /// May send commands: has logged in, or nobody has to.
    pub(crate) authenticated: bool,
    /// Who has logged in, if anybody has.
    pub(crate) user: Option<Arc<str>>,
    pub(crate) failed_logins: FailedLogins,
    pub(crate) replies: Replies,
    /// `CLIENT NO-EVICT`, which only `CLIENT INFO` shows.
    pub(crate) transaction: Transaction,
    /// When a request of it last ended that may have changed something, where reads go elsewhere than writes.
    pub(crate) wrote: Option<Instant>,
    /// Why the last `SELECT` failed, if it did: no request may run until one succeeds, as it would run in another
    /// database.
    pub(crate) select_failed: Option<Box<JobError>>,
}

impl ClientState {
    pub(crate) fn new(id: u64, db: u32, authenticated: bool) -> Self {
        Self {
            id,
            name: Box::default(),
            needs: Needs { db, ..Needs::default() },
            authenticated,
            user: None,
            failed_logins: FailedLogins::default(),
            replies: Replies::On,
            transaction: Transaction::Open,
            wrote: None,
            select_failed: None,
        }
    }

    /// As new, but for what its wrong passwords have cost it, and for what it has written.
    pub(crate) fn reset(&mut self, db: u32, authenticated: bool) {
        let (failed_logins, wrote) = (std::mem::take(&mut self.failed_logins), self.wrote);
        *self = Self { failed_logins, wrote, ..Self::new(self.id, db, authenticated) };
    }

    /// The client has proved to be `user`.
    pub(crate) fn log_in(&mut self, user: String) {
        self.authenticated = true;
        self.user = Some(user.into());
    }

    /// Whether the reply to the request at hand is left out.
    pub(crate) fn is_muted(&self) -> bool {
        self.replies != Replies::On
    }

    /// A request has been dealt with.
    pub(crate) fn request_done(&mut self) {
        self.replies = match self.replies {
            Replies::SkipAgain => Replies::SkipNext,
            Replies::On | Replies::SkipNext => Replies::On,
            Replies::Off => Replies::Off,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_watch_is_taken_back_by_the_same_request_alone() {
        let mut transaction = Transaction::Open;
        transaction.watch_refused(Some(1));
        transaction.watched(2);
        assert_eq!(transaction, Transaction::Unwatched(Some(1)));
        transaction.watch_refused(Some(1));
        transaction.watched(1);
        assert_eq!(transaction, Transaction::Open);
        transaction.watch_refused(Some(1));
        transaction.watch_refused(Some(2));
        transaction.watched(1);
        transaction.watched(2);
        assert_eq!(transaction, Transaction::Unwatched(None), "two were refused");
        transaction.unwatched();
        assert_eq!(transaction, Transaction::Open);
    }
}
