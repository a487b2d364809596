//! The sessions that there are: who they are, and how to end them from outside.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering, fence},
    },
    task::{Context, Waker},
    time::{Duration, Instant},
};

use atomic_waker::AtomicWaker;
use pool::{Progress, Stage};
use resp::Protocol;

use crate::{
    command::class::Reason,
    observe::{
        address::Address,
        ids::{blocked::Blocked, inbox::Inbox},
    },
};

/// Sessions that are looked at before those who serve them get a turn.
pub(crate) const CLIENTS_AT_A_TIME: usize = 256;

/// What a session is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// Go on.
    Nothing,
    /// Finish what has come and close.
    Drain,
    /// Close at once: others need the room that its unfinished requests hold.
    MakeRoom,
    /// Close at once.
    Kill,
}

impl Asked {
    /// Whether the session is to close whatever it has not done yet.
    pub(crate) fn ends(self) -> bool {
        self >= Self::MakeRoom
    }
}

/// One session, as others see it. What the session itself looks at in each of its turns comes first, in one line of the
/// cache, and nothing is written there while nobody wants anything of it.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Entry {
    wish: Wish,
    inbox: Inbox,
    id: u64,
    address: Address,
    /// The gateway's end of the connection.
    local: Address,
    since: Instant,
    blocked: Blocked,
    /// When the session sent a request by another way than its caller's, after `since`; 0 if none is out.
    out_us: AtomicU64,
    /// How far its job has come.
    progress: Arc<Progress>,
    details: Mutex<Details>,
}

/// What a session is asked to do, and how it hears of that. Nothing is written when a session looks again.
#[derive(Debug)]
struct Wish {
    asked: AtomicU8,
    /// Of the task that looked first, which is the session's.
    task: OnceLock<Waker>,
    /// Of another one, if it looks.
    other: AtomicWaker,
}

impl Wish {
    fn new(asked: AtomicU8) -> Self {
        Self { asked, task: OnceLock::new(), other: AtomicWaker::new() }
    }

    /// The task is woken from now on; to be called before it looks.
    fn register(&self, waker: &Waker) {
        let task = self.task.get().unwrap_or_else(|| {
            let task = self.task.get_or_init(|| waker.clone());
            // Either who wakes sees the task, or the task sees why.
            fence(Ordering::SeqCst);
            task
        });
        if !task.will_wake(waker) {
            self.other.register(waker);
        }
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        self.other.wake();
    }
}

/// What changes about a session, as `CLIENT LIST` shows it.
// Open: a plain value, written by the session and read by those who look on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Details {
    pub(crate) name: Vec<u8>,
    pub(crate) user: Option<Arc<str>>,
    /// Why it borrows an exclusive connection, if it does.
    pub(crate) exclusive: Option<Reason>,
    pub(crate) db: u32,
    pub(crate) protocol: Protocol,
    /// Requests that its transaction holds, if it has begun one.
    pub(crate) multi: Option<usize>,
    /// Channels, patterns, sharded channels.
    pub(crate) subscriptions: [usize; 3],
    pub(crate) tracking: Option<Tracking>,
    pub(crate) monitors: bool,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
    pub(crate) import_source: bool,
    /// The last command on an exclusive connection.
    pub(crate) command: Box<str>,
    /// `CLIENT SETINFO`: the library's name and version.
    pub(crate) library: Option<Box<[Vec<u8>; 2]>>,
}

/// `CLIENT TRACKING` that is on.
// Open: a plain value, as `Details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracking {
    /// The client to which it is redirected, if it is.
    pub(crate) client: Option<u64>,
    /// `BCAST`
    pub(crate) broadcasts: bool,
}

impl Entry {
    /// As `CLIENT ID` says it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Where the client is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Where it has come to.
    pub(crate) fn local(&self) -> &Address {
        &self.local
    }

    /// When the client came.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// How far the session's job has come.
    pub(crate) fn stage(&self) -> Stage {
        match (self.progress.stage(), self.out_us.load(Ordering::Relaxed)) {
            (Stage::Idle, out) if out > 0 => {
                Stage::InFlight(self.since.elapsed().saturating_sub(Duration::from_micros(out)))
            }
            (stage, _) => stage,
        }
    }

    /// A request is out since `at`, by a way that the session's caller knows nothing of.
    pub(crate) fn goes_out(&self, at: Instant) {
        self.out_us.store(pool::micros(at.saturating_duration_since(self.since)).max(1), Ordering::Relaxed);
    }

    /// It has its reply.
    pub(crate) fn is_back(&self) {
        self.out_us.store(0, Ordering::Relaxed);
    }

