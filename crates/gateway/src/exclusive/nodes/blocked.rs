//! Requests that wait at a node of a cluster, and what a node says that ends their waiting and is not for a client: they are
//! sent again, for what is left of their time. Called by `elsewhere`; its words are read by `at_node` and `exchange`.

use std::{future::poll_fn, task::Poll, time::Duration};

use resp::{Decoded, Request, RequestDecoder, RequestLimits, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep},
};
use topology::Address;

use crate::{
    command::{blocking_time, stream_read::streams_at},
    exclusive::{exchange::Exchange, lending::Lending, request::ExclusiveRequest},
    observe::{counts::Fault, registry::Asked},
};

/// Word for word what a node says that is no primary any more; it closes the connection too.
pub(super) const DEMOTED: &[u8] =
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

/// Word for word what a node says whose stream has gone, be it deleted or with its slot.
const GONE: &[u8] = b"-UNBLOCKED the stream key no longer exists\r\n";

/// The least that is sent as what is left: nought is for ever.
const LEFT_MIN: Duration = Duration::from_millis(1);

/// Where a request that was not executed is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::exclusive) enum Elsewhere {
    /// To the node that has its slot by then.
    Later,
    /// To this one, which is to be asked though it does not have the slot yet.
    Ask(Address),
    /// As `Later`: its keys are on two nodes, as their slot is on its way.
    Apart,
    /// As `Later`, as the connection is about to be closed.
    Demoted,
    /// As `Later`: whether its stream has moved or was deleted is not known.
    Gone,
}

impl Elsewhere {
    /// The same for a request for which `CLIENT CACHING` holds or not: behind ASKING nothing is tracked, which whoever is
    /// redirected to could not be told. Takes note of what it means for the connection at hand.
    pub(super) fn noted(self, lending: &mut Lending, is_caching: bool) -> Self {
        if self == Self::Demoted {
            lending.mark();
        }
        let waits = is_caching && lending.redirect.is_some() && matches!(self, Self::Ask(_));
        if waits { Self::Later } else { self }
    }

    /// What a node says to a request that waits.
    pub(super) fn read(reply: &[u8]) -> Option<Self> {
        match reply {
            DEMOTED => Some(Self::Demoted),
            GONE => Some(Self::Gone),
            _ => None,
        }
    }
}

/// Takes in a reply from `at` in `out` on to a request that was sent again: that there is no such group means that its stream
/// was deleted, and that its key holds something else that it was replaced, which the client is told in the words that came first.
pub(in crate::exclusive) fn tell_of_deletion(out: &mut Vec<u8>, at: usize, request: &ExclusiveRequest) {
    let is_so = [&b"-NOGROUP"[..], b"-WRONGTYPE"].iter().any(|words| out[at..].starts_with(words));
    if request.was_gone && is_so {
        out.truncate(at);
        out.extend_from_slice(GONE);
    }
}

/// What the reply to the question for the last entry of a stream says: where the stream ends, if it can be had. `None` for
/// the reply to another request.
pub(in crate::exclusive) fn end_of_stream(reply: &[u8]) -> Option<Option<Vec<u8>>> {
    match reply {
        [b'*', b'0', ..] => Some(Some(b"0-0".to_vec())),
        [b'*', ..] => {
            Some(reply.split(|byte| *byte == b'\n').nth(3).and_then(|id| id.strip_suffix(b"\r")).map(<[u8]>::to_vec))
        }
        [b'-', ..] => Some(None),
        _ => None,
    }
}

/// Where the ids stand of an `XREAD` that are the ends of their streams, each with the stream's name.
fn ends<'r>(request: &Request<'r>) -> Vec<(usize, &'r [u8])> {
    let is_read = request.arg(0).is_some_and(|name| name.eq_ignore_ascii_case(b"XREAD"));
    let Some(from) = streams_at(request).filter(|_| is_read) else { return Vec::new() };
    let count = (request.len() - from) / 2;
    let id_of = |at: usize| request.arg(at + count).is_some_and(|id| id == b"$");
    (from..from + count).filter(|at| id_of(*at)).filter_map(|at| Some((at + count, request.arg(at)?))).collect()
}

/// The same request, for what is `left` of its time if that has an end, and with `known` for the ends of its streams.
fn renewed(request: &Request<'_>, left: Option<Duration>, known: &[Option<Vec<u8>>]) -> Vec<u8> {
    let left = left.and_then(|left| blocking_time::time_out(request, left));
    let mut args: Vec<&[u8]> = request.args().collect();
    if let Some((at, left)) = &left {
        args[*at] = left.as_bytes();
    }
    for ((at, _), known) in ends(request).into_iter().zip(known) {
        args[at] = known.as_deref().unwrap_or(args[at]);
    }
    let mut renewed = Vec::new();
    write_request(&mut renewed, &args);
    renewed
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Waits a moment before a request is sent again, and says how much of that counts against the time that any request
    /// may wait for its place: nothing of one that `waits_on` by itself, until its `end`. Otherwise the client has been told
    /// that this has come, or is to be closed if it holds false.
    pub(super) async fn wait_for_place(
        &mut self,
        pause: Duration,
        waits_on: bool,
        end: Option<Instant>,
    ) -> Result<Duration, bool> {
        if !waits_on {
            sleep(pause).await;
            return Ok(pause);
        }
        let until = Instant::now() + pause;
        let until = end.map_or(until, |end| end.min(until));
        let Self { link, settings, .. } = self;
        let is_gone = poll_fn(|cx| {
            let is_gone = link.poll_gone(cx, settings).is_ready() || link.poll_asked(cx) != Asked::Nothing;
            if is_gone { Poll::Ready(true) } else { link.poll_until(cx, until).map(|()| false) }
        });
        if is_gone.await {
            self.link.published().counts.fault(Fault::ClientGone);
            return Err(false);
        }
        if end.is_none_or(|end| Instant::now() < end) {
            return Ok(Duration::ZERO);
        }
        self.exclusive.end_if_over();
        self.answer_end(false);
        Err(true)
    }
}

