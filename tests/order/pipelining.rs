//! Order: whatever a client sends, in whatever pieces, its replies come one for one and in order, and its
//! own requests never overtake each other, with any number of workers.

use std::{
    sync::{Mutex, mpsc},
    thread,
};

use crate::support::{Client, DEADLINE, Gateway, Peer, Redis, Upstream, assert_same, requests, seeded};

fn gateway_with(redis: &Redis, workers: usize, pipeline_depth: usize) -> Gateway {
    let config = format!("[pool]\nworkers = {workers}\npipeline_depth = {pipeline_depth}");
    Gateway::builder().upstream(&redis.url()).config(&config).start()
}

/// A request line and the reply it must get, where the keys are the client's own.
fn random_step(rng: &mut fastrand::Rng, prefix: &str, counter: &mut i64, step: usize) -> (String, String) {
    match rng.u32(0..8) {
        0 => ("SELECT 0".into(), "+OK\r\n".into()),
        1 => (format!("CLIENT SETNAME {prefix}"), "+OK\r\n".into()),
        2 => {
            *counter += 1;
            (format!("INCR {prefix}n"), format!(":{counter}\r\n"))
        }
        3 => (
            format!("NOSUCH{prefix}{step}"),
            format!("-ERR unknown command 'NOSUCH{prefix}{step}', with args beginning with: \r\n"),
        ),
        4 => {
            let size = rng.usize(0..5000);
            (format!("ECHO {}", "x".repeat(size)), format!("${size}\r\n{}\r\n", "x".repeat(size)))
        }
        _ => {
            let token = format!("{prefix}:{step}");
            (format!("ECHO {token}"), format!("${}\r\n{token}\r\n", token.len()))
        }
    }
}

fn run_random_client(client: &mut Client, mut rng: fastrand::Rng, prefix: &str) {
    let (mut counter, mut step) = (0, 0);
    for _ in 0..60 {
        let steps: Vec<_> = (0..rng.usize(1..80))
            .map(|_| {
                step += 1;
                random_step(&mut rng, prefix, &mut counter, step)
            })
            .collect();
        let lines: Vec<&str> = steps.iter().map(|(line, _)| line.as_str()).collect();
        let bytes = requests(&lines);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rng.usize(1..=rest.len()));
            client.send_raw(piece);
            rest = after;
        }
        for (line, reply) in &steps {
            assert_same(&client.read_reply(), reply.as_bytes(), line);
        }
    }
}

#[test]
fn replies_come_in_order_for_any_mix_of_pipelining() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, 8, 16);
    let mut rng = seeded("mix of pipelining");
    thread::scope(|scope| {
        for index in 0..8 {
            let (mut client, rng) = (gateway.client(), rng.fork());
            scope.spawn(move || run_random_client(&mut client, rng, &format!("c{index}x")));
        }
    });
}

#[test]
fn set_and_get_of_one_client_never_swap_with_any_number_of_workers() {
    let redis = Redis::start(&[]);
    for workers in [1, 2, 8] {
        let gateway = gateway_with(&redis, workers, 4);
        thread::scope(|scope| {
            for index in 0..8 {
                let mut client = gateway.client();
                scope.spawn(move || {
                    for round in 0..200 {
                        // Two writes, so that they come as two bursts.
                        client.send_raw(&requests(&[&format!("SET k{index} {round}")]));
                        client.send_raw(&requests(&[&format!("GET k{index}"), &format!("APPEND k{index} x")]));
                        let digits = round.to_string().len();
                        assert_eq!(client.read_reply(), b"+OK\r\n");
                        assert_eq!(client.read_reply(), format!("${digits}\r\n{round}\r\n").into_bytes());
                        assert_eq!(client.read_reply(), format!(":{}\r\n", digits + 1).into_bytes());
                    }
                });
            }
        });
    }
}

/// Requests of every kind, inline and empty ones among them.
fn burst() -> Vec<u8> {
    let mut burst = requests(&["SET k 12345", "GET k", "SELECT 1", "GET k"]);
    burst.extend_from_slice(b"SET 'k' \"a\\x41 b\"\r\n\r\n*0\r\nGET k\n*-1\r\n");
    burst.extend(requests(&[
        "LPUSH l a bb",
        "NOSUCH",
        "CLIENT SETNAME me",
        "SELECT 0",
        "GET k",
        "EVAL return{{1},{}} 0",
    ]));
    burst.extend_from_slice(b"*2\r\n$4\r\nECHO\r\n$9\r\n\r\n*1\r\n$4\r\n\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n");
    burst
}

const REPLIES_OF_BURST: usize = 14;

#[test]
fn a_burst_split_at_every_byte_gives_the_same_replies() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, 2, 4);
    let (mut other, mut direct) = (gateway.client(), redis.client());
    let burst = burst();
    direct.send_raw(&burst);
    let expected = direct.read_replies(REPLIES_OF_BURST).concat();
    for at in 0..=burst.len() {
        direct.expect("FLUSHALL", "+OK\r\n");
        let mut client = gateway.client();
        client.send_raw(&burst[..at]);
        // Once the other has its answer the gateway has looked at the first piece.
        other.expect("PING", "+PONG\r\n");
        client.send_raw(&burst[at..]);
        let found = client.read_replies(REPLIES_OF_BURST).concat();
        assert_same(&found, &expected, &format!("split at byte {at}"));
    }
}

