//! What a worker waits for besides its connection and its alarm. All of it is cancel-safe.

use std::{future::poll_fn, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    queue::{
        branch::{Branch, Serving},
        job::Job,
    },
    settings::settings::Settings,
    shared::Shared,
    upstream::health::Upstream,
};

/// The next job, once it is this worker's turn; `None` when the queue is closed and empty.
pub(super) async fn next_job(branch: &Branch, turn: &mut Option<OwnedSemaphorePermit>) -> Option<Job> {
    if turn.is_none() {
        *turn = Arc::clone(&branch.turn).acquire_owned().await.ok();
    }
    branch.jobs.recv().await.ok()
}

/// A job in the connection's lane; never, where it has none.
pub(super) async fn further(serving: Option<&Serving>) {
    match serving {
        Some(serving) => poll_fn(|cx| serving.lane().poll_waiting(cx)).await,
        None => std::future::pending().await,
    }
}

/// Somebody else has begun to serve a branch that nobody did.
pub(super) async fn served(branch: &Branch) {
    branch.served.notified().await;
}

/// Something new to see; never, once the pool itself is gone and only its clients are left.
pub(super) async fn changed<T>(seen: &mut watch::Receiver<T>) {
    if seen.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Waits until somebody knows where the upstream is, or the queue is closed.
pub(super) async fn wait_for_place(shared: &Shared, branch: &Branch, news: &mut watch::Receiver<Arc<Settings>>) {
    tokio::select! {
        () = changed(news) => {}
        // Its caller waits with it, and sends it again.
        job = branch.jobs.recv() => job.into_iter().for_each(|job| shared.refuse(job)),
    }
}

/// Fails jobs as they come while the upstream is down. Returns when the queue is closed then.
pub(super) async fn refuse_while_down(shared: &Shared, branch: &Branch) {
    let mut health = shared.node.health.watch();
    loop {
        // The sender lives as long as the pool does.
        let _ = health.wait_for(|state| matches!(state, Upstream::Down(_))).await;
        tokio::select! {
            _ = health.wait_for(|state| !matches!(state, Upstream::Down(_))) => {}
            job = branch.jobs.recv() => match job {
                Ok(job) => shared.refuse(job),
                Err(_) => return,
            },
        }
    }
}
