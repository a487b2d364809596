//! Scripts that clients have loaded are known to whatever becomes a primary. Errors that look like a word of a cluster and
//! are none, and addresses that lead nowhere.

mod demoted;
mod hints;

use std::time::{Duration, Instant};

use super::nodes::{Nodes, key_of};
use crate::support::{Client, pass, request, requests, wait, within};

const SCRIPT: &str = "return redis.call('incrby', KEYS[1], ARGV[1])";

fn load(client: &mut Client, text: &str) -> String {
    let said = client.call(&["SCRIPT", "LOAD", text]);
    String::from_utf8_lossy(&said).lines().nth(1).expect("a digest").to_owned()
}

#[test]
fn a_node_that_has_become_a_primary_is_told_the_scripts() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(5));
    let digest = load(&mut client, SCRIPT);
    client.expect(&format!("EVALSHA {digest} 1 {key} 1"), ":1\r\n");
    nodes.fail_over(3);
    // With something before it, and elsewhere.
    let run = format!("EVALSHA {} 1 {key} 2", digest.to_ascii_uppercase());
    client.send_raw(&requests(&[&format!("INCR {key}"), &format!("SET {} v", key_of(7_000)), &run]));
    let replies = client.read_replies(3);
    assert_eq!(String::from_utf8_lossy(&replies.concat()), ":2\r\n+OK\r\n:4\r\n");
    // The node knows it now.
    assert_eq!(nodes.0[3].client().line(&format!("SCRIPT EXISTS {digest}")), b"*1\r\n:1\r\n");

    // What stands behind it is executed in its order or not at all: then the client hears what Redis says.
    nodes.0[3].client().expect("SCRIPT FLUSH", "+OK\r\n");
    client.send_raw(&requests(&[&run, &format!("INCR {key}")]));
    let replies = client.read_replies(2);
    assert_eq!(replies[0], b"-NOSCRIPT No matching script. Please use EVAL.\r\n");
    assert_eq!(replies[1], b":5\r\n");
    client.expect(&run, ":7\r\n");

    // A script that says so itself has run once.
    let other = load(&mut client, "redis.call('incr', KEYS[1]) return redis.error_reply('NOSCRIPT x')");
    assert!(client.line(&format!("EVALSHA {other} 1 {key}")).starts_with(b"-NOSCRIPT"));
    client.expect(&format!("GET {key}"), "$1\r\n8\r\n");

    client.expect("SCRIPT FLUSH", "+OK\r\n");
    client.expect(&run, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    client.expect(&format!("EVALSHA {} 1 {key}", "0".repeat(40)), "-NOSCRIPT No matching script. Please use EVAL.\r\n");
}

#[test]
fn a_script_that_one_node_knows_is_known_to_all() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    let text = "return redis.call('incrby', KEYS[1], 1)";
    let digest = load(&mut nodes.0[0].client(), text);
    let forget = || nodes.0.iter().for_each(|node| node.client().expect("SCRIPT FLUSH", "+OK\r\n"));
    forget();
    client.expect(&format!("SCRIPT EXISTS {digest}"), "*1\r\n:0\r\n");
    let [here, there] = [5, 7_000].map(key_of);
    assert_eq!(client.call(&["EVAL", text, "1", &here]), b":1\r\n");
    client.expect(&format!("SCRIPT EXISTS {digest}"), "*1\r\n:1\r\n");
    client.expect(&format!("EVALSHA {digest} 1 {there}"), ":1\r\n");

    // One that can be told to all is there; so is one that a single node knows, as after a transaction.
    forget();
    let other = load(&mut nodes.0[1].client(), "return 'of one node'");
    let none = "0".repeat(40);
    client.expect(&format!("SCRIPT EXISTS {digest} {other} {none}"), "*3\r\n:1\r\n:1\r\n:0\r\n");

    // In a transaction, where a node that does not know it could not be asked again.
    let run = format!("EVALSHA {digest} 1 {there}");
    forget();
    client.send_raw(&requests(&["MULTI", &run, &format!("INCR {there}"), &run, "EXEC", &format!("GET {here}")]));
    let replies = client.read_replies(6);
    assert_eq!(replies[4..], [&b"*3\r\n:2\r\n:3\r\n:4\r\n"[..], b"$1\r\n1\r\n"]);
    forget();
    client.expect("MULTI", "+OK\r\n");
    client.expect(&run, "+QUEUED\r\n");
    client.expect("EXEC", "*1\r\n:5\r\n");
    client.expect(&format!("WATCH {there}"), "+OK\r\n");
    client.send_raw(&requests(&["MULTI", &run, "EXEC"]));
    assert_eq!(client.read_replies(3)[2], b"*1\r\n:6\r\n");

    // One that has failed is known all the same.
    let failing = "return redis.error_reply('MINE it failed')";
    assert_eq!(client.call(&["EVAL", failing, "1", &here]), b"-MINE it failed\r\n");
    let digest = load(&mut nodes.0[0].client(), failing);
    client.send_raw(&requests(&["MULTI", &format!("EVALSHA {digest} 1 {there}"), "EXEC"]));
    assert_eq!(client.read_replies(3)[2], b"*1\r\n-MINE it failed\r\n");

    // One that cannot be read is none.
    let broken = "return (";
    assert!(client.call(&["EVAL", broken, "0"]).starts_with(b"-ERR Error compiling script"));
    client.expect("SCRIPT FLUSH", "+OK\r\n");
    client.expect(&run, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
}

