//! What is believed of a cluster, given what its nodes say, in whatever order that comes: the views of single nodes, of
//! which some know less than others, and their words about single slots, which may be newer than a view that comes later.

use std::collections::BTreeMap;

use crate::{
    Address,
    cluster::{answer::View, layout::Layout},
};

/// After so many looks in a row at which all views seem to be old they are no longer taken for old: the cluster was made
/// anew.
const OLD_LOOKS_MAX: u32 = 3;

/// When something was heard. Rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Heard(u64);

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct Belief {
    layout: Layout,
    epoch: u64,
    now: Heard,
    /// Slots of which a node has said that another one has them, since the last view was asked for.
    moved: BTreeMap<u16, (Address, Heard)>,
    old_looks: u32,
    /// The look at hand is counted among them.
    is_counted: bool,
}

impl Belief {
    /// Goes on from what was believed.
    pub fn of(layout: Layout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// What is gone by.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Nodes are about to be asked for their views, one or several.
    pub fn looks(&mut self) {
        self.is_counted = false;
    }

    /// A node is about to be asked for its view: what is heard from now on is newer.
    pub fn asks(&self) -> Heard {
        self.now
    }

    /// The answer to that has come. False if it is older than what is known, and not believed.
    pub fn views(&mut self, asked: Heard, view: View) -> bool {
        let View { mut layout, epoch, failing: _ } = view;
        if epoch < self.epoch && (self.is_counted || self.old_looks < OLD_LOOKS_MAX) {
            self.old_looks += u32::from(!std::mem::replace(&mut self.is_counted, true));
            return false;
        }
        self.old_looks = 0;
        self.epoch = epoch;
        self.moved.retain(|_, (_, heard)| *heard > asked);
        for (slot, (to, _)) in &self.moved {
            if layout.primary_of(*slot) != Some(to) {
                layout = layout.moved(*slot, to);
            }
        }
        self.take(layout);
        true
    }

    /// A node has said that another one has the slot. False if that one does not belong to the cluster as far as is
    /// known, or nothing is new.
    pub fn moved(&mut self, slot: u16, to: &Address) -> bool {
        self.now.0 += 1;
        if !self.layout.has(to) {
            return false;
        }
        self.moved.insert(slot, (to.clone(), self.now));
        if self.layout.primary_of(slot) == Some(to) {
            return false;
        }
        self.take(self.layout.moved(slot, to));
        true
    }

    fn take(&mut self, layout: Layout) {
        let generation = self.layout.generation;
        if generation == 0 || !layout.is_like(&self.layout) {
            self.layout = layout;
            self.layout.generation = generation + 1;
        }
    }
}
