//! One user whose clients pipeline without end leaves others their turns: what those wait for is compared with what they
//! wait for alone, in the same run. `./tests/run fairness` shows it in figures, beside those of Redis itself.

use std::{
    env,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::{Client, Gateway, Redis, pass, requests};

/// Clients of the user that pipelines, and how many requests each sends at a time.
const GREEDY: usize = 20;
const PIPELINE: usize = 512;

/// Clients of the users that do not.
const MODEST: usize = 4;

const OK: &[u8] = b"+OK\r\n";

/// What the others waited for, one request each.
#[derive(Default)]
struct Waits {
    took: Vec<Duration>,
    /// Requests of the one that were answered meanwhile.
    passed: Vec<u64>,
}

/// What is measured, by clients of both kinds at one address.
#[derive(Default)]
struct Scene {
    over: AtomicBool,
    /// The one pipelines.
    besieged: AtomicBool,
    /// Requests of the one that have been answered.
    served: AtomicU64,
    alone: Mutex<Waits>,
    beside: Mutex<Waits>,
}

fn redis() -> Redis {
    let redis = Redis::start(&[]);
    let mut direct = redis.client();
    for user in ["ops", "greedy", "modest"] {
        direct.expect(&format!("ACL SETUSER {user} on >{user} ~* &* +@all"), "+OK\r\n");
    }
    redis
}

fn logged_in(address: SocketAddr, user: &str) -> Client {
    let mut client = Client::connect(address);
    client.expect(&format!("AUTH {user} {user}"), "+OK\r\n");
    client
}

/// Nothing is interpreted, so that the gateway has the processor.
fn pipeline(scene: &Scene, address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(&requests(&["AUTH greedy greedy"])).expect("sends");
    stream.read_exact(&mut [0; OK.len()]).expect("logged in");
    let block = requests(&["SET greedy 0123456789abcdef"; PIPELINE]);
    let mut replies = vec![0; OK.len() * PIPELINE];
    while !scene.over.load(Ordering::Relaxed) {
        if !scene.besieged.load(Ordering::Relaxed) {
            pass(Duration::from_millis(1));
            continue;
        }
        stream.write_all(&block).expect("sends");
        let mut read = 0;
        while read < replies.len() {
            let bytes = stream.read(&mut replies[read..]).expect("replies");
            assert!(bytes > 0, "closed");
            scene.served.fetch_add(((read + bytes) / OK.len() - read / OK.len()) as u64, Ordering::Relaxed);
            read += bytes;
        }
        assert!(replies.chunks(OK.len()).all(|reply| reply == OK));
    }
}

fn ask(scene: &Scene, address: SocketAddr) {
    let mut client = logged_in(address, "modest");
    while !scene.over.load(Ordering::Relaxed) {
        let (began, served) = (Instant::now(), scene.served.load(Ordering::Relaxed));
        let before = scene.besieged.load(Ordering::Relaxed);
        client.expect("GET nothing", "$-1\r\n");
        let (took, passed) = (began.elapsed(), scene.served.load(Ordering::Relaxed) - served);
        if scene.besieged.load(Ordering::Relaxed) != before {
            continue;
        }
        let mut waits = if before { &scene.beside } else { &scene.alone }.lock().expect("nobody panics with it");
        waits.took.push(took);
        waits.passed.push(passed);
    }
}

/// Has both go on in turns: the others alone, and all together.
fn measure(address: SocketAddr, turns: usize, turn: Duration) -> Scene {
    let scene = Scene::default();
    thread::scope(|scope| {
        for _ in 0..GREEDY {
            scope.spawn(|| pipeline(&scene, address));
        }
        for _ in 0..MODEST {
            scope.spawn(|| ask(&scene, address));
        }
        for at in 0..2 * turns {
            scene.besieged.store(at % 2 == 1, Ordering::Relaxed);
            pass(turn);
        }
        scene.over.store(true, Ordering::Relaxed);
    });
    scene
}

/// The value that 99 of 100 do not exceed.
fn p99<T: Copy + Ord>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() * 99 / 100]
}

/// Shows it; how many requests of the one are answered while one of another waits.
fn show(where_: &str, scene: &Scene, time: Duration) -> u64 {
    let (alone, beside) = (scene.alone.lock().expect("over"), scene.beside.lock().expect("over"));
    let (without, with) = (p99(&alone.took), p99(&beside.took));
    let passed = p99(&beside.passed);
    println!(
        "{where_}: p99 {without:?} of {} requests alone, {with:?} of {} beside the other, ratio {:.2}; {passed} requests of \
         the other meanwhile, which has {:.0} a second",
        alone.took.len(),
        beside.took.len(),
        with.as_secs_f64() / without.as_secs_f64(),
        scene.served.load(Ordering::Relaxed) as f64 / time.as_secs_f64(),
    );
    passed
}

fn gateway(redis: &Redis) -> Gateway {
    let url = redis.url().replace("redis://", "redis://ops:ops@");
    Gateway::builder().upstream(&url).config("[auth]\nmode = \"upstream\"").start()
}

#[test]
fn a_user_that_pipelines_without_end_leaves_others_their_turns() {
    let redis = redis();
    let gateway = gateway(&redis);
    let (turns, turn) = (3, Duration::from_millis(500));
    let scene = measure(gateway.address(), turns, turn);
    let passed = show("through the gateway", &scene, turn * 3);
    assert!(passed <= PASSED_MAX, "{passed} requests passed one");
}

/// Measures for as long as it is told to.
#[test]
#[ignore = "shows figures, by ./tests/run fairness"]
fn measure_fairness() {
    let seconds = env::var("RESPOOL_FAIRNESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let (redis, turn) = (redis(), Duration::from_secs(1));
    let gateway = gateway(&redis);
    for _ in 0..seconds / 4 {
        for (where_, address) in [("Redis itself", redis.address()), ("through the gateway", gateway.address())] {
            show(where_, &measure(address, 1, turn), turn);
        }
    }
}

/// Requests of the one that may be answered while one of another waits.
const PASSED_MAX: u64 = 1_800;
