//! A session while it borrows an exclusive connection: requests go there one by one, replies and pushes
//! come back as they are, until nothing needs it any more. A client that vanishes first has it closed.

use std::{
    future::poll_fn,
    io,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use pool::{Burst, JobError, ReplyKind, Sent, micros};
use resp::{Protocol, write_error, write_integer, write_request, write_simple};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::state::Doomed,
    command::class::{Class, Here},
    exclusive::{
        lending::{Change, Lending, Message},
        placeholder::{self, Noted},
        request::Single,
    },
    local_reply::session_commands::{self, After, Who},
    observe::{counts::Fault, registry::Asked},
    session::session::Session,
    wording::errors,
};

/// Enough of a reply to tell what it is.
type ReplyHead = [u8; 12];

/// An exchange that ended before all replies were there.
struct Broken {
    /// Replies that did not come.
    missing: u32,
    /// The session goes on all the same.
    go_on: bool,
}

impl Broken {
    fn closing(missing: u32) -> Self {
        Self { missing, go_on: false }
    }
}

/// What a session that waits on an exclusive connection wakes up to.
enum Event {
    Message(usize, ReplyKind),
    Lost(io::Error),
    /// There are replies that the client can have now.
    Flush,
    /// The client has gone, or is to go.
    Gone,
    /// The gateway drains, and what the session waits for may never come.
    Drain,
    TimedOut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether a request goes to the exclusive connection rather than being answered here or shared.
    pub(crate) fn goes_exclusive(&self, class: Class) -> bool {
        if self.subscribes_shared(class) || self.is_restricted() {
            return false;
        }
        match (&self.lending, class) {
            (_, Class::Refused(_) | Class::Attack | Class::Here(Here::Quit | Here::Reset)) => false,
            // The upstream has the words for what a subscriber may not do.
            (Some(lending), Class::Here(Here::Hello | Here::Auth)) => {
                lending.multi || (lending.is_subscribed() && self.state.needs.protocol == Protocol::Resp2)
            }
            (None, class) => matches!(class, Class::Multi | Class::Exclusive(_)),
            (Some(lending), Class::Here(here)) => {
                lending.multi
                    || lending.is_restricted(self.state.needs.protocol)
                    || matches!(here, Here::Select | Here::DiscardWithoutMulti | Here::Unwatch | Here::Unsubscribe)
            }
            (Some(_), Class::Plain { .. } | Class::Multi | Class::Exec | Class::Exclusive(_)) => true,
        }
    }

    /// Has one request executed on an exclusive connection; false to close the session.
    pub(crate) async fn run_single(&mut self, mut single: Single) -> bool {
        if self.lending.is_none() {
            let began = Instant::now();
            match self.caller.lend(self.state.needs).await {
                Ok(lent) => {
                    single.waited = began.elapsed();
                    self.lending = Some(Box::new(Lending::new(lent, single.reason)));
                    self.entry.update(|details| details.exclusive = Some(single.reason));
                }
                Err(failure) => {
                    if single.change == Change::Multi {
                        // What follows must not run outside of the transaction it was meant for.
                        self.state.doomed = Doomed::Yes;
                    }
                    let tally = self.context.counts.exclusive(single.reason);
                    tally.began(single.counted);
                    tally.failed(single.counted);
                    if let JobError::ExclusiveTimeout { waited, .. } = failure {
                        tally.waited_in_vain(waited);
                    }
                    self.fail_replies(single.errors(), &failure);
                    return true;
                }
            }
        }
        let upstream_id = self.lending.as_ref().and_then(|lending| lending.lent.upstream_id());
        self.entry.lent_id.store(upstream_id.unwrap_or(0), Ordering::Release);
        if single.waits() {
            self.entry.blocked_on.store(upstream_id.unwrap_or(0), Ordering::Release);
        }
        if let Some(lending) = self.lending.as_mut().filter(|lending| lending.multi) {
            lending.queued.expect(single.noted());
        }
        let mut head = ReplyHead::default();
        let go_on = self.exchange(&single, &mut head).await;
        self.entry.blocked_on.store(0, Ordering::Release);
        if let Some(lending) = &mut self.lending
            && let Some(db) = lending.apply(single.change, &head)
        {
            self.state.needs.db = db;
        }
        if go_on {
            self.end_lending_if_over();
        }
        go_on
    }

    /// Has the upstream abort the transaction at hand, for a request that cannot be part of it.
    pub(crate) async fn abort_transaction(&mut self, text: &str) -> bool {
        let mut requests = Vec::new();
        write_request(&mut requests, &["SUBSCRIBE"]);
        let single = Single::simple(requests, 1);
        let go_on = self.exchange(&single, &mut ReplyHead::default()).await;
        if go_on && !self.state.is_muted() {
            write_error(&mut self.output, text);
        }
        go_on
    }

    /// Has gathered requests executed on the exclusive connection that the session already has.
    pub(crate) async fn run_burst_exclusively(&mut self, burst: Burst) -> bool {
        self.exchange(&Single::burst(burst), &mut ReplyHead::default()).await
    }

