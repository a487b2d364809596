//! How many requests of one client go into one burst: few at first, more while replies are cheap,
//! fewer when they are large. A policy without state of the outside.

/// Requests of the first burst of a session, when nothing is known about its replies: many clients may
/// ask for megabytes at the same moment.
const FIRST: usize = 1;

/// How much a burst may grow over the last one.
const GROWTH: usize = 4;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    requests: usize,
    /// What a reply cost in the last burst, in bytes.
    per_request: usize,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { requests: FIRST, per_request: 0 }
    }

    /// Requests that the next burst may have.
    pub(crate) fn requests(self, max: usize) -> usize {
        self.requests.min(max)
    }

    /// Bytes that the replies to a burst of `requests` can be expected to have.
    pub(crate) fn expected(self, requests: usize) -> usize {
        self.per_request.saturating_mul(requests)
    }

    /// Learns from a burst of `requests` whose replies had `bytes`; `target` is what they should cost.
    pub(crate) fn learn(&mut self, requests: usize, bytes: usize, target: usize, max: usize) {
        self.per_request = bytes / requests.max(1) + 1;
        let affordable = (target / self.per_request).max(1);
        self.requests = affordable.min(self.requests.saturating_mul(GROWTH)).min(max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_while_cheap_and_follows_the_cost_at_once() {
        let (target, max) = (1 << 20, 128);
        let mut window = Window::new();
        for expected in [4, 16, 64, 128, 128] {
            window.learn(window.requests(max), 100, target, max);
            assert_eq!(window.requests(max), expected);
        }
        window.learn(128, 128 << 20, target, max);
        assert_eq!(window.requests(max), 1);
        window.learn(1, 0, target, max);
        assert_eq!(window.requests(max), GROWTH, "trust returns step by step");
    }
}
