//! Commands that the gateway answers from the session's own state, in Redis's words. Those that need
//! the upstream's consent are only read here; `session` asks for it.

use resp::{
    Protocol, Request, parse_integer, write_array, write_bulk, write_error, write_integer, write_null, write_push,
    write_simple,
};

use crate::{command::Here, error_text, state::ClientState};

/// What is left to do after a request was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: the reply is written.
    Answered,
    /// Close once the reply is out.
    Close,
    /// Enter a database, which has to exist.
    Select(u32),
    /// Answer `HELLO`, with what the upstream says of itself.
    Hello(Hello),
}

/// A `HELLO` in order, not in force yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The version asked for, if one was.
    pub(crate) protocol: Option<Protocol>,
    /// `SETNAME`.
    pub(crate) name: Option<Vec<u8>>,
}

/// Answers `request` into `out`, or says what else it takes.
pub(crate) fn answer(here: Here, request: &Request<'_>, state: &mut ClientState, out: &mut Vec<u8>) -> After {
    let arity = |range: std::ops::RangeInclusive<usize>| range.contains(&request.len());
    match here {
        Here::Quit => {
            write_simple(out, "OK");
            return After::Close;
        }
        Here::Select => return select(request, out),
        Here::Hello => return hello(request, out),
        Here::Auth => auth(request, out),
        Here::Ping if !arity(1..=2) => write_error(out, &error_text::wrong_arity("ping")),
        Here::Ping => match request.arg(1) {
            None => write_simple(out, "PONG"),
            Some(message) => write_bulk(out, message),
        },
        Here::Echo if !arity(2..=2) => write_error(out, &error_text::wrong_arity("echo")),
        Here::Echo => write_bulk(out, request.arg(1).unwrap_or_default()),
        Here::ClientId if !arity(2..=2) => write_error(out, &error_text::wrong_arity("client|id")),
        Here::ClientId => write_integer(out, i64::try_from(state.id).unwrap_or(i64::MAX)),
        Here::ClientGetName if !arity(2..=2) => write_error(out, &error_text::wrong_arity("client|getname")),
        Here::ClientGetName if state.name.is_empty() => write_null(out, state.needs.protocol),
        Here::ClientGetName => write_bulk(out, &state.name),
        Here::ClientSetName if !arity(3..=3) => write_error(out, &error_text::wrong_arity("client|setname")),
        Here::ClientSetName => set_name(request.arg(2).unwrap_or_default(), state, out),
        Here::ClientSetInfo if !arity(4..=4) => write_error(out, &error_text::wrong_arity("client|setinfo")),
        Here::ClientSetInfo => set_info(request, out),
        Here::ClientUnknown if request.len() < 2 => write_error(out, &error_text::wrong_arity("client")),
        Here::ClientUnknown => {
            write_error(out, &error_text::unknown_subcommand("CLIENT", request.arg(1).unwrap_or_default()));
        }
        Here::DiscardWithoutMulti if !arity(1..=1) => write_error(out, &error_text::wrong_arity("discard")),
        Here::DiscardWithoutMulti => write_error(out, "ERR DISCARD without MULTI"),
        Here::Unwatch if !arity(1..=1) => write_error(out, &error_text::wrong_arity("unwatch")),
        Here::Unwatch => write_simple(out, "OK"),
        Here::Unsubscribe => unsubscribe(request, state.needs.protocol, out),
        Here::NoCluster => write_error(out, "ERR This instance has cluster support disabled"),
    }
    After::Answered
}

fn select(request: &Request<'_>, out: &mut Vec<u8>) -> After {
    if request.len() != 2 {
        write_error(out, &error_text::wrong_arity("select"));
        return After::Answered;
    }
    let number = parse_integer(request.arg(1).unwrap_or_default()).and_then(|number| i32::try_from(number).ok());
    match number.map(u32::try_from) {
        Some(Ok(db)) => After::Select(db),
        Some(Err(_)) => {
            write_error(out, "ERR DB index is out of range");
            After::Answered
        }
        None => {
            write_error(out, "ERR value is not an integer or out of range");
            After::Answered
        }
    }
}

