//! Watches over what is known of the upstream: tells when it does not answer, and looks where the address leads as
//! long as the upstream is not what it should be. Idle otherwise. Owned by the pool's supervisor.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    settings::settings::Settings,
    upstream::{login::backoff::Backoff, node::Node},
};

/// The first and the longest pause between two looks at where the address leads.
const PROBE_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How often the clock is looked at where checks are switched off.
const UNHURRIED: Duration = Duration::from_secs(1);

/// Never ends.
pub(crate) async fn watch_over(node: Arc<Node>) {
    let (mut pauses, mut probed_at, mut settings) = (Backoff::default(), None, node.settings.clone());
    loop {
        // As seldom as they are asked for, while the upstream is as it should be.
        let period = settings.borrow_and_update().check_interval;
        let pause = pauses.pause(PROBE_PAUSE.0, PROBE_PAUSE.1, 1.0);
        let calm = if period.is_zero() { UNHURRIED } else { period };
        let doubted = news(&node, &mut settings, if pause.is_zero() { calm } else { calm.min(pause) }).await;
        node.health.silent(node.checks.silence(period).filter(|_| !period.is_zero()));
        let is_fit = node.judge();
        if is_fit {
            pauses.reset();
        }
        // While nobody is connected, those who try to be find out themselves.
        if (is_fit && !doubted) || node.health.connections() == 0 {
            continue;
        }
        if let Some(probed_at) = probed_at {
            sleep_until(probed_at + pause.max(PROBE_PAUSE.0)).await;
        }
        pauses.failed();
        probed_at = Some(Instant::now());
        node.probe().await;
    }
}

/// Waits for doubt, in which case it is true, or for new settings; at most for `limit`.
async fn news(node: &Node, settings: &mut watch::Receiver<Arc<Settings>>, limit: Duration) -> bool {
    let news = async {
        tokio::select! {
            () = node.doubt.notified() => true,
            changed = settings.changed() => match changed {
                Ok(()) => false,
                // Only callers are left, who live on.
                Err(_) => std::future::pending().await,
            },
        }
    };
    timeout(limit, news).await.unwrap_or(false)
}
