//! The protocol of queue, workers and jobs, as a model: steps of callers, connections and the clock in every
//! order (short) and in seeded orders (long), with a gate in front of each: an upstream lets a connection in,
//! takes what was written, answers or breaks only when a step says so. Whatever the order, every job gets one
//! answer and a true one, is run in its own database or not at all, no connection has more than it may have, and at
//! the end everybody is served.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use pool::{Answer, Drained, Endpoint, JobError, Pool, Sent, Settings, Upstream};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use crate::upstream::{Arrivals, NOTHING_KNOWN, Peer, Request, burst, burst_in, replies, settings, settle};

const SECOND: Duration = Duration::from_secs(1);

/// More than an in-memory stream holds: such a request is written in part until it is taken.
const LARGE: usize = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A caller comes with a job; a large one is not written in one piece.
    Call,
    CallLarge,
    /// A caller comes with a job for another database.
    CallElsewhere,
    /// The caller that came first goes away.
    Leave,
    /// The upstream lets in a connection that waits.
    Accept,
    /// It takes what is written on a connection.
    Take(usize),
    /// It answers the first request taken there.
    Answer(usize),
    /// It closes the connection.
    Break(usize),
    /// From now on it refuses to change databases, or does not any more.
    Refuse,
    /// A little time passes: a connection that is silent counts as silent then.
    Pause,
    /// Time passes: two steps pass the deadline of what is queued, three that of what was sent.
    Wait,
    /// The pool is told to have one worker more or less.
    Resize,
}

const STEPS: [Step; 15] = [
    Step::Call,
    Step::CallLarge,
    Step::CallElsewhere,
    Step::Refuse,
    Step::Pause,
    Step::Leave,
    Step::Accept,
    Step::Take(0),
    Step::Take(1),
    Step::Answer(0),
    Step::Answer(1),
    Step::Break(0),
    Step::Break(1),
    Step::Wait,
    Step::Resize,
];

/// Sizes of a pool.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Of the queue.
    branches: usize,
    workers: usize,
    depth: usize,
    capacity: usize,
}

/// In which databases each request was executed, because it was taken whole.
type Executed = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// A connection, as the upstream has it.
struct Line {
    peer: Peer,
    /// In which it is.
    db: String,
    /// Replies to what was taken.
    owed: VecDeque<Owed>,
}

/// A reply that is due.
struct Owed {
    reply: Vec<u8>,
    /// Of a caller, not of the worker's own.
    is_job: bool,
}

impl Line {
    fn new(peer: Peer) -> Self {
        Self { peer, db: "0".into(), owed: VecDeque::new() }
    }

    /// Executes a request, as far as it does.
    fn execute(&mut self, request: &Request, refuses: bool, executed: &Executed) {
        let reply = match request[0].as_str() {
            "SELECT" if refuses => b"-BUSY\r\n".to_vec(),
            "SELECT" => {
                self.db.clone_from(&request[1]);
                b"+OK\r\n".to_vec()
            }
            _ => {
                executed.lock().expect("no panic").entry(request[1].clone()).or_default().push(self.db.clone());
                format!("+{}\r\n", request[1]).into_bytes()
            }
        };
        self.owed.push_back(Owed { reply, is_job: request[0] != "SELECT" });
    }

    async fn answer(&mut self) {
        if let Some(Owed { reply, .. }) = self.owed.pop_front() {
            self.peer.reply(reply).await;
        }
    }
}

struct World {
    shape: Shape,
    base: Settings,
    pool: Pool,
    arrivals: Arrivals,
    lines: Vec<Option<Line>>,
    /// With the name of the request and its database.
    calls: Vec<(String, u32, JoinHandle<Answer>)>,
    left: usize,
    refuses: bool,
    executed: Executed,
}

impl World {
    fn new(shape: Shape) -> Self {
        let (endpoint, arrivals) = Endpoint::memory();
        let base = Settings {
            workers: shape.workers,
            pipeline_depth: shape.depth,
            queue_capacity: shape.capacity,
            queue_timeout: 3 * SECOND,
            reply_timeout: 4 * SECOND,
            ..settings(endpoint)
        };
        let pool = Pool::start_on(&vec![Handle::current(); shape.branches], base.clone());
        let lines = [None, None].into();
        let executed = Executed::default();
        Self { shape, base, pool, arrivals, lines, calls: Vec::new(), left: 0, refuses: false, executed }
    }

