//! Shared pub/sub, the part with I/O: the task that owns an upstream connection `respool-pubsub`. It
//! connects when there is something to subscribe to, brings the upstream's subscriptions in line with
//! what its `link` says, hands messages over, and does all of it again after a loss. Whoever has started it ends it.
//!
//! It waits for one of three: messages, changes to send, or the time to ask for a sign of life.

use std::{collections::VecDeque, future::poll_fn, io, ops::Range, sync::Arc, task::Poll, time::Duration};

use cluster::Node;
use pool::{Attempts, Caller, JobError, ReplyKind, Standing};
use resp::write_request;
use thiserror::Error;
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, sleep_until},
};

use crate::{
    config::live_settings::LiveSettings,
    pubsub::{
        events::heading,
        link::{Asked, Link},
        message::Kind,
    },
};

/// As the upstream's `CLIENT LIST` shows the connection.
const NAME: &str = "respool-pubsub";

/// Bytes of requests that go out in one write.
const WRITE_BYTES: usize = 64 * 1024;

/// Bytes of messages that are handed over in one turn, but for the last message.
const TURN_BYTES: usize = 1024 * 1024;

/// Why the connection is of no further use.
#[derive(Debug, Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the upstream sent what it was not asked for")]
    Unasked,
    #[error("the upstream sent nothing for {} ms with requests in flight", .0.as_millis())]
    Silent(Duration),
    #[error("the gateway's upstream is another now")]
    Outdated,
}

/// Where the connection leads.
#[derive(Debug, Clone)]
pub(super) enum To {
    /// To the gateway's upstream.
    Upstream(Caller),
    /// To a node of a cluster.
    Node(Arc<Node>),
}

impl To {
    async fn open(&self, attempts: &mut Attempts) -> Result<Standing, JobError> {
        match self {
            Self::Upstream(caller) => caller.open_standing(NAME, attempts).await,
            Self::Node(node) => node.open_standing(NAME, attempts).await,
        }
    }
}

/// Starts the task anew if it panics, which is a bug; sessions keep what they had. Never returns.
pub(super) async fn keep_running(link: Link, to: To, settings: LiveSettings) {
    let link = Arc::new(link);
    // Ends what it holds when it is dropped.
    let mut tasks = JoinSet::new();
    loop {
        tasks.spawn(run(Arc::clone(&link), to.clone(), settings.clone()));
        if let Some(Err(error)) = tasks.join_next().await {
            tracing::error!(%error, "shared pub/sub ended unexpectedly, starting it anew");
            link.lost(None);
        }
    }
}

async fn run(link: Arc<Link>, to: To, mut settings: LiveSettings) {
    let mut attempts = Attempts::default();
    loop {
        while link.is_idle() {
            link.changed().await;
        }
        match to.open(&mut attempts).await {
            Ok(standing) => {
                link.up();
                tracing::info!(subscriptions = link.directory().len(), "shared pub/sub connected");
                let mut connection = Connection::new(standing, &link, &mut settings);
                let lost = connection.serve(&mut attempts).await;
                drop(connection);
                link.lost(None);
                tracing::warn!(reason = %lost, subscriptions = link.directory().len(), "shared pub/sub connection lost");
            }
            Err(error) => {
                tracing::debug!(%error, "shared pub/sub cannot connect");
                link.lost(Some(error.to_string().into()));
            }
        }
    }
}

/// A connection in use.
struct Connection<'f> {
    standing: Standing,
    link: &'f Link,
    /// Told when others are in force, which may name another upstream.
    settings: &'f mut LiveSettings,
    /// In the order in which they will be answered.
    asked: VecDeque<Asked>,
    input: Vec<u8>,
    /// The messages in `input`.
    came: Vec<(Range<usize>, ReplyKind)>,
    last_read: Instant,
    last_asked: Instant,
}

enum Event {
    Came,
    Changed,
    Quiet,
}

impl<'f> Connection<'f> {
    fn new(standing: Standing, link: &'f Link, settings: &'f mut LiveSettings) -> Self {
        let now = Instant::now();
        Self {
            standing,
            link,
            settings,
            asked: VecDeque::new(),
            input: Vec::new(),
            came: Vec::new(),
            last_read: now,
            last_asked: now,
        }
    }

