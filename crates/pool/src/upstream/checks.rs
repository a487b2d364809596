//! When a connection asks the upstream what it is and whether it is there, and whether that was answered. One
//! connection asks for all; another does when the first cannot.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use resp::{Protocol, Value};
use tokio::time::Instant;

use crate::{
    settings::{ours::CHECK, role::Role},
    time::timestamp::Moment,
    upstream::{
        facts::Asked,
        knowledge::{Knowledge, News},
        login::question::pairs,
        node::Node,
    },
};

/// No answer after so many periods is silence.
const PERIODS: u32 = 3;

/// So long a silence of a connection with requests under way is worth asking others what has become of the upstream.
const LONG: Duration = Duration::from_millis(250);

/// Replies that speak against what is known lead to one check in this time.
const DOUBT_EVERY: Duration = Duration::from_millis(100);

/// See the module's documentation. Moments in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    asked_at: AtomicU64,
    /// The first question since the last answer; 0 if none is owed.
    owed_since: AtomicU64,
    /// A connection is silent for long, and whoever follows the upstream has not found out yet what that means.
    is_silent: AtomicBool,
    /// When it was last found out.
    explained_at: AtomicU64,
}

impl Checks {
    /// When the connection with this number, from 0, asks if nobody has asked before.
    pub(crate) fn due_at(&self, number: usize, period: Duration) -> Instant {
        let periods = u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        let asked = Moment::from_micros(self.asked_at.load(Ordering::Relaxed));
        asked.after(period.saturating_mul(periods)).instant()
    }

    /// Has the caller ask; false if somebody else has begun to. It is not asked for a doubt more than every so often.
    pub(crate) fn begin(&self, due: bool) -> bool {
        let now = Moment::now();
        let asked = self.asked_at.load(Ordering::Relaxed);
        let since = Duration::from_micros(now.since(Moment::from_micros(asked)));
        if !due && since < DOUBT_EVERY {
            return false;
        }
        let begins = self.asked_at.compare_exchange(asked, now.micros(), Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if begins {
            let _ = self.owed_since.compare_exchange(0, now.micros().max(1), Ordering::AcqRel, Ordering::Relaxed);
        }
        begins
    }

    /// Something speaks against what is known, as where a connection ends with several requests under way, which it may
    /// not bear any more: the next connection that looks is to ask.
    pub(crate) fn doubted(&self) {
        let asked = self.asked_at.load(Ordering::Relaxed);
        if Duration::from_micros(Moment::now().since(Moment::from_micros(asked))) >= DOUBT_EVERY {
            self.asked_at.store(0, Ordering::Relaxed);
        }
    }

    /// The upstream has given a sign of life, on whatever connection.
    pub(crate) fn heard(&self) {
        if self.owed_since.load(Ordering::Relaxed) != 0 {
            self.owed_since.store(0, Ordering::Release);
        }
    }

    /// How long an answer was waited for in vain, if it was for too long.
    pub(crate) fn silence(&self, period: Duration) -> Option<Duration> {
        let owed = self.owed_since.load(Ordering::Acquire);
        let waited = Duration::from_micros(Moment::now().since(Moment::from_micros(owed)));
        let patience = period.saturating_mul(PERIODS);
        (owed > 0 && waited >= patience).then_some(patience)
    }

    /// Whether a connection is silent for long, and nobody knows yet what that means.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// A connection has been silent for so long, with requests under way; whether that is news.
    fn is_silent_for(&self, silence: Duration) -> bool {
        let explained = Moment::from_micros(self.explained_at.load(Ordering::Relaxed));
        let unexplained = Duration::from_micros(Moment::now().since(explained));
        silence.min(unexplained) >= LONG && !self.is_silent.swap(true, Ordering::AcqRel)
    }

    /// It is known what that means.
    pub(crate) fn explained(&self) {
        self.explained_at.store(Moment::now().micros(), Ordering::Relaxed);
        self.is_silent.store(false, Ordering::Release);
    }
}

impl Node {
    /// A connection has been silent for so long, with requests under way: whoever follows the upstream is to know.
    pub(crate) fn is_silent_for(&self, silence: Duration) {
        if self.checks.is_silent_for(silence) {
            self.silent_now.notify_one();
        }
    }

    /// How often the upstream is asked what it is; `None` if it is not to be asked.
    pub(crate) fn check_interval(&self) -> Option<Duration> {
        let period = self.settings.borrow().check_interval;
        (!self.is_guest && !period.is_zero() && self.facts.borrow().may_be_checked()).then_some(period)
    }

