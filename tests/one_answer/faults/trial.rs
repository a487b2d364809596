//! One trial: a seed, a time, and everything that takes part. Whatever the schedule did, in the end the
//! gateway has to serve and to have nothing lent, or to end in order, and Redis has to hold what the clients'
//! histories demand.

use std::{
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use super::{
    history::Flaw,
    listening::Channel,
    schedule::{Round, Stage},
    stateful::{ask, number},
    tally::{Report, Tally},
    vanishing,
    writer::{DBS, Limits, Scene, Writer},
};
use crate::support::{Gateway, Redis, Relay, raise_descriptor_limit, wait};

const WRITERS: u32 = 24;
const VANISHERS: u32 = 4;
const LISTENERS: usize = 2;

const QUEUE_MS: u64 = 1_000;
const REPLY_MS: u64 = 1_000;
const CONNECT_MS: u64 = 500;

const MIB: u64 = 1 << 20;
/// `queue_bytes_max`, `replies_bytes_max` and `input_bytes_max`, in bytes.
const BOUNDS: [u64; 3] = [8 * MIB, 16 * MIB, 8 * MIB];
/// What each client may cost besides: what one read holds, its burst, and the replies to it.
const CLIENT_BYTES: u64 = 160 << 10;
/// `clients_max`: who has vanished may be there for a while.
const CLIENTS_MAX: u64 = 1_000;
/// The buffer of a connection to the upstream, and what its task may need.
const CONNECTION_BYTES: u64 = 128 << 10;
/// The most connections to the upstream that the schedule allows.
const CONNECTIONS: u64 = 50;

fn limits() -> Limits {
    let ms = Duration::from_millis;
    // An exclusive connection is waited for, found to be silent, opened, and brought into the session's state.
    Limits { shared: ms(QUEUE_MS + REPLY_MS), exclusive: ms(QUEUE_MS + 3 * CONNECT_MS + REPLY_MS) }
}

/// What else seeds differ in: threads, how subscribers are served, short lives of connections, a queue that is
/// often full, replies that are often too large.
fn variant(seed: u64) -> String {
    let threads = 1 + seed % 2;
    let mode = if seed % 4 < 2 { "dedicated" } else { "shared" };
    let lifetime_ms = if seed.is_multiple_of(3) { 300 } else { 3_600_000 };
    let queue_capacity = if seed % 5 == 2 { 8 } else { 16_384 };
    let reply_bytes_max = if seed % 5 == 3 { 60_000 } else { MIB };
    format!(
        "[runtime]\nthreads = {threads}\n[pubsub]\nmode = \"{mode}\"\n[upstream]\nlifetime_ms = {lifetime_ms}\n\
         [pool]\nqueue_capacity = {queue_capacity}\nreply_bytes_max = {reply_bytes_max}"
    )
}

fn stage(seed: u64) -> Stage {
    let redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let relay = Relay::start(redis.address());
    let [queue, replies, input] = BOUNDS;
    let config = format!(
        "[upstream]\nconnect_timeout_ms = {CONNECT_MS}\n\
         [pool]\nworkers = 3\nqueue_timeout_ms = {QUEUE_MS}\nreply_timeout_ms = {REPLY_MS}\nexclusive_max = 32\n\
         queue_bytes_max = {queue}\nreplies_bytes_max = {replies}\n[clients]\ninput_bytes_max = {input}\n\
         clients_max = {CLIENTS_MAX}"
    );
    let gateway = Gateway::builder().upstream(&relay.url()).config(&config).config(&variant(seed));
    Stage::new(redis, relay, gateway.allow_lost_upstream().allow("paused").allow("runtime.threads: ").start())
}

/// Runs the load and the schedule of `seed` for `time`.
pub fn run(seed: u64, time: Duration) -> Report {
    raise_descriptor_limit();
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut stage, tally) = (stage(seed), Tally::new());
    let memory_before = stage.gateway.process().rss_bytes();
    let run = u32::try_from(seed & 0xffff_ffff).expect("32 bits");
    let scene = Scene { address: stage.gateway.address(), tally: &tally, limits: limits(), run, clients: WRITERS };
    let channel = Channel::default();
    let (mut writers, gone) = thread::scope(|scope| {
        let channel = &channel;
        let chances: Vec<_> = (0..WRITERS + VANISHERS).map(|_| rng.fork()).collect();
        let mut chances = chances.into_iter();
        let scene = &scene;
        let writers: Vec<_> = (0..WRITERS)
            .map(|id| {
                let rng = chances.next().expect("one each");
                scope.spawn(move || Writer::new(scene, id, rng).work())
            })
            .collect();
        let vanishers: Vec<_> =
            chances.map(|mut rng| scope.spawn(move || vanishing::come_and_go(scene, &mut rng))).collect();
        scope.spawn(move || channel.publish(scene));
        let listeners = [(); LISTENERS].map(|()| scope.spawn(move || channel.listen(scene)));
        let over = Over(scene.tally);
        let ends = Instant::now() + time;
        while Instant::now() < ends {
            Round::draw(&mut rng).play(&mut stage, scene.tally);
        }
        // On a busy machine that may take longer than all these rounds.
        wait("a listener to hear something", || channel.is_heard().then_some(()));
        if ends_in_trouble(seed) {
            drain_in_trouble(&mut stage, &mut rng, scene.tally);
        } else {
            serves(&stage.gateway);
        }
        drop(over);
        let gone: u64 = vanishers.into_iter().map(|thread| thread.join().expect("nothing fails")).sum();
        listeners.into_iter().for_each(|thread| thread.join().expect("no listener fails"));
        let writers: Vec<_> = writers.into_iter().map(|thread| thread.join().expect("no client fails")).collect();
        (writers, gone)
    });
    if !ends_in_trouble(seed) {
        nothing_is_lent(&stage.gateway);
        tally.memory(stage.gateway.process());
    }
    let late = check(&mut writers, gone, &stage, &tally);
    Report::of(&tally, late, memory_before + memory_bound())
}

