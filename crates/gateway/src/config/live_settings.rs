//! The settings that a session goes by, and the news that others are in force. Looking for news is one
//! atomic load.

use std::{ops::Deref, sync::Arc};

use settings::SessionSettings;
use tokio::sync::watch;

/// A session's view of the settings; new ones count from [`refresh`](Self::refresh) on.
#[derive(Debug, Clone)]
pub(crate) struct LiveSettings {
    now: Arc<SessionSettings>,
    news: watch::Receiver<Arc<SessionSettings>>,
}

impl LiveSettings {
    pub(crate) fn new(mut news: watch::Receiver<Arc<SessionSettings>>) -> Self {
        let now = Arc::clone(&news.borrow_and_update());
        Self { now, news }
    }

    /// Whether others are in force by now.
    pub(crate) fn is_outdated(&self) -> bool {
        self.news.has_changed().unwrap_or(false)
    }

    /// Waits until others are in force. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            // Nobody is left who could change them.
            std::future::pending().await
        }
    }

    pub(crate) fn refresh(&mut self) {
        self.now = Arc::clone(&self.news.borrow_and_update());
    }

    /// To hold on to while the session changes.
    pub(crate) fn shared(&self) -> Arc<SessionSettings> {
        Arc::clone(&self.now)
    }
}

impl Deref for LiveSettings {
    type Target = SessionSettings;

    fn deref(&self) -> &SessionSettings {
        &self.now
    }
}
