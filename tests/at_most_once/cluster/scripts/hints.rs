//! Scripts and functions without keys may use a key that stands as a literal in their text, wherever that is: they run where it
//! is likely to be found.

use super::super::nodes::{Nodes, key_of};
use super::load;
use crate::support::{Client, request, requests, wait};

/// A key of each shard: of the first one, and of two others.
const SLOTS: [u16; 3] = [5, 7_000, 12_000];

fn value(number: usize) -> String {
    format!("$1\r\n{number}\r\n")
}

/// Sends these, and holds the replies against those that are expected.
#[track_caller]
fn expect_all(client: &mut Client, parts: &[&[u8]], expected: &[&str]) {
    client.send_raw(&parts.concat());
    let replies = client.read_replies(expected.len());
    assert_eq!(String::from_utf8_lossy(&replies.concat()), expected.concat());
}

#[test]
fn a_script_runs_where_the_key_is_that_stands_in_its_text() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    for (number, key) in SLOTS.map(key_of).iter().enumerate() {
        let (set, get) =
            (format!("redis.call('set', '{key}', {number})"), format!("return redis.call('get', '{key}')"));
        assert_eq!(client.call(&["EVAL", &set, "0"]), b"$-1\r\n");
        assert_eq!(String::from_utf8_lossy(&client.call(&["EVAL_RO", &get, "0"])), value(number));
        // By its digest, of a text that was loaded or that others brought along; the second time, by what is remembered.
        let digest = load(&mut client, &get);
        for name in ["EVALSHA", "EVALSHA_RO", "evalsha"] {
            client.expect(&format!("{name} {} 0", digest.to_ascii_uppercase()), &value(number));
        }
        // The node of the key is told it as any other.
        nodes.0[..3].iter().for_each(|node| node.client().expect("SCRIPT FLUSH", "+OK\r\n"));
        client.expect(&format!("EVALSHA {digest} 0"), &value(number));

        // In a transaction that has no other key: sent at once, in steps, and of one who has watched elsewhere before.
        let eval = request(&["EVAL", &get, "0"]);
        let [begin, end] = ["MULTI", "EXEC"].map(|line| requests(&[line]));
        let answer = format!("*1\r\n{}", value(number));
        expect_all(&mut client, &[&begin, &eval, &end], &["+OK\r\n", "+QUEUED\r\n", &answer]);
        client.expect("MULTI", "+OK\r\n");
        expect_all(&mut client, &[&eval], &["+QUEUED\r\n"]);
        client.expect("EXEC", &answer);
        let other = key_of(SLOTS[(number + 1) % 3]);
        client.expect(&format!("WATCH {other}"), "+OK\r\n");
        client.expect("UNWATCH", "+OK\r\n");
        expect_all(&mut client, &[&eval], &[&value(number)]);
        // A key that is named decides.
        client.expect("MULTI", "+OK\r\n");
        expect_all(&mut client, &[&request(&["EVAL", "return redis.call('get', 'x')", "0"])], &["+QUEUED\r\n"]);
        client.expect(&format!("SET {key} {number}"), "+QUEUED\r\n");
        assert!(client.line("EXEC").ends_with(b"+OK\r\n"));
    }
    // Those that have none run as ever, and so does one whose keys are in two places.
    client.expect("EVAL return{1} 0", "*1\r\n:1\r\n");
    let [_, second, third] = SLOTS.map(key_of);
    let apart = format!("redis.call('get', '{second}') return redis.call('get', '{third}')");
    assert!(String::from_utf8_lossy(&client.call(&["EVAL", &apart, "0"])).contains("non local key"));
}

