//! Requests that were refused because the node had become a replica: nothing of them was executed, so they are asked
//! again of the node that is the primary by then. Only where sentinels are followed, who say which one that is.
//!
//! A replica refuses every write, those of scripts too. So a script that was refused has written nothing, whatever it
//! did before, and is run again as a whole. Any script can say the same words, though: it is run again only once
//! the node has shown that it is not the primary.

use std::time::{Duration, Instant};

use pool::{Burst, Further, JobError, Share};
use resp::{Decoded, ReplyScanner, Request, RequestDecoder, RequestLimits};
use tokio::io::{AsyncRead, AsyncWrite};
use topology::{are_refusals_in, says_refused, says_refused_within};

use crate::{
    command::{
        class::{Class, Upstream},
        classify::classify,
        errors,
        refusal::{SCRIPT_TURNS_OUT, TURNS_OUT, are_replicas_lacked_in, is_refusal, is_script, lacks_replicas},
    },
    session::session::Session,
};

/// The end of a burst that was not executed: where it begins, in bytes, and how many replies stand before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tail {
    requests: usize,
    replies: usize,
    done: u32,
    /// A script is in it, whose words prove nothing.
    scripted: bool,
    /// It was refused by nothing but a primary that has too few replicas.
    lacks_replicas: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether the burst has an error among its replies that may be about a primary that is none any more. What `EXEC`
    /// holds is not counted.
    pub(super) fn may_be_refused(&self) -> bool {
        // Where one has been handed on in pieces, what is here begins within it, and the client has what was before it.
        let Burst { errors, transaction, replies, in_part, .. } = &self.burst;
        let may_be = (*errors > 0 || *transaction) && !*in_part;
        let is_said = || are_refusals_in(replies) || are_replicas_lacked_in(replies);
        may_be && self.link.published().has_sentinels() && is_said()
    }

    /// Asks again what was refused by a replica, as long as a request may wait for a primary, or by a new primary that no
    /// replica follows yet; `result` is how the burst ended. What is under way behind it, the `further` one, is waited for
    /// then, and asked again with it. Also says how many replies that adds to those of the burst.
    pub(super) async fn ask_again(
        &mut self,
        mut result: Result<(), JobError>,
        further: &mut Option<Further>,
    ) -> (Result<(), JobError>, u32) {
        let until = Instant::now() + self.caller.failover_wait();
        let (mut added, mut behind) = (0, Vec::new());
        let early = early_replies(&self.burst);
        while result.is_ok()
            && Instant::now() < until
            && let Some(tail) = refused_tail(&self.burst.requests, &self.burst.replies, early)
        {
            if tail.lacks_replicas && !self.link.published().is_primary_new(self.caller.failover_wait()) {
                break;
            }
            if let Some(further) = further.take() {
                added = further.replies_due();
                behind = self.take_in(further).await;
                continue;
            }
            let limit = if tail.scripted { SCRIPT_TURNS_OUT } else { TURNS_OUT };
            if tail.scripted {
                // Behind words of its own, or within an EXEC, nobody has taken note.
                self.caller.doubt();
            }
            let origin = self.burst.origin.clone().unwrap_or_default();
            if !self.link.published().is_left(&origin, limit).await && tail.scripted {
                break;
            }
            let before = std::mem::take(&mut self.burst);
            let done = early + tail.done;
            self.burst = Burst {
                requests: before.requests[tail.requests..].to_vec(),
                replies_due: before.replies_due - done,
                needs: before.needs,
                transaction: before.transaction,
                room: before.room,
                ..Burst::default()
            };
            result = self.execute_here().await;
            let Burst { replies, replies_done, errors, origin, room, .. } = std::mem::take(&mut self.burst);
            self.burst = Burst {
                replies: [&before.replies[..tail.replies], &replies].concat(),
                replies_done: done + replies_done,
                errors,
                origin,
                room,
                requests: before.requests,
                replies_due: before.replies_due,
                needs: before.needs,
                transaction: before.transaction,
                taken_early: before.taken_early,
                ..Burst::default()
            };
        }
        if result.is_ok() {
            result = self.must_not_be_refused(early).await;
        }
        (self.put_behind(result, &behind), added)
    }

    /// What is refused still has no primary that takes it.
    async fn must_not_be_refused(&mut self, early: u32) -> Result<(), JobError> {
        let Some(tail) = refused_tail(&self.burst.requests, &self.burst.replies, early) else { return Ok(()) };
        let (published, origin) = (self.link.published(), self.burst.origin.clone().unwrap_or_default());
        if tail.lacks_replicas || (tail.scripted && !published.is_left(&origin, Duration::ZERO).await) {
            return Ok(());
        }
        let awaited = published.nodes.topology.borrow().as_ref().and_then(|topology| topology.awaited.clone());
        let reason = awaited.map_or_else(|| "the node is a replica".into(), |awaited| awaited.to_string().into());
        self.burst.replies.truncate(tail.replies);
        self.burst.replies_done = early + tail.done;
        let (waited, key) = self.caller.primary_wait();
        Err(JobError::FailoverTimeout { waited, key, reason })
    }

    /// Waits for the burst that is under way behind this one and takes it in. If it failed, its replies are returned, to
    /// be put behind those of this one.
    async fn take_in(&mut self, further: Further) -> Vec<u8> {
        let (due, mut burst) = (further.replies_due(), Burst::default());
        // As if it had been gathered by now, which is counted and never refused.
        let _ = self.state.charge(due, &self.settings, true);
        let Err(failure) = self.caller.execute_meanwhile(&mut burst, Some(further), |_, _| ()).await else {
            let all = &mut self.burst;
            all.requests.extend_from_slice(&burst.requests);
            all.replies.extend_from_slice(&burst.replies);
            all.replies_due += due;
            all.replies_done += burst.replies_done;
            all.origin = burst.origin.or(all.origin.take());
            Share::add(&mut all.room, burst.room);
            return Vec::new();
        };
        let missing = due.saturating_sub(burst.replies_done);
        self.link.published().failed(&failure, missing, self.link.entry().address());
        let text = errors::job(&failure, &self.settings.upstream);
        (0..missing).for_each(|_| resp::write_error(&mut burst.replies, &text));
        burst.replies
    }

    /// Puts replies behind those of the burst, all of which are there then: where it failed, its own missing ones too.
    fn put_behind(&mut self, result: Result<(), JobError>, behind: &[u8]) -> Result<(), JobError> {
        if behind.is_empty() {
            return result;
        }
        if let Err(failure) = &result {
            let missing = self.burst.replies_due.saturating_sub(self.burst.replies_done);
            self.link.published().failed(failure, missing, self.link.entry().address());
            let text = errors::job(failure, &self.settings.upstream);
            (0..missing).for_each(|_| resp::write_error(&mut self.burst.replies, &text));
        }
        self.burst.replies.extend_from_slice(behind);
        Ok(())
    }
}

