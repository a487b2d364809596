//! The exclusive connection of a session, while it borrows one: which requests go there, how long it is needed, and
//! what comes of its own accord. Requests are sent by `exchange`. Where the upstream is a cluster, a client listens on
//! one of its own beside it, and so its transactions and its keys can be at any node.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use pool::Caller;
use resp::{Protocol, Request};

use crate::{
    client::{link::Link, state::ClientState},
    command::class::{Class, Local, Reason},
    exclusive::{
        lending::Lending,
        nodes::bound::{
            lost::outlives,
            subscribed::{CUT_OFF, is_belated, is_cut_off},
        },
        request::ExclusiveRequest,
        tracking::shards::{ALL_INVALID, Tracked},
    },
    observe::{published::Published, registry::Tracking},
};

/// Bytes of pushes that are passed on in one write.
pub(super) const PUSHES_BYTES: usize = 64 * 1024;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct ExclusiveConnection {
    pub(super) lending: Option<Box<Lending>>,
    /// Of a cluster: the one on which the client has subscribed, or monitors. It serves nothing else.
    pub(super) listening: Option<Box<Lending>>,
    /// Of a cluster: the client has begun a transaction of which no node knows yet, by this spelling of `MULTI`.
    pub(super) begun: Option<[u8; 5]>,
}

impl ExclusiveConnection {
    /// Whether the session borrows one.
    pub(crate) fn is_lent(&self) -> bool {
        self.lending.is_some()
    }

