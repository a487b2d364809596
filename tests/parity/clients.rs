//! `CLIENT LIST`, `INFO`, `KILL` and `SETINFO`: clients are shown and chosen as the upstream's version does it.

use crate::support::{Client, Gateway, Peer, Redis, Upstream, requests, wait};

/// A field of a line of `CLIENT LIST`.
fn field<'l>(line: &'l str, name: &str) -> &'l str {
    let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn text(reply: Vec<u8>) -> String {
    String::from_utf8(reply).expect("text")
}

fn id(client: &mut Client) -> String {
    text(client.line("CLIENT ID")).trim_matches([':', '\r', '\n']).to_owned()
}

/// The names of the fields that a client gets to see of itself.
fn fields(client: &mut Client) -> Vec<String> {
    let info = text(client.line("CLIENT INFO"));
    let line = info.lines().nth(1).expect("a line");
    line.split(' ').map(|field| field.split('=').next().unwrap_or_default().to_owned()).collect()
}

/// An upstream of this version, which knows nothing but its name.
fn upstream(server: &'static str, version: &'static str) -> Upstream {
    Upstream::start(move |peer: &mut Peer| {
        while peer.next_of(server, version).is_some() {
            peer.reply("-ERR unknown\r\n");
        }
    })
}

#[test]
fn a_client_is_shown_with_the_fields_that_redis_shows() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut direct) = (gateway.client(), redis.client());
    // The upstream is known once something has come of it.
    client.expect("PING", "+PONG\r\n");
    assert_eq!(fields(&mut client), fields(&mut direct));
    for (server, version, added) in [
        ("redis", "7.0.15", &[][..]),
        ("redis", "7.2.4", &["lib-name", "lib-ver"]),
        ("redis", "7.4.0", &["watch", "lib-name", "lib-ver"]),
        ("valkey", "8.0.1", &["watch", "lib-name", "lib-ver", "tot-net-in", "tot-net-out", "tot-cmds"]),
        ("valkey", "8.1.1", &["capa", "watch", "lib-name", "lib-ver", "tot-net-in", "tot-net-out", "tot-cmds"]),
    ] {
        let upstream = upstream(server, version);
        let gateway = Gateway::start(&upstream.url());
        let mut client = gateway.client();
        client.line("HELLO");
        let mut found = fields(&mut client);
        let later = ["capa", "lib-name", "lib-ver", "watch", "tot-net-in", "tot-net-out", "tot-cmds"];
        found.retain(|name| later.contains(&name.as_str()));
        assert_eq!(found, added, "{server} {version}");
        // What follows in one piece is read into a buffer of the client's own.
        for (lines, expected) in
            [(&["CLIENT INFO"][..], if server == "valkey" { "0" } else { "26" }), (&["CLIENT INFO", "PING"], "40")]
        {
            client.send_raw(&requests(lines));
            let info = text(client.read_replies(lines.len()).swap_remove(0));
            assert_eq!(field(&info, "qbuf"), expected, "{server} {version}: {lines:?}");
        }
    }
}

#[test]
fn a_client_is_shown_with_what_it_has_sent_and_was_not_dealt_with() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let unread = |client: &mut Client, lines: &[&str], at: usize| {
        client.send_raw(&requests(lines));
        let reply = text(client.read_replies(lines.len()).swap_remove(at));
        let own = reply.lines().find(|line| line.contains("cmd=client|") || line.contains("cmd=exec"));
        field(own.expect("a line"), "qbuf").to_owned()
    };
    let (mut client, mut direct) = (gateway.client(), redis.client());
    for (before, lines) in [
        (&[][..], &["CLIENT INFO"][..]),
        (&[], &["CLIENT LIST"]),
        (&[], &["CLIENT INFO", "GET k", "PING"]),
        (&["MULTI", "CLIENT INFO"], &["EXEC"]),
        (&["MULTI", "CLIENT INFO"], &["EXEC", "PING"]),
    ] {
        let [shown, expected] = [&mut client, &mut direct].map(|client| {
            before.iter().for_each(|line| drop(client.line(line)));
            unread(client, lines, 0)
        });
        assert_eq!(shown, expected, "{before:?} {lines:?}");
    }
    // What stands before it has its replies already.
    assert_eq!(unread(&mut client, &["SET k v", "CLIENT INFO", "PING"], 1), "40");
}

