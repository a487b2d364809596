//! Parity: the bytes that come back through the gateway are those that Redis itself sends for the same
//! requests, in both protocols, whatever their type and size.

use crate::support::{Client, Gateway, Redis, assert_same, request, requests, seeded};

/// Commands whose replies between them have every shape. Each is a list of arguments.
const PROGRAM: &[&[&str]] = &[
    &["SET", "text", "some text"],
    &["GET", "text"],
    &["GET", "nothing"],
    &["MGET", "text", "nothing", "text"],
    &["SET", "empty", ""],
    &["GET", "empty"],
    &["SET", "binary", "\0\r\n$-1\r\n*3\r\n\u{7f}"],
    &["GETRANGE", "binary", "0", "-1"],
    &["DECRBY", "number", "9223372036854775807"],
    &["DECR", "number"],
    &["DECR", "number"],
    &["INCRBYFLOAT", "float", "-1.5e3"],
    &["RPUSH", "list", "a", "b", "c"],
    &["LRANGE", "list", "0", "-1"],
    &["LRANGE", "nothing", "0", "-1"],
    &["LPOP", "nothing", "2"],
    &["LPOS", "list", "z"],
    &["HSET", "hash", "field", "1", "other", "2"],
    &["HGETALL", "hash"],
    &["HGETALL", "nothing"],
    &["HMGET", "hash", "field", "missing"],
    &["HRANDFIELD", "hash", "5", "WITHVALUES"],
    &["SADD", "set", "one"],
    &["SMEMBERS", "set"],
    &["SMISMEMBER", "set", "one", "two"],
    &["ZADD", "zset", "-1.5", "low", "3.25", "high", "inf", "top", "-inf", "bottom"],
    &["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
    &["ZSCORE", "zset", "top"],
    &["ZSCORE", "zset", "nobody"],
    &["ZADD", "zset", "INCR", "0.1", "low"],
    &["ZRANK", "zset", "nobody"],
    &["ZPOPMIN", "zset"],
    &["ZMPOP", "1", "zset", "MIN", "COUNT", "2"],
    &["ZMPOP", "1", "nothing", "MIN"],
    &["GEOADD", "geo", "13.361389", "38.115556", "Palermo"],
    &["GEOPOS", "geo", "Palermo", "nobody"],
    &["XADD", "stream", "1-1", "f", "v", "g", "w"],
    &["XADD", "stream", "2-1", "f", "v"],
    &["XRANGE", "stream", "-", "+"],
    &["XREAD", "COUNT", "1", "STREAMS", "stream", "nothing", "0", "0"],
    &["XGROUP", "CREATE", "stream", "group", "0"],
    &["XREADGROUP", "GROUP", "group", "me", "COUNT", "1", "STREAMS", "stream", ">"],
    &["XPENDING", "stream", "group"],
    &["XINFO", "STREAM", "stream"],
    &["XINFO", "GROUPS", "stream"],
    &["SCAN", "0", "COUNT", "1000", "MATCH", "te*"],
    &["OBJECT", "ENCODING", "text"],
    &["TYPE", "list"],
    &["EXPIRE", "text", "1000"],
    &["TTL", "nothing"],
    &["EXISTS", "text", "text"],
    &["BITFIELD", "bits", "SET", "i8", "0", "-5", "GET", "i8", "0", "OVERFLOW", "FAIL", "INCRBY", "i8", "0", "-128"],
    &["DUMP", "number"],
    &["SORT", "list", "ALPHA", "DESC"],
    &["LCS", "text", "binary", "IDX"],
    &["COMMAND", "INFO", "get", "nosuch"],
    &["COMMAND", "DOCS", "zadd"],
    &["COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"],
    &["CONFIG", "GET", "maxmemory-policy"],
    &["LOLWUT", "VERSION", "4"],
    &["FUNCTION", "LIST"],
    &["EVAL", "return {1, -2, 'text', false, true, {'nested', {{}, {3}}}, 2.9}", "0"],
    &["EVAL", "return redis.error_reply('MY own error')", "0"],
    &["EVAL", "return redis.call('NOSUCH')", "0"],
    &["EVAL", "redis.setresp(3) return redis.call('HGETALL', 'hash')", "0"],
    &["EVAL", "redis.setresp(3) return redis.call('ZSCORE', 'geo', 'Palermo')", "0"],
    &["EVAL", "return {double = -3.25}", "0"],
    &["EVAL", "return {double = 1/0}", "0"],
    &["EVAL", "return {map = {[1] = {map = {key = {1, 2}}}}}", "0"],
    &["EVAL", "return {set = {member = true}}", "0"],
    &["EVAL", "redis.setresp(3) return {true, false, {double = 0.5}, {map = {}}}", "0"],
    &["EVAL", "return {big_number = '-3492890328409238509324850943850943825024385'}", "0"],
    &["EVAL", "return {verbatim_string = {format = 'txt', string = 'line\\nline'}}", "0"],
    &["LPUSH", "text", "x"],
    &["GET"],
    &["SET", "k", "v", "NONSENSE"],
    &["NOSUCH", "with", "arguments\r\nand lines"],
    &["nosuch"],
    &["CLUSTER", "INFO"],
    &["MEMORY", "USAGE", "nothing"],
    &["EXPIRE", "text", "not-a-number"],
];

fn compare(client: &mut Client, direct: &mut Client, args: &[&str]) {
    let (found, expected) = (client.call(args), direct.call(args));
    assert_same(&found, &expected, &args.join(" "));
}

/// Two upstreams in the same state: one for the gateway, one to compare with.
fn twins() -> (Redis, Redis, Gateway) {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    (behind, beside, gateway)
}

#[test]
fn replies_of_every_type_are_those_of_redis_in_resp2() {
    let (_behind, beside, gateway) = twins();
    let (mut client, mut direct) = (gateway.client(), beside.client());
    PROGRAM.iter().for_each(|args| compare(&mut client, &mut direct, args));
}

#[test]
fn replies_of_every_type_are_those_of_redis_in_resp3() {
    let (_behind, beside, gateway) = twins();
    let (mut client, mut direct) = (gateway.client(), beside.client());
    assert!(client.line("HELLO 3").starts_with(b"%"));
    assert!(direct.line("HELLO 3").starts_with(b"%"));
    PROGRAM.iter().for_each(|args| compare(&mut client, &mut direct, args));
}

#[test]
fn the_same_program_in_one_pipeline_gives_the_same_bytes() {
    for protocol in ["2", "3"] {
        let (_behind, beside, gateway) = twins();
        let (mut client, mut direct) = (gateway.client(), beside.client());
        for connection in [&mut client, &mut direct] {
            connection.call(&["HELLO", protocol]);
            connection.send_raw(&PROGRAM.iter().flat_map(|args| request(args)).collect::<Vec<_>>());
        }
        let (found, expected) = (client.read_replies(PROGRAM.len()), direct.read_replies(PROGRAM.len()));
        for ((found, expected), args) in found.iter().zip(&expected).zip(PROGRAM) {
            assert_same(found, expected, &args.join(" "));
        }
    }
}

#[test]
fn random_programs_get_the_replies_of_redis() {
    let (_behind, beside, gateway) = twins();
    let (mut client, mut direct) = (gateway.client(), beside.client());
    let mut rng = seeded("random programs");
    let names = [
        "SET", "GET", "APPEND", "STRLEN", "INCR", "LPUSH", "LPOP", "LRANGE", "HSET", "HGETALL", "SADD", "SCARD",
        "ZADD", "ZRANGE", "DEL", "EXISTS", "TYPE", "MGET", "SETRANGE", "GETDEL", "RENAME", "COPY",
    ];
    let words = ["a", "b", "c", "0", "1", "-1", "2", "x y", "\r\n", "9223372036854775807", ""];
    for _ in 0..150 {
        if rng.u32(0..10) == 0 {
            let protocol = if rng.bool() { "2" } else { "3" };
            client.call(&["HELLO", protocol]);
            direct.call(&["HELLO", protocol]);
        }
        let program: Vec<Vec<&str>> = (0..rng.usize(1..40))
            .map(|_| {
                let mut args = vec![names[rng.usize(..names.len())]];
                args.extend((0..rng.usize(0..4)).map(|_| words[rng.usize(..words.len())]));
                args
            })
            .collect();
        let bytes: Vec<u8> = program.iter().flat_map(|args| request(args)).collect();
        client.send_raw(&bytes);
        direct.send_raw(&bytes);
        for args in &program {
            assert_same(&client.read_reply(), &direct.read_reply(), &format!("{args:?}"));
        }
    }
}

#[test]
fn values_of_64_mib_pass_unchanged_both_ways() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut bytes = vec![0; 64 << 20];
    seeded("64 MiB").fill(&mut bytes);
    let mut set = format!("*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${}\r\n", bytes.len()).into_bytes();
    set.extend_from_slice(&bytes);
    set.extend_from_slice(b"\r\n");
    let mut client = gateway.client();
    client.send_raw(&set);
    assert_eq!(client.read_reply(), b"+OK\r\n");
    client.send_raw(&requests(&["STRLEN large", "GET large", "PING"]));
    assert_eq!(client.read_reply(), b":67108864\r\n");
    let mut expected = format!("${}\r\n", bytes.len()).into_bytes();
    expected.extend_from_slice(&bytes);
    expected.extend_from_slice(b"\r\n");
    assert_same(&client.read_reply(), &expected, "the value through the gateway");
    assert_eq!(client.read_reply(), b"+PONG\r\n");
    let mut direct = redis.client();
    assert_same(&direct.line("GET large"), &expected, "the value in Redis");
}

