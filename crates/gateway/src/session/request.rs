//! The way of a request that does not go with a burst: answered by the gateway itself, sent to the exclusive
//! connection, a change of shared subscriptions, or refused.

use std::{future::poll_fn, sync::Arc, task::Poll};

use pool::Burst;
use resp::{Protocol, Request, write_error, write_simple};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::Instant,
};

use crate::{
    client::state::Transaction,
    command::{
        class::{Class, Local, Reason},
        errors,
    },
    console::answer::Console,
    exclusive::{placeholder, request::ExclusiveRequest},
    local_reply::{
        info,
        requester::{Hello, NextStep, Requester},
        session_commands,
    },
    observe::{counts::Counts, published::Published, registry::Asked},
    pubsub::request::{SubscriptionRequest, answer_restricted},
    session::session::Session,
};

/// Which part of the session serves a request, if its client may make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Its shared subscriptions.
    Subscriptions,
    /// Its exclusive connection.
    Exclusive,
    /// None: the client is a subscriber and may do little else.
    Restricted,
    /// None: shared subscriptions cannot change in a transaction, which is aborted.
    NotInTransaction,
    /// The gateway answers, or the request goes into the queue by itself.
    Gateway,
}

/// What is to be done once the request has been read and taken off the input.
enum Way {
    Local(NextStep),
    Exclusive(ExclusiveRequest),
    Subscription(SubscriptionRequest),
    /// A request that cannot be part of the transaction at hand; the error that says so.
    AbortTransaction(&'static str),
    /// By itself into the queue.
    Shared(Burst),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Serves the request at which gathering stopped: finds the part of the session that it is for, reads it, has it
    /// done, counts it, and lets others see what has changed. False to close.
    pub(super) async fn serve_request(&mut self, class: Class) -> bool {
        let published = Arc::clone(self.link.published());
        let (from, was_muted) = (self.link.unwritten(), self.state.is_muted());
        let part = self.part_for(class);
        let Some(way) = self.read(class, part, &published) else { return false };
        let tally = tally(&way, class, &published.counts);
        if let Some(tally) = tally {
            tally.began(1);
        }
        let mut go_on = self.go(way, &published).await;
        if let Some(tally) = tally {
            let own_error = |reply: &[u8]| reply.starts_with(errors::OWN);
            let failed = class == Class::Attack || self.link.output().get(from..).is_some_and(own_error);
            tally.replied(u32::from(!failed));
            tally.failed(u32::from(failed));
        }
        go_on &= self.hold_back().await;
        if was_muted {
            self.keep_muted(part, from);
        }
        self.publish();
        if looks_at_all_clients(class) {
            // It took long enough for the others to have a turn, however many more of the kind there are.
            yield_now().await;
        }
        go_on
    }

    fn part_for(&self, class: Class) -> Part {
        let subscribes = self.subscriptions.are_changed_by(class);
        let in_transaction = self.exclusive.is_in_transaction();
        let protocol = self.state.needs.protocol;
        match () {
            () if subscribes && !in_transaction => Part::Subscriptions,
            () if self.subscriptions.restrict(protocol) && !may_subscriber(class) => Part::Restricted,
            () if self.subscriptions.restrict(protocol) => Part::Gateway,
            () if subscribes => Part::NotInTransaction,
            () if self.exclusive.takes(class, protocol) => Part::Exclusive,
            () => Part::Gateway,
        }
    }

    /// Takes the request off the input and reads it; `None` to close.
    fn read(&mut self, class: Class, part: Part, published: &Published) -> Option<Way> {
        let Self { link, state, settings, exclusive, .. } = self;
        let taken = link.take_request(|request, entry, out| {
            let mut requester = Requester { state, entry, published, settings, executing: None };
            if !requester.state.authenticated && !may_precede_login(class) {
                write_error(out, if class == Class::Exec { errors::EXEC_NO_LOGIN } else { errors::NO_LOGIN });
                return Way::Local(if class == Class::Attack { NextStep::Close } else { NextStep::Answered });
            }
            if requester.state.transaction == Transaction::Aborted && !may_follow_refused_multi(class) {
                answer_aborted(class, &mut requester, out);
                return Way::Local(NextStep::Answered);
            }
            match part {
                Part::Subscriptions => match SubscriptionRequest::of(request) {
                    Some(request) => Way::Subscription(request),
                    None => answer(class, request, &mut requester, out),
                },
                Part::Restricted => {
                    answer_restricted(request, out);
                    Way::Local(NextStep::Answered)
                }
                Part::NotInTransaction => Way::AbortTransaction(errors::SUBSCRIBE_IN_MULTI),
                Part::Exclusive => {
                    let in_transaction = exclusive.is_in_transaction();
                    if in_transaction && changes_many_subscriptions(class, request) {
                        return Way::AbortTransaction(errors::SUBSCRIBE_MANY_IN_MULTI);
                    }
                    if let Class::Local(local) = class
                        && in_transaction
                        && let Some(placeholder) = placeholder::for_request(local, request, &mut requester)
                    {
                        return Way::Exclusive(ExclusiveRequest::with_placeholder(placeholder, request));
                    }
                    Way::Exclusive(exclusive.request(class, request, &published.registry))
                }
                Part::Gateway => answer(class, request, &mut requester, out),
            }
        });
        if self.state.authenticated {
            self.link.set_limits(self.settings.limits);
        }
        taken.ok().flatten()
    }

    /// Has a request done; false to close.
    async fn go(&mut self, way: Way, published: &Published) -> bool {
        match way {
            Way::Local(NextStep::Answered) => true,
            Way::Local(NextStep::Close) => false,
            Way::Local(NextStep::Select(db)) => self.select(db).await,
            Way::Local(NextStep::Hello(hello)) => self.hello(hello, published).await,
            Way::Local(NextStep::Reset) => self.reset(),
            Way::Local(NextStep::Console(ask)) => {
                let console = Console {
                    operator: &self.operator,
                    published,
                    client: &Arc::clone(self.link.entry()),
                    protocol: self.state.needs.protocol,
                    reply_timeout: self.settings.reply_timeout,
                };
                Box::pin(console.answer(ask, self.link.output())).await
            }
            Way::Local(NextStep::Info(requests)) => Box::pin(self.info(requests, published)).await,
            Way::Local(NextStep::Unblock(requests)) => {
                self.run_shared(Burst { requests, replies_due: 1, ..Burst::default() }).await
            }
            Way::Exclusive(request) => self.exchange().run(request).await,
            Way::Subscription(request) => {
                let Self { subscriptions, link, state, settings, .. } = self;
                subscriptions.change(request, link, state.needs.protocol, settings).await
            }
            Way::AbortTransaction(text) => self.exchange().abort_transaction(text).await,
            Way::Shared(burst) => self.run_shared(burst).await,
        }
    }

    async fn run_shared(&mut self, burst: Burst) -> bool {
        self.burst = burst;
        self.execute().await
    }

    /// Takes back the reply to a request of a client that wants none. Confirmations are pushes, which `CLIENT REPLY`
    /// does not silence, and an exchange leaves out what is to be left out.
    fn keep_muted(&mut self, part: Part, from: usize) {
        let silenced = matches!(part, Part::Gateway | Part::Restricted);
        if self.state.is_muted() && silenced {
            self.link.output().truncate(from);
        }
        self.state.request_done();
    }

    /// Holds back the answer to a wrong password, and with it all that the client sends after it; false to close
    /// once the answer is out.
    async fn hold_back(&mut self) -> bool {
        let Some(penalty) = self.state.failed_logins.settle(self.settings.logins) else { return true };
        let until = Instant::now() + penalty.delay;
        poll_fn(|cx| {
            if self.link.poll_asked(cx) != Asked::Nothing {
                return Poll::Ready(());
            }
            self.link.poll_until(cx, until)
        })
        .await;
        !penalty.close
    }

    /// Enters a database once the upstream has said that it exists.
    async fn select(&mut self, db: u32) -> bool {
        let mut burst = Burst { needs: self.state.needs, ..Burst::default() };
        burst.needs.db = db;
        match self.caller.call(burst).await.failure {
            None => {
                self.state.needs.db = db;
                write_simple(self.link.output(), "OK");
            }
            Some(failure) => write_error(self.link.output(), &errors::job(&failure, &self.settings.upstream)),
        }
        true
    }

    /// Answers `HELLO` as the upstream answered it, with the client's own id.
    async fn hello(&mut self, hello: Hello, published: &Published) -> bool {
        if self.caller.facts().hello(Protocol::Resp2, 0).is_none() {
            // Nobody has logged in yet, unless the upstream knows no HELLO: an empty job waits for that.
            let burst = Burst { needs: self.state.needs, ..Burst::default() };
            if let Some(failure) = self.caller.call(burst).await.failure {
                write_error(self.link.output(), &errors::job(&failure, &self.settings.upstream));
                return true;
            }
        }
        let facts = self.caller.facts();
        let protocol = hello.protocol.unwrap_or(self.state.needs.protocol);
        let switches = facts.speaks(protocol) && protocol != self.state.needs.protocol;
        if self.exclusive.is_lent() && switches && !self.exchange().switch_protocol(protocol).await {
            return false;
        }
        let Self { link, state, settings, .. } = self;
        let entry = &Arc::clone(link.entry());
        let mut requester = Requester { state, entry, published, settings, executing: None };
        session_commands::greet(hello, &facts, &mut requester, link.output());
        if self.state.authenticated {
            self.link.set_limits(self.settings.limits);
        }
        true
    }

    /// Answers an `INFO` that names us; `requests` is the upstream's part of it.
    async fn info(&mut self, requests: Vec<u8>, published: &Published) -> bool {
        let needs = self.state.needs;
        let mut upstreams = Vec::new();
        if !requests.is_empty() {
            let burst = Burst { requests, replies_due: 1, needs, read_only: true, ..Burst::default() };
            let answer = self.caller.call(burst).await;
            if let Some(failure) = answer.failure {
                write_error(self.link.output(), &errors::job(&failure, &self.settings.upstream));
                return true;
            }
            upstreams = answer.burst.replies;
        }
        info::answer(&upstreams, needs.protocol, &self.operator, published, self.link.output()).await;
        true
    }

    /// `RESET`: the session is as new, and what was lent is given back.
    fn reset(&mut self) -> bool {
        self.exclusive.end();
        self.subscriptions.end();
        let authenticated = !self.settings.users.are_required();
        self.state.reset(self.settings.db, authenticated);
        self.link.entry().renamed(b"");
        write_simple(self.link.output(), "RESET");
        true
    }

    /// Lets others see what the session is at.
    fn publish(&self) {
        let Self { state, exclusive, subscriptions, .. } = self;
        self.link.entry().update(|details| {
            details.user.clone_from(&state.user);
            details.exclusive = exclusive.reason();
            details.db = state.needs.db;
            details.protocol = state.needs.protocol;
            details.multi = exclusive.is_in_transaction();
            details.subscriptions = subscriptions.counts().unwrap_or_else(|| exclusive.subscriptions());
        });
    }
}

/// Where a request is counted; `None` if that is where it is sent.
fn tally<'c>(way: &Way, class: Class, counts: &'c Counts) -> Option<&'c pool::Tally> {
    match (way, class) {
        (Way::Shared(_) | Way::Exclusive(_) | Way::Local(NextStep::Unblock(_)), _) => None,
        (Way::Local(NextStep::Info(upstreams)), _) if !upstreams.is_empty() => None,
        (Way::Local(_), Class::Refused(_) | Class::Attack) => Some(&counts.refused),
        (Way::Local(_) | Way::Subscription(_) | Way::AbortTransaction(_), _) => Some(&counts.here),
    }
}

