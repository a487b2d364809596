//! Commands that the gateway answers from a client's own state, in Redis's words. Those that need the upstream's
//! consent are only read here; the session asks for it.

use std::sync::Arc;

use pool::{Facts, Login, Password};
use resp::{
    Protocol, Request, parse_integer, write_array, write_bulk, write_error, write_integer, write_null, write_push,
    write_simple,
};
use settings::{DEFAULT_USER, PASSWORD_BYTES_MAX};

use crate::{
    command::{class::Local, embedded_limits, errors},
    console::command,
    local_reply::{
        client_commands,
        info::InfoAsk,
        presented,
        requester::{Hello, NextStep, NoHello, Requester},
    },
    observe::turned_away::Kind,
};

/// Answers `request` into `out`, or says what else it takes.
pub(crate) fn answer(
    local: Local,
    request: &Request<'_>,
    requester: &mut Requester<'_>,
    out: &mut Vec<u8>,
) -> NextStep {
    let (protocol, len) = (requester.state.needs.protocol, request.len());
    match local {
        Local::Quit => {
            write_simple(out, "OK");
            return NextStep::Close;
        }
        Local::Reset if len == 1 => return NextStep::Reset,
        Local::Reset => write_error(out, &errors::wrong_arity("reset")),
        Local::Select => return select(request, out),
        Local::Hello => return hello(request, requester, out),
        Local::Auth => return auth(request, requester, out),
        Local::Ping if len > 2 => write_error(out, &errors::wrong_arity("ping")),
        Local::Ping => match request.arg(1) {
            None => write_simple(out, "PONG"),
            Some(message) => write_bulk(out, message),
        },
        Local::Echo if len != 2 => write_error(out, &errors::wrong_arity("echo")),
        Local::Echo => write_bulk(out, request.arg(1).unwrap_or_default()),
        Local::EmbeddedFault => write_error(out, &embedded_limits::fault(request).unwrap_or_default()),
        Local::DiscardWithoutMulti if len != 1 => write_error(out, &errors::wrong_arity("discard")),
        Local::DiscardWithoutMulti => write_error(out, "ERR DISCARD without MULTI"),
        Local::Unwatch if len != 1 => write_error(out, &errors::wrong_arity("unwatch")),
        Local::Unwatch => {
            requester.state.transaction.unwatched();
            write_simple(out, "OK");
        }
        Local::Unsubscribe if requester.settings.embedded => unsubscribe(request, protocol, out),
        Local::NoCluster if requester.settings.embedded || requester.settings.in_cluster => {
            presented::answer(request, requester, out);
        }
        Local::Unsubscribe | Local::NoCluster => return ask(request),
        Local::Info => return NextStep::Info(InfoAsk::read(request)),
        Local::Respool => {
            let is_admin = requester.is_admin();
            if !is_admin {
                requester.published.turned_away.note(Kind::Console, requester.entry.address(), "");
            }
            match command::read(request, is_admin) {
                Ok(ask) => return NextStep::Console(ask),
                Err(error) => write_error(out, &error),
            }
        }
        Local::ClientId
        | Local::ClientGetName
        | Local::ClientSetName
        | Local::ClientSetInfo
        | Local::ClientReply
        | Local::ClientList
        | Local::ClientInfo
        | Local::ClientKill
        | Local::ClientUnblock
        | Local::ClientNoEvict
        | Local::ClientUnknown => {
            return match local {
                Local::ClientUnknown if len > 1 && !requester.settings.embedded => ask(request),
                _ => client_commands::answer(local, request, requester, out),
            };
        }
    }
    NextStep::Answered
}

/// The upstream has the words for it. One that ends subscriptions is answered once for each name.
fn ask(request: &Request<'_>) -> NextStep {
    let is_unsubscribe = request.arg(0).unwrap_or_default().to_ascii_lowercase().ends_with(b"unsubscribe");
    let due = if is_unsubscribe { (request.len() - 1).max(1) } else { 1 };
    let mut own = Vec::new();
    request.write(&mut own);
    NextStep::Ask(own, due)
}

fn select(request: &Request<'_>, out: &mut Vec<u8>) -> NextStep {
    let number = parse_integer(request.arg(1).unwrap_or_default());
    match number.map(|number| (i32::try_from(number), u32::try_from(number))) {
        _ if request.len() != 2 => write_error(out, &errors::wrong_arity("select")),
        Some((Ok(_), Ok(db))) => return NextStep::Select(db),
        Some((Ok(_), Err(_))) => write_error(out, "ERR DB index is out of range"),
        Some((Err(_), _)) => {
            let (min, max) = (i32::MIN, i32::MAX);
            write_error(out, &format!("ERR value is out of range, value must between {min} and {max}"));
        }
        None => write_error(out, "ERR value is not an integer or out of range"),
    }
    NextStep::Answered
}

fn auth(request: &Request<'_>, requester: &mut Requester<'_>, out: &mut Vec<u8>) -> NextStep {
    let users = &requester.settings.users;
    match credentials(request) {
        Err(text) => write_error(out, &text),
        Ok((name, password)) if users.elsewhere => match login(name, password) {
            Some(login) => return NextStep::LogIn(login),
            None => write_error(out, login_failed(requester, name.unwrap_or(DEFAULT_USER.as_bytes()))),
        },
        Ok((None, _)) if !users.are_required() => {
            let text = "ERR AUTH <password> called without any password configured for the default user. \
                        Are you sure your configuration is correct?";
            write_error(out, text);
        }
        Ok((name, password)) if users.admit(name, password) => match users.logged_in_as(name) {
            Some(user) if users.are_known_upstream() => return NextStep::Enter(user),
            user => match user.map(|user| requester.log_in(&user)) {
                None | Some(Ok(())) => write_simple(out, "OK"),
                Some(Err(text)) => write_error(out, &text),
            },
        },
        Ok((name, _)) => write_error(out, login_failed(requester, name.unwrap_or(DEFAULT_USER.as_bytes()))),
    }
    NextStep::Answered
}

