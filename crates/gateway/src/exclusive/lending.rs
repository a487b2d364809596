//! What an exclusive connection is lent for, and for how long: follows requests and replies as they
//! pass. No I/O. Owned by `connection`, told by `exchange`.

use std::sync::Arc;

use cluster::{Borrowed, Cluster};
use pool::{Lent, ReplyKind};
use resp::{Protocol, Request};
use topology::Address;

use crate::{
    command::class::Reason,
    exclusive::{
        change::Change,
        incoming::message::{Message, Shown, is_monitored, subject},
        nodes::{
            at_node::AtNode,
            bound::{monitored::Monitored, subscribed::Names},
        },
        tracking::{flushes::NodeFlushes, shards::Tracked},
        transaction::queued::QueuedTransaction,
    },
    observe::{ids::inbox::Redirection, sharing::shares::Place},
};

/// An exclusive connection and what it is needed for.
pub(crate) struct Lending {
    pub(super) lent: Lent,
    /// Of what clients of the same host and user may have.
    place: Place,
    /// What counts where the upstream is a cluster.
    pub(super) at_node: AtNode,
    reason: Reason,
    /// Replies still to come.
    expected: u32,
    /// Errors that the client would get instead of all of them.
    errors: u32,
    /// These are confirmations of subscriptions.
    pub(super) confirming: bool,
    /// What they answer changes the state of the connection.
    changing: bool,
    multi: bool,
    watching: bool,
    monitor: bool,
    /// What a monitor is shown there.
    pub(super) shown: Shown,
    /// Of a cluster: what a monitor is shown of other primaries.
    pub(super) monitored: Option<Box<Monitored>>,
    /// Others may still do to it what was meant for this session.
    marked: bool,
    /// Its node has refused the request at hand, which is to be asked again of another.
    pub(super) refused: bool,
    /// Something that was sent may have changed the state of the connection.
    touched: bool,
    pub(super) tracking: bool,
    /// `CLIENT CACHING` holds for what is sent next.
    caching: bool,
    /// It gets what is invalid of keys that it has not read.
    pub(super) broadcasts: bool,
    /// The upstream's id of the connection that gets what is invalid.
    pub(super) redirect: Option<i64>,
    /// Connections for those to whom the session redirects, or is about to.
    pub(super) redirections: Vec<Arc<Redirection>>,
    manners: [bool; 2],
    /// What is known of the upstream is to be learnt anew.
    pub(super) teaches: bool,
    /// What the transaction holds.
    pub(super) queued: QueuedTransaction,
    /// What is subscribed.
    pub(super) names: Names,
    /// Of a cluster: what the client borrows besides, to track keys of other nodes.
    pub(super) tracked: Tracked,
    pub(super) flushes: NodeFlushes,
}

/// What has been begun of a transaction.
pub(super) struct Begun {
    at_node: AtNode,
    queued: QueuedTransaction,
}

impl Lending {
    pub(crate) fn new(Borrowed { lent, node, is_of_first }: Borrowed, place: Place, reason: Reason) -> Self {
        Self {
            lent,
            place,
            at_node: AtNode::new(node, is_of_first),
            reason,
            expected: 0,
            errors: 0,
            confirming: false,
            changing: false,
            multi: false,
            watching: false,
            monitor: false,
            shown: Shown::default(),
            monitored: None,
            marked: false,
            refused: false,
            touched: !matches!(reason, Reason::Blocking | Reason::Wait),
            tracking: false,
            caching: false,
            broadcasts: false,
            redirect: None,
            redirections: Vec::new(),
            manners: [false; 2],
            teaches: false,
            queued: QueuedTransaction::default(),
            names: Names::default(),
            tracked: Tracked::default(),
            flushes: NodeFlushes::default(),
        }
    }

    /// The node of a cluster that has lent it.
    pub(crate) fn node(&self) -> Option<&Address> {
        self.at_node.node.as_ref()
    }

    /// What was sent of the transaction and how many requests that are, if it can be begun anew on another connection.
    pub(super) fn log(&mut self) -> Option<(Vec<u8>, u32)> {
        if self.is_bound() { None } else { self.at_node.log() }
    }

    pub(super) fn has_log(&self) -> bool {
        self.at_node.has_log() && !self.is_bound()
    }

    /// Gives the connection back. What it returns goes on with the transaction at hand on another connection, which is in
    /// no transaction yet.
    pub(super) fn uproot(self) -> impl FnOnce(Borrowed) -> Self {
        let Self { lent: former, place, mut at_node, queued, reason, marked, watching, .. } = self;
        if !marked {
            former.give_back();
        }
        move |Borrowed { lent, node, is_of_first }| {
            at_node.settle_at(node, is_of_first);
            Self { at_node, queued, watching, ..Self::new(lent.into(), place, reason) }
        }
    }

