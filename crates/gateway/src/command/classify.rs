//! Which class a command is of: the one table. Adding a command touches one line here. What an unknown one is, the
//! upstream says; see `told`.

use std::collections::HashSet;

use resp::Request;

use crate::command::{
    class::{Class, Local, Reason, Upstream},
    embedded_limits, info_sections, stream_read,
};

/// Longest command name in the table, `|` and subcommand included.
const NAME_MAX: usize = 24;

const READ: Class = Class::Plain { read_only: true };

/// Of a command that is nothing special.
pub(crate) const PLAIN: Class = Class::Plain { read_only: false };

/// The name in upper case, or `None` where it is longer than any that the table knows.
fn upper<'n>(parts: &[&[u8]], name: &'n mut [u8; NAME_MAX]) -> Option<&'n [u8]> {
    let mut len = 0;
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            *name.get_mut(len)? = b'|';
            len += 1;
        }
        let to = name.get_mut(len..len + part.len())?;
        to.copy_from_slice(part);
        to.make_ascii_uppercase();
        len += part.len();
    }
    Some(&name[..len])
}

/// Whether `names`, in upper case, hold the request's command or its `command|subcommand`.
pub(crate) fn is_listed(request: &Request<'_>, names: &HashSet<Vec<u8>>) -> bool {
    is_listed_as(&request.arg(0).unwrap_or_default().to_ascii_uppercase(), request, names)
}

/// The same of a request whose command is this one, in upper case.
pub(crate) fn is_listed_as(command: &[u8], request: &Request<'_>, names: &HashSet<Vec<u8>>) -> bool {
    let second = || request.arg(1).unwrap_or_default().to_ascii_uppercase();
    names.contains(command) || names.contains(&[command, b"|", &second()].concat())
}

/// Classifies a request to an upstream of this kind, of which nothing is known but that.
pub(crate) fn classify(request: &Request<'_>, upstream: Upstream) -> Class {
    table(request.arg(0).unwrap_or_default(), request, upstream).unwrap_or(PLAIN)
}

/// The class of a request whose command has this name; `None` where the table does not know it.
pub(crate) fn table(command: &[u8], request: &Request<'_>, upstream: Upstream) -> Option<Class> {
    if upstream == Upstream::Embedded && embedded_limits::fault(request).is_some() {
        return Some(Class::Local(Local::EmbeddedFault));
    }
    let mut name = [0; NAME_MAX];
    let name = upper(&[command], &mut name)?;
    of_name(name, upstream).or_else(|| of_arguments(name, request))
}

/// The class of every request whose command has this name; `None` where its arguments may tell another.
pub(crate) fn told_by_name(command: &[u8], upstream: Upstream) -> Option<Class> {
    // Any request may be at fault with the embedded one.
    if upstream == Upstream::Embedded { None } else { of_name(upper(&[command], &mut [0; NAME_MAX])?, upstream) }
}

