//! The schedule: rounds of trouble drawn from a seed. In each round up to three things happen at once, one
//! to Redis, one on the network and one by the operator; they last a while, and then there is calm.

use std::time::{Duration, Instant};

use super::tally::Tally;
use crate::support::{Client, Cut, Gateway, Redis, Relay, Way, pass, wait};

/// What the trial plays on.
pub struct Stage {
    pub redis: Redis,
    pub relay: Relay,
    pub gateway: Gateway,
    /// An operator who waits for the answer to a `PAUSE`.
    pausing: Option<(Client, Instant)>,
}

/// One thing that happens. Figures are bytes, milliseconds or counts.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Kill,
    Freeze,
    /// Redis closes all connections.
    KillConnections,
    Cut(Way, usize, Cut),
    Delay(u64),
    Drip,
    Blackhole,
    Refuse,
    SlowAccept(u64),
    /// A configuration with another `pipeline_depth` and `batch_max`.
    Reload(usize, usize),
    /// Workers, and exclusive connections.
    Resize(usize, usize),
    Pause,
    Reconnect,
    /// To another address of the same Redis, without the relay, and back.
    Move,
}

/// A round of the schedule.
#[derive(Debug, Clone)]
pub struct Round {
    steps: Vec<Step>,
    hold: Duration,
    calm: Duration,
}

impl Round {
    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        let mut steps = Vec::new();
        while steps.is_empty() {
            steps.extend((rng.u32(..4) == 0).then(|| Step::of_redis(rng)));
            steps.extend((rng.u32(..3) > 0).then(|| Step::of_network(rng)));
            steps.extend((rng.u32(..3) == 0).then(|| Step::of_operator(rng)));
        }
        let millis = Duration::from_millis;
        // Now and then longer than any time-out of the gateway's.
        let hold = if rng.u32(..12) == 0 { rng.u64(1_000..3_000) } else { rng.u64(20..400) };
        Self { steps, hold: millis(hold), calm: millis(rng.u64(50..300)) }
    }

    /// As `draw`, without the operator.
    pub fn draw_without_operator(rng: &mut fastrand::Rng) -> Self {
        let mut round = Self::draw(rng);
        round.steps = vec![if rng.bool() { Step::of_redis(rng) } else { Step::of_network(rng) }];
        round
    }

    /// Lets it happen, and makes good what has to be made good.
    pub fn play(&self, stage: &mut Stage, tally: &Tally) {
        self.play_around(stage, tally, |_| {});
    }

    /// As `play`; does something in the midst of it.
    pub fn play_around(&self, stage: &mut Stage, tally: &Tally, midst: impl FnOnce(&Stage)) {
        let cuts = stage.relay.cuts();
        self.steps.iter().for_each(|step| stage.begin(*step));
        pass(self.hold / 2);
        midst(stage);
        pass(self.hold / 2);
        self.steps.iter().rev().for_each(|step| stage.end(*step, tally));
        for step in &self.steps {
            // A cut waits for its byte, which may not have come.
            if !matches!(step, Step::Cut(..)) || stage.relay.cuts() > cuts {
                tally.injected(step.name());
            }
        }
        pass(self.calm);
    }
}

impl Step {
    fn of_redis(rng: &mut fastrand::Rng) -> Self {
        [Self::Kill, Self::Freeze, Self::KillConnections][rng.usize(..3)]
    }

    fn of_network(rng: &mut fastrand::Rng) -> Self {
        match rng.u32(..12) {
            0..4 => {
                let cut = [Cut::Close, Cut::Reset, Cut::HalfClose, Cut::Garbage][rng.usize(..4)];
                Self::Cut(Way::Replies, rng.usize(..50_000), cut)
            }
            4..6 => Self::Cut(Way::Requests, rng.usize(..50_000), [Cut::Close, Cut::Reset][rng.usize(..2)]),
            6 => Self::Delay(rng.u64(1..30)),
            7 => Self::Drip,
            8 | 9 => Self::Blackhole,
            10 => Self::Refuse,
            _ => Self::SlowAccept(rng.u64(50..800)),
        }
    }

