//! One setting of the pool, the few values that are tried, and which settings lie beside another.

use std::fmt;

use serde::Serialize;

/// Values of `pool.workers`: doubling, because a step that is smaller changes less than a machine's noise.
const WORKERS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Values of `pool.pipeline_depth`: powers of four, for the same reason.
const DEPTHS: [u32; 7] = [16, 64, 256, 1_024, 4_096, 16_384, 65_536];
/// What is measured first: far enough apart to show where the answer lies.
const BRACKET_WORKERS: [u32; 3] = [1, 4, 16];
const BRACKET_DEPTHS: [u32; 3] = [16, 256, 4_096];
/// respool's own default: kept when the depth makes no difference.
pub const DEPTH_DEFAULT: u32 = 1_024;

/// One setting of the pool. The order is that of size: threads cost most, then connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Point {
    /// `runtime.threads`
    pub threads: u32,
    /// `pool.workers`
    pub workers: u32,
    /// `pool.pipeline_depth`
    pub depth: u32,
}

/// The settings that are measured first.
pub fn bracket() -> Vec<Point> {
    let of = |workers| BRACKET_DEPTHS.map(|depth| Point { threads: 1, workers, depth });
    BRACKET_WORKERS.into_iter().flat_map(of).collect()
}

impl Point {
    /// Whether no smaller depth is tried.
    pub fn has_least_depth(self) -> bool {
        self.depth == DEPTHS[0]
    }

    /// The settings beside this one; `threads_max` bounds the threads. Fewer workers may need a larger depth,
    /// and a further thread further connections, so that these are changed together too.
    pub fn neighbours(self, threads_max: u32) -> Vec<Self> {
        let mut points: Vec<_> = beside(&DEPTHS, self.depth).map(|depth| Self { depth, ..self }).collect();
        points.push(Self { depth: DEPTH_DEFAULT, ..self });
        for workers in beside(&WORKERS, self.workers) {
            points.extend([self.depth, DEPTH_DEFAULT].map(|depth| Self { workers, depth, ..self }));
        }
        for threads in [self.threads - 1, self.threads + 1] {
            points.extend([1, 2].map(|times| Self { threads, workers: self.workers * times, ..self }));
        }
        // Each thread has workers of its own.
        let is_meant = |point: &Self| (1..=threads_max.min(point.workers)).contains(&point.threads);
        points.retain(|point| *point != self && is_meant(point));
        points.sort_unstable();
        points.dedup();
        points
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "threads {}, workers {}, pipeline_depth {}", self.threads, self.workers, self.depth)
    }
}

/// The values before and behind `value`.
fn beside(values: &[u32], value: u32) -> impl Iterator<Item = u32> {
    let below = values.iter().copied().filter(|other| *other < value).max();
    let above = values.iter().copied().filter(|other| *other > value).min();
    below.into_iter().chain(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_close() {
        let point = Point { threads: 1, workers: 1, depth: 64 };
        let found: Vec<_> =
            point.neighbours(2).iter().map(|point| (point.threads, point.workers, point.depth)).collect();
        assert_eq!(found, [(1, 1, 16), (1, 1, 256), (1, 1, 1_024), (1, 2, 64), (1, 2, 1_024), (2, 2, 64)]);
        assert!(Point { depth: 16, ..point }.has_least_depth());
    }
}
