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

/// Bytes of a name up to which it is compared with the next one.
const NAME_MAX: usize = 16;

/// See the module's documentation.
#[derive(Debug)]
pub struct Routes {
    map: Arc<Map>,
    noted: Vec<Noted>,
    /// Something has to be known of one of them beside its reply.
    is_other: bool,
    /// One has several keys: those behind it may have to wait for it.
    has_several_keys: bool,
    /// The command of the last one: the next is often of the same.
    last: Option<Named>,
}

/// A command by the name by which a client has called it.
#[derive(Debug)]
struct Named {
    name: [u8; NAME_MAX],
    length: usize,
    command: Arc<Command>,
}

impl Named {
    fn new(name: &[u8], command: &Arc<Command>) -> Option<Self> {
        let (mut whole, length) = ([0; NAME_MAX], name.len());
        whole.get_mut(..length)?.copy_from_slice(name);
        Some(Self { name: whole, length, command: Arc::clone(command) })
    }

    fn is(&self, name: &[u8]) -> bool {
        self.name[..self.length] == *name
    }
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
        let (requests, mut at) = (&burst.requests[..], 0);
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        while !routes.is_other
            && at < requests.len()
            && let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..])
        {
            routes.add(&decoder.request(&requests[at..]), at + len);
            at += len;
        }
        routes.is_other |= !routes.are_of(burst);
        routes
    }

    /// Notes where a request goes; `end` is where it ends among the bytes of all of the burst.
    pub fn add(&mut self, request: &Request<'_>, end: usize) {
        let noted = if self.is_other { None } else { self.note(request, end) };
        match noted {
            Some(noted) => self.noted.push(noted),
            None => self.is_other = true,
        }
    }

    fn note(&mut self, request: &Request<'_>, end: usize) -> Option<Noted> {
        let Self { map, last, has_several_keys, .. } = self;
        let name = request.arg(0)?;
        let command = match last {
            Some(last) if last.is(name) => &last.command,
            _ => {
                let command = map.commands.find(request).filter(|command| command.is_of_its_keys())?;
                *last = Named::new(name, command).filter(|_| command.is_told_by_name());
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
