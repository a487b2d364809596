//! Where keys stand, as Redis itself says it for requests of every command that it has.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use bytes::Bytes;
use resp::{Value, ValueError, write_request};
use route::{Commands, Reach, Route, Told, slot};

use crate::told::{commands, with};

/// A process of its own, in a directory that goes with it.
pub(crate) struct Redis {
    child: Child,
    stream: UnixStream,
    _directory: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("redis.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: apt-get install redis-server");
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < until, "redis-server does not start: {error}"),
            }
            sleep(Duration::from_millis(10));
        };
        Self { child, stream, _directory: directory }
    }

    pub(crate) fn ask<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        let mut request = Vec::new();
        write_request(&mut request, args);
        self.stream.write_all(&request).expect("it takes requests");
        let (mut got, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = self.stream.read(&mut chunk).expect("it replies");
            assert!(count > 0, "it closed the connection");
            got.extend_from_slice(&chunk[..count]);
            match Value::decode(&Bytes::copy_from_slice(&got)) {
                Err(ValueError::Incomplete) => {}
                reply => return reply.expect("a reply").0,
            }
        }
    }

    /// The keys of a request; `None` if Redis says there are none or that it does not fit.
    fn keys(&mut self, args: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let asked = [&[b"COMMAND".to_vec(), b"GETKEYS".to_vec()], args].concat();
        match self.ask(&asked) {
            Value::Array(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().expect("a key").to_vec()).collect();
                (!keys.is_empty()).then_some(keys)
            }
            Value::Error(_) => None,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What arguments are drawn from: keys, numbers of keys, and all words behind which keys stand.
const WORDS: [&str; 24] = [
    "k",
    "a{x}b",
    "c{x}d",
    "",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "STREAMS",
    "streams",
    "STORE",
    "store",
    "STOREDIST",
    "KEYS",
    "keys",
    "AUTH",
    "AUTH2",
    "LIMIT",
    "GET",
    "BY",
    "GROUP",
    "COUNT",
    "BLOCK",
];

/// A sequence of numbers that is the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }
}

fn ours(commands: &Commands, args: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let places = with(args, |request| commands.find(request).expect("known").keys(request));
    let keys: Vec<_> = places.into_iter().map(|at| args[at].clone()).collect();
    (!keys.is_empty()).then_some(keys)
}

#[test]
fn keys_are_where_redis_finds_them_in_requests_of_every_command() {
    let (commands, mut redis, mut numbers) = (commands(), Redis::start(), Numbers(7));
    let (mut compared, mut with_keys, mut told_at_once) = (0, 0, 0);
    let mut names: Vec<&[u8]> = commands.names().collect();
    names.sort_unstable();
    for name in names {
        // What it finds are channels, which Redis does not call keys, and keys of DEBUG, of which it knows nothing.
        if matches!(name, b"spublish" | b"ssubscribe" | b"sunsubscribe") || name.starts_with(b"debug|") {
            continue;
        }
        for _ in 0..60 {
            let mut args: Vec<Vec<u8>> = name.split(|byte| *byte == b'|').map(<[u8]>::to_vec).collect();
            let more = numbers.below(10);
            args.extend((0..more).map(|_| WORDS[numbers.below(WORDS.len())].as_bytes().to_vec()));
            let theirs = redis.keys(&args);
            if theirs.is_none() && !fits(commands, &args) {
                // It says that the number of arguments is wrong.
                continue;
            }
            let shown: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
            assert_eq!(ours(commands, &args), theirs, "{shown:?}");
            if let Some(Told::OnlyKey(at)) = with(&args, |request| commands.told(request)) {
                assert_eq!(theirs.as_deref(), Some(&args[usize::from(at)..][..1]), "{shown:?}");
                told_at_once += 1;
            }
            compared += 1;
            with_keys += usize::from(theirs.is_some());
        }
    }
    let counts = [compared, with_keys, told_at_once];
    assert!(
        compared > 8_000 && with_keys > 4_000 && told_at_once > 2_000,
        "requests, with keys, told at once: {counts:?}"
    );
}

/// Whether the number of arguments is one that the command takes.
fn fits(commands: &Commands, args: &[Vec<u8>]) -> bool {
    with(args, |request| commands.find(request).is_some_and(|command| command.takes(request.len())))
}

