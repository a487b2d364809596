//! `CLIENT LIST` and `CLIENT KILL`: what is done with the gateway's own sessions. Looks at each of them once, a few at
//! a time, so that others get their turns; a long list waits until there is room for it.

use std::sync::Arc;

use pool::{Facts, REPLY_FREE_BYTES};
use resp::{Request, parse_integer, write_error, write_integer, write_simple, write_text};
use settings::Users;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
};

use crate::{
    client::link::Link,
    command::errors,
    local_reply::{
        client_filter::{ClientFilter, ClientType, has_one_syntax},
        client_line::line,
        requester::Requester,
    },
    observe::{
        counts::Fault,
        registry::{Asked, CLIENTS_AT_A_TIME, Entry},
    },
};

/// Bytes of a line of `CLIENT LIST`, without the client's name.
const LINE_BYTES: usize = 512;

/// A request about clients, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AboutClients {
    /// `CLIENT LIST`, of all or of some.
    List(ClientFilter),
    /// `CLIENT LIST ID …`.
    ListIds(Vec<u64>),
    Kill(ClientFilter),
    /// `CLIENT KILL address`.
    KillAddress(ClientFilter),
}

impl AboutClients {
    /// Reads a `CLIENT LIST`; otherwise the error for its sender.
    pub(super) fn list(request: &Request<'_>, facts: &Facts, users: &Users) -> Result<Self, String> {
        let option = |name: &[u8]| request.arg(2).is_some_and(|arg| arg.eq_ignore_ascii_case(name));
        match request.len() {
            0..=2 => Ok(Self::List(ClientFilter::default())),
            4.. if has_one_syntax(facts) => Ok(Self::List(ClientFilter::read(request, facts, users, false)?)),
            4 if option(b"type") => {
                let kind = ClientType::read(request.arg(3).unwrap_or_default(), facts)?;
                Ok(Self::List(ClientFilter::of(kind)))
            }
            4.. if option(b"id") => {
                let ids: Option<Vec<i64>> = request.args().skip(3).map(parse_integer).collect();
                let ids = ids.ok_or("ERR Invalid client ID")?;
                Ok(Self::ListIds(ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect()))
            }
            _ => Err("ERR syntax error".to_owned()),
        }
    }

    /// The same for a `CLIENT KILL`.
    pub(super) fn kill(request: &Request<'_>, facts: &Facts, users: &Users) -> Result<Self, String> {
        match (request.len(), request.arg(2)) {
            (3, Some(address)) => Ok(Self::KillAddress(ClientFilter::address(address))),
            _ => Ok(Self::Kill(ClientFilter::read(request, facts, users, true)?)),
        }
    }

    /// Does what is asked and writes the answer; false to close the client that asks.
    pub(crate) async fn answer<S>(self, requester: &mut Requester<'_>, link: &mut Link<S>) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let registry = &requester.published.registry;
        match self {
            Self::List(filter) => list(filter.among(registry), &filter, requester, link).await,
            Self::ListIds(ids) => {
                let chosen = ids.into_iter().filter_map(|id| registry.get(id)).collect();
                list(chosen, &ClientFilter::default(), requester, link).await;
            }
            Self::Kill(filter) => {
                let (killed, is_own) = kill(&filter, requester).await;
                write_integer(link.output(), i64::try_from(killed).unwrap_or(i64::MAX));
                return !is_own;
            }
            Self::KillAddress(filter) => {
                let (killed, is_own) = kill(&filter, requester).await;
                match killed {
                    0 => write_error(link.output(), "ERR No such client"),
                    _ => write_simple(link.output(), "OK"),
                }
                return !is_own;
            }
        }
        true
    }
}

async fn list<S>(clients: Vec<Arc<Entry>>, filter: &ClientFilter, requester: &Requester<'_>, link: &mut Link<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if requester.state.is_muted() || link.is_deaf() {
        return;
    }
    let settings = requester.settings;
    let bytes = clients.len().saturating_mul(LINE_BYTES + 3 * settings.name_bytes_max);
    let Some(room) = link.room_for_replies(bytes, settings).await else {
        requester.published.counts.fault(Fault::RepliesFull);
        return write_error(link.output(), &errors::replies_full(settings.replies_bytes_max));
    };
    let (mut lines, facts) = (String::new(), requester.facts());
    for some in clients.chunks(CLIENTS_AT_A_TIME) {
        for entry in some.iter().filter(|entry| filter.takes(entry)) {
            let own = (entry.id() == requester.entry.id()).then_some((requester, "client|list"));
            if own.is_some() && filter.skip_me {
                continue;
            }
            lines.push_str(&line(entry, own, &facts));
        }
        yield_now().await;
    }
    write_text(link.output(), requester.state.needs.protocol, &lines);
    if lines.len() > REPLY_FREE_BYTES {
        drop(lines);
        link.count_replies_by(Some(Box::new(room)));
        link.flush(settings, || false).await;
        link.count_replies_by(None);
    }
}

/// How many clients were killed, and whether the one that asks is among them, which has its answer first.
async fn kill(filter: &ClientFilter, requester: &Requester<'_>) -> (usize, bool) {
    let clients = filter.among(&requester.published.registry);
    let (mut killed, mut is_own) = (0, false);
    for some in clients.chunks(CLIENTS_AT_A_TIME) {
        for entry in some.iter().filter(|entry| filter.takes(entry)) {
            match entry.id() == requester.entry.id() {
                true if filter.skip_me => continue,
                true => is_own = true,
                false => entry.ask(Asked::Kill),
            }
            killed += 1;
        }
        yield_now().await;
    }
    (killed, is_own)
}
