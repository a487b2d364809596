//! Ctrl-C and SIGTERM, as a state that every wait can look at.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

/// Whether somebody asked for an end. Clones see the same.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// Listens for the signals as long as it lives.
#[derive(Debug)]
pub struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Interrupt {
    /// Begins to listen for SIGINT and SIGTERM.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub fn listen() -> std::io::Result<(Self, Listening)> {
        let (sender, receiver) = watch::channel(false);
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_replace(true);
        });
        Ok((Self(receiver), Listening(task)))
    }

    /// One that never comes, for tests.
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it comes. Cancel safe.
    pub async fn come(&self) {
        if self.0.clone().wait_for(|come| *come).await.is_err() {
            // Nobody listens any more: it will not come.
            std::future::pending::<()>().await;
        }
    }
}
