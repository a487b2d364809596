//! Requests that go to the nodes of their slots just as the client has sent them, which is what most bursts are. A round
//! begins only if a node has more to say than replies.

use std::sync::Arc;

use pool::{Burst, Caller, JobError, REPLY_FREE_BYTES, Share, Spent, execute_all};
use resp::write_error;
use route::Splitter;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    map::{CallerOf, Node},
    replicas::Reads,
    round::{
        holding::{beside, hold_only},
        kept::{give_back_buffer, lend_buffer},
        round::{Executed, Text},
        routes::{LentRoutes, Routes, Row, Rows},
        state::{Batch, Way},
    },
};

/// What has been sent, and why replies are missing if they are.
pub(super) type Tried = (Batch, Option<JobError>);

/// A burst taken apart.
struct Parts<'r> {
    rows: &'r [Row],
    parts: Vec<Part<'r>>,
}

/// What goes to one node.
struct Part<'r> {
    shard: u16,
    node: &'r Arc<Node>,
    burst: Burst,
    /// Who sends it, if that is not the session's own caller.
    caller: Option<CallerOf<'r>>,
    /// Bytes of its replies that are among those of the whole.
    joined: usize,
}

impl Cluster {
    /// Executes a burst: afterwards it has a reply for each of its requests, errors where they failed. `caller` is one of
    /// the first pool; `routes` are those of the burst, if they were noted when it was gathered; `text` says an error to a
    /// client; `reads` tells where reads go, if not all to primaries. It begins now, at `started`.
    ///
    /// # Cancel safety
    /// What was sent is executed all the same, and its replies are dropped.
    pub async fn execute(
        &self,
        caller: &mut Caller,
        burst: &mut Burst,
        routes: Option<LentRoutes>,
        text: Text<'_>,
        reads: Option<Reads<'_>>,
        started: Instant,
    ) -> Executed {
        // Pools of replicas have the gateway's own login, and are for nobody else.
        let reads = reads.filter(|_| !caller.is_guest());
        let mut routes = match routes.filter(|routes| routes.were_sent() || routes.are_of(burst)) {
            Some(routes) => routes,
            None => match self.known(&self.pools().first().settings(), started).await {
                Ok(map) => Routes::of(burst, map),
                Err(failure) => return fail_all(burst, failure, text, started),
            },
        };
        let is_straight = reads.is_none() && !routes.were_sent() && routes.are_straight();
        if is_straight && routes.aim(burst) {
            let result = match routes.led(caller) {
                Ok(mut caller) => caller.execute(burst).await,
                Err(failure) => Err(failure),
            };
            if let Some(spent) = routes.ended(burst, caller, result) {
                return Executed { spent, ..Executed::default() };
            }
        }
        let tried = match routes.tried(burst) {
            Err(failure) => return fail_all(burst, failure, text, started),
            Ok(Some(tried)) => vec![tried],
            Ok(None) if is_straight => {
                let mut parts = Parts::new(routes.tell_rows(), burst);
                let results = parts.execute(caller, burst).await;
                if results.iter().all(Result::is_ok) && parts.are_without_error() {
                    return match parts.join(burst, caller).await {
                        Ok(()) => Executed { spent: spent(started), ..Executed::default() },
                        Err(failure) => fail_all(burst, failure, text, started),
                    };
                }
                parts.tried(results)
            }
            Ok(None) => Vec::new(),
        };
        let by = (routes.by(), self.pools().first().settings(), started);
        // Boxed, because it is rare and large.
        Box::pin(self.execute_round(caller, burst, (text, reads), by, tried)).await
    }
}

