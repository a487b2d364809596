//! The way of a request that does not go with a burst: answered by the gateway itself, sent to the exclusive
//! connection, a change of shared subscriptions, or refused.

use std::{future::poll_fn, sync::Arc, task::Poll};

use pool::{Burst, UnderWay};
use resp::{Request, write_error};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
    time::Instant,
};

use crate::{
    client::{
        gather::Stop,
        state::{Replies, Transaction},
    },
    command::{
        class::{Class, Local},
        errors,
    },
    console::answer::Console,
    exclusive::{request::ExclusiveRequest, transaction::placeholder},
    local_reply::{
        monitored,
        requester::{NextStep, Requester},
        session_commands,
    },
    observe::{counts::Counts, published::Published, registry::Asked, turned_away::Kind},
    pubsub::request::{SubscriptionRequest, answer_restricted},
    session::{rules, session::Session},
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
    /// None: the request cannot be part of the transaction at hand, which is aborted.
    NotInTransaction,
    /// The gateway answers, or the request goes into the queue by itself.
    Gateway,
}

/// What is to be done once the request has been read and taken off the input.
enum Way {
    Local(NextStep),
    /// Answered: its user has sent too many.
    Refused,
    Exclusive(ExclusiveRequest),
    Subscription(SubscriptionRequest),
    /// A request that cannot be part of the transaction at hand; the error that says so.
    AbortTransaction(String),
    /// Answered; what the transaction at its end had watched is to be watched no more.
    Unwatch,
    /// By itself into the queue.
    Shared(Burst),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Serves the request at which gathering stopped; an empty one ends what was said about the next. False to close.
    pub(super) async fn serve_alone(&mut self, stop: Stop) -> bool {
        if let Stop::Other(class) = stop {
            return self.serve_request(class).await;
        }
        self.state.request_done();
        self.exchange().end_caching().await
    }

    /// Serves a request that does not go with others: finds the part of the session that it is for, reads it, has it
    /// done, counts it, and lets others see what has changed. False to close.
    async fn serve_request(&mut self, class: Class) -> bool {
        let published = Arc::clone(self.link.published());
        let before = self.state.replies;
        if before != Replies::On {
            // What is left out is then all that the output has, also where it is written while the upstream is asked.
            self.flush().await;
        }
        let mut from = self.link.unwritten();
        if self.settings.users.elsewhere || self.caller.is_guest() {
            Box::pin(self.identify(class)).await;
        }
        let class = if class == Class::Unheard { Box::pin(self.heard(&published)).await } else { class };
        let part = self.part_for(class);
        let Some(way) = self.read(class, part, &published) else { return false };
        let is_local = matches!(way, Way::Local(_) | Way::Refused);
        let under_way = tally(&way, class, &published.counts).map(|tally| UnderWay::begin(tally, 1));
        let fails = class == Class::Attack || matches!(way, Way::AbortTransaction(_));
        let is_elsewhere = !matches!(way, Way::Exclusive(_)) && !rules::is_of_client(class);
        let mut go_on = (!is_elsewhere || self.end_caching(&mut from).await) && self.go(way, &published).await;
        if let Some(under_way) = under_way {
            let own_error = |reply: &[u8]| reply.starts_with(errors::OWN);
            let failed = fails || self.link.output().get(from..).is_some_and(own_error);
            under_way.end(failed.into());
        }
        go_on &= self.hold_back().await;
        if before != Replies::On {
            self.keep_muted(class, is_local, before, from);
        }
        self.publish();
        if rules::looks_at_all_clients(class) || published.monitors.are_behind() {
            // It took long enough for the others to have a turn, however many more of the kind there are; or those who are
            // shown it need one.
            yield_now().await;
        }
        go_on
    }

    /// Ends what `CLIENT CACHING` has said of the next request; false to close. An answer at `from` that is there already
    /// waits for what comes meanwhile.
    async fn end_caching(&mut self, from: &mut usize) -> bool {
        if !self.exclusive.is_caching() {
            return true;
        }
        let answer = self.link.output().split_off(*from);
        let go_on = self.exchange().end_caching().await;
        *from = self.link.unwritten();
        self.link.output().extend_from_slice(&answer);
        go_on
    }

    fn part_for(&self, class: Class) -> Part {
        let subscribes = self.subscriptions.are_changed_by(class);
        let in_transaction = self.exclusive.is_in_transaction();
        let protocol = self.state.needs.protocol;
        match () {
            () if subscribes && !in_transaction => Part::Subscriptions,
            () if self.subscriptions.restrict(protocol) && !rules::may_subscriber(class) => Part::Restricted,
            () if self.subscriptions.restrict(protocol) => Part::Gateway,
            () if self.exclusive.restricts(class, protocol) => Part::Restricted,
            () if in_transaction && (subscribes || rules::aborts_a_transaction(class, &self.settings)) => {
                Part::NotInTransaction
            }
            () if self.exclusive.takes(class, protocol) => Part::Exclusive,
            () => Part::Gateway,
        }
    }