    /// Whether the session borrows one, or will with its next request.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_lent() || self.begun.is_some()
    }

    /// Whether it borrows any: also one on which the client listens beside what it does.
    pub(crate) fn borrows(&self) -> bool {
        self.all().next().is_some()
    }

    /// All of them.
    fn all(&self) -> impl Iterator<Item = &Lending> {
        let both = [&self.lending, &self.listening].into_iter().flatten();
        both.flat_map(|lending| std::iter::once(&**lending).chain(&lending.tracked.others))
    }

    /// Why the session borrows one, if it does.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.all().next().map(Lending::reason)
    }

    /// Whether there is one on which the client listens.
    pub(super) fn listens_beside(&self) -> bool {
        self.listening.is_some()
    }

    /// Has the one on which the client listens take the place of the other, until it is turned again.
    pub(super) fn turn(&mut self) {
        std::mem::swap(&mut self.lending, &mut self.listening);
    }

    /// Has a client of a cluster that has begun to listen do so beside what it does next.
    pub(super) fn part(&mut self) {
        let only_listens = |lending: &Lending| {
            (lending.is_subscribed() || lending.is_monitor())
                && lending.node().is_some()
                && !(lending.is_in_transaction() || lending.is_watching() || lending.binds_reads())
        };
        if self.listening.is_none() {
            self.listening = self.lending.take_if(|lending| only_listens(lending));
        }
    }

    /// Whether a transaction has been begun and not ended.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.begun.is_some() || self.lending.as_ref().is_some_and(|lending| lending.is_in_transaction())
    }

    /// Whether a client of a cluster has each of its requests looked at by itself: a node may send it elsewhere.
    pub(crate) fn is_at_one_node(&self) -> bool {
        let may_be_sent_on = |lending: &Lending| lending.is_in_transaction() || lending.binds_reads();
        self.begun.is_some() || self.lending.as_deref().is_some_and(may_be_sent_on)
    }

    /// How many requests its transaction holds, if one has been begun.
    pub(crate) fn queued(&self) -> Option<usize> {
        if self.begun.is_some() {
            return Some(0);
        }
        let lending = self.lending.as_ref().filter(|lending| lending.is_in_transaction())?;
        Some(lending.queued.len())
    }

    /// Whether all that the upstream does is shown on it.
    pub(crate) fn is_monitor(&self) -> bool {
        self.all().any(Lending::is_monitor)
    }

    /// Whether `CLIENT CACHING` holds for what is sent there next.
    pub(crate) fn is_caching(&self) -> bool {
        self.lending.as_ref().is_some_and(|lending| lending.is_caching())
    }

    /// Whether `CLIENT NO-TOUCH` and `CLIENT IMPORT-SOURCE` hold.
    pub(crate) fn manners(&self) -> [bool; 2] {
        self.lending.as_ref().map_or([false; 2], |lending| lending.manners())
    }

    /// `CLIENT TRACKING`, if it is on. `own` is the session's id.
    pub(crate) fn tracking(&self, own: u64) -> Option<Tracking> {
        self.lending.as_ref().and_then(|lending| lending.tracking(own))
    }

    /// Bytes of memory for what is to be done once its transaction is executed, and for what is subscribed on it.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.all()
            .map(|lending| {
                lending.queued.bytes() + lending.names.bytes() + lending.at_node.bytes() + lending.tracked.bytes()
            })
            .sum()
    }

    /// Whether keys are watched on it.
    pub(crate) fn is_watching(&self) -> bool {
        self.all().any(Lending::is_watching)
    }

    /// Whether the client does nothing but listen to it.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.all().any(|lending| lending.is_subscribed() || lending.is_monitor())
    }

    /// Whether it was lost, and what it was lent for goes on at another with the next request.
    pub(crate) fn is_lost(&self) -> bool {
        self.lending.as_ref().is_some_and(|lending| lending.at_node.is_lost())
    }

    /// Whether anything is subscribed on it.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.all().any(Lending::is_subscribed)
    }

    /// Channels, patterns and sharded channels that are subscribed on it.
    pub(crate) fn subscriptions(&self) -> [usize; 3] {
        let add = |sum: [usize; 3], counts: [usize; 3]| [0, 1, 2].map(|kind| sum[kind] + counts[kind]);
        self.all().map(|lending| lending.names.counts()).fold([0; 3], add)
    }

    /// Whether a request of `class` goes there rather than being answered here or shared.
    pub(crate) fn takes(&self, class: Class, protocol: Protocol) -> bool {
        let in_transaction = self.is_in_transaction();
        let is_restricted = self.all().any(|lending| lending.is_restricted(protocol));
        match (&self.lending, class) {
            (_, Class::Refused(_) | Class::Attack | Class::Local(Local::Quit | Local::Reset)) => false,
            // The upstream has the words for what a subscriber may not do.
            (_, Class::Local(Local::Hello | Local::Auth)) => in_transaction || is_restricted,
            (_, Class::Multi | Class::Exclusive(_)) => true,
            (_, Class::Local(Local::Unsubscribe)) => in_transaction || self.all().next().is_some(),
            (_, _) if in_transaction || is_restricted => true,
            (Some(_), Class::Local(local)) => {
                matches!(local, Local::Select | Local::DiscardWithoutMulti | Local::Unwatch)
            }
            // Of a cluster it leads to one node, which may not have all keys.
            (Some(lending), Class::Plain { .. } | Class::Unheard) if lending.node().is_some() => lending.binds_reads(),
            (Some(_), Class::Plain { .. } | Class::Unheard | Class::Exec) => true,
            (None, Class::Local(_) | Class::Plain { .. } | Class::Unheard | Class::Exec) => false,
        }
    }

    /// Whether a subscriber that speaks RESP2 is refused a request of `class` here: a node of a cluster looks for the
    /// request's key first, and would send it elsewhere.
    pub(crate) fn restricts(&self, class: Class, protocol: Protocol) -> bool {
        let is_of_others = match class {
            Class::Plain { .. } | Class::Unheard | Class::Multi | Class::Exec => true,
            Class::Exclusive(reason) => reason != Reason::PubSub,
            Class::Local(Local::Info) => true,
            Class::Local(_) | Class::Refused(_) | Class::Attack => false,
        };
        let is_restricted = |lending: &Lending| lending.node().is_some() && lending.is_restricted(protocol);
        is_of_others && !self.is_in_transaction() && self.all().any(is_restricted)
    }

    /// A client's request as it goes there, for whoever has this caller and speaks this.
    pub(crate) fn request(
        &self,
        class: Class,
        request: &Request<'_>,
        published: &Published,
        (caller, protocol): (&Caller, Protocol),
    ) -> ExclusiveRequest {
        let listening = self.listening.as_deref().filter(|_| is_about_listening(class) && !self.is_in_transaction());
        let lending = listening.or(self.lending.as_deref());
        // Where nothing but what is about subscriptions is executed, nothing is prepared.
        let prepares = !self.is_in_transaction() && !self.all().any(|lending| lending.is_restricted(protocol));
        ExclusiveRequest::new(class, request, (lending, prepares), (&published.registry, caller))
    }

    /// Gives the connection back once nothing needs it.
    pub(crate) fn end_if_over(&mut self) {
        if let Some(lending) = self.lending.take_if(|lending| !lending.is_needed() && !lending.is_waiting()) {
            lending.give_back();
        }
    }

    /// Gives both back, or closes one if replies are outstanding.
    pub(crate) fn end(&mut self) {
        self.begun = None;
        self.end_current();
        self.turn();
        self.end_current();
    }

    /// The same, but for the one on which the client listens beside it.
    pub(super) fn end_current(&mut self) {
        if let Some(lending) = self.lending.take_if(|lending| !lending.is_waiting() && !lending.is_monitor()) {
            lending.give_back();
        }
        self.lending = None;
    }

    /// Appends what follows the last reply, as far as it is there: it stands before all that the gateway says next, and is
    /// of this lending. False if the client is to be closed for it.
    pub(super) async fn take_rest(&mut self, state: &ClientState, out: &mut Vec<u8>) -> bool {
        match poll_fn(|cx| Poll::Ready(self.poll_pushes(cx, state, out))).await {
            // Another loss is met again by whoever needs the connection.
            Poll::Ready(Err(error)) => error.kind() != CUT_OFF,
            Poll::Ready(Ok(())) | Poll::Pending => true,
        }
    }

    /// Appends what comes without having been asked for to `out`, as far as it is there; an error when the
    /// connection is lost.
    pub(crate) fn poll_pushes(
        &mut self,
        cx: &mut Context<'_>,
        state: &ClientState,
        out: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let before = out.len();
        for lending in [&mut self.lending, &mut self.listening].into_iter().flatten() {
            poll_pushes_of(lending, (cx, state), out, PUSHES_BYTES)?;
        }
        if out.len() > before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Appends what a client that monitors is shown of requests that the gateway answers itself.
    pub(crate) fn take_answered_here<S>(&self, link: &mut Link<S>, state: &ClientState) {
        if self.is_monitor() {
            let (published, from) = (Arc::clone(link.published()), link.unwritten());
            published.monitors.take(state.id, link.output());
            if state.is_muted() {
                link.output().truncate(from);
            }
        }
    }

    /// The same, of the one on which the client listens beside what it waits for; an error when that is lost.
    pub(super) fn take_heard(
        &mut self,
        cx: &mut Context<'_>,
        state: &ClientState,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        self.lending.as_mut().map_or(Ok(()), |lending| poll_others(lending, cx, state, out))?;
        self.listening.as_mut().map_or(Ok(()), |listening| poll_pushes_of(listening, (cx, state), out, PUSHES_BYTES))
    }
}

