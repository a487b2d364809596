//! Clients that could not be served and requests that failed, told in the log by their kind: the first one at once,
//! further ones of its kind together, at most once a second.

use std::{
    collections::BTreeMap,
    fmt::Display,
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The pause between two lines of a kind.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a client, or its request, could not be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It speaks TLS where there is none.
    TlsToPlain,
    /// It speaks no TLS where there is nothing else.
    PlainToTls,
    /// It speaks HTTP.
    Http,
    /// A load balancer tells where it is, where that is not expected.
    ProxyToPlain,
    /// Its certificate is not right, or it has none.
    Certificate,
    /// It does not accept us.
    RefusesUs,
    /// TLS could not be agreed upon.
    Tls,
    /// It came past the load balancers.
    Untrusted,
    /// It sent no PROXY header, or a wrong one.
    ProxyHeader,
    /// It took too long.
    Slow,
    /// It had to make room for others.
    Overtaken,
    /// There are as many clients as there may be.
    ClientsMax,
    /// Its user has as many clients as it may have.
    UserClients,
    /// Its user sends more requests than it may send.
    UserRequests,
    /// It did not log in in time.
    LoginTimeout,
    /// It gave a wrong name or password.
    Login,
    /// It sent a request before it had logged in.
    NoLogin,
    /// It sent a command that is denied, or that no gateway can pass on.
    Denied,
    /// It asked for the console and may not.
    Console,
    /// What it sent is no request.
    Protocol,
    /// Unfinished requests fill the memory they may have.
    InputFull,
    /// Replies that nobody reads fill the memory they may have.
    RepliesFull,
    /// It takes nothing of its replies.
    Stuck,
    /// It held an exclusive connection and sent nothing.
    IdleTransaction,
    /// There are as many subscriptions as there may be.
    SubscriptionsFull,
    /// It was too slow for its subscriptions.
    Overrun,
    /// It had the oldest messages to read where they fill the memory they may have.
    BacklogFull,
    /// The upstream ended its subscriptions.
    SubscriptionEnded,
    /// Its request went to the pool and failed; holds the kind of error.
    Failed(&'static str),
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Self::TlsToPlain => "clients speak TLS to an address without it",
            Self::PlainToTls => "clients speak no TLS to an address of tls://",
            Self::Http => "clients speak HTTP, or what looks like it, to an address for Redis",
            Self::ProxyToPlain => "load balancers send a PROXY header to an address without proxy_protocol=on",
            Self::Certificate => "certificates of clients are not right",
            Self::RefusesUs => "clients do not accept our certificate",
            Self::Tls => "TLS handshakes with clients failed",
            Self::Untrusted => "clients came to an address of proxy_protocol from where trusted names no load balancer",
            Self::ProxyHeader => "clients came to an address of proxy_protocol without a right PROXY header",
            Self::Slow => "handshake_timeout_ms passed, clients were closed",
            Self::Overtaken => "handshakes_max was reached, silent clients were closed",
            Self::ClientsMax => "clients_max was reached, further clients were turned away",
            Self::UserClients => "clients_max of a user was reached, further clients were turned away",
            Self::UserRequests => "requests_per_second of a user was exceeded, requests failed",
            Self::LoginTimeout => "login_timeout_ms passed, clients were closed",
            Self::Login => "login refused",
            Self::NoLogin => "requests refused, their clients have not logged in",
            Self::Denied => "requests refused, their commands are denied",
            Self::Console => "requests for the console refused",
            Self::Protocol => "clients sent what is no request and were closed",
            Self::InputFull => "input_bytes_max was reached, clients were closed",
            Self::RepliesFull => "replies_bytes_max was reached, requests failed",
            Self::Stuck => "write_timeout_ms passed, clients that took no replies were closed",
            Self::IdleTransaction => {
                "transaction_idle_ms passed, clients in a transaction or with keys watched were closed"
            }
            Self::SubscriptionsFull => {
                "subscriptions_max was reached, or a host's share of it, and subscriptions failed"
            }
            Self::Overrun => "backlog_messages was reached, subscribers were too slow and were closed",
            Self::BacklogFull => "backlog_bytes_max was reached, subscribers were too slow and were closed",
            Self::SubscriptionEnded => "the upstream ended subscriptions, their clients were closed",
            Self::Failed(_) => "requests failed",
        }
    }

    /// Whether the operator has to look. Otherwise the client does what it should not, and is told so.
    fn is_warning(self) -> bool {
        !matches!(self, Self::Http | Self::LoginTimeout | Self::NoLogin | Self::Denied | Self::Console | Self::Protocol)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    kinds: Mutex<BTreeMap<Kind, Gathered>>,
    gathered: Notify,
}

/// What has gathered of one kind since its last line.
#[derive(Debug, Default)]
struct Gathered {
    told: Option<Instant>,
    count: u64,
    /// Where the last of them was, and what more there is to say of it.
    last: Option<(String, String)>,
}

impl Gathered {
    /// When there may be a line, if there is anything to tell.
    fn due(&self, now: Instant) -> Option<Instant> {
        self.last.as_ref().map(|_| self.told.map_or(now, |told| told + PAUSE))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due(now).is_some_and(|due| due <= now)
    }

    fn tell(&mut self, kind: Kind, now: Instant) {
        let Some((last, reason)) = self.last.take() else { return };
        let count = self.count;
        match kind {
            Kind::Login | Kind::UserClients | Kind::UserRequests => {
                tracing::warn!(count, last, user = reason, "{}", kind.text())
            }
            Kind::Denied => tracing::info!(count, last, command = reason, "{}", kind.text()),
            Kind::Failed(kind_of_error) => {
                tracing::warn!(count, last, kind = kind_of_error, reason, "{}", kind.text());
            }
            kind if kind.is_warning() => tracing::warn!(count, last, reason, "{}", kind.text()),
            kind => tracing::info!(count, last, reason, "{}", kind.text()),
        }
        (self.told, self.count) = (Some(now), 0);
    }
}

impl TurnedAway {
    /// A client at `address` was turned away; `reason` says more than the kind, if there is more to say.
    pub(crate) fn note(&self, kind: Kind, address: &dyn Display, reason: &str) {
        self.note_many(kind, 1, address, reason);
    }

    /// So many requests of a client at `address` were.
    pub(crate) fn note_many(&self, kind: Kind, count: u32, address: &dyn Display, reason: &str) {
        let mut kinds = self.lock();
        let gathered = kinds.entry(kind).or_default();
        gathered.count += u64::from(count);
        gathered.last = Some((address.to_string(), reason.to_owned()));
        let now = Instant::now();
        if gathered.is_due(now) {
            gathered.tell(kind, now);
        } else {
            self.gathered.notify_one();
        }
    }

    /// Tells what has gathered, when it is due. Never returns.
    pub(crate) async fn tell(&self) {
        loop {
            let now = Instant::now();
            let due = self.lock().values().filter_map(|kind| kind.due(now)).min();
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = wait => self.tell_if(|gathered| gathered.is_due(Instant::now())),
                () = self.gathered.notified() => {}
            }
        }
    }

    /// Tells what is left, at the end.
    pub(crate) fn tell_rest(&self) {
        self.tell_if(|_| true);
    }

    fn tell_if(&self, is_due: impl Fn(&Gathered) -> bool) {
        let now = Instant::now();
        for (kind, gathered) in self.lock().iter_mut().filter(|(_, gathered)| is_due(gathered)) {
            gathered.tell(*kind, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, Gathered>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
