//! A connection that one task of the program keeps for itself, as long as it likes: neither a worker's
//! nor of the exclusive set, and not counted with either. Used for the gateway's shared subscriptions.
//! Its owner decides when to open another.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use resp::{Protocol, ReplyKind};
use tokio::time::{sleep, timeout};

use crate::{
    error::JobError,
    exclusive::line::Line,
    stats::traffic::Traffic,
    upstream::{login::backoff::Backoff, needs::Needs, node::Node},
};

/// How often opening has failed in a row: what the pause before the next attempt depends on.
#[derive(Debug, Default)]
pub struct Attempts(Backoff);

impl Attempts {
    /// The connection has proved to be of use: the next one may be opened at once.
    pub fn succeeded(&mut self) {
        self.0.reset();
    }
}

/// See the module's documentation. Dropping it closes it.
#[derive(Debug)]
pub struct Standing {
    line: Line,
    node: Arc<Node>,
    traffic: Arc<Traffic>,
    keepalive: Duration,
}

impl Standing {
    /// Opens a connection that the upstream knows as `name`, in RESP3 if the upstream speaks it, after a pause
    /// that grows with the attempts that failed before.
    pub(crate) async fn open(
        node: Arc<Node>,
        traffic: Arc<Traffic>,
        name: &str,
        attempts: &mut Attempts,
    ) -> Result<Self, JobError> {
        let settings = Arc::clone(&node.settings.borrow());
        let (min, max) = (settings.reconnect_delay_min, settings.reconnect_delay_max);
        sleep(attempts.0.pause(min, max, fastrand::f64())).await;
        // Counts as failed until the owner says otherwise: an upstream that accepts and then closes is down too.
        attempts.0.failed();
        let mut line = Line::open(&node, name.to_owned()).await?;
        if line.facts().speaks(Protocol::Resp3) {
            line.prepare(Needs { protocol: Protocol::Resp3, ..line.state() }, &node).await?;
        }
        let keepalive = settings.keepalive.min(line.facts().half_idle_timeout());
        Ok(Self { line, keepalive, node, traffic })
    }

    /// How long it may be quiet before its owner should ask the upstream for a sign of life.
    pub fn keepalive(&self) -> Duration {
        self.keepalive
    }

    /// How long the upstream may take to answer, by the settings in force.
    pub fn reply_timeout(&self) -> Duration {
        self.node.settings.borrow().reply_timeout
    }

    /// Whether the pool's upstream is another by now.
    pub fn is_outdated(&self) -> bool {
        !self.line.leads_to(&self.node)
    }

    /// Writes requests; gives up when the upstream takes nothing of them for `reply_timeout`.
    ///
    /// # Errors
    /// The connection broke; drop it.
    pub async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        let reply_timeout = self.node.settings.borrow().reply_timeout;
        timeout(reply_timeout, self.line.send(requests)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.traffic.sent(requests.len());
        Ok(())
    }

    /// Appends the next whole reply or push message to `out`.
    pub fn poll_message(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<ReplyKind>> {
        let before = out.len();
        let kind = ready!(self.line.poll_message(cx, out))?;
        self.traffic.received(out.len() - before);
        self.traffic.replied(kind, &out[before..]);
        Poll::Ready(Ok(kind))
    }
}
