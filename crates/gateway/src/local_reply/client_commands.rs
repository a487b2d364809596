//! `CLIENT …` over the gateway's own sessions, in Redis's formats.

use resp::{
    Request, parse_integer, write_bulk, write_error, write_integer, write_null, write_request, write_simple, write_text,
};
use settings::SessionSettings;

use crate::{
    client::state::Replies,
    command::{class::Local, errors},
    local_reply::{
        about_clients::AboutClients,
        client_line::line,
        requester::{NextStep, Requester, Unblock},
    },
    observe::ids::blocked::At,
};

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Redis's rule for names: printable, without spaces.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Why a client may not have this name, if it may not.
pub(crate) fn fault_of_name(name: &[u8], settings: &SessionSettings) -> Option<String> {
    match () {
        () if name.len() > settings.name_bytes_max => Some(errors::name_too_long(settings.name_bytes_max)),
        () => (!is_name(name)).then(|| BAD_NAME.to_owned()),
    }
}

/// Answers a `CLIENT` subcommand into `out`.
pub(crate) fn answer(
    local: Local,
    request: &Request<'_>,
    requester: &mut Requester<'_>,
    out: &mut Vec<u8>,
) -> NextStep {
    let len = request.len();
    let arity = |range: std::ops::RangeInclusive<usize>| range.contains(&len);
    let wrong = |name: &str, out: &mut Vec<u8>| write_error(out, &errors::wrong_arity(&format!("client|{name}")));
    match local {
        Local::ClientId if !arity(2..=2) => wrong("id", out),
        Local::ClientId => write_integer(out, i64::try_from(requester.state.id).unwrap_or(i64::MAX)),
        Local::ClientGetName if !arity(2..=2) => wrong("getname", out),
        Local::ClientGetName if requester.state.name.is_empty() => write_null(out, requester.state.needs.protocol),
        Local::ClientGetName => write_bulk(out, &requester.state.name),
        Local::ClientSetName if !arity(3..=3) => wrong("setname", out),
        Local::ClientSetName => set_name(request.arg(2).unwrap_or_default(), requester, out),
        Local::ClientSetInfo if !requester.facts().may_be_since(7, 2) => unknown(request, out),
        Local::ClientSetInfo if !arity(4..=4) => wrong("setinfo", out),
        Local::ClientSetInfo => set_info(request, requester, out),
        Local::ClientReply if !arity(3..=3) => wrong("reply", out),
        Local::ClientReply => reply_mode(request.arg(2).unwrap_or_default(), requester, out),
        Local::ClientNoEvict if !arity(3..=3) => wrong("no-evict", out),
        Local::ClientNoEvict => {
            let known = ["on", "off"].iter().any(|word| is(request, 2, word));
            if known {
                requester.entry.update(|details| details.no_evict = is(request, 2, "on"));
            }
            if known { write_simple(out, "OK") } else { write_error(out, "ERR syntax error") }
        }
        Local::ClientInfo if !arity(2..=2) => wrong("info", out),
        Local::ClientInfo => {
            requester.unread = kept(request, requester);
            let line = line(requester.entry, Some((requester, "client|info")), &requester.facts());
            write_text(out, requester.state.needs.protocol, &line);
        }
        Local::ClientList => {
            let read = AboutClients::list(request, &requester.facts(), &requester.settings.users);
            return about_clients(read, kept(request, requester), out);
        }
        Local::ClientKill if len < 3 => wrong("kill", out),
        Local::ClientKill => {
            let read = AboutClients::kill(request, &requester.facts(), &requester.settings.users);
            return about_clients(read, requester.unread, out);
        }
        Local::ClientUnblock if !arity(3..=4) => wrong("unblock", out),
        Local::ClientUnblock => return unblock(request, requester, out),
        _ if len < 2 => write_error(out, &errors::wrong_arity("client")),
        _ => unknown(request, out),
    }
    NextStep::Answered
}

fn unknown(request: &Request<'_>, out: &mut Vec<u8>) {
    write_error(out, &errors::unknown_subcommand("CLIENT", request.arg(1).unwrap_or_default()));
}

