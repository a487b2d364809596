//! How many of something that is bounded each party has, so that none has them all: the exclusive connections, of
//! which a party gets further ones only up to its share. Its clients wait in the order in which they came.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::observe::sharing::party::Party;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    parties: Mutex<HashMap<Party, Members>>,
}

/// What one party has, and how many look at that.
#[derive(Debug, Default)]
struct Members {
    count: usize,
    holding: Arc<Holding>,
}

/// What one party has.
#[derive(Debug, Default)]
struct Holding {
    held: AtomicUsize,
    /// Held by the first of those who wait.
    line: tokio::sync::Mutex<()>,
    freed: Notify,
}

/// One of a party that has or wants some. With the last one that is forgotten.
#[derive(Debug)]
struct Member {
    shares: Arc<Shares>,
    party: Party,
    holding: Arc<Holding>,
}

/// One of what a party has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Member);

impl Shares {
    fn lock(&self) -> MutexGuard<'_, HashMap<Party, Members>> {
        self.parties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more for `party`, once it has fewer than `max`.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line. The caller sets the deadline.
    pub(crate) async fn take(self: &Arc<Self>, party: Party, max: usize) -> Place {
        let member = self.join(party);
        let line = member.holding.line.lock().await;
        let below = |held: usize| (held < max).then_some(held + 1);
        while member.holding.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).is_err() {
            member.holding.freed.notified().await;
        }
        drop(line);
        Place(member)
    }

    fn join(self: &Arc<Self>, party: Party) -> Member {
        let mut parties = self.lock();
        let members = parties.entry(party.clone()).or_default();
        members.count += 1;
        Member { shares: Arc::clone(self), party, holding: Arc::clone(&members.holding) }
    }

    /// How many parties have or want some.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut parties = self.shares.lock();
        if let Some(members) = parties.get_mut(&self.party) {
            members.count -= 1;
            if members.count == 0 {
                parties.remove(&self.party);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.holding.held.fetch_sub(1, Ordering::AcqRel);
        self.0.holding.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        pin::{Pin, pin},
        sync::Barrier,
        task::{Context, Poll, Waker},
        thread,
    };

    use super::*;
    use crate::observe::address::Address;

    fn party(host: u8) -> Party {
        Party { user: None, host: Address::from(SocketAddr::from(([10, 0, 0, host], 0))) }
    }

    /// What a look at it finds.
    fn now<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_party_gets_its_share_in_line_and_is_forgotten_when_it_has_nothing() {
        let shares = Arc::<Shares>::default();
        let take = |host, max| now(pin!(shares.take(party(host), max)));
        let (one, two) = (take(1, 2).unwrap(), take(1, 2).unwrap());
        let mut second = Box::pin(shares.take(party(1), 2));
        {
            let mut first = pin!(shares.take(party(1), 2));
            assert!(now(first.as_mut()).is_none() && now(second.as_mut()).is_none());
            let _other = take(2, 2).expect("another party has a share of its own");
            drop(one);
            assert!(now(second.as_mut()).is_none(), "the first comes first");
            let _first = now(first.as_mut()).expect("there is one free");
            assert!(take(1, 2).is_none() && now(second.as_mut()).is_none());
        }
        assert!(take(1, 2).is_none(), "nobody passes those who wait");
        drop(now(second.as_mut()).expect("there is one free again"));
        drop((second, two));
        assert_eq!(shares.len(), 0);
    }

    #[test]
    fn a_party_is_forgotten_whatever_gives_back_its_last_places_at_once() {
        let shares = Arc::<Shares>::default();
        let both = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        // There are two, and one of the threads may be just ahead in line.
                        let place = loop {
                            match now(pin!(shares.take(party(1), 2))) {
                                Some(place) => break place,
                                None => thread::yield_now(),
                            }
                        };
                        both.wait();
                        drop(place);
                        both.wait();
                        assert_eq!(shares.len(), 0);
                        both.wait();
                    }
                });
            }
        });
    }

    #[test]
    fn whoever_gives_up_waiting_keeps_nobody_waiting() {
        let shares = Arc::<Shares>::default();
        let one = now(pin!(shares.take(party(1), 1))).unwrap();
        let mut second = Box::pin(shares.take(party(1), 1));
        {
            let mut first = pin!(shares.take(party(1), 1));
            assert!(now(first.as_mut()).is_none() && now(second.as_mut()).is_none());
            drop(one);
        }
        drop(now(second.as_mut()).expect("the one in front has gone"));
        drop(second);
        assert_eq!(shares.len(), 0);
    }
}
