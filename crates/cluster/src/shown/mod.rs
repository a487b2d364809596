//! What nodes say of themselves, shown as what one Redis says that stands alone: `INFO` (`totals`, `memory`), the slow log, what is
//! known of latencies, and the words about a cluster (`standalone`).

pub(crate) mod latency;
mod memory;
pub(crate) mod slow_log;
pub(crate) mod standalone;
mod totals;

use resp::{Decoded, RequestDecoder, RequestLimits, write_request};
use route::{Commands, Reach};

pub(crate) use totals::are_counted;

/// Whether all nodes execute, and so count, each request that begins with these words.
pub(crate) fn is_of_all(words: &[&[u8]], commands: &Commands) -> bool {
    let (mut bytes, mut decoder) = (Vec::new(), RequestDecoder::new(RequestLimits::accepted()));
    write_request(&mut bytes, words);
    let is_request = matches!(decoder.decode(&bytes), Ok(Decoded::Request { .. }));
    let command = || commands.find(&decoder.request(&bytes)).map(|command| command.reach());
    is_request && matches!(command(), Some(Reach::Everywhere(_)))
}
