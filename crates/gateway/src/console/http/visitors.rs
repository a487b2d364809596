//! The HTTP connections that are served: a bound on how many, and the order in which they came. One that comes
//! when all places are taken ends the oldest, because a health check must not wait for those who only hold on. Web
//! consoles, which stay, give up their place: they have a bound of their own.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::{AbortHandle, JoinError, JoinSet};

/// See the module's documentation. Owns the tasks; they end when it is dropped.
#[derive(Debug)]
pub(super) struct Visitors {
    max: usize,
    tasks: JoinSet<()>,
    /// The oldest first; some may have ended or given up their place.
    order: VecDeque<(AbortHandle, Place)>,
}

/// One of the places that are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Arc<AtomicBool>);

impl Place {
    /// Another may have it; its holder is not ended for it.
    pub(super) fn give_up(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_given_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Visitors {
    pub(super) fn new(max: usize) -> Self {
        Self { max, tasks: JoinSet::new(), order: VecDeque::new() }
    }

    /// Serves one more, at the cost of the oldest where there is no place.
    pub(super) fn admit<F>(&mut self, serve: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.order.retain(|(task, place)| !task.is_finished() && !place.is_given_up());
        if self.order.len() >= self.max
            && let Some((oldest, _)) = self.order.pop_front()
        {
            oldest.abort();
        }
        let place = Place::default();
        self.order.push_back((self.tasks.spawn(serve(place.clone())), place));
    }

    /// Waits until one has ended; pending while there is none. Cancel-safe.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next().await {
            None => std::future::pending().await,
            Some(Err(error)) if error.is_panic() => report(&error),
            Some(_) => {}
        }
    }
}

fn report(error: &JoinError) {
    tracing::error!(%error, "answering over HTTP ended unexpectedly");
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn one_more_ends_the_oldest_that_has_a_place_and_nobody_else() {
        let mut visitors = Visitors::new(2);
        let mut held = Vec::new();
        for number in 0..4 {
            let (alive, gone) = oneshot::channel::<()>();
            held.push(gone);
            visitors.admit(|place| async move {
                let _alive = alive;
                if number == 0 {
                    place.give_up();
                }
                pending().await
            });
            yield_now().await;
        }
        visitors.ended().await;
        let gone: Vec<bool> =
            held.iter_mut().map(|gone| gone.try_recv() == Err(oneshot::error::TryRecvError::Closed)).collect();
        assert_eq!(gone, [false, true, false, false]);
    }
}
