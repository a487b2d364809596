//! Exchanges with a cluster: a transaction is at the node of its first key, however late that comes, and what a node
//! does not execute because it belongs elsewhere, or has to wait, is sent where it belongs. Called by `exchange`.

use std::time::Duration;

use cluster::{Cluster, runs_script};
use pool::JobError;
use resp::{Protocol, write_error};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::state::Transaction,
    command::errors,
    exclusive::{
        change::Change,
        connection::say_all_invalid,
        exchange::{Exchange, ReplyHead},
        nodes::blocked::Elsewhere,
        request::ExclusiveRequest,
        tracking::shards::refusal,
    },
};

/// The first and the longest pause before a request is sent again that a node has not executed.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has one request executed by the node of the cluster that has its key, or by all; false to close the session.
    pub(in crate::exclusive) async fn run_in(&mut self, cluster: &Cluster, mut request: ExclusiveRequest) -> bool {
        // Before that nobody knows which requests are about all.
        if let Err(failure) = cluster.found().await {
            self.note_refusal(&request);
            self.fail_replies(request.counted, &failure);
            return true;
        }
        if self.may_begin_later(cluster, &request) {
            self.begin_later(&request);
            return true;
        }
        if let Some(go_on) = Box::pin(self.begin(cluster, &mut request)).await {
            return go_on;
        }
        let refusal = refusal(&request, self.exclusive.is_in_transaction());
        if let Some(text) = refusal.filter(|_| !cluster.map().is_one_shard()) {
            return self.refuse_in_cluster(text).await;
        }
        if self.is_of_others(cluster, &request) {
            return self.end_caching().await && self.run_as_others(cluster, &request).await;
        }
        if let Some(how) = self.is_for_all(cluster, &request) {
            return self.end_caching().await && self.run_everywhere(cluster, &request, how).await;
        }
        let has_beside = self.exclusive.listens_beside() || self.tracks_by_node();
        if request.change == Change::Subscribe && self.exclusive.is_in_transaction() && has_beside {
            return self.refuse_in_cluster(errors::SUBSCRIBE_BESIDE_MULTI).await;
        }
        if let Some(go_on) = Box::pin(self.run_in_parts(cluster, &request)).await {
            return go_on;
        }
        if !self.join_events(&request) {
            return true;
        }
        let go_on = self.run_alone(cluster, request).await && self.follow_events().await;
        if go_on && self.exclusive.is_monitor() {
            Box::pin(self.monitor_all(cluster)).await;
        }
        go_on
    }

    /// Has it executed on the connection that the session borrows, or on one that is borrowed for it. What is about
    /// listening is executed where the client listens.
    async fn run_alone(&mut self, cluster: &Cluster, mut request: ExclusiveRequest) -> bool {
        let is_about_listening = matches!(request.change, Change::Subscribe | Change::Monitor);
        let is_restricted = self.exclusive.is_subscribed() && self.state.needs.protocol == Protocol::Resp2;
        let turns = !self.exclusive.is_in_transaction() && (is_about_listening || is_restricted);
        if turns {
            self.exclusive.turn();
        }
        let is_lent = self.exclusive.is_lent() || self.borrow(&mut request).await;
        let go_on = !is_lent || self.run_at_its_node(cluster, request).await;
        if turns {
            self.exclusive.turn();
        }
        self.exclusive.part();
        go_on
    }

    async fn run_at_its_node(&mut self, cluster: &Cluster, mut request: ExclusiveRequest) -> bool {
        // None for one that the node will refuse for its time-out.
        let (began, time) = (Instant::now(), request.blocks_for.filter(|time| !time.is_zero()));
        let (mut pause, mut waited) = (PAUSE.0, Duration::ZERO);
        if let Some(go_on) = self.cannot_begin(cluster, &request).await {
            return go_on;
        }
        if request.waits() && !self.exclusive.is_in_transaction() {
            request.ask_for_ends();
        }
        loop {
            let Some(lending) = self.exclusive.lending.as_mut() else { return false };
            let (was_in_transaction, is_watching) = (lending.is_in_transaction(), lending.is_watching());
            let caching = lending.is_caching().then(|| lending.tracked.caching.clone());
            // What was sent again was not executed either: the request would meet a transaction that is aborted.
            let stuck = lending.at_node.take_elsewhere();
            self.note(cluster, &mut request);
            let go_on = stuck.is_some() || self.run_with_others(cluster, &mut request).await;
            let Some(lending) = self.exclusive.lending.as_mut() else {
                // It was given back, as nothing needs it; or it was lost.
                return go_on;
            };
            let Some(elsewhere) = stuck.or_else(|| lending.at_node.take_elsewhere()) else {
                if caching.is_some() && request.asks.is_some() {
                    // Redis forgets it behind ASKING.
                    say_all_invalid(lending, self.state, self.link.output());
                }
                let (caching, max) = (caching.filter(|_| !was_in_transaction), self.settings.limits.request_bytes_max);
                lending.note_executed(cluster, request.own_request(), caching, max);
                if go_on {
                    self.exclusive.end_if_over();
                }
                return go_on;
            };
            if go_on && self.is_answered_soiled(cluster, &request, was_in_transaction) {
                return true;
            }
            let Some(lending) = self.exclusive.lending.as_mut() else { return false };
            let elsewhere = elsewhere.noted(lending, caching.is_some());
            // What it has waited at its node for does not count.
            let waits_on = !was_in_transaction && request.waits_on(&elsewhere);
            let may_wait = go_on && (waits_on || waited < cluster.patience());
            let again = match (was_in_transaction, is_watching) {
                (true, false) if may_wait => lending.log(),
                (false, _) if may_wait && (!lending.is_needed() || lending.only_tracks()) => Some((Vec::new(), 0)),
                (_, _) => None,
            };
            let Some((log, count)) = again else {
                if go_on && !was_in_transaction && !lending.is_needed() {
                    self.say_unplaced(&request, waited);
                    return go_on;
                }
                return self.say_elsewhere(&request, was_in_transaction, is_watching) && go_on;
            };
            // What may be there is asked for once, however short the time is.
            let is_unasked = request.asks.is_none() && matches!(elsewhere, Elsewhere::Ask(_));
            let end = time.filter(|_| !is_unasked).map(|time| began + time);
            match self.wait_for_place(pause, waits_on, end).await {
                Ok(counted) => waited += counted,
                Err(go_on) => return go_on,
            }
            pause = (pause * 2).min(PAUSE.1);
            let Some(lending) = self.exclusive.lending.as_mut() else { return false };
            if (request.waits() || lending.only_tracks()) && !was_in_transaction {
                let left = time.map(|time| time.saturating_sub(began.elapsed()));
                request.renew(left, elsewhere, &std::mem::take(&mut lending.at_node.ends));
                lending.set_caching(caching.is_some());
            }
            match self.go_elsewhere(cluster, &mut request, was_in_transaction, log, count).await {
                Ok(true) => {}
                // The client has been told.
                Ok(false) => return true,
                Err(failure) if was_in_transaction => return self.give_up(&request, &failure),
                Err(failure) => return self.refuse_alone(&request, &failure),
            }
        }
    }

    /// Has the session borrow a connection of the node to which `request` belongs. `Some` if that cannot be: the client has
    /// been told, and is to be closed if it holds false.
    async fn cannot_begin(&mut self, cluster: &Cluster, request: &ExclusiveRequest) -> Option<bool> {
        if let Some(go_on) = self.go_on_after_loss(cluster, request).await {
            return Some(go_on);
        }
        if let Some(go_on) = Box::pin(self.turn_for(cluster, request)).await {
            return Some(go_on);
        }
        Some(match self.settle_place(cluster, request).await {
            None if self.is_end_of_soiled(cluster, request) => self.end_soiled().await,
            None => return None,
            Some(Ok(text)) => self.abort_transaction(&text).await,
            Some(Err(failure)) => self.give_up(request, &failure),
        })
    }

    /// Answers what cannot be had of a cluster.
    pub(in crate::exclusive) async fn refuse_in_cluster(&mut self, text: &str) -> bool {
        if self.exclusive.is_in_transaction() {
            return self.abort_transaction(text).await;
        }
        if !self.state.is_muted() {
            write_error(self.link.output(), text);
        }
        true
    }

    /// Has the transaction at hand at the node of the key of `request`, if it has one or is likely to use one. `Some` if it
    /// cannot be part of the transaction: why, or why its node could not be had.
    async fn settle_place(
        &mut self,
        cluster: &Cluster,
        request: &ExclusiveRequest,
    ) -> Option<Result<String, JobError>> {
        let lending = self.exclusive.lending.as_mut()?;
        if !lending.is_in_transaction() {
            if lending.binds_reads() && runs_script(request.own_request()) {
                Box::pin(self.teach_alone(request.own_request())).await;
            }
            return None;
        }
        if request.change == Change::EndMulti {
            return None;
        }
        let (before, mut slot) = (lending.at_node.slot, lending.at_node.slot);
        if let Some(text) = cluster.fault_in_transaction(request.own_request(), &mut slot) {
            return Some(Ok(text));
        }
        let (kept, max) = (lending.queued.bytes(), self.settings.limits.request_bytes_max);
        if cluster.of_all(request.own_request()).is_some_and(|of_all| kept + of_all.bytes() > max) {
            return Some(Ok(errors::transaction_too_large(max)));
        }
        lending.at_node.slot = slot;
        // Before it has a key, it may go once where a script finds what it uses.
        let may_try = slot.is_none() && lending.at_node.is_first && lending.has_log();
        let place = if may_try { cluster.hint(request.own_request()) } else { slot };
        if let (None, Some(first)) = (before, place)
            && !cluster.is_at(first, lending.node())
        {
            let Some((log, count)) = lending.log() else {
                return Some(Ok(errors::TRANSACTION_ELSEWHERE.to_owned()));
            };
            if let Err(failure) = self.transplant(cluster, place, log, count).await {
                return Some(Err(failure));
            }
        }
        self.teach(request.own_request()).await;
        None
    }

    /// Goes where the request at hand belongs now, with all that was sent of its transaction if it is in one. False if no
    /// connection could be had, as the client has been told.
    async fn go_elsewhere(
        &mut self,
        cluster: &Cluster,
        request: &mut ExclusiveRequest,
        in_transaction: bool,
        log: Vec<u8>,
        count: u32,
    ) -> Result<bool, JobError> {
        if !in_transaction && self.exclusive.lending.as_ref().is_some_and(|lending| lending.only_tracks()) {
            let own = request.own_request();
            let slot = cluster.slot(own).filter(|_| request.asks.is_none()).or_else(|| cluster.hint(own));
            let of_slot = || slot.map_or_else(|| cluster.first_node(), |slot| cluster.node_of(slot));
            let before = self.exclusive.lending.as_ref().and_then(|lending| lending.node().cloned());
            let has_turned = match request.asks.clone().or_else(of_slot) {
                Some(node) => Box::pin(self.turn_to(cluster, &node, slot)).await?,
                None => true,
            };
            let go_on = has_turned && self.repeat_caching(before).await;
            return go_on.then_some(true).ok_or(JobError::Closed);
        }
        if !in_transaction {
            self.exclusive.end_if_over();
            return Ok(self.exclusive.is_lent() || self.borrow(request).await);
        }
        let slot = self.exclusive.lending.as_ref().and_then(|lending| lending.at_node.slot);
        self.transplant(cluster, slot, log, count).await.map(|()| true)
    }

    /// Begins the transaction at hand anew on a connection of the node that has `slot`: nothing of it was executed. The
    /// former one is given back first, as there may be no other.
    pub(super) async fn transplant(
        &mut self,
        cluster: &Cluster,
        slot: Option<u16>,
        log: Vec<u8>,
        count: u32,
    ) -> Result<(), JobError> {
        if self.exclusive.lending.as_ref().is_some_and(|lending| lending.binds_reads()) {
            return Box::pin(self.transplant_tracked(cluster, slot, log, count)).await;
        }
        let Some(former) = self.exclusive.lending.take() else { return Err(JobError::Closed) };
        let go_on_with = former.uproot();
        let borrowed = cluster.lend((self.caller, Instant::now()), slot, self.state.needs.into()).await?;
        self.exclusive.lending = Some(Box::new(go_on_with(borrowed)));
        self.replay(log, count).await
    }

    /// Has the requests of a transaction, so many, executed again on the connection at hand.
    pub(in crate::exclusive) async fn replay(&mut self, log: Vec<u8>, count: u32) -> Result<(), JobError> {
        self.teach(&log).await;
        let replay = ExclusiveRequest::unasked(log, count);
        let is_replayed = count == 0 || self.exchange(&replay, &mut ReplyHead::default()).await;
        match self.exclusive.lending.as_mut() {
            Some(lending) if is_replayed => {
                if count > 0 {
                    lending.resume();
                }
                lending.at_node.remember(replay.requests, count);
                Ok(())
            }
            _ => Err(JobError::Closed),
        }
    }

    /// The request at hand could not be executed, as its transaction could not be begun anew.
    pub(super) fn give_up(&mut self, request: &ExclusiveRequest, failure: &JobError) -> bool {
        let go_on = self.abandon(request);
        if matches!(failure, JobError::Closed) {
            // A connection that was lost has been told of.
            return false;
        }
        self.fail_replies(1, failure);
        go_on
    }

    /// The same, of a request that is in no transaction: it alone was not executed.
    pub(in crate::exclusive) fn refuse_alone(&mut self, request: &ExclusiveRequest, failure: &JobError) -> bool {
        if matches!(failure, JobError::Closed) {
            return false;
        }
        self.note_refusal(request);
        self.fail_replies(request.errors(), failure);
        true
    }

    /// The transaction of `request` will not be executed. What it has left is refused up to its end, since nobody knows
    /// what of it the upstream has. False to close a client that tracks: it could not know what is not tracked any more.
    fn abandon(&mut self, request: &ExclusiveRequest) -> bool {
        let tracks = self.tracks_by_node();
        if let Some(lending) = self.exclusive.lending.as_mut().filter(|lending| tracks && !lending.is_in_transaction())
        {
            lending.at_node.forget();
        } else {
            self.exclusive.end_current();
        }
        if request.change != Change::EndMulti {
            self.state.transaction = Transaction::Aborted;
        }
        !tracks || self.exclusive.is_lent()
    }

    /// Tells the client that no node has taken what it has asked for.
    fn say_unplaced(&mut self, request: &ExclusiveRequest, waited: Duration) {
        let reason = "its slot is on its way to another node, or no node has it".into();
        let failure = JobError::Unplaced { waited, reason };
        self.caller.count_failure(&failure);
        self.exclusive.end_if_over();
        if request.change == Change::Watch {
            self.refuse_watch(request);
        }
        self.fail_replies(request.errors(), &failure);
    }

    /// Tells the client that what it has asked for belongs to another node than that to which it is bound; false to close it
    /// then.
    fn say_elsewhere(&mut self, request: &ExclusiveRequest, in_transaction: bool, is_watching: bool) -> bool {
        let go_on = !in_transaction || self.abandon(request);
        self.exclusive.end_if_over();
        if request.change == Change::Watch {
            self.refuse_watch(request);
        }
        match request.change {
            // The keys that it watches have gone: as if they had changed, it may try again.
            Change::EndMulti if is_watching => self.answer_end(false),
            _ if self.state.is_muted() => {}
            _ if in_transaction => write_error(self.link.output(), errors::TRANSACTION_ELSEWHERE),
            _ => write_error(self.link.output(), errors::ELSEWHERE),
        }
        go_on
    }
}
