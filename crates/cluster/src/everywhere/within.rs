//! Requests of a transaction that all primaries are to execute, and not only the one at which that is, which decides whether
//! it is executed. See [`Prepared`].

use std::{
    fmt,
    future::poll_fn,
    io,
    iter::{once, repeat},
    sync::Arc,
    time::Duration,
};

use pool::{Caller, JobError, Lent, REPLY_FREE_BYTES, ReplyKind, Sent, Share, Wanted};
use resp::{Decoded, Request, RequestDecoder, RequestLimits, write_error, write_request};
use route::{Merge, Route};
use tokio::time::{Instant, sleep, timeout};
use topology::Address;

use crate::{
    cluster::Cluster,
    lend::{PAUSE, lend_of},
    map::{Map, Node},
    round::{beside, items, write_of_all},
    taught::{Taught, loads_script},
    together::{Running, all},
};

/// What a node says that is no primary any more, or not yet: another one is to be asked.
const NOT_READY: [&[u8]; 3] = [b"-READONLY ", b"-LOADING ", b"-MASTERDOWN "];

/// A request of a transaction that all primaries execute.
#[derive(PartialEq, Eq)]
pub struct OfAll {
    request: Vec<u8>,
    how: Merge,
    only_reads: bool,
    taught: Option<Taught>,
}

/// Without what a client has sent.
impl fmt::Debug for OfAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfAll").field("bytes", &self.bytes()).field("how", &self.how).finish_non_exhaustive()
    }
}

impl OfAll {
    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.request.capacity() + self.taught.as_ref().map_or(0, Taught::bytes)
    }
}

/// What nodes have queued and are to execute once the node of the transaction has. They forget it when this is dropped.
///
/// They queue their part, in a transaction of their own, before the node of the transaction is told to execute it. If one of
/// them cannot, nothing is executed anywhere. Once it has been executed, they execute their part, all at once. If it has not,
/// because a key that is watched has changed or for another reason, they forget it, and so does one whose connection is lost
/// before that. So either all nodes execute it or none does, unless one is lost between the two steps: then its part is an error
/// that says so, and the rest has been executed. Other clients may see what one node has executed before another has.
#[derive(Debug)]
pub struct Prepared {
    queued: Vec<Lent>,
    reply_timeout: Duration,
}

/// Why nothing of a transaction is to be executed.
#[derive(Debug)]
pub enum Unprepared {
    /// A node refuses its part, in these words.
    Refused(String),
    /// A node was not reached, or did not answer.
    Failed(JobError),
}

/// What nodes have executed: of each its reply.
#[derive(Debug, Default)]
pub struct Parts {
    replies: Vec<Vec<u8>>,
    /// What they have of the memory for replies, with what is made of them.
    room: Option<Box<Share>>,
    /// Why some have none. They have errors in the place of it.
    pub failures: Vec<JobError>,
}

/// The parts, request by request: of each, what every node has said to it.
pub struct Rows<'p>(Vec<Box<dyn Iterator<Item = &'p [u8]> + Send + 'p>>);

impl fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("nodes", &self.0.len()).finish()
    }
}

impl Map {
    /// Whether all primaries are to execute a request that is part of a transaction. Where nothing is known yet, they may be.
    pub fn spreads_within(&self, request: &Request<'_>) -> bool {
        self.problem.is_some() || (!self.is_one_shard() && self.merges_within(request).is_some())
    }

    /// How the replies of all primaries to such a request become one.
    fn merges_within(&self, request: &Request<'_>) -> Option<Merge> {
        match self.commands.route(request) {
            // The others are told of the script once they are to execute it.
            Route::Everywhere(_) if loads_script(request) => None,
            Route::Everywhere(how) => Some(how),
            Route::Slot(_) | Route::Split(..) | Route::Anywhere | Route::Scan | Route::RandomKey | Route::Nowhere => {
                None
            }
        }
    }
}

