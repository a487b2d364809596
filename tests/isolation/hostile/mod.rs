//! Malformed and hostile input: it gets Redis's class of answer, costs its sender the connection where
//! Redis would, and touches nobody else; an embedded upstream survives it too.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Redis, assert_same, request, requests, seeded, users, wait};

use self::cases::{BEFORE_LOGIN, COMMANDS, DIFFERENCES, FRAMING, INLINE, bytes};

mod cases;

/// Everything that no client should send, with its name.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    [FRAMING, INLINE, COMMANDS].into_iter().flatten().map(|case| (case.0, bytes(case))).collect()
}

/// What programs of other protocols say when they dial the wrong port, with a request smuggled in where
/// their users can put one.
fn greetings() -> [Vec<u8>; 4] {
    let http = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\nSET owned 1\r\n";
    let post = "POST / HTTP/1.1\r\nContent-Length: 13\r\n\r\nSET owned 1\r\n";
    let body = "GET /\r\nhost: x\r\nSET owned 1\r\n";
    let tls = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 500], b"\r\n"].concat();
    [http.into(), post.into(), body.into(), tls]
}

/// All that comes back for `input` from a client that then sends no more.
fn answer(mut client: Client, input: &[u8]) -> Vec<u8> {
    // The other end may close before it has read everything.
    if client.try_send_raw(input).is_ok() {
        client.half_close();
    }
    client.read_to_end()
}

/// Sends every case to both and fails with all that differ, except as the table says that they do.
fn compare(cases: &[(&str, Vec<u8>)], gateway: &Gateway, beside: &Redis, mut after_each: impl FnMut(&str)) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let mut different = Vec::new();
    for (name, input) in cases {
        let (found, expected) = (answer(gateway.client(), input), answer(beside.client(), input));
        let named = DIFFERENCES.iter().find(|difference| difference.case == *name);
        let as_named = named.is_some_and(|named| found.ends_with(named.respool) && expected.ends_with(named.redis));
        if found != expected && !as_named {
            different.push(format!("{name}\n     found: {:?}\n  expected: {:?}", shown(&found), shown(&expected)));
        }
        after_each(name);
    }
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), cases.len(), different.join("\n"));
}

#[test]
fn hostile_input_gets_the_answer_of_redis_and_touches_nobody_else() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder()
        .upstream(&behind.url())
        .config("[pool]\nworkers = 1")
        .allow("login refused")
        .allow("a PROXY header")
        .start();
    let mut bystander = gateway.client();
    let cases = malformed();
    assert!(cases.len() >= 80, "{} cases are too few", cases.len());
    compare(&cases, &gateway, &beside, |name| {
        bystander.send_raw(&requests(&["ECHO beside", "SET own v"]));
        assert_eq!(bystander.read_replies(2).concat(), b"$6\r\nbeside\r\n+OK\r\n", "{name}");
    });
    gateway.client().expect("GET owned", "$-1\r\n");
}

#[test]
fn what_came_before_the_hostile_part_is_executed_and_answered() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::builder().upstream(&behind.url()).allow("login refused").allow("a PROXY header").start();
    let before = requests(&["SET own v", "INCR n", "GET n"]);
    let cases: Vec<_> = malformed().into_iter().map(|(name, input)| (name, [&before[..], &input].concat())).collect();
    compare(&cases, &gateway, &beside, |_| {});
    let count = gateway.client().line("GET n");
    assert_eq!(count, beside.client().line("GET n"));
}

#[test]
fn before_a_login_hostile_input_gets_the_answer_of_redis() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&["--requirepass", "right"]));
    let settings = users(&[("default", "right")]);
    let gateway = Gateway::builder().upstream(&behind.url()).config(&settings).allow("login refused").start();
    let cases: Vec<_> = BEFORE_LOGIN.iter().map(|case| (case.0, bytes(case))).collect();
    compare(&cases, &gateway, &beside, |_| {});
    behind.client().expect("GET owned", "$-1\r\n");
}

#[test]
fn nothing_that_is_sent_after_the_malformed_part_is_executed() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    for input in ["*1\r\n:1\r\n", "*02\r\n", "*1\r\n$-1\r\n", "POST / HTTP/1.1\r\n", "Host: x\r\n", "get \"x\r\n"] {
        let whole = [input.as_bytes().to_vec(), request(&["SET", "owned", "1"])].concat();
        answer(gateway.client(), &whole);
    }
    gateway.client().expect("GET owned", "$-1\r\n");
}

