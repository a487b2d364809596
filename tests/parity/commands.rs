//! Commands of each class through the gateway: plain ones reach the upstream, those of a session's state
//! are answered as Redis would, transactions stay whole, and the rest is refused without harm.

use crate::support::{Client, Gateway, Redis, assert_own_error, requests};

fn redis_and_gateway() -> (Redis, Gateway) {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    (redis, gateway)
}

#[test]
fn plain_commands_of_every_kind_reach_the_upstream() {
    let (redis, gateway) = redis_and_gateway();
    let mut client = gateway.client();
    for (line, reply) in [
        ("PING", "+PONG\r\n"),
        ("ECHO hello", "$5\r\nhello\r\n"),
        ("SET k v", "+OK\r\n"),
        ("get k", "$1\r\nv\r\n"),
        ("GeT nothing", "$-1\r\n"),
        ("INCRBY n -7", ":-7\r\n"),
        ("RPUSH l a b c", ":3\r\n"),
        ("LRANGE l 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("HSET h f 1 g 2", ":2\r\n"),
        ("SADD s x", ":1\r\n"),
        ("ZADD z 1.5 m", ":1\r\n"),
        ("MSET a 1 b 2", "+OK\r\n"),
        ("EVAL return{1,{2,'x'}} 0", "*2\r\n:1\r\n*2\r\n:2\r\n$1\r\nx\r\n"),
        ("XADD x 1-1 f v", "$3\r\n1-1\r\n"),
        ("XREAD COUNT 1 STREAMS x 0", "*1\r\n*2\r\n$1\r\nx\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"),
        ("PUBLISH channel message", ":0\r\n"),
        ("LPUSH k v", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        ("NOSUCH command", "-ERR unknown command 'NOSUCH', with args beginning with: 'command' \r\n"),
    ] {
        client.expect(line, reply);
    }
    redis.client().expect("GET k", "$1\r\nv\r\n");
}

#[test]
fn inline_requests_are_answered_like_any_other() {
    let (_redis, gateway) = redis_and_gateway();
    let mut client = gateway.client();
    client.send_raw(b"SET k \"a b\\n\"\r\nGET k\n\r\n   \r\nPING\r\n");
    assert_eq!(client.read_reply(), b"+OK\r\n");
    assert_eq!(client.read_reply(), b"$4\r\na b\n\r\n");
    assert_eq!(client.read_reply(), b"+PONG\r\n");
}

#[test]
fn select_keeps_each_session_in_its_own_database() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    for (db, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("SELECT {db}"), "+OK\r\n");
    }
    for round in 0..3 {
        for (db, client) in clients.iter_mut().enumerate() {
            client.expect(&format!("SET key{round} {db}"), "+OK\r\n");
        }
        for (db, client) in clients.iter_mut().enumerate() {
            client.expect(&format!("GET key{round}"), &format!("$1\r\n{db}\r\n"));
        }
    }
    gateway.client().expect("GET key0", "$1\r\n0\r\n");
}

#[test]
fn select_inside_a_pipeline_holds_from_there_on() {
    let (redis, gateway) = redis_and_gateway();
    let mut client = gateway.client();
    client.send_raw(&requests(&["SET k 0", "SELECT 3", "SET k 3", "SELECT 99", "GET k", "SELECT 0", "GET k"]));
    let found: Vec<_> = client.read_replies(7);
    assert_eq!(found[3], b"-ERR DB index is out of range\r\n");
    assert_eq!((&found[4][..], &found[6][..]), (&b"$1\r\n3\r\n"[..], &b"$1\r\n0\r\n"[..]));
    let mut direct = redis.client();
    direct.expect("SELECT 3", "+OK\r\n");
    direct.expect("GET k", "$1\r\n3\r\n");
}

#[test]
fn the_database_of_the_url_is_where_sessions_begin() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&format!("{}/5", redis.url()));
    gateway.client().expect("SET k five", "+OK\r\n");
    let mut direct = redis.client();
    direct.expect("GET k", "$-1\r\n");
    direct.expect("SELECT 5", "+OK\r\n");
    direct.expect("GET k", "$4\r\nfive\r\n");
}