#[test]
fn a_burst_sent_byte_by_byte_gives_the_same_replies() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, 2, 4);
    let burst = burst();
    let mut direct = redis.client();
    direct.send_raw(&burst);
    let expected = direct.read_replies(REPLIES_OF_BURST).concat();
    direct.expect("FLUSHALL", "+OK\r\n");
    let (mut client, mut other) = (gateway.client(), gateway.client());
    for byte in &burst {
        client.send_raw(std::slice::from_ref(byte));
        other.expect("PING", "+PONG\r\n");
    }
    assert_same(&client.read_replies(REPLIES_OF_BURST).concat(), &expected, "byte by byte");
}

#[test]
fn a_pipeline_longer_than_every_batch_is_answered_whole_and_in_order() {
    let redis = Redis::start(&[]);
    let config = "[pool]\nworkers = 4\npipeline_depth = 3\nbatch_max = 5\nbatch_bytes_max = 64";
    let gateway = Gateway::builder().upstream(&redis.url()).config(config).start();
    let mut client = gateway.client();
    let lines: Vec<String> = (0..5000).map(|index| format!("ECHO {index}")).collect();
    client.send_raw(&requests(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
    for index in 0..5000 {
        let text = index.to_string();
        assert_eq!(client.read_reply(), format!("${}\r\n{text}\r\n", text.len()).into_bytes());
    }
}

#[test]
fn a_client_that_sends_all_before_it_reads_does_not_lock_up() {
    let redis = Redis::start(&[]);
    let gateway = gateway_with(&redis, 1, 64);
    let mut client = gateway.client();
    client.small_buffers();
    let line = format!("ECHO {}", "x".repeat(1000));
    let count = 8000;
    let bytes = requests(&[&line]).repeat(count);
    client.send_raw(&bytes);
    let reply = format!("$1000\r\n{}\r\n", "x".repeat(1000)).into_bytes();
    for index in 0..count {
        assert_same(&client.read_reply(), &reply, &format!("reply {index}"));
    }
}

/// The words of the requests that come on a connection, until `last` has come.
fn until(peer: &mut Peer, last: &str) -> Vec<String> {
    let mut came = Vec::new();
    while came.last().is_none_or(|line| line != last) {
        came.push(peer.next().expect("a request"));
    }
    came
}

#[test]
fn a_client_that_sends_on_is_sent_on_and_gets_each_reply_as_it_comes() {
    let (came, requests_came) = mpsc::channel();
    let (answer, answers) = mpsc::channel::<&'static str>();
    let answers = Mutex::new(answers);
    let upstream = Upstream::start(move |peer| {
        while let Some(line) = peer.next() {
            came.send((peer.index, line)).expect("the test listens");
            let Ok(reply) = answers.lock().expect("whole").recv_timeout(DEADLINE) else { return };
            peer.reply(reply);
        }
    });
    let gateway = Gateway::builder()
        .upstream(&upstream.url())
        .config("[upstream]\ncheck_interval_ms = 0\n[pool]\nworkers = 3")
        .start();
    let mut client = gateway.client();
    // A burst has one request until it is known what replies cost.
    client.send_raw(&requests(&["INCR warm"]));
    answer.send(":0\r\n").expect("it waits");
    assert_same(&client.read_reply(), b":0\r\n", "warm");
    let (first, _) = requests_came.recv_timeout(DEADLINE).expect("it came");
    client.send_raw(&requests(&["INCR a", "INCR a", "INCR a"]));
    assert_eq!(requests_came.recv_timeout(DEADLINE).expect("it came").1, "INCR a");
    for number in 1..=3_u32 {
        // The reply to this one alone goes out, and the client sends one more for it.
        answer.send([":1\r\n", ":2\r\n", ":3\r\n"][number as usize - 1]).expect("it waits");
        assert_same(&client.read_reply(), format!(":{number}\r\n").as_bytes(), "as it comes");
        client.send_raw(&requests(&["INCR b"]));
        let (index, line) = requests_came.recv_timeout(DEADLINE).expect("it came");
        assert_eq!(index, first, "the same connection");
        assert_eq!(line, if number < 3 { "INCR a" } else { "INCR b" });
    }
    for reply in [":1\r\n", ":2\r\n", ":3\r\n"] {
        answer.send(reply).expect("it waits");
        assert_same(&client.read_reply(), reply.as_bytes(), "of the further bursts");
    }
}

#[test]
fn a_further_burst_is_at_the_upstream_before_the_first_is_answered() {
    let (came, first_came) = mpsc::channel();
    let upstream = Upstream::start(move |peer| {
        until(peer, "INCR warm");
        peer.reply(":0\r\n");
        until(peer, "INCR second");
        came.send(()).expect("the test listens");
        until(peer, "INCR last");
        peer.reply(":1\r\n:2\r\n:3\r\n");
        while let Some(line) = peer.next() {
            peer.reply(&format!("+{line}\r\n"));
        }
    });
    let config = "[upstream]\ncheck_interval_ms = 0\n[pool]\nworkers = 1";
    let gateway = Gateway::builder().upstream(&upstream.url()).config(config).start();
    let mut client = gateway.client();
    client.send_raw(&requests(&["INCR warm"]));
    assert_same(&client.read_reply(), b":0\r\n", "warm");
    client.send_raw(&requests(&["INCR first", "INCR second"]));
    first_came.recv_timeout(DEADLINE).expect("it came");
    // What the gateway answers itself waits for both, in its place, and what comes behind it waits for that.
    client.send_raw(&requests(&["INCR last", "CLIENT SETNAME me", "INCR after", "CLIENT GETNAME"]));
    for reply in [":1\r\n", ":2\r\n", ":3\r\n", "+OK\r\n", "+INCR after\r\n", "$2\r\nme\r\n"] {
        assert_same(&client.read_reply(), reply.as_bytes(), "in order");
    }
}
