//! `CLIENT TRACKING`, `NO-TOUCH` and `IMPORT-SOURCE` of a client whose keys are at several nodes of a cluster: it borrows a
//! connection of each node whose keys it uses, and each is told what the first was told. Called by `nodes`, and by
//! `connection` for what comes on those that are not in use.

use std::{future::poll_fn, io, task::Poll};

use cluster::Cluster;
use pool::{JobError, ReplyKind};
use resp::{Protocol, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use topology::Address;

use crate::{
    client::link::Link,
    command::{class::Reason, errors},
    exclusive::{
        change::Change,
        exchange::{Exchange, ReplyHead},
        lending::Lending,
        request::ExclusiveRequest,
        tracking::flushes::Flushes,
    },
};

/// All that the client has read may have changed.
pub(in crate::exclusive) const ALL_INVALID: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

/// What the connections of one client have in common, and those that are not in use.
#[derive(Default)]
pub(in crate::exclusive) struct Tracked {
    /// Requests that bring a further connection into the state of the others: the last `CLIENT TRACKING`, as the client wrote
    /// it if it `redirects`, and the last of each `Manner`.
    pub(super) requests: [Vec<u8>; 3],
    redirects: bool,
    /// That adds to one before it, which further connections are not told.
    adds: bool,
    /// The last `CLIENT CACHING`.
    pub(in crate::exclusive) caching: Vec<u8>,
    /// At other nodes.
    pub(in crate::exclusive) others: Vec<Lending>,
    /// While a request goes to its nodes in parts: what was told meanwhile, which stands behind its reply. A key may have been
    /// read by one part and changed before the next.
    pub(super) held: Option<Vec<u8>>,
    pub(in crate::exclusive) flushes: Flushes,
}

impl Tracked {
    /// A request has taken effect that others are to be told of; whether they are at once.
    fn note(&mut self, request: &ExclusiveRequest, is_over: bool) -> bool {
        let own = request.own_request().to_vec();
        let broadcasts = matches!(request.change, Change::Tracking { broadcasts: true, .. });
        self.adds |= broadcasts && !self.requests[0].is_empty();
        match (request.change, &request.redirect) {
            (Change::Caching, _) => self.caching = own,
            (_, _) if is_over => (self.requests, self.adds) = Default::default(),
            (Change::Manner(manner, _), _) => self.requests[1 + manner as usize] = own,
            (_, Some(redirect)) => (self.requests[0], self.redirects) = (redirect.written(), true),
            (_, None) => (self.requests[0], self.redirects) = (own, false),
        }
        request.change != Change::Caching
    }

    /// Bytes of memory.
    pub(in crate::exclusive) fn bytes(&self) -> usize {
        self.requests.iter().map(Vec::len).sum::<usize>() + self.caching.len()
    }

    /// Whether nothing that is told is passed on for now.
    pub(in crate::exclusive) fn holds(&self) -> bool {
        self.held.is_some()
    }
}

/// Why a request that makes this change cannot be had of a cluster with several shards, if so.
pub(in crate::exclusive) fn refusal(request: &ExclusiveRequest, in_transaction: bool) -> Option<&'static str> {
    match request.change {
        Change::Tracking { .. } | Change::Caching | Change::Manner(..) if in_transaction => {
            Some(errors::TRACKING_IN_MULTI)
        }
        _ => None,
    }
}

/// The error of a client that is to be closed meanwhile.
pub(super) const ENDED: io::ErrorKind = io::ErrorKind::Interrupted;