#[test]
fn greetings_of_other_protocols_execute_nothing_and_end_their_connection() {
    let redis = Redis::start(&[]);
    for builder in [Gateway::builder().upstream(&redis.url()), Gateway::builder()] {
        let builder = builder.config("[upstream]\nconnect_timeout_ms = 20000");
        let gateway = builder.allow("clients speak TLS to an address without it").start();
        let mut bystander = gateway.client();
        for greeting in greetings() {
            answer(gateway.client(), &greeting);
            bystander.expect("GET owned", "$-1\r\n");
        }
        // Nobody has to say that no more comes: the connection ends by itself.
        for greeting in &greetings()[..3] {
            let mut client = gateway.client();
            client.send_raw(greeting);
            client.read_to_end();
        }
    }
}

#[test]
fn the_embedded_upstream_survives_malformed_input() {
    let gateway = Gateway::builder().allow("login refused").allow("a PROXY header").start();
    let mut bystander = gateway.client();
    bystander.expect("SET k v", "+OK\r\n");
    for (_, input) in malformed() {
        answer(gateway.client(), &input);
        bystander.expect("GET k", "$1\r\nv\r\n");
    }
}

/// Runs clients that check every reply of theirs on the embedded upstream while `hostile` does its worst.
fn beside_bystanders(gateway: &Gateway, hostile: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for index in 0..4 {
            let (mut bystander, over) = (gateway.client(), &over);
            scope.spawn(move || {
                let (set, get) = (format!("SET own{index} {index}"), format!("GET own{index}"));
                while !over.load(Ordering::Relaxed) {
                    bystander.send_raw(&requests(&[&set, &get]).repeat(10));
                    for _ in 0..10 {
                        assert_eq!(bystander.read_reply(), b"+OK\r\n");
                        assert_eq!(bystander.read_reply(), format!("$1\r\n{index}\r\n").into_bytes());
                    }
                }
            });
        }
        let over = Over(&over);
        hostile();
        drop(over);
    });
}

#[test]
fn requests_that_mini_redis_chokes_on_cost_nobody_else_an_answer() {
    let gateway = Gateway::builder().config("[pool]\nworkers = 1").start();
    let mut client = gateway.client();
    let lines = ["GET", "GET a b", "SET", "SET k", "SET k v XX", "SET k v EX", "SET k v EX x", "PUBLISH", "PUBLISH c"];
    let mut not_text = b"*2\r\n$3\r\nGET\r\n$2\r\n\xff\xfe\r\n*1\r\n$2\r\n\xff\xfe\r\n".to_vec();
    not_text.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$2\r\n\xff\0\r\n");
    beside_bystanders(&gateway, || {
        for _ in 0..50 {
            for line in lines {
                let reply = client.line(line);
                assert!(reply.starts_with(b"-"), "{line}: {reply:?}");
            }
            client.send_raw(&not_text);
            client.read_replies(3);
        }
    });
}

#[test]
fn a_commands_name_cannot_forge_replies_to_others() {
    let gateway = Gateway::builder().config("[pool]\nworkers = 1").start();
    let mut client = gateway.client();
    let names = ["x'\r\n+forged\r\n+", "x\r\n$6\r\nforged\r\n:1", "x\n+forged\r\n", "\r", "\r\n", "x\ry"];
    beside_bystanders(&gateway, || {
        for _ in 0..50 {
            for name in names {
                let reply = client.call(&[name]);
                assert!(reply.starts_with(b"-"), "{name:?}: {:?}", String::from_utf8_lossy(&reply));
                client.expect("ECHO mine", "$4\r\nmine\r\n");
            }
        }
    });
}

#[test]
fn no_expiry_takes_the_embedded_upstream_down() {
    let gateway = Gateway::builder().start();
    let (mut client, mut bystander) = (gateway.client(), gateway.client());
    for seconds in
        ["0", "-1", "9223372036854775", "9223372036854775807", "18446744073709551615", "99999999999999999999"]
    {
        for unit in ["EX", "PX"] {
            client.line(&format!("SET k v {unit} {seconds}"));
            bystander.expect("SET own 1", "+OK\r\n");
            bystander.expect("GET own", "$1\r\n1\r\n");
        }
    }
}

/// Ends the load of the bystanders, also when the test fails before.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fragments that between them spell requests, nearly requests and nonsense.
const FRAGMENTS: [&[u8]; 20] = [
    b"\0",
    b"*1\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"$3\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"SET",
    b"\r\n",
    b"\n",
    b"GET k\r\n",
    b"$4\r\nPING\r\n",
    b"\"",
    b"'",
    b"\\x4",
    b" ",
    b"\xff\xfe",
    b"*",
    b"$",
    b"99999999999999999999",
];

