//! What is invalid, on its way to the client to which another redirects it, and the ids of clients in what the upstream
//! says about redirections. Called by the session, `exchange` and `settle`.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use resp::{Protocol, ReplyScanner, parse_integer, write_integer};

use crate::client::link::Link;

/// Bytes of messages that are looked at in one turn.
const MESSAGES_BYTES: usize = 64 * 1024;

/// In front of the keys, as RESP3 has it, and as a subscriber that speaks RESP2 gets it.
const PUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n";
const MESSAGE: &[u8] = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";

/// In front of the id of a client that is redirected to and has gone.
const BROKEN: &[u8] = b">2\r\n$21\r\ntracking-redir-broken\r\n";

/// Passes on what others redirect to the client, as far as it is there. As in Redis, a client that speaks RESP2 gets
/// it while it is subscribed to something. The task is woken when there is more.
pub(crate) fn deliver<S>(cx: &mut Context<'_>, link: &mut Link<S>, protocol: Protocol, is_subscribed: bool) {
    if !link.entry().inbox().is_used() {
        return;
    }
    let (entry, mut message, mut bytes) = (Arc::clone(link.entry()), Vec::new(), 0);
    link.poll_asked(cx);
    while let Poll::Ready(()) = entry.inbox().poll_message(cx, &mut message) {
        bytes += message.len();
        if let Some(keys) = message.strip_prefix(PUSH) {
            match protocol {
                Protocol::Resp3 => link.output().extend_from_slice(&message),
                Protocol::Resp2 if is_subscribed => {
                    link.output().extend_from_slice(MESSAGE);
                    link.output().extend_from_slice(keys);
                }
                Protocol::Resp2 => {}
            }
        }
        message.clear();
        if bytes > MESSAGES_BYTES {
            // Others get their turns; what is left is looked at in the next one.
            cx.waker().wake_by_ref();
            break;
        }
    }
}

/// Whether a message says that a client that was redirected to has gone.
pub(in crate::exclusive) fn tells_of_an_end(message: &[u8]) -> bool {
    message.starts_with(BROKEN)
}

/// Puts the gateway's ids in what the upstream says about redirections, from `at` in `out` on: the answer to `CLIENT
/// GETREDIR`, the one to `CLIENT TRACKINGINFO`, or the news of an end. `client` says whose an upstream's id is.
pub(in crate::exclusive) fn translate(out: &mut Vec<u8>, at: usize, client: impl Fn(i64) -> Option<u64>) {
    let Some(id_at) = id_at(&out[at..]) else { return };
    let id_at = at + id_at;
    let digits = out[id_at + 1..].iter().take_while(|byte| **byte != b'\r').count();
    let Some(id) = parse_integer(&out[id_at + 1..id_at + 1 + digits]).filter(|id| *id > 0) else { return };
    let rest = out.split_off(id_at + digits + 3);
    out.truncate(id_at);
    // Of a client that nobody knows there is no id.
    write_integer(out, client(id).and_then(|id| i64::try_from(id).ok()).unwrap_or(0));
    out.extend_from_slice(&rest);
}

/// Where the integer begins that is an id.
fn id_at(message: &[u8]) -> Option<usize> {
    if message.starts_with(b":") {
        return Some(0);
    }
    if message.starts_with(BROKEN) {
        return Some(BROKEN.len());
    }
    if !message.starts_with(b"%") && !message.starts_with(b"*") {
        return None;
    }
    let next = |at: usize| Some(at + ReplyScanner::new(usize::MAX).scan(message.get(at..)?).ok()?.consumed);
    let mut at = message.iter().position(|byte| *byte == b'\n')? + 1;
    while at < message.len() {
        let value = next(at)?;
        if message[at..value].eq_ignore_ascii_case(b"$8\r\nredirect\r\n") {
            return message[value..].starts_with(b":").then_some(value);
        }
        at = next(value)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(message: &str) -> String {
        let mut out = format!("+before\r\n{message}").into_bytes();
        translate(&mut out, 9, |id| (id == 77).then_some(123_456));
        String::from_utf8(out.split_off(9)).unwrap()
    }

    #[test]
    fn an_id_of_the_upstream_becomes_the_gateways() {
        assert_eq!(translated(":77\r\n"), ":123456\r\n");
        assert_eq!(translated(":78\r\n"), ":0\r\n");
        let push = ">2\r\n$21\r\ntracking-redir-broken\r\n:77\r\n";
        assert_eq!(translated(push), push.replace("77", "123456"));
        for head in ["%3", "*6"] {
            let info = format!(
                "{head}\r\n$5\r\nflags\r\n*2\r\n$8\r\nredirect\r\n:77\r\n$8\r\nredirect\r\n:77\r\n$8\r\nprefixes\r\n*1\r\n$8\r\nredirect\r\n"
            );
            let expected = info.replace("$8\r\nredirect\r\n:77\r\n$8\r\np", "$8\r\nredirect\r\n:123456\r\n$8\r\np");
            assert_eq!(translated(&info), expected);
        }
    }

    #[test]
    fn what_is_no_id_stays() {
        for message in [":-1\r\n", ":0\r\n", "-ERR x\r\n", "+QUEUED\r\n", "%1\r\n$8\r\nredirect\r\n:-1\r\n", "*0\r\n"] {
            assert_eq!(translated(message), message);
        }
    }
}