    /// The transaction has been begun there.
    pub(super) fn resume(&mut self) {
        self.multi = true;
    }

    /// What it was lent for leaves its state as it is.
    pub(super) fn is_left_as_it_is(&mut self) {
        self.touched = false;
    }

    /// Why it was lent.
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether a transaction has been begun on it and not ended.
    pub(crate) fn is_in_transaction(&self) -> bool {
        self.multi
    }

    /// Whether keys are watched on it.
    pub(crate) fn is_watching(&self) -> bool {
        self.watching
    }

    /// Gives the connection back, unless it must not serve anybody else.
    pub(crate) fn give_back(self) {
        self.tracked.others.into_iter().for_each(|other| other.give_back());
        if self.marked {
            return;
        }
        if self.touched {
            self.lent.give_back();
        } else {
            self.lent.give_back_unchanged();
        }
    }

    /// Has the connection closed when the lending ends: others may still do to it what was meant for this session,
    /// and a `RESET` does not take that back.
    pub(crate) fn mark(&mut self) {
        self.marked = true;
    }

    /// Whether the session still needs it.
    pub(crate) fn is_needed(&self) -> bool {
        self.multi || self.watching || self.monitor || self.binds_reads() || self.is_subscribed()
    }

    /// Whether the session has asked for a change of its state: what it sends next may rely on that.
    pub(crate) fn is_changing(&self) -> bool {
        self.changing
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        !self.names.is_empty()
    }

    /// In which manners requests are executed, in the order of [`Manner`](super::change::Manner).
    pub(crate) fn manners(&self) -> [bool; 2] {
        self.manners
    }

    /// Whether `CLIENT CACHING` holds for what is sent next.
    pub(super) fn is_caching(&self) -> bool {
        self.caching
    }

    /// A request is sent; as in Redis, a `CLIENT` is not the one for which `CLIENT CACHING` holds.
    pub(super) fn end_caching(&mut self, command: Option<&str>) {
        self.caching &= command.is_some_and(|name| name.starts_with("client"));
    }

    pub(crate) fn is_monitor(&self) -> bool {
        self.monitor
    }

    /// It shows what its node executes, beside another that shows what all do.
    pub(super) fn monitor_beside(&mut self, cluster: Cluster) {
        (self.monitor, self.shown.beside) = (true, Some(cluster));
    }

    /// Whether what a client reads depends on its being read there.
    pub(crate) fn binds_reads(&self) -> bool {
        self.tracking || self.manners.contains(&true)
    }

    /// Whether what it was lent for cannot go on at another connection: this one is listened to.
    pub(super) fn is_bound(&self) -> bool {
        self.monitor || self.is_subscribed()
    }

    /// `CLIENT TRACKING` without a redirection.
    pub(super) fn tracks(&self) -> bool {
        self.tracking && self.redirect.is_none()
    }

    /// Whether the client does no more there than read and write keys that are tracked.
    pub(super) fn only_tracks(&self) -> bool {
        self.binds_reads() && !(self.multi || self.watching || self.is_bound()) && self.node().is_some()
    }

    /// What holds for what is read on the other holds here too.
    pub(super) fn bind_as(&mut self, other: &Self) {
        (self.tracking, self.broadcasts) = (other.tracking, other.broadcasts);
        (self.manners, self.marked) = (other.manners, self.marked || other.manners.contains(&true));
        self.redirect = self.redirect.filter(|_| other.redirect.is_some());
        self.end_redirections();
    }

    pub(super) fn set_caching(&mut self, holds: bool) {
        self.caching = holds;
    }

    /// Gives up the transaction at hand; what it was.
    pub(super) fn leave_transaction(&mut self) -> Begun {
        self.multi = false;
        let at_node = self.at_node.leave();
        Begun { at_node, queued: std::mem::take(&mut self.queued) }
    }

    /// Goes on with one that has been begun elsewhere.
    pub(super) fn take_over(&mut self, begun: Begun) {
        let (node, is_first) = (self.at_node.node.take(), self.at_node.is_first);
        (self.at_node, self.queued) = (begun.at_node, begun.queued);
        self.at_node.settle_at(node, is_first);
    }

    /// Whether all but a few requests get an error from the upstream because of subscriptions.
    pub(crate) fn is_restricted(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Resp2 && self.is_subscribed()
    }

