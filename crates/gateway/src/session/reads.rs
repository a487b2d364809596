//! How a burst is executed where reads need not go to the primary. A burst of nothing but reads goes to a replica that
//! keeps up and has all that its client has written. What a replica cannot answer, the primary is asked.

use std::time::{Duration, Instant};

use cluster::Choice;
use pool::{Access, Begun, Burst, JobError, Pieces};
use settings::ReadSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::{
    command::{errors, told::read_only::Work},
    observe::spans,
    session::{burst::pieces_of, session::Session},
};

/// Bytes of requests up to which a copy is kept, so that another node can be asked the same.
const KEPT_BYTES_MAX: usize = 16 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Has the gathered burst executed; afterwards the output has a reply to each of its requests.
    pub(super) async fn execute_by(&mut self, settings: ReadSettings) {
        let due = self.burst.replies_due;
        if !self.prepare().await {
            return;
        }
        let known = self.link.published().nodes.readers.known();
        let work = known.commands.as_ref().and_then(|commands| commands.work_of_all(&self.burst.requests));
        let writes = work.is_none() && !self.burst.read_only;
        let choice = match work {
            Some(_) => known.choose(settings, self.state.id, self.state.wrote, Instant::now()),
            None => Choice::Primary,
        };
        let result = match choice {
            Choice::Nobody => {
                self.caller.count_refused(&self.burst);
                self.refuse_all(due, &errors::no_replica(settings.lag_max));
                return;
            }
            Choice::Primary => self.execute_at_primary().await,
            Choice::Replica(access) => {
                let patience = (work == Some(Work::Little)).then_some(settings.lag_max);
                self.execute_at_replica(access, patience).await
            }
        };
        let result = if self.may_be_refused() { self.ask_again(result, &mut None).await.0 } else { result };
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
        if self.state.limits(&self.settings).reads.is_some() {
            self.state.wrote = Some(Instant::now());
        }
    }

    async fn execute_at_primary(&mut self) -> Result<(), JobError> {
        self.burst.pieces = pieces_of(&self.burst, &self.link, Pieces::Announced);
        self.execute_within_span().await
    }

    /// Asks the replica and, if it fails or has nothing but errors to say where the primary may have more, that. Also if
    /// it is silent for longer than the `patience` that there is with reads that are little work: others may be what it
    /// is busy with, and would keep the primary as busy. A large reply is passed on as it comes, unless others come with it,
    /// which the primary may have to be asked.
    async fn execute_at_replica(&mut self, mut access: Access, patience: Option<Duration>) -> Result<(), JobError> {
        // They change nothing: they may be sent as often as it takes.
        self.burst.read_only = true;
        let patience = patience.filter(|_| self.burst.requests.len() <= KEPT_BYTES_MAX && self.burst.room.is_none());
        let kept = patience.map(|patience| (patience, self.burst.requests.clone()));
        let (replies_due, needs) = (self.burst.replies_due, self.burst.needs);
        self.burst.pieces = if replies_due == 1 { Pieces::Announced } else { Pieces::Never };
        let (connected_at, span) = (access.connected_at(), spans::job(self.state.id, &self.burst));
        access.exchange(&mut self.caller);
        let result = match kept {
            None => self.execute_begun(span.as_ref()).await,
            Some((patience, requests)) => match timeout(patience, self.execute_begun(span.as_ref())).await {
                Ok(result) => result,
                Err(_) => {
                    access.exchange(&mut self.caller);
                    self.burst = Burst { requests, replies_due, needs, read_only: true, ..Burst::default() };
                    return self.execute_at_primary().await;
                }
            },
        };
        // It may have been answered by one that has been restarted, and holds nothing yet.
        let is_restarted = self.caller.connected_at() != connected_at;
        let result = match self.burst.begun.take_if(|_| is_restarted) {
            Some(begun) => self.throw_away(begun).await,
            None => self.pass_on(result).await,
        };
        if let Some(span) = span {
            spans::done(&span, self.caller.spent(), result.as_ref().err());
        }
        access.exchange(&mut self.caller);
        let is_back = self.burst.replies_due > 0;
        let again = match &result {
            // The client has a part of it.
            _ if self.burst.taken_early > 0 => false,
            Ok(()) => self.burst.errors > 0 || is_restarted || access.connected_at() != connected_at,
            Err(JobError::UpstreamDown(_) | JobError::ConnectionLost { .. } | JobError::StateRefused(_)) => is_back,
            Err(_) => false,
        };
        if !again {
            return result;
        }
        self.burst.replies.clear();
        (self.burst.replies_done, self.burst.errors) = (0, 0);
        self.execute_at_primary().await
    }

    /// Has a large reply that has begun to come thrown away.
    async fn throw_away(&mut self, begun: Begun) -> Result<(), JobError> {
        let (Self { caller, burst, .. }, mut pieces) = (self, Vec::new());
        let result = caller.go_on(burst, begun, |cx, out| {
            while out.poll_replies(cx, &mut pieces) > 0 {
                pieces.clear();
            }
        });
        let result = result.await;
        (burst.taken_early, burst.in_part, burst.is_torn) = (0, false, false);
        result
    }
}
