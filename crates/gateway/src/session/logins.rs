//! As whom a session's requests run at the upstream, where that differs between users: whose connections it uses and,
//! where the upstream decides about logins, what its user may ask the gateway itself. Called by the session's other files.

use pool::{Access, Burst, Key, Login, LoginFailure};
use resp::{RequestLimits, write_request};
use settings::{DEFAULT_USER, SessionSettings};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    command::{class::Class, errors},
    config::operator::Operator,
    local_reply::requester::Requester,
    session::{rules, session::Session},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Gives a client that has to log in its time for that, from `since` on.
    pub(super) fn demand_login(&mut self, since: Instant) {
        if !self.state.authenticated {
            self.link.restrict(self.request_limits(), since + self.settings.login_timeout);
        }
    }

    /// Gives a client that has logged in the bounds of those who have.
    pub(super) fn admit(&mut self) {
        if self.state.authenticated {
            self.link.admit(self.request_limits());
        }
    }

    /// What one request may be, also for the upstream.
    fn request_limits(&self) -> RequestLimits {
        let limits = self.settings.limits;
        RequestLimits { bulk_bytes_max: limits.bulk_bytes_max.min(self.caller.bulk_max()), ..limits }
    }

    /// Has the session send what follows as the user of `login`, if the upstream lets it in. Otherwise it stays who it
    /// was, and this is the error reply.
    pub(super) async fn log_in(&mut self, login: &Login) -> Result<(), String> {
        if self.exclusive.borrows() {
            return Err(errors::LOGIN_WHILE_LENT.to_owned());
        }
        let entered = self.operator.logins().enter(login, self.settings.login_fresh).await;
        let name = login.name().unwrap_or(DEFAULT_USER);
        let access = entered.map_err(|failure| self.login_failed(name, &failure))?;
        self.become_user(name, access)
    }

    /// Has the session send what follows with the login of `user`, which the client has proved to be. Otherwise it stays
    /// who it was, and this is the error reply.
    pub(super) fn enter(&mut self, user: &str) -> Result<(), String> {
        if self.exclusive.borrows() {
            return Err(errors::LOGIN_WHILE_LENT.to_owned());
        }
        let access = access_of(user, &self.operator, &self.settings)?;
        self.become_user(user, access)
    }

    fn become_user(&mut self, name: &str, mut access: Access) -> Result<(), String> {
        let Self { state, link, settings, caller, .. } = self;
        let (entry, published) = (link.entry(), link.published());
        let mut requester = Requester { state, entry, published, settings, caller, executing: None, unread: 0 };
        requester.log_in(name)?;
        state.proven = false;
        access.exchange(&mut self.caller);
        self.admit();
        Ok(())
    }

    /// What the client is told whose login failed.
    fn login_failed(&mut self, name: &str, failure: &LoginFailure) -> String {
        match failure {
            LoginFailure::Refused(words) => {
                if words.starts_with("WRONGPASS") {
                    let shown = self.settings.users.shown(name.as_bytes());
                    self.link.published().login_refused(self.link.entry().address(), &shown);
                    self.state.failed_logins.add();
                }
                words.to_string()
            }
            LoginFailure::Unasked(reason) => errors::login_unasked(reason, &self.settings.upstream),
            LoginFailure::NoPool(reason) => errors::login_unasked(reason, &self.settings.upstream),
        }
    }

    /// The client is nobody any more, or the user that everybody is; or its user has another login now. False if that is not
    /// to be had, or not to be had any more, or if the client has a connection with the login before.
    pub(super) fn look_up_login(&mut self) -> bool {
        let users = &self.settings.users;
        let user = self.state.member().map_or("", |member| member.name());
        if users.elsewhere && self.state.authenticated {
            match self.state.proven {
                // It has one that nobody here knows.
                false => return true,
                true if !users.may_be_proven(user) => return false,
                true => {}
            }
        }
        let Ok(mut access) = access_of(user, &self.operator, &self.settings) else { return false };
        if self.exclusive.borrows() && !access.leads_as(&self.caller) {
            return false;
        }
        access.exchange(&mut self.caller);
        true
    }

    /// Finds out, before a request of this class, as whom it runs if nobody has logged in, and whether that user has the
    /// right to it where the gateway answers.
    pub(super) async fn identify(&mut self, class: Class) {
        let is_nobody = self.settings.users.elsewhere && !self.state.authenticated;
        if is_nobody && !rules::may_precede_login(class) && class != Class::Attack {
            self.enter_as_nobody().await;
        }
        self.state.refusal = None;
        if self.state.authenticated
            && let Some((request, is_about_others)) = rules::needs_right(class)
        {
            self.state.refusal = self.missing_right(request, is_about_others).await.map(String::into_boxed_str);
        }
    }

    /// Whether a client may stay that has not logged in, and whose time for that is over or whose request is larger than
    /// one before that. Whom the upstream takes without a login need not log in here either.
    pub(super) async fn stays_nobody(&mut self) -> bool {
        if self.settings.users.elsewhere {
            self.enter_as_nobody().await;
        }
        self.state.authenticated
    }

    /// Has the session send what follows as the upstream's default user, if that needs no password.
    async fn enter_as_nobody(&mut self) {
        let entered = self.operator.logins().enter(&Login::Nobody, self.settings.login_fresh).await;
        let Ok(mut access) = entered else { return };
        let accounts = &self.link.published().accounts;
        let Ok(member) = accounts.enter(DEFAULT_USER, &self.settings.of_users) else { return };
        access.exchange(&mut self.caller);
        self.join(member, false);
    }

    /// The error reply to a request that the client's user has no right to. What shows or does something to other clients
    /// is refused if the upstream cannot be asked.
    async fn missing_right(&self, request: &[&str], is_about_others: bool) -> Option<String> {
        let user = self.state.member().map_or(DEFAULT_USER, |member| member.name());
        let login = self.settings.users.login_of(user);
        let user = login.name().unwrap_or(user);
        let mut burst = Burst { replies_due: 1, ..Burst::default() };
        let words: Vec<&str> = ["ACL", "DRYRUN", user].into_iter().chain(request.iter().copied()).collect();
        write_request(&mut burst.requests, &words);
        let asked = match self.operator.pools().caller_on(self.caller.runtime()) {
            Some(mut caller) => caller.call(burst).await,
            None => return Some(errors::refused("the gateway is ending")),
        };
        let reply = asked.burst.replies;
        let denied = reply.strip_prefix(b"$").and_then(|rest| rest.split(|byte| *byte == b'\n').nth(1));
        match denied {
            // Some versions begin it as a sentence here, and not in an error reply.
            Some(words) => {
                let words = String::from_utf8_lossy(words);
                Some(format!("NOPERM {}", words.trim_end().replacen("This user", "this user", 1)))
            }
            None if reply == b"+OK\r\n" || !is_about_others => None,
            None => Some(errors::refused("the upstream cannot be asked whether this user may do that")),
        }
    }
}

/// The way into the pool with the login of `user`, or an error reply.
pub(super) fn access_of(user: &str, operator: &Operator, settings: &SessionSettings) -> Result<Access, String> {
    let found = operator.pools().find(&Key::login(settings.users.login_of(user)));
    found.map_err(|reason| errors::login_unasked(&reason, &settings.upstream))
}