impl ExclusiveRequest {
    /// Whether it may wait as long as it says for its slot, which is on its way.
    pub(super) fn waits_on(&self, elsewhere: &Elsewhere) -> bool {
        // Not one that its node will refuse for its time-out.
        let may_wait = self.waits() && self.blocks_for.is_none_or(|time| !time.is_zero());
        may_wait && matches!(elsewhere, Elsewhere::Ask(_) | Elsewhere::Apart)
    }

    /// Has a request that waits for what comes at the end of streams ask first where these end: it may have to be sent again,
    /// and what has come until then is not to be lost.
    pub(super) fn ask_for_ends(&mut self) {
        let own = self.requests.split_off(self.own_from);
        self.compose(&own);
    }

    /// Makes a request that waits ready to be sent again, for what is `left` of its time if that has an end. `known` are
    /// the ends of its streams, as far as it has asked for them.
    pub(super) fn renew(&mut self, left: Option<Duration>, elsewhere: Elsewhere, known: &[Option<Vec<u8>>]) {
        let left = left.map(|left| left.max(LEFT_MIN));
        self.blocks_for = left.or(self.blocks_for);
        self.was_gone |= elsewhere == Elsewhere::Gone;
        self.asks = if let Elsewhere::Ask(node) = elsewhere { Some(node) } else { None };
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let own = self.requests.split_off(self.own_from);
        if let Ok(Decoded::Request { .. }) = decoder.decode(&own) {
            let renewed = renewed(&decoder.request(&own), left, known);
            self.compose(&renewed);
        }
    }

    /// Puts what goes out for its `own` request together.
    fn compose(&mut self, own: &[u8]) {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        self.requests.clear();
        self.swallow = 0;
        let asks = |request: &mut Self| {
            if request.asks.is_some() {
                request.swallow += 1;
                write_request(&mut request.requests, &["ASKING"]);
            }
        };
        if let Ok(Decoded::Request { .. }) = decoder.decode(own) {
            for (_, stream) in ends(&decoder.request(own)) {
                asks(self);
                self.swallow += 1;
                write_request(&mut self.requests, &[b"XREVRANGE", stream, b"+", b"-", b"COUNT", b"1"]);
            }
        }
        asks(self);
        self.own_from = self.requests.len();
        self.requests.extend_from_slice(own);
        self.due = 1 + self.swallow;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(line: &str, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut bytes = Vec::new();
        write_request(&mut bytes, &line.split(' ').collect::<Vec<_>>());
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        assert_eq!(decoder.decode(&bytes), Ok(Decoded::Request { len: bytes.len() }));
        look(&decoder.request(&bytes))
    }

    #[test]
    fn only_what_is_left_and_what_has_come_meanwhile_is_asked_for_again() {
        let known = [Some(b"5-1".to_vec()), None];
        let left = Some(Duration::from_millis(1250));
        for (line, again) in [
            ("BLPOP a b 3", "BLPOP a b 1.250"),
            ("BLMPOP 3 1 3 LEFT", "BLMPOP 1.250 1 3 LEFT"),
            ("XREAD COUNT 3 BLOCK 3000 STREAMS s $", "XREAD COUNT 3 BLOCK 1250 STREAMS s 5-1"),
            ("XREAD BLOCK 3000 STREAMS a b c 0 $ $", "XREAD BLOCK 1250 STREAMS a b c 0 5-1 $"),
            ("XREADGROUP GROUP g $ BLOCK 3000 STREAMS s >", "XREADGROUP GROUP g $ BLOCK 1250 STREAMS s >"),
        ] {
            let expected = with(again, |request| {
                let mut bytes = Vec::new();
                request.write(&mut bytes);
                bytes
            });
            assert_eq!(with(line, |request| renewed(request, left, &known)), expected, "{line}");
        }
    }

    #[test]
    fn the_end_of_a_stream_is_read() {
        let entry = b"*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n";
        assert_eq!(end_of_stream(entry), Some(Some(b"5-1".to_vec())));
        assert_eq!(end_of_stream(b"*0\r\n"), Some(Some(b"0-0".to_vec())));
        assert_eq!((end_of_stream(b"-NOPERM no\r\n"), end_of_stream(b"+OK\r\n")), (Some(None), None));
    }
}
