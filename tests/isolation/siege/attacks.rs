//! What has ever cost others something, as one client sends it.

use crate::support::{request, requests};

/// What one client sends at one go.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    /// It has logged in first.
    pub(super) logged_in: bool,
}

fn lines(name: &'static str, lines: &[&str]) -> Attack {
    Attack { name, bytes: requests(lines), logged_in: true }
}

fn raw(name: &'static str, bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { name, bytes: bytes.into(), logged_in: true }
}

fn before_login(name: &'static str, bytes: impl Into<Vec<u8>>) -> Attack {
    Attack { name, bytes: bytes.into(), logged_in: false }
}

/// One request of many arguments.
fn many(first: &[&str], count: usize, argument: impl Fn(usize) -> String) -> Vec<u8> {
    let further: Vec<String> = (0..count).map(argument).collect();
    request(&first.iter().copied().chain(further.iter().map(String::as_str)).collect::<Vec<_>>())
}

/// What reaches for other clients' connections, or for what they share.
fn reaching() -> Vec<Attack> {
    let redirects: Vec<String> = (0..60).map(|id| format!("CLIENT TRACKING ON BCAST REDIRECT {id}")).collect();
    let redirects: Vec<&str> = ["HELLO 3"].into_iter().chain(redirects.iter().map(String::as_str)).collect();
    let unblocks: Vec<String> = (0..200).map(|id| format!("CLIENT UNBLOCK {id} ERROR")).collect();
    let unblocks: Vec<&str> = unblocks.iter().map(String::as_str).collect();
    vec![
        lines("invalidations of others", &redirects),
        lines("waits of others", &unblocks),
        lines("a group called STREAMS", &["XREADGROUP GROUP streams c BLOCK 200 STREAMS s >"]),
        lines("a replica's word from a script", &["EVAL return(redis.error_reply('READONLY')) 0"; 50]),
        lines("databases that there are not", &["SELECT 9", "SELECT 99", "SET k v", "SELECT -1", "GET k"]),
        lines("replication", &["PSYNC ? -1", "SYNC", "REPLCONF listening-port 1"]),
        lines("a script to end", &["SCRIPT KILL", "FUNCTION KILL", "SCRIPT DEBUG YES"]),
        lines(
            "clients that there are not",
            &["CLIENT KILL ADDR 1.2.3.4:5", "CLIENT KILL TYPE replica", "CLIENT KILL x"],
        ),
        lines("names of connections' states", &["XSUBSCRIBE c", "XSYNC", "XREADONLY", "XPSYNC ? -1", "XSUBSCRIBE d"]),
        lines("commands that there are not", &["NOSUCH a"; 2_000]),
        lines("a cluster", &["ASKING", "READONLY", "CLUSTER SLOTS", "CLIENT CAPA redirect", "CLIENT NOSUCH"]),
        lines(
            "the console",
            &["RESPOOL PAUSE", "RESPOOL DRAIN", "RESPOOL KILL 1", "RESPOOL CONFIG SET pool.workers 1"],
        ),
        raw(
            "a filter a hundred thousand times",
            many(&["CLIENT", "KILL"], 20_000, |at| ["ID", "1000000"][at % 2].into()),
        ),
    ]
}

/// What is large, deep, or has no end.
fn large() -> Vec<Attack> {
    let deep = format!("return {}1{}", "{".repeat(40), "}".repeat(40));
    let lists = [&["MULTI"][..], &["CLIENT LIST"; 200], &["EXEC"]].concat();
    let names: Vec<Vec<u8>> = (0..20).map(|_| request(&["CLIENT", "SETNAME", &"n".repeat(1 << 20)])).collect();
    vec![
        raw("a deep reply", request(&["EVAL", &deep, "0"]).repeat(20)),
        raw("an argument longer than the upstream takes", request(&["SET", "big", &"x".repeat(3 << 19)])),
        raw("empty arguments", many(&["DEL"], 300_000, |_| String::new())),
        raw("names in a transaction", [requests(&["MULTI"]), names.concat(), requests(&["EXEC"])].concat()),
        lines("lists in a transaction", &lists),
        raw("large replies", request(&["GET", "large"]).repeat(40)),
        raw("subscriptions", many(&["SUBSCRIBE"], 20_000, |at| format!("channel:{at}"))),
        raw("half a request", &b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100000000\r\nxxxx"[..]),
        raw("a request without an end", [&b"*1000000\r\n"[..], &b"$1\r\nx\r\n".repeat(100_000)].concat()),
        raw("a long password", request(&["AUTH", "evil", &"p".repeat(4 << 20)])),
        before_login("requests without a login", requests(&["PING"]).repeat(20_000)),
        before_login("passwords", requests(&["MULTI", "AUTH app x", "AUTH app y", "EXEC"]).repeat(20)),
    ]
}

/// What leaves a state behind, or is none of Redis's.
fn odd() -> Vec<Attack> {
    vec![
        lines("a refused request in a transaction", &["MULTI", "SET odd 1", "PSYNC ? -1", "EXEC", "DISCARD"]),
        lines("a transaction left open", &["WATCH odd", "MULTI", "SET odd 2"]),
        lines("a monitor", &["MONITOR"]),
        lines("a subscriber that also asks", &["HELLO 3", "SUBSCRIBE news", "LRANGE messages 0 -1", "PING"]),
        lines("no replies", &["CLIENT REPLY OFF", "GET large", "GET large", "MULTI", "EXEC"]),
        lines("a wait", &["BLPOP nothing 0"]),
        lines("a wait for replicas", &["WAIT 5 0"]),
        lines("another version", &["HELLO 3", "HELLO 2 SETNAME x", "HELLO 4", "RESET", "HELLO 3 AUTH evil wrong"]),
        raw("TLS", [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500]].concat()),
        raw("HTTP", &b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET odd 3\r\n"[..]),
        raw("no request", &b"*02\r\n$4\r\nPING\r\n*-7\r\n$x\r\n"[..]),
    ]
}

/// All of them.
pub(super) fn all() -> Vec<Attack> {
    [reaching(), large(), odd()].into_iter().flatten().collect()
}