#[test]
fn a_script_of_a_transaction_is_known_wherever_that_goes_and_afterwards() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    let [here, there] = [5, 7_000].map(key_of);
    let unknown = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    // It runs where the first key leads, which comes later.
    let keyless = format!("EVALSHA {} 0", load(&mut client, "return 'x'"));
    nodes.0.iter().for_each(|node| node.client().expect("SCRIPT FLUSH", "+OK\r\n"));
    client.expect("MULTI", "+OK\r\n");
    client.expect(&keyless, "+QUEUED\r\n");
    client.expect(&format!("SET {there} v"), "+QUEUED\r\n");
    client.expect("EXEC", "*2\r\n$1\r\nx\r\n+OK\r\n");
    // Its node is told of it once.
    let node = &nodes.0[1];
    node.client().expect("CONFIG RESETSTAT", "+OK\r\n");
    for _ in 0..3 {
        client.expect("MULTI", "+OK\r\n");
        client.expect(&format!("GET {there}"), "+QUEUED\r\n");
        client.expect(&keyless, "+QUEUED\r\n");
        client.expect("EXEC", "*2\r\n$1\r\nv\r\n$1\r\nx\r\n");
    }
    let stats = node.client().line("INFO commandstats");
    assert!(!String::from_utf8_lossy(&stats).contains("script|load"));

    // One that it brings along is known once it has been executed, and not before.
    for number in 0..4 {
        let (bring, in_steps) = (if number % 2 == 0 { "EVAL" } else { "LOAD" }, number < 2);
        let text = format!("return {number}");
        let digest = load(&mut nodes.0[2].client(), &text);
        let (bring, said) = match bring {
            "EVAL" => (request(&["EVAL", &text, "1", &here]), format!(":{number}\r\n")),
            _ => (request(&["SCRIPT", "LOAD", &text]), format!("$40\r\n{digest}\r\n")),
        };
        let run = format!("EVALSHA {digest} 1 {there}");
        for (end, answer, known) in [
            ("DISCARD", "+OK\r\n".to_owned(), unknown.to_owned()),
            ("EXEC", format!("*2\r\n+PONG\r\n{said}"), format!(":{number}\r\n")),
        ] {
            let parts = [requests(&["MULTI", "PING"]), bring.clone(), requests(&[end])];
            if in_steps {
                client.send_raw(&parts[0]);
                client.read_replies(2);
                client.send_raw(&parts[1]);
                assert_eq!(client.read_reply(), b"+QUEUED\r\n");
                client.send_raw(&parts[2]);
                assert_eq!(String::from_utf8_lossy(&client.read_reply()), answer);
            } else {
                client.send_raw(&parts.concat());
                assert_eq!(String::from_utf8_lossy(&client.read_replies(4)[3]), answer);
            }
            client.expect(&run, &known);
        }
    }
}

