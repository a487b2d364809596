//! Scripts in a transaction at a node of a cluster: its node is told those that it is to execute before they are queued, and
//! those that the transaction brings along are known once it has been executed. Called by `elsewhere`.

use cluster::Cluster;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::exclusive::{exchange::Exchange, request::ExclusiveRequest, transaction::queued::Noted};

/// Bytes of the texts that are kept until their transaction has been executed.
const TEXTS_BYTES_MAX: usize = 256 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has the node of the transaction at hand know the scripts that these requests, a part of it, want to be executed.
    pub(super) async fn teach(&mut self, requests: &[u8]) {
        let Some(cluster) = self.cluster else { return };
        let node = self.exclusive.lending.as_ref().and_then(|lending| lending.node().cloned());
        if let Some(node) = node {
            Box::pin(cluster.teach(&node, self.caller, requests)).await;
        }
    }

    /// Has it noted what the reply to `request` will say of scripts, if it is a part of a transaction.
    pub(super) fn note_script(&self, cluster: &Cluster, request: &mut ExclusiveRequest) {
        let Some(lending) = self.exclusive.lending.as_ref().filter(|lending| lending.is_in_transaction()) else {
            return;
        };
        if request.own.is_some() {
            return;
        }
        let is_small = |noted: &Noted| lending.queued.bytes() + noted.bytes() <= TEXTS_BYTES_MAX;
        request.own =
            cluster.taught(request.own_request()).map(|taught| Noted::Script(Box::new(taught))).filter(is_small);
    }
}
