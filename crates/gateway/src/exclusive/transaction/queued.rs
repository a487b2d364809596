//! What the upstream has queued of a transaction, and its reply to `EXEC` while it comes. Owned by a lending, told by
//! `exchange`.

use std::{
    borrow::Cow,
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
};

use cluster::{OfAll, Taught};
use resp::write_request;
use zeroize::Zeroizing;

use crate::{
    exclusive::{
        change::Change,
        incoming::message::Message,
        request::ExclusiveRequest,
        transaction::executed::{Executed, Items, confirmed_at},
    },
    local_reply::requester::Hello,
};

/// What the upstream has queued in a transaction, as far as its execution concerns the gateway.
#[derive(Default)]
pub(crate) struct QueuedTransaction {
    count: usize,
    /// A request was refused, so that it will not be executed.
    refused: bool,
    /// What the request sent last will be, once it is queued.
    pending: Option<Noted>,
    noted: Vec<(usize, Noted)>,
    /// Of memory, for what is noted.
    bytes: usize,
    /// The reply to `EXEC` as far as it has come, where messages stand in it that its length does not count; and how many
    /// replies it has in it.
    begun: Vec<u8>,
    replies: usize,
    /// No command has this name. The error that says so ends that reply, where it may hold messages of subscriptions.
    end: Option<Box<str>>,
    /// The client is shown what the upstream does, in lines that stand in that reply.
    monitors: bool,
}

/// What the gateway has to do when a queued request has been executed.
#[derive(PartialEq, Eq)]
pub(crate) enum Noted {
    /// Answer this request; a placeholder was executed in its place.
    Answer(Zeroizing<Vec<u8>>),
    /// Put this `HELLO` in force, whose password was right when it was queued. The connection has changed its protocol
    /// with it.
    Hello(Box<Hello>),
    /// Answer this `CLIENT UNBLOCK`, unless what was executed in its place has unblocked the client already.
    Unblock(Zeroizing<Vec<u8>>),
    /// Take note of a change of state, unless the reply is an error.
    Change(Change),
    /// Take note of what the reply says of the scripts that a cluster knows.
    Script(Box<Taught>),
    /// Show what the upstream says of itself with the gateway's clients, and that of a cluster in the words of a Redis that
    /// stands alone.
    Info,
    /// All primaries of a cluster have executed it: make one reply of theirs.
    OfAll(Box<OfAll>),
}

impl QueuedTransaction {
    /// How many requests.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of memory for what has been noted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A request is on its way.
    pub(crate) fn expect(&mut self, noted: Option<Noted>) {
        self.bytes += noted.as_ref().map_or(0, Noted::bytes);
        self.pending = noted;
    }

    /// A reply has come within the transaction.
    pub(crate) fn saw(&mut self, reply: &[u8]) {
        let pending = self.pending.take();
        if reply.starts_with(b"+QUEUED") {
            self.noted.extend(pending.map(|noted| (self.count, noted)));
            self.count += 1;
        }
        self.refused |= reply.starts_with(b"-");
    }

    /// What all primaries of a cluster are to execute, in order.
    pub(in crate::exclusive) fn of_all(&self) -> impl Iterator<Item = &OfAll> {
        self.noted.iter().filter_map(|(_, noted)| match noted {
            Noted::OfAll(of_all) => Some(&**of_all),
            _ => None,
        })
    }

    /// Whether the reply to `EXEC` is its client's as it is.
    pub(in crate::exclusive) fn is_as_it_is(&self) -> bool {
        self.noted.is_empty() && self.end.is_none()
    }

    /// Whether a request was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// What is sent for a request. One that ends the transaction is followed by one more if messages may stand in its
    /// reply: in RESP2 they are arrays like others. That one takes no rights, and no client can know its answer.
    pub(in crate::exclusive) fn sent_with<'r>(&mut self, request: &'r ExclusiveRequest) -> Cow<'r, [u8]> {
        if request.change != Change::EndMulti || confirmed_at(&self.noted).next().is_none() {
            return Cow::Borrowed(&request.requests);
        }
        let [first, second] = [(); 2].map(|()| RandomState::new().build_hasher().finish());
        let name = format!("respool-{first:016x}{second:016x}");
        let mut requests = request.requests.clone();
        write_request(&mut requests, &[&name]);
        self.end = Some(name.into());
        Cow::Owned(requests)
    }

    /// Whether the reply to `EXEC` is whole with what begins at `at` in `out`, and is `seen` as this; otherwise it is kept
    /// until more has come. Messages of subscriptions, and lines that are shown to a client that `monitors`, are no items
    /// for all that they stand in it.
    pub(in crate::exclusive) fn gather(&mut self, out: &mut Vec<u8>, at: usize, seen: Message, monitors: bool) -> bool {
        self.monitors = monitors;
        let (part, is_of_more) = (&out[at..], !self.begun.is_empty());
        let is_whole = match &self.end {
            Some(end) => part.starts_with(b"-") && part.windows(end.len()).any(|name| name == end.as_bytes()),
            None if !monitors || matches!(seen, Message::Push | Message::Monitored) => return true,
            None if is_of_more => {
                self.replies += 1;
                self.replies >= self.count
            }
            None => {
                let Some(replies) = Items::replies(part) else { return true };
                self.replies = replies;
                self.replies >= self.count
            }
        };
        if self.end.is_none() || !is_whole {
            self.begun.extend_from_slice(part);
        }
        out.truncate(at);
        if is_whole {
            out.append(&mut self.begun);
        }
        is_whole
    }

    /// Takes the reply to `EXEC` apart. `None` if nothing was noted, or nothing was executed.
    pub(crate) fn executed(self, reply: &[u8]) -> Option<Executed<'_>> {
        Executed::of(reply, self.noted, self.monitors)
    }
}

/// Without what a client has sent.
impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(request) => f.debug_tuple("Answer").field(&request.len()).finish(),
            Self::Hello(_) => f.write_str("Hello"),
            Self::Unblock(request) => f.debug_tuple("Unblock").field(&request.len()).finish(),
            Self::Change(change) => f.debug_tuple("Change").field(change).finish(),
            Self::Script(taught) => f.debug_tuple("Script").field(taught).finish(),
            Self::Info => f.write_str("Info"),
            Self::OfAll(of_all) => f.debug_tuple("OfAll").field(of_all).finish(),
        }
    }
}

impl Noted {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let request = match self {
            Self::Answer(request) | Self::Unblock(request) => request.capacity(),
            Self::Hello(hello) => {
                let (name, user) =
                    (hello.name.as_ref().map_or(0, Vec::capacity), hello.user.as_ref().map_or(0, String::capacity));
                size_of::<Hello>() + name + user
            }
            Self::Change(_) | Self::Info => 0,
            Self::Script(taught) => size_of::<Taught>() + taught.bytes(),
            Self::OfAll(of_all) => of_all.bytes(),
        };
        size_of::<(usize, Self)>() + request
    }
}