#[test]
fn a_script_that_answers_with_a_word_of_clusters_is_executed_once() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(5));
    let (other, own) = (nodes.0[1].address(), nodes.0[0].address());
    let words = [
        "TRYAGAIN x".to_owned(),
        "CLUSTERDOWN x".to_owned(),
        "LOADING x".to_owned(),
        "MASTERDOWN x".to_owned(),
        format!("MOVED 6000 {other}"),
        format!("MOVED 5 {own}"),
        format!("ASK 6000 {other}"),
        "MOVED x".to_owned(),
    ];
    let mut count = 0;
    for word in &words {
        let script = format!("redis.call('incr', KEYS[1]) return redis.error_reply('{word}')");
        let said = format!("-{word}\r\n");
        // By itself, in a transaction that was sent at once, in one that was not, and beside what is watched.
        client.send(&["EVAL", &script, "1", &key]);
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), said);
        client.send_raw(&[requests(&["MULTI"]), eval(&script, &key), requests(&["EXEC"])].concat());
        assert_eq!(String::from_utf8_lossy(&client.read_replies(3)[2]), format!("*1\r\n{said}"));
        client.expect("MULTI", "+OK\r\n");
        client.send_raw(&eval(&script, &key));
        assert_eq!(client.read_reply(), b"+QUEUED\r\n");
        client.expect("EXEC", &format!("*1\r\n{said}"));
        client.expect(&format!("WATCH {key}"), "+OK\r\n");
        client.send_raw(&eval(&script, &key));
        assert_eq!(String::from_utf8_lossy(&client.read_reply()), said);
        client.expect("UNWATCH", "+OK\r\n");
        count += 4;
        let shown = count.to_string();
        client.expect(&format!("GET {key}"), &format!("${}\r\n{shown}\r\n", shown.len()));
    }
    // Word for word, where a node would not say so: of no key, and of a single one that its keys are on two nodes.
    let apart = "TRYAGAIN Multiple keys request during rehashing of slot".to_owned();
    let of_all = [
        format!("MOVED 5 {other}"),
        format!("ASK 5 {other}"),
        apart.clone(),
        "CLUSTERDOWN Hash slot not served".to_owned(),
    ];
    let (with_key, without) = (["1", &key], ["0", &key]);
    for (word, names) in of_all.iter().map(|word| (word, without)).chain([(&apart, with_key)]) {
        let script = format!("redis.call('incr', KEYS[1] or ARGV[1]) return redis.error_reply('{word}')");
        let said = client.call(&["EVAL", &script, names[0], names[1]]);
        assert_eq!(String::from_utf8_lossy(&said), format!("-{word}\r\n"));
        count += 1;
        let shown = count.to_string();
        client.expect(&format!("GET {key}"), &format!("${}\r\n{shown}\r\n", shown.len()));
    }
    // One that leads to nobody is not followed, and is not executed again to hear it once more.
    let script = "redis.call('incr', KEYS[1]) return redis.error_reply('MOVED 5 nobody.invalid:1')";
    let hasty = nodes.gateway_that_waits(500, "");
    let mut client = hasty.client();
    client.send_raw(&eval(script, &key));
    assert!(client.read_reply().starts_with(b"-ERR respool: "));
    let shown = (count + 1).to_string();
    client.expect(&format!("GET {key}"), &format!("${}\r\n{shown}\r\n", shown.len()));
}

fn eval(script: &str, key: &str) -> Vec<u8> {
    request(&["EVAL", script, "1", key])
}

#[test]
fn nodes_are_reached_elsewhere_than_where_their_cluster_says() {
    let nodes = Nodes::start();
    let mut entries = Vec::new();
    for (number, node) in nodes.0.iter().enumerate() {
        let mut client = node.client();
        client.expect(&format!("CONFIG SET cluster-announce-hostname node-{number}.invalid"), "+OK\r\n");
        client.expect("CONFIG SET cluster-preferred-endpoint-type hostname", "+OK\r\n");
        entries.push(format!("\"node-{number}.invalid:{}={}\"", node.address().port(), node.address()));
    }
    within(super::nodes::READY, "all to know the names", || {
        let knows =
            |said: &[u8]| (0..6).all(|number| String::from_utf8_lossy(said).contains(&format!("node-{number}.")));
        nodes.0.iter().all(|node| node.try_line("CLUSTER SLOTS").is_some_and(|said| knows(&said))).then_some(())
    });
    let gateway = nodes.gateway_that_waits(30_000, &format!("[cluster]\nreached_at = [{}]", entries.join(", ")));
    let mut client = gateway.client();
    for slot in [5, 6_000, 12_000] {
        client.expect(&format!("SET {} {slot}", key_of(slot)), "+OK\r\n");
    }
    nodes.move_slot(5, &nodes.0[0], &nodes.0[1], |_| client.expect(&format!("GET {}", key_of(5)), "$1\r\n5\r\n"));
    nodes.fail_over(5);
    client.expect(&format!("GET {}", key_of(12_000)), "$5\r\n12000\r\n");
    client.expect(&format!("GET {}", key_of(5)), "$1\r\n5\r\n");
}

#[test]
fn a_node_that_finds_other_keys_than_its_description_says_shows_no_redirection() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    for slot in [5, 7_000, 12_000] {
        let key = key_of(slot);
        // The node of the slot alone knows what is wrong; STREAMS is the value of COUNT, of BLOCK, and the word.
        let mut direct = nodes.0.iter().map(|node| node.client()).find_map(|mut node| {
            let found = node.line(&format!("TYPE {key}"));
            found.starts_with(b"+").then_some(node)
        });
        let direct = direct.as_mut().expect("a node has the slot");
        let commands = [
            format!("XREAD COUNT STREAMS STREAMS {key} 0"),
            format!("XREADGROUP GROUP g c COUNT STREAMS STREAMS {key} 0"),
            format!("XREAD BLOCK STREAMS STREAMS {key} 0"),
        ];
        for command in commands {
            let direct = &mut *direct;
            // Nodes may take each other for dead for a moment on a busy machine.
            let said = wait("the node to answer", || {
                let said = String::from_utf8_lossy(&direct.line(&command)).into_owned();
                (!said.starts_with("-CLUSTERDOWN")).then_some(said)
            });
            assert!(said.starts_with("-ERR"), "{command}: {said}");
            client.expect(&command, &said);
            if command.contains("BLOCK") {
                continue;
            }
            let transaction = requests(&["MULTI", &command, "EXEC"]);
            let [here, there] = [&mut client, direct].map(|client| {
                client.send_raw(&transaction);
                String::from_utf8_lossy(&client.read_replies(3).concat()).into_owned()
            });
            assert_eq!(here, there, "{command}");
        }
    }
}

