//! How a burst is executed where reads need not go to the primary. A burst of nothing but reads goes to a replica that
//! keeps up and has all that its client has written. What a replica cannot answer, the primary is asked.

use std::time::Instant;

use pool::{Burst, JobError};
use resp::{ReplyKind, ReplyScanner};
use settings::ReadSettings;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{command::errors, observe::sharing::readers::Choice, session::session::Session};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Has the gathered burst executed; afterwards the output has a reply to each of its requests.
    pub(super) async fn execute_by(&mut self, settings: ReadSettings) {
        let due = self.burst.replies_due;
        if !self.prepare().await {
            return;
        }
        let known = self.link.published().readers.known();
        let reads = known.commands.as_ref().is_some_and(|commands| commands.holds_all(&self.burst.requests));
        let writes = !reads && !self.burst.read_only;
        let choice = if reads {
            known.choose(settings, self.state.id, self.state.wrote, Instant::now())
        } else {
            Choice::Primary
        };
        let result = match choice {
            Choice::Nobody => {
                self.caller.count_refused(&self.burst);
                self.link.write_errors(due, &errors::no_replica(settings.lag_max));
                self.burst = Burst::default();
                return;
            }
            Choice::Primary => self.execute_here().await,
            Choice::Replica(access) => self.execute_at_replica(access).await,
        };
        if writes {
            self.note_write();
        }
        let spent = self.caller.spent();
        self.answered(due, spent, result.err());
        self.flush().await;
        self.link.count_replies_by(None);
    }

    /// Something may have been written: what its client reads from now on is to show it.
    pub(super) fn note_write(&mut self) {
        if self.settings.reads.is_some() {
            self.state.wrote = Some(Instant::now());
        }
    }

    /// Asks the replica and, if it fails or has nothing but errors to say where the primary may have more, that.
    async fn execute_at_replica(&mut self, mut access: pool::Access) -> Result<(), JobError> {
        // They change nothing: they may be sent as often as it takes.
        self.burst.read_only = true;
        let connected_at = access.connected_at();
        access.exchange(&mut self.caller);
        let result = self.execute_here().await;
        access.exchange(&mut self.caller);
        let is_back = self.burst.replies_due > 0;
        let again = match &result {
            // It may have been answered by one that has been restarted, and holds nothing yet.
            Ok(()) => has_errors(&self.burst) || access.connected_at() != connected_at,
            Err(JobError::UpstreamDown(_) | JobError::ConnectionLost { .. } | JobError::StateRefused(_)) => is_back,
            Err(_) => false,
        };
        if !again {
            return result;
        }
        self.burst.replies.clear();
        self.burst.replies_done = 0;
        self.execute_here().await
    }
}

/// Whether any reply is an error.
fn has_errors(burst: &Burst) -> bool {
    let is_error = |reply: &[u8]| matches!(reply.first(), Some(b'-' | b'!'));
    if burst.replies_due == 1 {
        return is_error(&burst.replies);
    }
    let (mut scanner, mut rest) = (ReplyScanner::new(usize::MAX), burst.replies.as_slice());
    while !rest.is_empty() {
        match scanner.scan(rest) {
            Ok(progress) if progress.complete == Some(ReplyKind::Error) => return true,
            Ok(progress) if progress.complete.is_some() => rest = &rest[progress.consumed..],
            // They have been scanned before, whole.
            Ok(_) | Err(_) => return false,
        }
    }
    false
}
