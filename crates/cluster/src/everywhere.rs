//! Requests to all primaries that overtake what others wait for, each on a connection that is lent for that: to end a
//! script, to pause, to change a setting.

use std::{future::poll_fn, io};

use pool::{Caller, JobError, Lent, Sent};
use resp::{Decoded, RequestDecoder, RequestLimits};
use route::{Merge, Route, merge};
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;

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

    /// Has all primaries execute one request, and makes one reply of theirs. `teaches`: what a primary says of itself may
    /// be another afterwards. `caller` is one of the first pool.
    ///
    /// # Errors
    /// One of the primaries has not answered, and its answer counts.
    pub async fn ask_all(
        &self,
        caller: &Caller,
        request: &[u8],
        how: Merge,
        teaches: bool,
    ) -> Result<Vec<u8>, JobError> {
        let settings = self.pools().first().settings();
        let map = self.known(&settings, Instant::now()).await?;
        let (mut answers, mut failure) = (Vec::with_capacity(map.nodes.len()), None);
        for node in &map.nodes {
            let of_node = (!node.is_first).then(|| node.caller(caller.runtime()));
            let lender: &Caller = of_node.as_deref().unwrap_or(caller);
            let answered = match lender.lend_as_is().await {
                Ok(mut lent) => match timeout(settings.reply_timeout, answer(&mut lent, request)).await {
                    Ok(Ok(reply)) => {
                        if teaches {
                            lent.learn_again().await;
                        }
                        lent.give_back();
                        Ok(reply)
                    }
                    Ok(Err(error)) => {
                        Err(JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe })
                    }
                    Err(_) => Err(JobError::ReplyTimeout(settings.reply_timeout)),
                },
                Err(failure) => Err(failure),
            };
            match answered {
                Ok(reply) => answers.push(reply),
                Err(failed) => failure = Some(failed),
            }
        }
        let parts: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
        let is_enough = how == Merge::OneSucceeded && parts.iter().any(|part| !part.starts_with(b"-"));
        if let Some(failure) = failure.filter(|_| !is_enough) {
            return Err(failure);
        }
        let mut merged = Vec::new();
        if let Err(mismatch) = merge(how, &parts, &[], &mut merged) {
            resp::write_error(&mut merged, &format!("ERR respool: {mismatch}"));
        }
        Ok(merged)
    }
}

async fn answer(lent: &mut Lent, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    lent.send(request).await?;
    poll_fn(|cx| lent.poll_message(cx, &mut reply)).await?;
    Ok(reply)
}