    fn call(&mut self, db: u32, bytes: usize) {
        let number = self.calls.len();
        let (mut caller, name) = (self.pool.caller_on(number % self.shape.branches), number.to_string());
        let request = burst_in(db, &["INCR", &name, &"x".repeat(bytes)]);
        self.calls.push((name, db, tokio::spawn(async move { caller.call(request).await })));
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Call => self.call(0, 1),
            Step::CallLarge => self.call(0, LARGE),
            Step::CallElsewhere => self.call(1, 1),
            Step::Refuse => self.refuses = !self.refuses,
            Step::Pause => sleep(SECOND / 20).await,
            Step::Leave => {
                if let Some((_, _, call)) = self.calls.get(self.left) {
                    call.abort();
                    self.left += 1;
                }
            }
            Step::Accept => {
                if let Some(free) = self.lines.iter_mut().find(|line| line.is_none())
                    && let Ok(stream) = self.arrivals.try_recv()
                {
                    let mut peer = Peer::new(stream);
                    *free = peer.log_in(NOTHING_KNOWN).await.then(|| Line::new(peer));
                }
            }
            Step::Take(index) => {
                if let Some(line) = &mut self.lines[index] {
                    for request in line.peer.written().await {
                        line.execute(&request, self.refuses, &self.executed);
                    }
                }
            }
            Step::Answer(index) => {
                if let Some(line) = &mut self.lines[index] {
                    line.answer().await;
                }
            }
            Step::Break(index) => self.lines[index] = None,
            Step::Wait => sleep(SECOND * 3 / 2).await,
            Step::Resize => {
                self.shape.workers = 3 - self.shape.workers;
                self.pool.reconfigure(Settings { workers: self.shape.workers, ..self.base.clone() });
            }
        }
        settle().await;
    }

    /// What holds after each step.
    fn check(&self, story: &str) {
        for line in self.lines.iter().flatten() {
            let in_flight = line.owed.iter().filter(|owed| owed.is_job).count();
            assert!(in_flight <= self.shape.depth, "{story}: {in_flight} in flight");
        }
        let queued = self.pool.status().queued_jobs;
        assert!(queued <= self.shape.capacity.max(self.shape.branches), "{story}: {queued} queued");
    }

    /// Opens all gates, for good.
    fn open(&mut self) -> JoinSet<()> {
        let mut served = JoinSet::new();
        let serve = |mut line: Line, executed: Executed| async move {
            while !line.owed.is_empty() {
                line.answer().await;
            }
            while let Some(request) = line.peer.next().await {
                line.execute(&request, false, &executed);
                line.answer().await;
            }
        };
        for line in self.lines.iter_mut().filter_map(Option::take) {
            served.spawn(serve(line, Arc::clone(&self.executed)));
        }
        let (arrivals, executed) = (self.arrivals.clone(), Arc::clone(&self.executed));
        served.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok(stream) = arrivals.recv().await {
                let executed = Arc::clone(&executed);
                lines.spawn(async move {
                    let mut peer = Peer::new(stream);
                    if peer.log_in(NOTHING_KNOWN).await {
                        serve(Line::new(peer), executed).await;
                    }
                });
            }
        });
        served
    }

    /// What holds at the end.
    async fn finish(mut self, story: &str) {
        let _served = self.open();
        // A connection that stays silent is given up after 8 s, and time-outs are over by then too.
        sleep(10 * SECOND).await;
        let calls = std::mem::take(&mut self.calls);
        for (name, db, call) in calls {
            assert!(call.is_finished(), "{story}: {name} is not answered");
            let places = self.executed.lock().expect("no panic").get(&name).cloned().unwrap_or_default();
            assert!(places.is_empty() || places == [db.to_string()], "{story}: {name} was executed in {places:?}");
            let times = places.len();
            // Callers that have gone need no answer.
            let Ok(answer) = call.await else { continue };
            match answer.failure.as_ref().map(JobError::sent) {
                None => {
                    assert_eq!(times, 1, "{story}: {name} was not executed");
                    assert_eq!(answer.burst.replies, format!("+{name}\r\n").into_bytes(), "{story}");
                }
                Some(Sent::No) => assert_eq!(times, 0, "{story}: {name} was executed: {:?}", answer.failure),
                Some(Sent::Maybe) => {}
            }
        }
        self.check_end(story).await;
    }

    async fn check_end(self, story: &str) {
        assert_eq!(self.pool.status().upstream, Upstream::Up(self.shape.workers), "{story}");
        for name in ["a", "b", "c"] {
            let answer = self.pool.caller().call(burst(&["INCR", name])).await;
            assert_eq!(replies(answer), format!("+{name}\r\n"), "{story}");
        }
        let status = self.pool.status();
        assert_eq!((status.queued_jobs, status.queued_bytes, status.jobs), (0, 0, 0), "{story}: something is left");
        assert_eq!(self.pool.caller().reply_bytes().used(), 0, "{story}");
        assert_eq!(self.pool.drain(SECOND).await, Drained { abandoned: 0 }, "{story}");
    }
}