impl Cluster {
    /// The first of these requests, if all primaries are to execute it as a part of a transaction.
    pub fn of_all(&self, requests: &[u8]) -> Option<OfAll> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { len }) = decoder.decode(requests) else { return None };
        let request = decoder.request(requests);
        let map = self.map();
        let how = map.merges_within(&request)?;
        let only_reads = map.commands.find(&request).is_some_and(|command| command.only_reads());
        Some(OfAll { request: requests[..len].to_vec(), how, only_reads, taught: Taught::of(&request, self.scripts()) })
    }

    /// Has all primaries but `node` queue these requests. While one of them cannot be had it waits, as long after `since` as a request
    /// may wait for a primary: nothing has been executed. `caller` is one of the first pool.
    ///
    /// # Errors
    /// One of them has not queued them all. None of them executes any.
    ///
    /// # Cancel safety
    /// None of them executes any.
    pub async fn prepare<'a>(
        &self,
        (caller, since): (&Caller, Instant),
        node: Option<&Address>,
        wanted: Wanted,
        requests: impl Iterator<Item = &'a OfAll>,
    ) -> Result<Prepared, Unprepared> {
        let (mut bytes, mut due) = (Vec::new(), 1);
        write_request(&mut bytes, &["MULTI"]);
        for of_all in requests {
            bytes.extend_from_slice(&of_all.request);
            due += 1;
        }
        let settings = self.pools().first().settings();
        let ((waited, _), reply_timeout) = (settings.primary_wait(), settings.reply_timeout);
        loop {
            let map = self.known(&settings, since).await.map_err(Unprepared::Failed)?;
            let others = map.nodes.iter().filter(|other| Some(&other.address) != node);
            let queued = others
                .map(|other| Running::new(queue(other, (caller, since), wanted, (&bytes, due), reply_timeout)))
                .collect();
            let (mut prepared, mut failed) = (Prepared { queued: Vec::new(), reply_timeout }, None);
            for queued in all(queued).await {
                match queued {
                    Ok(lent) => prepared.queued.push(lent),
                    Err(failure) => failed = Some(failure),
                }
            }
            let Some((failure, is_passing)) = failed else {
                let beside = beside(prepared.queued.len());
                prepared.queued.iter_mut().for_each(|lent| lent.count_beside(beside));
                return Ok(prepared);
            };
            prepared.give_up();
            if !is_passing || since.elapsed() >= waited {
                return Err(failure);
            }
            self.doubt();
            sleep(PAUSE).await;
        }
    }

    /// Appends the one reply to `of_all`: the node of the transaction has said `own`, and the others what is next in `rows`.
    pub fn merge_within(&self, of_all: &OfAll, own: &[u8], rows: &mut Rows<'_>, out: &mut Vec<u8>) {
        let others = rows.0.iter_mut().map(|row| row.next().unwrap_or_default());
        let replies: Vec<&[u8]> = once(own).chain(others).collect();
        let (at, mut decoder) = (out.len(), RequestDecoder::new(RequestLimits::accepted()));
        if let Ok(Decoded::Request { .. }) = decoder.decode(&of_all.request) {
            let OfAll { request, how, only_reads, .. } = of_all;
            write_of_all(&decoder.request(request), (*how, *only_reads), (&self.map(), self.scripts()), &replies, out);
        }
        if let Some(taught) = &of_all.taught {
            self.learn(taught, &out[at..]);
        }
    }
}

impl Prepared {
    /// Has all of them execute it at the same time, each within the time that a reply may take; `text` says an error to a
    /// client. If it `teaches`, what they say of themselves may be another afterwards. The node of the transaction has said
    /// `own` bytes, which go into the replies as well.
    ///
    /// # Cancel safety
    /// They may execute it all the same.
    pub async fn execute(
        self,
        (caller, own): (&Caller, usize),
        teaches: bool,
        text: impl Fn(&JobError) -> String,
    ) -> Parts {
        let (mut parts, reply_timeout) = (Parts::default(), self.reply_timeout);
        let executing = |lent| {
            Running::new(async move {
                let executed = timeout(reply_timeout, execute(lent, teaches)).await;
                executed.unwrap_or(Err(JobError::ReplyTimeout(reply_timeout)))
            })
        };
        for executed in all(self.queued.into_iter().map(executing).collect()).await {
            match executed {
                Ok((reply, room)) => {
                    parts.replies.push(reply);
                    Share::add(&mut parts.room, room.map(Box::new));
                }
                Err(failure) => parts.fail(failure, &text),
            }
        }
        let bytes: usize = parts.replies.iter().map(Vec::len).sum();
        if bytes > REPLY_FREE_BYTES
            && let Err(failure) = caller.make_room(&mut parts.room, bytes + own, bytes).await
        {
            parts.replies.clear();
            parts.fail(failure, &text);
        }
        parts
    }

