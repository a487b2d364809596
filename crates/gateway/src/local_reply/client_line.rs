//! A client as `CLIENT LIST` and `CLIENT INFO` show it, with the fields that the upstream's version has.

use std::fmt::Write;

use pool::{Facts, Needs};
use settings::DEFAULT_USER;

use crate::{
    command::full_name::NO_COMMAND,
    local_reply::requester::Requester,
    observe::{
        address::Address,
        registry::{Details, Entry},
    },
};

/// The line about a client, for an upstream of which these `facts` are known. What the gateway has no equivalent of is
/// zero. `own` is set for the client that asks, with the command by which it does.
pub(super) fn line(entry: &Entry, own: Option<(&Requester<'_>, &str)>, facts: &Facts) -> String {
    let details = entry.details();
    let executing = own.and_then(|(requester, _)| requester.executing);
    let command = match own {
        Some(_) if executing.is_some() => "exec",
        Some((_, command)) => command,
        // Of others it is known while they have a connection of their own.
        None if details.exclusive.is_some() && !details.command.is_empty() => &details.command,
        None => NO_COMMAND,
    };
    let multi = executing.or(details.multi).map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
    let shown = Needs { db: details.db, protocol: details.protocol };
    // What the others see of a session is brought up to date after each of its requests.
    let needs = own.map_or(shown, |(requester, _)| requester.state.needs);
    // As in Redis, who has not logged in counts as the default user.
    let user = own.map_or(details.user.as_ref(), |(requester, _)| requester.state.user());
    let user = user.map_or(DEFAULT_USER, |user| user);
    let redirect = match details.tracking {
        None => -1,
        Some(tracking) => tracking.client.and_then(|id| i64::try_from(id).ok()).unwrap_or(0),
    };
    // What others have sent is read in turn, and not looked at meanwhile.
    let unread = own.map_or(0, |(requester, _)| requester.unread);
    let (watch, library) = (facts.may_be_since(7, 4), facts.may_be_since(7, 2));
    // No client can do here what `CLIENT CAPA` says that it can.
    let capabilities = facts.is_valkey() && facts.may_be_since(8, 1);
    let [channels, patterns, shards] = details.subscriptions;
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd=0 name={} age={} idle=0 flags={}{} db={} sub={channels} psub={patterns} ssub={shards} \
         multi={multi}{} qbuf={unread} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
         cmd={command} user={user} redir={redirect} resp={}",
        entry.id(),
        entry.address(),
        entry.local(),
        String::from_utf8_lossy(&details.name),
        entry.since().elapsed().as_secs(),
        flags(entry, &details, executing.is_some()),
        if capabilities { " capa=" } else { "" },
        needs.db,
        if watch { " watch=0" } else { "" },
        needs.protocol.version(),
    );
    if library {
        let [name, version] = details.library.as_deref().map_or([&[][..]; 2], |[name, version]| [name, version]);
        let _ =
            write!(line, " lib-name={} lib-ver={}", String::from_utf8_lossy(name), String::from_utf8_lossy(version));
    }
    if facts.is_valkey() {
        line.push_str(" tot-net-in=0 tot-net-out=0 tot-cmds=0");
    }
    line.push('\n');
    line
}

/// In the order in which Redis writes them.
fn flags(entry: &Entry, details: &Details, is_executing: bool) -> String {
    let broadcasts = details.tracking.is_some_and(|tracking| tracking.broadcasts);
    let flags = [
        ('O', details.monitors),
        ('P', details.subscriptions != [0; 3]),
        ('x', is_executing || details.multi.is_some()),
        ('b', entry.blocked().is_blocked()),
        ('t', details.tracking.is_some()),
        ('B', broadcasts),
        ('U', matches!(entry.address(), Address::Unix(_))),
        ('e', details.no_evict),
        ('T', details.no_touch),
        ('I', details.import_source),
    ];
    let shown: String = flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| *flag).collect();
    if shown.is_empty() { "N".to_owned() } else { shown }
}