#[test]
fn a_function_runs_where_the_key_is_that_stands_in_its_text() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, keys) = (gateway.client(), SLOTS.map(key_of));
    let function = |name: usize, key: usize| {
        let body = format!("function(keys, args) return redis.call('incr', '{}') end", keys[key]);
        format!("redis.register_function('f{name}', {body})\n")
    };
    let library = |of: [usize; 3]| {
        let functions = of.iter().enumerate().map(|(name, key)| function(name, *key));
        format!("#!lua name=lib\n{}", functions.collect::<String>())
    };
    let lib = "$3\r\nlib\r\n";
    assert_eq!(client.call(&["FUNCTION", "LOAD", &library([0, 1, 2])]), lib.as_bytes());
    for (name, key) in keys.iter().enumerate() {
        client.expect(&format!("FCALL f{name} 0"), ":1\r\n");
        client.expect(&format!("GET {key}"), "$1\r\n1\r\n");
    }
    // One that is refused changes nothing.
    assert!(client.call(&["FUNCTION", "LOAD", &library([1, 2, 0])]).starts_with(b"-ERR Library 'lib' already exists"));
    (0..3).for_each(|name| client.expect(&format!("FCALL f{name} 0"), ":2\r\n"));
    assert_eq!(client.call(&["FUNCTION", "LOAD", "REPLACE", &library([1, 2, 0])]), lib.as_bytes());
    (0..3).for_each(|name| client.expect(&format!("FCALL f{name} 0"), ":3\r\n"));
    // One that only reads, and one that a transaction has brought.
    let reads = format!(
        "#!lua name=other\nredis.register_function{{function_name='r', callback=function() return redis.call('get', '{}') \
         end, flags={{'no-writes'}}}}",
        keys[1]
    );
    client.expect("MULTI", "+OK\r\n");
    assert_eq!(client.call(&["FUNCTION", "LOAD", &reads]), b"+QUEUED\r\n");
    client.expect("EXEC", "*1\r\n$5\r\nother\r\n");
    client.expect("FCALL_RO r 0", "$1\r\n3\r\n");
    client.expect("FUNCTION FLUSH", "+OK\r\n");
    client.expect("FCALL_RO r 0", "-ERR Function not found\r\n");
}

#[test]
fn scripts_without_keys_keep_their_place_in_a_pipeline() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, keys) = (gateway.client(), SLOTS.map(key_of));
    let run = |key: &str| request(&["EVAL", &format!("return redis.call('incr', '{key}')"), "0"]);
    let [first, second, third] = keys.each_ref().map(|key| run(key));
    for number in 0..20 {
        let incr = |key: &str| requests(&[&format!("INCR {key}")]);
        // Behind and before what names its key, behind and before what runs elsewhere, and several in a row.
        let parts = [
            &incr(&keys[1])[..],
            &second,
            &incr(&keys[1]),
            &second,
            &second,
            &first,
            &requests(&["PUBLISH c m"]),
            &third,
            &request(&["EVAL", "return 7", "0"]),
            &incr(&keys[2]),
            &third,
            &incr(&keys[0]),
        ];
        let of = |times: i32, at: i32| format!(":{}\r\n", number * times + at);
        let expected = [
            &of(5, 1),
            &of(5, 2),
            &of(5, 3),
            &of(5, 4),
            &of(5, 5),
            &of(2, 1),
            ":0\r\n",
            &of(3, 1),
            ":7\r\n",
            &of(3, 2),
            &of(3, 3),
            &of(2, 2),
        ];
        expect_all(&mut client, &parts, &expected);
    }
}

#[test]
fn a_script_that_runs_elsewhere_waits_for_those_before_it() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, mut killer, keys) = (gateway.client(), gateway.client(), SLOTS.map(key_of));
    nodes.0.iter().for_each(|node| node.client().expect("CONFIG SET lua-time-limit 50", "+OK\r\n"));
    // Of the script that takes long and of the one behind it: which node it runs at, by its key or as one without.
    for (long, next) in [(1, 2), (1, 0), (0, 1)] {
        let use_key = format!("redis.call('exists', '{}')", keys[long]);
        let long_text = format!("{} while true do end", if long == 0 { "" } else { &use_key });
        let next_text = format!("return redis.call('incr', '{}')", keys[next]);
        client.send_raw(&[request(&["EVAL", &long_text, "0"]), request(&["EVAL", &next_text, "0"])].concat());
        let mut direct = nodes.0[long].client();
        wait("the node to be busy", || direct.line("DBSIZE").starts_with(b"-BUSY ").then_some(()));
        nodes.0[next].client().expect(&format!("EXISTS {}", keys[next]), ":0\r\n");
        killer.expect("SCRIPT KILL", "+OK\r\n");
        let replies = client.read_replies(2);
        let killed = String::from_utf8_lossy(&replies[0]).into_owned();
        assert!(killed.contains("killed by user"), "{killed}");
        assert_eq!(replies[1], b":1\r\n");
        client.expect(&format!("DEL {}", keys[next]), ":1\r\n");
    }
}

