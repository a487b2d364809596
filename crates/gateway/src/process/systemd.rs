//! What systemd is told, where it started us: ready, stopping, and alive as often as it wants to hear it.
//! Nothing happens without it.

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd");
    }
}

/// Clients are served.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// No further clients are.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Reports twice in each period of the watchdog, on the same runtime that serves clients. Never returns.
pub(crate) async fn keep_alive() {
    let Some(period) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = interval(period / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}
