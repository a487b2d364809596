//! What is noted of a transaction at a node of a cluster. Its node is told the scripts that it is to execute before they are
//! queued, and those that the transaction brings along are known once it has been executed. What the node says of itself
//! is shown as what one Redis says. Called by `elsewhere`.

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

    /// The same of a request of a client that tracks; what that brings along is known then, too.
    pub(super) async fn teach_alone(&mut self, request: &[u8]) {
        self.teach(request).await;
        let Some(cluster) = self.cluster else { return };
        if let Some(node) = self.exclusive.lending.as_ref().and_then(|lending| lending.node().cloned()) {
            Box::pin(cluster.learn_of(&node, self.caller, request)).await;
        }
    }

    /// Has it noted what is to be done with the reply to `request`, if it is a part of a transaction and the node says something
    /// of its scripts there, or of itself.
    pub(super) fn note(&self, cluster: &Cluster, request: &mut ExclusiveRequest) {
        let Some(lending) = self.exclusive.lending.as_ref().filter(|lending| lending.is_in_transaction()) else {
            return;
        };
        if request.own.is_some() {
            return;
        }
        if self.settings.is_hidden_cluster() && cluster.is_info(request.own_request()) {
            request.own = Some(Noted::Info);
            return;
        }
        if let Some(of_all) = cluster.of_all(request.own_request()) {
            request.own = Some(Noted::OfAll(Box::new(of_all)));
            return;
        }
        let is_small = |noted: &Noted| lending.queued.bytes() + noted.bytes() <= TEXTS_BYTES_MAX;
        request.own =
            cluster.taught(request.own_request()).map(|taught| Noted::Script(Box::new(taught))).filter(is_small);
    }
}
