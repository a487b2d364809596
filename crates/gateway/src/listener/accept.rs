//! Accepts clients: as many as there may be, whatever goes wrong with one of them, at however many addresses. Owns the
//! session tasks until they have ended.

use std::{
    future::{pending, poll_fn},
    io,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use pool::Caller;
use resp::write_error;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout_at},
};
use tracing::Instrument;

use crate::{
    command::errors,
    listener::{
        client_stream::ClientStream,
        door::{Arrival, BACKLOG, Door},
        greeting::{Refused, Terms, Visitor},
        handshakes::Handshakes,
        threads::Threads,
    },
    observe::{spans, turned_away::Kind},
    session::opener::{Ends, Opener},
};

/// How long accepting pauses when the process is out of descriptors or memory. Also the pause between two handshakes that
/// have to make room.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client that has begun a TCP handshake may take to end it once we are to close.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// How long a client that has begun a TLS handshake may take to end it then.
const PATIENCE: Duration = Duration::from_secs(1);

/// For which part of the time that a drain may take sessions read what clients had sent before it.
const DRAIN_READS: f64 = 0.25;

/// The sockets on which clients come, and the sessions that came of them.
#[derive(Debug)]
pub(crate) struct Listener {
    doors: Vec<Door>,
    /// The door that is looked at first, so that all of them get their turn.
    turn: usize,
    opener: Opener,
    threads: Arc<Threads>,
    /// One for each thread.
    callers: Vec<Caller>,
    sessions: JoinSet<()>,
    /// Of clients that are not served yet, if there are doors of that kind.
    handshakes: Option<Handshakes>,
}

