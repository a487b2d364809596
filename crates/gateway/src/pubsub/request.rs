//! Requests of a client in shared pub/sub: those that change its subscriptions, and those that a subscriber that
//! speaks RESP2 may not make.

use resp::{Request, write_array, write_bulk, write_error};

use crate::{
    command::{
        class::{Class, Local, Reason},
        errors,
    },
    pubsub::message::{Kind, Name},
};

/// Commands whose errors name the subcommand too.
const CONTAINERS: [&str; 15] = [
    "acl", "client", "cluster", "command", "config", "function", "latency", "memory", "module", "object", "pubsub",
    "script", "slowlog", "xgroup", "xinfo",
];

/// A request that changes subscriptions, copied out of the input.
#[derive(Debug)]
pub(crate) enum SubscriptionRequest {
    Join(Vec<Name>),
    /// All of the kind where there are no names.
    Leave(Kind, Vec<Name>),
    /// No names where there have to be some.
    Malformed(Kind),
}

impl SubscriptionRequest {
    /// Whether a request of `class` changes subscriptions.
    pub(crate) fn is_one(class: Class) -> bool {
        matches!(class, Class::Exclusive(Reason::PubSub) | Class::Local(Local::Unsubscribe))
    }

    /// `None` for any other request.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let command = request.arg(0).unwrap_or_default();
        let is = |name: &str| command.eq_ignore_ascii_case(name.as_bytes());
        let names = |kind| request.args().skip(1).map(|name| Name { kind, bytes: name.into() }).collect();
        Kind::ALL.into_iter().find_map(|kind| match () {
            () if is(kind.subscribe()) && request.len() == 1 => Some(Self::Malformed(kind)),
            () if is(kind.subscribe()) => Some(Self::Join(names(kind))),
            () if is(kind.unsubscribe()) => Some(Self::Leave(kind, names(kind))),
            () => None,
        })
    }
}

/// Answers a request that a subscriber may not make, and `PING`, whose answer is another then.
pub(crate) fn answer_restricted(request: &Request<'_>, out: &mut Vec<u8>) {
    let lower = |index| String::from_utf8_lossy(request.arg(index).unwrap_or_default()).to_ascii_lowercase();
    let mut command = lower(0);
    if command == "ping" {
        if request.len() > 2 {
            return write_error(out, &errors::wrong_arity("ping"));
        }
        write_array(out, 2);
        write_bulk(out, b"pong");
        return write_bulk(out, request.arg(1).unwrap_or_default());
    }
    if request.len() > 1 && CONTAINERS.contains(&command.as_str()) {
        command = format!("{command}|{}", lower(1));
    }
    let text = errors::restricted(&command);
    match text.strip_prefix("ERR ") {
        // There was no transaction, but Redis takes it for one that goes wrong.
        Some(reason) if command == "exec" => {
            write_error(out, &format!("EXECABORT Transaction discarded because of: {reason}"));
        }
        _ => write_error(out, &text),
    }
}
