//! Which commands there are, as nodes say: asked of the first node that answers, and again when a client sends one that
//! is not known, or another node has become a primary. A module may have been loaded, or a newer version have come.

use std::{sync::Arc, time::Duration};

use pool::{Conversation, Value};
use route::Commands;
use tokio::time::Instant;

/// Between two questions for the sake of commands that clients send: some may be none at all.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Told {
    known: Option<Arc<Commands>>,
    /// They are to be asked for again.
    is_due: bool,
    asked: Option<Instant>,
}

impl Told {
    /// Goes on from what was known.
    pub(crate) fn of(known: Option<Arc<Commands>>) -> Self {
        Self { is_due: known.is_none(), known, asked: None }
    }

    pub(crate) fn known(&self) -> Option<Arc<Commands>> {
        self.known.clone()
    }

    /// A command is missed; whether a node is to be asked now.
    pub(crate) fn miss(&mut self) -> bool {
        let is_early = self.asked.is_some_and(|asked| asked.elapsed() < PAUSE);
        self.is_due |= !is_early;
        !is_early
    }

    /// Another node has come, which may know others.
    pub(crate) fn renew(&mut self) {
        self.is_due |= self.asked.is_some_and(|asked| asked.elapsed() >= PAUSE);
    }

    /// Asks this node, if it is time for that; whether it has said anything new. Otherwise says why nothing is known.
    pub(crate) async fn learn(&mut self, node: &mut Conversation, limit: Duration) -> Result<bool, String> {
        if !self.is_due {
            return Ok(false);
        }
        self.asked = Some(Instant::now());
        let newer = match ask(node, limit).await {
            // What is known is good enough for now.
            Err(_) if self.known.is_some() => return Ok(false),
            asked => asked?,
        };
        self.is_due = false;
        let mut commands = self.known.as_deref().cloned().unwrap_or_default();
        let are_news = commands.join(newer);
        self.known = Some(Arc::new(commands));
        Ok(are_news)
    }
}

async fn ask(node: &mut Conversation, limit: Duration) -> Result<Commands, String> {
    let told = node.ask(&[&["COMMAND"]], limit).await.map_err(|error| error.to_string())?;
    Commands::read(told.first().unwrap_or(&Value::Null)).map_err(|error| error.to_string())
}