/// Answers a request that no other part of the session serves, or says where it goes.
fn answer(class: Class, request: &Request<'_>, requester: &mut Requester<'_>, out: &mut Vec<u8>) -> Way {
    match class {
        Class::Local(local) => Way::Local(session_commands::answer(local, request, requester, out)),
        Class::Exec => {
            let text = if request.len() == 1 { "ERR EXEC without MULTI" } else { errors::EXEC_ARITY };
            write_error(out, text);
            Way::Local(NextStep::Answered)
        }
        Class::Refused(reason) => {
            write_error(out, &errors::refused(reason));
            Way::Local(NextStep::Answered)
        }
        Class::Attack => Way::Local(NextStep::Close),
        Class::Plain { .. } | Class::Multi | Class::Exclusive(_) => Way::Shared(alone(class, request)),
    }
}

fn alone(class: Class, request: &Request<'_>) -> Burst {
    let read_only = class == Class::Plain { read_only: true };
    let mut burst = Burst { replies_due: 1, read_only, ..Burst::default() };
    request.write(&mut burst.requests);
    burst
}

fn looks_at_all_clients(class: Class) -> bool {
    matches!(class, Class::Local(Local::ClientList | Local::ClientKill | Local::ClientUnblock | Local::Respool))
}

/// Whether a request is confirmed more than once, or as often as there are subscriptions.
fn changes_many_subscriptions(class: Class, request: &Request<'_>) -> bool {
    match class {
        Class::Exclusive(Reason::PubSub) => request.len() > 2,
        Class::Local(Local::Unsubscribe) => request.len() != 2,
        _ => false,
    }
}

fn may_precede_login(class: Class) -> bool {
    matches!(class, Class::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset))
}

/// What a subscriber that speaks RESP2 may do besides changing its subscriptions; `PING` is answered apart.
fn may_subscriber(class: Class) -> bool {
    matches!(class, Class::Local(Local::Quit | Local::Reset) | Class::Attack)
}

fn may_follow_refused_multi(class: Class) -> bool {
    matches!(class, Class::Local(Local::Quit | Local::Reset) | Class::Attack)
}

/// Answers within a transaction that was refused at its `MULTI`.
fn answer_aborted(class: Class, requester: &mut Requester<'_>, out: &mut Vec<u8>) {
    match class {
        Class::Exec => {
            requester.state.transaction = Transaction::Open;
            write_error(out, errors::EXEC_ABORT);
        }
        Class::Local(Local::DiscardWithoutMulti) => {
            requester.state.transaction = Transaction::Open;
            write_simple(out, "OK");
        }
        _ => write_error(out, errors::AFTER_REFUSED_MULTI),
    }
}
