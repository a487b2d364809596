//! What a worker goes by of the settings and of what is known of its upstream. To read it takes locks, and to wait for
//! news of it more than all else that a worker waits for: it does so once, until there is some.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::watch, task::coop::unconstrained};

use crate::{
    settings::settings::Settings,
    shared::Shared,
    time::alarm::Woken,
    upstream::{facts::Facts, node::Node},
    worker::waits::changed,
};

/// A worker whose connection is silent lets others have its turn at least so often until it gives the connection up.
const YIELDS_MIN: u32 = 32;

/// See the module's documentation. Read when there is news.
pub(super) struct Terms {
    /// How many workers there are to be.
    pub(super) workers: usize,
    /// How long a reply may take once it is its turn: after the callers have been told, it gets as long again before
    /// the connection is given up.
    pub(super) silence_max: Duration,
    /// Of that, how long a connection is silent at most before others have its worker's turn.
    pub(super) patience_max: Duration,
    /// How often connections ask what the upstream is, if they do.
    pub(super) check_interval: Option<Duration>,
}

impl Terms {
    pub(super) fn of(shared: &Shared) -> Self {
        let check_interval = shared.node.check_interval();
        let settings = shared.settings.borrow();
        let silence_max = settings.reply_timeout.saturating_mul(2);
        Self { workers: settings.workers, silence_max, patience_max: silence_max / YIELDS_MIN, check_interval }
    }
}

/// Tells that there is news.
pub(super) struct News {
    settings: watch::Receiver<Arc<Settings>>,
    facts: watch::Receiver<Arc<Facts>>,
    /// Tells the task, which need not ask it again, unless it is another one.
    wait: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    woken: Woken,
    /// It has told that there is some.
    has_come: bool,
}

impl News {
    /// Of what comes from now on.
    pub(super) fn new(mut settings: watch::Receiver<Arc<Settings>>, node: &Node) -> Self {
        settings.mark_unchanged();
        Self { settings, facts: node.watch_facts(), wait: None, woken: Woken::default(), has_come: false }
    }

    fn is_there(&self) -> bool {
        self.has_come || is_new(&self.settings) || is_new(&self.facts)
    }

    /// Whether there is news since it was last asked.
    pub(super) fn take(&mut self) -> bool {
        let is_there = self.is_there();
        if is_there {
            self.settings.mark_unchanged();
            self.facts.mark_unchanged();
            (self.wait, self.woken, self.has_come) = (None, Woken::default(), false);
        }
        is_there
    }

    /// Ready once there is some to [`take`](Self::take).
    pub(super) fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_there() {
            return Poll::Ready(());
        }
        // The last news of a pool that is gone is told only to those who ask.
        if self.woken.is(cx) && self.settings.has_changed().is_ok() {
            return Poll::Pending;
        }
        let wait = self.wait.get_or_insert_with(|| {
            let (mut settings, mut facts) = (self.settings.clone(), self.facts.clone());
            Box::pin(async move {
                tokio::select! { () = changed(&mut settings) => {}, () = changed(&mut facts) => {} }
            })
        });
        // Whatever else the task has done: otherwise it might not be woken.
        self.has_come = Pin::new(&mut unconstrained(wait.as_mut())).poll(cx).is_ready();
        if self.has_come {
            return Poll::Ready(());
        }
        self.woken = Woken::by(cx);
        Poll::Pending
    }
}

/// Never, as far as it can be seen so, once the pool itself is gone and only its clients are left.
fn is_new<T>(seen: &watch::Receiver<T>) -> bool {
    seen.has_changed().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;
    use crate::settings::endpoint::Endpoint;

    fn news() -> (watch::Sender<Arc<Settings>>, watch::Sender<Arc<Facts>>, News) {
        let settings = Arc::new(Settings::new(Endpoint::tcp("host", 1)));
        let ((settings, in_force), (told, facts)) = (watch::channel(settings), watch::channel(Arc::default()));
        let news = News { settings: in_force, facts, wait: None, woken: Woken::default(), has_come: false };
        (settings, told, news)
    }

    /// Whether there is news for a task that waits for it.
    async fn has_come(news: &mut News) -> bool {
        poll_fn(|cx| Poll::Ready(news.poll_come(cx).is_ready())).await
    }

    #[tokio::test]
    async fn is_told_once_each_time() {
        let (settings, facts, mut news) = news();
        for _ in 0..2 {
            assert!(!has_come(&mut news).await && !news.take());
            settings.send_modify(|_| ());
            facts.send_replace(Arc::default());
            assert!(news.take() && !news.take() && !has_come(&mut news).await);
            facts.send_replace(Arc::default());
            assert!(news.take() && !news.take());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_a_task_that_has_asked_before() {
        let (settings, facts, mut news) = news();
        // Another task has asked as well.
        assert!(!has_come(&mut news).await);
        let task = tokio::spawn(async move {
            for _ in 0..4 {
                poll_fn(|cx| news.poll_come(cx)).await;
                assert!(news.take());
            }
        });
        for _ in 0..2 {
            tokio::task::yield_now().await;
            settings.send_modify(|_| ());
            tokio::task::yield_now().await;
            facts.send_modify(|_| ());
        }
        timeout(Duration::from_secs(1), task).await.expect("it was woken each time").expect("no panic");
    }

    #[tokio::test]
    async fn the_last_news_of_a_pool_that_is_gone_is_told() {
        let (settings, _facts, mut news) = news();
        assert!(!has_come(&mut news).await);
        settings.send_modify(|_| ());
        drop(settings);
        assert!(has_come(&mut news).await && has_come(&mut news).await && news.take());
        assert!(!has_come(&mut news).await && !news.take());
    }
}