#[test]
fn the_gateway_logs_in_with_the_credentials_of_the_url() {
    let redis = Redis::start(&["--requirepass", "s@cret", "--user", "app", "on", ">p:w", "~*", "&*", "+@all"]);
    for credentials in [":s%40cret", "app:p%3Aw"] {
        let url = format!("redis://{credentials}@{}", redis.address());
        let gateway = Gateway::start(&url);
        gateway.client().expect("SET k v", "+OK\r\n");
    }
}

/// Replaces the number after `id` in a `HELLO` reply: it is another for each connection.
fn without_id(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply).into_owned();
    let at = text.find("$2\r\nid\r\n:").expect("an id") + 9;
    let end = at + text[at..].find('\r').expect("a line end");
    format!("{}ID{}", &text[..at], &text[end..])
}

#[test]
fn hello_tells_what_the_upstream_told_with_the_clients_own_id() {
    let (redis, gateway) = redis_and_gateway();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    for line in ["HELLO", "HELLO 2", "HELLO 3", "HELLO", "HELLO 3 SETNAME me", "HELLO 2"] {
        assert_eq!(without_id(&client.line(line)), without_id(&direct.line(line)), "{line}");
    }
    for line in ["HELLO 4", "HELLO x", "HELLO 3 NONSENSE", "HELLO 3 SETNAME"] {
        assert_eq!(client.line(line), direct.line(line), "{line}");
    }
    client.expect("CLIENT GETNAME", "$2\r\nme\r\n");
}

#[test]
fn each_session_speaks_the_protocol_it_asked_for() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut two, mut three) = (gateway.client(), gateway.client());
    assert!(three.line("HELLO 3").starts_with(b"%"));
    two.expect("HSET h f v", ":1\r\n");
    for _ in 0..3 {
        three.expect("HGETALL h", "%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
        three.expect("GET nothing", "_\r\n");
        two.expect("HGETALL h", "*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
        two.expect("GET nothing", "$-1\r\n");
    }
}

#[test]
fn names_and_ids_belong_to_the_session() {
    let (_redis, gateway) = redis_and_gateway();
    let (mut one, mut other) = (gateway.client(), gateway.client());
    one.expect("CLIENT GETNAME", "$-1\r\n");
    one.expect("CLIENT SETNAME one", "+OK\r\n");
    one.expect("CLIENT GETNAME", "$3\r\none\r\n");
    other.expect("CLIENT GETNAME", "$-1\r\n");
    let id = one.line("CLIENT ID");
    assert!(id.starts_with(b":"), "{id:?}");
    assert_eq!(one.line("CLIENT ID"), id);
    assert_ne!(other.line("CLIENT ID"), id);
}

#[test]
fn quit_is_answered_after_what_came_before_it_and_nothing_after() {
    let (_redis, gateway) = redis_and_gateway();
    let mut client = gateway.client();
    client.send_raw(&requests(&["SET k v", "GET k", "QUIT", "SET k late"]));
    assert_eq!(client.read_to_end(), b"+OK\r\n$1\r\nv\r\n+OK\r\n");
    gateway.client().expect("GET k", "$1\r\nv\r\n");
}

#[test]
fn a_transaction_inside_one_burst_is_executed_as_one() {
    let (redis, gateway) = redis_and_gateway();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    let burst = [
        "SET before 1",
        "MULTI",
        "INCR n",
        "LPUSH n x",
        "GET n",
        "EXEC",
        "GET n",
        "MULTI",
        "NOSUCH",
        "EXEC",
        "MULTI",
        "SET n 7",
        "DISCARD",
        "GET n",
        "EXEC",
    ];
    let burst = requests(&burst);
    client.send_raw(&burst);
    let found = client.read_replies(15);
    direct.expect("FLUSHALL", "+OK\r\n");
    direct.send_raw(&burst);
    let expected = direct.read_replies(15);
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(String::from_utf8_lossy(found), String::from_utf8_lossy(expected), "reply {index}");
    }
    client.expect("GET n", "$1\r\n1\r\n");
}