#[test]
fn replies_of_hundreds_of_thousands_of_items_pass_unchanged() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut direct) = (gateway.client(), redis.client());
    let script = "local t = {} for i = 1, 200000 do t[i] = {i, {i}, 'x'} end return t";
    compare(&mut client, &mut direct, &["EVAL", script, "0"]);
    client.expect("PING", "+PONG\r\n");
}

#[test]
fn an_empty_request_counts_as_the_one_whose_reply_is_left_out() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    for empty in ["*0\r\n", "\r\n", "*-1\r\n"] {
        let skip = String::from_utf8(requests(&["CLIENT REPLY SKIP"])).expect("text");
        let rest = String::from_utf8(requests(&["ECHO 1", "ECHO 2", "ECHO 3"])).expect("text");
        for sent in [
            format!("{skip}{empty}{rest}"),
            format!("{empty}{skip}{rest}"),
            format!("{skip}{skip}{empty}{empty}{rest}"),
            format!("{skip}{empty}{skip}{rest}"),
        ] {
            let (mut client, mut direct) = (gateway.client(), beside.client());
            for client in [&mut client, &mut direct] {
                client.send_raw(sent.as_bytes());
                client.half_close();
            }
            assert_same(&client.read_to_end(), &direct.read_to_end(), &sent);
        }
    }
}