/// Has requests executed on a connection; the last reply. What it is told besides goes to the client.
pub(super) async fn tell<S>(
    lending: &mut Lending,
    requests: &[u8],
    due: u32,
    protocol: Protocol,
    link: &mut Link<S>,
) -> io::Result<Vec<u8>> {
    let (mut reply, mut left) = (Vec::new(), due);
    lending.lent.send(requests).await?;
    while left > 0 {
        reply.clear();
        let kind = poll_fn(|cx| match lending.lent.poll_message(cx, &mut reply) {
            Poll::Pending if link.poll_asked(cx).ends() => Poll::Ready(Err(ENDED.into())),
            polled => polled,
        })
        .await?;
        if kind == ReplyKind::Push && protocol == Protocol::Resp3 {
            lending.tracked.held.as_mut().unwrap_or_else(|| link.output()).extend_from_slice(&reply);
        } else {
            left -= 1;
        }
    }
    Ok(reply)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    pub(in crate::exclusive) fn tracks_by_node(&self) -> bool {
        self.exclusive.lending.as_ref().is_some_and(|lending| lending.binds_reads())
    }

    /// Whether its next request may go to any of the nodes.
    pub(super) fn may_turn(&self) -> bool {
        self.tracks_by_node() && !self.exclusive.is_in_transaction()
    }

    /// Has a client that tracks go on at the node where `request` belongs, if that is known. `Some` if that cannot be: the
    /// client has been told, and is to be closed if it holds false.
    pub(in crate::exclusive) async fn turn_for(
        &mut self,
        cluster: &Cluster,
        request: &ExclusiveRequest,
    ) -> Option<bool> {
        if !self.may_turn() {
            return None;
        }
        match self.reach_all(cluster).await {
            Ok(true) => {}
            Ok(false) => return Some(false),
            Err(failure) => return Some(self.refuse_alone(request, &failure)),
        }
        let others = self.exclusive.lending.as_ref().map(|lending| &lending.tracked.others)?;
        let watching = others.iter().find(|other| other.is_watching()).and_then(|other| other.node().cloned());
        let is_of_watch = matches!(request.change, Change::Multi | Change::Watch | Change::Unwatch);
        let (node, slot) = match watching.filter(|_| is_of_watch) {
            Some(node) => (node, None),
            None => {
                let own = request.own_request();
                let slot = cluster.slot(own).or_else(|| cluster.hint(own))?;
                (cluster.node_of(slot)?, Some(slot))
            }
        };
        match Box::pin(self.turn_to(cluster, &node, slot)).await {
            Ok(true) => None,
            Ok(false) => Some(false),
            Err(failure) => Some(self.refuse_alone(request, &failure)),
        }
    }

    /// Has the connection at hand be one of this node, or of whichever has `slot` by the time that one can be had; false to
    /// close the session.
    pub(in crate::exclusive) async fn turn_to(
        &mut self,
        cluster: &Cluster,
        node: &Address,
        slot: Option<u16>,
    ) -> Result<bool, JobError> {
        let is_there = |lending: &Lending| lending.node() == Some(node) && !lending.at_node.is_lost();
        let Some(lending) = self.exclusive.lending.as_deref() else { return Ok(false) };
        let (is_caching, is_lost) = (lending.is_caching(), lending.at_node.is_lost());
        if is_there(lending) {
            return Ok(true);
        }
        if !is_lost && !self.end_caching().await {
            return Ok(false);
        }
        let Some(lending) = self.exclusive.lending.as_mut() else { return Ok(false) };
        let others = &mut lending.tracked.others;
        let known = others.iter().position(is_there).map(|at| Box::new(others.swap_remove(at)));
        let (is_new, mut requests, mut count) = (known.is_none(), Vec::new(), 0);
        let mut next = match known {
            Some(known) => known,
            // One that has asked for further prefixes goes, as with a connection that is lost.
            None if lending.tracked.adds => return Ok(false),
            None => {
                let since = Instant::now();
                let place = self.place(since).await?;
                let (caller, wanted) = ((&*self.caller, since), self.state.needs.into());
                let borrowed = match slot {
                    Some(slot) => cluster.lend(caller, Some(slot), wanted).await?,
                    None => cluster.lend_at(caller, node, wanted).await?,
                };
                Box::new(Lending::new(borrowed, place, Reason::Tracking))
            }
        };
        let Some(mut former) = self.exclusive.lending.take() else { return Ok(false) };
        next.tracked = std::mem::take(&mut former.tracked);
        if is_new {
            next.bind_as(&former);
            next.flushes.join(&next.tracked.flushes);
            count += next.tracked.requests.iter().filter(|request| !request.is_empty()).count();
            let [tracking, manners @ ..] = &next.tracked.requests;
            let (tracking, manners) = (tracking.clone(), manners.concat());
            let tracking = match next.tracked.redirects {
                false => tracking,
                true => match self.redirected(&tracking, &mut next).await {
                    Ok(redirected) => redirected,
                    Err(failure) => {
                        self.fail_replies(1, &failure);
                        return Ok(false);
                    }
                },
            };
            requests = [tracking, manners].concat();
        }
        if is_caching {
            count += 1;
            requests.extend_from_slice(&next.tracked.caching);
        }
        if !is_lost {
            next.tracked.others.push(*former);
        }
        self.exclusive.lending = Some(next);
        let told = ExclusiveRequest::unasked(requests, u32::try_from(count).unwrap_or(u32::MAX));
        let go_on = count == 0 || self.exchange(&told, &mut ReplyHead::default()).await;
        if let Some(lending) = &mut self.exclusive.lending {
            lending.set_caching(is_caching);
        }
        Ok(go_on)
    }

    /// Goes on with the transaction at hand, of which nothing was executed, at the node that has `slot`.
    pub(in crate::exclusive) async fn transplant_tracked(
        &mut self,
        cluster: &Cluster,
        slot: Option<u16>,
        log: Vec<u8>,
        count: u32,
    ) -> Result<(), JobError> {
        let node =
            slot.and_then(|slot| cluster.node_of(slot)).or_else(|| cluster.first_node()).ok_or(JobError::Closed)?;
        let mut discard = Vec::new();
        write_request(&mut discard, &["DISCARD"]);
        let begun = match &mut self.exclusive.lending {
            Some(lending) if lending.is_in_transaction() => Some(lending.leave_transaction()),
            _ => None,
        };
        let is_lost = self.exclusive.is_lost();
        let is_left = begun.is_none()
            || is_lost
            || self.exchange(&ExclusiveRequest::unasked(discard, 1), &mut ReplyHead::default()).await;
        if !is_left || !self.turn_to(cluster, &node, slot).await? {
            return Err(JobError::Closed);
        }
        if let (Some(begun), Some(lending)) = (begun, &mut self.exclusive.lending) {
            lending.take_over(begun);
        }
        self.replay(log, count).await
    }

    /// Has all connections of the client be told what has just taken effect on the one at hand; false to close the session.
    pub(in crate::exclusive) async fn spread(&mut self, request: &ExclusiveRequest) -> bool {
        let Some(lending) = self.exclusive.lending.as_mut().filter(|lending| lending.node().is_some()) else {
            return true;
        };
        let is_over = !lending.binds_reads();
        if !lending.tracked.note(request, is_over) {
            return true;
        }
        let go_on = if request.redirect.is_some() {
            self.redirect_others().await
        } else {
            self.tell_others(request.own_request()).await
        };
        let Some(lending) = self.exclusive.lending.as_mut() else { return false };
        let mut others = std::mem::take(&mut lending.tracked.others);
        others.iter_mut().for_each(|other| other.bind_as(lending));
        if is_over {
            if let Some(watching) = others.iter_mut().find(|other| other.is_watching()) {
                std::mem::swap(&mut **lending, watching);
            }
            others.drain(..).for_each(|other| other.give_back());
        }
        lending.tracked.others = others;
        let Some(cluster) = self.cluster.filter(|_| go_on) else { return go_on };
        self.reach_all(cluster).await.unwrap_or_else(|failure| self.cannot_reach(&failure))
    }

    /// Has each connection that is not in use execute a request; false to close the session.
    pub(in crate::exclusive) async fn tell_others(&mut self, request: &[u8]) -> bool {
        let Some(lending) = self.exclusive.lending.as_mut() else { return true };
        let (protocol, limit) = (self.state.needs.protocol, self.settings.reply_timeout);
        for other in &mut lending.tracked.others {
            let told = tell(other, request, 1, protocol, self.link);
            if !matches!(timeout(limit, told).await, Ok(Ok(reply)) if !reply.starts_with(b"-")) {
                return false;
            }
        }
        true
    }
}
