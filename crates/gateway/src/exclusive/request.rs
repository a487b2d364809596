//! A request on its way to an exclusive connection: what goes out for it, how many replies that gets, and
//! what it changes. Made by the session from the client's request, executed by `exchange`.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    time::Duration,
};

use pool::{Burst, Caller, Facts, OWN};
use resp::{Request, write_request};
use tokio::time::Instant;
use topology::Address;

use crate::{
    command::{
        blocking_time::blocking_time,
        class::{Class, Local, Reason},
        full_name::{full_name, last_full_name},
    },
    exclusive::{change::Change, lending::Lending, tracking::redirect::Redirect, transaction::queued::Noted},
    observe::registry::Registry,
};

/// A request on its way to an exclusive connection, copied out of the input.
pub(crate) struct ExclusiveRequest {
    pub(super) reason: Reason,
    pub(super) change: Change,
    pub(super) requests: Vec<u8>,
    /// As `CLIENT LIST` shows it, where it is the client's own.
    pub(super) command: Option<String>,
    /// Replies that will come.
    pub(super) due: u32,
    /// Requests of the client's own, as they are counted: one that subscribes may get many replies.
    pub(super) counted: u32,
    /// Replies at the beginning that the client has not asked for.
    pub(super) swallow: u32,
    /// How long it may block in the upstream; `None` is for ever.
    pub(super) blocks_for: Option<Duration>,
    /// What is to be done once it is executed, where a placeholder takes its place in a transaction.
    pub(super) own: Option<Noted>,
    /// What is to be translated first: then there are requests.
    pub(super) redirect: Option<Box<Redirect>>,
    /// The node of a cluster that is to be asked for it, though it does not have the slot yet.
    pub(super) asks: Option<Address>,
    /// Its stream has gone, or moved to another node of a cluster.
    pub(super) was_gone: bool,
    /// It has to overtake what others wait for, and depends on no database.
    pub(super) overtakes: bool,
    /// What is known of the upstream is to be learnt anew once it is executed.
    pub(super) teaches: bool,
    /// Nobody knows what it changes about its connection.
    pub(super) marks: bool,
    /// How long it waited for its connection.
    pub(super) waited: Duration,
    /// Until when it is asked again if a node refuses it because it has become a replica.
    pub(super) again_until: Option<Instant>,
    /// Where the client's own request begins.
    pub(super) own_from: usize,
}

/// What `FUNCTION DUMP` says where there is no function, in a version of the format that all know since Redis 7.
const NO_FUNCTIONS: &[u8] = b"\x0a\x00\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda";

/// Of which nothing is wanted but that it is executed.
const OWN_PING: &[&[u8]] = &[b"PING", OWN.as_bytes()];

/// What brings up to date from where `WAIT` counts on its connection: as if all writes so far had been made there.
fn counted_from(caller: &Caller, lending: Option<&Lending>) -> &'static [&'static [u8]] {
    match () {
        // A monitor may not write.
        () if lending.is_some_and(Lending::is_monitor) => OWN_PING,
        // Since then that is the last write there. This is one, which replicas are told of, and changes nothing.
        () if caller.facts().is_since(7, 2) => &[b"FUNCTION", b"RESTORE", NO_FUNCTIONS],
        // Before, any command did. That needs no rights, where there may be none.
        () if caller.is_guest() => &[b"HELLO"],
        () => OWN_PING,
    }
}

impl ExclusiveRequest {
    /// What has to go before it goes there too, if it `prepares`.
    pub(crate) fn new(
        class: Class,
        request: &Request<'_>,
        (lending, prepares): (Option<&Lending>, bool),
        (registry, caller): (&Registry, &Caller),
    ) -> Self {
        let change = Change::of(class, request);
        let reason = match class {
            Class::Exclusive(reason) => reason,
            Class::Multi => Reason::Transaction,
            Class::Local(_)
            | Class::Exec
            | Class::Plain { .. }
            | Class::Unheard
            | Class::Refused(_)
            | Class::Attack => Reason::Other,
        };
        let names = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
        let mut due = match lending {
            Some(lending) => lending.due(change, request),
            None if change == Change::Subscribe => names.max(1),
            None => 1,
        };
        let command = Some(full_name(request));
        let mut made = Self { reason, change, command, ..Self::simple(Vec::new(), 0) };
        made.overtakes = class == Class::Exclusive(Reason::Other)
            && request.arg(0).is_some_and(|name| !name.eq_ignore_ascii_case(b"DEBUG"));
        made.teaches = class == Class::Exclusive(Reason::Other)
            && request.arg(1).is_some_and(|name| name.eq_ignore_ascii_case(b"SET"))
            && request.args().skip(2).step_by(2).any(Facts::depend_on);
        made.marks = class == Class::Local(Local::ClientUnknown);
        if made.waits() {
            made.blocks_for = blocking_time(request);
        }
        if reason == Reason::Wait && prepares {
            write_request(&mut made.requests, counted_from(caller, lending));
            made.swallow = 1;
            made.own_from = made.requests.len();
            due += 1;
        }
        if matches!(change, Change::Tracking { .. }) {
            made.redirect = Redirect::read(request, registry).map(Box::new);
        }
        if made.redirect.is_none() {
            request.write(&mut made.requests);
        }
        made.due = due;
        made
    }

