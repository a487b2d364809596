//! Requests that go to the nodes of their slots just as the client has sent them, which is what most bursts are. A round
//! begins only if a node has more to say than replies.

use std::sync::Arc;

use pool::{Burst, Caller, JobError, Spent, execute_all};
use resp::{Decoded, RequestDecoder, RequestLimits, write_error};
use route::Route;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    map::{CallerOf, Map, Node},
    replicas::Reads,
    round::{
        round::{Executed, Text},
        state::{Batch, Way},
    },
};

/// What has been sent, and why replies are missing if they are.
pub(super) type Tried = (Batch, Option<JobError>);

/// Where the requests of a burst go.
enum Straight {
    /// All of them to this node.
    Together(Arc<Node>),
    /// To several nodes.
    Apart(Parts),
}

/// A burst taken apart.
struct Parts {
    parts: Vec<Part>,
    /// Of each request the place of its part.
    places: Vec<u16>,
}

/// What goes to one node.
struct Part {
    shard: usize,
    node: Arc<Node>,
    burst: Burst,
}

impl Cluster {
    /// Executes a burst: afterwards it has a reply for each of its requests, errors where they failed. `caller` is one of
    /// the first pool; `text` says an error to a client; `reads` tells where reads go, if not all to primaries.
    ///
    /// # Cancel safety
    /// What was sent is executed all the same, and its replies are dropped.
    pub async fn execute(
        &self,
        caller: &mut Caller,
        burst: &mut Burst,
        text: Text<'_>,
        reads: Option<Reads<'_>>,
    ) -> Executed {
        let started = Instant::now();
        let settings = self.pools().first().settings();
        let map = match self.known(&settings, started).await {
            Ok(map) => map,
            Err(failure) => return fail_all(burst, failure, text, started),
        };
        let straight = if reads.is_none() { straight(burst, &map) } else { None };
        let tried = match straight {
            None => Vec::new(),
            Some(Straight::Together(node)) => {
                let due = burst.replies_due;
                let result = match node.is_first {
                    true => caller.execute(burst).await,
                    false => node.caller(caller.runtime()).execute(burst).await,
                };
                burst.replies_due = due;
                match result.err() {
                    None if burst.errors == 0 => return Executed { spent: spent(started), ..Executed::default() },
                    // It is still on its way, and nobody can send it again.
                    Some(failure) if burst.requests.is_empty() => return fail_all(burst, failure, text, started),
                    failure => vec![(taken(burst, &node), failure)],
                }
            }
            Some(Straight::Apart(mut parts)) => {
                let results = parts.execute(caller, burst).await;
                if results.iter().all(Result::is_ok) && parts.are_without_error() {
                    parts.join(burst);
                    return Executed { spent: spent(started), ..Executed::default() };
                }
                parts.tried(results)
            }
        };
        self.execute_round(caller, burst, (text, reads), (map, settings, started), tried).await
    }
}

impl Parts {
    /// The first `count` requests all go to this shard.
    fn begin(map: &Map, (requests, count): (&[u8], usize), shard: usize, burst: &Burst) -> Option<Self> {
        let mut parts = Self { parts: Vec::new(), places: Vec::with_capacity(burst.replies_due as usize) };
        parts.add(map, (requests, count), shard, burst)?;
        Some(parts)
    }

    /// Adds so many requests, which go to this shard.
    fn add(&mut self, map: &Map, (requests, count): (&[u8], usize), shard: usize, whole: &Burst) -> Option<()> {
        let place = match self.parts.iter().position(|part| part.shard == shard) {
            Some(place) => place,
            None => {
                let Burst { needs, read_only, expected, .. } = *whole;
                // What they have if slots are spread evenly, and half as much again.
                let usual = whole.requests.len() * 3 / (2 * map.nodes.len().max(1));
                let requests = Vec::with_capacity(usual.max(requests.len()));
                let burst = Burst { requests, needs, read_only, expected, ..Burst::default() };
                self.parts.push(Part { shard, node: Arc::clone(map.nodes.get(shard)?), burst });
                self.parts.len() - 1
            }
        };
        let burst = &mut self.parts[place].burst;
        burst.requests.extend_from_slice(requests);
        burst.replies_due += u32::try_from(count).ok()?;
        let place = u16::try_from(place).ok()?;
        self.places.extend(std::iter::repeat_n(place, count));
        Some(())
    }

    /// Has all parts executed at once; what has come of each.
    async fn execute(&mut self, own: &mut Caller, burst: &mut Burst) -> Vec<Result<(), JobError>> {
        // What was taken beforehand for replies is in one hand until they are there.
        self.parts[0].burst.room = burst.room.take();
        let runtime = own.runtime();
        let lent = |part: &Part| (!part.node.is_first).then(|| part.node.caller(runtime));
        let mut callers: Vec<Option<CallerOf>> = self.parts.iter().map(lent).collect();
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

    /// Puts the replies together, in the order of the requests.
    fn join(mut self, burst: &mut Burst) {
        for room in self.parts.iter_mut().filter_map(|part| part.burst.room.take()) {
            match &mut burst.room {
                Some(share) => share.join(*room),
                none => *none = Some(room),
            }
        }
        burst.replies.clear();
        burst.replies.reserve(self.parts.iter().map(|part| part.burst.replies.len()).sum());
        let mut replies: Vec<_> = self.parts.iter().map(|part| route::replies(&part.burst.replies)).collect();
        for place in &self.places {
            let reply = replies[usize::from(*place)].next();
            debug_assert!(reply.is_some(), "each request has a reply");
            burst.replies.extend_from_slice(reply.unwrap_or_default());
        }
        burst.replies_done = burst.replies_due;
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
fn taken(burst: &mut Burst, node: &Arc<Node>) -> Batch {
    let (replies, room) = (std::mem::take(&mut burst.replies), burst.room.take());
    let answered = Burst { replies, room, errors: std::mem::take(&mut burst.errors), ..Burst::default() };
    burst.replies_done = 0;
    Batch {
        way: Way::to(node),
        pieces: (0..burst.replies_due as usize).map(|piece| (piece, false)).collect(),
        burst: answered,
    }
}

/// Where the requests of a burst go, if nothing has to be known of any but its reply.
fn straight(burst: &Burst, map: &Map) -> Option<Straight> {
    let requests = &burst.requests[..];
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    let (mut at, mut count, mut first, mut parts) = (0, 0, None, None::<Parts>);
    while at < requests.len() {
        let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) else { return None };
        let request = decoder.request(&requests[at..]);
        let command = map.commands.find(&request).filter(|command| command.is_of_its_keys())?;
        // Those behind one with several keys may have to wait for it.
        if burst.replies_due > 1 && command.has_several_keys(&request) {
            return None;
        }
        let Route::Slot(slot) = command.route(&request) else { return None };
        let shard = map.layout.shard_of(slot)?;
        if *first.get_or_insert(shard) != shard && parts.is_none() {
            parts = Some(Parts::begin(map, (&requests[..at], count), first?, burst)?);
        }
        if let Some(parts) = &mut parts {
            parts.add(map, (&requests[at..at + len], 1), shard, burst)?;
        }
        (at, count) = (at + len, count + 1);
    }
    match parts {
        Some(parts) => Some(Straight::Apart(parts)),
        None => map.nodes.get(first?).cloned().map(Straight::Together),
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