/// How much of what the client has sent is shown as kept for it. Valkey since 8.0 reads into a buffer of all clients, and
/// keeps nothing of one whole request.
fn kept(request: &Request<'_>, requester: &Requester<'_>) -> usize {
    let is_all = requester.executing.is_none() && request.raw().is_some_and(|raw| raw.len() == requester.unread);
    let facts = requester.facts();
    if is_all && facts.is_valkey() && facts.may_be_since(8, 0) { 0 } else { requester.unread }
}

fn about_clients(read: Result<AboutClients, String>, unread: usize, out: &mut Vec<u8>) -> NextStep {
    match read {
        Ok(ask) => NextStep::Clients(ask, unread),
        Err(error) => {
            write_error(out, &error);
            NextStep::Answered
        }
    }
}

fn is(request: &Request<'_>, at: usize, word: &str) -> bool {
    request.arg(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

fn set_name(name: &[u8], requester: &mut Requester<'_>, out: &mut Vec<u8>) {
    if let Some(fault) = fault_of_name(name, requester.settings) {
        return write_error(out, &fault);
    }
    requester.state.name = name.into();
    requester.entry.renamed(name);
    write_simple(out, "OK");
}

fn set_info(request: &Request<'_>, requester: &Requester<'_>, out: &mut Vec<u8>) {
    let (attribute, value) = (request.arg(2).unwrap_or_default(), request.arg(3).unwrap_or_default());
    let shown = String::from_utf8_lossy(attribute);
    let Some(index) = ["lib-name", "lib-ver"].iter().position(|known| is(request, 2, known)) else {
        return write_error(out, &format!("ERR Unrecognized option '{shown}'"));
    };
    if !is_name(value) {
        return write_error(out, &format!("ERR {shown} cannot contain spaces, newlines or special characters."));
    }
    if value.len() > requester.settings.name_bytes_max {
        return write_error(out, &errors::name_too_long(requester.settings.name_bytes_max));
    }
    requester.entry.update(|details| details.library.get_or_insert_default()[index] = value.to_vec());
    write_simple(out, "OK");
}

fn reply_mode(mode: &[u8], requester: &mut Requester<'_>, out: &mut Vec<u8>) {
    match mode.to_ascii_lowercase().as_slice() {
        b"on" => {
            requester.state.replies = Replies::On;
            write_simple(out, "OK");
        }
        b"off" => requester.state.replies = Replies::Off,
        b"skip" => {
            requester.state.replies = match requester.state.replies {
                Replies::On => Replies::SkipNext,
                Replies::SkipNext | Replies::SkipAgain => Replies::SkipAgain,
                Replies::Off => Replies::Off,
            };
        }
        _ => write_error(out, "ERR syntax error"),
    }
}

/// The gateway's id becomes the upstream's, for the connection on which the session of that id is blocked.
fn unblock(request: &Request<'_>, requester: &Requester<'_>, out: &mut Vec<u8>) -> NextStep {
    let reason = match request.arg(3) {
        None => "TIMEOUT",
        Some(word) if word.eq_ignore_ascii_case(b"TIMEOUT") => "TIMEOUT",
        Some(word) if word.eq_ignore_ascii_case(b"ERROR") => "ERROR",
        Some(_) => {
            write_error(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return NextStep::Answered;
        }
    };
    let Some(id) = parse_integer(request.arg(2).unwrap_or_default()) else {
        write_error(out, "ERR value is not an integer or out of range");
        return NextStep::Answered;
    };
    let session = u64::try_from(id).ok().and_then(|id| requester.published.registry.get(id));
    match session.and_then(|session| session.blocked().ask()) {
        None => {
            write_integer(out, 0);
            NextStep::Answered
        }
        Some(At { upstream_id, generation, node }) => {
            let mut request = Vec::new();
            write_request(&mut request, &["CLIENT", "UNBLOCK", &upstream_id.to_string(), reason]);
            NextStep::Unblock(Unblock { request, generation, node })
        }
    }
}
