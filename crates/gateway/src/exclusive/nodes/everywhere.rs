//! Requests that every primary of a cluster has to execute, each on a connection of its own: those that overtake what
//! others wait for, and those that wait for replicas. Called by `elsewhere`.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use cluster::{Cluster, Merge};
use pool::{Burst, JobError, Share, UnderWay};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    command::{class::Reason, errors},
    exclusive::{exchange::Exchange, request::ExclusiveRequest},
    observe::{counts::Fault, registry::Asked},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// How the replies of all primaries to this request become one, if it goes to all.
    pub(super) fn is_for_all(&self, cluster: &Cluster, request: &ExclusiveRequest) -> Option<Merge> {
        match request.reason {
            _ if self.exclusive.is_in_transaction() => None,
            // Each primary counts replicas of its own.
            Reason::Wait => Some(Merge::Min),
            Reason::Other => cluster.merged(request.own_request()),
            _ => None,
        }
    }

    /// Has it executed by all; false to close the session.
    pub(super) async fn run_everywhere(&mut self, cluster: &Cluster, request: &ExclusiveRequest, how: Merge) -> bool {
        let published = self.link.published().clone();
        let under_way = UnderWay::begin(published.counts.exclusive(request.reason), request.counted);
        let began = Instant::now();
        let answered = match self.place(began).await {
            Ok(_place) => {
                self.link.entry().goes_out(began.into_std());
                self.ask_all((cluster, began), request, how).await
            }
            Err(failure) => Some(Err(failure)),
        };
        self.link.entry().is_back();
        under_way.end(if matches!(&answered, Some(Ok((_, None)))) { 0 } else { request.counted });
        if request.teaches {
            published.remembered.forget();
        }
        match answered {
            Some(Ok((reply, failure))) => {
                if let Some(failure) = failure {
                    self.link.published().failed(&failure, request.counted, self.link.entry().address());
                }
                if !self.state.is_muted() {
                    self.link.output().extend_from_slice(&reply);
                }
            }
            Some(Err(failure)) => self.fail_replies(request.counted, &failure),
            None => {
                published.counts.fault(Fault::ClientGone);
                return false;
            }
        }
        true
    }

    /// Asks all primaries; `None` if the session is to end before they have answered.
    async fn ask_all(
        &mut self,
        (cluster, since): (&Cluster, Instant),
        request: &ExclusiveRequest,
        how: Merge,
    ) -> Option<Result<(Vec<u8>, Option<JobError>), JobError>> {
        let Self { caller, link, settings, state, .. } = self;
        let text = |failure: &JobError| errors::job(failure, &settings.upstream);
        let asked = cluster::Asked {
            caller,
            since,
            // To wait is frequent, and not looked for by names.
            name: if request.reason == Reason::Wait { b"" } else { &state.name },
            protocol: state.needs.protocol,
            requests: &request.requests,
            swallow: request.swallow,
            how,
            blocks_for: request.blocks_for,
            teaches: request.teaches,
            only_reads: request.reason == Reason::Wait,
            text: &text,
        };
        let mut answered = pin!(cluster.ask_all(asked));
        poll_fn(|cx| {
            if let Poll::Ready(answered) = answered.as_mut().poll(cx) {
                return Poll::Ready(Some(answered));
            }
            let asked = link.poll_asked(cx);
            // What only waits changes nothing, and is given up with the connections on which it does.
            let is_over = request.waits() && (link.poll_gone(cx, settings).is_ready() || asked == Asked::Drain);
            if asked.ends() || is_over { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Whether a request of a client that borrows a connection is none for the node to which that leads.
    pub(super) fn is_of_others(&self, cluster: &Cluster, request: &ExclusiveRequest) -> bool {
        let is_plain = request.reason == Reason::Other && !request.overtakes && self.exclusive.is_lent();
        is_plain && !self.exclusive.is_in_transaction() && !cluster.is_of_one_node(request.own_request())
    }

    /// Has it executed as one of a client that borrows none.
    pub(super) async fn run_as_others(&mut self, cluster: &Cluster, request: &ExclusiveRequest) -> bool {
        let (needs, requests) = (self.state.needs, request.own_request().to_vec());
        let mut burst = Burst { requests, replies_due: request.counted, needs, ..Burst::default() };
        let upstream = &self.settings.upstream;
        let (text, began) = (|failure: &JobError| errors::job(failure, upstream), Instant::now());
        self.link.entry().goes_out(began.into_std());
        let executed = cluster.execute(self.caller, &mut burst, None, &text, None, began).await;
        self.link.entry().is_back();
        for (failure, failed) in &executed.failed {
            self.link.published().failed(failure, *failed, self.link.entry().address());
        }
        if !self.state.is_muted() {
            self.link.take_replies(&mut burst.replies);
        }
        self.write_large(burst.room.take()).await;
        true
    }

    /// Writes replies that have `room`, if they are so large that they have any, which they have until they are written.
    pub(in crate::exclusive) async fn write_large(&mut self, room: Option<Box<Share>>) {
        if room.is_some() {
            self.link.count_replies_by(room);
            self.link.flush(self.settings, || false).await;
            self.link.count_replies_by(None);
        }
    }
}