#[test]
fn a_client_that_imports_into_a_valkey_has_a_connection_of_its_own() {
    let upstream = Upstream::start(|peer: &mut Peer| {
        let mut imports = false;
        while let Some(request) = peer.next_of("valkey", "8.1.1") {
            imports &= request != "CLIENT IMPORT-SOURCE OFF";
            imports |= request == "CLIENT IMPORT-SOURCE ON";
            peer.reply(match (request.as_str(), imports) {
                ("GET k", true) => "+imported\r\n",
                ("GET k", false) => "+expired\r\n",
                _ => "+OK\r\n",
            });
        }
    });
    let gateway = Gateway::start(&upstream.url());
    let (mut client, mut other) = (gateway.client(), gateway.client());
    let flags = |client: &mut Client| field(&text(client.line("CLIENT INFO")), "flags").to_owned();
    client.expect("CLIENT IMPORT-SOURCE ON", "+OK\r\n");
    client.expect("GET k", "+imported\r\n");
    other.expect("GET k", "+expired\r\n");
    assert_eq!(flags(&mut client), "I");
    client.expect("CLIENT IMPORT-SOURCE OFF", "+OK\r\n");
    client.expect("GET k", "+expired\r\n");
    assert_eq!(flags(&mut client), "N");
}

#[test]
fn a_client_is_shown_where_it_has_come_to_and_can_be_closed_by_that() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut other) = (gateway.client(), gateway.client());
    let own = text(client.line("CLIENT INFO"));
    assert_eq!(field(own.lines().nth(1).expect("a line"), "laddr"), gateway.address().to_string());
    client.expect("CLIENT KILL LADDR 127.0.0.1:1", ":0\r\n");
    client.expect(&format!("CLIENT KILL LADDR {}", gateway.address()), ":1\r\n");
    other.expect_closed();
}

/// Clients in states of their own, and one that looks on.
const STATES: [(&[&str], usize, bool); 12] = [
    (&["MULTI"], 1, false),
    (&["MULTI", "GET k", "SET k v"], 3, false),
    (&["WATCH k", "GET k", "STRLEN k"], 3, false),
    (&["WATCH k", "NOSUCH"], 2, false),
    (&["WATCH k", "OBJECT ENCODING k"], 2, false),
    (&["SUBSCRIBE a"], 1, false),
    (&["HELLO 3", "SUBSCRIBE a", "PING"], 3, false),
    (&["MONITOR"], 1, false),
    (&["HELLO 3", "CLIENT TRACKING ON BCAST"], 2, false),
    (&["HELLO 3", "CLIENT TRACKING ON OPTIN", "CLIENT CACHING YES"], 3, false),
    (&["BLPOP nothing 0"], 0, true),
    (&["CLIENT NO-EVICT ON"], 1, false),
];

/// How others see clients in these states.
fn shown(connect: impl Fn() -> Client) -> Vec<String> {
    let mut looking = connect();
    let look = |(lines, replies, blocks): &(&[&str], usize, bool)| {
        let mut client = connect();
        let id = id(&mut client);
        client.send_raw(&requests(lines));
        client.read_replies(*replies);
        let line = wait("the client to be shown", || {
            let list = text(looking.line(&format!("CLIENT LIST ID {id}")));
            let line = list.lines().nth(1).expect("listed").to_owned();
            (!blocks || field(&line, "flags").contains('b')).then_some(line)
        });
        let names = ["flags", "multi", "sub", "redir", "resp"].map(|name| field(&line, name).to_owned());
        let command = if lines[0] == "CLIENT NO-EVICT ON" { "" } else { field(&line, "cmd") };
        format!("{lines:?}: {names:?} {command}")
    };
    STATES.iter().map(look).collect()
}

#[test]
fn what_a_client_with_a_connection_of_its_own_does_is_shown_as_redis_shows_it() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    assert_eq!(shown(|| gateway.client()), shown(|| beside.client()));
}

