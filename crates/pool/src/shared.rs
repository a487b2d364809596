//! What workers and callers of one pool have in common, and what all pools of a directory have. Holds no sender of the
//! queue: the queue ends when the last caller is gone.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    bounds::{
        budget::Budget,
        queue_room::QueueRoom,
        trust::Trust,
        turns::{Part, Turns},
    },
    exclusive::exclusives::Exclusives,
    queue::{branch::Branches, job::Job},
    settings::{login::Login, settings::Settings},
    stats::{gauge::Gauges, traffic::Traffic},
    time::timestamp::Moment,
    upstream::{facts::Facts, node::Node},
};

/// What all pools of a directory have in common: the bounds on memory, which are the process's, and what is counted of
/// the bytes that go over their connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct InCommon {
    pub(crate) queued_bytes: Arc<Budget>,
    pub(crate) reply_bytes: Arc<Budget>,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) turns: Arc<Turns>,
    /// Rings when the upstream turns a further login away.
    pub(crate) turned_away: Arc<Notify>,
    /// Rings when a connection falls silent for long, with requests under way.
    pub(crate) silent: Arc<Notify>,
    /// What another pool knows of the node, for those that are not to ask.
    pub(crate) facts: Option<watch::Sender<Arc<Facts>>>,
    /// Of a further login: what its pools may have of the room for requests.
    pub(crate) queued_by_login: Option<Arc<Budget>>,
    /// With which connections are made.
    pub(crate) login: Login,
}

impl InCommon {
    /// The same for a further pool of the gateway's own login, at another node, which has turns of its own.
    pub(crate) fn of_node(&self) -> Self {
        Self { turns: Arc::default(), ..self.clone() }
    }

    /// The same for the pool of a further login, beside the gateway's `own` one at the same node. Its pools at other nodes
    /// have `queued` bytes, and count them together.
    pub(crate) fn of_login(&self, login: Login, own: &Shared, queued: Option<Arc<Budget>>) -> Self {
        Self {
            turns: own.part.turns(),
            facts: Some(own.node.facts_to_share()),
            queued_by_login: Some(queued.unwrap_or_default()),
            login,
            ..self.clone()
        }
    }
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// As whom all that is sent here is executed.
    pub(crate) login: Login,
    pub(crate) branches: Arc<Branches>,
    pub(crate) node: Arc<Node>,
    /// For bytes of requests queued and in flight.
    pub(crate) queue_room: QueueRoom,
    /// Bytes of replies, from when they come until their callers let them go.
    pub(crate) reply_bytes: Arc<Budget>,
    /// This pool among those that take turns at the upstream.
    pub(crate) part: Arc<Part>,
    /// What is asked for at a time of replies of which nobody knows how large they are.
    pub(crate) trust: Arc<Trust>,
    pub(crate) exclusives: Arc<Exclusives>,
    /// What goes over all connections, likewise.
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) workers: Gauges,
    /// For the one whose connection is to be replaced.
    pub(crate) renewal: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>, branches: Branches, in_common: InCommon) -> Self {
        let InCommon { queued_bytes, reply_bytes, traffic, turns, turned_away, silent, facts, queued_by_login, login } =
            in_common;
        let queue_room = QueueRoom::new(queued_bytes, queued_by_login);
        let node = Arc::new(Node::new(settings.clone(), facts.unwrap_or_default(), (turned_away, silent)));
        Self {
            exclusives: Arc::new(Exclusives::new(Arc::clone(&node), Arc::clone(&reply_bytes), Arc::clone(&traffic))),
            traffic,
            renewal: Arc::new(Semaphore::new(1)),
            part: Arc::new(Part::new(turns)),
            trust: Arc::default(),
            node,
            settings,
            login,
            branches: Arc::new(branches),
            queue_room,
            reply_bytes,
            workers: Gauges::default(),
        }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Fails all jobs in the queue, because no worker is connected.
    pub(crate) fn refuse_queued(&self) {
        for branch in self.branches.iter() {
            while let Ok(job) = branch.jobs.try_recv() {
                self.refuse(job);
            }
        }
    }

    /// Fails a job, because no worker is connected.
    pub(crate) fn refuse(&self, job: Job) {
        let reason = self.node.health.down_reason().unwrap_or_else(|| "no worker is connected".into());
        if job.take(Moment::now(), 0) {
            job.fail(self.node.is_down_for(reason));
        }
    }
}
