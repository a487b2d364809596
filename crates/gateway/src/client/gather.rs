//! Gathers complete requests into a burst, as far as they may go together. No I/O. Called by `input`.

use cluster::{LentRoutes, Routes};
use pool::Burst;
use resp::{Decoded, Request, RequestDecoder, RequestError};
use settings::{SessionSettings, UserLimits};

use crate::{
    command::{
        class::{Class, Upstream},
        classify::{is_listed, table, told_by_name},
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
    pub(crate) settings: &'c SessionSettings,
    /// Of its user.
    pub(crate) limits: &'c UserLimits,
    pub(crate) requests: usize,
    /// A request of more bytes is to have a connection of its own.
    pub(crate) alone: usize,
    /// A transaction is no block to be kept together here: the session has an exclusive connection, or a `WATCH` was
    /// refused.
    pub(crate) lent: bool,
    /// Every request is looked at by itself: before a login, in a transaction that was refused, after a `SELECT` that
    /// failed, while one reply is to be left out, or after a `CLIENT CACHING`.
    pub(crate) singly: bool,
}

impl<'c> Bounds<'c> {
    /// Whether the burst has as much as it may have; within an `open` transaction it may have more.
    fn are_reached(&self, open: bool, burst: &Burst, dealt: &Dealt<'_>) -> bool {
        let requests = if open { self.settings.batch_max } else { self.requests };
        burst.replies_due as usize >= requests || dealt.gathered(burst) >= self.settings.batch_bytes_max
    }

    /// Bytes of unfinished requests of all sessions together.
    pub(super) fn unfinished(&self) -> usize {
        self.settings.input_bytes_max
    }

    /// The class of the request with which `rest` begins, and whether it is like the one before, if that was told by its
    /// name: most requests begin with the same bytes, and looking at the name again costs four times that look.
    fn class<'b>(
        &self,
        request: &Request<'_>,
        names: &Names,
        rest: &'b [u8],
        before: &mut Option<Alike<'b>>,
    ) -> (Class, bool) {
        if let Some(before) = before.as_ref().filter(|before| rest.starts_with(before.head)) {
            return (before.class, true);
        }
        let (name, upstream) = (request.arg(0).unwrap_or_default(), Upstream::of(self.settings));
        let denied = &self.limits.denied;
        *before = None;
        if denied.is_empty() {
            if let Some(class) = told_by_name(name, upstream) {
                *before = request.head().map(|head| Alike { head: &rest[..head.len()], class });
                return (class, false);
            }
        } else if is_listed(request, denied) {
            return (Class::Refused(errors::DENIED), false);
        }
        let listed = Listed { denied, blocking: &self.settings.blocking };
        (table(name, request, upstream).unwrap_or_else(|| names.class(request, upstream, listed)), false)
    }
}

/// Requests that begin with `head`, which holds their name, are of this class.
struct Alike<'b> {
    head: &'b [u8],
    class: Class,
}

/// The bytes of a look at the input, as far as they are dealt with. Requests that are to be sent as they are there are
/// copied together: one by one it takes 48 instructions for each.
struct Dealt<'b> {
    bytes: &'b [u8],
    used: usize,
    /// Up to here they are in the burst, or are not to be.
    copied: usize,
}

impl<'b> Dealt<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, used: 0, copied: 0 }
    }

    fn rest(&self) -> &'b [u8] {
        &self.bytes[self.used..]
    }

    /// Bytes of requests that there will be in `burst` with those that are still to be copied.
    fn gathered(&self, burst: &Burst) -> usize {
        burst.requests.len() + self.used - self.copied
    }

    fn take(&mut self, request: &Request<'_>, len: usize, burst: &mut Burst) {
        if request.raw().is_none() {
            self.copy(burst);
            request.write(&mut burst.requests);
            self.copied += len;
        }
        self.used += len;
    }

    fn skip(&mut self, len: usize, burst: &mut Burst) {
        self.copy(burst);
        self.used += len;
        self.copied = self.used;
    }

    fn copy(&mut self, burst: &mut Burst) {
        burst.requests.extend_from_slice(&self.bytes[self.copied..self.used]);
        self.copied = self.used;
    }
}

