//! What the gateway counts beside the pool. Relaxed additions; read by the console and the metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pool::Tally;

use crate::command::class::Reason;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Counts one more.
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts so many more.
    pub(crate) fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set anew whenever it changes.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicUsize);

impl Level {
    pub(crate) fn set(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What goes wrong besides jobs: what an operator should hear of by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A client went, or was made to go, before its replies had come.
    ClientGone,
    /// A client took nothing of its replies for too long.
    ClientStuck,
    /// Replies that nobody reads fill the memory they may have, and requests were not sent for it.
    RepliesFull,
    /// Unfinished requests fill the memory they may have.
    InputFull,
    /// Bytes of a client that are no request.
    Protocol,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::ClientGone, Self::ClientStuck, Self::RepliesFull, Self::InputFull, Self::Protocol];

    /// As metrics name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::ClientStuck => "client_stuck",
            Self::RepliesFull => "replies_full_unsent",
            Self::InputFull => "input_full",
            Self::Protocol => "protocol",
        }
    }
}

/// Since the start.
// Open: each field is a counter with methods of its own.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Clients that were let in.
    pub(crate) clients_accepted: Count,
    /// Clients beyond `clients_max`.
    pub(crate) clients_refused: Count,
    /// Bytes read of clients. By TLS they are counted as they were before they were encrypted.
    pub(crate) bytes_read: Count,
    /// Bytes written to clients, counted likewise.
    pub(crate) bytes_written: Count,
    /// Logins with a wrong name or password.
    pub(crate) logins_refused: Count,
    /// Requests answered by the gateway itself.
    pub(crate) here: Tally,
    /// Requests that no client may send, or their users not so many of.
    pub(crate) refused: Tally,
    /// Subscribers that were closed because they were too slow.
    pub(crate) subscribers_overrun: Count,
    /// Names that are subscribed for all clients together.
    pub(crate) subscriptions: Level,
    /// In the order of [`Reason::ALL`].
    exclusive: [Tally; Reason::ALL.len()],
    /// In the order of [`Fault::ALL`].
    faults: [Count; Fault::ALL.len()],
}

impl Counts {
    /// Requests sent to connections that are lent for `reason`.
    pub(crate) fn exclusive(&self, reason: Reason) -> &Tally {
        &self.exclusive[reason as usize]
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults[fault as usize].add_one();
    }

    /// How often each has happened.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Fault::ALL.into_iter().map(|fault| (fault.name(), self.faults[fault as usize].get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_their_enums() {
        assert!(Fault::ALL.iter().enumerate().all(|(index, fault)| *fault as usize == index));
        assert!(Reason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
