//! What the upstream does not say, or says in a way that does not fit a gateway: a small table, each entry with its
//! reason. All other commands are as the upstream describes them.

use std::sync::Arc;

use crate::{
    command::{Command, Reach},
    commands::ByName,
    keys::{Begin, Find, Keys, Spec},
    merge::Merge,
};

const EVERYWHERE: Reach = Reach::Everywhere(Merge::AllSucceeded);

/// Where no specification finds all keys. `whole`: the upstream's own do.
pub(crate) fn keys(name: &[u8], whole: bool) -> Option<Keys> {
    match name {
        // Its STORE may stand anywhere among its options.
        b"sort" => Some(Keys::Sort),
        // The keys behind KEYS: a password may be that word.
        b"migrate" => Some(Keys::Migrate),
        // What BY and GET name depends on what is sorted.
        b"sort_ro" if !whole => Some(index(1, 0)),
        _ => None,
    }
}

/// How far these reach, whatever the upstream says of them.
pub(crate) fn reach(name: &[u8]) -> Option<Reach> {
    Some(match name {
        // The tips call it special.
        b"scan" => Reach::Scan,
        // "All shards", and then which reply?
        b"randomkey" => Reach::RandomKey,
        // One node's answer is a health check; a client that wants all nodes asks /readyz.
        b"ping" => Reach::Keys,
        // Text about one node: those of several cannot be put together.
        b"info" | b"function|stats" | b"memory|doctor" | b"memory|malloc-stats" | b"memory|stats" => Reach::Keys,
        b"latency|doctor" => Reach::Keys,
        // A graph of one node too; one that has had no such event has an error.
        b"latency|graph" => Reach::Everywhere(Merge::OneSucceeded),
        // The tips call them special; those who merge them know each.
        b"latency|histogram" | b"latency|history" | b"latency|latest" => Reach::Everywhere(Merge::Concat),
        // The tip says that all have to succeed; what they say is how many events they had.
        b"latency|reset" => Reach::Everywhere(Merge::Sum),
        // The tip says "or": of a script that one node knows another may know nothing.
        b"script|exists" => Reach::Everywhere(Merge::And),
        // It asks about the connection on which the last write went.
        b"wait" | b"waitaof" => Reach::Keys,
        // No tips, and of one node only it would be half done: users, and what is counted, kept or written of all.
        b"acl|setuser" | b"acl|load" | b"acl|save" => EVERYWHERE,
        b"acl|deluser" => Reach::Everywhere(Merge::Max),
        // No tips; with one node left out it would be half a pause.
        b"client|pause" | b"client|unpause" => EVERYWHERE,
        b"config|resetstat" | b"config|rewrite" | b"bgsave" | b"bgrewriteaof" | b"save" => EVERYWHERE,
        // No tips; sharded channels are where their slots are.
        b"pubsub|shardchannels" => Reach::Everywhere(Merge::Concat),
        b"pubsub|shardnumsub" => Reach::Everywhere(Merge::Counts),
        // Clients see one Redis.
        b"cluster" | b"asking" | b"readonly" | b"readwrite" => Reach::Nowhere,
        other if other.starts_with(b"cluster|") => Reach::Nowhere,
        _ => return None,
    })
}