    /// They are to forget it.
    pub fn give_up(self) {
        // To clean a connection discards what it has queued.
        self.queued.into_iter().for_each(Lent::give_back);
    }
}

impl Parts {
    /// See [`Rows`].
    pub fn rows(&self) -> Rows<'_> {
        Rows(self.replies.iter().map(|reply| row(reply)).collect())
    }

    /// A node has no reply, and an error in the place of it.
    fn fail(&mut self, failure: JobError, text: impl Fn(&JobError) -> String) {
        let mut error = Vec::new();
        write_error(&mut error, &text(&failure));
        self.replies.push(error);
        self.failures.push(failure);
    }
}

/// What a node has said to each request; an error is one for all of them.
fn row(reply: &[u8]) -> Box<dyn Iterator<Item = &[u8]> + Send + '_> {
    if reply.starts_with(b"*") { Box::new(items(reply)) } else { Box::new(repeat(reply)) }
}

/// Has one node queue requests with so many replies. The error tells whether it may be different in a moment.
async fn queue(
    node: &Arc<Node>,
    (caller, since): (&Caller, Instant),
    wanted: Wanted,
    (requests, due): (&[u8], usize),
    reply_timeout: Duration,
) -> Result<Lent, (Unprepared, bool)> {
    let failed = |failure: JobError| {
        let is_passing = matches!(failure, JobError::UpstreamDown(_) | JobError::ConnectionLost { .. });
        (Unprepared::Failed(failure), is_passing)
    };
    let mut lent = lend_of((caller, since), Some(node).filter(|node| !node.is_first), wanted).await.map_err(failed)?;
    let mut refused = None;
    let queued = async {
        lent.send(requests).await?;
        for _ in 0..due {
            let reply = next_reply(&mut lent).await?;
            if reply.starts_with(b"-") && refused.is_none() {
                refused = Some(reply);
            }
        }
        Ok(())
    };
    let lost = |error: io::Error| JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::No };
    match timeout(reply_timeout, queued).await {
        Ok(queued) => queued.map_err(lost).map_err(failed)?,
        Err(_) => return Err(failed(JobError::ReplyTimeout(reply_timeout))),
    }
    let Some(reply) = refused else { return Ok(lent) };
    lent.give_back();
    let is_passing = NOT_READY.iter().any(|words| reply.starts_with(words));
    let text = String::from_utf8_lossy(&reply[1..]).trim_end().to_owned();
    Err((Unprepared::Refused(text), is_passing))
}

/// Has one node execute what it has queued; its reply, and what that has of the memory for replies.
async fn execute(mut lent: Lent, teaches: bool) -> Result<(Vec<u8>, Option<Share>), JobError> {
    let lost = |error: io::Error| JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe };
    let mut exec = Vec::new();
    write_request(&mut exec, &["EXEC"]);
    lent.send(&exec).await.map_err(lost)?;
    let reply = next_reply(&mut lent).await.map_err(lost)?;
    if teaches {
        lent.learn_again().await;
    }
    let room = lent.take_room();
    lent.give_back();
    Ok((reply, room))
}

/// The next message that answers something.
async fn next_reply(lent: &mut Lent) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    while poll_fn(|cx| lent.poll_message(cx, &mut reply)).await? == ReplyKind::Push {
        reply.clear();
    }
    Ok(reply)
}
