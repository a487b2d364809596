//! A request of a client that tracks whose keys are at several nodes of a cluster: its parts are executed one after another,
//! each on the connection of its node, and have one reply. Called by `nodes`.

use std::time::Duration;

use cluster::Cluster;
use pool::{JobError, Sent};
use resp::{write_error, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout},
};
use topology::Address;

use crate::{
    command::errors,
    exclusive::{
        exchange::Exchange,
        request::ExclusiveRequest,
        tracking::shards::{ENDED, tell},
    },
};

/// Before a part is sent again that a node has not executed.
const PAUSE: Duration = Duration::from_millis(2);

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has a request executed whose keys are at several nodes, if it is one of a client that tracks. `Some` if it was; false
    /// to close the session.
    pub(in crate::exclusive) async fn run_in_parts(
        &mut self,
        cluster: &Cluster,
        request: &ExclusiveRequest,
    ) -> Option<bool> {
        if !self.may_turn() {
            return None;
        }
        let split = cluster.split(request.own_request())?;
        let caching = self.exclusive.lending.as_ref().filter(|lending| lending.is_caching());
        let caching = caching.map(|lending| lending.tracked.caching.clone()).unwrap_or_default();
        if !self.end_caching().await {
            return Some(false);
        }
        let (mut replies, mut room, mut go_on) = (Vec::<Vec<u8>>::with_capacity(split.parts.len()), None, true);
        self.exclusive.lending.as_mut()?.tracked.held = Some(Vec::new());
        for (slot, part) in &split.parts {
            let ran = match self.run_part(cluster, *slot, &caching, part).await {
                Ok(reply) => {
                    replies.push(reply);
                    let bytes = replies.iter().map(Vec::len).sum();
                    self.caller.make_room(&mut room, bytes, bytes).await.inspect_err(|_| replies.clear())
                }
                failed => failed.map(drop),
            };
            match ran {
                Ok(()) => {}
                // A connection that was lost has been told of.
                Err(JobError::Closed) => return Some(false),
                Err(failure) => {
                    self.caller.count_failure(&failure);
                    self.link.published().failed(&failure, 1, self.link.entry().address());
                    let mut reply = Vec::new();
                    write_error(&mut reply, &errors::job(&failure, &self.settings.upstream));
                    replies.push(reply);
                    // Nobody knows what is tracked of a connection that was lost.
                    go_on = !matches!(failure, JobError::ConnectionLost { .. } | JobError::ReplyTimeout(_));
                    break;
                }
            }
        }
        if !self.state.is_muted() {
            let parts: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
            split.merge(&parts, self.link.output());
        }
        let held = self.exclusive.lending.as_mut().and_then(|lending| lending.tracked.held.take());
        self.link.output().extend_from_slice(&held.unwrap_or_default());
        drop(replies);
        self.write_large(room).await;
        Some(go_on)
    }

    /// Has one part executed by the node that has its keys.
    async fn run_part(
        &mut self,
        cluster: &Cluster,
        slot: u16,
        caching: &[u8],
        part: &[u8],
    ) -> Result<Vec<u8>, JobError> {
        let (began, mut asked) = (Instant::now(), None::<Address>);
        loop {
            let node = asked.clone().or_else(|| cluster.node_of(slot));
            if let Some(node) = &node
                && !Box::pin(self.turn_to(cluster, node, Some(slot).filter(|_| asked.is_none()))).await?
            {
                return Err(JobError::Closed);
            }
            let Some(lending) = self.exclusive.lending.as_mut() else { return Err(JobError::Closed) };
            let (mut requests, mut due) = (caching.to_vec(), 1 + u32::from(!caching.is_empty()));
            if asked.is_some() {
                write_request(&mut requests, &["ASKING"]);
                due += 1;
            }
            requests.extend_from_slice(part);
            lending.flushes.asked(&lending.tracked.flushes);
            let (protocol, limit) = (self.state.needs.protocol, self.settings.reply_timeout);
            let told = tell(lending, &requests, due, protocol, self.link);
            let reply = match timeout(limit, told).await {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) if error.kind() == ENDED => return Err(JobError::Closed),
                Ok(Err(error)) => {
                    return Err(JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe });
                }
                Err(_) => return Err(JobError::ReplyTimeout(limit)),
            };
            match cluster.sends_elsewhere(&reply, node.as_ref(), part, Some(slot)) {
                // Behind ASKING it would not be tracked.
                Some(to_ask) if began.elapsed() < cluster.patience() => asked = to_ask.filter(|_| caching.is_empty()),
                Some(_) => {
                    let reason = "its slot is on its way to another node, or no node has it".into();
                    return Err(JobError::Unplaced { waited: began.elapsed(), reason });
                }
                None => return Ok(reply),
            }
            if asked.is_none() {
                sleep(PAUSE).await;
            }
        }
    }
}