#[test]
fn filters_of_clients_are_those_of_the_upstreams_version() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let (mut client, mut direct) = (gateway.client(), redis.client());
    client.expect("PING", "+PONG\r\n");
    for line in [
        "CLIENT KILL LADDR 1.2.3.4:5",
        "CLIENT KILL LADDR",
        "CLIENT KILL MAXAGE 100",
        "CLIENT KILL MAXAGE x",
        "CLIENT KILL TYPE master",
        "CLIENT KILL TYPE replica",
        "CLIENT KILL TYPE slave",
        "CLIENT KILL TYPE primary",
        "CLIENT KILL TYPE Wrong",
        "CLIENT KILL USER nobody",
        "CLIENT KILL USER nobody NONSENSE x",
        "CLIENT KILL USER default TYPE pubsub",
        "CLIENT KILL ID 0",
        "CLIENT KILL ID x",
        "CLIENT KILL SKIPME perhaps",
        "CLIENT LIST TYPE primary",
        "CLIENT LIST TYPE Wrong",
        "CLIENT SETINFO lib-name x",
        "CLIENT SETINFO",
    ] {
        client.expect(line, &text(direct.line(line)));
    }
    let unknown = "-ERR Unknown client type 'primary'\r\n";
    for (server, version, old, primary) in
        [("redis", "7.2.4", true, unknown), ("redis", "7.4.0", false, unknown), ("valkey", "8.0.1", false, ":0\r\n")]
    {
        let upstream = upstream(server, version);
        let gateway = Gateway::start(&upstream.url());
        let (mut client, mut other) = (gateway.client(), gateway.client());
        client.line("HELLO");
        other.line("CLIENT ID");
        client.expect("CLIENT KILL TYPE primary", primary);
        for (line, reply) in [
            ("CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range\r\n"),
            ("CLIENT KILL MAXAGE 0", "-ERR maxage should be greater than 0\r\n"),
            ("CLIENT KILL MAXAGE 1000", ":0\r\n"),
        ] {
            client.expect(line, if old { "-ERR syntax error\r\n" } else { reply });
        }
        if !old {
            wait("the other to be old enough", || (client.line("CLIENT KILL MAXAGE 1") == b":1\r\n").then_some(()));
            other.expect_closed();
        }
    }
}

#[test]
fn what_a_client_says_of_its_library_is_shown() {
    let upstream = upstream("redis", "7.2.4");
    let gateway = Gateway::start(&upstream.url());
    let (mut client, mut other) = (gateway.client(), gateway.client());
    client.line("HELLO");
    for (line, reply) in [
        ("CLIENT SETINFO LIB-NAME jedis", "+OK\r\n"),
        ("CLIENT SETINFO lib-ver 1.2", "+OK\r\n"),
        ("CLIENT SETINFO lib-os x", "-ERR Unrecognized option 'lib-os'\r\n"),
        ("CLIENT SETINFO lib-name", "-ERR wrong number of arguments for 'client|setinfo' command\r\n"),
        ("RESET", "+RESET\r\n"),
    ] {
        client.expect(line, reply);
    }
    let refused = client.call(&["CLIENT", "SETINFO", "lib-name", "a b"]);
    assert_eq!(text(refused), "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n");
    let long = text(client.line(&format!("CLIENT SETINFO lib-name {}", "x".repeat(2000))));
    assert!(long.starts_with("-ERR respool: ") && long.contains("name_bytes_max"), "{long}");
    assert!(text(client.line("CLIENT INFO")).ends_with(" lib-name=jedis lib-ver=1.2\n\r\n"));
    let list = text(other.line("CLIENT LIST"));
    assert!(list.contains(" lib-name=jedis lib-ver=1.2\n") && list.contains(" lib-name= lib-ver=\n"), "{list}");
}

