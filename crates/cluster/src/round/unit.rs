//! The requests of a burst, read: each is a unit with one or several replies, and for each there are pieces, each of
//! which goes to one node.

use std::{cell::LazyCell, collections::HashMap, ops::Range, sync::Arc};

use pool::Ours;
use resp::{Decoded, Request, RequestDecoder, RequestLimits, write_request};
use route::{Command, Commands, Cursor, Merge, Plan, Route};

use crate::{
    hints::Hints,
    map::Map,
    round::keys::fault_within,
    scripts::Scripts,
    shown::{are_counted, latency, slow_log, standalone::NO_CLUSTER},
    taught::{Taught, texts_of_scripts},
};

/// Redis has no such command, and refuses a transaction that holds it.
const REFUSED: &str = "RESPOOL.NOT.IN.TRANSACTION";

/// Where a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// The shard that has this slot.
    Slot(u16),
    /// The node to which all goes that belongs to no slot.
    Anchor,
}

impl Target {
    /// Where a piece goes that any node may have, and that is likely to use what is in a slot. At the anchor it is in one row
    /// with all else that goes there.
    fn near(hint: Option<u16>, map: &Map) -> Self {
        let elsewhere = hint.filter(|slot| map.node_of(*slot).is_some_and(|node| !node.is_first));
        elsewhere.map_or(Self::Anchor, Self::Slot)
    }
}

/// The bytes of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// A part of what the client has sent.
    Client(Range<usize>),
    /// Made here.
    Own(Vec<u8>),
}

/// What goes to one node.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) target: Target,
    pub(super) sent: Sent,
    /// Replies that come.
    pub(super) due: u32,
    /// It is a transaction, which is executed as a whole or not at all.
    pub(super) is_transaction: bool,
    /// It changes nothing.
    pub(super) only_reads: bool,
    /// A replica may answer it.
    pub(super) suits_replica: bool,
    /// It costs its node no time worth mentioning.
    pub(super) is_fast: bool,
    /// Its reply may be missing where others come: a node that does not answer is not waited for.
    pub(super) is_optional: bool,
    /// While its slot is on its way, its node may refuse it for a while and execute what stands behind it: it has several
    /// keys, of which some are here and some are there, or is a transaction.
    pub(super) may_wait: bool,
    /// What it waits for of the same burst.
    pub(super) order: Order,
    /// The place of its unit.
    pub(super) unit: usize,
}

/// What a piece waits for, beside those before it that have its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Nothing.
    Free,
    /// All that goes elsewhere and stands before it, or has keys: it names none, but whoever hears of it, or a script, may
    /// look at what that has done.
    Behind,
    /// All of other units that stands before it; and what stands behind waits for it.
    Alone,
}

impl Piece {
    fn new(target: Target, sent: Sent) -> Self {
        let (is_transaction, only_reads, suits_replica, is_fast, may_wait) = (false, false, false, false, false);
        let (order, is_optional) = (Order::Free, false);
        Self {
            target,
            sent,
            due: 1,
            is_transaction,
            only_reads,
            suits_replica,
            is_fast,
            is_optional,
            may_wait,
            order,
            unit: 0,
        }
    }
}

/// How the replies of a unit are made of those to its pieces.
#[derive(Debug)]
pub(super) enum Making {
    /// They are those of its one piece, which is what the client has sent.
    AsTheyAre,
    /// The same, but for some of them; by their number.
    Replaced(Vec<(u32, String)>),
    /// Those of a transaction, in which these requests ask a node about itself.
    Shown(Vec<usize>),
    /// One, of all pieces.
    Merged(Merge, Vec<u32>),
    /// Of a scan of the shard with this slot.
    Scan(u16),
    /// One of several keys.
    RandomKey,
    /// Text about the nodes that have answered; what it says of their cluster is for clients, or not.
    Info { hides: bool },
    /// Which of some scripts are known: those that all nodes know, and those that are kept here.
    Exist(Vec<bool>),
    /// The entries of all logs, or how many they are.
    SlowLog(slow_log::Wanted, Arc<Commands>, Ours),
    /// How long nodes say that they took for something.
    Latency(latency::Asked, Arc<Commands>),
    /// An error, and nothing is sent.
    Refused(String),
}

