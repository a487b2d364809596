//! Requests that go to the nodes of their slots just as the client has sent them, which is what most bursts are. A round
//! begins only if a node has more to say than replies.

use std::sync::Arc;

use pool::{Burst, Caller, JobError, REPLY_FREE_BYTES, Share, Spent, execute_all};
use resp::write_error;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    map::{CallerOf, Node},
    replicas::Reads,
    round::{
        holding::{beside, hold_only},
        round::{Executed, Text},
        routes::{self, LentRoutes, Routes},
        state::{Batch, Way},
    },
};

/// What has been sent, and why replies are missing if they are.
pub(super) type Tried = (Batch, Option<JobError>);

/// A burst taken apart.
struct Parts {
    parts: Vec<Part>,
    /// Of each request the place of its part.
    places: Vec<u16>,
}

/// What goes to one node.
struct Part {
    shard: u16,
    node: Arc<Node>,
    burst: Burst,
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
        let settings = self.pools().first().settings();
        // Pools of replicas have the gateway's own login, and are for nobody else.
        let reads = reads.filter(|_| !caller.is_guest());
        let mut routes = match routes.filter(|routes| routes.were_sent() || routes.are_of(burst)) {
            Some(routes) => routes,
            None => match self.known(&settings, started).await {
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
                let mut parts = Parts::new(&routes, burst);
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
        // Boxed, because it is rare and large.
        Box::pin(self.execute_round(caller, burst, (text, reads), (routes.by(), settings, started), tried)).await
    }
}

impl Parts {
    fn new(routes: &Routes, whole: &Burst) -> Self {
        let mut parts = Self { parts: Vec::new(), places: Vec::with_capacity(whole.replies_due as usize) };
        for routes::Part { shard, node, count, bytes } in routes.all() {
            let bytes = &whole.requests[bytes];
            let place = match parts.parts.iter().position(|part| part.shard == shard) {
                Some(place) => place,
                None => {
                    let Burst { needs, read_only, expected, .. } = *whole;
                    // What they have if slots are spread evenly, and half as much again.
                    let usual = whole.requests.len() * 3 / (2 * routes.nodes());
                    let requests = Vec::with_capacity(usual.max(bytes.len()));
                    let burst = Burst { requests, needs, read_only, expected, ..Burst::default() };
                    parts.parts.push(Part { shard, node: Arc::clone(node), burst });
                    parts.parts.len() - 1
                }
            };
            let burst = &mut parts.parts[place].burst;
            burst.requests.extend_from_slice(bytes);
            burst.replies_due += count;
            // There are no more shards than slots.
            let place = u16::try_from(place).unwrap_or(u16::MAX);
            parts.places.extend(std::iter::repeat_n(place, count as usize));
        }
        parts
    }

    /// Has all parts executed at once; what has come of each.
    async fn execute(&mut self, own: &mut Caller, burst: &mut Burst) -> Vec<Result<(), JobError>> {
        // What was taken beforehand for replies is in one hand until they are there.
        self.parts[0].burst.room = burst.room.take();
        let beside = beside(self.parts.len());
        self.parts.iter_mut().for_each(|part| part.burst.beside = beside);
        let lent = |part: &Part| (!part.node.is_first).then(|| part.node.caller(own)).transpose();
        let mut callers = match self.parts.iter().map(lent).collect::<Result<Vec<Option<CallerOf>>, _>>() {
            Ok(callers) => callers,
            // Nothing has been sent. Those who have a way are sent anew.
            Err(failure) => return self.parts.iter().map(|_| Err(failure.clone())).collect(),
        };
        let mut own = Some(own);
        let calls = self.parts.iter_mut().zip(&mut callers).map(|(part, caller)| {
            let caller = match caller {
                Some(caller) => &mut **caller,
                None => own.take().expect("one node has the first pool"),
            };
            (caller, &mut part.burst)
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
        let mut replies: Vec<_> = self.parts.iter().map(|part| route::replies(&part.burst.replies)).collect();
        for place in &self.places {
            let reply = replies[usize::from(*place)].next();
            debug_assert!(reply.is_some(), "each request has a reply");
            burst.replies.extend_from_slice(reply.unwrap_or_default());
        }
        burst.replies_done = burst.replies_due;
        drop(replies);
        drop(self);
        hold_only(burst);
        Ok(())
    }

    /// What has come of each part, for a round.
    fn tried(self, results: Vec<Result<(), JobError>>) -> Vec<Tried> {
        let Self { parts, places } = self;
        let of = |part: usize| places.iter().enumerate().filter(move |(_, place)| usize::from(**place) == part);
        let tried = parts.into_iter().zip(results).enumerate().map(|(place, (part, result))| {
            let pieces = of(place).map(|(piece, _)| (piece, false)).collect();
            (Batch { way: Way::to(&part.node), pieces, burst: part.burst }, result.err())
        });
        tried.collect()
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
