//! Which of the requests that the gateway answers itself are shown to monitors: as in Redis, all but those of
//! administrators and those that are refused before they are executed. Called by the session that answers.

use resp::Request;

use crate::{
    command::class::Local,
    local_reply::requester::{NextStep, Requester},
};

/// Shows monitors a request, if there are any: it is answered by `reply`, or comes to `next`.
pub(crate) fn show(local: Local, request: &Request<'_>, requester: &Requester<'_>, (next, reply): (&NextStep, &[u8])) {
    let monitors = &requester.published.monitors;
    // What the upstream is asked, it shows.
    if monitors.exist() && !matches!(next, NextStep::Ask(..)) && is_executed(reply) && is_shown(local, reply) {
        // The one in which it leaves the client.
        let db = match next {
            NextStep::Select(db) if requester.facts().databases().is_none_or(|count| *db < count) => *db,
            NextStep::Reset => requester.settings.db,
            _ => requester.state.needs.db,
        };
        monitors.show(request, requester.entry, db);
    }
}

/// Redis would not have refused it for its form.
fn is_executed(reply: &[u8]) -> bool {
    !(reply.starts_with(b"-ERR wrong number of arguments") || reply.starts_with(b"-ERR unknown"))
}

fn is_shown(local: Local, reply: &[u8]) -> bool {
    match local {
        Local::Auth
        | Local::Hello
        | Local::Select
        | Local::Reset
        | Local::ClientId
        | Local::ClientGetName
        | Local::ClientSetName
        | Local::ClientSetInfo
        | Local::ClientReply
        | Local::ClientInfo
        | Local::DiscardWithoutMulti
        | Local::Unwatch => true,
        // What an administrator may ask of a node, clients of the gateway are refused.
        Local::NoCluster => !reply.starts_with(b"-"),
        Local::ClientList | Local::ClientKill | Local::ClientUnblock | Local::ClientNoEvict | Local::Respool => false,
        // The upstream is asked; or it knows no monitors.
        Local::Info | Local::Unsubscribe | Local::ClientUnknown => false,
        Local::Ping | Local::Echo | Local::EmbeddedFault => false,
        // Before 7.2 it was none of the commands.
        Local::Quit => false,
    }
}