/// One request, or one transaction.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) making: Making,
    pub(super) pieces: Range<usize>,
    /// What its replies say of the scripts that nodes know: of which of its requests, and what.
    pub(super) scripts: Vec<(usize, Taught)>,
}

/// All of a burst.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) units: Vec<Unit>,
    pub(super) pieces: Vec<Piece>,
    /// Texts of scripts that pieces are sent behind: nobody could send a transaction again for the lack of one.
    pub(super) loads: HashMap<usize, Vec<Arc<[u8]>>>,
    loads_bytes: usize,
    /// The first piece behind a `SCRIPT FLUSH`: what was known of scripts before is not for it, nor for those behind it.
    pub(super) flushed: Option<usize>,
    /// Some are of a command that no node has told of.
    pub(super) are_unknown: bool,
}

impl Units {
    /// Reads `requests`, of which there are `due`.
    pub(super) fn read(requests: &[u8], due: u32, has_transaction: bool, map: &Map, scripts: &Scripts) -> Self {
        let mut units = Self::default();
        let none = LazyCell::new(|| scripts.flushed());
        units.units.reserve(due as usize);
        units.pieces.reserve(due as usize);
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let mut at = 0;
        while let Some(length) = next(&mut decoder, &requests[at..]) {
            let request = decoder.request(&requests[at..]);
            let scripts = if units.flushed.is_some() { &none } else { scripts };
            if has_transaction && is(&request, "MULTI") {
                at += units.transaction(requests, at, map, scripts);
            } else {
                Hints::foresee(&request, map, scripts);
                units.request(&request, at..at + length, map, scripts);
                units.learns(Taught::of(&request, scripts).map(|taught| (0, taught)));
                at += length;
            }
        }
        debug_assert_eq!(units.replies(), due, "each request gets a reply");
        units
    }

    /// How many replies all of them make.
    fn replies(&self) -> u32 {
        let of_transaction = |unit: &Unit| self.pieces[unit.pieces.clone()].iter().find(|piece| piece.is_transaction);
        self.units.iter().map(|unit| of_transaction(unit).map_or(1, |piece| piece.due)).sum()
    }

    /// Whether none of it changes anything.
    pub(super) fn only_read(&self) -> bool {
        self.pieces.iter().all(|piece| piece.only_reads)
    }

    /// Whether all of it goes out just as the client has sent it, piece by piece.
    pub(super) fn are_plain(&self) -> bool {
        self.units.iter().all(|unit| matches!(unit.making, Making::AsTheyAre) && unit.scripts.is_empty())
    }

    fn unit(&mut self, making: Making, pieces: impl IntoIterator<Item = Piece>) {
        let (from, unit) = (self.pieces.len(), self.units.len());
        self.pieces.extend(pieces.into_iter().map(|piece| Piece { unit, ..piece }));
        self.units.push(Unit { making, pieces: from..self.pieces.len(), scripts: Vec::new() });
    }

    /// What the replies of the last unit will say of scripts.
    fn learns(&mut self, taught: impl IntoIterator<Item = (usize, Taught)>) {
        let Some(unit) = self.units.last_mut() else { return };
        unit.scripts.extend(taught);
        if unit.scripts.iter().any(|(_, taught)| *taught == Taught::Flushed) {
            self.flushed.get_or_insert(self.pieces.len());
        }
    }

