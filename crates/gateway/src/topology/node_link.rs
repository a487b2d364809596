//! Asks one node for its role, again and again, and notices at once when it closes the connection: that is what a
//! node does to its clients when a sentinel promotes it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ::topology::{Address, Event, Role, RoleError};
use pool::{Control, Conversation, ConversationError, Value};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use crate::topology::pace::{NAME, Retry, Wanted};

/// Why a node says nothing for now.
#[derive(Debug, Error)]
enum Lost {
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error(transparent)]
    Role(#[from] RoleError),
    #[error("it sent what it was not asked for")]
    Unasked,
    #[error("nobody listens any more")]
    Over,
}

impl Lost {
    /// The node is there and wants another login, or one that may do more.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Conversation(ConversationError::Refused(_)) | Self::Role(RoleError::Refused(_)))
    }
}

/// See the module's documentation.
pub(super) struct NodeLink {
    pub(super) node: Address,
    /// Where it is reached.
    pub(super) at: Address,
    /// How to log in there, as it is in force when a connection is made.
    pub(super) pool: Control,
    /// Between two questions at a calm pace.
    pub(super) period: Duration,
    /// Whether it is asked for its history as well.
    pub(super) asks_history: bool,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) news: mpsc::Sender<Event>,
}

impl NodeLink {
    /// Goes on until it is aborted or nobody listens any more.
    pub(super) async fn run(mut self) {
        let (mut retry, mut known) = (Retry::default(), String::new());
        loop {
            let began = Instant::now();
            let lost = match self.follow().await {
                Err(lost) => lost,
                Ok(never) => match never {},
            };
            if matches!(lost, Lost::Over) || self.news.send(Event::Gone { node: self.node.clone() }).await.is_err() {
                return;
            }
            let reason = lost.to_string();
            if reason != known {
                if lost.is_refusal() {
                    tracing::warn!(node = %self.node, reason, "node refuses to say what it is");
                } else {
                    tracing::info!(node = %self.node, reason, "node does not answer");
                }
                known = reason;
            }
            let pace = self.wanted.borrow().pace;
            sleep(retry.pause(pace, began.elapsed())).await;
        }
    }

    /// Asks until something goes wrong.
    async fn follow(&mut self) -> Result<Infallible, Lost> {
        let settings = self.pool.settings();
        let (limit, endpoint) = (settings.connect_timeout, settings.endpoint.at(self.at.host.clone(), self.at.port));
        let mut talk = Conversation::open(&endpoint, NAME, limit).await?;
        loop {
            let wanted = *self.wanted.borrow_and_update();
            let asked = Instant::now().into_std();
            let questions: &[&[&str]] = &[&["ROLE"], &["INFO", "replication"]];
            let replies = talk.ask(&questions[..if self.asks_history { 2 } else { 1 }], limit).await?;
            let (node, role) = (self.node.clone(), Role::read(&replies[0])?);
            let history = replies.get(1).and_then(history);
            self.news.send(Event::Role { node, role, asked, history }).await.map_err(|_| Lost::Over)?;
            tokio::select! {
                said = talk.next() => return Err(said.map_or_else(Lost::from, |_| Lost::Unasked)),
                () = sleep(wanted.node_period(self.period)) => {}
                changed = self.wanted.changed() => changed.map_err(|_| Lost::Over)?,
            }
        }
    }
}

/// Names the history of a node's data, in its answer to `INFO replication`.
fn history(answer: &Value) -> Option<Arc<str>> {
    let text = std::str::from_utf8(answer.as_bytes()?).ok()?;
    text.lines().find_map(|line| line.strip_prefix("master_replid:")).map(|id| id.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_that_of_the_data_at_hand() {
        let answer = "# Replication\r\nrole:master\r\nmaster_replid:1a2b\r\nmaster_replid2:0000\r\n";
        assert_eq!(history(&Value::Bulk(answer.into())).as_deref(), Some("1a2b"));
        assert_eq!(history(&Value::Error("NOPERM".into())), None);
    }
}
