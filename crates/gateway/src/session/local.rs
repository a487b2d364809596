//! Local replies that take more than the client's state: the upstream is asked first, or other parts of the session
//! change with it. Called by `request`.

use std::sync::Arc;

use pool::{Burst, JobError, OWN};
use resp::{Protocol, write_error, write_request, write_simple};
use settings::DEFAULT_USER;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    command::{
        class::{Class, Upstream},
        classify::PLAIN,
        errors,
        told::names::Listed,
    },
    local_reply::{
        about_clients::AboutClients,
        info::{self, InfoAsk},
        requester::{Hello, Requester, Unblock},
        session_commands,
    },
    observe::{published::Published, turned_away::Kind},
    session::session::Session,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Enters a database once the upstream has said that it exists.
    pub(super) async fn select(&mut self, db: u32) -> bool {
        let mut burst = Burst { needs: self.state.needs, ..Burst::default() };
        burst.needs.db = db;
        match self.caller.call(burst).await.failure {
            None => {
                self.state.needs.db = db;
                self.state.select_failed = None;
                write_simple(self.link.output(), "OK");
            }
            Some(failure) => {
                self.link.fail(&failure, 1, &self.settings.upstream);
                // The upstream's own refusal leaves the client where it was.
                if !matches!(failure, JobError::StateRefused(_)) {
                    self.state.select_failed = Some(Box::new(failure));
                }
            }
        }
        true
    }

    /// Answers an `AUTH` that came to this.
    pub(super) fn answer_auth(&mut self, entered: Result<(), String>) -> bool {
        match entered {
            Ok(()) => write_simple(self.link.output(), "OK"),
            Err(text) => write_error(self.link.output(), &text),
        }
        true
    }

    /// Answers `HELLO` as the upstream answered it, with the client's own id.
    pub(super) async fn hello(&mut self, mut hello: Hello, published: &Published) -> bool {
        let is_known = self.settings.users.are_known_upstream();
        let entered = match (hello.login.take(), &hello.user) {
            (Some(login), _) => Box::pin(self.log_in(&login)).await,
            (None, Some(user)) if is_known => self.enter(user),
            (None, Some(_)) => Ok(()),
            (None, None) if self.state.authenticated || Box::pin(self.stays_nobody()).await => Ok(()),
            (None, None) => Err(errors::hello_without_login(&self.caller.facts())),
        };
        if let Some(text) = entered.err().or(hello.fault.take()) {
            write_error(self.link.output(), &text);
            return true;
        }
        if self.caller.facts().hello(Protocol::Resp2, 0).is_none() {
            // Nobody has logged in yet, unless the upstream knows no HELLO: an empty job waits for that.
            let burst = Burst { needs: self.state.needs, ..Burst::default() };
            if let Some(failure) = self.caller.call(burst).await.failure {
                self.link.fail(&failure, 1, &self.settings.upstream);
                return true;
            }
        }
        let facts = self.caller.facts();
        let protocol = hello.protocol.unwrap_or(self.state.needs.protocol);
        let switches = facts.speaks(protocol) && protocol != self.state.needs.protocol;
        if switches && !self.exchange().switch_protocol(protocol).await {
            return false;
        }
        if switches && self.state.is_muted() {
            // What was pushed meanwhile is not left out.
            self.flush().await;
        }
        let Self { link, state, settings, caller, .. } = self;
        let entry = &Arc::clone(link.entry());
        let mut requester = Requester { state, entry, published, settings, caller, executing: None, unread: 0 };
        session_commands::greet(hello, &facts, &mut requester, link.output());
        self.admit();
        true
    }

    /// The class of a request whose command nobody here has heard of: the upstream is asked what it is, which counts as a
    /// request of its user. Asked in vain, the request is refused.
    pub(super) async fn heard(&mut self, published: &Published) -> Class {
        if !self.state.authenticated {
            return PLAIN;
        }
        let Some(name) = self.link.look_at_request(|request| request.arg(0).unwrap_or_default().to_vec()) else {
            return PLAIN;
        };
        let refusal = match self.state.charge(1, &self.settings, self.exclusive.is_in_transaction()) {
            Ok(()) => self.ask_of(&name, published).await.err(),
            Err(wait) => {
                let user = self.state.member().map_or(DEFAULT_USER, |member| member.name());
                published.turned_away.note(Kind::UserRequests, self.link.entry().address(), user);
                Some(errors::user_requests_full(user, self.state.limits(&self.settings), wait))
            }
        };
        let (settings, upstream) = (self.settings.shared(), Upstream::of(&self.settings));
        let listed = Listed { denied: &self.state.limits(&settings).denied, blocking: &settings.blocking };
        let class = self.link.look_at_request(|request| published.names.class(request, upstream, listed));
        let refusal = refusal.or_else(|| (class == Some(Class::Unheard)).then(|| errors::UNHEARD.to_owned()));
        self.state.refusal = refusal.map(String::into_boxed_str);
        class.filter(|class| *class != Class::Unheard).unwrap_or(PLAIN)
    }

    /// Asks the upstream what the command of this name is.
    ///
    /// # Errors
    /// It does not say for now; holds what the client is told.
    async fn ask_of(&mut self, name: &[u8], published: &Published) -> Result<(), String> {
        let mut burst = Burst { needs: self.state.needs, replies_due: 1, read_only: true, ..Burst::default() };
        write_request(&mut burst.requests, &[b"COMMAND".as_slice(), b"INFO", name, OWN.as_bytes()]);
        // As the gateway's own user: the client's may lack the right.
        let mut first = self.operator.pools().caller_on(self.caller.runtime());
        let caller = first.as_mut().unwrap_or(&mut self.caller);
        let asked = caller.call(burst).await;
        if let Some(failure) = asked.failure {
            published.failed(&failure, 1, self.link.entry().address());
            return Err(errors::job(&failure, &self.settings.upstream));
        }
        published.names.learn(caller.facts().generation(), name, asked.burst.replies)
    }

    /// Answers a request as the upstream does, which is asked once.
    pub(super) async fn ask(&mut self, request: Vec<u8>, due: usize, published: &Published) -> bool {
        let (generation, protocol) = (self.caller.facts().generation(), self.state.needs.protocol);
        // What one user is told need not hold for another.
        let remembered = (!self.caller.is_guest()).then_some(&published.remembered);
        if let Some(answer) = remembered.and_then(|remembered| remembered.answer(generation, protocol, &request)) {
            self.link.output().extend_from_slice(&answer);
            return true;
        }
        match self.exchange().ask(&request, due).await {
            Ok(answer) => {
                self.link.output().extend_from_slice(&answer);
                if let Some(remembered) = remembered {
                    remembered.learn(generation, protocol, request, &answer);
                }
            }
            Err(failure) => self.link.fail(&failure, 1, &self.settings.upstream),
        }
        true
    }

    /// Answers an `INFO`.
    pub(super) async fn info(&mut self, ask: InfoAsk, published: &Published) -> bool {
        let (protocol, clients_max) = (self.state.needs.protocol, self.settings.clients_max);
        let is_asked = !ask.upstreams.is_empty();
        if let Err(wait) = self.state.charge(u32::from(is_asked), &self.settings, false) {
            self.refuse_for_now(1, wait);
            return true;
        }
        let upstreams = match is_asked {
            true => self.upstreams_info(ask.upstreams).await,
            false => Some(Vec::new()),
        };
        let out = self.link.output();
        match upstreams {
            Some(said) if ask.has_own => info::answer(&said, protocol, &self.operator, published, out).await,
            Some(said) => info::show(&said, (protocol, clients_max), published, out).await,
            None => {}
        }
        true
    }

    /// What the upstream says to an `INFO`: of a cluster, what its primaries say together. `None` where the client has been
    /// told why it says nothing.
    async fn upstreams_info(&mut self, requests: Vec<u8>) -> Option<Vec<u8>> {
        let needs = self.state.needs;
        let mut burst = Burst { requests, replies_due: 1, needs, read_only: true, ..Burst::default() };
        let Self { caller, link, settings, operator, .. } = self;
        let Some(cluster) = operator.cluster() else {
            let failure = caller.execute(&mut burst).await.err();
            failure.as_ref().inspect(|failure| link.fail(failure, 1, &settings.upstream));
            return failure.is_none().then_some(burst.replies);
        };
        let text = |failure: &JobError| errors::job(failure, &settings.upstream);
        let executed = cluster.execute(caller, &mut burst, None, &text, None, Instant::now()).await;
        for (failure, failed) in &executed.failed {
            link.published().failed(failure, *failed, link.entry().address());
        }
        Some(burst.replies)
    }

    /// Answers what is asked about clients; false to close.
    pub(super) async fn about_clients(&mut self, ask: AboutClients, unread: usize, published: &Published) -> bool {
        let Self { link, state, settings, caller, .. } = self;
        let entry = &Arc::clone(link.entry());
        let mut requester = Requester { state, entry, published, settings, caller, executing: None, unread };
        ask.answer(&mut requester, link).await
    }

    /// Has the upstream unblock one of its connections.
    pub(super) async fn unblock(&mut self, unblock: Unblock) -> bool {
        Box::pin(self.exchange().unblock_other(unblock)).await;
        true
    }

    /// `RESET`: the session is as new, and what was lent is given back.
    pub(super) fn reset(&mut self) -> bool {
        self.exclusive.end();
        self.subscriptions.end();
        let authenticated = !self.settings.users.are_required();
        self.state.reset(self.settings.db, authenticated);
        if self.settings.users.are_known_upstream() && !self.look_up_login() {
            return false;
        }
        self.demand_login(Instant::now());
        self.link.entry().renamed(b"");
        write_simple(self.link.output(), "RESET");
        true
    }
}
