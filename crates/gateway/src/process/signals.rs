//! The signals that the gateway obeys.

use std::io;

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To drain and end; holds the signal's name.
    End(&'static str),
    /// To read the configuration again.
    Reload,
}

/// SIGTERM and SIGINT, each asking for a drain, and SIGHUP. SIGUSR1 and SIGUSR2 do nothing: scripts send them to
/// services that open their logs again, and the system would kill a process that does not know them.
pub(crate) struct Signals {
    terminate: Source,
    interrupt: Source,
    hangup: Source,
    user_1: Source,
    user_2: Source,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return Signal::End("SIGTERM"),
                _ = self.interrupt.recv() => return Signal::End("SIGINT"),
                _ = self.hangup.recv() => return Signal::Reload,
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
            };
            tracing::info!(signal = ignored, "signal ignored; SIGHUP reads the configuration again");
        }
    }

    /// Waits for the next one that asks for the end. Cancel-safe.
    pub(crate) async fn end(&mut self) -> &'static str {
        loop {
            if let Signal::End(name) = self.next().await {
                return name;
            }
        }
    }
}
