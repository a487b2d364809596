//! Writes that were refused because the node had become a replica: nothing of them was executed, so they are asked again
//! of the node that is the primary by then. Only where sentinels are followed, who say which one that is.

use std::time::{Duration, Instant};

use pool::{Burst, JobError};
use resp::{Decoded, ReplyScanner, Request, RequestDecoder, RequestLimits};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use crate::{
    command::{
        class::{Class, Upstream},
        classify::classify,
    },
    session::session::Session,
};

/// What Redis says to a write at a replica.
const REFUSED: &[u8] = b"READONLY You can't write against a read only replica.\r\n";

/// Commands that may have written before they say so.
const SCRIPTS: [&[u8]; 3] = [b"EVAL", b"EVALSHA", b"FCALL"];

/// The first and the longest pause before a further attempt: the topology needs a few milliseconds to notice.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// The end of a burst that was not executed: where it begins, in bytes, and how many replies stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    requests: usize,
    replies: usize,
    done: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether the burst has an error among its replies that may be about a primary that is none any more.
    pub(super) fn may_be_refused(&self) -> bool {
        self.burst.errors > 0
            && self.burst.taken_early == 0
            && self.link.published().topology.borrow().as_ref().is_some_and(|topology| topology.sentinels > 0)
    }

    /// Asks again what was refused by a replica, as long as a request may wait for a primary; `result` is how the burst
    /// ended.
    pub(super) async fn ask_again(&mut self, mut result: Result<(), JobError>) -> Result<(), JobError> {
        let (until, mut pause) = (Instant::now() + self.caller.failover_wait(), PAUSE.0);
        while result.is_ok()
            && Instant::now() < until
            && let Some(tail) = refused_tail(&self.burst.requests, &self.burst.replies)
        {
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            let before = std::mem::take(&mut self.burst);
            self.burst = Burst {
                requests: before.requests[tail.requests..].to_vec(),
                replies_due: before.replies_due - tail.done,
                needs: before.needs,
                transaction: before.transaction,
                room: before.room,
                ..Burst::default()
            };
            result = self.execute_here().await;
            let Burst { replies, replies_done, errors, room, .. } = std::mem::take(&mut self.burst);
            self.burst = Burst {
                replies: [&before.replies[..tail.replies], &replies].concat(),
                replies_done: tail.done + replies_done,
                errors,
                room,
                requests: before.requests,
                replies_due: before.replies_due,
                needs: before.needs,
                transaction: before.transaction,
                ..Burst::default()
            };
        }
        result
    }
}

/// From where on nothing was executed that changes anything, because a replica refused it; nothing where a write that was
/// refused is followed by one that was not, since they would change places.
fn refused_tail(requests: &[u8], replies: &[u8]) -> Option<Tail> {
    let (mut decoder, mut scanner) = (RequestDecoder::new(RequestLimits::accepted()), ReplyScanner::new(usize::MAX));
    let mut at = Tail { requests: 0, replies: 0, done: 0 };
    let mut tail = None;
    // Where the transaction at hand begins, and whether a command in it was refused.
    let mut transaction = None;
    while at.requests < requests.len() {
        let Ok(Decoded::Request { len }) = decoder.decode(&requests[at.requests..]) else { return None };
        let request = decoder.request(&requests[at.requests..]);
        let progress = scanner.scan(&replies[at.replies..]).ok()?;
        progress.complete?;
        let reply = &replies[at.replies..at.replies + progress.consumed];
        match (classify(&request, Upstream::Redis), &mut transaction) {
            (Class::Multi, None) => transaction = Some((at, false)),
            (Class::Exec, Some((begun, is_refused))) => {
                let is_aborted = reply.starts_with(b"-EXECABORT");
                if is_aborted && (*is_refused || says_refused(reply)) {
                    tail.get_or_insert(*begun);
                } else if !is_aborted && tail.is_some() {
                    return None;
                }
                transaction = None;
            }
            (_, Some((_, is_refused))) => *is_refused |= says_refused(reply),
            (Class::Plain { .. }, None) if says_refused(reply) && !is_script(&request) => {
                tail.get_or_insert(at);
            }
            (Class::Plain { read_only: true }, None) => {}
            _ if tail.is_some() => return None,
            _ => {}
        }
        at = Tail { requests: at.requests + len, replies: at.replies + progress.consumed, done: at.done + 1 };
    }
    tail.filter(|_| transaction.is_none())
}