    fn request(&mut self, request: &Request<'_>, at: Range<usize>, map: &Map, scripts: &Scripts) {
        let command = map.commands.find(request).map(Arc::as_ref);
        self.are_unknown |= command.is_none();
        let only_reads = command.is_some_and(Command::only_reads);
        let is_fast = command.is_some_and(Command::is_fast);
        let plain = |target| Piece { only_reads, is_fast, ..Piece::new(target, Sent::Client(at.clone())) };
        let own = |target, sent| Piece { sent: Sent::Own(sent), ..plain(target) };
        match command.map_or(Route::Anywhere, |command| command.route(request)) {
            Route::Slot(slot) => {
                let may_wait = command.is_some_and(|command| command.has_several_keys(request));
                let suits_replica = command.is_some_and(|command| command.suits_replica(request));
                self.unit(Making::AsTheyAre, [Piece { may_wait, suits_replica, ..plain(Target::Slot(slot)) }]);
            }
            Route::Anywhere if is_info(request) => {
                // One that is not there keeps nobody waiting.
                let others = map.nodes.iter().enumerate().filter(|(_, node)| !node.is_first && node.is_connected());
                let slots = others.filter_map(|(shard, _)| map.layout.first_slot(shard));
                let slots: Vec<u16> = if are_counted(request.args().skip(1)) { slots.collect() } else { Vec::new() };
                let targets = [Target::Anchor].into_iter().chain(slots.into_iter().map(Target::Slot));
                let piece = |target| Piece { order: Order::Alone, is_optional: true, ..plain(target) };
                self.unit(Making::Info { hides: !map.is_shown }, targets.map(piece).collect::<Vec<_>>());
            }
            Route::Anywhere => {
                let order = if is(request, "PING") { Order::Free } else { Order::Behind };
                let hint = Hints::of(request, map, scripts);
                self.unit(Making::AsTheyAre, [Piece { order, ..plain(Target::near(hint, map)) }]);
            }
            Route::Split(command, how) => match Plan::of(command, request) {
                Some(plan) => {
                    let piece = |part: &route::Part| {
                        let mut bytes = Vec::new();
                        plan.write(part, request, &mut bytes);
                        let may_wait = part.has_several_keys();
                        let suits_replica = only_reads && !may_wait;
                        Piece { may_wait, suits_replica, ..own(Target::Slot(part.slot), bytes) }
                    };
                    let pieces: Vec<Piece> = plan.parts.iter().map(piece).collect();
                    self.unit(Making::Merged(how, plan.order().to_vec()), pieces);
                }
                None => self.unit(Making::AsTheyAre, [plain(Target::Anchor)]),
            },
            Route::Everywhere(how) => {
                let wanted = slow_log::Wanted::of(request);
                let piece = |slot| match wanted {
                    Some(wanted) => Piece { due: 2, ..own(Target::Slot(slot), wanted.question()) },
                    None => plain(Target::Slot(slot)),
                };
                let pieces = shards(map).map(|slot| Piece { order: Order::Alone, ..piece(slot) });
                self.unit(making_of_all(request, how, map, scripts), pieces.collect::<Vec<_>>());
            }
            Route::Scan => match Cursor::read(request) {
                Some(cursor) => {
                    let mut bytes = Vec::new();
                    cursor.write(request, &mut bytes);
                    let piece = Piece { order: Order::Alone, ..own(Target::Slot(cursor.slot), bytes) };
                    self.unit(Making::Scan(cursor.slot), [piece]);
                }
                // Redis has the words for that.
                None => self.unit(Making::AsTheyAre, [plain(Target::Anchor)]),
            },
            Route::RandomKey => {
                let mut bytes = Vec::new();
                write_request(&mut bytes, &["RANDOMKEY"]);
                write_request(&mut bytes, &["DBSIZE"]);
                let pieces = shards(map).map(|slot| Piece {
                    due: 2,
                    order: Order::Alone,
                    ..own(Target::Slot(slot), bytes.clone())
                });
                self.unit(Making::RandomKey, pieces.collect::<Vec<_>>());
            }
            Route::Nowhere => self.unit(Making::Refused(NO_CLUSTER.to_owned()), []),
        }
    }