    /// `requests`, of which one reply comes, and nothing to take note of.
    pub(crate) fn simple(requests: Vec<u8>, swallow: u32) -> Self {
        Self {
            reason: Reason::Other,
            change: Change::None,
            requests,
            command: None,
            due: 1,
            counted: 1 - swallow,
            swallow,
            blocks_for: Some(Duration::ZERO),
            own: None,
            redirect: None,
            asks: None,
            was_gone: false,
            overtakes: false,
            teaches: false,
            marks: false,
            waited: Duration::ZERO,
            again_until: None,
            own_from: 0,
        }
    }

    /// `requests`, of whose `due` replies the client has asked for none.
    pub(super) fn unasked(requests: Vec<u8>, due: u32) -> Self {
        Self { due, counted: 0, swallow: due, ..Self::simple(requests, 1) }
    }

    /// Has the upstream watch nothing any more, which the client has not asked for.
    pub(crate) fn unwatch() -> Self {
        let mut requests = Vec::new();
        write_request(&mut requests, &["UNWATCH"]);
        Self { change: Change::Unwatch, ..Self::simple(requests, 1) }
    }

    /// Has the upstream give up the transaction, where the client has asked for its execution.
    pub(super) fn discard() -> Self {
        let mut requests = Vec::new();
        write_request(&mut requests, &["DISCARD"]);
        Self { change: Change::EndMulti, counted: 1, ..Self::simple(requests, 1) }
    }

    /// Requests that were gathered, with a reply to each.
    pub(crate) fn burst(burst: Burst) -> Self {
        let (due, command) = (burst.replies_due, last_full_name(&burst.requests));
        Self { due, counted: due, command, ..Self::simple(burst.requests, 0) }
    }

    /// A request of a transaction that the gateway answers, as `noted` says, once that is executed.
    pub(crate) fn with_placeholder(request: &Request<'_>, placeholder: Vec<u8>, noted: Noted) -> Self {
        Self { own: Some(noted), command: Some(full_name(request)), ..Self::simple(placeholder, 0) }
    }

    /// Errors that the client gets instead of all replies: as in Redis, one for all confirmations of a request.
    pub(crate) fn errors(&self) -> u32 {
        match self.change {
            Change::Subscribe => 1,
            _ => self.due.saturating_sub(self.swallow).max(1),
        }
    }

    /// What is to be taken note of when it is queued in a transaction.
    pub(crate) fn noted(&mut self) -> Option<Noted> {
        match (self.own.take(), self.change) {
            (Some(noted), _) => Some(noted),
            (None, Change::None | Change::EndMulti | Change::Caching) => None,
            (None, change) => Some(Noted::Change(change)),
        }
    }

    /// Whether the loss of its connection by `error` is all the answer that it gets: Redis ends without a word, and its
    /// clients take the end of their connection for that.
    pub(super) fn is_ended_by(&self, error: &io::Error) -> bool {
        self.command.as_deref() == Some("shutdown") && error.kind() != io::ErrorKind::NotConnected
    }

    /// The client's own request, behind what is sent before it.
    pub(super) fn own_request(&self) -> &[u8] {
        &self.requests[self.own_from..]
    }

    /// By which the same request is known again. Half of a hash is enough, as only its sender could be taken in by it.
    pub(super) fn hash(&self) -> u32 {
        let mut hasher = DefaultHasher::new();
        self.requests.hash(&mut hasher);
        (hasher.finish() >> 32) as u32
    }

    /// It may stay in the upstream for as long as it says.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.reason, Reason::Blocking | Reason::Wait)
    }
}
