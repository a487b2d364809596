//! Commands that the gateway answers from the session's own state, in Redis's words. Those that need
//! the upstream's consent are only read here; `dispatch` asks for it.

use pool::Facts;
use resp::{
    Protocol, Request, parse_integer, write_array, write_bulk, write_error, write_integer, write_null, write_push,
    write_simple,
};
use settings::SessionSettings;

use crate::{
    client::state::ClientState,
    command::{class::Here, embedded_limits},
    console::command::{self, Ask},
    local_reply::{client_commands, info},
    observe::registry::Entry,
    session::context::Context,
    wording::errors,
};

/// What is left to do after a request was read.
#[derive(PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing: the reply, if there is one, is written.
    Answered,
    /// Close once the reply is out.
    Close,
    /// Enter a database, which has to exist.
    Select(u32),
    /// Answer `HELLO`, with what the upstream says of itself.
    Hello(Hello),
    /// Take back all state.
    Reset,
    /// Answer an operator.
    Console(Ask),
    /// Show the gateway's section of `INFO`, after what the upstream answers to this.
    Info(Vec<u8>),
    /// Have the upstream unblock one of its connections.
    Unblock(Vec<u8>),
}

/// A `HELLO` in order, not in force yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The version asked for, if one was.
    pub(crate) protocol: Option<Protocol>,
    /// `SETNAME`.
    pub(crate) name: Option<Vec<u8>>,
    /// The user of an `AUTH` with the right password.
    pub(crate) user: Option<String>,
}

/// A session as its commands see it.
pub(crate) struct Who<'s> {
    pub(crate) state: &'s mut ClientState,
    pub(crate) entry: &'s Entry,
    pub(crate) context: &'s Context,
    /// The size of the transaction that is being executed, if one is.
    pub(crate) executing: Option<usize>,
    pub(crate) settings: &'s SessionSettings,
}

impl<'s> Who<'s> {
    /// A session that executes no transaction.
    pub(crate) fn new(
        state: &'s mut ClientState,
        entry: &'s Entry,
        context: &'s Context,
        settings: &'s SessionSettings,
    ) -> Self {
        Self { state, entry, context, executing: None, settings }
    }
}

impl Who<'_> {
    /// May use the console: is one of `auth.admins` or, while nobody has to log in, on this machine.
    pub(crate) fn is_admin(&self) -> bool {
        match &self.state.user {
            Some(user) => self.settings.admins.contains(user),
            None => !self.settings.users.are_required() && self.entry.address.ip().to_canonical().is_loopback(),
        }
    }
}

/// Answers `request` into `out`, or says what else it takes.
pub(crate) fn answer(here: Here, request: &Request<'_>, who: &mut Who<'_>, out: &mut Vec<u8>) -> After {
    let (protocol, len) = (who.state.needs.protocol, request.len());
    match here {
        Here::Quit => {
            write_simple(out, "OK");
            return After::Close;
        }
        Here::Reset if len == 1 => return After::Reset,
        Here::Reset => write_error(out, &errors::wrong_arity("reset")),
        Here::Select => return select(request, out),
        Here::Hello => return hello(request, who, out),
        Here::Auth => auth(request, who, out),
        Here::Ping if len > 2 => write_error(out, &errors::wrong_arity("ping")),
        Here::Ping => match request.arg(1) {
            None => write_simple(out, "PONG"),
            Some(message) => write_bulk(out, message),
        },
        Here::Echo if len != 2 => write_error(out, &errors::wrong_arity("echo")),
        Here::Echo => write_bulk(out, request.arg(1).unwrap_or_default()),
        Here::EmbeddedFault => write_error(out, &embedded_limits::fault(request).unwrap_or_default()),
        Here::DiscardWithoutMulti if len != 1 => write_error(out, &errors::wrong_arity("discard")),
        Here::DiscardWithoutMulti => write_error(out, "ERR DISCARD without MULTI"),
        Here::Unwatch if len != 1 => write_error(out, &errors::wrong_arity("unwatch")),
        Here::Unwatch => write_simple(out, "OK"),
        Here::Unsubscribe => unsubscribe(request, protocol, out),
        Here::NoCluster => write_error(out, "ERR This instance has cluster support disabled"),
        Here::Info => return After::Info(info::upstreams_part(request)),
        Here::Respool => match command::read(request, who) {
            Ok(ask) => return After::Console(ask),
            Err(error) => write_error(out, &error),
        },
        Here::ClientId
        | Here::ClientGetName
        | Here::ClientSetName
        | Here::ClientSetInfo
        | Here::ClientReply
        | Here::ClientList
        | Here::ClientInfo
        | Here::ClientKill
        | Here::ClientUnblock
        | Here::ClientNoEvict
        | Here::ClientUnknown => return client_commands::answer(here, request, who, out),
    }
    After::Answered
}