#[test]
fn clients_of_a_later_valkey_are_shown_by_the_filters_by_which_they_are_closed() {
    let upstream = upstream("valkey", "8.1.1");
    let gateway = Gateway::start(&upstream.url());
    let (mut client, mut other, mut third) = (gateway.client(), gateway.client(), gateway.client());
    client.line("HELLO");
    let (own, others) = (id(&mut client), [id(&mut other), id(&mut third)]);
    let [second, last] = others.each_ref();
    let shown = |client: &mut Client, filters: &str| {
        let list = text(client.line(&format!("CLIENT LIST {filters}")));
        list.lines().filter(|line| line.starts_with("id=")).map(|line| field(line, "id").to_owned()).collect::<Vec<_>>()
    };
    let info = text(other.line("CLIENT INFO"));
    let address = field(info.lines().nth(1).expect("a line"), "addr").to_owned();
    assert_eq!(shown(&mut client, &format!("ADDR {address}")), [second.as_str()]);
    assert_eq!(shown(&mut client, &format!("LADDR {} SKIPME YES", gateway.address())), others);
    assert_eq!(shown(&mut client, "LADDR 127.0.0.1:1 SKIPME NO"), Vec::<String>::new());
    assert_eq!(shown(&mut client, "USER default MAXAGE 1000"), Vec::<String>::new());
    assert_eq!(shown(&mut client, &format!("ID {second} {own} {second} TYPE normal")), [own.as_str(), second]);
    for (filters, fault) in [
        ("ID x", "syntax error"),
        ("ID 1 x", "syntax error"),
        ("ID 0", "client-id should be greater than 0"),
        ("USER nobody", "No such user 'nobody'"),
        ("MAXAGE x", "maxage is not an integer or out of range"),
        ("SKIPME x", "syntax error"),
        ("SKIPME", "syntax error"),
    ] {
        client.expect(&format!("CLIENT LIST {filters}"), &format!("-ERR {fault}\r\n"));
    }
    client.expect("CLIENT KILL ID 1 x", "-ERR syntax error\r\n");
    client.expect(&format!("CLIENT KILL ID {second} {last} {second}"), ":2\r\n");
    other.expect_closed();
    third.expect_closed();
}

/// The field of this name in what `INFO` says.
fn figure(client: &mut Client, ask: &str, name: &str) -> String {
    let said = text(client.line(ask));
    let found = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("no {name} in {said}")).to_owned()
}

/// What holds of clients of a gateway, whose upstream lets them use these keys.
pub(crate) fn are_counted(gateway: &Gateway, keys: [&str; 3]) {
    let mut looking = gateway.client();
    let mut others: Vec<Client> = (0..7).map(|_| gateway.client()).collect();
    others.iter_mut().for_each(|other| other.expect("PING", "+PONG\r\n"));
    let listed = text(looking.line("CLIENT LIST")).matches("id=").count();
    for ask in ["INFO", "INFO clients", "INFO server clients", "INFO everything", "INFO respool clients"] {
        assert_eq!(figure(&mut looking, ask, "connected_clients"), listed.to_string(), "{ask}");
    }
    assert_eq!(figure(&mut looking, "INFO", "maxclients"), "10000");
    looking.send_raw(&requests(&["MULTI", "INFO clients", "EXEC"]));
    let executed = text(looking.read_replies(3).swap_remove(2));
    assert!(executed.contains(&format!("\r\nconnected_clients:{listed}\r\n")), "{executed}");
    let own = figure(&mut looking, "INFO clients respool", "respool_upstream_connected_clients");
    assert_ne!(own, listed.to_string(), "what the upstream says of itself");
    let mut blocked = |count: usize, what: &str| {
        wait(what, || (figure(&mut looking, "INFO", "blocked_clients") == count.to_string()).then_some(()));
    };
    blocked(0, "nobody to be blocked");
    // Two block by themselves, one of them at all primaries. A pause holds up three writers, of which some may have a connection in common, and a transaction.
    others[0].send(&["BLPOP", &format!("{{{}}}:list", keys[0]), "0"]);
    blocked(1, "one to block");
    others[6].send(&["WAIT", "9", "0"]);
    blocked(2, "another one to wait");
    others[5].line("MULTI");
    others[5].line(&format!("SET {} 1", keys[1]));
    let mut pausing = gateway.client();
    pausing.expect("CLIENT PAUSE 100000 WRITE", "+OK\r\n");
    (0..3).for_each(|at| others[at + 1].send(&["SET", keys[0], "1"]));
    blocked(5, "three to be held up beside it");
    others[4].send(&["SET", keys[2], "1"]);
    blocked(6, "one more, of another key");
    others[5].send(&["EXEC"]);
    blocked(7, "a transaction, too");
    pausing.expect("CLIENT UNPAUSE", "+OK\r\n");
    blocked(2, "all to go on but two");
    (1..5).for_each(|at| assert_eq!(others[at].read_reply(), b"+OK\r\n"));
    drop(others);
    blocked(0, "nobody to be left");
}

#[test]
fn info_counts_the_clients_that_are_listed_and_those_that_wait_because_the_upstream_blocks() {
    let redis = Redis::start(&[]);
    are_counted(&Gateway::start(&redis.url()), ["a", "b", "c"]);
}
