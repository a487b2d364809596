//! What is left to do when the upstream has executed a transaction: account is taken of what its requests have
//! changed, and the gateway's own replies take the place of those to its placeholders.

use pool::Facts;
use resp::write_integer;

use crate::{
    exclusive::{
        lending::Lending,
        placeholder::{self, Noted},
    },
    local_reply::{
        requester::{NextStep, Requester},
        session_commands,
    },
};

/// Settles a transaction whose reply to `EXEC` begins at `at` in `output`.
pub(super) fn settle(
    lending: &mut Lending,
    mut requester: Requester<'_>,
    facts: &Facts,
    output: &mut Vec<u8>,
    at: usize,
) {
    let queued = std::mem::take(&mut lending.queued);
    let settled = queued.settle(&output[at..], |noted, reply, out| match noted {
        Noted::Change(change) => {
            if let Some(db) = lending.executed(change, reply) {
                requester.state.needs.db = db;
            }
            out.extend_from_slice(reply);
        }
        Noted::Answer(request) => {
            let (mut then, before) = (None, out.len());
            placeholder::answer(&request, &mut requester, out, |step, _| then = Some(step));
            if let Some(NextStep::Hello(hello)) = then {
                session_commands::greet(hello, facts, &mut requester, out);
            } else if out.len() == before {
                // CLIENT REPLY OFF has no reply and CLIENT UNBLOCK nobody to unblock; the array needs an item.
                write_integer(out, 0);
            }
        }
    });
    if let Some(settled) = settled {
        output.truncate(at);
        output.extend_from_slice(&settled);
    }
}
