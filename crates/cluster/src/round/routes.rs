//! Where the requests of a burst go that go to the nodes of their slots just as the client has sent them, which is what
//! most bursts are. Noted as they are gathered, so that nobody has to read them again.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use pool::{Access, Burst, Caller, JobError, Led, Spent};
use resp::{Decoded, Request, RequestDecoder, RequestLimits};
use route::{Route, Told, slot};

use crate::{
    cluster::Cluster,
    map::{Map, Node},
    round::{
        kept::Kept,
        straight::{Tried, taken},
    },
};

/// Memory for more rows than these is not kept for the next burst.
const KEPT_ROWS: usize = 64;

/// So many routes are kept on a thread: as many as there are bursts under way there at a time, in most cases.
const KEPT_MAX: usize = 64;

/// See the module's documentation. In one cache line, since those of many clients are out at a time.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Routes {
    /// There while they are lent.
    map: Option<Arc<Map>>,
    /// Rows of requests that go to the same shard, but for the last one until all are [told](Self::tell_rows). Looked at only
    /// if there are any.
    #[allow(clippy::box_collection, reason = "there are none as a rule, and there is no room for more")]
    rows: Option<Box<Vec<Row>>>,
    has_rows: bool,
    /// How many requests are noted.
    count: u32,
    /// Where the last of them ends among the bytes of all.
    end: u32,
    /// Where the last of them goes.
    shard: u16,
    /// Where the key of the last one stands, if it is the only one there; otherwise 0. The next is often of the same command.
    key_at: u8,
    /// Something has to be known of one of them beside its reply.
    is_other: bool,
    /// One has several keys: those behind it may have to wait for it.
    has_several_keys: bool,
    /// All of the burst was sent to one node.
    is_aimed: bool,
    /// Whence the caller was led there.
    home: Option<Access>,
    /// Why replies are missing of what was sent there, if they are.
    failure: Option<Box<JobError>>,
}

const _: () = assert!(size_of::<Routes>() == 64, "it is one cache line");

/// Requests that go to the same shard one after another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    /// How many requests there are up to its end.
    pub(super) count: u32,
    /// Where the last of them ends among the bytes of all.
    pub(super) end: u32,
    pub(super) shard: u16,
    /// The place of what goes to that shard, once the burst is taken apart.
    pub(super) part: u16,
}

/// All rows of a burst, and the nodes by whose places they name their shards.
pub(super) struct Rows<'r> {
    pub(super) rows: &'r mut [Row],
    pub(super) nodes: &'r [Arc<Node>],
}

impl Cluster {
    /// Of a burst that is to be gathered.
    pub fn routes(&self) -> LentRoutes {
        LentRoutes::new(self.map())
    }
}

impl Routes {
    /// They are lent from now on.
    pub(super) fn begin(&mut self, map: Arc<Map>) {
        self.map = Some(map);
    }

    /// They are not any more; whether they are worth being kept.
    pub(super) fn end(&mut self) -> bool {
        (self.map, self.home, self.failure) = (None, None, None);
        (self.count, self.end) = (0, 0);
        (self.is_other, self.has_several_keys, self.is_aimed) = (false, false, false);
        if std::mem::take(&mut self.has_rows)
            && let Some(rows) = &mut self.rows
        {
            rows.clear();
            return rows.capacity() <= KEPT_ROWS;
        }
        true
    }

    fn map(&self) -> &Arc<Map> {
        self.map.as_ref().expect("there while they are lent")
    }

    /// Of a burst of which nothing was noted.
    pub(super) fn of(burst: &Burst, map: Arc<Map>) -> LentRoutes {
        let mut routes = LentRoutes::new(map);
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

    /// Notes where a request goes; `end` is where it ends among the bytes of all of the burst. One that `is_alike` has the
    /// name of the one before, and as many arguments.
    #[inline]
    pub fn add(&mut self, request: &Request<'_>, end: usize, is_alike: bool) {
        self.is_other = self.is_other || self.note(request, end, is_alike).is_none();
    }

    fn note(&mut self, request: &Request<'_>, end: usize, is_alike: bool) -> Option<()> {
        let map = self.map.as_ref()?;
        let slot = match self.key_at {
            at @ 1.. if is_alike => slot(request.arg(usize::from(at))?),
            _ => {
                self.key_at = 0;
                match map.commands.told(request)? {
                    Told::OnlyKey(at) => {
                        self.key_at = at;
                        slot(request.arg(usize::from(at))?)
                    }
                    Told::By(command) => {
                        self.has_several_keys |= command.has_several_keys(request);
                        match command.route(request) {
                            Route::Slot(slot) if command.is_of_its_keys() => slot,
                            _ => return None,
                        }
                    }
                }
            }
        };
        let shard = map.layout.shard_of(slot).filter(|shard| *shard < map.nodes.len())?;
        let (shard, end) = (u16::try_from(shard).ok()?, u32::try_from(end).ok()?);
        if self.shard != shard && self.count > 0 {
            self.end_row();
        }
        (self.count, self.end, self.shard) = (self.count + 1, end, shard);
        Some(())
    }

    /// Whether they tell where all of this burst goes, or that it does not go straight.
    pub(super) fn are_of(&self, burst: &Burst) -> bool {
        let are_all = self.count == burst.replies_due && self.end as usize == burst.requests.len();
        self.map().problem.is_none() && (self.is_other || are_all)
    }

    /// Whether all go to the nodes of their slots as they are.
    pub(super) fn are_straight(&self) -> bool {
        let are_others = self.is_other || (self.has_several_keys && self.count > 1);
        !are_others && self.count > 0
    }

    fn node(&self, shard: u16) -> &Arc<Node> {
        &self.map().nodes[usize::from(shard)]
    }

    /// The last request is the last one of its row.
    fn end_row(&mut self) {
        let Self { count, end, shard, .. } = *self;
        self.rows.get_or_insert_default().push(Row { count, end, shard, part: 0 });
        self.has_rows = true;
    }

    /// No more will be noted: all rows, in their order.
    pub(super) fn tell_rows(&mut self) -> Rows<'_> {
        self.end_row();
        let Self { rows, map, .. } = self;
        let (rows, map) =
            (rows.as_mut().expect("one has just ended"), map.as_ref().expect("there while they are lent"));
        Rows { rows, nodes: &map.nodes }
    }

