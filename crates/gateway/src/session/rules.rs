//! What a client may ask for, as its session stands, and what it is told otherwise. Asked by `request`.

use resp::{Request, write_error, write_simple};

use crate::{
    client::state::Transaction,
    command::{
        class::{Class, Local, Reason},
        errors,
    },
    local_reply::requester::Requester,
};

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
pub(super) fn aborts_a_transaction(class: Class) -> bool {
    matches!(class, Class::Refused(_) | Class::Local(Local::Respool))
}

/// What the sender of a request is told that cannot be part of its transaction.
pub(super) fn why_not_in_transaction(class: Class) -> String {
    match class {
        Class::Refused(reason) => errors::refused(reason),
        Class::Local(Local::Respool) => errors::RESPOOL_IN_MULTI.to_owned(),
        _ => errors::SUBSCRIBE_IN_MULTI.to_owned(),
    }
}

pub(super) fn may_precede_login(class: Class) -> bool {
    matches!(class, Class::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset))
}

/// What a subscriber that speaks RESP2 may do besides changing its subscriptions; `PING` is answered apart.
pub(super) fn may_subscriber(class: Class) -> bool {
    matches!(class, Class::Local(Local::Quit | Local::Reset) | Class::Attack)
}

pub(super) fn may_follow_refused_multi(class: Class) -> bool {
    matches!(class, Class::Local(Local::Quit | Local::Reset) | Class::Attack)
}

/// Answers within a transaction that was refused at its `MULTI`.
pub(super) fn answer_aborted(class: Class, requester: &mut Requester<'_>, out: &mut Vec<u8>) {
    match class {
        Class::Exec => {
            requester.state.transaction = Transaction::Open;
            write_error(out, errors::EXEC_ABORT);
        }
        Class::Local(Local::DiscardWithoutMulti) => {
            requester.state.transaction = Transaction::Open;
            write_simple(out, "OK");
        }
        _ => write_error(out, errors::AFTER_REFUSED_MULTI),
    }
}
