//! Pieces that a replica may answer: which one is asked, and when the primary is asked after all.

use std::{sync::Arc, time::Duration};

use pool::JobError;
use resp::write_error;

use crate::{
    map::Node,
    replicas::{Choice, Chosen},
    round::{
        round::Round,
        state::{Batch, State, Way},
    },
};

/// How long a node may take for what may be missing.
const OPTIONAL: Duration = Duration::from_secs(1);

impl Round<'_> {
    /// Where a piece goes whose slot `node` has; `None` if it has got an error.
    pub(super) fn way_to(&mut self, at: usize, node: &Arc<Node>) -> Option<Way> {
        let reads = self.reads.filter(|_| self.pieces[at].suits_replica && !self.unanswered.contains(&at));
        let Some(reads) = reads else { return Some(Way::to(node)) };
        if let Some((_, chosen)) = self.chosen.iter().find(|(of, _)| Arc::ptr_eq(of, node)) {
            return Some(
                chosen.as_ref().map_or_else(|| Way::to(node), |one| Way::Replica(Arc::clone(node), one.clone())),
            );
        }
        let chosen = match (reads.choose)(node.address()) {
            Choice::Primary => None,
            Choice::Replica(access) => Some(Chosen::new(access)),
            Choice::Nobody => {
                let mut error = Vec::new();
                write_error(&mut error, reads.nobody);
                self.states[at] = State::Done(self.buffers.len(), 0, error.len());
                self.buffers.push(error);
                self.refused += self.pieces[at].due;
                return None;
            }
        };
        let way = chosen.as_ref().map_or_else(|| Way::to(node), |one| Way::Replica(Arc::clone(node), one.clone()));
        self.chosen.push((Arc::clone(node), chosen));
        Some(way)
    }

    /// How long the node of a batch may take before it is left out, or others are asked, if not as long as any: a replica may
    /// be busy with what would keep the primary as busy, unless that is little work.
    pub(super) fn patience(&self, batch: &Batch) -> Option<Duration> {
        if batch.pieces.iter().all(|(at, _)| self.pieces[*at].is_optional) {
            return Some(OPTIONAL);
        }
        let is_little = batch.pieces.iter().all(|(at, _)| self.pieces[*at].is_fast);
        let is_at_replica = batch.way.replica().is_some();
        self.reads.filter(|_| is_at_replica && is_little && batch.burst.room.is_none()).map(|reads| reads.patience)
    }

    /// The primary is to be asked what a replica had nothing for.
    pub(super) fn ask_primary(&mut self, pieces: &[usize]) {
        self.unanswered.extend(pieces);
        pieces.iter().for_each(|piece| self.states[*piece] = State::Due);
    }
}

/// Whether the primary may be asked for what a replica has failed to answer.
pub(super) fn is_for_primary(failure: &JobError) -> bool {
    matches!(failure, JobError::UpstreamDown(_) | JobError::ConnectionLost { .. } | JobError::StateRefused(_))
}
