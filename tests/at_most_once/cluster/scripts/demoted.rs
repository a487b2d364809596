//! Scripts without keys whose primary becomes a replica: it refuses them in words that a script could say of its own.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::super::nodes::{Nodes, key_of};
use crate::support::{Client, request, requests};

/// Counts up and says the number: nobody could tell from the text which key it is.
const COUNT: &str = "return redis.call('incr', string.sub('x{SLOT}NAME', 2))";

/// Says of its own what a replica says, word for word, once it has counted up.
const SAYS_SO: &str = "redis.call('incr', 'KEY') return redis.error_reply('WORDS')";

const WORDS: [&str; 2] = [
    "READONLY You can't write against a read only replica.",
    "ERR Script attempted to access a non local key in a cluster node",
];

/// How a client has a script executed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Alone,
    AsDeclared,
    ByDigest,
    ThreeAtOnce,
    InTransaction,
    InSteps,
    Tracked,
    Reading,
    /// No script, but a write without a key.
    Load,
}

const WAYS: [Way; 9] = [
    Way::Alone,
    Way::AsDeclared,
    Way::ByDigest,
    Way::ThreeAtOnce,
    Way::InTransaction,
    Way::InSteps,
    Way::Tracked,
    Way::Reading,
    Way::Load,
];

impl Way {
    /// The script that counts for this way alone.
    fn script(self) -> String {
        COUNT.replace("SLOT", &key_of(5)).replace("NAME", &format!("{self:?}"))
    }

    fn prepare(self, client: &mut Client) {
        if self == Self::Tracked {
            client.line("HELLO 3");
            client.expect("CLIENT TRACKING ON", "+OK\r\n");
        }
    }

    /// Has it executed; the replies, of which the last ones count.
    fn run(self, client: &mut Client, script: &str) -> Vec<Vec<u8>> {
        let eval = request(&["EVAL", script, "0"]);
        let all = |client: &mut Client, bytes: &[u8], count: usize| {
            client.send_raw(bytes);
            client.read_replies(count)
        };
        match self {
            Self::Alone | Self::Tracked => all(client, &eval, 1),
            Self::AsDeclared => vec![client.call(&["EVAL", &format!("#!lua\n{script}"), "0"])],
            Self::ByDigest => {
                let digest = String::from_utf8(client.call(&["SCRIPT", "LOAD", script])).expect("a digest");
                vec![client.line(&format!("EVALSHA {} 0", digest.lines().nth(1).expect("a digest")))]
            }
            Self::ThreeAtOnce => all(client, &eval.repeat(3), 3),
            Self::InTransaction => all(client, &[requests(&["MULTI"]), eval, requests(&["EXEC"])].concat(), 3),
            Self::InSteps => {
                client.expect("MULTI", "+OK\r\n");
                assert_eq!(all(client, &eval, 1), [b"+QUEUED\r\n"]);
                vec![client.line("EXEC")]
            }
            Self::Reading => {
                let read = format!("return redis.call('strlen', string.sub('x{{{}}}', 2))", key_of(5));
                vec![client.call(&["EVAL_RO", &read, "0"])]
            }
            Self::Load => {
                let library = "#!lua name=m\nredis.register_function('f', function() return 1 end)";
                vec![client.call(&["FUNCTION", "LOAD", "REPLACE", library])]
            }
        }
    }
}

/// Counts until it is `over`: each number is the one before plus one.
fn count(way: Way, mut client: Client, over: &AtomicBool) {
    way.prepare(&mut client);
    let (mut last, script) = (0_i64, way.script());
    while !over.load(Ordering::Relaxed) {
        let replies = way.run(&mut client, &script);
        let texts: Vec<_> = replies.iter().map(|reply| String::from_utf8_lossy(reply)).collect();
        assert!(texts.iter().all(|text| !text.contains('-')), "{way:?} after {last}: {texts:?}");
        let numbers = texts.iter().filter_map(|text| text.rsplit(':').next()?.trim_end().parse::<i64>().ok());
        for number in numbers.filter(|_| !matches!(way, Way::Reading | Way::Load)) {
            assert_eq!(number, last + 1, "{way:?}");
            last = number;
        }
    }
    assert!(last > 0 || matches!(way, Way::Reading | Way::Load), "{way:?} has never counted");
}

#[test]
fn a_script_without_keys_goes_on_at_the_node_that_takes_over_by_order() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let counting: Vec<_> = WAYS
            .iter()
            .map(|way| {
                let (client, over) = (gateway.client(), &over);
                scope.spawn(move || count(*way, client, over))
            })
            .collect();
        for replica in [3, 0, 3, 0] {
            nodes.fail_over(replica);
        }
        over.store(true, Ordering::Relaxed);
        counting.into_iter().for_each(|counting| counting.join().expect("it saw nothing wrong"));
    });
}

#[test]
fn a_script_that_says_of_its_own_what_a_replica_says_has_run_once() {
    let nodes = Nodes::start();
    let gateway = nodes.gateway();
    let (mut client, key) = (gateway.client(), key_of(5));
    for words in WORDS {
        for way in [Way::Alone, Way::AsDeclared, Way::InTransaction, Way::InSteps, Way::Tracked] {
            way.prepare(&mut client);
            client.expect(&format!("SET {key} 0"), "+OK\r\n");
            let replies =
                way.run(&mut client, &SAYS_SO.replace("KEY", &key).replace("WORDS", &words.replace('\'', "\\'")));
            let said = replies.last().expect("a reply");
            assert!(String::from_utf8_lossy(said).contains(&format!("-{words}\r\n")), "{way:?}: {said:?}");
            client.expect(&format!("GET {key}"), "$1\r\n1\r\n");
        }
        client = gateway.client();
    }
}