fn garbage(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..rng.usize(1..40) {
        match rng.u32(0..8) {
            0 => input.push(rng.u8(..)),
            _ => input.extend_from_slice(FRAGMENTS[rng.usize(..FRAGMENTS.len())]),
        }
    }
    input
}

#[test]
fn random_garbage_gets_the_answers_of_redis() {
    let (behind, beside) = (Redis::start(&[]), Redis::start(&[]));
    let gateway = Gateway::start(&behind.url());
    let mut rng = seeded("garbage against Redis");
    let mut bystander = gateway.client();
    for _ in 0..400 {
        let input = garbage(&mut rng);
        let (found, expected) = (answer(gateway.client(), &input), answer(beside.client(), &input));
        assert_same(&found, &expected, &format!("{:?}", String::from_utf8_lossy(&input)));
        bystander.expect("PING", "+PONG\r\n");
    }
}

#[test]
fn random_garbage_does_not_reach_through_to_the_embedded_upstream() {
    let gateway = Gateway::builder().config("[pool]\nworkers = 2").start();
    let mut rng = seeded("garbage against the embedded upstream");
    let mut bystander = gateway.client();
    for _ in 0..300 {
        answer(gateway.client(), &garbage(&mut rng));
        bystander.expect("SET k v", "+OK\r\n");
        bystander.expect("GET k", "$1\r\nv\r\n");
    }
}

#[test]
fn a_client_that_ignores_its_error_and_sends_on_is_cut_off() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::start(&redis.url());
    let mut client = gateway.client();
    client.expect("PING", "+PONG\r\n");
    client.send_raw(b"*1\r\n:1\r\n");
    let chunk = requests(&["SET owned 1"]).repeat(1000);
    wait("the client to be cut off", || client.try_send_raw(&chunk).is_err().then_some(()));
    let mut bystander = gateway.client();
    bystander.expect("GET owned", "$-1\r\n");
}

/// Clients that send `bytes` of `text` one by one, a byte each time they are asked to.
struct Dripping {
    clients: Vec<Client>,
    text: &'static [u8],
    sent: usize,
}

impl Dripping {
    fn start(gateway: &Gateway, count: usize, text: &'static [u8]) -> Self {
        Self { clients: (0..count).map(|_| gateway.client()).collect(), text, sent: 0 }
    }

    /// A further byte of each.
    fn drip(&mut self) {
        let byte = self.text[self.sent % self.text.len()];
        // The other end may have had enough.
        self.clients.iter_mut().for_each(|client| drop(client.try_send_raw(&[byte])));
        self.sent += 1;
    }
}

#[test]
fn clients_that_send_a_byte_at_a_time_hold_nobody_up_and_cost_little() {
    let redis = Redis::start(&[]);
    let gateway = Gateway::builder().upstream(&redis.url()).config("[pool]\nworkers = 1").start();
    let mut bystander = gateway.client();
    bystander.expect("PING", "+PONG\r\n");
    let before = gateway.process().rss_bytes();
    let mut slow = Dripping::start(&gateway, 300, b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$100000\r\n");
    for _ in 0..60 {
        slow.drip();
        bystander.expect("SET own v", "+OK\r\n");
    }
    let cost = gateway.process().rss_bytes().saturating_sub(before) / 300;
    assert!(cost < 24 * 1024, "{cost} bytes for each of them");
    assert!(slow.clients.iter_mut().all(|client| client.try_send_raw(b"x").is_ok()), "they are clients like others");
    bystander.expect("EXISTS slow", ":0\r\n");
}

#[test]
fn a_login_that_comes_a_byte_at_a_time_ends_with_login_timeout_ms() {
    let redis = Redis::start(&[]);
    let settings = format!("[auth]\nlogin_timeout_ms = 1_500\n{}", users(&[("default", "right")]));
    let gateway = Gateway::builder().upstream(&redis.url()).config(&settings).start();
    let mut bystander = gateway.client();
    bystander.expect("AUTH right", "+OK\r\n");
    let started = Instant::now();
    let mut slow = Dripping::start(&gateway, 200, b"*2\r\n$4\r\nAUTH\r\n$16000\r\n");
    wait("the end of the slow ones", || {
        slow.drip();
        let list = String::from_utf8_lossy(&bystander.line("CLIENT LIST")).into_owned();
        (list.matches("id=").count() == 1).then_some(())
    });
    assert!(started.elapsed() >= Duration::from_millis(1_500), "after {:?}", started.elapsed());
    slow.clients.iter_mut().for_each(Client::expect_closed);
}
