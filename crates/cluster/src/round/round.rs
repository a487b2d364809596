//! A round: a burst's pieces are sent to their nodes, all at once, and again where a node has said that they belong
//! elsewhere or later, until all are done or have waited as long as they may. What may have been executed is never sent
//! a second time, unless it changes nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use pool::{Burst, Caller, Expected, JobError, Needs, Sent as Reached, Settings, Share, Spent};
use resp::write_error;
use tokio::time::{Instant, sleep, timeout_at};
use topology::Address;

use crate::{
    cluster::Cluster,
    map::{Map, Node},
    replicas::{Chosen, Reads},
    round::{
        state::{Batch, Missing, Patience, State, Way},
        straight::{Tried, spent},
        unit::{Order, Piece, Target, Units},
        verdict::{DOWN, REPLICA, Verdict},
    },
};

/// How often a piece is sent on at once; after that a moment passes first.
pub(super) const HOPS_MAX: u32 = 5;

/// The first and the longest pause before a piece is sent again for which it is too early.
const LATER: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How long a piece waits at least for a node that is not known, or not any more.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Says an error to a client.
pub(super) type Text<'t> = &'t (dyn Fn(&JobError) -> String + Sync);

/// What became of a burst, beside its replies.
#[derive(Debug, Default)]
pub struct Executed {
    /// Why requests failed, and how many of them.
    pub failed: Vec<(JobError, u32)>,
    /// The time that it took.
    pub spent: Spent,
    /// All of it are reads.
    pub only_reads: bool,
    /// Requests that no node was to have.
    pub refused: u32,
}

/// See the module's documentation.
pub(super) struct Round<'r> {
    pub(super) cluster: &'r Cluster,
    pub(super) map: Arc<Map>,
    pub(super) requests: Vec<u8>,
    pub(super) pieces: &'r [Piece],
    /// Each piece is a part of what the client has sent, and all of that is in a piece.
    pub(super) is_plain: bool,
    pub(super) states: Vec<State>,
    pub(super) hops: Vec<u32>,
    /// Places of the pieces that were sent again although they may have been executed.
    pub(super) repeated: Vec<usize>,
    /// Texts of scripts that pieces are sent behind.
    pub(super) loads: HashMap<usize, Vec<Arc<[u8]>>>,
    /// The first piece that is not to be sent behind any.
    pub(super) flushed: Option<usize>,
    pub(super) buffers: Vec<Vec<u8>>,
    pub(super) share: Option<Box<Share>>,
    pub(super) failed: Vec<(JobError, u32)>,
    /// Requests that no node was to have.
    pub(super) refused: u32,
    pub(super) needs: Needs,
    pub(super) read_only: bool,
    pub(super) expected: Expected,
    /// Where reads go, if all of the burst are some and need not go to primaries.
    pub(super) reads: Option<Reads<'r>>,
    /// What was chosen for the shards of these nodes.
    pub(super) chosen: Vec<(Arc<Node>, Option<Chosen>)>,
    /// Places of the pieces that a replica had nothing for.
    pub(super) unanswered: HashSet<usize>,
    pub(super) settings: Arc<Settings>,
    pub(super) started: Instant,
    pub(super) pause: Duration,
}

impl Cluster {
    /// Executes a burst whose pieces have been `tried`, or of which nothing has.
    pub(super) async fn execute_round(
        &self,
        caller: &mut Caller,
        burst: &mut Burst,
        (text, reads): (Text<'_>, Option<Reads<'_>>),
        (map, settings, started): (Arc<Map>, Arc<Settings>, Instant),
        tried: Vec<Tried>,
    ) -> Executed {
        let mut units = Units::read(&burst.requests, burst.replies_due, burst.transaction, &map, self.scripts());
        let only_reads = units.only_read();
        if units.are_unknown {
            self.misses_command();
        }
        let mut round = Round {
            cluster: self,
            requests: std::mem::take(&mut burst.requests),
            pieces: &units.pieces,
            is_plain: units.are_plain(),
            states: vec![State::Due; units.pieces.len()],
            repeated: Vec::new(),
            hops: vec![0; units.pieces.len()],
            loads: std::mem::take(&mut units.loads),
            flushed: units.flushed,
            buffers: Vec::new(),
            share: burst.room.take(),
            failed: Vec::new(),
            refused: 0,
            needs: burst.needs,
            read_only: burst.read_only || (only_reads && reads.is_some()),
            expected: burst.expected,
            reads: reads.filter(|_| only_reads),
            chosen: Vec::new(),
            unanswered: HashSet::new(),
            settings,
            started,
            pause: LATER.0,
            map,
        };
        for (batch, failure) in tried {
            round.take(batch, failure, text);
        }
        round.run(caller, text).await;
        round.make_replies(&units.units, caller, text, burst).await;
        burst.replies_done = burst.replies_due;
        burst.requests = round.requests;
        Executed { failed: round.failed, spent: spent(started), only_reads, refused: round.refused }
    }
}

