//! The commands of Redis 7.0 to 8.4 and of Valkey 8 and 9, so that a name which denies nothing is noticed. What one
//! that is not in this list does, the gateway asks the upstream.

use std::sync::LazyLock;

use crate::reading::suggestion::did_you_mean;

/// Commands without subcommands.
const PLAIN: &str = "
APPEND ASKING AUTH BGREWRITEAOF BGSAVE BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS BLMOVE BLMPOP BLPOP BRPOP
BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN COPY DBSIZE DEBUG DECR DECRBY DEL DELEX DELIFEQ DIGEST DISCARD DUMP ECHO
EVAL EVAL_RO EVALSHA EVALSHA_RO EXEC EXISTS EXPIRE EXPIREAT EXPIRETIME FAILOVER FCALL FCALL_RO FLUSHALL
FLUSHDB GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO
GEOSEARCH GEOSEARCHSTORE GET GETBIT GETDEL GETEX GETRANGE GETSET HDEL HELLO HEXISTS HEXPIRE HEXPIREAT
HEXPIRETIME HGET HGETALL HGETDEL HGETEX HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HPERSIST HPEXPIRE
HPEXPIREAT HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSET HSETEX HSETNX HSTRLEN HTTL HVALS INCR INCRBY INCRBYFLOAT
INFO KEYS LASTSAVE LCS LINDEX LINSERT LLEN LMOVE LMPOP LOLWUT LPOP LPOS LPUSH LPUSHX LRANGE LREM LSET LTRIM
MGET MIGRATE MONITOR MOVE MSET MSETEX MSETNX MULTI PERSIST PEXPIRE PEXPIREAT PEXPIRETIME PFADD PFCOUNT
PFDEBUG PFMERGE PFSELFTEST PING PSETEX PSUBSCRIBE PSYNC PTTL PUBLISH PUNSUBSCRIBE QUIT RANDOMKEY READONLY
READWRITE RENAME RENAMENX REPLCONF REPLICAOF RESET RESTORE RESTORE-ASKING ROLE RPOP RPOPLPUSH RPUSH RPUSHX
SADD SAVE SCAN SCARD SDIFF SDIFFSTORE SELECT SET SETBIT SETEX SETNX SETRANGE SHUTDOWN SINTER SINTERCARD
SINTERSTORE SISMEMBER SLAVEOF SMEMBERS SMISMEMBER SMOVE SORT SORT_RO SPOP SPUBLISH SRANDMEMBER SREM SSCAN
SSUBSCRIBE STRLEN SUBSCRIBE SUBSTR SUNION SUNIONSTORE SUNSUBSCRIBE SWAPDB SYNC TIME TOUCH TTL TYPE UNLINK
UNSUBSCRIBE UNWATCH VADD VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VRANGE VREM VSETATTR
VSIM WAIT WAITAOF WATCH XACK XACKDEL XADD XAUTOCLAIM XCFGSET XCLAIM XDEL XDELEX XLEN XPENDING XRANGE XREAD
XREADGROUP XREVRANGE XSETID XTRIM ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE
ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK ZREM
ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN
ZSCORE ZUNION ZUNIONSTORE";

