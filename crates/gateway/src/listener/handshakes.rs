//! The clients that are not served yet because their handshakes are under way, or the headers that their load balancers
//! send. A thread of its own computes for them, so that a storm of them takes no time from the clients that are served.
//! Bounded: a client that does not go on makes room for others.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    task::{AbortHandle, Id, JoinSet},
};

use crate::{
    listener::{
        door::Arrival,
        greeting::{Refused, Terms, Visitor, greet},
        threads::Further,
    },
    observe::address::Address,
};

/// A handshake that takes longer may have to make room for another.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Handshakes {
    runtime: Handle,
    running: JoinSet<Result<Visitor, Refused>>,
    begun: HashMap<Id, Begun>,
    /// Ends when this is dropped, after its tasks were aborted.
    _thread: Further,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    /// Where its connection comes from.
    comes_from: Address,
    /// Where a load balancer said that it is.
    place: Arc<OnceLock<Address>>,
    task: AbortHandle,
}

impl Begun {
    fn address(&self) -> &Address {
        self.place.get().unwrap_or(&self.comes_from)
    }
}

impl Handshakes {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (runtime, thread) = Further::start("respool-greet".to_owned())?;
        Ok(Self { runtime, running: JoinSet::new(), begun: HashMap::new(), _thread: thread })
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins the handshake of one who has come.
    pub(crate) fn begin(&mut self, arrival: Arrival, terms: Terms) -> io::Result<()> {
        let (comes_from, place) = (arrival.address.clone(), Arc::<OnceLock<_>>::default());
        let arrival = Arrival { stream: arrival.stream.move_to(&self.runtime)?, ..arrival };
        let task = self.running.spawn_on(greet(arrival, Arc::clone(&place), terms), &self.runtime);
        self.begun.insert(task.id(), Begun { at: Instant::now(), comes_from, place, task });
        Ok(())
    }

    /// The next one to end, whichever way. `None` of one that panicked or was overtaken. Waits for ever while there are
    /// none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Visitor, Refused>> {
        match self.running.join_next_with_id().await {
            Some(Ok((id, result))) => {
                self.begun.remove(&id);
                Some(result)
            }
            Some(Err(error)) => {
                self.begun.remove(&error.id());
                if error.is_panic() {
                    tracing::error!(%error, "handshake ended unexpectedly");
                }
                None
            }
            None => std::future::pending().await,
        }
    }

    /// Ends a handshake that has taken long, of the host that has the most of such; of whom.
    pub(crate) fn overtake(&mut self) -> Option<Address> {
        let stale = || self.begun.values().filter(|begun| begun.at.elapsed() >= PATIENCE);
        let mut hosts: HashMap<String, usize> = HashMap::new();
        stale().for_each(|begun| *hosts.entry(begun.address().host()).or_default() += 1);
        let most = hosts.into_iter().max_by_key(|(_, count)| *count)?.0;
        let oldest = stale().filter(|begun| begun.address().host() == most).min_by_key(|begun| begun.at)?;
        oldest.task.abort();
        Some(oldest.address().clone())
    }
}