    /// Reads a transaction that begins at `from`; how many bytes it has.
    fn transaction(&mut self, requests: &[u8], from: usize, map: &Map, scripts: &Scripts) -> usize {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let (mut at, mut due, mut slot, mut refused) = (from, 0, None, Vec::new());
        let (mut bytes, mut taught, mut infos) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(length) = next(&mut decoder, &requests[at..]) {
            let request = decoder.request(&requests[at..]);
            match fault_within(&request, map, &mut slot) {
                Some(text) => {
                    refused.push((due, text));
                    write_request(&mut bytes, &[REFUSED]);
                }
                None => bytes.extend_from_slice(&requests[at..at + length]),
            }
            taught.extend(Taught::of(&request, scripts).map(|taught| (due as usize, taught)));
            infos.extend((is_info(&request) && !map.is_shown).then_some(due as usize));
            (at, due) = (at + length, due + 1);
            if is(&request, "EXEC") {
                break;
            }
        }
        let near = || Target::near(Hints::of_requests(&requests[from..at], map, scripts), map);
        let target = slot.map_or_else(near, Target::Slot);
        let (sent, making) = match refused.is_empty() {
            true if infos.is_empty() => (Sent::Client(from..at), Making::AsTheyAre),
            true => (Sent::Client(from..at), Making::Shown(infos)),
            false => (Sent::Own(bytes), Making::Replaced(refused)),
        };
        let order = if slot.is_none() { Order::Behind } else { Order::Free };
        let loads = texts_of_scripts(&requests[from..at], scripts, &mut self.loads_bytes);
        if !loads.is_empty() {
            self.loads.insert(self.pieces.len(), loads);
        }
        let (is_transaction, may_wait) = (true, true);
        self.unit(making, [Piece { due, is_transaction, may_wait, order, ..Piece::new(target, sent) }]);
        self.learns(taught);
        at - from
    }
}

/// How the replies of all shards become one.
pub(super) fn making_of_all(request: &Request<'_>, how: Merge, map: &Map, scripts: &Scripts) -> Making {
    let word = |at: usize| request.arg(at).map(<[u8]>::to_ascii_uppercase).unwrap_or_default();
    match (&word(0)[..], &word(1)[..]) {
        (b"SCRIPT", b"EXISTS") => Making::Exist(request.args().skip(2).map(|digest| scripts.knows(digest)).collect()),
        _ => match (slow_log::Wanted::of(request), latency::Asked::of(request)) {
            (Some(wanted), _) => Making::SlowLog(wanted, Arc::clone(&map.commands), map.ours()),
            (_, Some(asked)) => Making::Latency(asked, Arc::clone(&map.commands)),
            (None, None) => Making::Merged(how, Vec::new()),
        },
    }
}

/// A slot of each shard.
fn shards(map: &Map) -> impl Iterator<Item = u16> {
    (0..map.nodes.len()).filter_map(|shard| map.layout.first_slot(shard))
}

fn next(decoder: &mut RequestDecoder, bytes: &[u8]) -> Option<usize> {
    match decoder.decode(bytes) {
        Ok(Decoded::Request { len }) => Some(len),
        // What sessions gather are whole requests and nothing else.
        Ok(Decoded::Nothing { .. } | Decoded::Incomplete { .. }) | Err(_) => None,
    }
}

/// Whether it asks a node about itself, whose words about its cluster are not for clients.
pub(crate) fn is_info(request: &Request<'_>) -> bool {
    is(request, "INFO")
}

pub(super) fn is(request: &Request<'_>, name: &str) -> bool {
    request.arg(0).is_some_and(|first| first.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_that_is_larger_than_requests_usually_may_be() {
        let mut requests = Vec::new();
        let mut large = vec![""; RequestLimits::default().args_max + 1];
        large[0] = "DEL";
        write_request(&mut requests, &large);
        let length = requests.len();
        write_request(&mut requests, &["GET", "k"]);
        let units = Units::read(&requests, 2, false, &Map::default(), &Scripts::new(0));
        let sent: Vec<&Sent> = units.pieces.iter().map(|piece| &piece.sent).collect();
        assert_eq!(sent, [&Sent::Client(0..length), &Sent::Client(length..requests.len())]);

        let mut transaction = Vec::new();
        write_request(&mut transaction, &["MULTI"]);
        transaction.extend_from_slice(&requests);
        write_request(&mut transaction, &["EXEC"]);
        let units = Units::read(&transaction, 4, true, &Map::default(), &Scripts::new(0));
        assert_eq!((units.units.len(), units.pieces[0].due), (1, 4));
    }
}