/// `EXEC` says it behind words of its own.
fn says_refused(reply: &[u8]) -> bool {
    reply.first() == Some(&b'-') && reply.windows(REFUSED.len()).any(|part| part == REFUSED)
}

fn is_script(request: &Request<'_>) -> bool {
    let name = request.arg(0).unwrap_or_default();
    SCRIPTS.iter().any(|script| name.eq_ignore_ascii_case(script))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: &str = "-READONLY You can't write against a read only replica.\r\n";

    /// How many requests come before the tail.
    fn done(exchange: &[(&str, &str)]) -> Option<u32> {
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for (request, reply) in exchange {
            resp::write_request(&mut requests, &request.split(' ').collect::<Vec<_>>());
            replies.extend_from_slice(reply.as_bytes());
        }
        let tail = refused_tail(&requests, &replies)?;
        let (before, after) = exchange.split_at(tail.done as usize);
        let bytes = |of: &[(&str, &str)]| of.iter().map(|(_, reply)| reply.len()).sum::<usize>();
        assert_eq!((tail.replies, bytes(after)), (bytes(before), replies.len() - tail.replies));
        assert!(requests[tail.requests..].starts_with(b"*"));
        Some(tail.done)
    }

    #[test]
    fn what_follows_the_first_refusal_is_asked_again() {
        assert_eq!(done(&[("SET k 1", NO)]), Some(0));
        assert_eq!(done(&[("SET k 1", "+OK\r\n"), ("INCR n", NO), ("GET k", "$1\r\n1\r\n"), ("DEL k", NO)]), Some(1));
        assert_eq!(done(&[("SET k 1", "+OK\r\n"), ("GET k", "$1\r\n1\r\n")]), None);
    }

    #[test]
    fn nothing_is_asked_again_that_may_have_been_executed() {
        assert_eq!(done(&[("SET k 1", NO), ("PUBLISH c m", ":0\r\n")]), None, "it would be published twice");
        assert_eq!(done(&[("INCR n", NO), ("INCR n", ":1\r\n")]), None, "it is a primary again");
        assert_eq!(done(&[("EVAL s 0", NO)]), None, "it may have written before");
        assert_eq!(done(&[("GET k", "$80\r\n-READONLY")]), None, "it is not whole");
        let value = format!("${}\r\n{NO}\r\n", NO.len());
        assert_eq!(done(&[("GET k", &value)]), None, "a value says nothing");
    }

    #[test]
    fn a_transaction_is_asked_again_as_a_whole() {
        let abort = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        let by_exec = format!("-EXECABORT Transaction discarded because of: {}", &NO[1..]);
        let (multi, queued) = (("MULTI", "+OK\r\n"), ("SET k 1", "+QUEUED\r\n"));
        assert_eq!(done(&[("PING", "+PONG\r\n"), multi, ("SET k 1", NO), ("EXEC", abort)]), Some(1));
        assert_eq!(done(&[multi, queued, ("EXEC", &by_exec)]), Some(0));
        assert_eq!(done(&[("DEL k", NO), multi, ("SET k 1", NO), ("EXEC", abort)]), Some(0));
        assert_eq!(done(&[multi, ("NOSUCH", "-ERR unknown\r\n"), ("EXEC", abort)]), None, "that was another reason");
        assert_eq!(done(&[("DEL k", NO), multi, queued, ("EXEC", "*1\r\n+OK\r\n")]), None);
    }
}
