//! How a caller borrows an exclusive connection, or opens one that stays.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    caller::caller::Caller,
    error::{JobError, Sent},
    exclusive::{
        lent::Lent,
        standing::{Attempts, Standing},
    },
    time::timestamp::Moment,
    upstream::needs::Wanted,
};

/// When a borrower for whom no connection could be opened tries again, while a primary is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Caller {
    /// Borrows an exclusive connection that is in the state that is `wanted` when the first requests sent on it are
    /// executed, waiting for one to be free until `queue_timeout` after `since`, when the borrower began to wait for what
    /// it needs.
    ///
    /// # Errors
    /// None came free, or the upstream cannot be reached or refuses the state.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line and closes what was being prepared.
    pub async fn lend(&self, since: Instant, wanted: impl Into<Wanted>) -> Result<Lent, JobError> {
        let (mut started, wanted) = (Moment::from(since), wanted.into());
        self.waits(started);
        let lent = self.lend_since(&mut started, wanted).await;
        self.waits_no_more();
        lent.inspect_err(|failure| self.stats().failure(failure))
    }

    async fn lend_since(&self, started: &mut Moment, wanted: Wanted) -> Result<Lent, JobError> {
        loop {
            if !self.limits().1 {
                Box::pin(self.held_back(started)).await?;
            }
            let lent = self.shared().exclusives.lend(started.instant(), wanted).await;
            let waits = Moment::now() < started.after(self.failover_wait());
            match lent {
                // The primary has just been lost: the next one is waited for.
                Err(JobError::UpstreamDown(_) | JobError::ConnectionLost { sent: Sent::No, .. }) if waits => {}
                lent => return lent,
            }
            Box::pin(sleep(LOOK_AGAIN)).await;
        }
    }

    /// Opens a connection that the upstream knows as `name`, in RESP3 if the upstream speaks it, after a pause
    /// that grows with the attempts that failed before.
    ///
    /// # Errors
    /// The upstream cannot be reached or refused the login.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was being opened.
    pub async fn open_standing(&self, name: &str, attempts: &mut Attempts) -> Result<Standing, JobError> {
        if self.shared().settings.borrow().endpoint.held.is_some() {
            Box::pin(self.held_back(&mut Moment::now())).await?;
        }
        let (node, traffic) = (Arc::clone(&self.shared().node), Arc::clone(&self.shared().traffic));
        Standing::open(node, traffic, name, attempts).await
    }
}
