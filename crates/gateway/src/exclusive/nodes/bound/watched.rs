//! Keys that are watched at a node of a cluster, and what becomes of their transaction when their slot leaves it: that is
//! answered as if one of them had changed. Called by `elsewhere`, and by `exchange` for a `WATCH` that is refused.

use cluster::Cluster;
use resp::{Protocol, write_error, write_simple};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    command::errors,
    exclusive::{
        change::Change,
        exchange::{Exchange, ReplyHead},
        lending::Lending,
        request::ExclusiveRequest,
    },
};

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Whether a request has a transaction executed.
pub(in crate::exclusive::nodes) fn is_exec(request: &ExclusiveRequest) -> bool {
    request.own_request().eq_ignore_ascii_case(EXEC)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Whether a reply to `WATCH` refuses what one Redis would have done, and does so for good.
    pub(in crate::exclusive) fn is_refused_by_cluster(&self, reply: &ReplyHead) -> bool {
        let is_final = |lending: &Lending| !lending.is_in_transaction() && !lending.at_node.is_elsewhere();
        let is_of_cluster = self.cluster.is_some() && self.exclusive.lending.as_deref().is_some_and(is_final);
        let is_of_one_redis = [&b"-ERR wrong"[..], b"-NOPERM"].iter().any(|words| reply.starts_with(words));
        is_of_cluster && reply[0] == b'-' && !is_of_one_redis
    }

    /// The transaction that was to depend on this `WATCH` must not run without.
    pub(in crate::exclusive) fn refuse_watch(&mut self, request: &ExclusiveRequest) {
        self.state.transaction.watch_refused(Some(request.hash()));
    }

    /// Takes note of it if what is watched has left its node; whether `request` is the end of the transaction, which is not
    /// to be executed then.
    pub(in crate::exclusive::nodes) fn is_end_of_soiled(
        &mut self,
        cluster: &Cluster,
        request: &ExclusiveRequest,
    ) -> bool {
        let Some(lending) = self.exclusive.lending.as_mut().filter(|lending| lending.is_watching()) else {
            return false;
        };
        if lending.at_node.slot.is_some_and(|slot| !cluster.is_at(slot, lending.node())) {
            lending.at_node.soil();
        }
        lending.is_in_transaction() && is_exec(request) && lending.at_node.is_soiled()
    }

    /// Has the transaction given up, and answers to its end as Redis does where a key has changed.
    pub(in crate::exclusive::nodes) async fn end_soiled(&mut self) -> bool {
        let is_refused = self.exclusive.lending.as_ref().is_some_and(|lending| lending.queued.is_refused());
        if !self.run_here(&mut ExclusiveRequest::discard()).await {
            return false;
        }
        if let Some(lending) = self.exclusive.lending.as_mut() {
            lending.at_node.forget();
        }
        self.exclusive.end_if_over();
        self.answer_end(is_refused);
        true
    }

    /// Answers a request that its node has not executed, if it belongs to a transaction that will not be executed, as what
    /// is watched has left the node with it. False if it is to be sent elsewhere.
    pub(in crate::exclusive::nodes) fn is_answered_soiled(
        &mut self,
        cluster: &Cluster,
        request: &ExclusiveRequest,
        in_transaction: bool,
    ) -> bool {
        let Some(lending) = self.exclusive.lending.as_mut() else { return false };
        let answer = match request.change {
            // Its end has ended the watch too.
            Change::EndMulti => return false,
            _ if in_transaction && lending.is_watching() => "QUEUED",
            Change::Watch if lending.at_node.is_soiled() => "OK",
            Change::Watch if lending.is_watching() && cluster.slot(request.own_request()) == lending.at_node.slot => {
                "OK"
            }
            _ => return false,
        };
        lending.at_node.soil();
        if !self.state.is_muted() {
            write_simple(self.link.output(), answer);
        }
        true
    }

    /// Answers `EXEC` of a transaction that was not executed, because what it watches has gone, or because a request of it
    /// was refused.
    pub(in crate::exclusive::nodes) fn answer_end(&mut self, is_refused: bool) {
        if self.state.is_muted() {
            return;
        }
        let protocol = self.state.needs.protocol;
        match (is_refused, protocol) {
            (true, _) => write_error(self.link.output(), errors::EXEC_ABORT),
            (false, Protocol::Resp2) => self.link.output().extend_from_slice(b"*-1\r\n"),
            (false, Protocol::Resp3) => self.link.output().extend_from_slice(b"_\r\n"),
        }
    }
}