/// The table's part that goes by the name, in upper case.
fn of_name(name: &[u8], upstream: Upstream) -> Option<Class> {
    let embedded = upstream == Upstream::Embedded;
    Some(match name {
        // The traffic of most programs first.
        b"GET" | b"MGET" | b"EXISTS" | b"HGET" | b"HGETALL" | b"HMGET" | b"TTL" | b"PTTL" | b"STRLEN" => READ,
        b"SET" | b"DEL" | b"INCR" | b"EXPIRE" | b"HSET" | b"LPUSH" | b"RPUSH" | b"LPOP" | b"RPOP" | b"SADD" => PLAIN,
        b"SETEX" | b"SETNX" | b"MSET" | b"GETSET" | b"GETDEL" | b"GETEX" | b"INCRBY" | b"DECR" | b"DECRBY" => PLAIN,
        b"UNLINK" | b"PEXPIRE" | b"PERSIST" | b"HDEL" | b"HINCRBY" | b"HMSET" | b"HSETNX" | b"SREM" | b"SPOP" => PLAIN,
        b"ZADD" | b"ZREM" | b"ZINCRBY" | b"ZPOPMIN" | b"ZPOPMAX" | b"ZREMRANGEBYSCORE" | b"LREM" | b"LTRIM" => PLAIN,
        b"XADD" | b"XACK" | b"PUBLISH" | b"EVAL" | b"EVALSHA" | b"FCALL" | b"SETBIT" | b"PFADD" | b"GEOADD" => PLAIN,
        // A health check has to test the whole way, unless the upstream has no answer.
        b"PING" if embedded => Class::Local(Local::Ping),
        b"ECHO" if embedded => Class::Local(Local::Echo),
        b"PING" | b"ECHO" | b"TIME" | b"DBSIZE" | b"LOLWUT" | b"KEYS" | b"RANDOMKEY" | b"TYPE" | b"DUMP" => READ,
        b"GETRANGE" | b"SUBSTR" | b"GETBIT" | b"BITCOUNT" | b"BITPOS" | b"BITFIELD_RO" | b"LCS" => READ,
        b"HEXISTS" | b"HKEYS" | b"HLEN" | b"HSTRLEN" | b"HVALS" | b"HSCAN" | b"HRANDFIELD" => READ,
        b"LRANGE" | b"LLEN" | b"LINDEX" | b"LPOS" | b"SCAN" | b"OBJECT" | b"EXPIRETIME" | b"PEXPIRETIME" => READ,
        b"SCARD" | b"SISMEMBER" | b"SMISMEMBER" | b"SMEMBERS" | b"SRANDMEMBER" | b"SINTER" | b"SUNION" => READ,
        b"SDIFF" | b"SINTERCARD" | b"SSCAN" | b"SORT_RO" | b"PFCOUNT" => READ,
        b"ZRANGE" | b"ZREVRANGE" | b"ZRANGEBYSCORE" | b"ZREVRANGEBYSCORE" | b"ZRANGEBYLEX" | b"ZREVRANGEBYLEX" => READ,
        b"ZCARD" | b"ZCOUNT" | b"ZLEXCOUNT" | b"ZRANK" | b"ZREVRANK" | b"ZSCORE" | b"ZMSCORE" | b"ZSCAN" => READ,
        b"ZINTER" | b"ZUNION" | b"ZDIFF" | b"ZINTERCARD" | b"ZRANDMEMBER" => READ,
        b"XRANGE" | b"XREVRANGE" | b"XLEN" | b"XINFO" | b"XPENDING" | b"LASTSAVE" => READ,
        b"GEOPOS" | b"GEODIST" | b"GEOHASH" | b"GEOSEARCH" | b"GEORADIUS_RO" | b"GEORADIUSBYMEMBER_RO" => READ,
        // State of a connection that the gateway keeps for each session.
        b"AUTH" => Class::Local(Local::Auth),
        b"HELLO" => Class::Local(Local::Hello),
        b"SELECT" => Class::Local(Local::Select),
        b"QUIT" => Class::Local(Local::Quit),
        b"RESET" => Class::Local(Local::Reset),
        b"RESPOOL" => Class::Local(Local::Respool),
        // Transactions.
        b"MULTI" => Class::Multi,
        b"EXEC" => Class::Exec,
        b"DISCARD" => Class::Local(Local::DiscardWithoutMulti),
        b"WATCH" => Class::Exclusive(Reason::Watch),
        b"UNWATCH" => Class::Local(Local::Unwatch),
        // These wait in the upstream, and others would wait behind them.
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BLMPOP" => Class::Exclusive(Reason::Blocking),
        b"BZPOPMIN" | b"BZPOPMAX" | b"BZMPOP" => Class::Exclusive(Reason::Blocking),
        b"WAIT" | b"WAITAOF" => Class::Exclusive(Reason::Wait),
        // Replies come without requests from here on.
        b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" => Class::Exclusive(Reason::PubSub),
        b"UNSUBSCRIBE" | b"PUNSUBSCRIBE" | b"SUNSUBSCRIBE" => Class::Local(Local::Unsubscribe),
        b"MONITOR" => Class::Exclusive(Reason::Monitor),
        // May push messages of its own accord, or stop the upstream for as long as it likes.
        b"DEBUG" => Class::Exclusive(Reason::Other),
        // State of a cluster client. What it means where there is no cluster, the upstream says.
        b"ASKING" | b"READONLY" | b"READWRITE" => Class::Local(Local::NoCluster),
        // Clients are not to see the nodes behind.
        b"CLUSTER" if upstream == Upstream::Cluster => Class::Local(Local::NoCluster),
        // Waits for replicas, for as long as the upstream is set to.
        b"SHUTDOWN" => Class::Exclusive(Reason::Other),
        // Makes the connection a replica's.
        b"SYNC" | b"PSYNC" | b"REPLCONF" => Class::Refused("replication does not go through a gateway"),
        b"POST" | b"HOST:" => Class::Attack,
        _ => return None,
    })
}

/// The table's part that goes by arguments as well.
fn of_arguments(name: &[u8], request: &Request<'_>) -> Option<Class> {
    Some(match name {
        b"CLIENT" => client(request),
        b"INFO" if info_sections::ask_for_respool(request) || info_sections::ask_for_clients(request) => {
            Class::Local(Local::Info)
        }
        b"INFO" => READ,
        b"XREAD" | b"XREADGROUP" if stream_read::timeout_at(request).is_some() => Class::Exclusive(Reason::Blocking),
        b"SCRIPT" => script(request),
        b"FUNCTION" => function(request),
        // What is known of the upstream is learnt anew after it.
        b"CONFIG" if request.arg(1).is_some_and(|name| name.eq_ignore_ascii_case(b"SET")) => {
            Class::Exclusive(Reason::Other)
        }
        // Its reply would be taken for that of the client's first request, and so on.
        b"PROXY" if matches!(request.arg(1), Some(b"TCP4" | b"TCP6" | b"UNKNOWN")) => Class::Attack,
        _ => return None,
    })
}