    /// Takes the request off the input and reads it; `None` to close.
    fn read(&mut self, class: Class, part: Part, published: &Published) -> Option<Way> {
        let (kept, unread) = (self.kept_bytes(), self.link.unread());
        let Self { link, state, settings, exclusive, caller, .. } = self;
        let taken = link.take_request(rules::holds_login(class), |request, entry, out| {
            let mut requester = Requester { state, entry, published, settings, caller, executing: None, unread };
            if let Some(way) = demand_login(class, request, &requester, out) {
                return way;
            }
            let in_transaction = exclusive.is_in_transaction();
            if let Some(refusal) = requester.state.refusal.take() {
                return refuse(refusal.into(), in_transaction, out);
            }
            note_refusal(class, request, &requester);
            let was_aborted = requester.state.transaction == Transaction::Aborted;
            if rules::withhold(class, request, &mut requester, out) {
                let is_over = was_aborted && requester.state.transaction == Transaction::Open;
                let forgets = is_over && exclusive.is_watching();
                return if forgets { Way::Unwatch } else { Way::Local(NextStep::Answered) };
            }
            if let Some(text) = rules::fault_of_names(class, request, kept, settings) {
                return refuse(text, in_transaction, out);
            }
            let part = match part {
                // The shared connection leads to one node, and the channel may be of another.
                Part::Subscriptions if settings.in_cluster && rules::is_sharded(request) => {
                    let is_lent = exclusive.takes(class, requester.state.needs.protocol);
                    if is_lent { Part::Exclusive } else { Part::Gateway }
                }
                // The upstream may close the connection of one that is so large.
                Part::Gateway if rules::is_to_be_alone(class, request, caller) => Part::Exclusive,
                part => part,
            };
            if matches!(part, Part::Subscriptions | Part::Exclusive)
                && rules::is_counted(class)
                && let Err(wait) = requester.state.charge(1, settings, in_transaction)
            {
                rules::refuse_for_now(request, wait, &mut requester, out);
                return Way::Refused;
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
                Part::NotInTransaction => Way::AbortTransaction(rules::why_not_in_transaction(class)),
                Part::Exclusive => {
                    if in_transaction && rules::changes_many_subscriptions(class, request) {
                        return Way::AbortTransaction(errors::SUBSCRIBE_MANY_IN_MULTI.to_owned());
                    }
                    if let Class::Local(local) = class
                        && in_transaction
                        && let Some((placeholder, noted)) = placeholder::for_request(local, request, &mut requester)
                    {
                        let queued = kept + noted.bytes();
                        if let Some(fault) = rules::fault_in_transaction(local, request, queued, settings) {
                            return Way::AbortTransaction(fault);
                        }
                        return Way::Exclusive(ExclusiveRequest::with_placeholder(request, placeholder, noted));
                    }
                    Way::Exclusive(exclusive.request(class, request, published, (caller, state.needs.protocol)))
                }
                Part::Gateway if class == Class::Local(Local::Reset) && request.len() > 1 && in_transaction => {
                    Way::AbortTransaction(errors::wrong_arity("reset"))
                }
                Part::Gateway => answer(class, request, &mut requester, out),
            }
        });
        self.admit();
        taken.ok().flatten()
    }

    /// Has a request done; false to close.
    async fn go(&mut self, way: Way, published: &Published) -> bool {
        match way {
            Way::Local(NextStep::Answered) | Way::Refused => true,
            Way::Local(NextStep::Close) => false,
            Way::Local(NextStep::Select(db)) => self.select(db).await,
            Way::Local(NextStep::LogIn(login)) => {
                let entered = Box::pin(self.log_in(&login)).await;
                self.answer_auth(entered)
            }
            Way::Local(NextStep::Enter(user)) => {
                let entered = self.enter(&user);
                self.answer_auth(entered)
            }
            Way::Local(NextStep::Hello(hello)) => Box::pin(self.hello(hello, published)).await,
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
            Way::Local(NextStep::Clients(ask, unread)) => Box::pin(self.about_clients(ask, unread, published)).await,
            Way::Local(NextStep::Info(ask)) => Box::pin(self.info(ask, published)).await,
            Way::Local(NextStep::Ask(request, due)) => Box::pin(self.ask(request, due, published)).await,
            Way::Local(NextStep::Unblock(unblock)) => self.unblock(unblock).await,
            Way::Exclusive(request) => {
                let go_on = self.exchange().run(request).await;
                self.note_write();
                go_on
            }
            Way::Subscription(request) => {
                let Self { subscriptions, link, state, settings, .. } = self;
                subscriptions.change(request, link, state.needs.protocol, settings).await
            }
            Way::AbortTransaction(text) => self.exchange().abort_transaction(&text).await,
            Way::Unwatch => self.exchange().run(ExclusiveRequest::unwatch()).await,
            Way::Shared(burst) => self.run_shared(burst).await,
        }
    }

    pub(super) async fn run_shared(&mut self, burst: Burst) -> bool {
        self.burst = burst;
        self.execute(&mut Stop::Incomplete).await
    }

