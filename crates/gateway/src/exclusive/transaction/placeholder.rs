//! Commands to which the gateway replies itself, inside a transaction: the upstream queues a placeholder that does
//! nothing, and when it has executed the transaction, the gateway's own reply takes its place.
//! So they run where they stand, or not at all, as in Redis.

use resp::{Decoded, Request, RequestDecoder, RequestLimits, write_request};
use zeroize::Zeroizing;

use crate::{
    command::{
        class::{Class, Local, Upstream},
        classify::classify,
    },
    exclusive::transaction::queued::Noted,
    local_reply::{
        requester::{NextStep, Requester, Unblock},
        session_commands,
    },
};

/// More than the framing of an argument, or of a request, has bytes.
const FRAME_BYTES: usize = 24;

/// What takes the place of `request` in the upstream's queue, and what is noted; `None` where the request itself does
/// no harm there, because it is one that Redis refuses to queue.
pub(crate) fn for_request(
    local: Local,
    request: &Request<'_>,
    requester: &mut Requester<'_>,
) -> Option<(Vec<u8>, Noted)> {
    let valid = match local {
        Local::Hello => true,
        Local::Auth => request.len() >= 2,
        Local::ClientId | Local::ClientGetName | Local::ClientInfo => request.len() == 2,
        Local::ClientSetName | Local::ClientReply | Local::ClientNoEvict => request.len() == 3,
        Local::ClientSetInfo => request.len() == 4,
        Local::ClientList => request.len() >= 2,
        Local::ClientKill => request.len() >= 3,
        Local::ClientUnblock => (3..=4).contains(&request.len()),
        _ => false,
    };
    let mut placeholder = Vec::new();
    if local == Local::Info {
        request.write(&mut placeholder);
        return Some((placeholder, Noted::Info));
    }
    match local {
        // The connection has to change its protocol at that point of the transaction, if it will.
        Local::Hello => {
            if let Ok(hello) = session_commands::read_hello(request, requester) {
                match hello.protocol {
                    Some(protocol) => write_request(&mut placeholder, &["HELLO", &protocol.version().to_string()]),
                    None => write_request(&mut placeholder, &["HELLO"]),
                }
                return Some((placeholder, Noted::Hello(Box::new(hello))));
            }
            write_request(&mut placeholder, &["HELLO"]);
        }
        // A session that is blocked already is unblocked at that point of the transaction.
        Local::ClientUnblock if valid => match session_commands::answer(local, request, requester, &mut Vec::new()) {
            NextStep::Unblock(Unblock { request, generation, node: None })
                if generation == requester.facts().generation() =>
            {
                placeholder = request;
            }
            // The connection of the transaction may lead to another node, where the id is somebody else's.
            _ => write_request(&mut placeholder, &["CLIENT", "UNBLOCK", "0"]),
        },
        // Nobody has this id: to list all of its connections would keep the upstream from others.
        Local::ClientList if requester.facts().may_be_since(6, 2) => {
            write_request(&mut placeholder, &["CLIENT", "LIST", "ID", "0"]);
        }
        // They do no harm there, and take the rights that Redis asks for.
        Local::ClientId | Local::ClientGetName | Local::ClientInfo | Local::ClientList => {
            request.write(&mut placeholder);
        }
        Local::ClientSetName | Local::ClientSetInfo => request.write(&mut placeholder),
        Local::ClientReply => write_request(&mut placeholder, &["CLIENT", "REPLY", "ON"]),
        Local::ClientNoEvict => write_request(&mut placeholder, &["CLIENT", "NO-EVICT", "OFF"]),
        // Nobody has this id.
        Local::ClientKill => write_request(&mut placeholder, &["CLIENT", "KILL", "ID", "0"]),
        _ => write_request(&mut placeholder, &["PING"]),
    }
    // Of its length from the beginning: it may hold a password, and a copy would be left behind if it had to be moved.
    let length: usize = request.args().map(|arg| arg.len() + FRAME_BYTES).sum();
    let mut own = Zeroizing::new(Vec::with_capacity(length + FRAME_BYTES));
    request.write(&mut own);
    let noted = if local == Local::ClientUnblock { Noted::Unblock(own) } else { Noted::Answer(own) };
    valid.then_some((placeholder, noted))
}

/// Answers a request for which a placeholder was executed, or says what else it takes.
pub(crate) fn answer(request: &[u8], requester: &mut Requester<'_>, out: &mut Vec<u8>) -> NextStep {
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    if let Ok(Decoded::Request { .. }) = decoder.decode(request) {
        let request = decoder.request(request);
        if let Class::Local(local) = classify(&request, Upstream::Redis) {
            return session_commands::answer(local, &request, requester, out);
        }
    }
    NextStep::Answered
}
