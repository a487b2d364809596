//! What an exchange remembers where the upstream is a cluster: at which node its connection is, of which slot the
//! transaction is, or what is watched, and what has been sent of it, so that it can go on elsewhere.

use cluster::{Cluster, Parts, Prepared};
use topology::Address;

use crate::{
    command::class::Reason,
    exclusive::{lending::Lending, nodes::blocked::Elsewhere, request::ExclusiveRequest},
};

/// Bytes of a transaction that are remembered once it has a key. A larger one stays at the node of that. One without a key is
/// remembered as long as it is no larger than one request may be: it has to go where its first key is.
const LOG_BYTES_MAX: usize = 256 * 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(in crate::exclusive) struct AtNode {
    /// The node that has lent the connection; `None` where there is no cluster.
    pub(in crate::exclusive) node: Option<Address>,
    /// It has lent a connection of the first pool: subscribers hear its events there.
    pub(in crate::exclusive) is_first: bool,
    /// The slot of the transaction's first key, or of what is watched, once there was one.
    pub(in crate::exclusive) slot: Option<u16>,
    /// All requests since `MULTI`, that one included; `None` if they were too many.
    log: Option<Log>,
    /// The node has not executed the last request: it belongs elsewhere, or has to wait. Its reply was taken back.
    elsewhere: Option<Elsewhere>,
    /// The next reply that is looked at is none for a client: the node has refused scripts, as it has become a replica.
    pub(in crate::exclusive) is_refused: bool,
    /// What is watched has left the node, which does not see what becomes of it: its transaction is not to be executed.
    soiled: bool,
    /// The connection was lost.
    lost: bool,
    /// What other primaries are to execute with the transaction, and what they have.
    pub(in crate::exclusive) prepared: Option<Prepared>,
    pub(in crate::exclusive) parts: Option<Parts>,
    /// The last entry of each stream of which the request wants what comes, as it was before that.
    pub(in crate::exclusive) ends: Vec<Option<Vec<u8>>>,
    /// Why it is not known from where `WAIT` counts.
    uncounted: Option<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<u8>,
    count: u32,
}

impl Lending {
    /// A request has been executed at its node, or queued. A `CLIENT CACHING` before it holds for all of a transaction that
    /// it has begun.
    pub(super) fn note_executed(&mut self, cluster: &Cluster, request: &[u8], caching: Option<Vec<u8>>, max: usize) {
        let (in_transaction, is_watching) = (self.is_in_transaction(), self.is_watching());
        if let Some(caching) = caching.filter(|_| in_transaction) {
            self.at_node.note(&caching, max);
        }
        self.at_node.executed((cluster, request), (in_transaction, is_watching), max);
    }
}

impl AtNode {
    pub(in crate::exclusive) fn new(node: Option<Address>, is_first: bool) -> Self {
        Self { node, is_first, log: Some(Log::default()), ..Self::default() }
    }

    /// Looks at a reply to `request`: whether it is one that no client is to see.
    pub(in crate::exclusive) fn is_sent_elsewhere(
        &mut self,
        reply: &[u8],
        request: &ExclusiveRequest,
        (cluster, tracks): (&Cluster, bool),
    ) -> bool {
        if std::mem::take(&mut self.is_refused) {
            self.elsewhere = Some(Elsewhere::Later);
            return true;
        }
        let said = match cluster.sends_elsewhere(reply, self.node.as_ref(), request.own_request(), self.slot) {
            Some(Some(to_ask)) if request.waits() || tracks => Some(Elsewhere::Ask(to_ask)),
            Some(_) if reply.starts_with(b"-TRYAGAIN") => Some(Elsewhere::Apart),
            Some(_) => Some(Elsewhere::Later),
            None => Elsewhere::read(reply).filter(|_| request.waits()),
        };
        let is_so = said.is_some();
        self.elsewhere = said.or(self.elsewhere.take());
        is_so
    }

