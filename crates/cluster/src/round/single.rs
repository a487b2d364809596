//! A request by itself, which is what most bursts are: it goes to the node of its slot as the client has sent it, and a
//! round begins only if that node has more to say than a reply.

use std::sync::Arc;

use pool::{Burst, Caller, JobError, Spent};
use resp::{Decoded, RequestDecoder, RequestLimits, write_error};
use route::Route;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    map::{Map, Node},
    replicas::Reads,
    round::{
        round::{Executed, Text},
        state::{Batch, Way},
    },
};

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
        let node = if reads.is_none() { node_of_one(burst, &map) } else { None };
        let mut tried = None;
        if let Some(node) = node {
            let result = match node.is_first {
                true => caller.execute(burst).await,
                false => node.caller(caller.runtime()).execute(burst).await,
            };
            let failure = result.err();
            if failure.is_none() && burst.errors == 0 {
                burst.replies_done = 1;
                return Executed { spent: spent(started), ..Executed::default() };
            }
            burst.replies_due = 1;
            match failure {
                // It is still on its way, and nobody can send it again.
                Some(failure) if burst.requests.is_empty() => return fail_all(burst, failure, text, started),
                failure => tried = Some((taken(burst, Way::to(&node)), failure)),
            }
        }
        self.execute_round(caller, burst, (text, reads), (map, settings, started), tried).await
    }
}

/// What has come of the one request of a burst, which is to be executed anew.
fn taken(burst: &mut Burst, way: Way) -> Batch {
    let (replies, room) = (std::mem::take(&mut burst.replies), burst.room.take());
    let answered = Burst { replies, room, errors: std::mem::take(&mut burst.errors), ..Burst::default() };
    burst.replies_done = 0;
    Batch { way, pieces: vec![(0, false)], burst: answered }
}

/// The node that has the keys of a burst of one request, of which nothing has to be known but its reply.
fn node_of_one(burst: &Burst, map: &Map) -> Option<Arc<Node>> {
    if burst.replies_due != 1 {
        return None;
    }
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    let Ok(Decoded::Request { .. }) = decoder.decode(&burst.requests) else { return None };
    let request = decoder.request(&burst.requests);
    let command = map.commands.find(&request).filter(|command| command.is_of_its_keys())?;
    match command.route(&request) {
        Route::Slot(slot) => map.node_of(slot).cloned(),
        Route::Anywhere | Route::Split(..) | Route::Everywhere(_) | Route::Scan | Route::RandomKey | Route::Nowhere => {
            None
        }
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