    /// Gives the connection back once nothing needs it.
    pub(crate) fn end_lending_if_over(&mut self) {
        if let Some(lending) = self.lending.take_if(|lending| !lending.is_needed() && !lending.is_waiting()) {
            lending.give_back();
        }
    }

    /// Gives the connection back, or closes it if replies are outstanding.
    pub(crate) fn end_lending(&mut self) {
        if let Some(lending) = self.lending.take_if(|lending| !lending.is_waiting() && !lending.is_monitor()) {
            lending.give_back();
        }
        self.lending = None;
    }

    /// Has requests executed and counts what became of them; false to close the session.
    async fn exchange(&mut self, single: &Single, head: &mut ReplyHead) -> bool {
        let Some(lending) = &self.lending else { return false };
        let (context, reason, began) = (Arc::clone(&self.context), lending.reason, Instant::now());
        let tally = context.counts.exclusive(reason);
        tally.began(single.counted);
        let ended = self.send_and_receive(single, head).await;
        let failed = ended.as_ref().map_or_else(|broken| broken.missing.min(single.counted), |()| 0);
        tally.replied(single.counted - failed);
        tally.failed(failed);
        if failed == 0 && single.counted > 0 {
            tally.took(micros(single.waited), micros(began.elapsed()));
        }
        self.note_if_slow(single, began);
        ended.map_or_else(|broken| broken.go_on, |()| true)
    }

    /// Sends requests and passes on what comes until they are answered, keeping the beginning of the last
    /// reply in `head`.
    async fn send_and_receive(&mut self, single: &Single, head: &mut ReplyHead) -> Result<(), Broken> {
        let Some(lending) = &mut self.lending else { return Err(Broken::closing(single.due)) };
        lending.expect(single.change, single.due, single.errors());
        if let Err(error) = lending.lent.send(&single.requests).await {
            return Err(self.lost(&error));
        }
        let reply_timeout = self.settings.reply_timeout;
        let deadline = single.patience.map(|patience| Instant::now() + patience + reply_timeout);
        let (mut swallow, mut blocks) = (single.swallow, single.waits());
        while self.lending.as_ref().is_some_and(|lending| lending.is_waiting()) {
            match self.next_event(deadline, single.waits(), blocks).await {
                Event::Message(at, kind) => {
                    let Some(lending) = &mut self.lending else { return Err(Broken::closing(single.due)) };
                    if single.waits() && !blocks && self.output[at..].starts_with(b"-UNBLOCKED") {
                        // It closes without a reply, as with a Redis that is shut down.
                        self.output.truncate(at);
                        return Err(Broken::closing(lending.missing()));
                    }
                    let seen = lending.saw(&self.output[at..], kind);
                    if seen != Message::Push {
                        let length = head.len().min(self.output.len() - at);
                        head.fill(0);
                        head[..length].copy_from_slice(&self.output[at..at + length]);
                        if lending.multi && single.change != Change::EndMulti {
                            lending.queued.saw(&self.output[at..]);
                        } else if lending.multi {
                            self.settle(at);
                        }
                        if swallow > 0 || (self.state.is_muted() && seen == Message::Reply) {
                            swallow = swallow.saturating_sub(1);
                            self.output.truncate(at);
                        }
                    }
                }
                Event::Flush => self.flush().await,
                Event::Lost(error) => return Err(self.lost(&error)),
                Event::Gone => return Err(self.gone()),
                Event::Drain => {
                    blocks = false;
                    if !self.unblock().await {
                        return Err(self.gone());
                    }
                }
                Event::TimedOut => return Err(self.timed_out(single, reply_timeout)),
            }
        }
        Ok(())
    }

    fn timed_out(&mut self, single: &Single, reply_timeout: Duration) -> Broken {
        let failure = JobError::ReplyTimeout(reply_timeout);
        self.caller.count_failure(&failure);
        let text = errors::job(&failure, &self.settings);
        let lending = self.lending.take();
        let missing = lending.as_ref().map_or(0, |lending| lending.missing());
        if let Some(lending) = lending {
            self.context.counts.exclusive(lending.reason).took(micros(single.waited), micros(reply_timeout));
        }
        (0..missing).for_each(|_| write_error(&mut self.output, &text));
        Broken::closing(missing)
    }

    /// The client has gone, or has to go, and its replies may still come.
    fn gone(&self) -> Broken {
        self.context.counts.fault(Fault::ClientGone);
        Broken::closing(self.lending.as_ref().map_or(0, |lending| lending.missing()))
    }

    /// Takes note of what a transaction has changed, and puts the gateway's own answers into the reply to its
    /// `EXEC`, which begins at `at` in the output.
    fn settle(&mut self, at: usize) {
        let Some(lending) = &mut self.lending else { return };
        let facts = self.caller.facts();
        let queued = std::mem::take(&mut lending.queued);
        let mut who = Who {
            executing: Some(queued.len()),
            ..Who::new(&mut self.state, &self.entry, &self.context, &self.settings)
        };
        let settled = queued.settle(&self.output[at..], |noted, reply, out| match noted {
            Noted::Change(change) => {
                if let Some(db) = lending.executed(change, reply) {
                    who.state.needs.db = db;
                }
                out.extend_from_slice(reply);
            }
            Noted::Answer(request) => {
                let (mut then, before) = (None, out.len());
                placeholder::answer(&request, &mut who, out, |after, _| then = Some(after));
                if let Some(After::Hello(hello)) = then {
                    session_commands::greet(hello, &facts, &mut who, out);
                } else if out.len() == before {
                    // CLIENT REPLY OFF has no reply and CLIENT UNBLOCK nobody to unblock; the array needs an item.
                    write_integer(out, 0);
                }
            }
        });
        if let Some(settled) = settled {
            self.output.truncate(at);
            self.output.extend_from_slice(&settled);
        }
    }