/// Commands with subcommands: the command, then its subcommands.
const WITH_SUBCOMMANDS: [&str; 17] = [
    "ACL CAT DELUSER DRYRUN GENPASS GETUSER HELP LIST LOAD LOG SAVE SETUSER USERS WHOAMI",
    "CLIENT CACHING CAPA GETNAME GETREDIR HELP ID IMPORT-SOURCE INFO KILL LIST NO-EVICT NO-TOUCH PAUSE REPLY \
     SETINFO SETNAME TRACKING TRACKINGINFO UNBLOCK UNPAUSE",
    "CLUSTER ADDSLOTS ADDSLOTSRANGE BUMPEPOCH CANCELSLOTMIGRATIONS COUNT-FAILURE-REPORTS COUNTKEYSINSLOT DELSLOTS \
     DELSLOTSRANGE FAILOVER FLUSHSLOT FLUSHSLOTS FORGET GETKEYSINSLOT GETSLOTMIGRATIONS HELP INFO KEYSLOT LINKS \
     MEET MIGRATESLOTS MIGRATION MYID MYSHARDID NODES REPLICAS REPLICATE RESET SAVECONFIG SET-CONFIG-EPOCH \
     SETSLOT SHARDS SLAVES SLOT-STATS SLOTS SYNCSLOTS",
    "COMMAND COUNT DOCS GETKEYS GETKEYSANDFLAGS HELP INFO LIST",
    "COMMANDLOG GET HELP LEN RESET",
    "CONFIG GET HELP RESETSTAT REWRITE SET",
    "FUNCTION DELETE DUMP FLUSH HELP KILL LIST LOAD RESTORE STATS",
    "LATENCY DOCTOR GRAPH HELP HISTOGRAM HISTORY LATEST RESET",
    "MEMORY DOCTOR HELP MALLOC-STATS PURGE STATS USAGE",
    "MODULE HELP LIST LOAD LOADEX UNLOAD",
    "OBJECT ENCODING FREQ HELP IDLETIME REFCOUNT",
    "PUBSUB CHANNELS HELP NUMPAT NUMSUB SHARDCHANNELS SHARDNUMSUB",
    "RESPOOL CLIENTS CONFIG DRAIN HELP KILL PAUSE POOLS RECONNECT RELOAD RESUME SLOWLOG STATS TOPOLOGY USERS \
     WORKERS",
    "SCRIPT DEBUG EXISTS FLUSH HELP KILL LOAD SHOW",
    "SLOWLOG GET HELP LEN RESET",
    "XGROUP CREATE CREATECONSUMER DELCONSUMER DESTROY HELP SETID",
    "XINFO CONSUMERS GROUPS HELP STREAM",
];

/// Commands whose subcommands no server lists.
const OPEN: [&str; 1] = ["DEBUG"];

fn subcommands(command: &str) -> Option<impl Iterator<Item = &'static str>> {
    let mut words = WITH_SUBCOMMANDS.iter().map(|line| line.split_whitespace());
    words.find_map(|mut words| (words.next() == Some(command)).then_some(words))
}

/// The commands, in capitals.
pub fn command_names() -> &'static [&'static str] {
    static NAMES: LazyLock<Box<[&str]>> = LazyLock::new(|| commands().filter(|name| *name != "RESPOOL").collect());
    &NAMES
}

fn commands() -> impl Iterator<Item = &'static str> {
    let with_subcommands = WITH_SUBCOMMANDS.iter().filter_map(|line| line.split_whitespace().next());
    PLAIN.split_whitespace().chain(with_subcommands)
}

/// What is wrong with a name in capitals, `COMMAND` or `COMMAND|SUBCOMMAND`, if it is not the name of a command.
pub(crate) fn fault(name: &str) -> Option<String> {
    let (command, subcommand) = name.split_once('|').map_or((name, None), |(command, sub)| (command, Some(sub)));
    if !commands().any(|known| known == command) {
        return Some(format!("is not the name of a command{}", did_you_mean(command, commands())));
    }
    let subcommand = subcommand.filter(|_| !OPEN.contains(&command))?;
    let Some(known) = subcommands(command) else {
        return Some(format!("is not the name of a command: {command} has no subcommands"));
    };
    let known: Vec<&str> = known.collect();
    (!known.contains(&subcommand)).then(|| {
        format!(
            "is not the name of a command: {command} has no such subcommand{}",
            did_you_mean(subcommand, known.into_iter())
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_commands_are_known() {
        for name in ["GET", "CONFIG", "CONFIG|SET", "CLIENT|NO-EVICT", "DEBUG|SLEEP", "RESPOOL", "HPEXPIRE", "VSIM"] {
            assert_eq!(fault(name), None, "{name}");
        }
        for (name, meant) in [
            ("FLUSHAL", "did you mean \"FLUSHALL\"?"),
            ("CONFIG|SEET", "did you mean \"SET\"?"),
            ("GET|X", "GET has no subcommands"),
            ("NONSENSE", "is not the name of a command"),
            ("CONFIG|", "has no such subcommand"),
            ("", "is not the name of a command"),
        ] {
            assert!(fault(name).is_some_and(|fault| fault.contains(meant)), "{name}: {:?}", fault(name));
        }
    }
}