fn auth(request: &Request<'_>, out: &mut Vec<u8>) {
    let text = match request.len() {
        2 => {
            "ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?"
        }
        3 => "WRONGPASS invalid username-password pair or user is disabled.",
        1 => return write_error(out, &error_text::wrong_arity("auth")),
        _ => "ERR syntax error",
    };
    write_error(out, text);
}

fn hello(request: &Request<'_>, out: &mut Vec<u8>) -> After {
    let mut fail = |text: &str| {
        write_error(out, text);
        After::Answered
    };
    let mut hello = Hello { protocol: None, name: None };
    if let Some(version) = request.arg(1) {
        hello.protocol = match parse_integer(version) {
            Some(2) => Some(Protocol::Resp2),
            Some(3) => Some(Protocol::Resp3),
            Some(_) => return fail("NOPROTO unsupported protocol version"),
            None => return fail("ERR Protocol version is not an integer or out of range"),
        };
    }
    let mut at = 2;
    while let Some(option) = request.arg(at) {
        if option.eq_ignore_ascii_case(b"AUTH") && request.len() > at + 2 {
            return fail("WRONGPASS invalid username-password pair or user is disabled.");
        } else if option.eq_ignore_ascii_case(b"SETNAME") && request.len() > at + 1 {
            let name = request.arg(at + 1).unwrap_or_default();
            if !is_name(name) {
                return fail(BAD_NAME);
            }
            hello.name = Some(name.to_vec());
            at += 2;
        } else {
            return fail(&format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option)));
        }
    }
    After::Hello(hello)
}

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// Redis's rule: printable, without spaces.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(name: &[u8], state: &mut ClientState, out: &mut Vec<u8>) {
    if is_name(name) {
        state.name = name.to_vec();
        write_simple(out, "OK");
    } else {
        write_error(out, BAD_NAME);
    }
}

fn set_info(request: &Request<'_>, out: &mut Vec<u8>) {
    let attribute = request.arg(2).unwrap_or_default();
    let known = [b"lib-name".as_slice(), b"lib-ver"].iter().any(|known| attribute.eq_ignore_ascii_case(known));
    if !known {
        let shown = String::from_utf8_lossy(attribute);
        write_error(out, &format!("ERR Unrecognized option '{shown}'"));
    } else if is_name(request.arg(3).unwrap_or_default()) {
        write_simple(out, "OK");
    } else {
        let shown = String::from_utf8_lossy(attribute);
        write_error(out, &format!("ERR {shown} cannot contain spaces, newlines or special characters."));
    }
}

/// Where nothing is subscribed, every name is confirmed with a count of none.
fn unsubscribe(request: &Request<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    let kind = request.arg(0).unwrap_or_default().to_ascii_lowercase();
    let names = request.args().skip(1).map(Some);
    let nameless = (request.len() == 1).then_some(None);
    for name in names.chain(nameless) {
        write_push(out, protocol, 3);
        write_bulk(out, &kind);
        match name {
            Some(name) => write_bulk(out, name),
            None => write_null(out, protocol),
        }
        write_integer(out, 0);
    }
}

/// What an upstream that knows no `HELLO` would have said to it.
pub(crate) fn plain_hello(id: u64, out: &mut Vec<u8>) {
    write_array(out, 14);
    for (key, value) in [("server", "mini-redis"), ("version", "0.4.1")] {
        write_bulk(out, key.as_bytes());
        write_bulk(out, value.as_bytes());
    }
    for (key, value) in [("proto", 2), ("id", i64::try_from(id).unwrap_or(i64::MAX))] {
        write_bulk(out, key.as_bytes());
        write_integer(out, value);
    }
    for (key, value) in [("mode", "standalone"), ("role", "master")] {
        write_bulk(out, key.as_bytes());
        write_bulk(out, value.as_bytes());
    }
    write_bulk(out, b"modules");
    write_array(out, 0);
}
