//! Where the requests of a burst go that go to the nodes of their slots just as the client has sent them, which is what
//! most bursts are. Noted as they are gathered, so that nobody has to read them again.

use std::{ops::Range, sync::Arc};

use pool::Burst;
use resp::{Decoded, Request, RequestDecoder, RequestLimits};
use route::{Command, Route};

use crate::{
    cluster::Cluster,
    map::{Map, Node},
};

/// See the module's documentation.
#[derive(Debug)]
pub struct Routes {
    map: Arc<Map>,
    noted: Vec<Noted>,
    /// Something has to be known of one of them beside its reply.
    is_other: bool,
    /// One has several keys: those behind it may have to wait for it.
    has_several_keys: bool,
    /// The command of the last one, if its name alone tells it: the next is often of the same.
    last: Option<Arc<Command>>,
}

/// Of one request.
#[derive(Debug)]
struct Noted {
    /// Where it ends among the bytes of all of them.
    end: u32,
    shard: u16,
}

impl Cluster {
    /// Of a burst that is to be gathered.
    pub fn routes(&self) -> Routes {
        Routes::new(self.map())
    }
}

impl Routes {
    fn new(map: Arc<Map>) -> Self {
        Self { map, noted: Vec::new(), is_other: false, has_several_keys: false, last: None }
    }

    /// Of a burst of which nothing was noted.
    pub(super) fn of(burst: &Burst, map: Arc<Map>) -> Self {
        let mut routes = Self::new(map);
        let (requests, mut at, mut head) = (&burst.requests[..], 0, None::<&[u8]>);
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        while !routes.is_other
            && at < requests.len()
            && let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..])
        {
            let request = decoder.request(&requests[at..]);
            let is_alike = head.is_some_and(|head| requests[at..].starts_with(head));
            routes.add(&request, at + len, is_alike);
            head = request.head().map(|head| &requests[at..at + head.len()]);
            at += len;
        }
        routes.is_other |= !routes.are_of(burst);
        routes
    }

    /// Makes room at once for all of a burst, of which a request of `len` bytes is at hand and `bytes` follow. There are
    /// `max` at most.
    pub fn expect(&mut self, bytes: usize, len: usize, max: usize) {
        if self.noted.is_empty() {
            self.noted.reserve((1 + bytes / len).min(max));
        }
    }

    /// Notes where a request goes; `end` is where it ends among the bytes of all of the burst. One that `is_alike` has the
    /// name of the one before.
    pub fn add(&mut self, request: &Request<'_>, end: usize, is_alike: bool) {
        let noted = if self.is_other { None } else { self.note(request, end, is_alike) };
        match noted {
            Some(noted) => self.noted.push(noted),
            None => self.is_other = true,
        }
    }

    fn note(&mut self, request: &Request<'_>, end: usize, is_alike: bool) -> Option<Noted> {
        let Self { map, last, has_several_keys, .. } = self;
        let command = match last {
            Some(last) if is_alike => last,
            _ => {
                let command = map.commands.find(request).filter(|command| command.is_of_its_keys())?;
                *last = command.is_told_by_name().then(|| Arc::clone(command));
                command
            }
        };
        let Route::Slot(slot) = command.route(request) else { return None };
        *has_several_keys |= command.has_several_keys(request);
        let shard = map.layout.shard_of(slot).filter(|shard| *shard < map.nodes.len())?;
        Some(Noted { end: u32::try_from(end).ok()?, shard: u16::try_from(shard).ok()? })
    }

    /// Whether they tell where all of this burst goes, or that it does not go straight.
    pub(super) fn are_of(&self, burst: &Burst) -> bool {
        let end = self.noted.last().map_or(0, |last| last.end as usize);
        let are_all = self.noted.len() == burst.replies_due as usize && end == burst.requests.len();
        self.map.problem.is_none() && (self.is_other || are_all)
    }

    /// Whether all go to the nodes of their slots as they are.
    pub(super) fn are_straight(&self) -> bool {
        let are_others = self.is_other || (self.has_several_keys && self.noted.len() > 1);
        !are_others && !self.noted.is_empty()
    }

    /// The node to which all of them go, if it is one.
    pub(super) fn only(&self) -> Option<Arc<Node>> {
        let shard = self.noted.first()?.shard;
        let is_only = self.noted.iter().all(|noted| noted.shard == shard);
        if is_only { self.map.nodes.get(usize::from(shard)).cloned() } else { None }
    }

    /// Of each request in turn its shard, the node of that and its bytes.
    pub(super) fn all(&self) -> impl Iterator<Item = (u16, &Arc<Node>, Range<usize>)> {
        let mut begin = 0;
        self.noted.iter().map(move |noted| {
            let range = begin..noted.end as usize;
            begin = range.end;
            (noted.shard, &self.map.nodes[usize::from(noted.shard)], range)
        })
    }

    /// How many nodes there are.
    pub(super) fn nodes(&self) -> usize {
        self.map.nodes.len()
    }

    pub(super) fn into_map(self) -> Arc<Map> {
        self.map
    }
}
