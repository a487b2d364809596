//! Batches on their way: their requests are put together, sent all at once, and their replies taken apart.

use std::{collections::HashSet, sync::Arc, time::Duration};

use pool::{Burst, Caller, JobError, Origin, Sent as Reached, Share};
use resp::write_request;
use tokio::time::timeout;
use topology::{Address, Redirection};

use crate::{
    map::CallerOf,
    round::{
        holding::beside,
        keys::{has_slot, may_be_of_node, refusal},
        reading::is_for_primary,
        round::{Round, Text},
        state::{Batch, State, Way},
        unit::{Piece, Sent, Target},
        verdict::{Verdict, verdict},
    },
    taught::text_of_script,
    together::{Running, all},
};

/// Word for word what a node says to `EVALSHA` whose script it does not know: one of Redis, or of Valkey since 8.
const NO_SCRIPT: [&[u8]; 2] =
    [b"-NOSCRIPT No matching script. Please use EVAL.\r\n", b"-NOSCRIPT No matching script.\r\n"];

impl Round<'_> {
    /// Puts the requests of a batch together.
    fn fill(&mut self, batch: &mut Batch, is_only: bool) {
        let burst = &mut batch.burst;
        (burst.needs, burst.read_only, burst.expected) = (self.needs, self.read_only, self.expected);
        let asks = batch.pieces.iter().any(|(_, asking)| *asking);
        let is_bare = !asks && self.loads.is_empty();
        let is_at_replica = batch.way.replica().is_some();
        if is_only && self.is_plain && is_bare && !is_at_replica && batch.pieces.len() == self.pieces.len() {
            burst.requests = std::mem::take(&mut self.requests);
        }
        let is_whole = !burst.requests.is_empty();
        for (at, asking) in &batch.pieces {
            let piece = &self.pieces[*at];
            burst.replies_due += piece.due + u32::from(*asking);
            burst.transaction |= piece.is_transaction;
            for text in self.loads.get(at).into_iter().flatten() {
                burst.replies_due += 1;
                write_request(&mut burst.requests, &[b"SCRIPT", &b"LOAD"[..], text]);
            }
            if *asking {
                write_request(&mut burst.requests, &["ASKING"]);
            }
            match &piece.sent {
                _ if is_whole => {}
                Sent::Client(range) => burst.requests.extend_from_slice(&self.requests[range.clone()]),
                Sent::Own(bytes) => burst.requests.extend_from_slice(bytes),
            }
        }
    }

    /// Has the scripts loaded that these pieces are to be sent behind, for a user who need not have the right to do that.
    async fn load_for(&mut self, batches: &[Batch], user: &mut Caller) {
        for batch in batches {
            let node = match &batch.way {
                Way::Node(node) | Way::Replica(node, _) => Some(&node.address),
                Way::Anchor => self.map.anchor(),
            };
            let mut texts = Vec::new();
            for (piece, _) in &batch.pieces {
                // What is left says that this has been tried.
                texts.append(self.loads.get_mut(piece).unwrap_or(&mut Vec::new()));
            }
            if let Some(node) = node.filter(|_| !texts.is_empty()) {
                self.cluster.load(node, user, &texts).await;
            }
        }
    }

    pub(super) async fn send(&mut self, mut batches: Vec<Batch>, own: &mut Caller, text: Text<'_>) {
        if !self.loads.is_empty() && own.is_guest() {
            // Boxed, because it is rare.
            Box::pin(self.load_for(&batches, own)).await;
        }
        let (runtime, is_only) = (own.runtime(), batches.len() == 1);
        let beside = beside(batches.len());
        for batch in &mut batches {
            self.fill(batch, is_only);
            batch.burst.beside = beside;
        }
        if let Some(first) = batches.first_mut().filter(|_| self.buffers.is_empty()) {
            // What was taken beforehand for replies is in one hand until they are there.
            first.burst.room = self.share.take();
        }
        if let [batch] = &mut batches[..] {
            let patience = self.patience(batch);
            let result = match &batch.way {
                Way::Node(node) => match node.caller(own) {
                    Ok(mut caller) => within(patience, &mut caller, &mut batch.burst).await,
                    Err(failure) => Err(failure),
                },
                Way::Anchor => within(patience, own, &mut batch.burst).await,
                Way::Replica(_, chosen) => {
                    within(patience, &mut chosen.access.caller_on(runtime), &mut batch.burst).await
                }
            };
            if self.requests.is_empty() && batch.pieces.len() == self.pieces.len() {
                self.requests = std::mem::take(&mut batch.burst.requests);
            }
            batches.into_iter().for_each(|batch| self.take(batch, result.as_ref().err().cloned(), text));
            return;
        }
        let patience: Vec<Option<Duration>> = batches.iter().map(|batch| self.patience(batch)).collect();
        let callers = batches.iter_mut().map(|Batch { way, burst, .. }| match way {
            Way::Node(node) => (node.caller(own).map_or_else(Lender::Nobody, Lender::Node), burst),
            Way::Anchor => (Lender::First, burst),
            Way::Replica(_, chosen) => (Lender::Replica(chosen.access.caller_on(runtime)), burst),
        });
        let mut callers: Vec<(Lender<'_>, &mut Burst)> = callers.collect();
        let mut own = Some(own);
        let mut running = Vec::with_capacity(callers.len());
        for ((lender, burst), patience) in callers.iter_mut().zip(patience) {
            let caller: &mut Caller = match lender {
                Lender::Node(caller) => caller,
                Lender::First => own.take().expect("there is one batch at most for the first pool"),
                Lender::Replica(caller) => caller,
                Lender::Nobody(failure) => {
                    running.push(Running::Ended(Err(failure.clone())));
                    continue;
                }
            };
            running.push(Running::new(within(patience, caller, burst)));
        }
        let results = all(running).await;
        drop(callers);
        for (batch, result) in batches.into_iter().zip(results) {
            self.take(batch, result.err(), text);
        }
    }

    /// The text of the script that a piece wants, if a client has loaded it.
    fn text_of_script(&self, piece: usize) -> Option<Arc<[u8]>> {
        let scripts = self.cluster.scripts();
        if self.flushed.is_some_and(|from| piece >= from) {
            return None;
        }
        text_of_script(self.requests_of(&self.pieces[piece].sent), scripts)
    }

    fn requests_of<'a>(&'a self, sent: &'a Sent) -> &'a [u8] {
        match sent {
            Sent::Client(range) => &self.requests[range.clone()],
            Sent::Own(bytes) => bytes,
        }
    }

    /// What these replies to a piece mean, those of the node at `from`, which `is_left` if others have its requests by now.
    fn verdict(&self, piece: usize, answer: &[u8], (from, is_left): (&Address, bool)) -> Verdict {
        let Piece { sent, is_transaction, .. } = &self.pieces[piece];
        let said = verdict(answer, *is_transaction, from, |reply, said| self.may_be_of_node(piece, reply, said));
        let refusal = || {
            let last = if *is_transaction { route::replies(answer).last()? } else { answer };
            refusal(self.requests_of(sent), last, &self.map.commands)
        };
        match said {
            Verdict::Done => refusal().map_or(Verdict::Done, |refusal| Verdict::refused(refusal, from, is_left)),
            said => said,
        }
    }

    /// Whether a node may have said this of a piece. Each argument may be a key: of a command that is not known, and of one in
    /// which the node finds others than its own description of the command says.
    fn may_be_of_node(&self, piece: usize, reply: &[u8], said: &Redirection) -> bool {
        let Piece { target, sent, is_transaction, .. } = &self.pieces[piece];
        let requests = self.requests_of(sent);
        let has_slot = |slot| *target == Target::Slot(slot) || has_slot(requests, slot);
        said.slot().is_none_or(has_slot) && (*is_transaction || may_be_of_node(requests, reply, &self.map.commands))
    }

    /// Which node a batch has been at.
    fn from(&self, way: &Way) -> Address {
        let from = match way {
            Way::Node(node) | Way::Replica(node, _) => Some(&node.address),
            // The first pool may have gone elsewhere meanwhile, with what was not sent yet.
            Way::Anchor => self.map.anchor().filter(|anchor| self.cluster.is_seated_at(anchor)),
        };
        from.cloned().unwrap_or_else(|| Address::new("", 0))
    }

    /// Takes in what has come of a batch.
    pub(super) fn take(&mut self, batch: Batch, failure: Option<JobError>, text: Text<'_>) {
        let Batch { way, pieces, burst } = batch;
        Share::add(&mut self.share, burst.room);
        let (buffer, bytes) = (self.buffers.len(), burst.replies);
        let is_all = pieces.len() == 1 || (self.is_plain && pieces.len() == self.pieces.len());
        let is_bare = self.loads.is_empty() && pieces.iter().all(|(_, asking)| !asking);
        let replica = way.replica();
        let is_without_error = burst.errors == 0 && !burst.transaction;
        if is_all && is_bare && replica.is_none() && failure.is_none() && is_without_error {
            // Of one piece, or of all in their order: which reply is whose need not be known, and the first has them all.
            let end = bytes.len();
            pieces.iter().for_each(|(piece, _)| self.states[*piece] = State::Done(buffer, end, end));
            self.states[pieces[0].0] = State::Done(buffer, 0, end);
            self.buffers.push(bytes);
            return;
        }
        let (from, is_left) = (self.from(&way), burst.origin.as_ref().is_some_and(Origin::is_left));
        let (mut end, mut left, mut done) = (0, Vec::new(), Vec::with_capacity(pieces.len()));
        {
            let mut replies = route::replies(&bytes);
            let mut skip = |count: u32| {
                let is_whole = (0..count).all(|_| replies.next().map(|reply| end += reply.len()).is_some());
                (is_whole, end)
            };
            for (piece, asking) in pieces.iter().copied() {
                let Piece { due, is_transaction, .. } = self.pieces[piece];
                let loads = self.loads.get(&piece).map_or(0, |texts| u32::try_from(texts.len()).unwrap_or(u32::MAX));
                let (has_asked, begin) = skip(loads + u32::from(asking));
                let (is_whole, end) = skip(due);
                if !has_asked || !is_whole {
                    left.push(piece);
                    continue;
                }
                if replica.is_some_and(|replica| !replica.counts(&bytes[begin..end])) {
                    self.ask_primary(&[piece]);
                    continue;
                }
                let said = match burst.errors {
                    // Those within the reply to EXEC are not counted.
                    0 if !is_transaction => Verdict::Done,
                    _ if !self.loads.contains_key(&piece) && NO_SCRIPT.contains(&&bytes[begin..end]) => {
                        self.text_of_script(piece).map_or(Verdict::Done, Verdict::Load)
                    }
                    _ => self.verdict(piece, &bytes[begin..end], (&from, is_left)),
                };
                done.push((piece, said, (buffer, begin, end)));
            }
        }
        self.buffers.push(bytes);
        // What was executed behind a script that its node did not know, or refused, must not be overtaken.
        let mut executed = HashSet::new();
        for (piece, said, _) in done.iter_mut().rev() {
            let target = self.pieces[*piece].target;
            if matches!(said, Verdict::Load(_) | Verdict::Refused) && executed.contains(&target) {
                *said = Verdict::Done;
            }
            if *said == Verdict::Done {
                executed.insert(target);
            }
        }
        for (piece, said, answer) in done {
            self.states[piece] = self.follow(piece, (said, &from), answer);
        }
        if let Some(failure) = failure {
            match &way {
                Way::Replica(..) if is_for_primary(&failure) => self.ask_primary(&left),
                Way::Replica(..) | Way::Node(_) | Way::Anchor => self.fail(&left, &failure, text),
            }
        }
    }
}

/// Who sends a batch.
enum Lender<'n> {
    Node(CallerOf<'n>),
    /// The session's own caller, which is one of the first pool.
    First,
    /// One of a replica.
    Replica(Caller),
    /// There is no way for this user.
    Nobody(JobError),
}

/// Has a burst executed; one that only reads is given up after a while.
async fn within(patience: Option<Duration>, caller: &mut Caller, burst: &mut Burst) -> Result<(), JobError> {
    let Some(patience) = patience else { return caller.execute(burst).await };
    timeout(patience, caller.execute(burst))
        .await
        .unwrap_or_else(|_| Err(JobError::ConnectionLost { reason: "the node is silent".into(), sent: Reached::Maybe }))
}
