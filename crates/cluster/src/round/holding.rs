//! The replies to a burst while they are held and put together: their parts and the whole count as replies of one node do,
//! against the bounds that all clients have in common.

use pool::{Burst, Caller, REPLY_FREE_BYTES};

use crate::round::{
    answer,
    round::{Round, Text},
    state::State,
    unit::Unit,
};

/// What counts for each of so many bursts that are out together as if it were a reply: they have what is free of one.
pub(crate) fn beside(bursts: usize) -> usize {
    REPLY_FREE_BYTES - REPLY_FREE_BYTES / bursts.max(1)
}

/// The replies of a burst are there, and nothing else that it has room for.
pub(super) fn hold_only(burst: &mut Burst) {
    if let Some(room) = &mut burst.room {
        room.shrink(burst.replies.len().saturating_sub(REPLY_FREE_BYTES));
    }
}

impl Round<'_> {
    /// Makes the replies of the burst.
    pub(super) async fn make_replies(&mut self, units: &[Unit], caller: &Caller, text: Text<'_>, burst: &mut Burst) {
        burst.replies.clear();
        match self.only_buffer() {
            Some(buffer) => burst.replies = std::mem::take(&mut self.buffers[buffer]),
            None => {
                let held = self.held();
                self.hold(held, caller, text).await;
                self.answer(units, &mut burst.replies);
            }
        }
        self.buffers = Vec::new();
        burst.room = self.share.take();
        hold_only(burst);
    }

    /// Bytes of replies that are there.
    fn held(&self) -> usize {
        self.buffers.iter().map(Vec::len).sum()
    }

    /// Has room for all replies that are there, and for as many bytes that will be `made` of them. If there is none, they are
    /// given up, and the requests whose replies they are get errors.
    pub(super) async fn hold(&mut self, made: usize, caller: &Caller, text: Text<'_>) {
        let held = self.held();
        if held <= REPLY_FREE_BYTES {
            return;
        }
        // Boxed, because it is rare.
        let Err(failure) = Box::pin(caller.make_room(&mut self.share, held, made)).await else { return };
        self.buffers.clear();
        for piece in 0..self.pieces.len() {
            if matches!(self.states[piece], State::Done(..)) {
                self.end(piece, &failure, text);
            }
        }
    }

    /// The buffer that has all replies, if they came from one node, in one piece and in order.
    fn only_buffer(&self) -> Option<usize> {
        let [State::Done(buffer, 0, end), rest @ ..] = &self.states[..] else { return None };
        let is_only = self.is_plain
            && *end == self.buffers[*buffer].len()
            && rest.iter().all(|state| matches!(state, State::Done(of, ..) if of == buffer));
        is_only.then_some(*buffer)
    }

    fn answer(&self, units: &[Unit], out: &mut Vec<u8>) {
        let answers = self.states.iter().map(|state| match state {
            State::Done(buffer, from, to) => &self.buffers[*buffer][*from..*to],
            State::Due | State::To(..) | State::Waits(..) | State::Stuck(..) | State::Refused(..) => &[][..],
        });
        let (answers, random): (Vec<&[u8]>, u64) = (answers.collect(), fastrand::u64(..));
        for unit in units {
            let at = out.len();
            let only_reads = self.pieces[unit.pieces.clone()].iter().all(|piece| piece.only_reads);
            answer::write(unit, only_reads, &answers[unit.pieces.clone()], &self.map.layout, random, out);
            if !unit.scripts.is_empty() {
                let is_transaction = self.pieces[unit.pieces.clone()].iter().any(|piece| piece.is_transaction);
                let executed = answer::executed(&out[at..], is_transaction);
                let said = |place: &usize| executed.get(*place).copied().flatten();
                let taught = unit.scripts.iter().filter_map(|(place, taught)| Some((taught, said(place)?)));
                taught.for_each(|(taught, reply)| self.cluster.learn(taught, reply));
            }
        }
    }
}
