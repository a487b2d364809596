//! What connections of a client that tracks keys of a cluster need besides what the first was told: with `BCAST` there is one of
//! each primary, and with `REDIRECT` each has another id for the client meant. Called by `shards`.

use cluster::Cluster;
use pool::JobError;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::exclusive::{
    exchange::Exchange,
    lending::Lending,
    tracking::{redirect::Redirect, shards::tell},
};

/// What a node says to a request that has taken effect.
const DONE: &[u8] = b"+OK\r\n";

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// A `CLIENT TRACKING` that redirects, as its client wrote it, as it goes out on the connection of `lending`.
    pub(super) async fn redirected(&mut self, request: &[u8], lending: &mut Lending) -> Result<Vec<u8>, JobError> {
        let Some(redirect) = Redirect::of(request, &self.link.published().registry) else {
            return Err(JobError::Closed);
        };
        let (request, upstream_id) = Box::pin(self.translated(&redirect, lending)).await?;
        lending.redirect = Some(upstream_id);
        Ok(request)
    }

    /// Has a client that wants what is invalid of all keys borrow a connection of each primary; false to close the session.
    pub(super) async fn reach_all(&mut self, cluster: &Cluster) -> Result<bool, JobError> {
        if !self.exclusive.lending.as_ref().is_some_and(|lending| lending.broadcasts) {
            return Ok(true);
        }
        for node in cluster.map().nodes() {
            let Some(lending) = self.exclusive.lending.as_ref() else { return Ok(false) };
            let mut reached = std::iter::once(&**lending).chain(&lending.tracked.others);
            if reached.all(|reached| reached.node() != Some(node.address()))
                && !Box::pin(self.turn_to(cluster, node.address(), None)).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One of these cannot be had: the client is told why, in the place of what the first node has said, and is closed.
    pub(super) fn cannot_reach(&mut self, failure: &JobError) -> bool {
        let (muted, out) = (self.state.is_muted(), self.link.output());
        if !muted && out.ends_with(DONE) {
            out.truncate(out.len() - DONE.len());
            self.fail_replies(1, failure);
        }
        false
    }

    /// Has each connection that is not in use redirect as the one at hand does; false to close the session.
    pub(super) async fn redirect_others(&mut self) -> bool {
        let Some(lending) = self.exclusive.lending.as_mut() else { return true };
        let mut others = std::mem::take(&mut lending.tracked.others);
        let (request, protocol) = (lending.tracked.requests[0].clone(), self.state.needs.protocol);
        for other in &mut others {
            let Ok(redirected) = self.redirected(&request, other).await else { return false };
            let told = tell(other, &redirected, 1, protocol, self.link);
            if !matches!(timeout(self.settings.reply_timeout, told).await, Ok(Ok(reply)) if !reply.starts_with(b"-")) {
                return false;
            }
        }
        if let Some(lending) = self.exclusive.lending.as_mut() {
            lending.tracked.others = others;
        }
        true
    }
}
