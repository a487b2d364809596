//! What a node has refused because it has become a replica: nothing of it was executed, so it is asked again of the node
//! that is the primary by then. Where sentinels are followed, that is of a request that needs its connection for itself
//! alone. In a cluster it is of scripts without keys: all else is sent elsewhere by the node itself. Called by `exchange`.

use std::io;

use cluster::Cluster;
use pool::ReplyKind;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use topology::{Refusal, says_refused};

use crate::{
    command::{
        class::Reason,
        refusal::{SCRIPT_TURNS_OUT, TURNS_OUT, is_refusal, is_script},
    },
    exclusive::{
        change::Change,
        exchange::{Broken, Exchange},
        nodes::blocked::DEMOTED,
        request::ExclusiveRequest,
    },
};

impl ExclusiveRequest {
    /// Whether `reply` says so, and it may be asked again.
    pub(in crate::exclusive) fn is_refused(&self, reply: &[u8]) -> bool {
        is_refusal(reply) && self.may_be_asked_again()
    }

    /// Whether it was not written, as `error` says, because another node has become the primary meanwhile, and it may be
    /// asked again.
    pub(in crate::exclusive) fn may_go_elsewhere(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotConnected && self.may_be_asked_again()
    }

    fn may_be_asked_again(&self) -> bool {
        self.again_until.is_some_and(|until| Instant::now() < until)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Until when a request for which a connection was borrowed may be asked again.
    pub(in crate::exclusive) fn may_ask_again(&self, request: &ExclusiveRequest) -> Option<Instant> {
        let is_followed = self.link.published().has_sentinels();
        // A script may say so of its own, and have done what it does.
        let is_script = request.command.as_deref().is_some_and(|name| is_script(name.as_bytes()));
        let is_other = matches!(request.reason, Reason::Blocking | Reason::Other) && !is_script;
        let is_alone = request.change == Change::None && is_other;
        (is_followed && is_alone).then(|| Instant::now() + self.caller.failover_wait())
    }

    /// Looks at a reply that begins at `at` in the output: an error, or in a cluster one to `EXEC`. If it is a refusal that
    /// cannot be asked again, and the node turns out to be no primary any more, the connection is of no more use: its client
    /// is told what it would be told a moment later. A script that says the same of its own proves nothing.
    pub(in crate::exclusive) async fn must_be_primary(
        &mut self,
        (at, kind): (usize, ReplyKind),
        request: &ExclusiveRequest,
    ) -> Result<(), Broken> {
        if let Some(cluster) = self.cluster {
            self.note_refused(cluster, at, request).await;
        }
        if kind != ReplyKind::Error {
            return Ok(());
        }
        let reply = &self.link.output()[at..];
        if reply == DEMOTED
            && let Some(lending) = &mut self.exclusive.lending
        {
            // The node closes it: whoever borrowed it next would lose a request.
            lending.mark();
        }
        if !says_refused(reply) || request.is_refused(reply) || !self.link.published().has_sentinels() {
            return Ok(());
        }
        self.caller.doubt();
        let Some(origin) = self.exclusive.lending.as_ref().map(|lending| lending.lent.origin()) else { return Ok(()) };
        if !self.link.published().is_left(&origin, SCRIPT_TURNS_OUT).await {
            return Ok(());
        }
        self.link.output().truncate(at);
        // Of several requests those behind it may have been executed.
        let is_last = self.exclusive.lending.as_ref().is_some_and(|lending| lending.missing() == 1);
        let kind = if is_last { io::ErrorKind::NotConnected } else { io::ErrorKind::Other };
        Err(self.lost(&io::Error::new(kind, "another node is the primary now"), request))
    }

    /// Has it noted where a node of the cluster has refused scripts: it has become a replica, or the cluster is down.
    async fn note_refused(&mut self, cluster: &Cluster, at: usize, request: &ExclusiveRequest) {
        let Some(lending) = self.exclusive.lending.as_ref() else { return };
        let log =
            if request.change == Change::EndMulti { lending.at_node.logged() } else { Some(request.own_request()) };
        let refusal = log.and_then(|log| cluster.refusal(log, &self.link.output()[at..]));
        let is_refused = match (refusal, lending.node().cloned()) {
            (Some(Refusal::Replica), Some(node)) => cluster.is_replaced(&node).await,
            (refusal, _) => refusal == Some(Refusal::Down),
        };
        if let Some(lending) = self.exclusive.lending.as_mut() {
            lending.at_node.is_refused = is_refused;
        }
    }

    /// Asks again, on another connection each time, until a node does not refuse; false to close the session.
    pub(in crate::exclusive) async fn ask_another(&mut self, request: &mut ExclusiveRequest) -> bool {
        loop {
            // It leads to a node that is of no use.
            if let Some(mut lending) = self.exclusive.lending.take() {
                let origin = lending.lent.origin();
                lending.mark();
                lending.give_back();
                self.link.published().is_left(&origin, TURNS_OUT).await;
            }
            if !self.borrow(request).await {
                return true;
            }
            let go_on = self.run_here(request).await;
            if !self.exclusive.lending.as_ref().is_some_and(|lending| lending.refused) {
                return go_on;
            }
        }
    }
}
