//! A transaction, or keys that are watched, whose connection to a node of a cluster was lost while nothing was under way: with
//! the client's next request they go on at the node that has their slot by then. Called by `elsewhere`; losses are noticed
//! by `connection`.

use cluster::Cluster;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::exclusive::{change::Change, exchange::Exchange, lending::Lending, request::ExclusiveRequest};

/// Takes note of the loss of a connection, if what it was lent for can go on at another: nothing of a transaction has been
/// executed, and what is watched counts as changed.
pub(in crate::exclusive) fn outlives(lending: &mut Lending) -> bool {
    let outlives = lending.node().is_some() && lending.is_needed() && !lending.binds_reads() && lending.has_log();
    if outlives {
        lending.mark();
        lending.at_node.lose();
    }
    if outlives && lending.is_watching() {
        lending.at_node.soil();
    }
    outlives
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Goes on at another node with what the client has begun, if its connection was lost. `Some` if that cannot be: the
    /// client has been told, and is to be closed if it holds false.
    pub(in crate::exclusive) async fn go_on_after_loss(
        &mut self,
        cluster: &Cluster,
        request: &ExclusiveRequest,
    ) -> Option<bool> {
        // The news of a loss may have come together with the request.
        if !self.exclusive.take_rest(self.state, self.link.output()).await {
            return Some(false);
        }
        let lending = self.exclusive.lending.as_mut().filter(|lending| lending.at_node.is_lost())?;
        let begins = lending.is_in_transaction() || request.change == Change::Multi;
        let (slot, (log, count)) = (lending.at_node.slot, lending.log()?);
        let tracks = lending.binds_reads();
        let failure = self.transplant(cluster, slot, log, count).await.err()?;
        if begins && !tracks {
            return Some(self.give_up(request, &failure));
        }
        if tracks {
            // With its next request it tries again.
            return Some(self.refuse_alone(request, &failure));
        }
        self.exclusive.end_current();
        self.state.transaction.watch_refused(None);
        self.fail_replies(request.errors(), &failure);
        Some(true)
    }
}