    /// Goes on until the connection is lost.
    async fn serve(&mut self, attempts: &mut Attempts) -> Lost {
        if let Err(lost) = self.ask().await {
            return lost;
        }
        while !self.standing.is_outdated() {
            let done = match self.next().await {
                Ok(Event::Came) => {
                    attempts.succeeded();
                    self.take_in()
                }
                Ok(Event::Changed) => self.ask().await,
                Ok(Event::Quiet) => self.keep_alive().await,
                Err(error) => return error.into(),
            };
            if let Err(lost) = done {
                return lost;
            }
            // The listeners get a turn before more comes, so that none that keeps up is overrun.
            yield_now().await;
        }
        Lost::Outdated
    }

    async fn next(&mut self) -> io::Result<Event> {
        let deadline = self.deadline();
        let (input, came, standing) = (&mut self.input, &mut self.came, &mut self.standing);
        // Half of what a listener may be behind.
        let messages_max = (self.link.directory().settings().backlog_messages / 2).max(1);
        let messages = poll_fn(|cx| {
            while came.len() < messages_max && input.len() < TURN_BYTES {
                let from = input.len();
                match standing.poll_message(cx, input) {
                    Poll::Ready(Ok(kind)) => came.push((from..input.len(), kind)),
                    Poll::Ready(Err(error)) if came.is_empty() => return Poll::Ready(Err(error)),
                    // What came before the end is handed over first; the next read tells again.
                    Poll::Ready(Err(_)) => break,
                    Poll::Pending => break,
                }
            }
            if came.is_empty() { Poll::Pending } else { Poll::Ready(Ok(Event::Came)) }
        });
        tokio::select! {
            came = messages => came,
            () = self.link.changed() => Ok(Event::Changed),
            () = self.settings.changed() => Ok(Event::Changed),
            () = sleep_until(deadline) => Ok(Event::Quiet),
        }
    }

    fn deadline(&self) -> Instant {
        if self.asked.is_empty() {
            self.last_read + self.standing.keepalive()
        } else {
            self.last_read.max(self.last_asked) + self.standing.reply_timeout()
        }
    }

    /// Hands over what came.
    fn take_in(&mut self) -> Result<(), Lost> {
        self.last_read = Instant::now();
        let mut turn = self.link.turn();
        for (range, kind) in self.came.drain(..) {
            let message = &self.input[range];
            let heading = heading(message).map(|(subject, name, _)| (subject, name));
            if let Some((subject, name)) = heading
                && let Some(kind) = kind_of_message(subject)
            {
                turn.message(kind, name, message);
                continue;
            }
            let asked = self.asked.pop_front().ok_or(Lost::Unasked)?;
            if !answers(&asked, heading, kind) {
                return Err(Lost::Unasked);
            }
            let text = || String::from_utf8_lossy(&message[1..]).trim_end().into();
            turn.answered(&asked, (kind == ReplyKind::Error).then(text));
        }
        drop(turn);
        self.input.clear();
        self.input.shrink_to(TURN_BYTES);
        Ok(())
    }

    /// Sends what has changed.
    async fn ask(&mut self) -> Result<(), Lost> {
        let mut more = true;
        while more {
            let mut requests = Vec::new();
            if self.asked.is_empty() {
                self.last_asked = Instant::now();
            }
            more = self.link.requests(&mut requests, WRITE_BYTES, &mut self.asked);
            self.standing.send(&requests).await?;
        }
        Ok(())
    }

    /// Nothing has come for a while.
    async fn keep_alive(&mut self) -> Result<(), Lost> {
        if !self.asked.is_empty() {
            return Err(Lost::Silent(self.standing.reply_timeout()));
        }
        let mut request = Vec::new();
        write_request(&mut request, &["PING"]);
        self.asked.push_back(Asked::Ping);
        self.last_asked = Instant::now();
        Ok(self.standing.send(&request).await?)
    }
}

fn kind_of_message(subject: &[u8]) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.message().as_bytes() == subject)
}

/// Whether an answer with `heading` is one to `asked`.
fn answers(asked: &Asked, heading: Option<(&[u8], &[u8])>, kind: ReplyKind) -> bool {
    let expected = match asked {
        _ if kind == ReplyKind::Error => return true,
        Asked::Ping => return !heading.is_some_and(|(subject, _)| subject.ends_with(b"subscribe")),
        Asked::Subscribe(name) => (name.kind.subscribe().as_bytes(), &*name.bytes),
        Asked::Unsubscribe(name) => (name.kind.unsubscribe().as_bytes(), &*name.bytes),
    };
    heading == Some(expected)
}