    /// How many replies a request will get.
    pub(crate) fn due(&self, change: Change, request: &Request<'_>) -> u32 {
        let names = request.len() - 1;
        let replies = match change {
            Change::Subscribe if !self.multi => self.names.due(request),
            // As in Redis, a monitor that asks to be one is not answered.
            Change::Monitor if self.monitor && !self.multi => names.min(1),
            _ => 1,
        };
        u32::try_from(replies).unwrap_or(u32::MAX)
    }

    /// Takes note of requests sent, which will get `due` replies, or at most `errors` errors instead.
    pub(crate) fn expect(&mut self, change: Change, due: u32, errors: u32) {
        self.flushes.asked(&self.tracked.flushes);
        self.expected = due;
        self.errors = errors;
        self.confirming = change == Change::Subscribe && !self.multi;
        self.changing = !matches!(change, Change::None | Change::ShowTracking);
        self.touched |= self.changing;
    }

    /// Whether replies are still to come.
    pub(crate) fn is_waiting(&self) -> bool {
        self.expected > 0
    }

    /// How many errors the client gets if they do not come.
    pub(crate) fn missing(&self) -> u32 {
        self.expected.min(self.errors)
    }

    /// Takes note of a message on a connection that speaks `protocol`; whether it answers a request.
    pub(super) fn saw(&mut self, message: &[u8], kind: ReplyKind, protocol: Protocol) -> Message {
        if self.monitor && is_monitored(message) {
            return Message::Monitored;
        }
        let message_is = self.what_is(message, kind, protocol);
        if message_is != Message::Push {
            // An error stands for all the confirmations that a request would have had.
            let is_all = kind == ReplyKind::Error && self.confirming;
            self.expected = if is_all { 0 } else { self.expected.saturating_sub(1) };
        }
        message_is
    }

    /// RESP3 marks what is pushed. In RESP2 it is an array: a subscriber gets no other but the answer to its `PING`, and
    /// nobody else is pushed anything. Confirmations are pushed too.
    fn what_is(&mut self, message: &[u8], kind: ReplyKind, protocol: Protocol) -> Message {
        let is_pushed = match protocol {
            Protocol::Resp2 if self.is_subscribed() || self.confirming => message.starts_with(b"*"),
            Protocol::Resp2 | Protocol::Resp3 => kind == ReplyKind::Push,
        };
        if !is_pushed {
            return Message::Reply;
        }
        match subject(message) {
            Some(b"pong") if protocol == Protocol::Resp2 => Message::Reply,
            Some(subject) if subject.ends_with(b"subscribe") => {
                self.names.confirm(message);
                if self.confirming { Message::Confirmation } else { Message::Push }
            }
            _ => Message::Push,
        }
    }

    /// Applies a change whose request was answered by `reply`; the database that the session is in from
    /// now on, if that changed. Within a transaction all but its end is left to [`executed`](Self::executed).
    pub(crate) fn apply(&mut self, change: Change, reply: &[u8]) -> Option<u32> {
        if change == Change::EndMulti {
            // Refused for its arguments, it ends nothing.
            if self.multi && !reply.starts_with(b"-ERR wrong") {
                self.multi = false;
                self.watching = false;
            }
            return None;
        }
        if self.multi || reply.starts_with(b"-") { None } else { self.took_effect(change) }
    }

    /// The same for a request of a transaction.
    pub(crate) fn executed(&mut self, change: Change, reply: &[u8]) -> Option<u32> {
        if change == Change::Subscribe {
            self.names.confirm(reply);
        }
        if reply.starts_with(b"-") { None } else { self.took_effect(change) }
    }

    fn took_effect(&mut self, change: Change) -> Option<u32> {
        match change {
            Change::Multi => self.multi = true,
            Change::Watch => self.watching = true,
            Change::Unwatch => self.watching = false,
            Change::Monitor => self.monitor = true,
            Change::Tracking { on, broadcasts, redirect } => {
                (self.tracking, self.broadcasts, self.redirect) = (on, broadcasts, redirect);
            }
            Change::Manner(manner, on) => {
                self.manners[manner as usize] = on;
                // Not every RESET takes it back.
                self.marked = true;
            }
            Change::Caching => self.caching = true,
            Change::Select(db) => return Some(db),
            Change::None | Change::EndMulti | Change::Subscribe | Change::ShowTracking => {}
        }
        None
    }

    /// Gives up connections for those to whom the session does not redirect.
    pub(super) fn end_redirections(&mut self) {
        if !self.multi {
            let in_force = self.redirect;
            self.redirections.retain(|redirection| Some(redirection.upstream_id()) == in_force);
        }
    }
}
