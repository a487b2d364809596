//! A request with keys of several slots, split: which keys go together, and what is sent for them.

use resp::{Request, write_array, write_bulk};

use crate::{
    command::Command,
    keys::{Begin, Find, Keys},
    slot::slot,
};

/// Keys of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Their slot.
    pub slot: u16,
    /// Where they stand in [`Plan::order`].
    keys: std::ops::Range<usize>,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The parts; together they have every key once, those of one part in the order of the request. Where the last key
    /// lacks what belongs to it, that is the only part.
    pub parts: Vec<Part>,
    /// For each key of each part in turn its place among the keys of the request.
    order: Vec<u32>,
    first: usize,
    step: usize,
    end: usize,
}

impl Part {
    /// Whether it has more than one key.
    pub fn has_several_keys(&self) -> bool {
        self.keys.len() > 1
    }
}

impl Plan {
    /// Splits a request of this command by slot; `None` if it is not one to be split.
    pub fn of(command: &Command, request: &Request<'_>) -> Option<Self> {
        let Keys::Specs(specs) = &command.keys else { return None };
        let [spec] = &specs[..] else { return None };
        let (Begin::Index(_), Find::Range { .. }) = (&spec.begin, spec.find) else { return None };
        let found = spec.find(request).ok().flatten()?;
        let mut keys: Vec<(u16, u32)> = Vec::with_capacity((found.last - found.first) / found.step + 1);
        for (place, at) in found.indices().enumerate() {
            keys.push((slot(request.arg(at)?), u32::try_from(place).ok()?));
        }
        let end = (found.first + keys.len() * found.step).min(request.len());
        if end < found.first + keys.len() * found.step {
            // What belongs to the last key is missing: a node has the words for that, and nothing is to be executed.
            keys.drain(..keys.len() - 1);
        }
        keys.sort_unstable();
        let mut parts: Vec<Part> = Vec::new();
        for (at, (slot, _)) in keys.iter().enumerate() {
            match parts.last_mut() {
                Some(part) if part.slot == *slot => part.keys.end = at + 1,
                _ => parts.push(Part { slot: *slot, keys: at..at + 1 }),
            }
        }
        let order = keys.into_iter().map(|(_, place)| place).collect();
        Some(Self { parts, order, first: found.first, step: found.step, end })
    }

    /// For each key of each part in turn its place among the keys of the request; see [`merge`](crate::merge).
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Appends the request for one part to `out`: what stands before the keys, its keys with what belongs to each, and
    /// what stands behind the keys. `request` is the one of which this is the plan.
    pub fn write(&self, part: &Part, request: &Request<'_>, out: &mut Vec<u8>) {
        let keys = &self.order[part.keys.clone()];
        let arg = |at: usize| request.arg(at).unwrap_or_default();
        let group = |place: &u32| {
            let from = self.first + *place as usize * self.step;
            from..(from + self.step).min(self.end)
        };
        let grouped: usize = keys.iter().map(|place| group(place).len()).sum();
        write_array(out, self.first + grouped + (request.len() - self.end));
        (0..self.first).for_each(|at| write_bulk(out, arg(at)));
        keys.iter().flat_map(group).for_each(|at| write_bulk(out, arg(at)));
        (self.end..request.len()).for_each(|at| write_bulk(out, arg(at)));
    }
}