    /// Whether the caller is to ask now, because it is time or because there is doubt.
    pub(crate) fn may_check(&self, due: bool) -> bool {
        !self.is_guest && self.facts.borrow().may_be_checked() && self.checks.begin(due)
    }

    /// What it asks, in the protocol version in which its connection is.
    pub(crate) fn check_request(&self, protocol: Protocol) -> &'static [&'static str] {
        let facts = self.facts.borrow();
        match protocol {
            // Monitors do not show it.
            _ if facts.told.config == Asked::Told && !self.tells_by_hello.load(Ordering::Relaxed) => {
                if facts.is_since(7, 0) { &CHECK } else { &["CONFIG", "GET", CHECK[2]] }
            }
            Protocol::Resp2 => &["HELLO", "2"],
            Protocol::Resp3 => &["HELLO", "3"],
        }
    }

    /// Takes in the answer, which came on a connection of this generation.
    pub(crate) fn checked(&self, generation: u64, answer: &[u8]) {
        let Ok((answer, _)) = Value::decode(&answer.to_vec().into()) else { return };
        if matches!(answer, Value::Error(_)) {
            return;
        }
        let fields: HashMap<_, _> = pairs(answer).into_iter().collect();
        // Of old upstreams one parameter alone is asked.
        if fields.len() > 1 && fields.contains_key(CHECK[2]) {
            self.learn_of_it(|knowledge| knowledge.learn_config(generation, &fields));
        }
        match (fields.get(CHECK[2]).map(|primary| primary.split_once(' ')), fields.get("role")) {
            (Some(None), _) => self.learn_role(generation, Role::Primary, None),
            (Some(Some((host, port))), _) => {
                self.learn_role(generation, Role::Replica, Some(format!("{host}:{port}").into()));
            }
            (None, Some(role)) => {
                if let Some(role) = Role::from_words(role.as_bytes()) {
                    self.learn_role(generation, role, None);
                }
            }
            (None, None) => self.tells_by_hello.store(true, Ordering::Relaxed),
        }
    }

    /// A connection of this generation has found out what role its node has.
    fn learn_role(&self, generation: u64, role: Role, primary: Option<Arc<str>>) {
        if self.learn_of_it(|knowledge| knowledge.learn_role(generation, role, primary)) {
            self.judge();
            // Where does the address lead, and what does it say of itself now?
            self.doubt.notify_one();
        }
    }

    /// Takes in what the upstream says of itself now; whether that is something else than before.
    fn learn_of_it(&self, learn: impl FnOnce(&mut Knowledge) -> News) -> bool {
        let mut knowledge = self.lock();
        let former = knowledge.facts();
        let news = learn(&mut knowledge);
        let has_changed = news == News::Changed;
        // It is where it was.
        let _ = self.publish(news, &former, &knowledge.facts());
        has_changed
    }
}

/// Whether an error reply says that the node is a replica. A script may say so of its own.
pub(crate) fn is_of_replica(error: &[u8]) -> bool {
    error.starts_with(b"-READONLY") || error.starts_with(b"-MASTERDOWN")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_asks_in_each_period_and_the_next_only_when_it_does_not() {
        let checks = Checks::default();
        tokio::time::advance(SECOND).await;
        assert!(checks.begin(true));
        let now = Instant::now();
        let within = |due: Instant, after: Duration| due - now <= after && due - now > after - Duration::from_millis(1);
        assert!(within(checks.due_at(0, SECOND), SECOND) && within(checks.due_at(2, SECOND), 3 * SECOND));
        assert!(!checks.begin(false), "a doubt that follows at once");
        tokio::time::advance(DOUBT_EVERY).await;
        assert!(checks.begin(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_silence_is_news_once_until_it_is_explained() {
        let checks = Checks::default();
        tokio::time::advance(SECOND).await;
        assert!(!checks.is_silent_for(LONG / 2) && !checks.is_silent());
        assert!(checks.is_silent_for(LONG) && checks.is_silent() && !checks.is_silent_for(2 * LONG));
        checks.explained();
        assert!(!checks.is_silent() && !checks.is_silent_for(2 * LONG), "it was explained just now");
        tokio::time::advance(LONG).await;
        assert!(checks.is_silent_for(3 * LONG));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_is_silence() {
        let checks = Checks::default();
        tokio::time::advance(SECOND).await;
        assert_eq!(checks.silence(SECOND), None);
        for _ in 0..3 {
            checks.begin(true);
            assert_eq!(checks.silence(SECOND), None);
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(checks.silence(SECOND), Some(3 * SECOND));
        checks.heard();
        assert_eq!(checks.silence(SECOND), None);
    }
}
