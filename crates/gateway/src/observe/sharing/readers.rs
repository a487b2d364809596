//! Which replicas may have reads now, and which commands are reads. Written by those who follow the topology, looked
//! at for each burst where reads need not go to the primary.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use cluster::Choice;
use pool::Access;
use settings::{ReadSettings, Reads};

use crate::command::told::read_only::ReadOnly;

/// Nodes whose answers take as long, give or take this, are equally near.
const NEAR: Duration = Duration::from_micros(200);

/// A replica that follows the primary.
// Open: a plain value, put together by whoever follows the topology.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) access: Access,
    /// It has every write that the primary had acknowledged by then.
    pub(crate) caught_up: Instant,
    /// How long its answers take.
    pub(crate) round_trip: Duration,
}

/// What is known now.
// Open: as above.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The upstream's own words for it, once it has said them.
    pub(crate) commands: Option<Arc<ReadOnly>>,
    /// In the order of their addresses.
    pub(crate) replicas: Vec<Reader>,
    /// How long the primary's answers take.
    pub(crate) round_trip: Option<Duration>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Readers(RwLock<Arc<Known>>);

impl Readers {
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut known));
    }
}

impl Known {
    /// Where a read of the client with this number goes, who wrote last at `wrote`. One client stays with one replica
    /// as long as that may have its reads, so that it does not see the past after the present.
    pub(crate) fn choose(&self, by: ReadSettings, client: u64, wrote: Option<Instant>, now: Instant) -> Choice {
        if wrote.is_some_and(|wrote| now < wrote + by.own_writes) {
            return Choice::Primary;
        }
        let keeps_up = |reader: &&Reader| now < reader.caught_up + by.lag_max && reader.access.is_connected();
        let has_own = |reader: &&Reader| wrote.is_none_or(|wrote| reader.caught_up > wrote);
        let mut chosen: Vec<&Reader> = self.replicas.iter().filter(keeps_up).collect();
        if chosen.is_empty() && by.reads == Reads::Replica {
            return Choice::Nobody;
        }
        chosen.retain(has_own);
        // What was said of a replica before the last connection to it was opened may be of one that has been restarted.
        chosen.retain(|reader| reader.access.connected_at() < reader.caught_up);
        if by.reads == Reads::Nearest {
            let nearest = chosen.iter().map(|reader| reader.round_trip).min().unwrap_or(Duration::MAX);
            let primary = self.round_trip.unwrap_or(Duration::MAX);
            if primary.saturating_add(NEAR) < nearest {
                return Choice::Primary;
            }
            chosen.retain(|reader| reader.round_trip <= nearest.min(primary).saturating_add(NEAR));
        }
        let number = usize::try_from(client).unwrap_or_default();
        let index = number.checked_rem(chosen.len());
        index.map_or(Choice::Primary, |index| Choice::Replica(chosen[index].access.clone()))
    }
}
