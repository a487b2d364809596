//! The sessions that there are: who they are, and how to end them from outside.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::Context,
};

use atomic_waker::AtomicWaker;

/// What a session is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// Go on.
    Nothing,
    /// Finish what has come and close.
    Drain,
    /// Close at once.
    Kill,
}

/// One session, as others see it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// As `CLIENT ID` says it.
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    asked: AtomicU8,
    waker: AtomicWaker,
}

impl Entry {
    /// What the session is asked to do. The task is woken when that changes.
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>) -> Asked {
        self.waker.register(cx.waker());
        self.asked()
    }

    pub(crate) fn asked(&self) -> Asked {
        match self.asked.load(Ordering::Acquire) {
            0 => Asked::Nothing,
            1 => Asked::Drain,
            _ => Asked::Kill,
        }
    }

    pub(crate) fn ask(&self, asked: Asked) {
        self.asked.fetch_max(asked as u8, Ordering::AcqRel);
        self.waker.wake();
    }
}

/// All sessions by id.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<u64, Arc<Entry>>>,
    last_id: AtomicU64,
    draining: AtomicU8,
}

impl Registry {
    /// A new session, with an id that increases and is never used twice.
    pub(crate) fn enter(&self, address: SocketAddr) -> Arc<Entry> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = AtomicU8::new(self.draining.load(Ordering::Acquire));
        let entry = Arc::new(Entry { id, address, asked, waker: AtomicWaker::new() });
        self.lock().insert(id, Arc::clone(&entry));
        entry
    }

    pub(crate) fn leave(&self, entry: &Entry) {
        self.lock().remove(&entry.id);
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Asks all sessions, and those still to come, to drain.
    pub(crate) fn drain(&self) {
        self.draining.store(Asked::Drain as u8, Ordering::Release);
        let sessions: Vec<_> = self.lock().values().cloned().collect();
        for session in sessions {
            session.ask(Asked::Drain);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
