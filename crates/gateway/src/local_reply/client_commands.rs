//! `CLIENT …` over the gateway's own sessions, in Redis's formats.

use std::{fmt::Write, sync::atomic::Ordering};

use pool::Needs;
use resp::{
    Request, parse_integer, write_bulk, write_error, write_integer, write_null, write_request, write_simple, write_text,
};
use settings::DEFAULT_USER;

use crate::{
    client::state::Replies,
    command::class::Here,
    local_reply::session_commands::{After, Who},
    observe::registry::{Asked, Entry},
    wording::errors,
};

pub(crate) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Redis's rule for names: printable, without spaces.
pub(crate) fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// Answers a `CLIENT` subcommand into `out`.
pub(crate) fn answer(here: Here, request: &Request<'_>, who: &mut Who<'_>, out: &mut Vec<u8>) -> After {
    let len = request.len();
    let arity = |range: std::ops::RangeInclusive<usize>| range.contains(&len);
    let wrong = |name: &str, out: &mut Vec<u8>| write_error(out, &errors::wrong_arity(&format!("client|{name}")));
    match here {
        Here::ClientId if !arity(2..=2) => wrong("id", out),
        Here::ClientId => write_integer(out, i64::try_from(who.state.id).unwrap_or(i64::MAX)),
        Here::ClientGetName if !arity(2..=2) => wrong("getname", out),
        Here::ClientGetName if who.state.name.is_empty() => write_null(out, who.state.needs.protocol),
        Here::ClientGetName => write_bulk(out, &who.state.name),
        Here::ClientSetName if !arity(3..=3) => wrong("setname", out),
        Here::ClientSetName => set_name(request.arg(2).unwrap_or_default(), who, out),
        Here::ClientSetInfo if !arity(4..=4) => wrong("setinfo", out),
        Here::ClientSetInfo => set_info(request, out),
        Here::ClientReply if !arity(3..=3) => wrong("reply", out),
        Here::ClientReply => reply_mode(request.arg(2).unwrap_or_default(), who, out),
        Here::ClientNoEvict if !arity(3..=3) => wrong("no-evict", out),
        Here::ClientNoEvict => {
            let known = ["on", "off"].iter().any(|word| is(request, 2, word));
            who.state.no_evict = if known { is(request, 2, "on") } else { who.state.no_evict };
            if known { write_simple(out, "OK") } else { write_error(out, "ERR syntax error") }
        }
        Here::ClientInfo if !arity(2..=2) => wrong("info", out),
        Here::ClientInfo => write_text(out, who.state.needs.protocol, &line(who.entry, Some((who, "client|info")))),
        Here::ClientList => list(request, who, out),
        Here::ClientKill if len < 3 => wrong("kill", out),
        Here::ClientKill => return kill(request, who, out),
        Here::ClientUnblock if !arity(3..=4) => wrong("unblock", out),
        Here::ClientUnblock => return unblock(request, who, out),
        _ if len < 2 => write_error(out, &errors::wrong_arity("client")),
        _ => write_error(out, &errors::unknown_subcommand("CLIENT", request.arg(1).unwrap_or_default())),
    }
    After::Answered
}