/// How many replies were handed on before the burst had all of its.
fn early_replies(burst: &Burst) -> u32 {
    let (mut scanner, mut at, mut whole) = (ReplyScanner::new(usize::MAX), 0, 0);
    while burst.taken_early > 0
        && let Ok(progress) = scanner.scan(&burst.replies[at..])
        && progress.complete.is_some()
    {
        at += progress.consumed;
        whole += 1;
    }
    if burst.taken_early > 0 { burst.replies_due.saturating_sub(whole) } else { 0 }
}

/// A transaction whose end has not been seen.
#[derive(Clone, Copy)]
struct Begun {
    /// Where. Of one that is answered in part nothing is asked again: `None`.
    at: Option<Tail>,
    /// A command in it was refused.
    refused: bool,
    /// All others are scripts, or only read.
    only_scripts_write: bool,
}

/// From where on nothing was executed that changes anything, because a replica refused it; nothing where a write that was
/// refused is followed by one that was not, since they would change places. The replies to the first `early` requests are
/// not there.
fn refused_tail(requests: &[u8], replies: &[u8], early: u32) -> Option<Tail> {
    let (mut decoder, mut scanner) = (RequestDecoder::new(RequestLimits::accepted()), ReplyScanner::new(usize::MAX));
    let (mut at, mut early) = (Tail::default(), early);
    let (mut tail, mut scripted, mut lacks, mut by_replica) = (None, false, false, false);
    let mut transaction: Option<Begun> = None;
    while at.requests < requests.len() {
        let Ok(Decoded::Request { len }) = decoder.decode(&requests[at.requests..]) else { return None };
        let request = decoder.request(&requests[at.requests..]);
        let (class, runs_script) = (classify(&request, Upstream::Redis), is_script(request.arg(0).unwrap_or_default()));
        let begun = |at| Some(Begun { at, refused: false, only_scripts_write: true });
        if early > 0 {
            transaction = match class {
                Class::Multi => begun(None),
                Class::Exec => None,
                _ => transaction,
            };
            (early, at.requests) = (early - 1, at.requests + len);
            continue;
        }
        let progress = scanner.scan(&replies[at.replies..]).ok()?;
        progress.complete?;
        let reply = &replies[at.replies..at.replies + progress.consumed];
        let lacks_replicas = !runs_script && lacks_replicas(reply);
        lacks |= lacks_replicas;
        by_replica |= says_refused(reply);
        match (class, &mut transaction) {
            (Class::Multi, None) => transaction = begun(Some(at)),
            (Class::Exec, Some(Begun { at, refused, only_scripts_write })) => {
                let is_aborted = reply.starts_with(b"-EXECABORT");
                // A replica would have refused the whole for any other write.
                let by_script = *only_scripts_write && says_refused_within(reply);
                if by_script || (is_aborted && (*refused || lacks_replicas || says_refused(reply))) {
                    scripted |= by_script;
                    by_replica |= by_script;
                    tail.get_or_insert((*at)?);
                } else if !is_aborted && tail.is_some() {
                    return None;
                }
                transaction = None;
            }
            (_, Some(begun)) => {
                begun.refused |= lacks_replicas || says_refused(reply);
                begun.only_scripts_write &= runs_script || matches!(class, Class::Plain { read_only: true });
            }
            (Class::Plain { .. }, None) if (runs_script || only_reads(&request)) && says_refused(reply) => {
                scripted = true;
                tail.get_or_insert(at);
            }
            (Class::Plain { .. }, None) if lacks_replicas || is_refusal(reply) => {
                tail.get_or_insert(at);
            }
            (Class::Plain { read_only: true }, None) => {}
            // What is in error is so again, and has done nothing. A script may have published before it failed.
            (Class::Plain { .. }, None) if reply.starts_with(b"-") && !runs_script => {}
            (Class::Plain { .. }, None) if only_reads(&request) => {}
            _ if tail.is_some() => return None,
            _ => {}
        }
        at = Tail { requests: at.requests + len, replies: at.replies + progress.consumed, done: at.done + 1, ..at };
    }
    tail.filter(|_| transaction.is_none()).map(|tail| Tail { scripted, lacks_replicas: lacks && !by_replica, ..tail })
}