/// The most memory that the configuration allows beyond what the gateway has before it serves anybody, in bytes.
fn memory_bound() -> u64 {
    BOUNDS.iter().sum::<u64>() + CLIENTS_MAX * CLIENT_BYTES + CONNECTIONS * CONNECTION_BYTES
}

/// Ends the load, also when the schedule fails.
struct Over<'t>(&'t Tally);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

/// Whether the gateway is asked to end while the load goes on and something is broken.
fn ends_in_trouble(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

fn drain_in_trouble(stage: &mut Stage, rng: &mut fastrand::Rng, tally: &Tally) {
    tally.memory(stage.gateway.process());
    Round::draw_without_operator(rng).play_around(stage, tally, |stage| {
        tally.draining.store(true, Ordering::Relaxed);
        stage.gateway.terminate();
    });
    stage.gateway.wait_end(tally.allowed(limits().exclusive));
    tally.injected("gateway ended in the midst of it");
}

fn serves(gateway: &Gateway) {
    let mut client = gateway.client();
    wait("the gateway to serve", || (client.line("PING") == b"+PONG\r\n").then_some(()));
}

fn nothing_is_lent(gateway: &Gateway) {
    let mut operator = gateway.client();
    wait("all that was lent to come back", || {
        let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
        pools.contains("exclusive_lent\r\n:0\r\n").then_some(())
    });
}

/// Holds Redis against all histories; how many writes took effect late.
fn check(writers: &mut [Writer<'_>], gone: u64, stage: &Stage, tally: &Tally) -> u64 {
    let mut direct = stage.redis.client();
    let late = writers.iter_mut().map(|writer| writer.check(&mut direct)).sum();
    for db in 0..DBS {
        direct.expect(&format!("SELECT {db}"), "+OK\r\n");
        let own = || writers.iter().filter(|writer| writer.db() == db);
        let mut set: Vec<u64> = own().flat_map(|writer| writer.shared.iter().copied()).collect();
        let open: u64 = own().map(|writer| writer.shared_open).sum();
        let (done, last) = (set.len() as u64, number(&ask(&mut direct, "GET shared")));
        set.sort_unstable();
        set.dedup();
        if (set.len() as u64) < done {
            tally.hold("shared", Err((Flaw::Duplicated, "two clients set the same value under WATCH".to_owned())));
        }
        if !(done..=done + open).contains(&last) {
            let text = format!("{last}, {done} acknowledged, {open} open");
            tally.hold("shared", Err((if last < done { Flaw::Lost } else { Flaw::Duplicated }, text)));
        }
    }
    direct.expect("SELECT 0", "+OK\r\n");
    let counted = number(&ask(&mut direct, "GET gone"));
    if counted > gone {
        let text = format!("{counted} executed, {gone} sent");
        tally.hold("clients that vanished", Err((Flaw::Duplicated, text)));
    }
    late
}