/// Whether a request of `class` is one about what the client listens to.
fn is_about_listening(class: Class) -> bool {
    matches!(class, Class::Local(Local::Unsubscribe) | Class::Exclusive(Reason::PubSub | Reason::Monitor))
}

/// Appends what comes on one of them without having been asked for, as far as it is there, up to about `max` bytes.
pub(super) fn poll_pushes_of(
    lending: &mut Lending,
    (cx, state): (&mut Context<'_>, &ClientState),
    out: &mut Vec<u8>,
    max: usize,
) -> io::Result<()> {
    let before = out.len();
    while !lending.at_node.is_lost() && out.len() - before < max {
        let at = out.len();
        match lending.lent.poll_unasked(cx, out) {
            Poll::Ready(Ok(kind)) => {
                if is_belated(lending, &out[at..]) {
                    out.truncate(at);
                    continue;
                }
                let seen = lending.saw(&out[at..], kind, state.needs.protocol);
                if is_cut_off(lending, &out[at..], None) {
                    out.truncate(at);
                    return Err(CUT_OFF.into());
                }
                lending.pass_on(seen, state, out, at);
            }
            Poll::Ready(Err(_)) if outlives(lending) => break,
            Poll::Ready(Err(_)) if lending.only_tracks() && !lending.broadcasts && lending.redirect.is_none() => {
                lending.mark();
                lending.at_node.lose();
                say_all_invalid(lending, state, out);
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    poll_others(lending, cx, state, out)
}

/// The same, of those that are not in use. The loss of one ends nothing, unless keys are watched there: what was read may
/// have changed.
fn poll_others(lending: &mut Lending, cx: &mut Context<'_>, state: &ClientState, out: &mut Vec<u8>) -> io::Result<()> {
    if lending.tracked.holds() {
        return Ok(());
    }
    if let Some(monitored) = &mut lending.monitored {
        monitored.poll_shown((cx, state), out);
    }
    let Tracked { others, flushes, .. } = &mut lending.tracked;
    let polled = others.iter_mut().try_for_each(|other| {
        // What was told of one node counts for all.
        std::mem::swap(&mut other.tracked.flushes, flushes);
        let polled = poll_pushes_of(other, (cx, state), out, PUSHES_BYTES);
        std::mem::swap(&mut other.tracked.flushes, flushes);
        polled
    });
    others.retain(|other| !other.at_node.is_lost());
    lending.keep_what_is_out();
    polled
}

/// Tells a client that tracks that all it has read may have changed. In RESP2 it is told nothing at all.
pub(super) fn say_all_invalid(lending: &Lending, state: &ClientState, out: &mut Vec<u8>) {
    if lending.tracks() && state.needs.protocol == Protocol::Resp3 {
        out.extend_from_slice(ALL_INVALID);
    }
}