/// Requests that are not repeated by themselves, and change nothing all the same.
fn only_reads(request: &Request<'_>) -> bool {
    let word = |at: usize| request.arg(at).unwrap_or_default().to_ascii_uppercase();
    match word(0).as_slice() {
        b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL_RO" => true,
        b"CONFIG" => word(1) == b"GET",
        _ => false,
    }
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
        let tail = refused_tail(&requests, &replies, 0)?;
        let (before, after) = exchange.split_at(tail.done as usize);
        let bytes = |of: &[(&str, &str)]| of.iter().map(|(_, reply)| reply.len()).sum::<usize>();
        assert_eq!((tail.replies, bytes(after)), (bytes(before), replies.len() - tail.replies));
        assert!(requests[tail.requests..].starts_with(b"*"));
        Some(tail.done)
    }

    #[test]
    fn what_follows_the_first_refusal_is_asked_again() {
        let down = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n";
        assert_eq!(done(&[("SET k 1", "+OK\r\n"), ("GET k", down), ("INCR n", NO), ("GET n", down)]), Some(1));
        let abort = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(done(&[("MULTI", "+OK\r\n"), ("GET k", down), ("EXEC", abort)]), Some(0));
        let stale = "-ERR Can not execute the command on a stale replica script: 1a2b, on @user_script:1.\r\n";
        for script in ["EVAL s 0", "EVAL_RO s 0"] {
            assert_eq!(done(&[("PING", "+PONG\r\n"), (script, stale)]), Some(1));
        }
        assert_eq!(done(&[("SET k 1", NO)]), Some(0));
        assert_eq!(done(&[("SET k 1", "+OK\r\n"), ("INCR n", NO), ("GET k", "$1\r\n1\r\n"), ("DEL k", NO)]), Some(1));
        assert_eq!(done(&[("SET k 1", "+OK\r\n"), ("GET k", "$1\r\n1\r\n")]), None);
        for harmless in [("LPUSH s v", "-WRONGTYPE x\r\n"), ("CONFIG GET save", "*0\r\n"), ("EVAL_RO s 0", ":1\r\n")] {
            assert_eq!(done(&[("INCR n", NO), harmless, ("DEL k", NO)]), Some(0), "{harmless:?}");
        }
    }

    #[test]
    fn what_a_primary_without_replicas_refuses_is_asked_again_as_what_a_replica_does() {
        let few = "-NOREPLICAS Not enough good replicas to write.\r\n";
        let abort = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        let by_exec = format!("-EXECABORT Transaction discarded because of: {}", &few[1..]);
        let multi = ("MULTI", "+OK\r\n");
        assert_eq!(done(&[("GET k", "$1\r\nv\r\n"), ("INCR n", few), ("GET n", "$1\r\n1\r\n")]), Some(1));
        assert_eq!(done(&[multi, ("INCR n", few), ("EXEC", abort)]), Some(0));
        assert_eq!(done(&[multi, ("INCR n", "+QUEUED\r\n"), ("EXEC", &by_exec)]), Some(0));
        assert_eq!(done(&[("INCR n", few), ("INCR n", ":1\r\n")]), None, "a replica has come meanwhile");
        assert_eq!(done(&[("EVAL s 0", few)]), None, "it may be words of its own");
        let lacks_replicas = |replies: &[&str]| {
            let mut requests = Vec::new();
            replies.iter().for_each(|_| resp::write_request(&mut requests, &["INCR", "n"]));
            refused_tail(&requests, replies.concat().as_bytes(), 0).map(|tail| tail.lacks_replicas)
        };
        assert_eq!((lacks_replicas(&[few]), lacks_replicas(&[NO])), (Some(true), Some(false)));
        // What a replica has refused as well waits for a primary, new or not.
        assert_eq!((lacks_replicas(&[few, NO]), lacks_replicas(&[NO, few])), (Some(false), Some(false)));
    }

    #[test]
    fn nothing_is_asked_again_that_may_have_been_executed() {
        assert_eq!(done(&[("SET k 1", NO), ("PUBLISH c m", ":0\r\n")]), None, "it would be published twice");
        assert_eq!(done(&[("INCR n", NO), ("INCR n", ":1\r\n")]), None, "it is a primary again");
        assert_eq!(done(&[("INCR n", NO), ("EVAL s 0", "-ERR x\r\n")]), None, "it may have published");
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

    #[test]
    fn a_script_that_was_refused_is_run_again_and_has_to_be_proved() {
        let no = "-READONLY You can't write against a read only replica. script: 1a2b, on @user_script:1.\r\n";
        let declared = "-READONLY Can not run script with write flag on readonly replica\r\n";
        let tail = |exchange: &[(&str, &str)], early| {
            let mut requests = Vec::new();
            let replies: Vec<u8> = exchange[early..].iter().flat_map(|(_, reply)| reply.bytes()).collect();
            for (request, _) in exchange {
                resp::write_request(&mut requests, &request.split(' ').collect::<Vec<_>>());
            }
            let early = u32::try_from(early).expect("few");
            refused_tail(&requests, &replies, early).map(|tail| (tail.done, tail.scripted))
        };
        let raised = "-ERR Error running script (call to f_1a2b): @user_script:1: @user_script: 1: -READONLY You can't write \
                      against a read only replica. \r\n";
        for (request, reply) in
            [("EVAL s 0", no), ("EVALSHA 1a2b 0", NO), ("FCALL f 0", declared), ("EVAL s 0", raised)]
        {
            assert_eq!(tail(&[(request, reply)], 0), Some((0, true)), "{request}");
        }
        assert_eq!(tail(&[("SET k 1", NO), ("EVAL s 0", no)], 0), Some((0, true)));
        assert_eq!(tail(&[("EVAL s 0", ":1\r\n"), ("SET k 1", NO)], 0), Some((1, false)));
        assert_eq!(tail(&[("EVAL s 0", "-READONLY x\r\n")], 0), None, "words of its own");
        assert_eq!(tail(&[("SET k 1", no)], 0), None, "it is no script");
        // In a transaction too, if nothing else in it writes.
        let executed = format!("*2\r\n$1\r\nv\r\n{no}");
        let with = |other| {
            [("GET k", "+v\r\n"), ("MULTI", "+OK\r\n"), other, ("EVAL s 0", "+QUEUED\r\n"), ("EXEC", &executed)]
        };
        assert_eq!(tail(&with(("GET k", "+QUEUED\r\n")), 0), Some((1, true)));
        assert_eq!(tail(&with(("PUBLISH c m", "+QUEUED\r\n")), 0), None, "it would be published twice");
        assert_eq!(tail(&with(("GET k", "+QUEUED\r\n")), 2), None, "its client has a part of it already");
        // The first replies were handed on before.
        let multi = [("MULTI", "+OK\r\n"), ("SET k 1", NO), ("EXEC", "-EXECABORT Transaction discarded.\r\n")];
        assert_eq!(tail(&multi, 1), None, "its client has a part of the transaction already");
        assert_eq!(tail(&[multi[0], multi[1], multi[2], ("SET k 2", NO)], 3), Some((0, false)));
    }
}