impl Round<'_> {
    async fn run(&mut self, caller: &mut Caller, text: Text<'_>) {
        while !self.states.iter().all(|state| matches!(state, State::Done(..))) {
            self.judge().await;
            self.hold(0, caller, text).await;
            let batches = self.batches();
            if !batches.is_empty() {
                self.send(batches, caller, text).await;
            }
            self.give_up(text);
            if self.states.iter().any(|state| matches!(state, State::Waits(..) | State::Stuck(..))) {
                self.wait().await;
            }
        }
    }

    /// What can be sent now, for each node. A piece waits for those before it that have its slot: for their replies where
    /// they may be refused for a while, unless both of them only read; otherwise they go ahead of it.
    fn batches(&mut self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        let (mut held, mut held_for_writes) = (HashSet::new(), HashSet::new());
        // Where pieces of a slot go to several nodes, the later ones wait for those before them.
        let is_apart = self.states.iter().any(|state| matches!(state, State::To(..)));
        let mut places = HashMap::new();
        // Of what is not done and stands before the piece that is looked at, if there is anything: the last unit, whether that
        // is alone, and where all of it goes, if that is one place and none of it has keys.
        let (mut last, mut is_alone, mut ahead) = (None, false, None);
        for at in 0..self.pieces.len() {
            let Piece { target, order, unit, only_reads, may_wait, .. } = self.pieces[at];
            if matches!(self.states[at], State::Done(..)) {
                continue;
            }
            let is_other = last.is_some_and(|last| last != unit);
            let waits = match order {
                Order::Free => false,
                Order::Behind => ahead.is_some_and(|ahead| ahead != Some(target)),
                Order::Alone => is_other,
            };
            if waits || (is_alone && is_other) {
                break;
            }
            (last, is_alone) = (Some(unit), order == Order::Alone);
            let to = Some(target).filter(|to| *to == Target::Anchor || order == Order::Behind);
            ahead = Some(to.filter(|_| ahead.is_none_or(|ahead| ahead == to)));
            if held.contains(&target) || (!only_reads && held_for_writes.contains(&target)) {
                if order == Order::Behind {
                    // It may look at what any of those behind it will have done.
                    break;
                }
                held.insert(target);
                continue;
            }
            let Some((way, asking)) = self.way(at) else {
                if !matches!(self.states[at], State::Done(..)) {
                    held.insert(target);
                }
                continue;
            };
            let place = batches.iter().position(|batch| batch.way.is(&way)).unwrap_or(batches.len());
            if is_apart && *places.entry(target).or_insert(place) != place {
                held.insert(target);
                continue;
            }
            if may_wait {
                let held = if only_reads { &mut held_for_writes } else { &mut held };
                held.insert(target);
            }
            match batches.get_mut(place) {
                Some(batch) => batch.pieces.push((at, asking)),
                None => batches.push(Batch { way, pieces: vec![(at, asking)], burst: Burst::default() }),
            }
        }
        batches
    }

    /// Where a piece goes now; `None` if it has to wait.
    fn way(&mut self, at: usize) -> Option<(Way, bool)> {
        let settings = &*self.settings;
        let (patience, named) = match (&self.states[at], self.pieces[at].target) {
            (State::Done(..) | State::Refused(..) | State::Stuck(..), _) => return None,
            (State::To(address, asking), _) => match self.cluster.node(&self.map, address) {
                Some(node) => return Some((Way::to(&node), *asking)),
                None => {
                    let reason = format!("{address} is not known to belong to the cluster");
                    let most = UNKNOWN.max(settings.failover_wait);
                    (Patience::for_place(settings, most, reason), Some((address.clone(), *asking)))
                }
            },
            (State::Due | State::Waits(..), Target::Anchor) => {
                return Some((self.map.home().map_or(Way::Anchor, Way::to), false));
            }
            (State::Due | State::Waits(..), Target::Slot(slot)) => match self.map.node_of(slot).cloned() {
                Some(node) => return self.way_to(at, &node).map(|way| (way, false)),
                None => (Patience::for_primary(settings, format!("no node has slot {slot}")), None),
            },
        };
        self.cluster.doubt();
        self.states[at] = State::Stuck(patience, Missing { named, owner: self.owner(at) });
        None
    }

    /// Who has the slot of a piece.
    fn owner(&self, piece: usize) -> Option<Address> {
        match self.pieces[piece].target {
            Target::Slot(slot) => self.map.node_of(slot).map(|node| node.address.clone()),
            Target::Anchor => None,
        }
    }

    /// Where a piece goes that was stuck, now that there is another map.
    fn unstick(&self, piece: usize) -> Option<State> {
        let State::Stuck(_, Missing { named, owner }) = &self.states[piece] else { return None };
        match named {
            Some((node, asking)) if self.cluster.node(&self.map, node).is_some() => {
                Some(State::To(node.clone(), *asking))
            }
            _ => (self.owner(piece) != *owner).then_some(State::Due),
        }
    }

    /// What becomes of a piece whose replies, those of the node at `from`, are at `answer`.
    pub(super) fn follow(
        &mut self,
        piece: usize,
        (said, from): (Verdict, &Address),
        answer: (usize, usize, usize),
    ) -> State {
        let settings = &*self.settings;
        let for_place = |reason: String| State::Waits(Patience::for_place(settings, settings.queue_timeout, reason));
        let (to, asking) = match said {
            Verdict::Done => return State::Done(answer.0, answer.1, answer.2),
            Verdict::Refused => return State::Refused(from.clone(), answer),
            Verdict::Later(why) => {
                self.cluster.doubt();
                return if [DOWN, REPLICA].contains(&why) {
                    State::Waits(Patience::for_primary(settings, why))
                } else {
                    for_place(why.into())
                };
            }
            Verdict::Moved(slot, to) => {
                self.cluster.heard(slot, &to);
                (to, false)
            }
            Verdict::Ask(to) => (to, true),
            Verdict::Load(text) => {
                self.loads.insert(piece, vec![text]);
                return State::Due;
            }
        };
        self.hops[piece] += 1;
        if self.hops[piece] > HOPS_MAX {
            return for_place(format!("it was sent from node to node, last to {to}"));
        }
        State::To(to, asking)
    }

    /// Pieces without a reply: they are sent again if they certainly were not executed, or change nothing.
    pub(super) fn fail(&mut self, left: &[usize], failure: &JobError, text: Text<'_>) {
        let (was_not_sent, is_lost) = match failure {
            JobError::UpstreamDown(_) | JobError::ConnectionLost { sent: Reached::No, .. } => (true, true),
            JobError::ConnectionLost { sent: Reached::Maybe, .. } => (false, true),
            _ => (false, false),
        };
        if is_lost {
            self.cluster.doubt();
        }
        let may_wait = is_lost && !self.settings.failover_wait.is_zero();
        // A read would see what was written behind it, if that was executed.
        let mut written = HashSet::new();
        for place in left.iter().rev() {
            let Piece { target, only_reads, .. } = self.pieces[*place];
            // Where all of a burst reads, its caller has sent it a second time.
            let is_new = !self.read_only && !self.repeated.contains(place);
            let is_harmless = only_reads && is_new && !written.contains(&target);
            if may_wait && (was_not_sent || is_harmless) {
                self.repeated.extend((!was_not_sent).then_some(*place));
                self.states[*place] = State::Waits(Patience::for_primary(&self.settings, failure.to_string()));
            } else {
                written.insert(target);
                self.end(*place, failure, text);
            }
        }
    }

    /// A piece gets an error for each of its replies.
    pub(super) fn end(&mut self, piece: usize, failure: &JobError, text: Text<'_>) {
        let (mut errors, said, due) = (Vec::new(), text(failure), self.pieces[piece].due);
        (0..due).for_each(|_| write_error(&mut errors, &said));
        self.states[piece] = State::Done(self.buffers.len(), 0, errors.len());
        self.buffers.push(errors);
        match self.failed.iter_mut().find(|(known, _)| known == failure) {
            _ if self.pieces[piece].is_optional => {}
            Some((_, count)) => *count += due,
            None => self.failed.push((failure.clone(), due)),
        }
    }

    /// What has waited as long as it may gets an error.
    fn give_up(&mut self, text: Text<'_>) {
        let elapsed = self.started.elapsed();
        for piece in 0..self.pieces.len() {
            if let State::Waits(patience) | State::Stuck(patience, _) = &self.states[piece]
                && elapsed >= patience.limit
            {
                let failure = patience.failure.clone();
                self.end(piece, &failure, text);
            }
        }
    }

    /// A moment, or until there is another map.
    async fn wait(&mut self) {
        let mut maps = self.cluster.watch();
        let (until, generation) = (Instant::now() + self.pause, self.map.layout.generation);
        self.pause = (self.pause * 2).min(LATER.1);
        let changed = timeout_at(until, maps.wait_for(|map| map.layout.generation != generation)).await;
        if changed.is_ok_and(|changed| changed.is_err()) {
            // Without a keeper there is nothing to wait for but the time.
            sleep(LATER.1).await;
        }
        self.renew();
        self.hops.fill(0);
    }

    /// Goes by what is known now.
    pub(super) fn renew(&mut self) {
        self.map = self.cluster.map();
        for piece in 0..self.pieces.len() {
            if let Some(state) = self.unstick(piece) {
                self.states[piece] = state;
            }
        }
    }
}
