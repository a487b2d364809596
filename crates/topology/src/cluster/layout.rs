//! Which shards there are and which slots each has: the one value that is gone by.

use std::collections::BTreeSet;

use crate::Address;

/// How many slots a cluster has.
const SLOTS: usize = 16_384;

/// So many slots are a block. Most blocks have one owner: those of blocks stay in a cache in which those of slots do not.
const BLOCK: usize = 64;
const BLOCKS: usize = SLOTS / BLOCK;

/// Marks a slot that no shard has, and a block whose slots several have.
const NONE: u16 = u16::MAX;
const SEVERAL: u16 = u16::MAX - 1;

/// A primary with its replicas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// The node that gets the writes.
    pub primary: Address,
    /// Those that follow it.
    pub replicas: Vec<Address>,
}

/// See the module's documentation. Two with the same generation are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rises with every change; 0 while nothing is known.
    pub generation: u64,
    /// By their first slot.
    shards: Vec<Shard>,
    /// For each slot the place of its shard.
    owners: Box<[u16]>,
    /// The same for each block.
    of_blocks: [u16; BLOCKS],
    /// All nodes that belong to the cluster, with or without slots.
    members: BTreeSet<Address>,
}

impl Default for Layout {
    fn default() -> Self {
        let (owners, of_blocks) = (vec![NONE; SLOTS].into(), [NONE; BLOCKS]);
        Self { generation: 0, shards: Vec::new(), owners, of_blocks, members: BTreeSet::new() }
    }
}

impl Layout {
    /// Of shards with the first and the last slot of each of their ranges, and further nodes. What is no slot is left
    /// out.
    pub fn new(
        shards: impl IntoIterator<Item = (Shard, Vec<(u16, u16)>)>,
        members: impl IntoIterator<Item = Address>,
    ) -> Self {
        let mut layout = Self { members: members.into_iter().collect(), ..Self::default() };
        for (shard, ranges) in shards {
            let place = layout.place(&shard.primary, || shard.replicas.clone());
            for (first, last) in ranges {
                let last = usize::from(last).min(SLOTS - 1);
                if let Some(owners) = layout.owners.get_mut(usize::from(first)..=last) {
                    owners.fill(place);
                }
            }
        }
        layout.order();
        layout
    }

    /// The shards, by their first slot.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Which of the [`shards`](Self::shards) has this slot.
    pub fn shard_of(&self, slot: u16) -> Option<usize> {
        let place = match *self.of_blocks.get(usize::from(slot) / BLOCK)? {
            SEVERAL => *self.owners.get(usize::from(slot))?,
            place => place,
        };
        (place != NONE).then_some(usize::from(place))
    }

    /// The primary that has this slot.
    pub fn primary_of(&self, slot: u16) -> Option<&Address> {
        Some(&self.shards[self.shard_of(slot)?].primary)
    }

    /// The first slot of a shard.
    pub fn first_slot(&self, shard: usize) -> Option<u16> {
        let at = self.owners.iter().position(|owner| usize::from(*owner) == shard)?;
        u16::try_from(at).ok()
    }

    /// How many slots a shard has.
    pub fn slots(&self, shard: usize) -> usize {
        self.owners.iter().filter(|owner| usize::from(**owner) == shard).count()
    }

    /// Slots that no shard has.
    pub fn uncovered(&self) -> usize {
        self.owners.iter().filter(|owner| **owner == NONE).count()
    }

    /// Whether a node belongs to the cluster.
    pub fn has(&self, node: &Address) -> bool {
        self.members.contains(node)
    }

    /// All nodes that belong to the cluster.
    pub fn members(&self) -> impl Iterator<Item = &Address> {
        self.members.iter()
    }

    /// The same where another node has the slot.
    pub fn moved(&self, slot: u16, to: &Address) -> Self {
        let mut layout = self.clone();
        let place = layout.place(to, Vec::new);
        if let Some(owner) = layout.owners.get_mut(usize::from(slot)) {
            *owner = place;
        }
        layout.order();
        layout
    }

    /// Equal but for the generation.
    pub fn is_like(&self, other: &Self) -> bool {
        (&self.shards, &self.owners, &self.members) == (&other.shards, &other.owners, &other.members)
    }

    /// The place of the shard of this primary, which gets one if it has none.
    fn place(&mut self, primary: &Address, replicas: impl FnOnce() -> Vec<Address>) -> u16 {
        let known = self.shards.iter().position(|shard| shard.primary == *primary);
        let place = known.unwrap_or_else(|| {
            let replicas = replicas();
            self.members.extend(replicas.iter().cloned());
            self.members.insert(primary.clone());
            self.shards.push(Shard { primary: primary.clone(), replicas });
            self.shards.len() - 1
        });
        // A cluster has a thousand nodes at most.
        u16::try_from(place).unwrap_or(NONE)
    }

    /// Brings the shards into the order of their first slots, leaves those out that have none, and notes whose blocks are.
    fn order(&mut self) {
        let mut places = vec![NONE; self.shards.len()];
        let mut next = 0;
        for owner in &mut self.owners {
            let Some(place) = places.get_mut(usize::from(*owner)) else { continue };
            if *place == NONE {
                *place = next;
                next += 1;
            }
            *owner = *place;
        }
        let shards = std::mem::take(&mut self.shards);
        let mut placed: Vec<(u16, Shard)> = places.into_iter().zip(shards).collect();
        placed.retain(|(place, _)| *place != NONE);
        placed.sort_unstable();
        self.shards = placed.into_iter().map(|(_, shard)| shard).collect();
        for (of_block, owners) in self.of_blocks.iter_mut().zip(self.owners.chunks_exact(BLOCK)) {
            *of_block = if owners.iter().all(|owner| *owner == owners[0]) { owners[0] } else { SEVERAL };
        }
    }
}