    /// Takes back the reply to a request of a client that wanted none `before`. Confirmations are pushes, which `CLIENT
    /// REPLY` does not silence, and an exchange leaves out what is to be left out.
    fn keep_muted(&mut self, class: Class, is_local: bool, before: Replies, from: usize) {
        let silenced = is_local && class != Class::Local(Local::Unsubscribe);
        // As in Redis, RESET forgets that replies are off, and is left out itself where it is the one to be skipped.
        let skipped = class == Class::Local(Local::Reset) && before == Replies::SkipNext;
        if silenced && (self.state.is_muted() || skipped) {
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

    /// Lets others see what the session is at.
    pub(super) fn publish(&self) {
        let Self { state, exclusive, subscriptions, .. } = self;
        let (monitors, mut did_monitor) = (exclusive.is_monitor(), false);
        self.link.entry().update(|details| {
            details.user = state.user().cloned();
            details.exclusive = exclusive.reason();
            details.db = state.needs.db;
            details.protocol = state.needs.protocol;
            details.multi = exclusive.queued();
            details.tracking = exclusive.tracking(state.id);
            did_monitor = std::mem::replace(&mut details.monitors, monitors);
            [details.no_touch, details.import_source] = exclusive.manners();
            let (shared, own) = (subscriptions.counts(), exclusive.subscriptions());
            details.subscriptions = [0, 1, 2].map(|kind| shared[kind] + own[kind]);
        });
        match (did_monitor, monitors) {
            (false, true) => self.link.published().monitors.join(self.link.entry()),
            (true, false) => self.link.published().monitors.leave(state.id),
            (_, _) => {}
        }
    }
}

/// Where a request is counted; `None` if that is where it is sent.
fn tally<'c>(way: &Way, class: Class, counts: &'c Counts) -> Option<&'c pool::Tally> {
    match (way, class) {
        (Way::Shared(_) | Way::Exclusive(_) | Way::Local(NextStep::Unblock(_)), _) => None,
        (Way::Local(NextStep::Info(ask)), _) if !ask.upstreams.is_empty() => None,
        (Way::Refused, _) | (Way::Local(_) | Way::AbortTransaction(_), Class::Refused(_) | Class::Attack) => {
            Some(&counts.refused)
        }
        (Way::Local(_) | Way::Subscription(_) | Way::AbortTransaction(_) | Way::Unwatch, _) => Some(&counts.here),
    }
}

/// Counts a request that nobody may send here, or that is denied to its user.
fn note_refusal(class: Class, request: &Request<'_>, requester: &Requester<'_>) {
    if matches!(class, Class::Refused(_)) {
        let denied = &requester.state.limits(requester.settings).denied;
        let name = rules::refused_name(request, denied);
        requester.published.turned_away.note(Kind::Denied, requester.entry.address(), &name);
        requester.state.member().inspect(|member| member.denied());
    }
}

/// Answers a request that nobody may send before logging in.
fn demand_login(class: Class, request: &Request<'_>, requester: &Requester<'_>, out: &mut Vec<u8>) -> Option<Way> {
    if !requester.state.authenticated && !rules::may_precede_login(class) {
        let is_attack = class == Class::Attack;
        let kind = if is_attack { rules::attack(request) } else { Kind::NoLogin };
        requester.published.turned_away.note(kind, requester.entry.address(), "");
        write_error(out, if class == Class::Exec { errors::EXEC_NO_LOGIN } else { errors::NO_LOGIN });
        return Some(Way::Local(if is_attack { NextStep::Close } else { NextStep::Answered }));
    }
    None
}

/// Answers a request that its client may not make as things stand.
fn refuse(text: String, in_transaction: bool, out: &mut Vec<u8>) -> Way {
    if in_transaction {
        return Way::AbortTransaction(text);
    }
    write_error(out, &text);
    Way::Local(NextStep::Answered)
}

/// Answers a request that no other part of the session serves, or says where it goes.
fn answer(class: Class, request: &Request<'_>, requester: &mut Requester<'_>, out: &mut Vec<u8>) -> Way {
    match class {
        Class::Local(local) => {
            let from = out.len();
            let next = session_commands::answer(local, request, requester, out);
            monitored::show(local, request, requester, (&next, &out[from..]));
            Way::Local(next)
        }
        Class::Exec => {
            let text = if request.len() == 1 { "ERR EXEC without MULTI" } else { errors::EXEC_ARITY };
            write_error(out, text);
            Way::Local(NextStep::Answered)
        }
        Class::Refused(reason) => {
            rules::note_refusal(request, requester.published, requester.state);
            write_error(out, &errors::refused(reason));
            Way::Local(NextStep::Answered)
        }
        Class::Attack => {
            requester.published.turned_away.note(rules::attack(request), requester.entry.address(), "");
            Way::Local(NextStep::Close)
        }
        Class::Plain { .. } | Class::Unheard | Class::Multi | Class::Exclusive(_) => Way::Shared(alone(class, request)),
    }
}

fn alone(class: Class, request: &Request<'_>) -> Burst {
    let read_only = class == Class::Plain { read_only: true };
    let mut burst = Burst { replies_due: 1, read_only, ..Burst::default() };
    request.write(&mut burst.requests);
    burst
}
