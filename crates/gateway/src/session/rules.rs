//! What a client may ask for, as its session stands, and what it is told otherwise. Asked by `request`.

use std::{collections::HashSet, time::Duration};

use pool::Caller;
use resp::{Request, write_error, write_simple};
use settings::{DEFAULT_USER, SessionSettings};
use zeroize::Zeroize;

use crate::{
    client::state::{ClientState, Transaction},
    command::{
        class::{Class, Local, Reason},
        errors,
    },
    local_reply::requester::Requester,
    observe::{published::Published, turned_away::Kind},
};

/// How far the calls by which a request is read and served reach down the stack, and more.
const STACK_BYTES: usize = 64 * 1024;

/// What a client of this class speaks.
pub(super) fn attack(request: &Request<'_>) -> Kind {
    match request.arg(0) {
        Some(name) if name.eq_ignore_ascii_case(b"PROXY") => Kind::ProxyToPlain,
        _ => Kind::Http,
    }
}

/// Whether a request takes so long that others need a turn after it.
pub(super) fn looks_at_all_clients(class: Class) -> bool {
    matches!(class, Class::Local(Local::ClientList | Local::ClientKill | Local::ClientUnblock | Local::Respool))
}

/// Whether a request is confirmed more than once, or as often as there are subscriptions.
pub(super) fn changes_many_subscriptions(class: Class, request: &Request<'_>) -> bool {
    match class {
        Class::Exclusive(Reason::PubSub) => request.len() > 2,
        Class::Local(Local::Unsubscribe) => request.len() != 2,
        _ => false,
    }
}

/// Whether a request that the gateway does not pass on would leave a gap in a transaction, which is aborted instead.
pub(super) fn aborts_a_transaction(class: Class, settings: &SessionSettings) -> bool {
    let changes_connection = settings.users.are_known_upstream() && holds_login(class);
    changes_connection || matches!(class, Class::Refused(_) | Class::Local(Local::Respool))
}

/// What a request that the gateway answers would be at the upstream, which is asked whether the client's user has the
/// right to it; and whether it shows or does something to other clients.
pub(super) fn needs_right(class: Class) -> Option<(&'static [&'static str], bool)> {
    let Class::Local(local) = class else { return None };
    Some(match local {
        Local::ClientList => (&["CLIENT", "LIST"], true),
        Local::ClientKill => (&["CLIENT", "KILL", "ID", "1"], true),
        Local::ClientUnblock => (&["CLIENT", "UNBLOCK", "1"], true),
        Local::ClientNoEvict => (&["CLIENT", "NO-EVICT", "ON"], true),
        Local::ClientId => (&["CLIENT", "ID"], false),
        Local::ClientGetName => (&["CLIENT", "GETNAME"], false),
        Local::ClientSetName => (&["CLIENT", "SETNAME", "x"], false),
        Local::ClientSetInfo => (&["CLIENT", "SETINFO", "LIB-NAME", "x"], false),
        Local::ClientReply => (&["CLIENT", "REPLY", "ON"], false),
        Local::ClientInfo => (&["CLIENT", "INFO"], false),
        _ => return None,
    })
}

/// Whether the gateway answers a request that is a `CLIENT` to Redis, which one with an unknown subcommand is not.
pub(super) fn is_of_client(class: Class) -> bool {
    let Class::Local(local) = class else { return false };
    match local {
        Local::ClientId | Local::ClientGetName | Local::ClientSetName | Local::ClientSetInfo | Local::ClientReply => {
            true
        }
        Local::ClientList | Local::ClientInfo | Local::ClientKill | Local::ClientUnblock | Local::ClientNoEvict => true,
        Local::Auth | Local::Hello | Local::Select | Local::Quit | Local::Reset | Local::Ping | Local::Echo => false,
        Local::ClientUnknown | Local::EmbeddedFault | Local::NoCluster | Local::Info | Local::Respool => false,
        Local::DiscardWithoutMulti | Local::Unwatch | Local::Unsubscribe => false,
    }
}

/// Whether a password may stand in a request.
pub(super) fn holds_login(class: Class) -> bool {
    matches!(class, Class::Local(Local::Auth | Local::Hello))
}

/// Passes on what became of a request, and wipes what its password, if it `is_login`, has left on the stack below the
/// caller's place: a search looks at many bytes at once, and may lay them down there.
#[inline(never)]
pub(super) fn wiped(is_login: bool, go_on: bool) -> bool {
    if is_login {
        [0_u64; STACK_BYTES / 8].zeroize();
    }
    go_on
}

/// Whether a request counts among those of its user that go on to the upstream. What begins or ends nothing there does
/// not.
pub(super) fn is_counted(class: Class) -> bool {
    match class {
        Class::Local(local) => local == Local::Info,
        Class::Refused(_) | Class::Attack => false,
        Class::Plain { .. } | Class::Unheard | Class::Multi | Class::Exec | Class::Exclusive(_) => true,
    }
}

/// The command of a request that is refused, as a log may show it: names, and nothing else that a client sends.
pub(super) fn refused_name(request: &Request<'_>, denied: &HashSet<Vec<u8>>) -> String {
    let (name, second) = (request.arg(0).unwrap_or_default(), request.arg(1).unwrap_or_default());
    let mut name = name.to_ascii_uppercase();
    let of_two = [&name[..], b"|", &second.to_ascii_uppercase()].concat();
    if !denied.contains(&name) && denied.contains(&of_two) {
        name = of_two;
    }
    String::from_utf8_lossy(&name).into_owned()
}

