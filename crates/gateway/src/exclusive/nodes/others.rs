//! What all primaries of a cluster execute as a part of a transaction at one of them, `FLUSHALL` for example. The others queue
//! it before `EXEC` goes to the node of the transaction, and execute it once that has executed the transaction; see
//! `cluster::Prepared` for what holds when one of them fails. So the client has one reply, made when all is done, and
//! what it watches decides for all of them. Called by `elsewhere` before `EXEC` is sent, and by `exchange` when its reply has come.

use cluster::{Cluster, Unprepared};
use resp::write_error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    command::errors,
    exclusive::{exchange::Exchange, nodes::bound::watched::is_exec, request::ExclusiveRequest},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has a request executed here and, if it ends a transaction, by the other primaries what they have a part in; false to
    /// close the session.
    pub(super) async fn run_with_others(&mut self, cluster: &Cluster, request: &mut ExclusiveRequest) -> bool {
        match Box::pin(self.prepare_others(cluster, request)).await {
            Some(go_on) => go_on,
            None => self.run_here(request).await,
        }
    }

    /// Has the other primaries queue what they are to execute with the transaction that `request` ends. `Some` if one of them
    /// has not: then nothing is executed, the client has been told, and it is to be closed if it holds false.
    async fn prepare_others(&mut self, cluster: &Cluster, request: &ExclusiveRequest) -> Option<bool> {
        let lending = self.exclusive.lending.as_mut().filter(|lending| lending.is_in_transaction())?;
        let is_executed = is_exec(request) && !lending.queued.is_refused() && !lending.at_node.is_lost();
        if !is_executed || lending.queued.of_all().next().is_none() {
            return None;
        }
        if let Some(former) = lending.at_node.prepared.take() {
            former.give_up();
        }
        let (caller, wanted) = ((&*self.caller, Instant::now()), self.state.needs.into());
        let prepared = cluster.prepare(caller, lending.node(), wanted, lending.queued.of_all()).await;
        match prepared {
            Ok(prepared) => {
                lending.at_node.prepared = Some(prepared);
                None
            }
            Err(unprepared) => Some(self.end_unprepared(unprepared).await),
        }
    }

    /// Has the transaction given up, as it cannot be executed by all.
    async fn end_unprepared(&mut self, unprepared: Unprepared) -> bool {
        if !self.run_here(&mut ExclusiveRequest::discard()).await {
            return false;
        }
        if let Some(lending) = self.exclusive.lending.as_mut() {
            lending.at_node.forget();
        }
        self.exclusive.end_if_over();
        match unprepared {
            Unprepared::Failed(failure) => {
                self.caller.count_failure(&failure);
                self.fail_replies(1, &failure);
            }
            Unprepared::Refused(_) if self.state.is_muted() => {}
            Unprepared::Refused(text) => write_error(self.link.output(), &errors::exec_abort_of(&text)),
        }
        true
    }

    /// Has the other primaries execute what they have queued, if the reply to `EXEC`, which begins at `at` in the output,
    /// says that the transaction was executed; otherwise they are to forget it.
    pub(in crate::exclusive) async fn execute_at_others(&mut self, at: usize) {
        let Some(lending) = self.exclusive.lending.as_mut() else { return };
        let Some(prepared) = lending.at_node.prepared.take() else { return };
        let reply = &self.link.output()[at..];
        if !reply.starts_with(b"*") || reply.starts_with(b"*-") {
            return prepared.give_up();
        }
        let (upstream, teaches) = (&self.settings.upstream, lending.teaches);
        let parts =
            prepared.execute((self.caller, reply.len()), teaches, |failure| errors::job(failure, upstream)).await;
        for failure in &parts.failures {
            self.caller.count_failure(failure);
            self.link.published().failed(failure, 1, self.link.entry().address());
        }
        lending.at_node.parts = Some(parts);
    }
}
