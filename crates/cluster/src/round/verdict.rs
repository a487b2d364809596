//! What the replies to a piece mean: it has been executed, or not, and then where it is to be sent.

use std::sync::Arc;

use route::replies;
use topology::{Address, Redirection, Refusal};

use crate::round::{
    round::{HOPS_MAX, Round},
    state::{Patience, State},
};

/// The cluster says that it is down, at least in part.
pub(super) const DOWN: &str = "the cluster is down, or no node has the slot";

/// Another node has its slots, which is looked for.
pub(super) const REPLICA: &str = "the node is a replica";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has been executed, or refused for good.
    Done,
    /// It belongs to another node.
    Moved(u16, Address),
    /// It is to be asked for at another node, this time.
    Ask(Address),
    /// It is to be sent again behind the text of its script, which its node does not know.
    Load(Arc<[u8]>),
    /// Its script says what a replica says: if its node is one by now, nothing of it was executed.
    Refused,
    /// It is to be sent again, a little later: a slot is on its way, or no node has it.
    Later(&'static str),
}

impl Verdict {
    /// Scripts say that the node at `from` has refused them for this reason; others have its requests by now if it `is_left`.
    pub(super) fn refused(refusal: Refusal, from: &Address, is_left: bool) -> Self {
        match refusal {
            Refusal::Down => Self::Later(DOWN),
            Refusal::Replica if is_left => Self::Later(REPLICA),
            // Where it was is not known any more.
            Refusal::Replica if from.host.is_empty() => Self::Done,
            Refusal::Replica => Self::Refused,
        }
    }
}

impl Round<'_> {
    /// Whether the scripts among the pieces have been refused that say so: it is, if their nodes turn out to be replicas. Then
    /// they are sent again as a whole. Otherwise those words are their own.
    pub(super) async fn judge(&mut self) {
        let mut judged: Vec<(Address, bool)> = Vec::new();
        for piece in 0..self.states.len() {
            let State::Refused(from, (buffer, begin, end)) = &self.states[piece] else { continue };
            let (from, answer) = (from.clone(), State::Done(*buffer, *begin, *end));
            let is_replaced = match judged.iter().find(|(node, _)| *node == from) {
                Some((_, is_replaced)) => *is_replaced,
                None => self.cluster.is_replaced(&from).await,
            };
            judged.push((from, is_replaced));
            self.hops[piece] += u32::from(is_replaced);
            self.states[piece] = match is_replaced {
                false => answer,
                true if self.hops[piece] <= HOPS_MAX => State::Due,
                true => State::Waits(Patience::for_primary(&self.settings, REPLICA)),
            };
        }
        if !judged.is_empty() {
            self.renew();
        }
    }
}

/// Reads the replies to a piece, `answer`, that came from the node at `from`. `may` tells whether the node may have said that
/// of the piece: a script can say anything.
pub(super) fn verdict(
    answer: &[u8],
    is_transaction: bool,
    from: &Address,
    may: impl Fn(&[u8], &Redirection) -> bool,
) -> Verdict {
    let of = |reply: &[u8]| match Redirection::is_possible(reply) {
        true => of(Redirection::read(reply, from).filter(|said| may(reply, said))),
        false => Verdict::Done,
    };
    if !is_transaction {
        return of(answer);
    }
    // A transaction is executed by its EXEC. If that is refused, it was not, and one of its replies says why.
    let mut found = Verdict::Done;
    let mut last: &[u8] = b"";
    for reply in replies(answer) {
        last = reply;
        if found == Verdict::Done {
            found = match of(reply) {
                // A node does not take in transactions with keys of a slot that is on its way to it.
                Verdict::Ask(_) => Verdict::Later("a slot of the transaction is on its way to another node"),
                other => other,
            };
        }
    }
    let is_refused = last.starts_with(b"-EXECABORT") || of(last) != Verdict::Done;
    if is_refused { found } else { Verdict::Done }
}

fn of(redirection: Option<Redirection>) -> Verdict {
    match redirection {
        None => Verdict::Done,
        Some(Redirection::Moved { slot, to }) => Verdict::Moved(slot, to),
        Some(Redirection::Ask { to, .. }) => Verdict::Ask(to),
        Some(Redirection::TryAgain) => Verdict::Later("its keys are on two nodes, because a slot is on its way"),
        Some(Redirection::Down) => Verdict::Later(DOWN),
        Some(Redirection::ReadOnly) => Verdict::Later(REPLICA),
        Some(Redirection::Loading) => Verdict::Later("the node loads its data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str, is_transaction: bool) -> Verdict {
        verdict(answer.as_bytes(), is_transaction, &Address::new("here", 1), |_, said| {
            said.slot().is_none_or(|slot| slot == 7)
        })
    }

    #[test]
    fn only_what_was_not_executed_is_sent_again() {
        let there = Address::new("h", 2);
        assert_eq!(of("-MOVED 7 h:2\r\n", false), Verdict::Moved(7, there.clone()));
        assert_eq!(of("-ASK 7 h:2\r\n", false), Verdict::Ask(there.clone()));
        assert_eq!(of("-ERR MOVED 7 h:2\r\n", false), Verdict::Done);
        assert_eq!(of("$18\r\n-MOVED 7 h:2\r\n....\r\n", false), Verdict::Done);
        let again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
        assert!(matches!(of(again, false), Verdict::Later(_)));
        let no = "-READONLY You can't write against a read only replica.";
        assert_eq!(of(&format!("{no}\r\n"), false), Verdict::Later(REPLICA));
        assert_eq!(of(&format!("{no} script: 1a2b, on @user_script:1.\r\n"), false), Verdict::Done);
        for of_a_script in ["-TRYAGAIN x\r\n", "-MOVED 8 h:2\r\n", "-ASK 8 h:2\r\n", "-MOVED 7 here:1\r\n"] {
            assert_eq!(of(of_a_script, false), Verdict::Done, "{of_a_script}");
        }
        let aborted = "+OK\r\n-MOVED 7 h:2\r\n-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(of(aborted, true), Verdict::Moved(7, there));
        // The word of a script within a transaction that was executed.
        assert_eq!(of("+OK\r\n+QUEUED\r\n*1\r\n-MOVED 7 h:2\r\n", true), Verdict::Done);
        assert_eq!(of("+OK\r\n-ERR no such command\r\n-EXECABORT x\r\n", true), Verdict::Done);
        assert!(matches!(of(&format!("+OK\r\n+QUEUED\r\n{again}"), true), Verdict::Later(_)));
        assert!(matches!(of("+OK\r\n+QUEUED\r\n-ASK 7 h:2\r\n", true), Verdict::Later(_)));
    }
}