/// Where to note the routes of a burst, if it may go to the nodes of a cluster.
pub(super) fn noted<'r>(
    routes: &'r mut Option<LentRoutes>,
    burst: &Burst,
    bounds: &Bounds<'_>,
    presence: &Presence,
) -> Option<&'r mut Routes> {
    let cluster = presence.published().cluster.get().filter(|_| !bounds.singly)?;
    if burst.replies_due == 0 {
        *routes = Some(cluster.routes());
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
    let (mut dealt, mut before) = (Dealt::new(bytes), None);
    let mut transaction: Option<Mark> = None;
    let (missing, stop) = loop {
        let open = transaction.is_some();
        // Where nothing is left, the client does not pipeline, as far as can be seen.
        if bounds.are_reached(open, burst, &dealt) && !dealt.rest().is_empty() {
            break (0, Stop::Full);
        }
        match decoder.decode(dealt.rest()) {
            Err(error) => {
                // Whoever logs in may have it looked at anew.
                *decoder = decoder.restarted();
                break (0, Stop::Malformed(error));
            }
            Ok(Decoded::Incomplete { missing }) => break (missing, Stop::Incomplete),
            Ok(Decoded::Nothing { len }) => {
                dealt.skip(len, burst);
                if bounds.singly {
                    break (0, Stop::Nothing);
                }
            }
            Ok(Decoded::Request { len }) => {
                let request = decoder.request(dealt.rest());
                let (class, is_alike) = bounds.class(&request, names, dealt.rest(), &mut before);
                let read_only = match class {
                    Class::Plain { .. } | Class::Multi if bounds.singly || len > bounds.alone => {
                        break (0, Stop::Other(class));
                    }
                    Class::Multi if bounds.lent => break (0, Stop::Other(class)),
                    // Its transaction is no block either: the other primaries have a part in it.
                    Class::Plain { .. } if open && names.spreads_within(&request) => break (0, Stop::Other(class)),
                    Class::Plain { read_only } => read_only && !open,
                    Class::Multi if !open => {
                        transaction = Some(Mark::new(&dealt, burst));
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
                burst.read_only = read_only && (burst.replies_due == 0 || burst.read_only);
                dealt.take(&request, len, burst);
                burst.replies_due += 1;
                if let Some(routes) = &mut routes {
                    routes.add(&request, dealt.gathered(burst), is_alike);
                }
            }
        }
    };
    dealt.copy(burst);
    match transaction {
        None => (dealt.used, missing, stop),
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
    fn new(dealt: &Dealt<'_>, burst: &Burst) -> Self {
        Self {
            used: dealt.used,
            requests: dealt.gathered(burst),
            replies_due: burst.replies_due,
            read_only: burst.read_only,
        }
    }

    fn restore(&self, burst: &mut Burst) {
        burst.requests.truncate(self.requests);
        burst.replies_due = self.replies_due;
        burst.read_only = self.read_only;
    }
}

#[cfg(test)]
mod tests {
    use resp::RequestLimits;
    use settings::{Config, GatewaySettings};

    use super::*;

    /// What has been gathered of `bytes`, how many replies are due, how many bytes are dealt with, and why it stopped.
    fn gathered(bytes: &[u8], requests: usize) -> (Vec<u8>, u32, usize, Stop) {
        let mut settings = GatewaySettings::new(&Config::default()).expect("the defaults are sound").session;
        settings.embedded = false;
        let (limits, names, mut burst) = (settings.of_users.at(0), Names::default(), Burst::default());
        let bounds = Bounds { settings: &settings, limits, requests, alone: usize::MAX, lent: false, singly: false };
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        let (used, _, stop) = gather(bytes, &mut decoder, &mut burst, (bounds, &names), None);
        (burst.requests, burst.replies_due, used, stop)
    }

    #[test]
    fn requests_are_gathered_in_their_order_however_they_are_framed() {
        let (get, multi, part) = (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"*1\r\n$5\r\nMULTI\r\n", b"*2\r\n$3\r\nGET");
        let ping = b"*1\r\n$4\r\nPING\r\n";
        let sent = [&get[..], get, b"\r\n", b"GET a\r\n", get, b"*0\r\n", b"ping\n", get].concat();
        let mut expected = get.repeat(5);
        expected.splice(4 * get.len()..4 * get.len(), b"*1\r\n$4\r\nping\r\n".iter().copied());
        assert_eq!(gathered(&sent, 9), (expected.clone(), 6, sent.len(), Stop::Incomplete));
        assert_eq!(gathered(&[&sent[..], part].concat(), 9), (expected.clone(), 6, sent.len(), Stop::Incomplete));
        assert_eq!(gathered(&[&sent[..], multi, get].concat(), 9), (expected.clone(), 6, sent.len(), Stop::Full));
        assert_eq!(gathered(&[&sent[..], ping].concat(), 6), (expected.clone(), 6, sent.len(), Stop::Full));
        assert_eq!(gathered(&sent, 6), (expected, 6, sent.len(), Stop::Incomplete), "there is no more");
    }

    #[test]
    fn a_request_that_begins_like_the_one_before_is_not_taken_for_it() {
        let (get, id) = (b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n");
        for other in [&b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n"[..], id, b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"] {
            let (requests, due, used, stop) = gathered(&[&get[..], get, other].concat(), 9);
            assert_eq!((requests, due, used), (get.repeat(2), 2, 2 * get.len()));
            assert!(matches!(stop, Stop::Other(class) if !matches!(class, Class::Plain { .. })), "{stop:?}");
        }
    }
}
