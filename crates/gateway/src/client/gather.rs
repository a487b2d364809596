//! Gathers complete requests into a burst, as far as they may go together. No I/O. Called by `input`.

use std::collections::HashSet;

use cluster::Routes;
use pool::Burst;
use resp::{Decoded, Request, RequestDecoder, RequestError};
use settings::{SessionSettings, UserLimits};

use crate::{
    command::{
        class::{Class, Upstream},
        classify::{is_listed, table},
        errors,
        told::names::{Listed, Names},
    },
    observe::presence::Presence,
};

/// Why gathering stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// What is left is no whole request.
    Incomplete,
    /// The burst has as much as it may have; what is left has not been looked at.
    Full,
    /// The next request does not go with the burst; see [`Input::take_other`](crate::client::input::Input::take_other).
    Other(Class),
    /// An empty request, of a client whose requests are looked at by themselves: it counts as one.
    Nothing,
    /// What is left cannot be framed.
    Malformed(RequestError),
    /// What came begins a TLS handshake.
    Tls,
    /// Unfinished requests of all sessions fill the memory they may have.
    OutOfMemory,
    /// The client sends no more.
    End,
}

/// What may go into one burst.
// Open: a plain value, made by the session for each look at the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'c> {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
    /// Requests of a transaction, which is not cut.
    pub(crate) transaction: usize,
    pub(crate) upstream: Upstream,
    /// A transaction is no block to be kept together here: the session has an exclusive connection, or a `WATCH` was
    /// refused.
    pub(crate) lent: bool,
    /// Every request is looked at by itself: before a login, in a transaction that was refused, after a `SELECT` that
    /// failed, while one reply is to be left out, or after a `CLIENT CACHING`.
    pub(crate) singly: bool,
    /// Bytes of unfinished requests of all sessions together.
    pub(crate) unfinished: usize,
    /// A request of more bytes is to have a connection of its own.
    pub(crate) alone: usize,
    pub(crate) denied: &'c HashSet<Vec<u8>>,
    /// Commands of which the operator says that they block.
    pub(crate) blocking: &'c HashSet<Vec<u8>>,
}

impl<'c> Bounds<'c> {
    /// Of so many requests, of a client whose requests go together and whose user has these limits.
    pub(crate) fn new(settings: &'c SessionSettings, limits: &'c UserLimits, requests: usize) -> Self {
        Self {
            requests,
            bytes: settings.batch_bytes_max,
            transaction: settings.batch_max,
            upstream: Upstream::of(settings),
            lent: false,
            singly: false,
            unfinished: settings.input_bytes_max,
            alone: usize::MAX,
            denied: &limits.denied,
            blocking: &settings.blocking,
        }
    }

    /// The class of a request.
    fn class(&self, request: &Request<'_>, names: &Names) -> Class {
        if !self.denied.is_empty() && is_listed(request, self.denied) {
            return Class::Refused(errors::DENIED);
        }
        let (name, upstream) = (request.arg(0).unwrap_or_default(), self.upstream);
        let listed = Listed { denied: self.denied, blocking: self.blocking };
        table(name, request, upstream).unwrap_or_else(|| names.class(request, upstream, listed))
    }
}

/// Where to note the routes of a burst, if it may go to the nodes of a cluster.
pub(super) fn noted<'r>(
    routes: &'r mut Option<Box<Routes>>,
    burst: &Burst,
    bounds: &Bounds<'_>,
    presence: &Presence,
) -> Option<&'r mut Routes> {
    let cluster = presence.published().cluster.get().filter(|_| !bounds.lent && !bounds.singly)?;
    if burst.replies_due == 0 {
        *routes = Some(Box::new(cluster.routes()));
    }
    routes.as_deref_mut()
}

/// Moves complete requests from the beginning of `bytes` into `burst`, and notes their `routes`. Returns how many bytes are
/// dealt with, how many are missing of the next request, and why it stopped.
pub(super) fn gather(
    bytes: &[u8],
    decoder: &mut RequestDecoder,
    burst: &mut Burst,
    (bounds, names): (Bounds<'_>, &Names),
    mut routes: Option<&mut Routes>,
) -> (usize, usize, Stop) {
    let mut used = 0;
    let mut transaction: Option<Mark> = None;
    let (missing, stop) = loop {
        let open = transaction.is_some();
        let requests_max = if open { bounds.transaction } else { bounds.requests };
        if burst.replies_due as usize >= requests_max || burst.requests.len() >= bounds.bytes {
            break (0, Stop::Full);
        }
        match decoder.decode(&bytes[used..]) {
            Err(error) => {
                // Whoever logs in may have it looked at anew.
                *decoder = decoder.restarted();
                break (0, Stop::Malformed(error));
            }
            Ok(Decoded::Incomplete { missing }) => break (missing, Stop::Incomplete),
            Ok(Decoded::Nothing { len }) => {
                used += len;
                if bounds.singly {
                    break (0, Stop::Nothing);
                }
            }
            Ok(Decoded::Request { len }) => {
                let request = decoder.request(&bytes[used..]);
                let class = bounds.class(&request, names);
                let read_only = match class {
                    Class::Plain { .. } | Class::Multi if bounds.singly || len > bounds.alone => {
                        break (0, Stop::Other(class));
                    }
                    Class::Multi if bounds.lent => break (0, Stop::Other(class)),
                    // Its transaction is no block either: the other primaries have a part in it.
                    Class::Plain { .. } if open && names.spreads_within(&request) => break (0, Stop::Other(class)),
                    Class::Plain { read_only } => read_only && !open,
                    Class::Multi if !open => {
                        transaction = Some(Mark::new(used, burst));
                        false
                    }
                    // Nested; the upstream has the words for it.
                    Class::Multi => false,
                    Class::Exec if open => {
                        transaction = None;
                        burst.transaction = true;
                        false
                    }
                    Class::Local(_)
                    | Class::Exec
                    | Class::Exclusive(_)
                    | Class::Unheard
                    | Class::Refused(_)
                    | Class::Attack => {
                        break (0, Stop::Other(class));
                    }
                };
                if burst.requests.is_empty() {
                    // Once for all that go along, if they are like the first: growing step by step costs as
                    // much as the framing.
                    let alike = len.saturating_mul(bounds.requests).min(bounds.bytes);
                    burst.requests.reserve(len.max(alike.min(bytes.len() - used)));
                }
                burst.read_only = read_only && (burst.replies_due == 0 || burst.read_only);
                request.write(&mut burst.requests);
                burst.replies_due += 1;
                routes.iter_mut().for_each(|routes| routes.add(&request, burst.requests.len()));
                used += len;
            }
        }
    };
    match transaction {
        None => (used, missing, stop),
        // Its EXEC is not here: what came before goes first, then MULTI is looked at by itself.
        Some(mark) => {
            mark.restore(burst);
            *decoder = decoder.restarted();
            let stop = if burst.replies_due > 0 { Stop::Full } else { Stop::Other(Class::Multi) };
            (mark.used, 0, stop)
        }
    }
}

/// Where a transaction began, to go back to.
struct Mark {
    used: usize,
    requests: usize,
    replies_due: u32,
    read_only: bool,
}

impl Mark {
    fn new(used: usize, burst: &Burst) -> Self {
        Self { used, requests: burst.requests.len(), replies_due: burst.replies_due, read_only: burst.read_only }
    }

    fn restore(&self, burst: &mut Burst) {
        burst.requests.truncate(self.requests);
        burst.replies_due = self.replies_due;
        burst.read_only = self.read_only;
    }
}