#[test]
fn a_word_of_clusters_that_such_a_script_says_is_its_own() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(7_000));
    let other = nodes.0[2].address();
    let words = [
        format!("MOVED 7000 {other}"),
        format!("ASK 7000 {other}"),
        "TRYAGAIN Multiple keys request during rehashing of slot".to_owned(),
        "CLUSTERDOWN Hash slot not served".to_owned(),
    ];
    for (count, word) in words.iter().enumerate() {
        let script = format!("redis.call('incr', '{key}') return redis.error_reply('{word}')");
        assert_eq!(String::from_utf8_lossy(&client.call(&["EVAL", &script, "0"])), format!("-{word}\r\n"));
        client.expect(&format!("GET {key}"), &value(count + 1));
    }
    // Where its slot has gone it goes with the map, and no word of that is seen.
    nodes.move_slot(7_000, &nodes.0[1], &nodes.0[2], |_| {});
    client.expect(&format!("GET {key}"), "$1\r\n4\r\n");
    let get = format!("return redis.call('get', '{key}')");
    wait("the slot to be known where it is", || {
        let said = client.call(&["EVAL", &get, "0"]);
        assert!(said == b"$1\r\n4\r\n" || String::from_utf8_lossy(&said).contains("non local key"));
        (said == b"$1\r\n4\r\n").then_some(())
    });
    nodes.fail_over(5);
    client.expect(&format!("GET {key}"), "$1\r\n4\r\n");
    assert_eq!(client.call(&["EVAL", &get, "0"]), b"$1\r\n4\r\n");
}

#[test]
fn a_client_that_tracks_runs_them_there_as_well() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    client.send_raw(&requests(&["HELLO 3", "CLIENT TRACKING ON"]));
    client.read_replies(2);
    for key in SLOTS.map(key_of) {
        let script = format!("return redis.call('incr', '{key}')");
        assert_eq!(client.call(&["EVAL", &script, "0"]), b":1\r\n");
        client.expect("MULTI", "+OK\r\n");
        expect_all(&mut client, &[&request(&["EVAL", &script, "0"])], &["+QUEUED\r\n"]);
        client.expect("EXEC", "*1\r\n:2\r\n");
    }
}

#[test]
fn a_digest_is_run_where_its_text_would_be_though_nobody_has_kept_that() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    for key in SLOTS.map(key_of) {
        // Loaded, or executed, by the same pipeline.
        let (loaded, executed) =
            (format!("return redis.call('incr', '{key}')"), format!("return redis.call('incr','{key}')"));
        let [digest, other] = [&loaded, &executed].map(|text| load(&mut nodes.0[3].client(), text));
        let pipeline: [&[&str]; 4] = [
            &["SCRIPT", "LOAD", &loaded],
            &["EVALSHA", &digest, "0"],
            &["EVAL", &executed, "0"],
            &["EVALSHA", &other, "0"],
        ];
        let said = format!("$40\r\n{digest}\r\n");
        expect_all(
            &mut client,
            &pipeline.map(request).each_ref().map(Vec::as_slice),
            &[&said, ":1\r\n", ":2\r\n", ":3\r\n"],
        );
        // An answer that could also mean that no script was taken in.
        client.expect(&format!("SET {key} text"), "+OK\r\n");
        let fails = format!("return redis.pcall('incr', '{key}')");
        let digest = load(&mut nodes.0[3].client(), &fails);
        let error = "-ERR value is not an integer or out of range\r\n";
        expect_all(&mut client, &[&request(&["EVAL", &fails, "0"])], &[error]);
        client.expect(&format!("EVALSHA {digest} 0"), error);
        let fails = format!("return redis.pcall('incr', KEYS[1]) -- {key}");
        let digest = load(&mut nodes.0[3].client(), &fails);
        expect_all(&mut client, &[&request(&["EVAL", &fails, "1", &key])], &[error]);
        for slot in [20, 7_020, 12_020] {
            let other = key_of(slot);
            client.expect(&format!("EVALSHA {digest} 1 {other}"), ":1\r\n");
            client.expect(&format!("DEL {other}"), ":1\r\n");
        }
    }
}

#[test]
fn a_script_that_waits_for_a_transaction_is_not_overtaken() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let mut client = gateway.client();
    for key in SLOTS.map(key_of) {
        let get = request(&["EVAL_RO", &format!("return redis.call('get', '{key}')"), "0"]);
        client.expect(&format!("SET {key} 1"), "+OK\r\n");
        let (begin, set) = (requests(&["MULTI", "EXEC"]), requests(&[&format!("SET {key} 2")]));
        expect_all(&mut client, &[&begin, &get, &set], &["+OK\r\n", "*0\r\n", &value(1), "+OK\r\n"]);
        client.expect(&format!("GET {key}"), &value(2));
    }
}