impl Listener {
    /// Serves those who come by `doors`; `callers` has one caller for each thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn new(
        doors: Vec<Door>,
        opener: Opener,
        threads: Arc<Threads>,
        callers: Vec<Caller>,
    ) -> io::Result<Self> {
        let handshakes = doors.iter().any(Door::greets).then(Handshakes::start).transpose()?;
        Ok(Self { doors, turn: 0, opener, threads, callers, sessions: JoinSet::new(), handshakes })
    }

    /// Where the doors are, as bound.
    pub(crate) fn addresses(&self) -> io::Result<Vec<String>> {
        self.doors.iter().map(Door::address).collect()
    }

    /// Accepts until it is dropped. Cancel-safe: no accepted client is lost.
    pub(crate) async fn accept(&mut self) {
        let mut out_of_resources = false;
        // Goes on whatever else happens: those who come to other doors delay nobody's turn.
        let mut pace = interval(PAUSE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_full = self.handshakes_are_full();
            tokio::select! {
                accepted = next(&self.doors, &mut self.turn, is_full) => match accepted {
                    Ok(arrival) => {
                        out_of_resources = false;
                        self.receive(arrival);
                    }
                    // The client was gone before it was accepted.
                    Err(error) if is_of_one_client(&error) => tracing::debug!(%error, "accept failed"),
                    Err(error) => {
                        if !std::mem::replace(&mut out_of_resources, true) {
                            tracing::error!(%error, clients = self.sessions.len(), "cannot accept clients");
                        }
                        sleep(PAUSE).await;
                    }
                },
                Some(ended) = self.sessions.join_next() => report(ended),
                greeted = next_greeted(&mut self.handshakes) => self.greeted(greeted),
                _ = pace.tick(), if is_full => self.overtake(),
            }
        }
    }

    fn handshakes_are_full(&self) -> bool {
        let running = self.handshakes.as_ref().map_or(0, Handshakes::len);
        running > 0 && running >= self.opener.settings().handshakes_max
    }

    /// Has a client that does not go on with its handshake make room.
    fn overtake(&mut self) {
        if let Some(address) = self.handshakes.as_mut().and_then(Handshakes::overtake) {
            self.opener.turned_away().note(Kind::Overtaken, &address, "");
        }
    }

    fn greeted(&mut self, greeted: Option<Result<Visitor, Refused>>) {
        match greeted {
            Some(Ok(visitor)) => self.serve(visitor, true),
            Some(Err(Refused { address, kind, reason })) => {
                tracing::debug!(%address, reason, "client gone before it was served");
                if let Some(kind) = kind {
                    self.opener.turned_away().note(kind, &address, &reason);
                }
            }
            None => {}
        }
    }

    /// Serves one who has come, or has it go through its handshake first.
    fn receive(&mut self, arrival: Arrival) {
        let settings = self.opener.settings();
        if arrival.manners.proxied && !arrival.address.is_of(&settings.trusted) {
            self.opener.turned_away().note(Kind::Untrusted, &arrival.address, "");
            return;
        }
        let handshakes = self.handshakes.as_ref().map_or(0, Handshakes::len);
        if self.sessions.len() + handshakes >= settings.clients_max {
            self.opener.refused(&arrival.address);
            if !arrival.manners.tls {
                turn_away(&arrival.stream, errors::CLIENTS_MAX);
            }
            return;
        }
        if let Err(error) = arrival.prepare(settings.tcp_keepalive) {
            tracing::debug!(%error, "client gone before it was served");
            return;
        }
        if !arrival.manners.take_time() {
            let user = arrival.stream.peer().and_then(|uid| settings.peers.user(uid)).map(str::to_owned);
            let visitor = Visitor { stream: arrival.stream, address: arrival.address, user };
            return self.serve(visitor, false);
        }
        let Some(handshakes) = &mut self.handshakes else { return };
        let tls = settings.tls.clone().filter(|_| arrival.manners.tls);
        if tls.is_none() && arrival.manners.tls {
            let reason = "the configuration names no certificate any more; an address is given up by a restart";
            self.opener.turned_away().note(Kind::Tls, &arrival.address, reason);
            return;
        }
        let users = settings.user_from_certificate.then(|| settings.users.clone());
        let terms = Terms { tls, users, deadline: settings.handshake_timeout };
        if let Err(error) = handshakes.begin(arrival, terms) {
            tracing::debug!(%error, "client gone before it was served");
        }
    }

    /// `is_elsewhere`: another thread than this one has greeted it.
    fn serve(&mut self, visitor: Visitor, is_elsewhere: bool) {
        let Visitor { stream, address, user } = visitor;
        // Whom a certificate names may have been removed during the handshake.
        if user.as_deref().is_some_and(|user| !self.opener.settings().users.keep(user)) {
            return;
        }
        let identity = match self.opener.enter(&address, user.as_deref()) {
            Ok(identity) => identity,
            Err(text) => return turn_away(&stream, &text),
        };
        let seat = self.threads.seat();
        let runtime = &self.threads.runtimes()[seat.thread];
        let moved = if seat.thread > 0 || is_elsewhere { stream.move_to(runtime) } else { Ok(stream) };
        let stream = match moved {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "client gone before it was served");
                return;
            }
        };
        let caller = self.callers[seat.thread].clone();
        let ends = Ends { client: address.clone(), local: stream.local(&address) };
        let session = self.opener.open(stream, ClientStream::bytes_waiting, ends, identity, caller);
        let span = spans::session(session.id(), &address);
        self.sessions.spawn_on(session.run(seat).instrument(span), runtime);
    }

    /// Lets in those whom the system has taken in already, also those whose TCP handshake has begun: where another
    /// process takes over, it will not get them.
    async fn accept_waiting(&mut self, deadline: Instant) {
        self.doors.iter_mut().for_each(Door::remove_file);
        let handshakes = self.doors.iter().filter(|door| door.end_handshakes()).count();
        if handshakes > 0 {
            // Accepting ends only by being dropped.
            drop(timeout_at(deadline.min(Instant::now() + HANDSHAKE), self.accept()).await);
        }
        for index in 0..self.doors.len() {
            for _ in 0..BACKLOG {
                let Some(waiting) = self.doors[index].accept_waiting() else { break };
                if let Ok(arrival) = waiting {
                    self.receive(arrival);
                }
            }
        }
        let greeted = async {
            while self.handshakes.as_ref().is_some_and(|handshakes| !handshakes.is_empty()) {
                let greeted = next_greeted(&mut self.handshakes).await;
                self.greeted(greeted);
            }
        };
        // Who does not go on is given up.
        drop(timeout_at(deadline.min(Instant::now() + PATIENCE), greeted).await);
        self.handshakes = None;
    }

    /// Stops accepting, has the sessions finish until `deadline`, and aborts what is left; how many
    /// that were.
    pub(crate) async fn drain(mut self, deadline: Instant) -> usize {
        self.accept_waiting(deadline).await;
        let Self { doors, opener, mut sessions, .. } = self;
        drop(doors);
        let now = Instant::now();
        opener.drain(now + deadline.saturating_duration_since(now).mul_f64(DRAIN_READS));
        while let Ok(Some(ended)) = timeout_at(deadline, sessions.join_next()).await {
            report(ended);
        }
        let left = sessions.len();
        sessions.shutdown().await;
        left
    }
}

/// Who has ended a handshake next. Cancel-safe.
async fn next_greeted(handshakes: &mut Option<Handshakes>) -> Option<Result<Visitor, Refused>> {
    match handshakes {
        Some(handshakes) => handshakes.next().await,
        None => pending().await,
    }
}

/// Who comes next, by whichever door; `is_full`: by whichever door without handshakes. Cancel-safe.
async fn next(doors: &[Door], turn: &mut usize, is_full: bool) -> io::Result<Arrival> {
    poll_fn(|cx| {
        for step in 0..doors.len() {
            let index = (*turn + step) % doors.len();
            if is_full && doors[index].greets() {
                continue;
            }
            if let Poll::Ready(accepted) = doors[index].poll_accept(cx) {
                *turn = (index + 1) % doors.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
}

/// Tells a client why it is closed. A new socket has room for a line; if not, the client is closed without it, as is one
/// that speaks TLS.
fn turn_away(stream: &ClientStream, text: &str) {
    let mut reply = Vec::new();
    write_error(&mut reply, text);
    let _ = stream.try_write(&reply);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "session ended unexpectedly");
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
