//! What a session does with a request that did not go with a burst: answered here, sent to an exclusive
//! connection, or refused.

use std::{future::poll_fn, sync::Arc, task::Poll};

use pool::Burst;
use resp::{Protocol, Request, write_error, write_simple};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::Instant,
};

use crate::{
    client::state::Doomed,
    command::class::{Class, Here, Reason},
    exclusive::{lending::Lending, placeholder, request::Single},
    local_reply::session_commands::{self, After, Hello, Who},
    observe::registry::Asked,
    pubsub::subscriptions::{Subscription, answer_restricted},
    session::session::Session,
    wording::errors,
};

/// What is to be done once the request has been read and taken off the input.
enum Next {
    After(After),
    Exclusively(Single),
    Subscription(Subscription),
    /// A request that cannot be part of the transaction at hand; the error that says so.
    AbortTransaction(&'static str),
    /// By itself into the queue.
    Shared(Burst),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Deals with the request at which gathering stopped; false to close.
    pub(crate) async fn other(&mut self, class: Class) -> bool {
        let from = self.output.len();
        let muted_before = self.state.is_muted();
        let exclusively = self.goes_exclusive(class);
        let subscribes = self.subscribes_shared(class);
        let Some(next) = self.take(class, exclusively) else { return false };
        let context = Arc::clone(&self.context);
        let tally = match (&next, class) {
            // Counted where it is sent.
            (Next::Shared(_) | Next::Exclusively(_) | Next::After(After::Unblock(_)), _) => None,
            (Next::After(After::Info(upstreams)), _) if !upstreams.is_empty() => None,
            (Next::After(_), Class::Refused(_) | Class::Attack) => Some(&context.counts.refused),
            (Next::After(_) | Next::Subscription(_) | Next::AbortTransaction(_), _) => Some(&context.counts.here),
        };
        if let Some(tally) = tally {
            tally.began(1);
        }
        let mut go_on = match next {
            Next::After(After::Answered) => true,
            Next::After(After::Close) => false,
            Next::After(After::Select(db)) => self.select(db).await,
            Next::After(After::Hello(hello)) => self.hello(hello).await,
            Next::After(After::Reset) => {
                self.reset();
                true
            }
            Next::After(After::Console(ask)) => Box::pin(self.console(ask)).await,
            Next::After(After::Info(requests)) => Box::pin(self.info(requests)).await,
            Next::After(After::Unblock(requests)) => self.run_shared(requests).await,
            Next::Exclusively(single) => self.run_single(single).await,
            Next::Subscription(subscription) => self.change_subscriptions(subscription).await,
            Next::AbortTransaction(text) => self.abort_transaction(text).await,
            Next::Shared(burst) => {
                self.burst = burst;
                self.execute().await
            }
        };
        if let Some(tally) = tally {
            let own_error = |reply: &[u8]| reply.starts_with(errors::OWN);
            let failed = class == Class::Attack || self.output.get(from..).is_some_and(own_error);
            tally.replied(u32::from(!failed));
            tally.failed(u32::from(failed));
        }
        go_on &= self.hold_back().await;
        // Confirmations are pushes, which CLIENT REPLY does not silence.
        if muted_before && self.state.is_muted() && !exclusively && !subscribes {
            self.output.truncate(from.min(self.output.len()));
        }
        if muted_before {
            self.state.request_done();
        }
        self.publish();
        if looks_at_all_clients(class) {
            // It took long enough for the others to have a turn, however many more of the kind there are.
            yield_now().await;
        }
        go_on
    }

    /// Takes the request off the input and reads it; `None` to close.
    fn take(&mut self, class: Class, exclusively: bool) -> Option<Next> {
        let (restricted, subscribes) = (self.is_restricted(), self.subscribes_shared(class));
        let aborts = self.subscribes_in_multi(class);
        let lending = self.lending.as_deref();
        let mut who = Who::new(&mut self.state, &self.entry, &self.context, &self.settings);
        let output = &mut self.output;
        let taken = self.input.take_other(|request| {
            if !who.state.authenticated && !may_precede_login(class) {
                write_error(output, if class == Class::Exec { errors::EXEC_NO_LOGIN } else { errors::NO_LOGIN });
                return Next::After(if class == Class::Attack { After::Close } else { After::Answered });
            }
            if who.state.doomed == Doomed::Yes && !may_follow_refused_multi(class) {
                doomed(class, &mut who, output);
                return Next::After(After::Answered);
            }
            if subscribes && let Some(subscription) = Subscription::of(request) {
                return Next::Subscription(subscription);
            }
            if restricted && !may_subscriber(class) {
                answer_restricted(request, output);
                return Next::After(After::Answered);
            }
            if aborts {
                return Next::AbortTransaction(errors::SUBSCRIBE_IN_MULTI);
            }
            if lending.is_some_and(|lending| lending.multi) && changes_many_subscriptions(class, request) {
                return Next::AbortTransaction(errors::SUBSCRIBE_MANY_IN_MULTI);
            }
            if exclusively {
                if let (Class::Here(here), Some(Lending { multi: true, .. })) = (class, lending)
                    && let Some(stand_in) = placeholder::for_request(here, request, &mut who)
                {
                    return Next::Exclusively(Single::standing_in(stand_in, request));
                }
                return Next::Exclusively(Single::new(class, request, lending, &who.context.registry));
            }
            match class {
                Class::Here(here) => Next::After(session_commands::answer(here, request, &mut who, output)),
                Class::Exec => {
                    let text = if request.len() == 1 { "ERR EXEC without MULTI" } else { errors::EXEC_ARITY };
                    write_error(output, text);
                    Next::After(After::Answered)
                }
                Class::Refused(reason) => {
                    write_error(output, &errors::refused(reason));
                    Next::After(After::Answered)
                }
                Class::Attack => Next::After(After::Close),
                Class::Plain { .. } | Class::Multi | Class::Exclusive(_) => Next::Shared(alone(class, request)),
            }
        });
        if self.state.authenticated {
            self.input.set_limits(self.settings.limits);
        }
        taken.ok().flatten()
    }

    /// Holds back the answer to a wrong password, and with it all that the client sends after it; false to close
    /// once the answer is out.
    async fn hold_back(&mut self) -> bool {
        let Some(penalty) = self.state.failed_logins.settle(self.settings.logins) else { return true };
        let until = Instant::now() + penalty.delay;
        poll_fn(|cx| {
            if self.entry.poll_asked(cx) != Asked::Nothing {
                return Poll::Ready(());
            }
            self.alarm.poll_until(cx, until)
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
                write_simple(&mut self.output, "OK");
            }
            Some(failure) => write_error(&mut self.output, &errors::job(&failure, &self.settings)),
        }
        true
    }

    /// Answers `HELLO` as the upstream answered it, with the client's own id.
    async fn hello(&mut self, hello: Hello) -> bool {
        if self.caller.facts().hello(Protocol::Resp2, 0).is_none() {
            // Nobody has logged in yet, unless the upstream knows no HELLO: an empty job waits for that.
            let burst = Burst { needs: self.state.needs, ..Burst::default() };
            if let Some(failure) = self.caller.call(burst).await.failure {
                write_error(&mut self.output, &errors::job(&failure, &self.settings));
                return true;
            }
        }
        let facts = self.caller.facts();
        let protocol = hello.protocol.unwrap_or(self.state.needs.protocol);
        let switches = facts.speaks(protocol) && protocol != self.state.needs.protocol;
        if self.lending.is_some() && switches && !self.switch_lent(protocol).await {
            return false;
        }
        let mut who = Who::new(&mut self.state, &self.entry, &self.context, &self.settings);
        session_commands::greet(hello, &facts, &mut who, &mut self.output);
        if self.state.authenticated {
            self.input.set_limits(self.settings.limits);
        }
        true
    }

    /// A request of the gateway's own making, into the queue.
    async fn run_shared(&mut self, requests: Vec<u8>) -> bool {
        self.burst = Burst { requests, replies_due: 1, ..Burst::default() };
        self.execute().await
    }

    /// What others see of this session.
    fn publish(&self) {
        let (needs, lending, shared) = (self.state.needs, self.lending.as_ref(), self.subscriber.as_ref());
        let user = &self.state.user;
        self.entry.update(|details| {
            details.user.clone_from(user);
            details.exclusive = lending.map(|lending| lending.reason);
            details.db = needs.db;
            details.protocol = needs.protocol;
            details.multi = lending.is_some_and(|lending| lending.multi);
            let own = lending.map_or([0; 3], |lending| lending.subscriptions());
            details.subscriptions = shared.map_or(own, |subscriber| subscriber.counts());
        });
    }
}

fn alone(class: Class, request: &Request<'_>) -> Burst {
    let read_only = class == Class::Plain { read_only: true };
    let mut burst = Burst { replies_due: 1, read_only, ..Burst::default() };
    request.write(&mut burst.requests);
    burst
}

fn looks_at_all_clients(class: Class) -> bool {
    matches!(class, Class::Here(Here::ClientList | Here::ClientKill | Here::ClientUnblock | Here::Respool))
}

/// Whether a request is confirmed more than once, or as often as there are subscriptions.
fn changes_many_subscriptions(class: Class, request: &Request<'_>) -> bool {
    match class {
        Class::Exclusive(Reason::PubSub) => request.len() > 2,
        Class::Here(Here::Unsubscribe) => request.len() != 2,
        _ => false,
    }
}

fn may_precede_login(class: Class) -> bool {
    matches!(class, Class::Here(Here::Auth | Here::Hello | Here::Quit | Here::Reset))
}

/// What a subscriber that speaks RESP2 may do besides changing its subscriptions; `PING` is answered apart.
fn may_subscriber(class: Class) -> bool {
    matches!(class, Class::Here(Here::Quit | Here::Reset) | Class::Attack)
}

fn may_follow_refused_multi(class: Class) -> bool {
    matches!(class, Class::Here(Here::Quit | Here::Reset) | Class::Attack)
}

/// Answers within a transaction that was refused at its `MULTI`.
fn doomed(class: Class, who: &mut Who<'_>, output: &mut Vec<u8>) {
    match class {
        Class::Exec => {
            who.state.doomed = Doomed::No;
            write_error(output, errors::EXEC_ABORT);
        }
        Class::Here(Here::DiscardWithoutMulti) => {
            who.state.doomed = Doomed::No;
            write_simple(output, "OK");
        }
        _ => write_error(output, errors::DOOMED),
    }
}
