//! What a monitor is shown of a cluster: all that any primary executes. Where the client has said `MONITOR` it has one
//! connection; here are those of the other primaries, borrowed beside it. They follow the primaries that there are, and end with
//! the first one. What all execute for a client is shown once. Begun after `MONITOR` by `elsewhere`, read by `connection`.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use cluster::{Cluster, Map};
use pool::{Caller, Wanted};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use topology::Address;

use crate::{
    client::state::ClientState,
    command::class::Reason,
    exclusive::{
        connection::{PUSHES_BYTES, poll_pushes_of},
        exchange::Exchange,
        lending::Lending,
    },
    observe::sharing::{party::Party, shares::Shares},
};

const MONITOR: &[u8] = b"*1\r\n$7\r\nMONITOR\r\n";

/// How long the answer to `MONITOR` waits for all primaries: with one that is lost, it is shown the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// When a primary that could not be monitored is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A further primary, or nothing if one is none any more.
type News = Pin<Box<dyn Future<Output = Option<Lending>> + Send>>;

/// See the module's documentation.
pub(in crate::exclusive) struct Monitored {
    way: Way,
    others: Vec<Lending>,
    /// Never locked: it is shared with nobody.
    news: Mutex<News>,
}

/// How further connections are borrowed.
#[derive(Clone)]
struct Way {
    cluster: Cluster,
    map: watch::Receiver<Arc<Map>>,
    caller: Caller,
    places: Arc<Shares>,
    party: Party,
    share: usize,
    /// For a place, and for the answer.
    limit: Duration,
    wanted: Wanted,
    /// Where it has said `MONITOR`.
    first: Option<Address>,
}

impl Way {
    /// Waits until there is another primary than `reached`, and monitors it; or until one of these is none any more.
    async fn news(mut self, reached: Vec<Address>) -> Option<Lending> {
        loop {
            let map = Arc::clone(&self.map.borrow_and_update());
            if !reached.iter().all(|node| map.node_at(node).is_some()) {
                return None;
            }
            let mut is_whole = true;
            for node in self.missing(&map, &reached) {
                match self.monitor(node).await {
                    Some(further) => return Some(further),
                    None => is_whole = false,
                }
            }
            let again = if is_whole { Duration::MAX } else { AGAIN };
            if let Ok(Err(_)) = timeout(again, self.map.changed()).await {
                // Nobody follows the cluster any more.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Primaries that are not monitored.
    fn missing<'m>(&self, map: &'m Map, reached: &[Address]) -> Vec<&'m Address> {
        let nodes = map.nodes().iter().map(|node| node.address());
        nodes.filter(|node| self.first.as_ref() != Some(node) && !reached.contains(node)).collect()
    }

    async fn monitor(&self, node: &Address) -> Option<Lending> {
        let since = Instant::now();
        let place = timeout(self.limit, self.places.take(self.party.clone(), self.share)).await.ok()?;
        let borrowed = self.cluster.lend_at((&self.caller, since), node, self.wanted).await.ok()?;
        let mut lending = Lending::new(borrowed, place, Reason::Monitor);
        let mut reply = Vec::new();
        lending.lent.ask(MONITOR, self.limit, &mut reply).await.ok()?;
        (reply == b"+OK\r\n").then(|| {
            lending.monitor_beside(self.cluster.clone());
            lending
        })
    }
}

impl Monitored {
    fn new(way: Way) -> Self {
        Self { news: Mutex::new(Box::pin(way.clone().news(Vec::new()))), way, others: Vec::new() }
    }

    fn reached(&self) -> Vec<Address> {
        self.others.iter().filter_map(|other| other.node().cloned()).collect()
    }

    /// Whether all primaries are monitored.
    fn is_whole(&self) -> bool {
        self.way.missing(&self.way.cluster.map(), &self.reached()).is_empty()
    }

    fn follow(&mut self) {
        self.news = Mutex::new(Box::pin(self.way.clone().news(self.reached())));
    }

    fn poll_further(&mut self, cx: &mut Context<'_>) -> Poll<Option<Lending>> {
        self.news.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }

    /// Takes in which primaries there are.
    fn poll_news(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(further) = self.poll_further(cx) {
            let map = self.way.cluster.map();
            // A replica shows what its primary executes, which is shown already.
            self.others.retain(|other| other.node().is_none_or(|node| map.node_at(node).is_some()));
            self.others.extend(further);
            self.follow();
        }
    }

    /// Appends what has come, as far as it is there. All of them together get as much of the output as one connection.
    pub(in crate::exclusive) fn poll_shown(
        &mut self,
        (cx, state): (&mut Context<'_>, &ClientState),
        out: &mut Vec<u8>,
    ) {
        let (share, before) = (PUSHES_BYTES / self.others.len().max(1), self.others.len());
        self.others.retain_mut(|other| poll_pushes_of(other, (cx, state), out, share).is_ok());
        if self.others.len() < before {
            self.follow();
        }
        self.poll_news(cx);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has a client that has become a monitor be shown what all primaries execute, before it hears that it is one.
    pub(in crate::exclusive::nodes) async fn monitor_all(&mut self, cluster: &Cluster) {
        let (share, limit) = (self.settings.exclusive_share, self.settings.reply_timeout);
        let (link, exclusive) = (&mut *self.link, &mut *self.exclusive);
        let lendings = [&mut exclusive.lending, &mut exclusive.listening].into_iter().flatten();
        let Some(lending) = lendings.into_iter().find(|lending| lending.is_monitor()) else { return };
        if lending.monitored.is_some() {
            return;
        }
        let way = Way {
            cluster: cluster.clone(),
            map: cluster.watch(),
            caller: self.caller.clone(),
            places: Arc::clone(&link.published().borrowed),
            party: Party::of(link.entry()),
            share,
            limit,
            wanted: self.state.needs.into(),
            first: lending.node().cloned(),
        };
        let monitored = lending.monitored.insert(Box::new(Monitored::new(way)));
        let all = poll_fn(|cx| {
            monitored.poll_news(cx);
            if monitored.is_whole() || link.poll_asked(cx).ends() { Poll::Ready(()) } else { Poll::Pending }
        });
        // The others follow when they can be had.
        let _ = timeout_at(Instant::now() + PATIENCE, all).await;
    }
}
