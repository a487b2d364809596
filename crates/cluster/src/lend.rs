//! Connections of a cluster's nodes for one client alone: they are lent by the node that has the client's first key.

use std::{sync::Arc, time::Duration};

use pool::{Answer, Burst, Caller, JobError, Lent, Sent, Wanted};
use resp::{Decoded, RequestDecoder, RequestLimits, write_request};
use route::{Merge, Part, Plan, Route};
use tokio::time::{Instant, sleep};
use topology::{Address, Redirection, Refusal};

use crate::{
    cluster::Cluster,
    map::Node,
    round::{fault_within, has_slot, is_info, may_be_of_node, refusal, write_parts},
    shown::is_of_all,
    taught::{Taught, texts_of_scripts},
};

/// How long a node that is not there is not asked again.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// A connection that is lent, and of which node it is.
#[derive(Debug)]
pub struct Borrowed {
    /// The connection.
    pub lent: Lent,
    /// Its node; `None` where there is no cluster.
    pub node: Option<Address>,
    /// It is of the first pool: where all is that belongs to no slot.
    pub is_of_first: bool,
}

/// A request whose keys are of several slots, in parts.
#[derive(Debug)]
pub struct Split {
    /// Of each its slot, and the request for it.
    pub parts: Vec<(u16, Vec<u8>)>,
    how: Merge,
    only_reads: bool,
    order: Vec<u32>,
}

impl Split {
    /// Appends the one reply that those to all parts make up, in their order, up to the first that failed.
    pub fn merge(&self, replies: &[&[u8]], out: &mut Vec<u8>) {
        write_parts(self.how, self.only_reads, replies, &self.order, out);
    }
}

impl From<Lent> for Borrowed {
    fn from(lent: Lent) -> Self {
        Self { lent, node: None, is_of_first: true }
    }
}

