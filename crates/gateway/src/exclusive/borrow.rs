//! Borrowing an exclusive connection, of those that clients of the same host and user may have. Called by `exchange`, and
//! by `redirect` for a second one.

use std::io;

use cluster::Borrowed;
use pool::{JobError, Sent, Wanted};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use topology::Address;

use crate::{
    client::state::Transaction,
    command::class::Reason,
    exclusive::{change::Change, exchange::Exchange, lending::Lending, request::ExclusiveRequest},
    observe::sharing::{party::Party, shares::Place},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// A place among those who borrow of the client's host and user, which has waited for it `since` then.
    pub(super) async fn place(&mut self, since: Instant) -> Result<Place, JobError> {
        let (share, waited) = (self.settings.exclusive_share, self.settings.queue_timeout);
        let party = Party::of(self.link.entry());
        let taken = timeout_at(since + waited, self.link.published().borrowed.take(party, share)).await;
        taken.map_err(|_| {
            let failure = JobError::ExclusiveShare { share, waited };
            self.caller.count_failure(&failure);
            failure
        })
    }

    /// Borrows a connection for `request`; false if there is none, as the client has been told.
    pub(super) async fn borrow(&mut self, request: &mut ExclusiveRequest) -> bool {
        let began = Instant::now();
        let needs = self.state.needs;
        let wanted = if request.overtakes { Wanted::AnyDb(needs.protocol) } else { needs.into() };
        let lent = match self.place(began).await {
            Ok(place) => {
                let (own, at) = (request.own_request(), request.asks.as_ref());
                self.borrow_for(began, own, at, wanted).await.map(|lent| (lent, place))
            }
            Err(failure) => Err(failure),
        };
        let failure = match lent {
            Ok((lent, place)) => {
                request.waited = began.elapsed();
                request.again_until = request.again_until.or_else(|| self.may_ask_again(request));
                let mut lending = Box::new(Lending::new(lent, place, request.reason));
                if request.overtakes {
                    lending.is_left_as_it_is();
                }
                // One more request for each, which those that are frequent would pay for.
                if !matches!(request.reason, Reason::Blocking | Reason::Wait | Reason::Transaction | Reason::Watch) {
                    lending.lent.bear(&self.state.name);
                }
                self.exclusive.lending = Some(lending);
                self.link.entry().update(|details| details.exclusive = Some(request.reason));
                return true;
            }
            Err(failure) => failure,
        };
        self.note_refusal(request);
        let tally = self.link.published().counts.exclusive(request.reason);
        tally.began(request.counted);
        tally.failed(request.counted);
        if let JobError::ExclusiveTimeout { waited, .. } | JobError::ExclusiveShare { waited, .. } = failure {
            tally.waited_in_vain(waited);
        }
        self.fail_replies(request.errors(), &failure);
        false
    }

    /// Takes note that `request` was refused; whether what follows would have relied on it alone.
    pub(super) fn note_refusal(&mut self, request: &ExclusiveRequest) -> bool {
        match request.change {
            // What follows must not run outside of the transaction it was meant for.
            Change::Multi => self.state.transaction = Transaction::Aborted,
            // Nor a transaction without the keys watched on which it was to depend.
            Change::Watch => self.state.transaction.watch_refused(Some(request.hash())),
            _ => return false,
        }
        true
    }

    /// What `error`, by which a connection was lost, comes to for `request`; and whether the client may go on because it was
    /// the refusal of the state that the connection was to be in, on which nothing but what follows relies.
    pub(super) fn loss(&mut self, error: &io::Error, request: &ExclusiveRequest) -> (JobError, bool) {
        if let Some(failure @ JobError::StateRefused(_)) = error.get_ref().and_then(|error| error.downcast_ref())
            && self.note_refusal(request)
        {
            return (failure.clone(), true);
        }
        // So the pool says that nothing was written, as another node is the primary.
        let sent = if error.kind() == io::ErrorKind::NotConnected { Sent::No } else { Sent::Maybe };
        (JobError::ConnectionLost { reason: error.to_string().into(), sent }, false)
    }

    /// Tells the client why `due` replies do not come, unless it wants none.
    pub(super) fn fail_replies(&mut self, due: u32, failure: &JobError) {
        if self.state.is_muted() {
            self.link.published().failed(failure, due, self.link.entry().address());
        } else {
            self.link.fail(failure, due, &self.settings.upstream);
        }
    }

    /// A connection in the state that is `wanted`: of a cluster, one of the node `at` which it is to be asked for, or of
    /// the one that has the request's key.
    pub(super) async fn borrow_for(
        &self,
        since: Instant,
        request: &[u8],
        at: Option<&Address>,
        wanted: Wanted,
    ) -> Result<Borrowed, JobError> {
        match (self.cluster, at) {
            (Some(cluster), Some(at)) => Box::pin(cluster.lend_at((self.caller, since), at, wanted)).await,
            (Some(cluster), None) => Box::pin(cluster.lend((self.caller, since), cluster.slot(request), wanted)).await,
            (None, _) => self.caller.lend(since, wanted).await.map(Borrowed::from),
        }
    }
}