    /// Has the upstream end the request that the session is blocked in, so that none of it is lost on the way: if
    /// it was served meanwhile, its reply still comes. False if the upstream could not be asked.
    async fn unblock(&mut self) -> bool {
        let Some(id) = self.lending.as_ref().and_then(|lending| lending.lent.upstream_id()) else { return false };
        let mut burst = Burst { replies_due: 1, ..Burst::default() };
        write_request(&mut burst.requests, &["CLIENT", "UNBLOCK", &id.to_string(), "ERROR"]);
        self.caller.call(burst).await.failure.is_none()
    }

    /// The next message, or what ends the waiting for it. The client's end is one only while it blocks: what is
    /// sent without waiting is executed even if the client has gone. Cancel-safe.
    async fn next_event(&mut self, deadline: Option<Instant>, waits: bool, blocks: bool) -> Event {
        poll_fn(|cx| {
            let Some(lending) = &mut self.lending else { return Poll::Ready(Event::Gone) };
            let at = self.output.len();
            match lending.lent.poll_message(cx, &mut self.output) {
                Poll::Ready(Ok(kind)) => return Poll::Ready(Event::Message(at, kind)),
                Poll::Ready(Err(error)) => return Poll::Ready(Event::Lost(error)),
                Poll::Pending if at > 0 => return Poll::Ready(Event::Flush),
                Poll::Pending => {}
            }
            match self.take_messages(cx) {
                Err(_) => return Poll::Ready(Event::Gone),
                Ok(()) if !self.output.is_empty() => return Poll::Ready(Event::Flush),
                Ok(()) => {}
            }
            let backlog = self.settings.backlog_bytes_max;
            let asked = self.entry.poll_asked(cx);
            let ended = self.input.poll_backlog(&mut self.stream, cx, backlog).is_ready();
            if asked == Asked::Kill || (ended && waits) {
                return Poll::Ready(Event::Gone);
            }
            if asked == Asked::Drain && blocks {
                return Poll::Ready(Event::Drain);
            }
            match deadline {
                Some(deadline) => self.alarm.poll_until(cx, deadline).map(|()| Event::TimedOut),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Passes on what comes without having been asked for, as far as it is there; an error when the
    /// connection is lost.
    pub(crate) fn poll_pushes(&mut self, cx: &mut std::task::Context<'_>) -> Poll<io::Result<()>> {
        let before = self.output.len();
        self.take_messages(cx)?;
        if self.output.len() > before {
            return Poll::Ready(Ok(()));
        }
        let Some(lending) = &mut self.lending else { return Poll::Pending };
        while self.output.len() < PUSHES_BYTES {
            let at = self.output.len();
            match lending.lent.poll_message(cx, &mut self.output) {
                Poll::Ready(Ok(kind)) => drop(lending.saw(&self.output[at..], kind)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if self.output.len() > before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// The exclusive connection broke. A session with state on it ends, as it would with Redis; others go on.
    fn lost(&mut self, error: &io::Error) -> Broken {
        let Some(lending) = self.lending.take() else { return Broken::closing(0) };
        let failure = JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe };
        self.caller.count_failure(&failure);
        self.fail_replies(lending.missing(), &failure);
        tracing::debug!(client = self.entry.id, reason = lending.reason.name(), %error, "exclusive connection lost");
        let go_on = !lending.is_needed() && !lending.is_changing();
        Broken { missing: lending.missing(), go_on }
    }

    fn fail_replies(&mut self, due: u32, failure: &JobError) {
        if !self.state.is_muted() {
            let text = errors::job(failure, &self.settings);
            (0..due).for_each(|_| write_error(&mut self.output, &text));
        }
    }

    /// Has the exclusive connection speak another version of the protocol.
    pub(crate) async fn switch_lent(&mut self, protocol: Protocol) -> bool {
        let mut requests = Vec::new();
        write_request(&mut requests, &["HELLO", &protocol.version().to_string()]);
        let single = Single::simple(requests, 1);
        self.exchange(&single, &mut ReplyHead::default()).await
    }

    /// `RESET`: the session is as new, and what was lent is given back.
    pub(crate) fn reset(&mut self) {
        self.end_lending();
        self.subscriber = None;
        let settings = &self.settings;
        let authenticated = !settings.users.are_required();
        self.state.reset(settings.db, authenticated);
        self.entry.renamed(b"");
        write_simple(&mut self.output, "RESET");
    }
}

/// Bytes of pushes that are passed on in one write.
const PUSHES_BYTES: usize = 64 * 1024;