impl Cluster {
    /// The slot of the first key of the first of these requests.
    pub fn slot(&self, requests: &[u8]) -> Option<u16> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
        let request = decoder.request(requests);
        match self.map().commands.route(&request) {
            Route::Slot(slot) => Some(slot),
            Route::Split(command, _) => command.keys(&request).first().and_then(|at| request.arg(*at)).map(route::slot),
            Route::Anywhere | Route::Everywhere(_) | Route::Scan | Route::RandomKey | Route::Nowhere => None,
        }
    }

    /// Whether all primaries execute a request that begins with these words.
    pub fn all_execute(&self, words: &[&[u8]]) -> bool {
        is_of_all(words, &self.map().commands)
    }

    /// Whether the first of these requests asks a node about itself.
    pub fn is_info(&self, requests: &[u8]) -> bool {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        matches!(decoder.decode(requests), Ok(Decoded::Request { .. })) && is_info(&decoder.request(requests))
    }

    /// Whether the first of these requests is one that a node alone can answer, in its own words.
    pub fn is_of_one_node(&self, requests: &[u8]) -> bool {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return true };
        let request = decoder.request(requests);
        match self.map().commands.route(&request) {
            Route::Slot(_) | Route::Split(..) => true,
            Route::Anywhere => !is_info(&request),
            Route::Everywhere(_) | Route::Scan | Route::RandomKey | Route::Nowhere => false,
        }
    }

    /// Borrows a connection of the node that has `slot`, in the state that is `wanted`. Waits for it, and for
    /// a primary, as long after `since` as a request may. `caller` is one of the first pool.
    ///
    /// # Errors
    /// As [`Caller::lend`].
    ///
    /// # Cancel safety
    /// As [`Caller::lend`].
    pub async fn lend(
        &self,
        (caller, since): (&Caller, Instant),
        slot: Option<u16>,
        wanted: Wanted,
    ) -> Result<Borrowed, JobError> {
        let settings = self.pools().first().settings();
        let (waited, _) = settings.primary_wait();
        loop {
            let map = self.known(&settings, since).await?;
            let node =
                slot.and_then(|slot| map.node_of(slot)).or_else(|| map.home()).filter(|node| !node.is_first).cloned();
            let failure = match lend_of((caller, since), node.as_ref(), wanted).await {
                Ok(lent) => {
                    let is_of_first = node.is_none();
                    let node = node.map(|node| node.address.clone()).or_else(|| map.anchor().cloned());
                    return Ok(Borrowed { lent, node, is_of_first });
                }
                Err(failure) => failure,
            };
            let is_gone =
                matches!(failure, JobError::UpstreamDown(_) | JobError::ConnectionLost { sent: Sent::No, .. });
            if !is_gone || since.elapsed() >= waited {
                return Err(failure);
            }
            self.doubt();
            sleep(PAUSE).await;
        }
    }

    /// Borrows a connection of the node at `address`, whatever slots it has.
    ///
    /// # Errors
    /// As [`Caller::lend`].
    ///
    /// # Cancel safety
    /// As [`Caller::lend`].
    pub async fn lend_at(
        &self,
        caller: (&Caller, Instant),
        address: &Address,
        wanted: Wanted,
    ) -> Result<Borrowed, JobError> {
        let node = self.node(&self.map(), address).ok_or_else(|| no_way(address))?;
        let lent = lend_of(caller, Some(&node).filter(|node| !node.is_first), wanted).await?;
        Ok(Borrowed { lent, node: Some(address.clone()), is_of_first: node.is_first })
    }

    /// The node that has this slot, if one has it.
    pub fn node_of(&self, slot: u16) -> Option<Address> {
        self.map().node_of(slot).map(|node| node.address.clone())
    }

    /// Where all goes that belongs to no slot.
    pub fn first_node(&self) -> Option<Address> {
        self.map().home().map(|node| node.address.clone())
    }

    /// The parts of the first of these requests, if its keys are of several slots and it can be split.
    pub fn split(&self, requests: &[u8]) -> Option<Split> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
        let (request, map) = (decoder.request(requests), self.map());
        let Route::Split(command, how) = map.commands.route(&request) else { return None };
        let plan = Plan::of(command, &request)?;
        let write = |part: &Part| {
            let mut bytes = Vec::new();
            plan.write(part, &request, &mut bytes);
            (part.slot, bytes)
        };
        let (parts, order) = (plan.parts.iter().map(write).collect(), plan.order().to_vec());
        Some(Split { parts, how, only_reads: command.only_reads(), order })
    }

    /// Whether the node that has `slot` is this one.
    pub fn is_at(&self, slot: u16, node: Option<&Address>) -> bool {
        let map = self.map();
        map.node_of(slot).is_none_or(|of_slot| Some(&of_slot.address) == node)
    }

    /// How long a request may wait for a node that executes it.
    pub fn patience(&self) -> Duration {
        self.pools().first().settings().queue_timeout
    }

    /// Why the first of these requests cannot be part of a transaction with keys of `slot`, which becomes that of its key
    /// where there is none yet. One that all primaries execute can be, by way of [`of_all`](Self::of_all).
    pub fn fault_in_transaction(&self, requests: &[u8], slot: &mut Option<u16>) -> Option<String> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
        let (request, map) = (decoder.request(requests), self.map());
        match map.commands.route(&request) {
            Route::Everywhere(_) => None,
            _ => fault_within(&request, &map, slot),
        }
    }

    /// Executes a burst at this node, as it is.
    ///
    /// # Cancel safety
    /// As [`Caller::call`].
    pub async fn call_at(&self, node: &Address, caller: &mut Caller, burst: Burst) -> Answer {
        let map = self.map();
        match self.node(&map, node) {
            Some(node) if node.is_first => caller.call(burst).await,
            Some(node) => match node.caller(caller) {
                Ok(mut caller) => caller.call(burst).await,
                Err(failure) => Answer { burst, failure: Some(failure) },
            },
            None => Answer { burst, failure: Some(no_way(node)) },
        }
    }

    /// Has the node at which a transaction is know the scripts that these requests, which are a part of it, want to be
    /// executed: within the transaction it is too late for that. It is told each of them once, as long as it is connected.
    ///
    /// # Cancel safety
    /// As [`Caller::call`].
    pub async fn teach(&self, node: &Address, caller: &mut Caller, requests: &[u8]) {
        let mut texts = texts_of_scripts(requests, self.scripts(), &mut 0);
        let Some(at) = self.node(&self.map(), node).filter(|_| !texts.is_empty()) else { return };
        texts.retain(|text| !at.is_told(self.scripts().hash(text)));
        if !texts.is_empty() && self.load(node, caller, &texts).await {
            texts.iter().for_each(|text| at.tell(self.scripts().hash(text)));
        }
    }

    /// Has a node know these scripts, which clients have loaded before; whether it does. Who uses one need not have the right
    /// to load it: for a user with a login of its own the gateway does that with its own login.
    ///
    /// # Cancel safety
    /// As [`Caller::call`].
    pub(crate) async fn load(&self, node: &Address, caller: &mut Caller, texts: &[Arc<[u8]>]) -> bool {
        let mut burst = Burst { replies_due: u32::try_from(texts.len()).unwrap_or(u32::MAX), ..Burst::default() };
        texts.iter().for_each(|text| write_request(&mut burst.requests, &[b"SCRIPT", &b"LOAD"[..], text]));
        let mut own = if caller.is_guest() { self.pools().caller_on(caller.runtime()) } else { None };
        // If it cannot be told, the node has the words for that.
        let answer = self.call_at(node, own.as_mut().unwrap_or(caller), burst).await;
        answer.failure.is_none() && answer.burst.errors == 0
    }

    /// Has the script be known that `request` brings along, if it is not: whoever sends it sees no reply to it here. The node
    /// keeps it, as it would once the request is executed.
    ///
    /// # Cancel safety
    /// As [`Caller::call`].
    pub async fn learn_of(&self, node: &Address, caller: &mut Caller, request: &[u8]) {
        let Some(Taught::Known(text)) = self.taught(request) else { return };
        let mut burst = Burst { replies_due: 1, ..Burst::default() };
        write_request(&mut burst.requests, &[b"SCRIPT", &b"LOAD"[..], &text]);
        let answer = self.call_at(node, caller, burst).await;
        if answer.failure.is_none() && answer.burst.errors == 0 {
            self.scripts().learn(&text);
        }
    }

    /// Why a reply says that the node has executed nothing of these requests: one, or those of a transaction without its `EXEC`.
    /// That it is a replica a script may say of its own: see [`is_replaced`](Self::is_replaced).
    pub fn refusal(&self, requests: &[u8], reply: &[u8]) -> Option<Refusal> {
        refusal(requests, reply, &self.map().commands)
    }

    /// What a reply says that came on a connection of `node` and is not for a client: its `request`, in a transaction of
    /// `slot` if in any, was not executed, and belongs elsewhere or has to wait. What it says of a slot is taken note of.
    /// Holds the node that may be asked for it this time, if one is named.
    pub fn sends_elsewhere(
        &self,
        reply: &[u8],
        node: Option<&Address>,
        request: &[u8],
        slot: Option<u16>,
    ) -> Option<Option<Address>> {
        if !Redirection::is_possible(reply) {
            return None;
        }
        let map = self.map();
        let unknown = Address::new("", 0);
        let said = Redirection::read(reply, node.or(map.anchor()).unwrap_or(&unknown));
        let has = |named: u16| slot == Some(named) || has_slot(request, named);
        let may_be_of_node = || may_be_of_node(request, reply, &map.commands);
        match said.filter(|said| said.slot().is_none_or(has) && may_be_of_node()) {
            Some(Redirection::Moved { slot: named, to }) => {
                self.heard(named, &to);
                // A node finds other keys in some requests than its own description of the command says.
                let is_of_other = slot != Some(named) && self.slot(request) != Some(named);
                Some(Some(to).filter(|to| is_of_other && self.node(&map, to).is_some()))
            }
            Some(Redirection::Ask { to, .. }) => {
                self.doubt();
                Some(self.node(&map, &to).map(|_| to))
            }
            Some(Redirection::TryAgain | Redirection::Down | Redirection::Loading | Redirection::ReadOnly) => {
                self.doubt();
                Some(None)
            }
            None => None,
        }
    }
}

/// Borrows a connection of `node`, or of the first pool.
pub(crate) async fn lend_of(
    (caller, since): (&Caller, Instant),
    node: Option<&Arc<Node>>,
    wanted: Wanted,
) -> Result<Lent, JobError> {
    let of_node = node.map(|node| node.caller(caller)).transpose()?;
    let lender: &Caller = of_node.as_deref().unwrap_or(caller);
    lender.lend(since, wanted).await
}

fn no_way(node: &Address) -> JobError {
    JobError::UpstreamDown(format!("there is no way to {node}, which has left the cluster").into())
}
