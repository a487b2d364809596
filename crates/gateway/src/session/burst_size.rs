//! How many requests of one client go into one burst: few at first, more while replies are cheap,
//! fewer when they are large. A policy without state of the outside.

use pool::Expected;

/// Requests of the first burst of a session, when nothing is known about its replies: many clients may
/// ask for megabytes at the same moment.
const FIRST: u32 = 1;

/// How much a burst may grow over the last one.
const GROWTH: u32 = 4;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    requests: u32,
    /// What a reply cost in the last burst, in bytes, as far as it can be counted.
    per_request: u32,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { requests: FIRST, per_request: 0 }
    }

    /// Requests that the next burst may have.
    pub(crate) fn requests(self, max: usize) -> usize {
        (self.requests as usize).min(max)
    }

    /// Bytes that the replies to a burst of `requests` can be expected to have.
    pub(crate) fn expected(self, requests: usize) -> usize {
        (self.per_request as usize).saturating_mul(requests)
    }

    /// The same as the pool wants to know it.
    pub(crate) fn expects(self, bytes: usize) -> Expected {
        Expected::of((self.per_request > 0).then_some(bytes))
    }

    /// Learns from a burst of `requests` whose replies had `bytes`; `target` is what they should cost.
    pub(crate) fn learn(&mut self, requests: usize, bytes: usize, target: usize, max: usize) {
        self.per_request = narrow(bytes / requests.max(1) + 1);
        self.grow(target, max);
    }

    /// Grows without having learned anything, so that a client does not wait as often in vain as it has sent requests.
    pub(crate) fn grow(&mut self, target: usize, max: usize) {
        let affordable = (target / (self.per_request as usize).max(1)).max(1);
        self.requests = self.requests.saturating_mul(GROWTH).min(narrow(affordable.min(max)));
    }
}

/// As much of it as is counted, since each session holds such numbers.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
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
        assert_eq!(window.requests(max), GROWTH as usize, "trust returns step by step");
    }

    #[test]
    fn nothing_is_known_after_bursts_that_were_not_executed() {
        let (target, max) = (1 << 20, 128);
        let mut window = Window::new();
        for expected in [4, 16, 64, 128, 128] {
            window.grow(target, max);
            assert_eq!((window.requests(max), window.expects(0)), (expected, Expected::Unknown));
        }
        window.learn(1, 1 << 19, target, max);
        window.grow(target, max);
        assert_eq!((window.requests(max), window.expects(1 << 19)), (1, Expected::Large));
    }
}