/// The name, if there is one, and the password of an `AUTH`.
fn credentials<'r>(request: &Request<'r>) -> Result<(Option<&'r [u8]>, &'r [u8]), String> {
    let (name, password) = match request.len() {
        2 => (None, request.arg(1)),
        3 => (request.arg(1), request.arg(2)),
        1 => return Err(errors::wrong_arity("auth")),
        _ => return Err("ERR syntax error".to_owned()),
    };
    Ok((name, password.unwrap_or_default()))
}

/// One that the upstream decides. None that would be much to keep, and none whose name is no text: nobody has it.
fn login(name: Option<&[u8]>, password: &[u8]) -> Option<Login> {
    let is_small = |secret: &[u8]| secret.len() <= PASSWORD_BYTES_MAX;
    if !name.is_none_or(is_small) || !is_small(password) {
        return None;
    }
    let name = name.map(str::from_utf8).transpose().ok()?.map(Arc::from);
    Some(Login::User { name, password: Password::new(password.to_vec()) })
}

/// Takes note of a wrong password for `user`; what its sender is told, once it has waited for that.
fn login_failed(requester: &mut Requester<'_>, user: &[u8]) -> &'static str {
    let user = requester.settings.users.shown(user);
    requester.published.login_refused(requester.entry.address(), &user);
    if requester.settings.users.are_required() {
        requester.state.failed_logins.add();
    }
    errors::WRONG_PASSWORD
}

fn hello(request: &Request<'_>, requester: &mut Requester<'_>, out: &mut Vec<u8>) -> NextStep {
    match read_hello(request, requester) {
        Ok(hello) => return NextStep::Hello(hello),
        Err(NoHello::Malformed(text)) => write_error(out, &text),
        Err(NoHello::Login(user)) => write_error(out, login_failed(requester, user)),
    }
    NextStep::Answered
}

/// Reads a `HELLO`; has no effect, not even that of a wrong password.
pub(crate) fn read_hello<'r>(request: &Request<'r>, requester: &Requester<'_>) -> Result<Hello, NoHello<'r>> {
    let fail = |text: &str| Err(NoHello::Malformed(text.to_owned()));
    let mut hello = Hello { protocol: None, name: None, user: None, login: None, fault: None };
    if let Some(version) = request.arg(1) {
        hello.protocol = match parse_integer(version) {
            Some(2) => Some(Protocol::Resp2),
            Some(3) => Some(Protocol::Resp3),
            Some(_) => return fail("NOPROTO unsupported protocol version"),
            None => return fail("ERR Protocol version is not an integer or out of range"),
        };
    }
    let (mut at, mut is_login) = (2, false);
    let users = &requester.settings.users;
    while let Some(option) = request.arg(at) {
        let fault = if option.eq_ignore_ascii_case(b"AUTH") && request.len() > at + 2 {
            let (name, password) = (request.arg(at + 1), request.arg(at + 2).unwrap_or_default());
            if users.elsewhere {
                hello.login = login(name, password);
                if hello.login.is_none() {
                    return Err(NoHello::Login(name.unwrap_or_default()));
                }
            } else if users.admit(name, password) {
                hello.user = users.logged_in_as(name);
            } else {
                return Err(NoHello::Login(name.unwrap_or_default()));
            }
            is_login = true;
            at += 3;
            None
        } else if option.eq_ignore_ascii_case(b"SETNAME") && request.len() > at + 1 {
            let name = request.arg(at + 1).unwrap_or_default();
            hello.name = Some(name.to_vec());
            at += 2;
            client_commands::fault_of_name(name, requester.settings)
        } else {
            Some(format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option)))
        };
        if fault.is_some() && is_login && users.are_known_upstream() {
            return Ok(Hello { fault, ..hello });
        }
        if let Some(fault) = fault {
            return fail(&fault);
        }
    }
    let may_be_nobody = requester.state.authenticated || users.elsewhere;
    match may_be_nobody || is_login {
        true => Ok(hello),
        false => fail(&errors::hello_without_login(&requester.caller.facts())),
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

/// Puts a `HELLO` in force and answers it as the upstream answered it, with the client's own id.
pub(crate) fn greet(hello: Hello, facts: &Facts, requester: &mut Requester<'_>, out: &mut Vec<u8>) {
    let protocol = hello.protocol.unwrap_or(requester.state.needs.protocol);
    if !facts.speaks(protocol) {
        return write_error(out, "NOPROTO unsupported protocol version");
    }
    if let Some(Err(text)) = hello.user.map(|user| requester.log_in(&user)) {
        return write_error(out, &text);
    }
    requester.state.needs.protocol = protocol;
    if let Some(name) = hello.name {
        requester.entry.renamed(&name);
        requester.state.name = name.into();
    }
    match facts.hello(protocol, requester.state.id) {
        Some(reply) if requester.settings.is_hidden_cluster() => cluster::standalone_hello(&reply, out),
        Some(reply) => out.extend_from_slice(&reply),
        None => plain_hello(requester.state.id, out),
    }
}

/// What an upstream that knows no `HELLO` would have said to it.
fn plain_hello(id: u64, out: &mut Vec<u8>) {
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