fn is(request: &Request<'_>, at: usize, word: &str) -> bool {
    request.arg(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

fn set_name(name: &[u8], who: &mut Who<'_>, out: &mut Vec<u8>) {
    if is_name(name) {
        who.state.name = name.to_vec();
        who.entry.renamed(name);
        write_simple(out, "OK");
    } else {
        write_error(out, BAD_NAME);
    }
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

fn reply_mode(mode: &[u8], who: &mut Who<'_>, out: &mut Vec<u8>) {
    match mode.to_ascii_lowercase().as_slice() {
        b"on" => {
            who.state.replies = Replies::On;
            write_simple(out, "OK");
        }
        b"off" => who.state.replies = Replies::Off,
        b"skip" if who.state.replies == Replies::On => who.state.replies = Replies::SkipNext,
        b"skip" => {}
        _ => write_error(out, "ERR syntax error"),
    }
}

/// A client as `CLIENT LIST` shows it. What the gateway has no equivalent of is zero.
/// `own` is set for the client that asks, with the command by which it does.
fn line(entry: &Entry, own: Option<(&Who<'_>, &str)>) -> String {
    let details = entry.details();
    let executing = own.and_then(|(who, _)| who.executing);
    let command = if executing.is_some() { "exec" } else { own.map_or("NULL", |(_, command)| command) };
    let multi = match executing {
        Some(size) => i64::try_from(size).unwrap_or(i64::MAX),
        None if details.multi => 0,
        None => -1,
    };
    let no_evict = own.is_some_and(|(who, _)| who.state.no_evict);
    let flags = match (executing.is_some(), no_evict) {
        (false, false) => "N",
        (false, true) => "e",
        (true, false) => "x",
        (true, true) => "xe",
    };
    let shown = Needs { db: details.db, protocol: details.protocol };
    // What the others see of a session is brought up to date after each of its requests.
    let needs = own.map_or(shown, |(who, _)| who.state.needs);
    // As in Redis, who has not logged in counts as the default user.
    let user = own.map_or(&details.user, |(who, _)| &who.state.user).as_deref().unwrap_or(DEFAULT_USER);
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        line,
        "id={} addr={} laddr= fd=0 name={} age={} idle=0 flags={} db={} sub={} psub={} ssub={} multi={} watch=0 qbuf=0 \
         qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={command} user={user} \
         redir=-1 resp={} lib-name= lib-ver=",
        entry.id,
        entry.address,
        String::from_utf8_lossy(&details.name),
        entry.since.elapsed().as_secs(),
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

fn list(request: &Request<'_>, who: &Who<'_>, out: &mut Vec<u8>) {
    let sessions = who.context.registry.all();
    let mut chosen: Vec<_> = sessions.iter().collect();
    if is(request, 2, "type") && request.len() == 4 {
        match request.arg(3).unwrap_or_default().to_ascii_lowercase().as_slice() {
            b"normal" => chosen.retain(|entry| entry.details().subscriptions == [0; 3]),
            b"pubsub" => chosen.retain(|entry| entry.details().subscriptions != [0; 3]),
            b"master" | b"replica" | b"slave" => chosen.clear(),
            other => {
                return write_error(out, &format!("ERR Unknown client type '{}'", String::from_utf8_lossy(other)));
            }
        }
    } else if is(request, 2, "id") && request.len() > 3 {
        let ids: Option<Vec<i64>> = request.args().skip(3).map(parse_integer).collect();
        let Some(ids) = ids else { return write_error(out, "ERR Invalid client ID") };
        chosen.retain(|entry| i64::try_from(entry.id).is_ok_and(|id| ids.contains(&id)));
    } else if request.len() > 2 {
        return write_error(out, "ERR syntax error");
    }
    let lines: String = chosen
        .into_iter()
        .map(|entry| line(entry, (entry.id == who.entry.id).then_some((who, "client|list"))))
        .collect();
    write_text(out, who.state.needs.protocol, &lines);
}

fn kill(request: &Request<'_>, who: &Who<'_>, out: &mut Vec<u8>) -> After {
    let sessions = who.context.registry.all();
    let by_address = request.len() == 3;
    let mut chosen: Vec<_> = sessions.iter().collect();
    let mut skip_me = !by_address;
    if by_address {
        let address = String::from_utf8_lossy(request.arg(2).unwrap_or_default()).into_owned();
        chosen.retain(|entry| entry.address.to_string() == address);
        if chosen.is_empty() {
            write_error(out, "ERR No such client");
            return After::Answered;
        }
    }
    let filters: Vec<&[u8]> = if by_address { Vec::new() } else { request.args().skip(2).collect() };
    for filter in filters.chunks(2) {
        let [name, value] = filter else {
            write_error(out, "ERR syntax error");
            return After::Answered;
        };
        let text = String::from_utf8_lossy(value).into_owned();
        match name.to_ascii_lowercase().as_slice() {
            b"id" => match parse_integer(value) {
                Some(id) if id > 0 => chosen.retain(|entry| i64::try_from(entry.id) == Ok(id)),
                _ => {
                    write_error(out, "ERR client-id should be greater than 0");
                    return After::Answered;
                }
            },
            b"addr" => chosen.retain(|entry| entry.address.to_string() == text),
            b"user" => chosen.retain(|entry| entry.details().user.as_deref().unwrap_or(DEFAULT_USER) == text),
            b"skipme" if text.eq_ignore_ascii_case("yes") => skip_me = true,
            b"skipme" if text.eq_ignore_ascii_case("no") => skip_me = false,
            b"type" if text.eq_ignore_ascii_case("normal") => {
                chosen.retain(|entry| entry.details().subscriptions == [0; 3]);
            }
            b"type" if text.eq_ignore_ascii_case("pubsub") => {
                chosen.retain(|entry| entry.details().subscriptions != [0; 3]);
            }
            _ => {
                write_error(out, "ERR syntax error");
                return After::Answered;
            }
        }
    }
    chosen.retain(|entry| !(skip_me && entry.id == who.entry.id));
    let kills_itself = chosen.iter().any(|entry| entry.id == who.entry.id);
    chosen.iter().filter(|entry| entry.id != who.entry.id).for_each(|entry| entry.ask(Asked::Kill));
    if by_address {
        write_simple(out, "OK")
    } else {
        write_integer(out, i64::try_from(chosen.len()).unwrap_or(i64::MAX))
    }
    if kills_itself { After::Close } else { After::Answered }
}

/// The gateway's id becomes the upstream's, for the connection that the blocked session borrows.
fn unblock(request: &Request<'_>, who: &Who<'_>, out: &mut Vec<u8>) -> After {
    let reason = match request.arg(3) {
        None => "TIMEOUT",
        Some(word) if word.eq_ignore_ascii_case(b"TIMEOUT") => "TIMEOUT",
        Some(word) if word.eq_ignore_ascii_case(b"ERROR") => "ERROR",
        Some(_) => {
            write_error(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return After::Answered;
        }
    };
    let Some(id) = parse_integer(request.arg(2).unwrap_or_default()) else {
        write_error(out, "ERR value is not an integer or out of range");
        return After::Answered;
    };
    let session = who.context.registry.all().into_iter().find(|entry| i64::try_from(entry.id) == Ok(id));
    match session.map(|session| session.blocked_on.load(Ordering::Acquire)) {
        None | Some(0) => {
            write_integer(out, 0);
            After::Answered
        }
        Some(upstream_id) => {
            let mut translated = Vec::new();
            write_request(&mut translated, &["CLIENT", "UNBLOCK", &upstream_id.to_string(), reason]);
            After::Unblock(translated)
        }
    }
}