    /// Whether, and on which connection, the session is blocked in the upstream.
    pub(crate) fn blocked(&self) -> &Blocked {
        &self.blocked
    }

    /// What other sessions redirect to this one.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// What the session is asked to do. The task is woken when that changes.
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>) -> Asked {
        self.wish.register(cx.waker());
        self.asked()
    }

    pub(crate) fn details(&self) -> Details {
        self.look(Details::clone)
    }

    /// What `look` finds in the details.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Details) -> T) -> T {
        look(&self.details.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who has logged in, if anybody has.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.look(|details| details.user.clone())
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Details)) {
        change(&mut self.details.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn renamed(&self, name: &[u8]) {
        self.update(|details| details.name = name.to_vec());
    }

    /// Has the session look again at what it waits for.
    pub(crate) fn wake(&self) {
        self.wish.wake();
    }

    pub(crate) fn asked(&self) -> Asked {
        match self.wish.asked.load(Ordering::Acquire) {
            0 => Asked::Nothing,
            1 => Asked::Drain,
            2 => Asked::MakeRoom,
            _ => Asked::Kill,
        }
    }

    pub(crate) fn ask(&self, asked: Asked) {
        self.wish.asked.fetch_max(asked as u8, Ordering::AcqRel);
        if asked == Asked::Kill {
            // As with Redis, nobody who hears of the end can be told anything by the client any more.
            self.inbox.close();
        }
        self.wish.wake();
    }
}

/// All sessions by id.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<u64, Arc<Entry>>>,
    last_id: AtomicU64,
    draining: AtomicU8,
    /// Until when sessions that drain read what had come before.
    reads_until: OnceLock<tokio::time::Instant>,
}

impl Registry {
    /// A new session of a client at `address` that has come to `local`, with an id that increases and is never used
    /// twice.
    pub(crate) fn enter(&self, address: Address, local: Address, progress: Arc<Progress>) -> Arc<Entry> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = AtomicU8::new(self.draining.load(Ordering::Acquire));
        let entry = Arc::new(Entry {
            wish: Wish::new(asked),
            inbox: Inbox::default(),
            id,
            address,
            local,
            since: Instant::now(),
            blocked: Blocked::default(),
            out_us: AtomicU64::new(0),
            progress,
            details: Mutex::default(),
        });
        self.lock().insert(id, Arc::clone(&entry));
        entry
    }

    pub(crate) fn leave(&self, entry: &Entry) {
        self.lock().remove(&entry.id);
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// All sessions, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        // Ids beside the entries, so that sorting does not have to look into each.
        let mut all: Vec<_> = self.lock().iter().map(|(id, entry)| (*id, Arc::clone(entry))).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, entry)| entry).collect()
    }

    /// Asks all sessions, and those still to come, to drain. They read nothing after `reads_until`.
    pub(crate) fn drain(&self, reads_until: tokio::time::Instant) {
        self.reads_until.get_or_init(|| reads_until);
        self.draining.store(Asked::Drain as u8, Ordering::Release);
        for session in self.all() {
            session.ask(Asked::Drain);
        }
    }

    /// Until when sessions that drain read what had come before, once there is a drain.
    pub(crate) fn reads_until(&self) -> Option<tokio::time::Instant> {
        self.reads_until.get().copied()
    }

    /// Has all sessions look around, and closes those whose user does not pass `keep`; how many that were.
    pub(crate) fn wake_all(&self, keep: impl Fn(&str) -> bool) -> usize {
        let mut closed = 0;
        for session in self.all() {
            if session.user().is_none_or(|user| keep(&user)) {
                session.wake();
            } else {
                session.ask(Asked::Kill);
                closed += 1;
            }
        }
        closed
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire) != Asked::Nothing as u8
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_a_session_looks_at_in_each_turn_is_in_one_line_of_the_cache() {
        let is_used = std::mem::offset_of!(Entry, inbox);
        assert!(is_used < 64 && size_of::<Wish>() <= is_used, "{is_used}");
    }

    #[test]
    fn whoever_looked_is_woken_and_the_session_as_often_as_there_is_something() {
        let (wish, [session, other]) = (Wish::new(AtomicU8::new(0)), [0; 2].map(|_| Arc::<Task>::default()));
        let woken = || [&session, &other].map(|task| task.0.load(Ordering::Relaxed));
        wish.wake();
        wish.register(&Waker::from(Arc::clone(&session)));
        wish.wake();
        wish.wake();
        assert_eq!(woken(), [2, 0], "it need not look again");
        wish.register(&Waker::from(Arc::clone(&other)));
        wish.wake();
        wish.wake();
        assert_eq!(woken(), [4, 1], "another task looks again, as with any waker");
    }
}