    /// Looks at a reply to `WAIT`, or at one before it that is swallowed, from `at` in `out` on: where that is an error, what
    /// `WAIT` says would not be true of the client's writes, and the error takes the place of it.
    pub(in crate::exclusive) fn tell_of_offset(
        &mut self,
        out: &mut Vec<u8>,
        at: usize,
        request: &ExclusiveRequest,
        is_swallowed: bool,
    ) {
        if request.reason != Reason::Wait {
            return;
        }
        if is_swallowed {
            self.uncounted = out[at..].starts_with(b"-").then(|| out[at..].to_vec());
        } else if let Some(error) = self.uncounted.take() {
            out.truncate(at);
            out.extend_from_slice(&error);
        }
    }

    /// Whether that was so with the last request.
    pub(in crate::exclusive) fn take_elsewhere(&mut self) -> Option<Elsewhere> {
        self.elsewhere.take()
    }

    /// The same, where the reply has not been dealt with yet.
    pub(in crate::exclusive) fn is_elsewhere(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// What is watched has left the node.
    pub(in crate::exclusive) fn soil(&mut self) {
        self.soiled = true;
    }

    /// Whether it has, since it is watched.
    pub(in crate::exclusive) fn is_soiled(&self) -> bool {
        self.soiled
    }

    /// The connection was lost.
    pub(in crate::exclusive) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether it was, and what it was lent for is to go on at another.
    pub(in crate::exclusive) fn is_lost(&self) -> bool {
        self.lost
    }

    /// What has been begun goes on elsewhere.
    pub(in crate::exclusive) fn leave(&mut self) -> Self {
        let begun = Self { slot: self.slot, log: self.log.take(), soiled: self.soiled, ..Self::default() };
        self.forget();
        begun
    }

    /// It goes on at this node.
    pub(in crate::exclusive) fn settle_at(&mut self, node: Option<Address>, is_first: bool) {
        (self.node, self.is_first, self.lost) = (node, is_first, false);
    }

    /// A request has been executed, or queued; whether the client is in a transaction and watches keys by now.
    pub(in crate::exclusive) fn executed(
        &mut self,
        (cluster, request): (&Cluster, &[u8]),
        (in_transaction, is_watching): (bool, bool),
        max: usize,
    ) {
        self.ends = Vec::new();
        match (in_transaction, is_watching) {
            (true, _) => self.note(request, max),
            (false, true) => self.slot = self.slot.or_else(|| cluster.slot(request)),
            (false, false) => self.forget(),
        }
    }

    /// A request of a transaction has been sent, of which so many bytes are remembered at `max` as long as it has no key.
    pub(in crate::exclusive) fn note(&mut self, request: &[u8], max: usize) {
        let max = if self.slot.is_none() { max } else { LOG_BYTES_MAX };
        if let Some(log) = &mut self.log {
            log.count += 1;
            match log.requests.len() + request.len() <= max {
                true => log.requests.extend_from_slice(request),
                false => self.log = None,
            }
        }
    }

    /// The transaction is over, and nothing is watched.
    pub(in crate::exclusive) fn forget(&mut self) {
        (self.log, self.slot, self.soiled, self.prepared) = (Some(Log::default()), None, false, None);
    }

    /// Whether what was sent of the transaction is remembered.
    pub(in crate::exclusive) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// What was sent of the transaction and how many requests that are, if it is remembered. What is large is not
    /// remembered any more then, until it is to be again.
    pub(in crate::exclusive) fn log(&mut self) -> Option<(Vec<u8>, u32)> {
        let large = self.log.take_if(|log| log.requests.len() > LOG_BYTES_MAX).map(|log| (log.requests, log.count));
        large.or_else(|| self.log.as_ref().map(|log| (log.requests.clone(), log.count)))
    }

    /// What was sent of the transaction, if it is remembered.
    pub(in crate::exclusive) fn logged(&self) -> Option<&[u8]> {
        self.log.as_ref().map(|log| &log.requests[..])
    }

    /// So many requests have been sent of the transaction, which are remembered unless they were all along.
    pub(in crate::exclusive) fn remember(&mut self, requests: Vec<u8>, count: u32) {
        self.log.get_or_insert(Log { requests, count });
    }

    /// Bytes of memory.
    pub(in crate::exclusive) fn bytes(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.requests.capacity())
    }
}