/// What the sender of a request is told that cannot be part of its transaction.
pub(super) fn why_not_in_transaction(class: Class) -> String {
    match class {
        Class::Refused(reason) => errors::refused(reason),
        Class::Local(Local::Respool) => errors::RESPOOL_IN_MULTI.to_owned(),
        Class::Local(Local::Auth | Local::Hello) => errors::LOGIN_WHILE_LENT.to_owned(),
        _ => errors::SUBSCRIBE_IN_MULTI.to_owned(),
    }
}

/// Why a request that the gateway answers cannot wait for the end of its transaction, if it cannot: with it, `queued`
/// bytes would be kept until then.
pub(super) fn fault_in_transaction(
    local: Local,
    request: &Request<'_>,
    queued: usize,
    settings: &SessionSettings,
) -> Option<String> {
    let max = settings.limits.request_bytes_max;
    let name = match local {
        Local::ClientSetName => request.arg(2),
        Local::ClientSetInfo => request.arg(3),
        _ => None,
    };
    let has_long_name = name.is_some_and(|name| name.len() > settings.name_bytes_max);
    match () {
        () if has_long_name => Some(errors::name_too_long(settings.name_bytes_max)),
        () => (queued > max).then(|| errors::transaction_too_large(max)),
    }
}

/// Why a client cannot be subscribed to what a request names, if it cannot: `kept` bytes are kept of it already.
pub(super) fn fault_of_names(
    class: Class,
    request: &Request<'_>,
    kept: usize,
    settings: &SessionSettings,
) -> Option<String> {
    if class != Class::Exclusive(Reason::PubSub) {
        return None;
    }
    let (bytes, max) = (request.args().skip(1).map(<[u8]>::len).sum::<usize>(), settings.limits.request_bytes_max);
    (kept.saturating_add(bytes) > max).then(|| errors::names_too_large(max))
}

/// Whether a request is about sharded channels.
pub(super) fn is_sharded(request: &Request<'_>) -> bool {
    let is = |name: &[u8]| request.arg(0).is_some_and(|first| first.eq_ignore_ascii_case(name));
    is(b"SSUBSCRIBE") || is(b"SUNSUBSCRIBE")
}

/// Whether a request is so large that it is to have a connection of its own.
pub(super) fn is_to_be_alone(class: Class, request: &Request<'_>, caller: &Caller) -> bool {
    matches!(class, Class::Plain { .. }) && request.args().map(<[u8]>::len).sum::<usize>() > caller.alone_from()
}

pub(super) fn may_precede_login(class: Class) -> bool {
    matches!(class, Class::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset))
}

/// What a subscriber that speaks RESP2 may do besides changing its subscriptions; `PING` is answered apart.
pub(super) fn may_subscriber(class: Class) -> bool {
    matches!(class, Class::Local(Local::Quit | Local::Reset) | Class::Attack)
}

/// Takes note of a request that was refused and on which the client's next ones may rely.
pub(super) fn note_refusal(request: &Request<'_>, published: &Published, state: &mut ClientState) {
    let name = published.names.own_name(request);
    if name.eq_ignore_ascii_case(b"MULTI") {
        state.transaction = Transaction::Aborted;
    } else if name.eq_ignore_ascii_case(b"WATCH") {
        state.transaction.watch_refused(None);
    }
}

/// Answers a request for which its user has to wait so long.
pub(super) fn refuse_for_now(request: &Request<'_>, wait: Duration, requester: &mut Requester<'_>, out: &mut Vec<u8>) {
    let Requester { state, settings, published, entry, .. } = requester;
    note_refusal(request, published, state);
    let name = state.member().map_or(DEFAULT_USER, |member| member.name());
    published.turned_away.note(Kind::UserRequests, entry.address(), name);
    write_error(out, &errors::user_requests_full(name, state.limits(settings), wait));
}

/// Answers a request that may not run, because it relies on one that was refused; false if it may.
pub(super) fn withhold(class: Class, request: &Request<'_>, requester: &mut Requester<'_>, out: &mut Vec<u8>) -> bool {
    let Requester { state, settings, published, .. } = requester;
    if matches!(class, Class::Local(Local::Quit | Local::Reset) | Class::Attack) {
        return false;
    }
    let from = out.len();
    match (state.transaction, &state.select_failed) {
        (Transaction::Aborted, _) => answer_aborted(request, &published.names.own_name(request), state, out),
        (Transaction::Unwatched(_), _) if class == Class::Multi => {
            state.transaction = Transaction::Aborted;
            write_error(out, errors::AFTER_REFUSED_WATCH);
        }
        (_, Some(failure)) if !is_answered_anywhere(class) => {
            write_error(out, &errors::after_failed_select(failure, &settings.upstream));
            note_refusal(request, published, state);
        }
        (Transaction::Open | Transaction::Unwatched(_), _) => return false,
    }
    if state.is_muted() {
        out.truncate(from);
    }
    true
}

/// Whether a request means the same in any database.
fn is_answered_anywhere(class: Class) -> bool {
    matches!(class, Class::Local(_) | Class::Refused(_))
}

/// Answers within a transaction that was refused at its `MULTI`. Goes by names, as its end may be denied.
fn answer_aborted(request: &Request<'_>, name: &[u8], state: &mut ClientState, out: &mut Vec<u8>) {
    let (is_exec, is_whole) = (name.eq_ignore_ascii_case(b"EXEC"), request.len() == 1);
    let is_discard = name.eq_ignore_ascii_case(b"DISCARD");
    if is_exec || (is_discard && is_whole) {
        state.transaction = Transaction::Open;
    }
    match (is_exec, is_discard) {
        (true, _) if is_whole => write_error(out, errors::EXEC_ABORT),
        (true, _) => write_error(out, errors::EXEC_ARITY),
        (_, true) if is_whole => write_simple(out, "OK"),
        (_, true) => write_error(out, &errors::wrong_arity("discard")),
        _ => write_error(out, errors::AFTER_REFUSED_MULTI),
    }
}