/// While the upstream is asked for something else, what the output has is written to the client.
#[test]
fn a_reply_that_is_left_out_is_left_out_whole_where_the_gateway_asks_the_upstream_before_or_after_it() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder().upstream(&behind.url()).allow("login refused").start();
    let (skip, off, on) = ("CLIENT REPLY SKIP", "CLIENT REPLY OFF", "CLIENT REPLY ON");
    let caching = ["HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"];
    for (state, rest) in [
        (&["WATCH k"][..], &[skip, "HELLO 3", "ECHO end"][..]),
        (&["CLIENT TRACKING ON"], &[skip, "HELLO 3", "ECHO end"]),
        (&["WATCH k", off, "HELLO 3", on], &["ECHO end"]),
        (&caching, &[skip, "HELLO 2", "ECHO end"]),
        (&caching, &[skip, "AUTH nobody wrong", "ECHO end"]),
        (&caching, &[off, "AUTH nobody wrong", on, "ECHO end"]),
        (&caching, &["AUTH nobody wrong", "ECHO end"]),
    ] {
        let [found, expected] = [gateway.client(), beside.client()].map(|mut client| {
            client.send_raw(&requests(&[state, rest].concat()));
            let mut told = Vec::new();
            while !told.ends_with(b"$3\r\nend\r\n") {
                let reply = client.read_reply();
                // Ids and versions.
                if !reply.starts_with(b"%") || state[0] != "HELLO 3" || !told.is_empty() {
                    told.extend_from_slice(&reply);
                }
            }
            told
        });
        assert_same(&found, &expected, &format!("{state:?}, {rest:?}"));
    }
}

/// Whatever stands between `CLIENT CACHING` and a read of the key, unless it is a `CLIENT`, was what that held for.
#[test]
fn client_caching_holds_for_the_next_request_wherever_it_is_answered() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    let between =
        ["", "HELLO", "AUTH x", "READONLY", "PING", "CLIENT GETNAME", "CLIENT NOPE", "CLIENT REPLY SKIP", "EXEC"];
    for (mode, caching) in [("OPTOUT", "NO"), ("OPTIN", "YES")] {
        for between in between {
            let [found, expected] = [gateway.client(), beside.client()].map(|mut client| {
                client.call(&["HELLO", "3"]);
                client.expect(&format!("CLIENT TRACKING ON {mode}"), "+OK\r\n");
                let between = if between.is_empty() { b"*0\r\n".to_vec() } else { requests(&[between]) };
                let caching = requests(&[&format!("CLIENT CACHING {caching}")]);
                client.send_raw(&[caching, between, requests(&["GET k", "SET k 1", "ECHO end"])].concat());
                let mut told = Vec::new();
                while !told.ends_with(b"$3\r\nend\r\n") {
                    let reply = client.read_reply();
                    // Ids and versions.
                    if !reply.starts_with(b"%") {
                        told.extend_from_slice(&reply);
                    }
                }
                told
            });
            assert_same(&found, &expected, &format!("{mode}, {between:?}"));
        }
    }
}
