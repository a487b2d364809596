//! Failovers of every kind in an order that a seed decides, under a verified load: what was acknowledged and not lost by
//! replication is there in the end, nothing was executed twice, and no client was disconnected.

use std::{
    env,
    time::{Duration, Instant},
};

use super::{
    load::{CLIENTS, more_load, under_load},
    service::Service,
};
use crate::support::{Gateway, pass};

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    Planned,
    PrimaryKilled,
    PrimaryFrozen,
    ReplicaKilled,
    SentinelKilled,
    SentinelFrozen,
}

const EVENTS: [Event; 6] = [
    Event::Planned,
    Event::PrimaryKilled,
    Event::PrimaryFrozen,
    Event::ReplicaKilled,
    Event::SentinelKilled,
    Event::SentinelFrozen,
];

/// Requests of a client that may be under way when its primary dies.
const UNDER_WAY: usize = 4;

/// How long the short form takes, and each trial of the long one.
const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(60);

impl Event {
    /// Brings it about, and sees to it that another may follow.
    fn happen(self, service: &mut Service, rng: &mut fastrand::Rng) {
        let primary = service.primary(&[0, 1, 2]);
        let (other, sentinel) = ((primary + rng.usize(1..3)) % 3, rng.usize(0..3));
        match self {
            Self::Planned => service.fail_over(sentinel),
            Self::PrimaryKilled => {
                service.nodes[primary].kill9();
                let next = service.primary_but(primary);
                service.rejoin(primary, next);
            }
            Self::PrimaryFrozen => {
                service.nodes[primary].freeze();
                service.primary_but(primary);
                pass(Duration::from_millis(rng.u64(0..1_000)));
                service.nodes[primary].thaw();
            }
            Self::ReplicaKilled => {
                service.nodes[other].kill9();
                service.rejoin(other, primary);
            }
            Self::SentinelKilled => {
                service.sentinels[sentinel].kill9();
                pass(Duration::from_millis(rng.u64(0..500)));
                service.sentinels[sentinel].restart();
            }
            Self::SentinelFrozen => {
                service.sentinels[sentinel].freeze();
                pass(Duration::from_millis(rng.u64(0..500)));
                service.sentinels[sentinel].thaw();
            }
        }
        service.wait_until_ready();
    }

    /// Whether requests that were under way may have got an error, and writes may be lost by replication.
    fn loses(self) -> bool {
        matches!(self, Self::PrimaryKilled | Self::PrimaryFrozen)
    }
}

fn trial(seed: u64, time: Duration) {
    println!("seed {seed}; run it again with: ./tests/run soak --seed {seed} --seconds {}", time.as_secs());
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut service = Service::start_with(&[], Duration::from_secs(3));
    let config = "[upstream]\nfailover_wait_ms = 20_000\n[pool]\nqueue_timeout_ms = 20_000";
    let builder = Gateway::builder().upstream(&service.url()).config(config).allow_lost_upstream();
    let gateway = builder.allow("sentinel does not answer").start();
    let (mut happened, mut losses) = (Vec::new(), Vec::new());
    let told = under_load(&gateway, |rounds| {
        let began = Instant::now();
        // Each kind once before any comes twice.
        let mut next = EVENTS;
        for number in 0.. {
            if number % EVENTS.len() == 0 {
                rng.shuffle(&mut next);
            }
            let event = next[number % EVENTS.len()];
            more_load(rounds, 3);
            let from = Instant::now();
            event.happen(&mut service, &mut rng);
            more_load(rounds, 3);
            happened.push(event);
            if event.loses() {
                losses.push(from..Instant::now());
            }
            if began.elapsed() >= time {
                break;
            }
        }
    });
    told.assert_not_doubled();
    let primary = service.primary(&[0, 1, 2]);
    let lost = told.lost(&mut service.direct(primary));
    println!("{happened:?}: {} writes, {} errors, {} lost", told.writes.len(), told.errors.len(), lost.len());
    // What is lost by replication was acknowledged just before the primary was lost.
    let soon = Duration::from_secs(1);
    let excused = |at: Instant| losses.iter().any(|loss| loss.start - soon <= at && at <= loss.end);
    let odd = lost.iter().filter(|write| !excused(write.at)).count();
    assert_eq!(odd, 0, "seed {seed}: writes are lost though no primary was");
    assert!(
        told.errors.len() <= losses.len() * CLIENTS * UNDER_WAY,
        "seed {seed}: {} errors, such as {:?}, in {} losses of a primary",
        told.errors.len(),
        told.errors.first(),
        losses.len()
    );
}

#[test]
fn failovers_of_every_kind_in_any_order_cost_only_what_was_under_way() {
    trial(1, SHORT);
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Trials of a minute each, a seed after another, for as long as the environment says.
pub(in crate::at_most_once) fn soak(trial: impl Fn(u64, Duration)) {
    let mut left = Duration::from_secs(number("RESPOOL_SOAK_SECONDS").unwrap_or(60));
    for seed in number("RESPOOL_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32)).. {
        trial(seed, left.min(LONG));
        left = left.saturating_sub(LONG);
        if left.is_zero() {
            break;
        }
    }
}

#[test]
#[ignore = "takes as long as it is told to, by ./tests/run soak"]
fn soak_of_failovers() {
    soak(trial);
}