fn select(request: &Request<'_>, out: &mut Vec<u8>) -> After {
    let number = parse_integer(request.arg(1).unwrap_or_default()).and_then(|number| i32::try_from(number).ok());
    match number.map(u32::try_from) {
        _ if request.len() != 2 => write_error(out, &errors::wrong_arity("select")),
        Some(Ok(db)) => return After::Select(db),
        Some(Err(_)) => write_error(out, "ERR DB index is out of range"),
        None => write_error(out, "ERR value is not an integer or out of range"),
    }
    After::Answered
}

fn auth(request: &Request<'_>, who: &mut Who<'_>, out: &mut Vec<u8>) {
    let users = &who.settings.users;
    let (name, password) = match request.len() {
        2 if !users.are_required() => {
            let text = "ERR AUTH <password> called without any password configured for the default user. \
                        Are you sure your configuration is correct?";
            return write_error(out, text);
        }
        2 => (None, request.arg(1)),
        3 => (request.arg(1), request.arg(2)),
        1 => return write_error(out, &errors::wrong_arity("auth")),
        _ => return write_error(out, "ERR syntax error"),
    };
    if users.admit(name, password.unwrap_or_default()) {
        who.state.log_in(settings::user_name(name));
        write_simple(out, "OK");
    } else {
        write_error(out, login_failed(who));
    }
}

/// Takes note of a wrong password; what its sender is told, once it has waited for that.
fn login_failed(who: &mut Who<'_>) -> &'static str {
    tracing::warn!(client = who.entry.id, address = %who.entry.address, "login refused");
    who.context.counts.logins_refused.add(1);
    if who.settings.users.are_required() {
        who.state.failed_logins.add();
    }
    errors::WRONG_PASSWORD
}

fn hello(request: &Request<'_>, who: &mut Who<'_>, out: &mut Vec<u8>) -> After {
    let mut fail = |text: &str| {
        write_error(out, text);
        After::Answered
    };
    let mut hello = Hello { protocol: None, name: None, user: None };
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
            if !who.settings.users.admit(request.arg(at + 1), request.arg(at + 2).unwrap_or_default()) {
                return fail(login_failed(who));
            }
            hello.user = Some(settings::user_name(request.arg(at + 1)));
            at += 3;
        } else if option.eq_ignore_ascii_case(b"SETNAME") && request.len() > at + 1 {
            let name = request.arg(at + 1).unwrap_or_default();
            if !client_commands::is_name(name) {
                return fail(client_commands::BAD_NAME);
            }
            hello.name = Some(name.to_vec());
            at += 2;
        } else {
            return fail(&format!("ERR Syntax error in HELLO option '{}'", String::from_utf8_lossy(option)));
        }
    }
    if who.state.authenticated || hello.user.is_some() {
        After::Hello(hello)
    } else {
        fail(errors::HELLO_WITHOUT_LOGIN)
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
pub(crate) fn greet(hello: Hello, facts: &Facts, who: &mut Who<'_>, out: &mut Vec<u8>) {
    let protocol = hello.protocol.unwrap_or(who.state.needs.protocol);
    if !facts.speaks(protocol) {
        return write_error(out, "NOPROTO unsupported protocol version");
    }
    who.state.needs.protocol = protocol;
    if let Some(user) = hello.user {
        who.state.log_in(user);
    }
    if let Some(name) = hello.name {
        who.entry.renamed(&name);
        who.state.name = name;
    }
    match facts.hello(protocol, who.state.id) {
        Some(reply) => out.extend_from_slice(&reply),
        None => plain_hello(who.state.id, out),
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
