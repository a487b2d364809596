//! What is left to do when the upstream has executed a transaction: account is taken of what its requests have
//! changed, and the gateway's own replies take the place of those to its placeholders. And how one is aborted.

use std::sync::Arc;

use cluster::Rows;
use resp::{pushes_inside, write_error, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
};

use crate::{
    client::state::Replies,
    command::errors,
    exclusive::{
        change::Change,
        exchange::{Exchange, ReplyHead},
        request::ExclusiveRequest,
        transaction::{executed::Part, placeholder, queued::Noted},
    },
    local_reply::{
        info,
        requester::{Hello, NextStep, Requester},
        session_commands,
    },
};

/// A request of more bytes than this takes long to answer: others have their turn after it.
const LONG_BYTES: usize = 64 * 1024;

/// Bytes of the request that is at hand then, as clients send it.
const EXEC_BYTES: usize = b"*1\r\n$4\r\nEXEC\r\n".len();

/// Takes back a reply that begins at `from`, but not what is pushed inside of it.
pub(in crate::exclusive) fn silence(out: &mut Vec<u8>, from: usize) {
    let reply = out.split_off(from);
    pushes_inside(&reply).for_each(|push| out.extend_from_slice(push));
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has the upstream abort the transaction at hand, for a request that cannot be part of it.
    pub(crate) async fn abort_transaction(&mut self, text: &str) -> bool {
        let mut requests = Vec::new();
        write_request(&mut requests, &["SUBSCRIBE"]);
        let mut request = ExclusiveRequest::simple(requests, 1);
        if let Some(cluster) = self.cluster
            && let Some(go_on) = Box::pin(self.begin(cluster, &mut request)).await
        {
            return go_on;
        }
        if let Some(cluster) = self.cluster
            && let Some(go_on) = Box::pin(self.go_on_after_loss(cluster, &request)).await
        {
            return go_on;
        }
        let go_on = self.exchange(&request, &mut ReplyHead::default()).await;
        if let Some(lending) = self.exclusive.lending.as_mut().filter(|lending| lending.node().is_some()) {
            // Wherever it goes on.
            lending.at_node.note(request.own_request(), self.settings.limits.request_bytes_max);
        }
        if go_on && !self.state.is_muted() {
            write_error(self.link.output(), text);
        }
        go_on
    }

    /// Settles a transaction whose reply to `EXEC` begins at `at` in the output: false if the client is to be closed
    /// after what is in the output then, and `None` where there is nothing to settle.
    pub(in crate::exclusive) async fn settle(&mut self, at: usize) -> Option<bool> {
        let lending = self.exclusive.lending.as_mut()?;
        let queued = std::mem::take(&mut lending.queued);
        let (size, parts) = (queued.len(), lending.at_node.parts.take().unwrap_or_default());
        let mut rows = parts.rows();
        let reply = self.link.output().split_off(at);
        let Some(executed) = queued.executed(&reply) else {
            self.link.output().extend_from_slice(&reply);
            return None;
        };
        self.link.output().extend_from_slice(executed.head());
        let mut skips = self.state.replies == Replies::SkipNext;
        self.leave_out(at, skips);
        for part in executed {
            if self.link.is_full() && !self.state.is_muted() {
                // What is long is not gathered: the client takes it as it comes.
                self.link.flush(self.settings, || false).await;
            }
            let from = self.link.unwritten();
            let (noted, item) = match part {
                Part::Reply(noted, item) => (noted, item),
                Part::Push(message) => {
                    self.link.output().extend_from_slice(message);
                    continue;
                }
            };
            // A confirmation is a push, which is not silenced.
            let confirms = noted == Some(Noted::Change(Change::Subscribe)) && !item.starts_with(b"-");
            let go_on = self.settle_one(noted, item, (size, &mut rows)).await;
            skips &= self.state.replies != Replies::On;
            if !confirms {
                self.leave_out(from, skips);
            }
            if !go_on {
                // As in Redis, the client gets nothing of what stands behind it.
                return Some(false);
            }
        }
        Some(true)
    }

    /// Takes back a part of the reply to a client that wants none by now. As in Redis, `CLIENT REPLY` in a transaction
    /// counts from where it stands, though the array is not as long then as it says.
    fn leave_out(&mut self, from: usize, skips: bool) {
        if skips || self.state.replies == Replies::Off {
            silence(self.link.output(), from);
        }
    }

    /// Settles one request of a transaction of `size` requests; `item` is the upstream's reply, and that of a cluster's other
    /// primaries is next in `rows` if they have executed it. False to close.
    async fn settle_one(&mut self, noted: Option<Noted>, item: &[u8], (size, rows): (usize, &mut Rows<'_>)) -> bool {
        match noted {
            Some(Noted::Hello(hello)) => self.greet(*hello),
            Some(Noted::Answer(request)) => {
                let go_on = self.answer(&request, size).await;
                if request.len() > LONG_BYTES {
                    // To look at it, to keep it and to wipe it takes time, and there may be many.
                    drop(request);
                    yield_now().await;
                }
                // One wrong password too many, and no further one is tried.
                return go_on && !self.state.failed_logins.are_too_many(self.settings.logins);
            }
            Some(Noted::Unblock(request)) if item != b":1\r\n" && !item.starts_with(b"-") => {
                // The session was not blocked when this was queued, or not on the same connection.
                self.answer(&request, size).await;
            }
            Some(Noted::Change(change)) => {
                if let Some(lending) = &mut self.exclusive.lending
                    && let Some(db) = lending.executed(change, item)
                {
                    self.state.needs.db = db;
                }
                let at = self.link.unwritten();
                self.link.output().extend_from_slice(item);
                if change == Change::ShowTracking
                    && let Some(lending) = &self.exclusive.lending
                {
                    lending.translate(self.link.output(), at, self.state.id);
                }
            }
            Some(Noted::Script(taught)) => {
                if let Some(cluster) = self.cluster {
                    cluster.learn(&taught, item);
                }
                self.link.output().extend_from_slice(item);
            }
            Some(Noted::OfAll(of_all)) => match self.cluster {
                Some(cluster) => cluster.merge_within(&of_all, item, rows, self.link.output()),
                None => self.link.output().extend_from_slice(item),
            },
            Some(Noted::Info) => Box::pin(self.show_info(item)).await,
            Some(Noted::Unblock(_)) | None => self.link.output().extend_from_slice(item),
        }
        true
    }

    async fn show_info(&mut self, item: &[u8]) {
        let mut said = Vec::new();
        match self.settings.is_hidden_cluster() {
            true => cluster::standalone_info(item, &mut said),
            false => said.extend_from_slice(item),
        }
        let (published, how) =
            (Arc::clone(self.link.published()), (self.state.needs.protocol, self.settings.clients_max));
        info::show(&said, how, &published, self.link.output()).await;
    }

    fn greet(&mut self, hello: Hello) {
        let mut requester = Requester {
            executing: None,
            unread: 0,
            state: self.state,
            entry: &Arc::clone(self.link.entry()),
            published: &Arc::clone(self.link.published()),
            settings: self.settings,
            caller: self.caller,
        };
        session_commands::greet(hello, &self.caller.facts(), &mut requester, self.link.output());
    }

    /// Answers a request of a transaction of `size` requests that has been executed; false if it closes the client.
    async fn answer(&mut self, request: &[u8], size: usize) -> bool {
        let mut requester = Requester {
            executing: Some(size),
            unread: EXEC_BYTES + self.link.unread(),
            state: self.state,
            entry: &Arc::clone(self.link.entry()),
            published: &Arc::clone(self.link.published()),
            settings: self.settings,
            caller: self.caller,
        };
        match placeholder::answer(request, &mut requester, self.link.output()) {
            // Its password has become right since it was queued: the connection was not told of it.
            NextStep::Hello(_) => write_error(self.link.output(), errors::WRONG_PASSWORD),
            NextStep::Unblock(unblock) => Box::pin(self.unblock_other(unblock)).await,
            NextStep::Clients(ask, _) => {
                let go_on = ask.answer(&mut requester, self.link).await;
                yield_now().await;
                return go_on;
            }
            NextStep::Close => return false,
            // No other request leaves a placeholder.
            NextStep::Answered
            | NextStep::LogIn(_)
            | NextStep::Enter(_)
            | NextStep::Select(_)
            | NextStep::Reset
            | NextStep::Console(_)
            | NextStep::Info(_)
            | NextStep::Ask(..) => {}
        }
        true
    }
}
