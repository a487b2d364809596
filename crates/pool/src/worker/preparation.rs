//! Brings a connection into the state that jobs need, database and protocol version, by requests of the worker's
//! own. A job is written only once the upstream has said that the connection is in its state: behind a `SELECT` that
//! fails, it would run in another database. Jobs that need the same state wait together, so that a switch is made
//! for all of them at once.

use std::{collections::VecDeque, io, sync::Arc};

use resp::{ReplyKind, write_request};

use crate::{
    error::JobError,
    queue::{expected::Expected, job::Job},
    upstream::needs::Needs,
    worker::{
        in_flight::InFlight,
        own_request::{Answered, Purpose},
    },
};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Preparation {
    /// In which everything runs that is written now.
    state: Needs,
    /// The database in which it was made.
    made_in: u32,
    switch: Option<Switch>,
    /// Not written; those that came first are in front.
    waiting: VecDeque<Job>,
    /// How many replies they will get, at least one for each.
    requests: usize,
    /// Those whose replies may be large.
    not_small: usize,
}

/// A change of state that has been asked for and not been answered wholly.
#[derive(Debug)]
struct Switch {
    target: Needs,
    replies_due: u32,
    /// The error reply, without its mark.
    refused: Option<Arc<str>>,
}

impl Preparation {
    /// Of a connection that is in this state.
    pub(crate) fn new(state: Needs) -> Self {
        Self { state, made_in: state.db, ..Self::default() }
    }

    /// In which everything runs that is written now.
    pub(crate) fn state(&self) -> Needs {
        self.state
    }

    /// Replies due to jobs that wait.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// Jobs that wait and whose replies may be large.
    pub(crate) fn not_small(&self) -> usize {
        self.not_small
    }

    /// No job waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// No change of state is under way.
    pub(crate) fn is_settled(&self) -> bool {
        self.switch.is_none()
    }

    /// Hands a job on to be written, at once or when the connection is in its state.
    pub(crate) fn submit(&mut self, job: Job, in_flight: &mut InFlight) {
        if self.switch.is_none() && job.burst().needs == self.state {
            return hand_on(job, in_flight);
        }
        self.requests += weight(&job);
        self.not_small += usize::from(is_not_small(&job));
        self.waiting.push_back(job);
    }

    /// Asks for the state that the first waiting job needs, unless a switch is under way. To be called before a
    /// write, when the jobs that go out in the same write and need no switch are in front.
    pub(crate) fn begin_switch(&mut self, in_flight: &mut InFlight) {
        let (None, Some(first)) = (&self.switch, self.waiting.front()) else { return };
        let target = first.burst().needs;
        let mut replies_due = 0;
        let mut ask = |purpose, request: [&str; 2]| {
            let mut bytes = Vec::new();
            write_request(&mut bytes, &request);
            in_flight.push_own(purpose, bytes);
            replies_due += 1;
        };
        if target.protocol != self.state.protocol {
            ask(Purpose::Hello(target.protocol), ["HELLO", &target.protocol.version().to_string()]);
        }
        if target.db != self.state.db {
            ask(Purpose::Select(target.db), ["SELECT", &target.db.to_string()]);
        }
        self.switch = Some(Switch { target, replies_due, refused: None });
    }

    /// Takes in the reply to a request of the worker's own.
    ///
    /// # Errors
    /// The user may change databases no more, and the one in which connections are made is to be had on another alone.
    pub(crate) fn answered(&mut self, answered: &Answered, in_flight: &mut InFlight) -> io::Result<()> {
        let refused = answered.kind == ReplyKind::Error;
        match answered.purpose {
            Purpose::Ping | Purpose::Check | Purpose::Moved => return Ok(()),
            Purpose::Select(db) if refused && db == self.made_in && answered.error_text().starts_with("NOPERM") => {
                return Err(io::Error::other("the upstream refuses to change its database back"));
            }
            Purpose::Hello(protocol) if !refused => self.state.protocol = protocol,
            Purpose::Select(db) if !refused => self.state.db = db,
            Purpose::Hello(_) | Purpose::Select(_) => {}
        }
        let Some(switch) = &mut self.switch else { return Ok(()) };
        switch.replies_due -= 1;
        if refused && switch.refused.is_none() {
            switch.refused = Some(answered.error_text());
        }
        if switch.replies_due == 0 {
            self.end_switch(in_flight);
        }
        Ok(())
    }

    fn end_switch(&mut self, in_flight: &mut InFlight) {
        let Some(Switch { target, refused, .. }) = self.switch.take() else { return };
        for _ in 0..self.waiting.len() {
            let Some(job) = self.waiting.pop_front() else { break };
            let needs = job.burst().needs;
            let refusal = refused.as_ref().filter(|_| needs == target && needs != self.state);
            if refusal.is_none() && needs != self.state {
                self.waiting.push_back(job);
                continue;
            }
            self.requests -= weight(&job);
            self.not_small -= usize::from(is_not_small(&job));
            match refusal {
                Some(text) => job.fail(JobError::StateRefused(Arc::clone(text))),
                None => hand_on(job, in_flight),
            }
        }
    }

    /// Gives up the jobs that wait, which have not been sent.
    pub(crate) fn take_waiting(&mut self) -> impl Iterator<Item = Job> + use<> {
        (self.requests, self.not_small) = (0, 0);
        std::mem::take(&mut self.waiting).into_iter()
    }
}

fn weight(job: &Job) -> usize {
    job.burst().replies_due.max(1) as usize
}

fn is_not_small(job: &Job) -> bool {
    job.burst().expected != Expected::Small
}

/// Has a job written, or answers it if the state is all that it needs.
fn hand_on(job: Job, in_flight: &mut InFlight) {
    if job.burst().replies_due == 0 {
        job.finish();
    } else {
        in_flight.push_job(job);
    }
}