#[test]
fn transactions_of_many_clients_do_not_mix() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 2").start();
    std::thread::scope(|scope| {
        for index in 0..8 {
            let mut client = gateway.client();
            scope.spawn(move || {
                let own = format!("own{index}");
                for round in 1..=50 {
                    let (incr, get) = (format!("INCR {own}"), format!("GET {own}"));
                    client.send_raw(&requests(&["MULTI", "INCR shared", &incr, &get, "DECR shared", "EXEC"]));
                    let replies = client.read_replies(6);
                    let exec = String::from_utf8_lossy(&replies[5]).into_owned();
                    let digits = round.to_string().len();
                    let expected = format!("*4\r\n:1\r\n:{round}\r\n${digits}\r\n{round}\r\n:0\r\n");
                    assert_eq!(exec, expected, "nobody else's commands in between");
                }
            });
        }
    });
}

#[test]
fn what_would_make_a_connection_a_replicas_is_refused_and_nobody_else_notices() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let (mut client, mut bystander) = (gateway.client(), gateway.client());
    for line in ["SYNC", "PSYNC ? -1", "REPLCONF listening-port 1", "replconf ack 0"] {
        assert_own_error(&client.line(line));
        client.expect("SET k v", "+OK\r\n");
        bystander.expect("ECHO still", "$5\r\nstill\r\n");
    }
    // In the middle of a burst as well.
    client.send_raw(&requests(&["ECHO 1", "SYNC", "ECHO 2"]));
    let replies = client.read_replies(3);
    assert_eq!((&replies[0][..], &replies[2][..]), (&b"$1\r\n1\r\n"[..], &b"$1\r\n2\r\n"[..]));
    assert_own_error(&replies[1]);
}

/// What waits, or changes what its connection is, and what its client gets at once; nothing where it waits.
const OF_ONES_OWN: [(&str, &str); 9] = [
    ("BLPOP nothing 0", ""),
    ("BZPOPMIN nothing 0", ""),
    ("XREAD BLOCK 0 STREAMS nothing $", ""),
    ("WATCH k", "+OK\r\n"),
    ("MULTI", "+OK\r\n"),
    ("SUBSCRIBE c", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"),
    ("MONITOR", "+OK\r\n"),
    ("CLIENT REPLY OFF", ""),
    ("CLIENT NO-EVICT ON", "+OK\r\n"),
];

#[test]
fn what_needs_a_connection_of_its_own_never_touches_a_shared_one() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let mut bystander = gateway.client();
    let mut busy = Vec::new();
    for (line, reply) in OF_ONES_OWN {
        let mut client = gateway.client();
        client.send(&line.split(' ').collect::<Vec<_>>());
        if !reply.is_empty() {
            assert_eq!(String::from_utf8_lossy(&client.read_reply()), reply, "{line}");
        }
        busy.push(client);
        for _ in 0..5 {
            bystander.send_raw(&requests(&["SET k v", "GET k", "ECHO still"]));
            assert_eq!(bystander.read_replies(3).concat(), b"+OK\r\n$1\r\nv\r\n$5\r\nstill\r\n", "beside {line}");
        }
    }
}

#[test]
fn commands_that_end_what_never_began_get_the_words_of_redis() {
    let (redis, gateway) = redis_and_gateway();
    let (mut client, mut direct) = (gateway.client(), redis.client());
    for line in ["EXEC", "DISCARD", "UNWATCH", "UNSUBSCRIBE", "UNSUBSCRIBE a b", "PUNSUBSCRIBE p", "READONLY"] {
        // One reply a name for the unsubscribing ones.
        let count = line.split(' ').count().saturating_sub(1).max(1);
        client.send_raw(&requests(&[line]));
        direct.send_raw(&requests(&[line]));
        assert_eq!(client.read_replies(count), direct.read_replies(count), "{line}");
    }
}
