//! What the gateway remembers of a client: the state that Redis would keep for its connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pool::{JobError, Needs};
use settings::{FailedLogins, SessionSettings, UserLimits};

use crate::observe::sharing::account::Member;

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

/// See the module's documentation. Its fields stand in memory as they do here: see [`Session`](crate::session::session).
// Open: a plain value that the commands of a client read and change.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ClientState {
    /// Database and protocol version, which every job of the session needs.
    pub(crate) needs: Needs,
    /// The user whose client it counts as, once it may send commands.
    member: Option<Member>,
    /// Where the limits of its user stand.
    limits_at: u32,
    /// May send commands: has logged in, or nobody has to.
    pub(crate) authenticated: bool,
    pub(crate) replies: Replies,
    /// It has logged in as that user, and does not only count as its client.
    is_named: bool,
    /// It has proved that by what is no password.
    pub(crate) proven: bool,
    /// Whether its next transaction may run.
    pub(crate) transaction: Transaction,
    /// Why the last `SELECT` failed, if it did: no request may run until one succeeds, as it would run in another
    /// database.
    pub(crate) select_failed: Option<Box<JobError>>,
    /// As `CLIENT ID` says it.
    pub(crate) id: u64,
    /// `CLIENT SETNAME`; empty for none.
    pub(crate) name: Box<[u8]>,
    pub(crate) failed_logins: FailedLogins,
    /// When a request of it last ended that may have changed something, where reads go elsewhere than writes.
    pub(crate) wrote: Option<Instant>,
    /// Why the request at hand is refused, where its user has no right to it.
    pub(crate) refusal: Option<Box<str>>,
}

impl ClientState {
    pub(crate) fn new(id: u64, db: u32, authenticated: bool) -> Self {
        Self {
            id,
            name: Box::default(),
            needs: Needs { db, ..Needs::default() },
            authenticated,
            member: None,
            is_named: false,
            proven: false,
            limits_at: 0,
            failed_logins: FailedLogins::default(),
            replies: Replies::On,
            transaction: Transaction::Open,
            wrote: None,
            refusal: None,
            select_failed: None,
        }
    }

    /// As new, but for what its wrong passwords have cost it, for what it has written, and for whom it counts as where
    /// nobody has to log in.
    pub(crate) fn reset(&mut self, db: u32, authenticated: bool) {
        let (failed_logins, wrote) = (std::mem::take(&mut self.failed_logins), self.wrote);
        let member = self.member.take().filter(|_| authenticated);
        let limits_at = if authenticated { self.limits_at } else { 0 };
        *self = Self { failed_logins, wrote, member, limits_at, ..Self::new(self.id, db, authenticated) };
    }

    /// The client has proved to be this user or, if not `is_named`, counts as a client of it.
    pub(crate) fn join(&mut self, member: Member, is_named: bool, settings: &SessionSettings) {
        self.authenticated = true;
        (self.is_named, self.proven) = (is_named, false);
        self.member = Some(member);
        self.look_up_limits(settings);
    }

    /// Who has logged in, if anybody has.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.member.as_ref().filter(|_| self.is_named).map(|member| member.name())
    }

    /// The user whose client it counts as, if it does.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }

    /// The settings may have other limits for its user.
    pub(crate) fn look_up_limits(&mut self, settings: &SessionSettings) {
        let place = self.member.as_ref().map_or(0, |member| settings.of_users.place_of(member.name()));
        self.limits_at = u32::try_from(place).unwrap_or(0);
    }

    /// What its user may do.
    pub(crate) fn limits<'s>(&self, settings: &'s SessionSettings) -> &'s UserLimits {
        settings.of_users.at(self.limits_at as usize)
    }

    /// Counts requests for the upstream; see [`Member::charge`].
    ///
    /// # Errors
    /// Its user has sent too many; holds when there may be more.
    pub(crate) fn charge(&self, requests: u32, settings: &SessionSettings, due: bool) -> Result<(), Duration> {
        self.member.as_ref().map_or(Ok(()), |member| member.charge(requests, self.limits(settings), due))
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
