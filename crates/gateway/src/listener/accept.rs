//! Accepts clients: as many as there may be, whatever goes wrong with one of them, at however many addresses. Owns the
//! session tasks until they have ended.

use std::{future::poll_fn, io, sync::Arc, task::Poll, time::Duration};

use pool::Caller;
use resp::write_error;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tracing::Instrument;

use crate::{
    command::errors,
    listener::{
        door::{Arrival, BACKLOG, Door},
        threads::Threads,
    },
    observe::spans,
    session::opener::Opener,
};

/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client that has begun a TCP handshake may take to end it once we are to close.
const HANDSHAKE: Duration = Duration::from_millis(100);

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
}

impl Listener {
    /// Serves those who come by `doors`; `callers` has one caller for each thread.
    pub(crate) fn new(doors: Vec<Door>, opener: Opener, threads: Arc<Threads>, callers: Vec<Caller>) -> Self {
        Self { doors, turn: 0, opener, threads, callers, sessions: JoinSet::new() }
    }

    /// Where the doors are, as bound.
    pub(crate) fn addresses(&self) -> io::Result<Vec<String>> {
        self.doors.iter().map(Door::address).collect()
    }

    /// Accepts until it is dropped. Cancel-safe: no accepted client is lost.
    pub(crate) async fn accept(&mut self) {
        let mut out_of_resources = false;
        loop {
            tokio::select! {
                accepted = next(&self.doors, &mut self.turn) => match accepted {
                    Ok(arrival) => {
                        out_of_resources = false;
                        self.start(arrival);
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
            }
        }
    }

    fn start(&mut self, arrival: Arrival) {
        let settings = self.opener.settings();
        if self.sessions.len() >= settings.clients_max {
            self.opener.refused();
            let mut reply = Vec::new();
            write_error(&mut reply, errors::CLIENTS_MAX);
            // A new socket has room for a line; if not, the client is closed without it.
            let _ = arrival.stream.try_write(&reply);
            return;
        }
        let seat = self.threads.seat();
        let runtime = &self.threads.runtimes()[seat.thread];
        let prepared = arrival.prepare(settings.tcp_keepalive).and_then(|()| match seat.thread {
            0 => Ok(arrival.stream),
            _ => arrival.stream.move_to(runtime),
        });
        let (stream, address) = match prepared {
            Ok(stream) => (stream, arrival.address),
            Err(error) => {
                tracing::debug!(%error, "client gone before it was served");
                return;
            }
        };
        let caller = self.callers[seat.thread].clone();
        let session = self.opener.open(stream, address.clone(), caller);
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
                    self.start(arrival);
                }
            }
        }
    }

    /// Stops accepting, has the sessions finish until `deadline`, and aborts what is left; how many
    /// that were.
    pub(crate) async fn drain(mut self, deadline: Instant) -> usize {
        self.accept_waiting(deadline).await;
        let Self { doors, opener, mut sessions, .. } = self;
        drop(doors);
        opener.drain();
        while let Ok(Some(ended)) = timeout_at(deadline, sessions.join_next()).await {
            report(ended);
        }
        let left = sessions.len();
        sessions.shutdown().await;
        left
    }
}

/// Who comes next, by whichever door. Cancel-safe.
async fn next(doors: &[Door], turn: &mut usize) -> io::Result<Arrival> {
    poll_fn(|cx| {
        for step in 0..doors.len() {
            let index = (*turn + step) % doors.len();
            if let Poll::Ready(accepted) = doors[index].poll_accept(cx) {
                *turn = (index + 1) % doors.len();
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    })
    .await
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
