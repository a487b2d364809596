//! A transaction of a client of a cluster before its first request: its `MULTI` is answered here, and is sent with that
//! request to the node which has its key, or to the first one where it has none. So no other node has to begin it in vain.
//! Called by `elsewhere`, and by whoever aborts a transaction.

use cluster::Cluster;
use pool::{JobError, UnderWay};
use resp::{write_request, write_simple};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};

use crate::{
    client::state::Transaction,
    command::class::Reason,
    exclusive::{
        change::Change, exchange::Exchange, lending::Lending, nodes::elsewhere::PAUSE, request::ExclusiveRequest,
    },
};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

/// Where its name begins.
const NAME_AT: usize = 8;

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Whether `request` begins a transaction whose node is not known yet, and a node could say no more than `OK`. Whether a
    /// user of the upstream has the right to begin one, it alone knows.
    pub(super) fn may_begin_later(&self, cluster: &Cluster, request: &ExclusiveRequest) -> bool {
        request.own_request().eq_ignore_ascii_case(MULTI)
            && !self.exclusive.is_wanted()
            && !self.caller.is_guest()
            && !cluster.map().is_one_shard()
    }

    /// Has the transaction begin with the next request.
    pub(super) fn begin_later(&mut self, request: &ExclusiveRequest) {
        let published = self.link.published();
        UnderWay::begin(published.counts.exclusive(Reason::Transaction), request.counted).end(0);
        // Monitors are shown it as the client has written it.
        self.exclusive.begun = request.own_request().get(NAME_AT..).and_then(|name| name.first_chunk()).copied();
        if !self.state.is_muted() {
            write_simple(self.link.output(), "OK");
        }
    }

    /// Begins the transaction at hand, if no node knows of it yet, at the one to which `request` belongs. `Some` if that
    /// cannot be, and nothing of the transaction will be executed: the client has been told, and is to be closed if it
    /// holds false.
    pub(in crate::exclusive) async fn begin(
        &mut self,
        cluster: &Cluster,
        request: &mut ExclusiveRequest,
    ) -> Option<bool> {
        let multi = write_name(self.exclusive.begun.take()?);
        let (began, patience) = (Instant::now(), self.caller.failover_wait());
        let refused = loop {
            match self.begin_at_node(cluster, (request, &multi), began).await {
                Ok(reply) if reply.starts_with(b"+") => {
                    request.waited = began.elapsed();
                    return None;
                }
                // It changes nothing, and can be sent as often as it takes.
                Err(JobError::ConnectionLost { .. }) if began.elapsed() < patience => {
                    cluster.doubt();
                    sleep(PAUSE.1).await;
                }
                refused => break refused,
            }
        };
        self.exclusive.end_current();
        if request.change != Change::EndMulti {
            self.state.transaction = Transaction::Aborted;
        }
        let tally = self.link.published().counts.exclusive(Reason::Transaction);
        UnderWay::begin(tally, request.counted).end(if refused.is_ok() { 0 } else { request.counted });
        if let Err(JobError::ExclusiveTimeout { waited, .. } | JobError::ExclusiveShare { waited, .. }) = &refused {
            tally.waited_in_vain(*waited);
        }
        match refused {
            Ok(_) if self.state.is_muted() => {}
            Ok(reply) => self.link.output().extend_from_slice(&reply),
            Err(failure) => self.fail_replies(request.errors(), &failure),
        }
        Some(true)
    }

    /// What the node says to `MULTI` to which `request` belongs.
    async fn begin_at_node(
        &mut self,
        cluster: &Cluster,
        (request, multi): (&ExclusiveRequest, &[u8]),
        since: Instant,
    ) -> Result<Vec<u8>, JobError> {
        let place = self.place(since).await?;
        let (slot, limit) = (cluster.slot(request.own_request()), self.settings.reply_timeout);
        let borrowed = cluster.lend((self.caller, since), slot, self.state.needs.into()).await?;
        let mut lending = Box::new(Lending::new(borrowed, place, Reason::Transaction));
        let mut reply = Vec::new();
        if let Err(failure) = lending.lent.ask(multi, limit, &mut reply).await {
            self.caller.count_failure(&failure);
            return Err(failure);
        }
        if reply.starts_with(b"+") {
            lending.resume();
            lending.at_node.note(multi, self.settings.limits.request_bytes_max);
        }
        self.exclusive.lending = Some(lending);
        self.link.entry().update(|details| details.exclusive = Some(Reason::Transaction));
        Ok(reply)
    }
}

/// The request that has this name.
fn write_name(name: [u8; 5]) -> Vec<u8> {
    let mut request = Vec::with_capacity(MULTI.len());
    write_request(&mut request, &[name]);
    request
}