#[test]
fn what_a_pipeline_has_flushed_is_unknown_behind_it() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(5));
    let no_script = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
    for before in [true, false] {
        if !before {
            load(&mut client, SCRIPT);
        }
        let digest = load(&mut nodes.0[0].client(), SCRIPT);
        nodes.0[0].client().expect("SCRIPT FLUSH", "+OK\r\n");
        let (run, exists) = (format!("EVALSHA {digest} 1 {key} 1"), format!("SCRIPT EXISTS {digest}"));
        let begin = if before { request(&["EVAL", SCRIPT, "1", &key, "0"]) } else { request(&["EXISTS", &key]) };
        client.send_raw(&begin);
        client.send_raw(&requests(&["SCRIPT FLUSH", &run, &exists]));
        let replies = String::from_utf8_lossy(&client.read_replies(4).concat()).into_owned();
        let (_, replies) = replies.split_once("\r\n").expect("a reply");
        assert_eq!(replies, format!("+OK\r\n{no_script}*1\r\n:0\r\n"));
        client.expect(&exists, "*1\r\n:0\r\n");
        client.expect(&run, no_script);
        load(&mut client, SCRIPT);
        client.send_raw(&requests(&["SCRIPT FLUSH", &run, "SCRIPT FLUSH", &run]));
        let replies = String::from_utf8_lossy(&client.read_replies(4).concat()).into_owned();
        assert_eq!(replies, format!("+OK\r\n{no_script}").repeat(2));
    }
}

#[test]
fn a_client_that_tracks_finds_scripts_as_others_do() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut other, mut tracking) = (gateway.client(), gateway.client());
    tracking.send_raw(&requests(&["HELLO 3", "CLIENT TRACKING ON"]));
    tracking.read_replies(2);
    let (keys, mut count) = ([5, 7_000, 12_000].map(key_of), 0);
    let mut run = |client: &mut Client, digest: &str| {
        for key in &keys {
            count += 1;
            client.expect(&format!("EVALSHA {digest} 1 {key} 1"), &format!(":{}\r\n", (count + 2) / 3));
        }
    };
    let scripts = [0, 1, 2].map(|number| format!("{SCRIPT} -- {number}"));
    let [theirs, ours, loaded] = scripts.each_ref().map(|text| load(&mut nodes.0[0].client(), text));
    nodes.0[0].client().expect("SCRIPT FLUSH", "+OK\r\n");
    // One that others brought along, one that it brought along itself, and one that nodes have lost.
    other.call(&["EVAL", &scripts[0], "1", &keys[0], "0"]);
    run(&mut tracking, &theirs);
    tracking.call(&["EVAL", &scripts[1], "1", &keys[0], "0"]);
    run(&mut tracking, &ours);
    run(&mut other, &ours);
    load(&mut other, &scripts[2]);
    nodes.0[..3].iter().for_each(|node| node.client().expect("SCRIPT FLUSH", "+OK\r\n"));
    run(&mut tracking, &loaded);
}

#[test]
fn a_node_that_is_busy_with_a_script_says_so_to_all() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut runner, key) = (gateway.client(), gateway.client(), key_of(5));
    nodes.0.iter().for_each(|node| node.client().expect("CONFIG SET lua-time-limit 100", "+OK\r\n"));
    client.expect(&format!("SET {key} v"), "+OK\r\n");
    runner.send_raw(&request(&["EVAL", "while true do end", "1", &key]));
    let mut direct = nodes.0[0].client();
    wait("the node to be busy", || direct.line(&format!("GET {key}")).starts_with(b"-BUSY ").then_some(()));
    // From then on; a client that waits tells how long the node is not believed.
    for _ in 0..20 {
        let began = Instant::now();
        let said = client.line(&format!("GET {key}"));
        assert!(said.starts_with(b"-BUSY "), "{}", String::from_utf8_lossy(&said));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        pass(Duration::from_millis(100));
    }
    client.expect("SCRIPT KILL", "+OK\r\n");
    assert!(runner.read_reply().starts_with(b"-"));
    client.expect(&format!("GET {key}"), "$1\r\nv\r\n");
}