/// Upstreams older than version 7 say nothing of keys that move, nor of how far a command reaches.
pub(crate) fn complete(by_name: &mut ByName) {
    complete_debug(by_name);
    let is_older = !by_name.contains_key(&b"script|load"[..]);
    if !is_older {
        return;
    }
    for (name, keys) in moving() {
        if let Some(command) = by_name.get_mut(name.as_bytes()).map(Arc::make_mut) {
            command.keys = keys;
        }
    }
    for (name, reach) in [
        ("mget", Reach::Split(Merge::ByKey)),
        ("mset", Reach::Split(Merge::AllSucceeded)),
        ("del", Reach::Split(Merge::Sum)),
        ("unlink", Reach::Split(Merge::Sum)),
        ("exists", Reach::Split(Merge::Sum)),
        ("touch", Reach::Split(Merge::Sum)),
        ("dbsize", Reach::Everywhere(Merge::Sum)),
        ("keys", Reach::Everywhere(Merge::Concat)),
        ("flushall", EVERYWHERE),
        ("flushdb", EVERYWHERE),
    ] {
        if let Some(command) = by_name.get_mut(name.as_bytes()).map(Arc::make_mut) {
            command.reach = reach;
        }
    }
    for (name, subcommand, reach) in [
        ("script", "load", EVERYWHERE),
        ("script", "flush", EVERYWHERE),
        ("script", "exists", Reach::Everywhere(Merge::And)),
        ("script", "kill", Reach::Everywhere(Merge::OneSucceeded)),
        ("config", "set", EVERYWHERE),
        ("config", "resetstat", EVERYWHERE),
        ("config", "rewrite", EVERYWHERE),
        ("slowlog", "reset", EVERYWHERE),
        ("acl", "setuser", EVERYWHERE),
        ("acl", "deluser", Reach::Everywhere(Merge::Max)),
        ("acl", "load", EVERYWHERE),
        ("acl", "save", EVERYWHERE),
    ] {
        if let Some(command) = by_name.get_mut(name.as_bytes()).map(Arc::make_mut) {
            command.has_subcommands = true;
            let subcommand_itself = Command { reach, ..command.clone() };
            by_name.insert([name, "|", subcommand].concat().into_bytes().into(), Arc::new(subcommand_itself));
        }
    }
}

/// No upstream says of `DEBUG` that some of it is about a key, and some changes how a node goes on: of one node only that
/// would be half done.
fn complete_debug(by_name: &mut ByName) {
    let Some(debug) = by_name.get_mut(&b"debug"[..]).map(Arc::make_mut) else { return };
    debug.has_subcommands = true;
    let of_all = Arc::new(Command { reach: EVERYWHERE, ..debug.clone() });
    let of_key = Arc::new(Command { keys: index(2, 0), arity: -3, ..debug.clone() });
    for name in ["object", "digest-value", "listpack", "ziplist", "quicklist", "sdslen", "htstats-key"] {
        by_name.insert(format!("debug|{name}").into_bytes().into(), Arc::clone(&of_key));
    }
    for name in [
        "sleep",
        "reload",
        "loadaof",
        "set-active-expire",
        "quicklist-packed-threshold",
        "set-disable-deny-scripts",
        "replybuffer",
        "pause-cron",
    ] {
        by_name.insert(format!("debug|{name}").into_bytes().into(), Arc::clone(&of_all));
    }
}

/// The keys that "first, last, step" does not find.
fn moving() -> impl Iterator<Item = (&'static str, Keys)> {
    let numbered = ["eval", "evalsha"].map(|name| (name, specs([counted(2)])));
    let stored = ["zunionstore", "zinterstore", "zdiffstore"].map(|name| (name, specs([range(1, 0), counted(2)])));
    let combined = ["zunion", "zinter", "zdiff"].map(|name| (name, specs([counted(1)])));
    let streams = [("xread", 1), ("xreadgroup", 4)].map(|(name, from)| {
        let find = Find::Range { last: -1, step: 1, limit: 2 };
        (name, specs([Spec { begin: Begin::Keyword(Box::from(*b"STREAMS"), from), find }]))
    });
    let near = [("georadius", 6), ("georadiusbymember", 5)].map(|(name, from)| {
        let word = |word: &[u8]| Spec {
            begin: Begin::Keyword(word.into(), from),
            find: Find::Range { last: 0, step: 1, limit: 0 },
        };
        (name, specs([range(1, 0), word(b"STORE"), word(b"STOREDIST")]))
    });
    let part = [("memory", index(2, 0)), ("object", index(2, 0)), ("xgroup", index(2, 0)), ("xinfo", index(2, 0))];
    let all: [&[(&'static str, Keys)]; 6] = [&numbered, &stored, &combined, &streams, &near, &part];
    all.concat().into_iter()
}

fn specs<const N: usize>(specs: [Spec; N]) -> Keys {
    Keys::of(Box::new(specs))
}

fn range(at: usize, last: i64) -> Spec {
    Spec { begin: Begin::Index(at), find: Find::Range { last, step: 1, limit: 0 } }
}

fn index(at: usize, last: i64) -> Keys {
    specs([range(at, last)])
}

/// The argument `at` says how many follow.
fn counted(at: usize) -> Spec {
    Spec { begin: Begin::Index(at), find: Find::Count { at: 0, first: 1, step: 1 } }
}