#[test]
fn known_requests_go_where_they_belong() {
    let commands = commands();
    let route = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        with(&args, |request| match commands.route(request) {
            Route::Slot(slot) => format!("slot {slot}"),
            Route::Anywhere => "anywhere".to_owned(),
            Route::Split(_, merge) => format!("split {merge:?}"),
            Route::Everywhere(merge) => format!("everywhere {merge:?}"),
            Route::Scan => "scan".to_owned(),
            Route::RandomKey => "random key".to_owned(),
            Route::Nowhere => "nowhere".to_owned(),
        })
    };
    let of = |key: &str| format!("slot {}", slot(key.as_bytes()));
    for line in [
        "GET a",
        "get a",
        "SET a b",
        "EVAL x 1 a",
        "FCALL f 2 a b c",
        "OBJECT ENCODING a",
        "XREAD COUNT 1 STREAMS a 0",
        "ZUNION 2 a b",
        "MGET a a{a}",
        "MSETNX a 1 b 2",
        "RENAME a b",
        "XGROUP CREATE a g $",
        "SORT a BY x STORE y",
        "BLPOP a b 0",
        "SPUBLISH a m",
        "BITOP AND a b c",
        "WATCH a b",
        "DEBUG OBJECT a",
    ] {
        assert_eq!(route(line), of("a"), "{line}");
    }
    for line in
        ["PING", "GET", "GET a b", "EVAL x 0", "EVAL x 9 a", "nosuch a", "PUBLISH c m", "INFO", "MULTI", "SCRIPT"]
    {
        assert_eq!(route(line), "anywhere", "{line}");
    }
    for (line, expected) in [
        ("MGET a b", "split ByKey"),
        ("MSET a 1 b 2", "split AllSucceeded"),
        ("DEL a b", "split Sum"),
        ("UNLINK a b", "split Sum"),
        ("EXISTS a b", "split Sum"),
        ("TOUCH a b", "split Sum"),
        ("DBSIZE", "everywhere Sum"),
        ("KEYS *", "everywhere Concat"),
        ("FLUSHALL", "everywhere AllSucceeded"),
        ("SCRIPT LOAD x", "everywhere AllSucceeded"),
        ("debug sleep 0", "everywhere AllSucceeded"),
        ("script exists x", "everywhere And"),
        ("SCRIPT KILL", "everywhere OneSucceeded"),
        ("LATENCY GRAPH command", "everywhere OneSucceeded"),
        ("FUNCTION DELETE l", "everywhere AllSucceeded"),
        ("CONFIG SET a b", "everywhere AllSucceeded"),
        ("ACL SETUSER u", "everywhere AllSucceeded"),
        ("SCAN 0", "scan"),
        ("RANDOMKEY", "random key"),
        ("CLUSTER SLOTS", "nowhere"),
        ("cluster nosuch x", "nowhere"),
    ] {
        assert_eq!(route(line), expected, "{line}");
    }
}

#[test]
fn the_number_of_keys_is_read_as_a_node_reads_it() {
    let commands = commands();
    let is_of_a = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        with(&args, |request| matches!(commands.route(request), Route::Slot(of) if of == slot(b"a")))
    };
    // It says so of each of these only where it has the slot.
    for line in ["EVALSHA x 1.0 a", "EVAL_RO x +1x a b", "ZUNION 4294967297 a", "LMPOP \t1 a LEFT"] {
        assert!(is_of_a(line), "{line}");
    }
    for line in ["EVAL x -1 a", "EVAL x y a", "EVAL x 0x1 a", "EVAL x 99999999999999999999 a"] {
        assert!(!is_of_a(line), "{line}");
    }
}

#[test]
fn what_only_reads_is_known_by_what_redis_says() {
    let only_reads = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        with(&args, |request| commands().find(request).expect("known").only_reads())
    };
    for line in ["GET a", "MGET a b", "SCAN 0", "XRANGE s - +", "OBJECT ENCODING a", "EVAL_RO x 0"] {
        assert!(only_reads(line), "{line}");
    }
    for line in ["SET a b", "GETDEL a", "SORT a", "EVAL x 0", "XREADGROUP GROUP g c STREAMS s >", "PUBLISH c m", "EXEC"]
    {
        assert!(!only_reads(line), "{line}");
    }
}

#[test]
fn nothing_that_cannot_be_put_together_goes_to_several_shards() {
    let commands = commands();
    for name in commands.names() {
        let args: Vec<&[u8]> = name.split(|byte| *byte == b'|').collect();
        let reach = with(&args, |request| commands.find(request).expect("known").reach());
        if let Reach::Split(_) = reach {
            assert!(matches!(name, b"mget" | b"mset" | b"del" | b"unlink" | b"exists" | b"touch"), "{args:?}");
        }
    }
}

#[test]
fn an_older_redis_says_less_and_the_table_has_the_rest() {
    // As Redis 6 describes them: no specifications, no tips, no subcommands.
    let described = [
        ("get", 2, (1, 1, 1)),
        ("mget", -2, (1, -1, 1)),
        ("eval", -3, (0, 0, 0)),
        ("zunionstore", -4, (0, 0, 0)),
        ("xread", -4, (1, 1, 1)),
        ("georadius", -6, (1, 1, 1)),
        ("object", -2, (2, 2, 1)),
        ("script", -2, (0, 0, 0)),
        ("dbsize", 1, (0, 0, 0)),
        ("sort", -2, (1, 1, 1)),
    ];
    let wire: String = described
        .iter()
        .map(|(name, arity, (first, last, step))| {
            format!("*6\r\n${}\r\n{name}\r\n:{arity}\r\n*0\r\n:{first}\r\n:{last}\r\n:{step}\r\n", name.len())
        })
        .collect();
    let commands =
        Commands::read(&crate::told::value(format!("*{}\r\n{wire}", described.len()).as_bytes())).expect("commands");
    let keys = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        with(&args, |request| commands.find(request).map(|command| command.keys(request)))
    };
    assert_eq!(keys("EVAL x 2 a b c"), Some(vec![3, 4]));
    assert_eq!(keys("ZUNIONSTORE d 2 a b"), Some(vec![1, 3, 4]));
    assert_eq!(keys("XREAD COUNT 1 STREAMS a b 0 0"), Some(vec![4, 5]));
    assert_eq!(keys("GEORADIUS a 1 2 3 m STORE d"), Some(vec![1, 7]));
    assert_eq!(keys("OBJECT ENCODING a"), Some(vec![2]));
    assert_eq!(keys("SORT a STORE b"), Some(vec![1, 3]));
    let reach = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        with(&args, |request| format!("{:?}", commands.find(request).map(|command| command.reach())))
    };
    assert_eq!(reach("MGET a b"), "Some(Split(ByKey))");
    assert_eq!(reach("SCRIPT LOAD x"), "Some(Everywhere(AllSucceeded))");
    assert_eq!(reach("SCRIPT HELP"), "Some(Keys)");
    assert_eq!(reach("DBSIZE"), "Some(Everywhere(Sum))");
}
