//! A question to the upstream in a client's stead: what it says to a request whose words are its own, on a connection
//! that serves nobody else meanwhile; the request to end what the client waits for; and the switch to another protocol.

use std::{future::poll_fn, io};

use pool::{Burst, JobError, Sent};
use resp::{Protocol, write_integer, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use crate::{
    exclusive::{
        exchange::{Exchange, ReplyHead},
        lending::Lending,
        request::ExclusiveRequest,
    },
    local_reply::requester::Unblock,
    observe::ids::blocked::At,
};

impl Lending {
    /// Which connection of the upstream it is, if that is known.
    pub(super) fn at(&self) -> Option<At> {
        let (generation, node) = (self.lent.generation(), self.node().cloned());
        self.lent.upstream_id().map(|upstream_id| At { upstream_id, generation, node })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// What the upstream answers to a request that gets `due` replies, or one error instead.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub(crate) async fn ask(&mut self, request: &[u8], due: usize) -> Result<Vec<u8>, JobError> {
        let began = Instant::now();
        let place = self.place(began).await?;
        let mut lent = self.borrow_for(began, request, None, self.state.needs.into()).await?.lent;
        let (mut answer, limit) = (Vec::new(), self.settings.reply_timeout);
        let asked = async {
            lent.send(request).await?;
            for _ in 0..due {
                let at = answer.len();
                poll_fn(|cx| lent.poll_message(cx, &mut answer)).await?;
                if answer[at..].starts_with(b"-") {
                    break;
                }
            }
            io::Result::Ok(())
        };
        let failure = match timeout(limit, asked).await {
            Ok(Ok(())) => {
                // Nobody knows what it has changed, unless it was refused.
                if answer.starts_with(b"-") {
                    lent.give_back();
                }
                drop(place);
                return Ok(answer);
            }
            Ok(Err(error)) => JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe },
            Err(_) => JobError::ReplyTimeout(limit),
        };
        self.caller.count_failure(&failure);
        Err(failure)
    }

    /// Has what the session borrows speak another version of the protocol.
    pub(crate) async fn switch_protocol(&mut self, protocol: Protocol) -> bool {
        let (mut requests, mut go_on) = (Vec::new(), true);
        write_request(&mut requests, &["HELLO", &protocol.version().to_string()]);
        let request = ExclusiveRequest::simple(requests, 1);
        for _ in 0..2 {
            if self.exclusive.is_lent() && !self.exclusive.is_lost() {
                go_on &= self.exchange(&request, &mut ReplyHead::default()).await;
            }
            self.exclusive.turn();
        }
        go_on && self.tell_others(&request.requests).await
    }

    /// Has the upstream end what another session is blocked in, which is there no more where another node has become the
    /// upstream.
    pub(crate) async fn unblock_other(&mut self, unblock: Unblock) {
        let Unblock { request, generation, node } = unblock;
        let burst = Burst { requests: request, replies_due: 1, only_at: generation, ..Burst::default() };
        let answer = match (self.cluster, node) {
            (Some(cluster), Some(node)) => cluster.call_at(&node, self.caller, burst).await,
            (_, _) => self.caller.call(burst).await,
        };
        match answer.failure {
            None => self.link.output().extend_from_slice(&answer.burst.replies),
            Some(JobError::StateRefused(_)) => write_integer(self.link.output(), 0),
            Some(failure) => self.link.fail(&failure, 1, &self.settings.upstream),
        }
    }

    /// Has the upstream end the request that the session is blocked in, so that none of it is lost on the way: if
    /// it was served meanwhile, its reply still comes. False if the upstream could not be asked.
    pub(super) async fn unblock(&mut self) -> bool {
        let lending = self.exclusive.lending.as_ref();
        let Some(At { upstream_id: id, generation, node }) = lending.and_then(|lending| lending.at()) else {
            return false;
        };
        let mut burst = Burst { replies_due: 1, only_at: generation, ..Burst::default() };
        write_request(&mut burst.requests, &["CLIENT", "UNBLOCK", &id.to_string(), "ERROR"]);
        let answer = match (self.cluster, node) {
            (Some(cluster), Some(node)) => Box::pin(cluster.call_at(&node, self.caller, burst)).await,
            (_, _) => self.caller.call(burst).await,
        };
        answer.failure.is_none()
    }
}
