//! Follows one sentinel: subscribes to what it publishes, and asks it on a period and whenever it has published
//! something, because messages get lost.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ::topology::{Address, AnswerError, Event, Message, Named, read_peers, read_replicas};
use pool::{Conversation, ConversationError, Endpoint, Value};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use crate::topology::pace::{NAME, Retry, Wanted};

/// Why a sentinel says nothing for now.
#[derive(Debug, Error)]
enum Lost {
    #[error(transparent)]
    Conversation(#[from] ConversationError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("it publishes nothing and answers no PING")]
    Mute,
    #[error("nobody listens any more")]
    Over,
}

/// See the module's documentation.
pub(super) struct SentinelLink {
    pub(super) sentinel: Address,
    /// The sentinel, with the sentinels' login.
    pub(super) endpoint: Endpoint,
    pub(super) service: Arc<str>,
    /// How long connecting, and an answer, may take.
    pub(super) limit: Duration,
    /// Between two questions at a calm pace.
    pub(super) period: Duration,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) news: mpsc::Sender<Event>,
}

impl SentinelLink {
    /// Goes on until it is aborted or nobody listens any more.
    pub(super) async fn run(mut self) {
        let (mut retry, mut known) = (Retry::default(), String::new());
        loop {
            let (began, mut answers) = (Instant::now(), false);
            let lost = match self.follow(&mut answers).await {
                Err(lost) => lost,
                Ok(never) => match never {},
            };
            let silent = Event::Silent { sentinel: self.sentinel.clone() };
            if matches!(lost, Lost::Over) || self.news.send(silent).await.is_err() {
                return;
            }
            let reason = lost.to_string();
            if answers || reason != known {
                tracing::warn!(sentinel = %self.sentinel, service = %self.service, reason, "sentinel does not answer");
                known = reason;
            }
            let pace = self.wanted.borrow().pace;
            sleep(retry.pause(pace, began.elapsed())).await;
        }
    }

    /// Listens and asks until something goes wrong.
    async fn follow(&mut self, answers: &mut bool) -> Result<Infallible, Lost> {
        let open = || Conversation::open(&self.endpoint, NAME, self.limit);
        let (mut messages, mut talk) = tokio::try_join!(open(), open())?;
        let patterns: Vec<&str> = ["PSUBSCRIBE"].into_iter().chain(Message::PATTERNS).collect();
        messages.send(&[&patterns], self.limit).await?;
        let (mut last_heard, mut is_deaf) = (Instant::now(), false);
        loop {
            let wanted = *self.wanted.borrow_and_update();
            let event = self.ask(&mut talk).await?;
            if !*answers {
                tracing::info!(sentinel = %self.sentinel, service = %self.service, "sentinel answers");
                *answers = true;
            }
            self.tell(event).await?;
            let period = wanted.sentinel_period(self.period);
            let asked = Instant::now();
            loop {
                tokio::select! {
                    said = messages.next() => {
                        last_heard = Instant::now();
                        let said = said?;
                        if let Value::Error(reason) = &said
                            && !std::mem::replace(&mut is_deaf, true)
                        {
                            tracing::warn!(sentinel = %self.sentinel, reason, "sentinel refuses the subscription");
                        }
                        if self.heard(&said).await? {
                            break;
                        }
                    }
                    () = sleep((asked + period).saturating_duration_since(Instant::now())) => {
                        if last_heard.elapsed() > self.period.saturating_mul(2) + self.limit {
                            return Err(Lost::Mute);
                        }
                        messages.send(&[&["PING"]], self.limit).await?;
                        break;
                    }
                    changed = self.wanted.changed() => {
                        changed.map_err(|_| Lost::Over)?;
                        break;
                    }
                }
            }
        }
    }

    async fn ask(&self, talk: &mut Conversation) -> Result<Event, Lost> {
        let service: &str = &self.service;
        let asked = Instant::now().into_std();
        let questions: [&[&str]; 5] = [
            &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", service],
            &["SENTINEL", "MASTER", service],
            // As all versions know it.
            &["SENTINEL", "SLAVES", service],
            &["SENTINEL", "SENTINELS", service],
            &["SENTINEL", "MYID"],
        ];
        let replies = talk.ask(&questions, self.limit).await?;
        // Redis has MYID since 6.2.
        let id = match &replies[4] {
            Value::Error(_) => String::new(),
            id => id.as_bytes().map(|id| String::from_utf8_lossy(id).into_owned()).unwrap_or_default(),
        };
        Ok(Event::Answered {
            sentinel: self.sentinel.clone(),
            asked,
            id,
            named: Named::read(&replies[0], &replies[1])?,
            replicas: read_replicas(&replies[2])?,
            peers: read_peers(&replies[3])?,
        })
    }

    /// Passes a message on; whether there was one about the service.
    async fn heard(&self, said: &Value) -> Result<bool, Lost> {
        let Value::Array(parts) = said else { return Ok(false) };
        let [kind, _pattern, channel, text] = &parts[..] else { return Ok(false) };
        if kind.as_bytes() != Some(b"pmessage") {
            return Ok(false);
        }
        let (Some(channel), Some(text)) = (readable(channel), readable(text)) else { return Ok(false) };
        let Some(message) = Message::read(channel, text, &self.service) else { return Ok(false) };
        tracing::debug!(sentinel = %self.sentinel, channel, text, "sentinel published");
        self.tell(Event::Heard { sentinel: self.sentinel.clone(), message }).await?;
        Ok(true)
    }

    async fn tell(&self, event: Event) -> Result<(), Lost> {
        self.news.send(event).await.map_err(|_| Lost::Over)
    }
}

fn readable(value: &Value) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()?).ok()
}
