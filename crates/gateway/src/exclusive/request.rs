//! A request on its way to an exclusive connection: what goes out for it, how many replies that gets, and
//! what it changes. Made by `dispatch` from the client's request, executed by `exclusive_mode`.

use std::{sync::atomic::Ordering, time::Duration};

use pool::Burst;
use resp::{Request, parse_integer, write_request};

use crate::{
    command::class::{Class, Reason},
    exclusive::{
        blocking_time::patience,
        lending::{Change, Lending},
        placeholder::Noted,
    },
    observe::registry::Registry,
};

/// A request on its way to an exclusive connection, copied out of the input.
pub(crate) struct Single {
    pub(crate) reason: Reason,
    pub(crate) change: Change,
    pub(crate) requests: Vec<u8>,
    /// Replies that will come.
    pub(crate) due: u32,
    /// Requests of the client's own, as they are counted: one that subscribes may get many replies.
    pub(crate) counted: u32,
    /// Replies at the beginning that the client has not asked for.
    pub(crate) swallow: u32,
    /// How long it may wait in the upstream; `None` is for ever.
    pub(crate) patience: Option<Duration>,
    /// The client's own request, where another stands in for it in a transaction.
    pub(crate) stood_in: Option<Vec<u8>>,
    /// How long it waited for its connection.
    pub(crate) waited: Duration,
}

impl Single {
    pub(crate) fn new(class: Class, request: &Request<'_>, lending: Option<&Lending>, registry: &Registry) -> Self {
        let redirected = (class == Class::Exclusive(Reason::Tracking)).then(|| redirected(request, registry)).flatten();
        let change = Change::of(class, request);
        let reason = match class {
            Class::Exclusive(reason) => reason,
            Class::Multi => Reason::Transaction,
            Class::Here(_) | Class::Exec | Class::Plain { .. } | Class::Refused(_) | Class::Attack => Reason::Other,
        };
        let names = u32::try_from(request.len() - 1).unwrap_or(u32::MAX);
        let mut due = match lending {
            Some(lending) => lending.due(change, request),
            None if change == Change::Subscribe => names.max(1),
            None => 1,
        };
        let mut single = Self { reason, change, ..Self::simple(Vec::new(), 0) };
        if single.waits() {
            single.patience = patience(request);
        }
        if reason == Reason::Wait && !lending.is_some_and(|lending| lending.multi) {
            // WAIT counts from its own connection's last write; any command executed brings that up to date.
            write_request(&mut single.requests, &["PING"]);
            single.swallow = 1;
            due += 1;
        }
        match redirected {
            Some(args) => write_request(&mut single.requests, &args),
            None => request.write(&mut single.requests),
        }
        single.due = due;
        single
    }

    /// `requests`, of which one reply comes, and nothing to take note of.
    pub(crate) fn simple(requests: Vec<u8>, swallow: u32) -> Self {
        Self {
            reason: Reason::Other,
            change: Change::None,
            requests,
            due: 1,
            counted: 1 - swallow,
            swallow,
            patience: Some(Duration::ZERO),
            stood_in: None,
            waited: Duration::ZERO,
        }
    }

    /// Requests that were gathered, with a reply to each.
    pub(crate) fn burst(burst: Burst) -> Self {
        let due = burst.replies_due;
        Self { due, counted: due, ..Self::simple(burst.requests, 0) }
    }

    /// A request of a transaction that the gateway answers once that is executed.
    pub(crate) fn standing_in(stand_in: Vec<u8>, request: &Request<'_>) -> Self {
        let mut stood_in = Vec::new();
        request.write(&mut stood_in);
        Self { stood_in: Some(stood_in), ..Self::simple(stand_in, 0) }
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
        match (self.stood_in.take(), self.change) {
            (Some(request), _) => Some(Noted::Answer(request)),
            (None, Change::None | Change::EndMulti) => None,
            (None, change) => Some(Noted::Change(change)),
        }
    }

    /// It may stay in the upstream for as long as it says.
    pub(crate) fn waits(&self) -> bool {
        matches!(self.reason, Reason::Blocking | Reason::Wait)
    }
}

/// `CLIENT TRACKING … REDIRECT id` with the upstream's id of the connection that the session of that id borrows.
fn redirected(request: &Request<'_>, registry: &Registry) -> Option<Vec<Vec<u8>>> {
    let mut args: Vec<Vec<u8>> = request.args().map(<[u8]>::to_vec).collect();
    let at = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"REDIRECT"))? + 1;
    let id = parse_integer(args.get(at)?)?;
    let session = registry.all().into_iter().find(|entry| i64::try_from(entry.id) == Ok(id))?;
    let lent_id = session.lent_id.load(Ordering::Acquire);
    args[at] = lent_id.to_string().into_bytes();
    (lent_id > 0).then_some(args)
}