impl<'r> Parts<'r> {
    fn new(Rows { rows, nodes }: Rows<'r>, whole: &Burst) -> Self {
        let (mut parts, mut before): (Vec<Part<'_>>, Row) = Default::default();
        for row in &mut *rows {
            let place = parts.iter().position(|part| part.shard == row.shard).unwrap_or_else(|| {
                parts.push(Part::new(row.shard, nodes, whole));
                parts.len() - 1
            });
            let burst = &mut parts[place].burst;
            burst.requests.extend_from_slice(&whole.requests[before.end as usize..row.end as usize]);
            burst.replies_due += row.count - before.count;
            // There are no more shards than slots.
            row.part = u16::try_from(place).unwrap_or(u16::MAX);
            before = *row;
        }
        let beside = beside(parts.len());
        parts.iter_mut().for_each(|part| part.burst.beside = beside);
        Self { rows, parts }
    }

    /// Has all parts executed at once; what has come of each.
    async fn execute(&mut self, own: &mut Caller, burst: &mut Burst) -> Vec<Result<(), JobError>> {
        // What was taken beforehand for replies is in one hand until they are there.
        self.parts[0].burst.room = burst.room.take();
        if let Err(failure) = self.parts.iter_mut().try_for_each(|part| part.find_caller(own)) {
            // Nothing has been sent. Those who have a way are sent anew.
            return self.parts.iter().map(|_| Err(failure.clone())).collect();
        }
        let mut own = Some(own);
        let calls = self.parts.iter_mut().map(|Part { caller, burst, .. }| {
            let caller = match caller {
                Some(caller) => &mut **caller,
                None => own.take().expect("one node has the first pool"),
            };
            (caller, burst)
        });
        execute_all(calls).await
    }

    fn are_without_error(&self) -> bool {
        self.parts.iter().all(|part| part.burst.errors == 0)
    }

    /// Puts the replies together, in the order of the requests. Fails where there is no room for them beside their parts.
    async fn join(mut self, burst: &mut Burst, caller: &Caller) -> Result<(), JobError> {
        self.parts.iter_mut().for_each(|part| Share::add(&mut burst.room, part.burst.room.take()));
        let bytes = self.parts.iter().map(|part| part.burst.replies.len()).sum();
        if bytes > REPLY_FREE_BYTES {
            // Boxed, because it is rare.
            Box::pin(caller.make_room(&mut burst.room, bytes, bytes)).await?;
        }
        burst.replies.clear();
        burst.replies.reserve(bytes);
        let mut splitter = Splitter::default();
        let mut before = 0;
        for Row { count, part, .. } in self.rows {
            let Part { burst: Burst { replies, .. }, joined, .. } = &mut self.parts[usize::from(*part)];
            let found = splitter.split(&replies[*joined..], count - before);
            debug_assert!(found.is_some(), "each request has a reply");
            let (found, _) = found.unwrap_or_default();
            burst.replies.extend_from_slice(found);
            *joined += found.len();
            before = *count;
        }
        burst.replies_done = burst.replies_due;
        for Part { burst: Burst { requests, replies, .. }, .. } in self.parts {
            give_back_buffer(requests);
            give_back_buffer(replies);
        }
        hold_only(burst);
        Ok(())
    }

    /// What has come of each part, for a round.
    fn tried(self, results: Vec<Result<(), JobError>>) -> Vec<Tried> {
        let Self { rows, parts } = self;
        let of = |part: usize| {
            let before = [0].into_iter().chain(rows.iter().map(|row| row.count));
            let rows = before.zip(rows).filter(move |(_, row)| usize::from(row.part) == part);
            rows.flat_map(|(before, row)| before as usize..row.count as usize)
        };
        let tried = parts.into_iter().zip(results).enumerate().map(|(place, (Part { node, burst, .. }, result))| {
            let pieces = of(place).map(|piece| (piece, false)).collect();
            (Batch { way: Way::to(node), pieces, burst }, result.err())
        });
        tried.collect()
    }
}

impl<'r> Part<'r> {
    /// Nothing yet of `whole` for a shard, whose node has that place.
    fn new(shard: u16, nodes: &'r [Arc<Node>], whole: &Burst) -> Self {
        let Burst { needs, read_only, expected, .. } = *whole;
        // What they have if slots are spread evenly, and half as much again.
        let requests = lend_buffer(whole.requests.len() * 3 / (2 * nodes.len()));
        let burst = Burst { requests, replies: lend_buffer(0), needs, read_only, expected, ..Burst::default() };
        Self { shard, node: &nodes[usize::from(shard)], burst, caller: None, joined: 0 }
    }

    /// Whoever is to send it, if the session's `own` caller is not.
    fn find_caller(&mut self, own: &Caller) -> Result<(), JobError> {
        if !self.node.is_first {
            self.caller = Some(self.node.caller(own)?);
        }
        Ok(())
    }
}

/// What has come of a burst that is to be executed anew where its replies say so.
pub(super) fn taken(burst: &mut Burst, node: &Arc<Node>) -> Batch {
    let (replies, room) = (std::mem::take(&mut burst.replies), burst.room.take());
    let answered = Burst { replies, room, errors: std::mem::take(&mut burst.errors), ..Burst::default() };
    burst.replies_done = 0;
    Batch {
        way: Way::to(node),
        pieces: (0..burst.replies_due as usize).map(|piece| (piece, false)).collect(),
        burst: answered,
    }
}

pub(super) fn spent(started: Instant) -> Spent {
    Spent { queue_us: 0, total_us: pool::micros(started.elapsed()) }
}

fn fail_all(burst: &mut Burst, failure: JobError, text: Text<'_>, started: Instant) -> Executed {
    let said = text(&failure);
    (0..burst.replies_due).for_each(|_| write_error(&mut burst.replies, &said));
    burst.replies_done = burst.replies_due;
    Executed { failed: vec![(failure, burst.replies_due)], spent: spent(started), ..Executed::default() }
}
