//! A burst that goes to one node of a cluster just as it is, by the session's own caller. Its large replies are passed on as
//! they come. What the node has said of other requests of it, or has not, is for the cluster to execute anew: without those to
//! which the client has replies.

use pool::{Burst, JobError, Pieces};
use resp::{Decoded, ReplyScanner, RequestDecoder, RequestLimits};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::session::session::Session;

/// What a client has been passed on.
struct Passed {
    scanner: ReplyScanner,
    /// Replies that are whole.
    whole: u32,
}

impl Passed {
    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty()
            && let Ok(progress) = self.scanner.scan(bytes)
        {
            bytes = &bytes[progress.consumed..];
            self.whole += u32::from(progress.complete.is_some());
        }
    }

    /// How many bytes at the beginning of `replies` belong to a reply of which the client has a part, and to those after it up to
    /// the first `least` ones: they are whole as well with these.
    fn rest(&mut self, replies: &[u8], least: u32) -> usize {
        let mut rest = 0;
        while self.scanner.is_midway() || self.whole < least {
            let Ok(progress) = self.scanner.scan(&replies[rest..]) else { break };
            rest += progress.consumed;
            self.whole += 1;
            if progress.complete.is_none() {
                break;
            }
        }
        rest
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Leads the caller to the one node of a cluster to which all of the gathered burst goes as it is, if that is so.
    #[inline]
    pub(super) fn is_led(&mut self) -> bool {
        let Self { link, burst, state, settings, caller, .. } = self;
        let reads = state.limits(settings).reads;
        let is_led = link.routes().as_mut().is_some_and(|routes| reads.is_none() && routes.lead(burst, caller));
        if is_led {
            burst.pieces = Pieces::Announced;
        }
        is_led
    }

    /// Has the caller back from there, and the burst answered unless it is to be executed otherwise, which false says; see
    /// [`Routes::ended`](cluster::Routes::ended). What `is_passed` on to the client, be it a part, cannot be executed anew.
    #[inline]
    pub(super) fn is_back(&mut self, result: Result<(), JobError>, is_passed: bool) -> bool {
        let Self { link, burst, caller, .. } = self;
        burst.pieces = Pieces::Never;
        let (result, failure) =
            if is_passed || burst.taken_early > 0 { (Ok(()), result.err()) } else { (result, None) };
        let Some(spent) = link.routes().as_mut().and_then(|routes| routes.ended(burst, caller, result)) else {
            return false;
        };
        self.answered(self.burst.replies_due, spent, failure);
        true
    }

    /// Passes on the large reply that has begun to come; whether the burst is answered, or what is left of it is to be executed
    /// by the cluster.
    pub(super) async fn pass_on_led(&mut self) -> bool {
        let mut passed = Passed { scanner: ReplyScanner::new(usize::MAX), whole: 0 };
        let result = match self.link.routes().as_ref().map_or(0, |routes| routes.count()) {
            0 | 1 => self.pass_on(Ok(())).await,
            _ => {
                let result = self.pass_on_seen(Ok(()), |bytes| passed.see(bytes)).await;
                self.leave_out_passed(&result, passed);
                result
            }
        };
        // One that is still on its way has nothing to be sent again, and does not say how much of its replies was taken.
        let is_passed = self.burst.is_torn || self.burst.requests.is_empty();
        self.is_back(result, is_passed)
    }

    /// Has the burst be without the requests whose replies the client has, if others of it may have to be executed anew.
    fn leave_out_passed(&mut self, result: &Result<(), JobError>, mut passed: Passed) {
        let Self { link, burst, state, .. } = self;
        let is_answered = result.is_ok() && burst.errors == 0;
        if is_answered || burst.is_torn || burst.taken_early == 0 {
            return;
        }
        let Some(routes) = link.routes() else { return };
        // Where the rest was sent alone, there are no more requests before it.
        let before = routes.count() - burst.replies_due.min(routes.count());
        let rest = passed.rest(&burst.replies, before);
        let (mut decoder, mut bytes) = (RequestDecoder::new(RequestLimits::accepted()), 0);
        for _ in before..passed.whole {
            let Ok(Decoded::Request { len }) = decoder.decode(&burst.requests[bytes..]) else { break };
            bytes += len;
        }
        routes.leave_out(passed.whole, bytes);
        burst.requests.drain(..bytes);
        let behind = burst.replies.split_off(rest);
        let replies = std::mem::replace(&mut burst.replies, behind);
        if !state.is_muted() {
            link.output().extend_from_slice(&replies);
        }
        let (requests, replies) = (std::mem::take(&mut burst.requests), std::mem::take(&mut burst.replies));
        let Burst { needs, read_only, expected, errors, room, replies_done, .. } = std::mem::take(burst);
        let replies_done = replies_done - passed.whole.min(replies_done);
        *burst =
            Burst { requests, replies, needs, read_only, expected, errors, room, replies_done, ..Burst::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_the_rest_was_sent_alone_is_passed_on_with_the_end_of_a_large_reply() {
        for (seen, replies, least, whole) in [
            (&b":1\r\n$3\r\na"[..], &b"bc\r\n:3\r\n-ERR\r\n"[..], 0, (4, 2)),
            (b":1\r\n$3\r\na", b"bc\r\n:3\r\n-ERR\r\n", 3, (8, 3)),
            (b":1\r\n", b":2\r\n:3\r\n-ERR\r\n", 3, (8, 3)),
            (b":1\r\n", b":2\r\n:3\r\n-ERR\r\n", 0, (0, 1)),
        ] {
            let mut passed = Passed { scanner: ReplyScanner::new(usize::MAX), whole: 0 };
            passed.see(seen);
            assert_eq!((passed.rest(replies, least), passed.whole), whole);
        }
    }
}