/// Tells a story to its end.
async fn tell(shape: Shape, steps: &[Step], seed: u64) {
    // Pauses between attempts to connect are partly chance.
    fastrand::seed(seed);
    let story = format!("seed {seed}, {shape:?}, {steps:?}");
    let mut world = World::new(shape);
    settle().await;
    for step in steps {
        world.step(*step).await;
        world.check(&story);
    }
    world.finish(&story).await;
}

#[tokio::test(start_paused = true)]
async fn every_order_of_four_steps_ends_well() {
    // Taken and answered on either connection alike: the second one is left to the long stories.
    let steps: Vec<Step> = STEPS
        .into_iter()
        .filter(|step| {
            !matches!(
                step,
                Step::Take(1) | Step::Answer(1) | Step::Break(1) | Step::Resize | Step::Refuse | Step::Pause
            )
        })
        .collect();
    let shape = Shape { branches: 1, workers: 1, depth: 1, capacity: 1 };
    for number in 0..steps.len().pow(4) {
        let order: Vec<Step> = (0..4).map(|place| steps[number / steps.len().pow(place) % steps.len()]).collect();
        // From where something can happen: a connection that is in use, and one job more than it may have.
        let story = [&[Step::Accept, Step::Call, Step::Call][..], &order].concat();
        tell(shape, &story, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn long_stories_end_well() {
    let first = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={first}");
    for seed in (0..600).map(|number| first.wrapping_add(number)) {
        let mut chance = fastrand::Rng::with_seed(seed);
        let shape = Shape {
            branches: chance.usize(1..=2),
            workers: chance.usize(1..=2),
            depth: chance.usize(1..=3),
            capacity: chance.usize(1..=3),
        };
        let length = chance.usize(5..40);
        let steps: Vec<Step> = (0..length).map(|_| STEPS[chance.usize(..STEPS.len())]).collect();
        tell(shape, &steps, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_worker_starves_while_there_are_jobs() {
    for (branches, workers, depth) in [(1, 1, 1), (1, 1, 3), (1, 2, 1), (1, 2, 2), (1, 2, 3), (2, 2, 1), (2, 2, 3)] {
        let mut world = World::new(Shape { branches, workers, depth, capacity: 20 });
        settle().await;
        for _ in 0..workers {
            world.step(Step::Accept).await;
        }
        for _ in 0..workers * depth + 2 {
            world.step(Step::Call).await;
        }
        for index in 0..workers {
            world.step(Step::Take(index)).await;
            let owed = world.lines[index].as_ref().map(|line| line.owed.len());
            assert_eq!(owed, Some(depth), "connection {index} of {workers}, as many as it may have");
        }
        assert_eq!(world.pool.status().queued_jobs, 2);
        world.finish(&format!("{branches} branches, {workers} workers, {depth} deep")).await;
    }
}
