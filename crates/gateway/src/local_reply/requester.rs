//! Who makes a request to which the gateway replies itself, and what is left to do when the request has been read.

use std::sync::Arc;

use pool::{Caller, Facts, Login, Protocol};
use settings::SessionSettings;
use topology::Address;

use crate::{
    client::state::ClientState,
    command::errors,
    console::command::Ask,
    local_reply::{about_clients::AboutClients, info::InfoAsk},
    observe::{published::Published, registry::Entry, turned_away::Kind},
};

/// A client that makes a request.
// Open: a plain value, made by the session for one request and read by the commands.
pub(crate) struct Requester<'r> {
    pub(crate) state: &'r mut ClientState,
    pub(crate) entry: &'r Entry,
    pub(crate) published: &'r Published,
    pub(crate) settings: &'r SessionSettings,
    /// Knows what the upstream is.
    pub(crate) caller: &'r Caller,
    /// The size of the transaction that is being executed, if one is.
    pub(crate) executing: Option<usize>,
    /// Bytes that it has sent and that are not dealt with, those of the request at hand among them.
    pub(crate) unread: usize,
}

impl Requester<'_> {
    /// What the upstream has said of itself.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.caller.facts()
    }

    /// May use the console: is one of `auth.admins` or, while nobody has to log in, on this machine.
    pub(crate) fn is_admin(&self) -> bool {
        match self.state.user() {
            Some(user) => self.settings.admins.iter().any(|admin| **admin == **user),
            None => !self.settings.users.are_required() && self.entry.address().is_local(),
        }
    }

    /// The client has proved to be `user`.
    ///
    /// # Errors
    /// The user has as many clients as it may have; the error reply that says so.
    pub(crate) fn log_in(&mut self, user: &str) -> Result<(), String> {
        if self.state.user().is_some_and(|now| **now == *user) {
            return Ok(());
        }
        match self.published.accounts.enter(user, &self.settings.of_users) {
            Ok(member) => {
                self.state.join(member, true, self.settings);
                Ok(())
            }
            Err(max) => {
                self.published.turned_away.note(Kind::UserClients, self.entry.address(), user);
                Err(errors::user_clients_full(user, max))
            }
        }
    }
}

/// What is left to do after a request was read.
#[derive(PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Nothing: the reply, if there is one, is written.
    Answered,
    /// Close once the reply is out.
    Close,
    /// Enter a database, which has to exist.
    Select(u32),
    /// Ask the upstream whether this login is right, and answer `AUTH`.
    LogIn(Login),
    /// The password of this user was right: go by its connections, and answer `AUTH`.
    Enter(String),
    /// Answer `HELLO`, with what the upstream says of itself.
    Hello(Hello),
    /// Take back all state.
    Reset,
    /// Answer an operator.
    Console(Ask),
    /// Answer `INFO`.
    Info(InfoAsk),
    /// Look at the clients, while so much of the one that asks is [unread](Requester::unread).
    Clients(AboutClients, usize),
    /// Say what the upstream says to this, which gets so many replies.
    Ask(Vec<u8>, usize),
    /// Have the upstream unblock one of its connections.
    Unblock(Unblock),
}

/// A `CLIENT UNBLOCK` with the upstream's id.
// Open: a plain value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unblock {
    /// The request.
    pub(crate) request: Vec<u8>,
    /// The generation of the upstream whose id it is.
    pub(crate) generation: u64,
    /// At which node, where there are several.
    pub(crate) node: Option<Address>,
}

/// A `HELLO` in order, not in force yet.
// Open: a plain value, read from a request and put in force by `greet`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The version asked for, if one was.
    pub(crate) protocol: Option<Protocol>,
    /// `SETNAME`.
    pub(crate) name: Option<Vec<u8>>,
    /// The user of an `AUTH` with the right password.
    pub(crate) user: Option<String>,
    /// The same where the upstream has still to be asked.
    pub(crate) login: Option<Login>,
    /// What is wrong with what stands behind the `AUTH`, which holds all the same.
    pub(crate) fault: Option<String>,
}

/// Why a `HELLO` is none to be put in force.
// Open: a plain value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoHello<'r> {
    /// Its sender is told this.
    Malformed(String),
    /// The password is wrong, or there is no such user as this.
    Login(&'r [u8]),
}
