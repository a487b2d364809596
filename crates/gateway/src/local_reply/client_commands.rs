//! `CLIENT …` over the gateway's own sessions, in Redis's formats.

use std::fmt::Write;

use pool::Needs;
use resp::{
    Request, parse_integer, write_bulk, write_error, write_integer, write_null, write_request, write_simple, write_text,
};
use settings::{DEFAULT_USER, SessionSettings};

use crate::{
    client::state::Replies,
    command::{class::Local, errors},
    local_reply::{
        about_clients::AboutClients,
        requester::{NextStep, Requester},
    },
    observe::registry::Entry,
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
        Local::ClientSetInfo if !arity(4..=4) => wrong("setinfo", out),
        Local::ClientSetInfo => set_info(request, out),
        Local::ClientReply if !arity(3..=3) => wrong("reply", out),
        Local::ClientReply => reply_mode(request.arg(2).unwrap_or_default(), requester, out),
        Local::ClientNoEvict if !arity(3..=3) => wrong("no-evict", out),
        Local::ClientNoEvict => {
            let known = ["on", "off"].iter().any(|word| is(request, 2, word));
            requester.state.no_evict = if known { is(request, 2, "on") } else { requester.state.no_evict };
            if known { write_simple(out, "OK") } else { write_error(out, "ERR syntax error") }
        }
        Local::ClientInfo if !arity(2..=2) => wrong("info", out),
        Local::ClientInfo => {
            write_text(out, requester.state.needs.protocol, &line(requester.entry, Some((requester, "client|info"))))
        }
        Local::ClientList => return about_clients(AboutClients::list(request), out),
        Local::ClientKill if len < 3 => wrong("kill", out),
        Local::ClientKill => return about_clients(AboutClients::kill(request), out),
        Local::ClientUnblock if !arity(3..=4) => wrong("unblock", out),
        Local::ClientUnblock => return unblock(request, requester, out),
        _ if len < 2 => write_error(out, &errors::wrong_arity("client")),
        _ => write_error(out, &errors::unknown_subcommand("CLIENT", request.arg(1).unwrap_or_default())),
    }
    NextStep::Answered
}

fn about_clients(read: Result<AboutClients, String>, out: &mut Vec<u8>) -> NextStep {
    match read {
        Ok(ask) => NextStep::Clients(ask),
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

fn set_info(request: &Request<'_>, out: &mut Vec<u8>) {
    let attribute = request.arg(2).unwrap_or_default();
    let shown = String::from_utf8_lossy(attribute);
    if !["lib-name", "lib-ver"].iter().any(|known| is(request, 2, known)) {
        write_error(out, &format!("ERR Unrecognized option '{shown}'"));
    } else if is_name(request.arg(3).unwrap_or_default()) {
        write_simple(out, "OK");
    } else {
        write_error(out, &format!("ERR {shown} cannot contain spaces, newlines or special characters."));
    }
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

/// A client as `CLIENT LIST` shows it. What the gateway has no equivalent of is zero.
/// `own` is set for the client that asks, with the command by which it does.
pub(super) fn line(entry: &Entry, own: Option<(&Requester<'_>, &str)>) -> String {
    let details = entry.details();
    let executing = own.and_then(|(requester, _)| requester.executing);
    let command = if executing.is_some() { "exec" } else { own.map_or("NULL", |(_, command)| command) };
    let multi = match executing {
        Some(size) => i64::try_from(size).unwrap_or(i64::MAX),
        None if details.multi => 0,
        None => -1,
    };
    let no_evict = own.is_some_and(|(requester, _)| requester.state.no_evict);
    let flags = match (executing.is_some(), no_evict) {
        (false, false) => "N",
        (false, true) => "e",
        (true, false) => "x",
        (true, true) => "xe",
    };
    let shown = Needs { db: details.db, protocol: details.protocol };
    // What the others see of a session is brought up to date after each of its requests.
    let needs = own.map_or(shown, |(requester, _)| requester.state.needs);
    // As in Redis, who has not logged in counts as the default user.
    let user = own.map_or(&details.user, |(requester, _)| &requester.state.user).as_deref().unwrap_or(DEFAULT_USER);
    let redirect = match details.tracking {
        None => -1,
        Some(client) => client.and_then(|id| i64::try_from(id).ok()).unwrap_or(0),
    };
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        line,
        "id={} addr={} laddr= fd=0 name={} age={} idle=0 flags={} db={} sub={} psub={} ssub={} multi={} watch=0 qbuf=0 \
         qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={command} user={user} \
         redir={redirect} resp={} lib-name= lib-ver=",
        entry.id(),
        entry.address(),
        String::from_utf8_lossy(&details.name),
        entry.since().elapsed().as_secs(),
        flags,
        needs.db,
        details.subscriptions[0],
        details.subscriptions[1],
        details.subscriptions[2],
        multi,
        needs.protocol.version(),
    );
    line
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
        Some(upstream_id) => {
            let mut translated = Vec::new();
            write_request(&mut translated, &["CLIENT", "UNBLOCK", &upstream_id.to_string(), reason]);
            NextStep::Unblock(translated)
        }
    }
}