    /// The map by which they were noted.
    pub(super) fn by(&self) -> Arc<Map> {
        Arc::clone(self.map())
    }

    /// Whether all of `burst` goes to one node just as it is.
    #[inline]
    pub(super) fn aim(&mut self, burst: &Burst) -> bool {
        self.is_aimed |= !self.has_rows && self.are_straight() && self.are_of(burst);
        self.is_aimed
    }

    /// Leads a session's caller to the one node to which all of `burst` goes just as it is: the caller is to execute it, and
    /// [`ended`](Self::ended) tells what has come of it. If that does not come, the caller is not to be used any more. False if
    /// it goes to several, or otherwise, or has no way there: the cluster has to [`execute`](Cluster::execute) the burst, and
    /// knows why.
    #[inline]
    pub fn lead(&mut self, burst: &Burst, caller: &mut Caller) -> bool {
        if !self.aim(burst) {
            return false;
        }
        let node = self.node(self.shard);
        if node.is_first {
            return true;
        }
        match node.access(caller) {
            Ok(mut access) => {
                access.exchange(caller);
                self.home = Some(access);
                true
            }
            Err(failure) => {
                self.failure = Some(Box::new(failure));
                false
            }
        }
    }

    /// The same for as long as what comes back is held.
    pub(super) fn led<'c>(&self, caller: &'c mut Caller) -> Result<Led<'c>, JobError> {
        let node = self.node(self.shard);
        Ok(if node.is_first { Led::at_home(caller) } else { node.access(caller)?.lead(caller) })
    }

    /// The time that the call took, if all requests have their replies and none is an error. Otherwise the cluster has to
    /// [`execute`](Cluster::execute) the burst: it knows then what was tried.
    #[inline]
    pub fn ended(&mut self, burst: &mut Burst, caller: &mut Caller, result: Result<(), JobError>) -> Option<Spent> {
        if let Some(mut home) = self.home.take() {
            home.exchange(caller);
        }
        burst.replies_due = self.count;
        match result {
            Ok(()) if burst.errors == 0 => Some(caller.spent()),
            Ok(()) => None,
            Err(failure) => {
                self.failure = Some(Box::new(failure));
                None
            }
        }
    }

    /// How many requests are noted.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The client has the replies to so many requests at the beginning of a burst that was sent to one node, `bytes` of it. It
    /// is without them from now on.
    pub fn leave_out(&mut self, requests: u32, bytes: usize) {
        self.count -= requests.min(self.count);
        self.end -= u32::try_from(bytes).unwrap_or(self.end).min(self.end);
    }

    /// Whether the burst was sent already, as a whole.
    pub(super) fn were_sent(&self) -> bool {
        self.is_aimed
    }

    /// What was tried, if that was all of it at once. Fails if it is still on its way, and nobody can send it again.
    pub(super) fn tried(&mut self, burst: &mut Burst) -> Result<Option<Tried>, JobError> {
        if !std::mem::take(&mut self.is_aimed) {
            return Ok(None);
        }
        match self.failure.take() {
            Some(failure) if burst.requests.is_empty() => Err(*failure),
            failure => Ok(Some((taken(burst, self.node(self.shard)), failure.map(|failure| *failure)))),
        }
    }
}

thread_local! {
    #[allow(clippy::vec_box, reason = "the boxes are what is kept")]
    static KEPT: Kept<Box<Routes>, KEPT_MAX> = const { Kept::new() };
}

/// Routes of one burst. Since there are some for each, their memory is lent by the thread, and goes back when they are dropped.
#[derive(Debug)]
pub struct LentRoutes(Option<Box<Routes>>);

impl LentRoutes {
    /// Of nothing yet, by this map.
    pub(crate) fn new(map: Arc<Map>) -> Self {
        let mut routes = Kept::take(&KEPT).unwrap_or_default();
        routes.begin(map);
        Self(Some(routes))
    }
}

impl Deref for LentRoutes {
    type Target = Routes;

    fn deref(&self) -> &Routes {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for LentRoutes {
    fn deref_mut(&mut self) -> &mut Routes {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for LentRoutes {
    fn drop(&mut self) {
        let Some(mut routes) = self.0.take() else { return };
        if routes.end() {
            Kept::keep(&KEPT, routes);
        }
    }
}