fn subcommand<'n>(request: &Request<'_>, name: &'n mut [u8; NAME_MAX]) -> &'n [u8] {
    upper(&[request.arg(1).unwrap_or_default()], name).unwrap_or_default()
}

fn client(request: &Request<'_>) -> Class {
    match subcommand(request, &mut [0; NAME_MAX]) {
        b"ID" => Class::Local(Local::ClientId),
        b"GETNAME" => Class::Local(Local::ClientGetName),
        b"SETNAME" => Class::Local(Local::ClientSetName),
        b"SETINFO" => Class::Local(Local::ClientSetInfo),
        b"REPLY" => Class::Local(Local::ClientReply),
        b"LIST" => Class::Local(Local::ClientList),
        b"INFO" => Class::Local(Local::ClientInfo),
        b"KILL" => Class::Local(Local::ClientKill),
        b"UNBLOCK" => Class::Local(Local::ClientUnblock),
        // Eviction spares the connections of a gateway or it does not; no session has one of its own.
        b"NO-EVICT" => Class::Local(Local::ClientNoEvict),
        b"TRACKING" | b"CACHING" | b"TRACKINGINFO" | b"GETREDIR" => Class::Exclusive(Reason::Tracking),
        b"NO-TOUCH" => Class::Exclusive(Reason::NoTouch),
        b"IMPORT-SOURCE" => Class::Exclusive(Reason::ImportSource),
        // They have to overtake what a shared connection may be stuck behind.
        b"PAUSE" | b"UNPAUSE" => Class::Exclusive(Reason::Other),
        // Only text comes back.
        b"HELP" => READ,
        // Any other could change a connection that is shared.
        _ => Class::Local(Local::ClientUnknown),
    }
}

fn script(request: &Request<'_>) -> Class {
    match subcommand(request, &mut [0; NAME_MAX]) {
        b"KILL" => Class::Exclusive(Reason::Other),
        b"DEBUG" => Class::Refused("SCRIPT DEBUG would stop the upstream for every client"),
        b"EXISTS" => READ,
        _ => PLAIN,
    }
}

fn function(request: &Request<'_>) -> Class {
    match subcommand(request, &mut [0; NAME_MAX]) {
        b"KILL" | b"STATS" => Class::Exclusive(Reason::Other),
        _ => PLAIN,
    }
}

#[cfg(test)]
mod tests {
    use resp::{Decoded, RequestDecoder, RequestLimits};

    use super::*;

    fn class(line: &str) -> Class {
        let line = format!("{line}\r\n");
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        assert_eq!(decoder.decode(line.as_bytes()), Ok(Decoded::Request { len: line.len() }));
        classify(&decoder.request(line.as_bytes()), Upstream::Redis)
    }

    #[test]
    fn names_count_in_any_case() {
        assert_eq!(class("gEt k"), READ);
        assert_eq!(class("set k v"), PLAIN);
        assert_eq!(class("client iD"), Class::Local(Local::ClientId));
    }

    #[test]
    fn unknown_commands_are_plain() {
        assert_eq!(class("nosuchcommand"), PLAIN);
        assert_eq!(class("a.very.long.name.of.a.module.command k"), PLAIN);
    }

    #[test]
    fn nothing_that_changes_a_connection_is_plain() {
        for line in [
            "auth x",
            "hello 3",
            "select 1",
            "quit",
            "reset",
            "multi",
            "exec",
            "watch k",
            "subscribe c",
            "monitor",
            "client reply off",
            "client tracking on",
            "client nosuch",
            "client",
            "script debug yes",
            "psync ? -1",
            "unsubscribe a b",
            "readonly",
            "debug protocol push",
            "wait 0 0",
            "POST /",
            "Host: x",
            "discard",
        ] {
            assert!(!matches!(class(line), Class::Plain { .. }), "{line}");
        }
    }

    #[test]
    fn xread_blocks_only_with_the_option() {
        assert_eq!(class("xread count 1 streams block 0"), PLAIN);
        assert_eq!(class("xread block 0 streams s 0"), Class::Exclusive(Reason::Blocking));
        assert_eq!(class("xreadgroup group streams c block 0 streams s >"), Class::Exclusive(Reason::Blocking));
    }
}
