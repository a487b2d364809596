//! Clients that could not be served, told in the log by their kind: the first one at once, further ones of its kind
//! together, at most once a second.

use std::{
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::observe::address::Address;

/// The pause between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a client could not be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It speaks TLS where there is none.
    TlsToPlain,
    /// It speaks no TLS where there is nothing else.
    PlainToTls,
    /// Its certificate is not right, or it has none.
    Certificate,
    /// It does not accept us.
    RefusesUs,
    /// TLS could not be agreed upon.
    Tls,
    /// It took too long.
    Slow,
    /// It had to make room for others.
    Overtaken,
}

impl Kind {
    const COUNT: usize = 7;

    fn text(self) -> &'static str {
        match self {
            Self::TlsToPlain => "clients speak TLS to an address without it",
            Self::PlainToTls => "clients speak no TLS to an address of tls://",
            Self::Certificate => "certificates of clients are not right",
            Self::RefusesUs => "clients do not accept our certificate",
            Self::Tls => "TLS handshakes with clients failed",
            Self::Slow => "handshake_timeout_ms passed, clients were closed",
            Self::Overtaken => "handshakes_max was reached, silent clients were closed",
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    kinds: Mutex<[Gathered; Kind::COUNT]>,
    gathered: Notify,
}

/// What has gathered of one kind since its last line.
#[derive(Debug, Default)]
struct Gathered {
    told: Option<Instant>,
    count: u64,
    last: Option<(Kind, String, String)>,
}

impl Gathered {
    /// When there may be a line, if there is anything to tell.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.last.as_ref().map(|_| self.told.map_or(now, |told| told + PAUSE))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due(now).is_some_and(|due| due <= now)
    }

    fn tell(&mut self, now: Instant) {
        let Some((kind, address, reason)) = self.last.take() else { return };
        tracing::warn!(count = self.count, last = address, reason, "{}", kind.text());
        (self.told, self.count) = (Some(now), 0);
    }
}

impl TurnedAway {
    /// A client at `address` was turned away; `reason` says more than the kind, if there is more to say.
    pub(crate) fn note(&self, kind: Kind, address: &Address, reason: &str) {
        let mut kinds = self.lock();
        let gathered = &mut kinds[kind as usize];
        gathered.count += 1;
        gathered.last = Some((kind, address.to_string(), reason.to_owned()));
        let now = Instant::now();
        if gathered.is_due(now) {
            gathered.tell(now);
        } else {
            self.gathered.notify_one();
        }
    }

    /// Tells what has gathered, when it is due. Never returns.
    pub(crate) async fn tell(&self) {
        loop {
            let now = Instant::now();
            let due = self.lock().iter().filter_map(|kind| kind.due(now)).min();
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = wait => self.tell_due(Instant::now()),
                () = self.gathered.notified() => {}
            }
        }
    }

    fn tell_due(&self, now: Instant) {
        for kind in self.lock().iter_mut().filter(|kind| kind.is_due(now)) {
            kind.tell(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Gathered; Kind::COUNT]> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