    fn of_operator(rng: &mut fastrand::Rng) -> Self {
        match rng.u32(..5) {
            0 => Self::Reload(rng.usize(1..500), rng.usize(1..100)),
            1 => Self::Resize(rng.usize(1..7), rng.usize(4..40)),
            2 => Self::Pause,
            3 => Self::Move,
            _ => Self::Reconnect,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "Redis killed and started again",
            Self::Freeze => "Redis frozen",
            Self::KillConnections => "connections closed by Redis",
            Self::Cut(Way::Requests, ..) => "requests cut off",
            Self::Cut(_, _, Cut::Close) => "replies cut off",
            Self::Cut(_, _, Cut::Reset) => "replies reset",
            Self::Cut(_, _, Cut::HalfClose) => "replies half-closed",
            Self::Cut(_, _, Cut::Garbage) => "garbage for a reply",
            Self::Delay(_) => "network delayed",
            Self::Drip => "network dripping",
            Self::Blackhole => "network silent",
            Self::Refuse => "connections refused",
            Self::SlowAccept(_) => "connections accepted late",
            Self::Reload(..) => "configuration reloaded",
            Self::Resize(..) => "pool resized",
            Self::Pause => "paused and resumed",
            Self::Reconnect => "connections replaced",
            Self::Move => "moved to another address",
        }
    }
}

impl Stage {
    pub fn new(redis: Redis, relay: Relay, gateway: Gateway) -> Self {
        Self { redis, relay, gateway, pausing: None }
    }

    fn begin(&mut self, step: Step) {
        match step {
            Step::Kill => self.redis.kill9(),
            Step::Freeze => self.redis.freeze(),
            Step::KillConnections => drop(self.redis.client().line("CLIENT KILL TYPE normal SKIPME yes")),
            Step::Cut(way, bytes, how) => self.relay.cut(way, bytes, how),
            Step::Delay(ms) => self.relay.weather(|weather| weather.delay = Duration::from_millis(ms)),
            Step::Drip => self.relay.weather(|weather| weather.drip = true),
            Step::Blackhole => self.relay.weather(|weather| weather.blackhole = true),
            Step::Refuse => self.relay.weather(|weather| weather.refuse = true),
            Step::SlowAccept(ms) => self.relay.weather(|weather| weather.accept_delay = Duration::from_millis(ms)),
            Step::Reload(pipeline_depth, batch_max) => {
                let pool = format!("[pool]\npipeline_depth = {pipeline_depth}\nbatch_max = {batch_max}");
                self.gateway.rewrite(&pool);
                self.gateway.hang_up();
            }
            Step::Resize(workers, exclusive_max) => {
                let mut operator = self.gateway.client();
                operator.line(&format!("RESPOOL CONFIG SET pool.workers {workers}"));
                operator.line(&format!("RESPOOL CONFIG SET pool.exclusive_max {exclusive_max}"));
            }
            Step::Pause => self.pause(),
            Step::Move => self.lead_to(&self.redis.url()),
            Step::Reconnect => self.gateway.client().expect("RESPOOL RECONNECT", "+OK\r\n"),
        }
    }

    fn lead_to(&self, url: &str) {
        self.gateway.client().line(&format!("RESPOOL CONFIG SET upstream.url {url}"));
    }

    /// Asks for a pause, whose answer comes only when nothing is in flight.
    fn pause(&mut self) {
        let (mut operator, mut witness) = (self.gateway.client(), self.gateway.client());
        operator.send(&["RESPOOL", "PAUSE"]);
        let since = Instant::now();
        wait("the pause", || String::from_utf8_lossy(&witness.line("RESPOOL POOLS")).contains("paused").then_some(()));
        self.pausing = Some((operator, since));
    }

    fn end(&mut self, step: Step, tally: &Tally) {
        match step {
            Step::Kill => self.redis.restart(),
            Step::Freeze => self.redis.thaw(),
            Step::Cut(..) => self.relay.disarm(),
            Step::Delay(_) | Step::Drip | Step::Blackhole | Step::Refuse | Step::SlowAccept(_) => {
                self.relay.weather(|weather| *weather = Default::default());
            }
            Step::Pause => {
                self.gateway.client().expect("RESPOOL RESUME", "+OK\r\n");
                if let Some((mut operator, since)) = self.pausing.take() {
                    tally.held(since.elapsed());
                    operator.read_reply();
                }
            }
            Step::Move => self.lead_to(&self.relay.url()),
            Step::KillConnections | Step::Reload(..) | Step::Resize(..) | Step::Reconnect => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_schedule_again() {
        let rounds = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (0..50).map(|_| format!("{:?}", Round::draw(&mut rng))).collect::<Vec<_>>()
        };
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }
}
