//! Which workers there are, by their tasks. Used by the supervisor of a pool.

use std::collections::HashMap;

use tokio::task::Id;

/// The place of each worker, counted from 0, and the task that has it.
#[derive(Debug, Default)]
pub(super) struct Places {
    of_task: HashMap<Id, usize>,
    taken: Vec<bool>,
}

impl Places {
    /// The first places below `target` that nobody has, `most` of them.
    pub(super) fn free(&mut self, target: usize, most: usize) -> Vec<usize> {
        if self.taken.len() < target {
            self.taken.resize(target, false);
        }
        let free = self.taken.iter().take(target).enumerate().filter(|(_, taken)| !**taken);
        free.map(|(place, _)| place).take(most).collect()
    }

    pub(super) fn take(&mut self, place: usize, task: Id) {
        self.taken[place] = true;
        self.of_task.insert(task, place);
    }

    /// The task has ended; the place it had.
    pub(super) fn leave(&mut self, task: Id) -> Option<usize> {
        let place = self.of_task.remove(&task)?;
        self.taken[place] = false;
        Some(place)
    }
}
