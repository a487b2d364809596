//! Jobs whose replies may be large, and that wait until fewer such are in flight on their connection.
//!
//! The one that came first and the one that came last take turns: whoever comes while a crowd waits for megabytes is
//! not the last of all, and no one of the crowd waits for ever.

use std::collections::VecDeque;

use crate::queue::job::Job;

/// See the module's documentation. Bounded as what is in flight on the connection is, as a part of it.
#[derive(Debug, Default)]
pub(super) struct Aside {
    jobs: VecDeque<Job>,
    /// It is the turn of the one that came last.
    from_the_end: bool,
}

impl Aside {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// The one whose turn it is.
    pub(super) fn next(&self) -> Option<&Job> {
        if self.from_the_end { self.jobs.back() } else { self.jobs.front() }
    }

    /// Takes that one.
    pub(super) fn take(&mut self) -> Option<Job> {
        let job = if self.from_the_end { self.jobs.pop_back() } else { self.jobs.pop_front() };
        self.from_the_end = !self.from_the_end;
        job
    }

    /// All of them, in the order in which they came.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Job> + use<> {
        std::mem::take(&mut self.jobs).into_iter()
    }
}
