//! Requests that every primary of a cluster has to execute, and that overtake what others wait for. Called by `exchange`.

use cluster::{Cluster, Merge};
use pool::UnderWay;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    command::class::Reason,
    exclusive::{exchange::Exchange, request::ExclusiveRequest},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// How the replies of all primaries to this request become one, if it goes to all.
    pub(super) fn is_for_all(&self, cluster: &Cluster, request: &ExclusiveRequest) -> Option<Merge> {
        let may_be = request.reason == Reason::Other && !self.exclusive.is_in_transaction();
        may_be.then(|| cluster.merged(request.own_request())).flatten()
    }

    /// Has it executed by all; false to close the session.
    pub(super) async fn run_everywhere(&mut self, cluster: &Cluster, request: &ExclusiveRequest, how: Merge) -> bool {
        let published = self.link.published().clone();
        let under_way = UnderWay::begin(published.counts.exclusive(request.reason), request.counted);
        let answered = match self.place().await {
            Ok(_place) => cluster.ask_all(self.caller, request.own_request(), how, request.teaches).await,
            Err(failure) => Err(failure),
        };
        under_way.end(if answered.is_ok() { 0 } else { request.counted });
        if request.teaches {
            published.remembered.forget();
        }
        match answered {
            Ok(reply) if !self.state.is_muted() => self.link.output().extend_from_slice(&reply),
            Ok(_) => {}
            Err(failure) => self.fail_replies(request.counted, &failure),
        }
        true
    }
}
