//! Requests to all primaries that overtake what others wait for, each on a connection that is lent for that: to end a
//! script, to pause, to change a setting.

use std::{fmt, future::poll_fn, io, sync::Arc, time::Duration};

use pool::{Caller, JobError, Lent, Protocol, Sent, Wanted};
use resp::{Decoded, RequestDecoder, RequestLimits, write_error};
use route::{Merge, Route};
use tokio::time::{Instant, timeout};

use crate::{
    cluster::Cluster,
    map::Node,
    round::write_parts,
    together::{Running, all},
};

impl Cluster {
    /// How the replies of all primaries become one, where the first of these requests is about all.
    pub fn merged(&self, requests: &[u8]) -> Option<Merge> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
        match self.map().commands.route(&decoder.request(requests)) {
            Route::Everywhere(how) => Some(how),
            Route::Slot(_) | Route::Split(..) | Route::Anywhere | Route::Scan | Route::RandomKey | Route::Nowhere => {
                None
            }
        }
    }

    /// Has all primaries execute one request at the same time, and makes one reply of theirs; with why one has not answered,
    /// if its answer counts. That is an error in the place of it.
    ///
    /// # Errors
    /// The primaries are not known.
    ///
    /// # Cancel safety
    /// What was sent may be executed all the same.
    pub async fn ask_all(&self, asked: Asked<'_>) -> Result<(Vec<u8>, Option<JobError>), JobError> {
        let settings = self.pools().first().settings();
        let map = self.known(&settings, asked.since).await?;
        let calls = map.nodes.iter().map(|node| Running::new(asked.of(node, settings.reply_timeout)));
        let (mut answers, mut failure) = (Vec::with_capacity(map.nodes.len()), None);
        for answered in all(calls.collect()).await {
            answers.push(answered.unwrap_or_else(|failed| {
                let mut error = Vec::new();
                write_error(&mut error, &(asked.text)(&failed));
                failure = Some(failed);
                error
            }));
        }
        let parts: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
        let mut merged = Vec::new();
        write_parts(asked.how, asked.only_reads, &parts, &[], &mut merged);
        let failure = failure.filter(|_| merged.starts_with(b"-"));
        Ok((merged, failure))
    }
}

/// What all primaries are asked.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// One of the first pool.
    pub caller: &'a Caller,
    /// When it began to wait for what the requests need.
    pub since: Instant,
    /// Of the client, if it has one: primaries know the connections by it.
    pub name: &'a [u8],
    /// The version in which the replies have to come.
    pub protocol: Protocol,
    /// Requests, with a reply each.
    pub requests: &'a [u8],
    /// How many replies come before the one that counts.
    pub swallow: u32,
    /// How the replies become one.
    pub how: Merge,
    /// How long a primary may take before it is to answer; `None` is for ever.
    pub blocks_for: Option<Duration>,
    /// What a primary says of itself may be another afterwards.
    pub teaches: bool,
    /// Nothing is changed: one that fails has the others done nothing that its client has to know of.
    pub only_reads: bool,
    /// Says an error to a client.
    pub text: &'a (dyn Fn(&JobError) -> String + Sync),
}

/// Without what a client has sent.
impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("bytes", &self.requests.len()).field("how", &self.how).finish_non_exhaustive()
    }
}

impl Asked<'_> {
    async fn of(self, node: &Arc<Node>, reply_timeout: Duration) -> Result<Vec<u8>, JobError> {
        let of_node = (!node.is_first).then(|| node.caller(self.caller)).transpose()?;
        let lender: &Caller = of_node.as_deref().unwrap_or(self.caller);
        let mut lent = lender.lend(self.since, Wanted::AnyDb(self.protocol)).await?;
        lent.bear(self.name);
        let answered = match self.blocks_for {
            Some(blocks_for) => timeout(blocks_for + reply_timeout, answer(&mut lent, self)).await,
            None => Ok(answer(&mut lent, self).await),
        };
        match answered {
            Ok(Ok(reply)) => {
                if self.teaches {
                    lent.learn_again().await;
                }
                // Nothing that goes to all so changes its connection.
                lent.give_back_unchanged();
                Ok(reply)
            }
            Ok(Err(error)) => Err(JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe }),
            Err(_) => Err(JobError::ReplyTimeout(reply_timeout)),
        }
    }
}

async fn answer(lent: &mut Lent, asked: Asked<'_>) -> io::Result<Vec<u8>> {
    let (mut reply, mut refused) = (Vec::new(), None);
    lent.send(asked.requests).await?;
    for left in (0..=asked.swallow).rev() {
        reply.clear();
        poll_fn(|cx| lent.poll_message(cx, &mut reply)).await?;
        // What relies on it is not true then.
        if left > 0 && reply.starts_with(b"-") {
            refused = Some(reply.clone());
        }
    }
    Ok(refused.unwrap_or(reply))
}
