//! Where a session gets what others redirect to it: connections of the upstream to which `CLIENT TRACKING … REDIRECT`
//! has the upstream send what is invalid. Each is of use to nobody else, so it is closed once nobody redirects to it any
//! more or its session ends. Opened by the sessions that redirect, read by the one they redirect to.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use pool::Lent;
use topology::Address;

use crate::observe::sharing::shares::Place;

/// The connections on which one session gets what others redirect to it.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Inbox {
    /// There have been connections: what nobody redirects to need not be looked at.
    is_used: AtomicBool,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    /// Those who redirect hold them.
    open: Vec<Weak<Redirection>>,
    /// The session has ended.
    closed: bool,
}

/// A connection on which one session gets what others redirect to it. Held by those.
#[derive(Debug)]
pub(crate) struct Redirection {
    /// As `CLIENT ID` says it to the session that is redirected to.
    client: u64,
    /// As `CLIENT ID` of the upstream says it.
    upstream_id: i64,
    /// Of a cluster: the node that sends what is invalid of its own keys.
    node: Option<Address>,
    /// With its place among those that clients of one host and user may have. Nothing once it is closed.
    lent: Mutex<Option<(Lent, Place)>>,
}

impl Inbox {
    /// The connection that is there already, of this node of a cluster if it is one.
    pub(crate) fn open(&self, node: Option<&Address>) -> Option<Arc<Redirection>> {
        let is_it = |redirection: &Arc<Redirection>| redirection.node.as_ref() == node && redirection.is_open();
        self.lock().open.iter().filter_map(Weak::upgrade).find(is_it)
    }

    /// Has the session, whose id is `client`, get what comes on `lent`. Nothing if it has ended.
    pub(crate) fn add(
        &self,
        client: u64,
        (lent, node): (Lent, Option<Address>),
        place: Place,
    ) -> Option<Arc<Redirection>> {
        let upstream_id = lent.upstream_id()?;
        let redirection = Redirection { client, upstream_id, node, lent: Mutex::new(Some((lent, place))) };
        let redirection = Arc::new(redirection);
        let mut connections = self.lock();
        if connections.closed {
            return None;
        }
        connections.open.retain(|open| open.strong_count() > 0);
        connections.open.push(Arc::downgrade(&redirection));
        self.is_used.store(true, Ordering::Release);
        Some(redirection)
    }

    /// Whether there may be any.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Appends the next message to `out`, as the upstream writes it in RESP3. The task is woken when there is one.
    pub(crate) fn poll_message(&self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        let open: Vec<_> = {
            let connections = self.lock();
            let open: Vec<_> = connections.open.iter().filter_map(Weak::upgrade).collect();
            self.is_used.store(!open.is_empty(), Ordering::Release);
            open
        };
        match open.iter().any(|redirection| redirection.poll_message(cx, out).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The session ends: those who redirect to it hear of that from the upstream.
    pub(crate) fn close(&self) {
        let open = {
            let mut connections = self.lock();
            connections.closed = true;
            std::mem::take(&mut connections.open)
        };
        open.iter().filter_map(Weak::upgrade).for_each(|redirection| redirection.close());
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Redirection {
    /// As `CLIENT ID` says it to the session that is redirected to.
    pub(crate) fn client(&self) -> u64 {
        self.client
    }

    /// By which the upstream knows where to send what is invalid.
    pub(crate) fn upstream_id(&self) -> i64 {
        self.upstream_id
    }

    fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    fn close(&self) {
        drop(self.lock().take());
    }

    fn poll_message(&self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<()> {
        let mut lent = self.lock();
        let Some((connection, _)) = lent.as_mut() else { return Poll::Pending };
        match connection.poll_unasked(cx, out) {
            Poll::Ready(Ok(_)) => Poll::Ready(()),
            Poll::Ready(Err(_)) => {
                *lent = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Lent, Place)>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
