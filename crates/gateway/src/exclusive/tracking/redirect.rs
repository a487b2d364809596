//! `CLIENT TRACKING … REDIRECT`: the gateway's id in a request becomes the upstream's id of a connection on which nobody
//! but the client meant gets anything. Asked by `exchange`.

use std::sync::Arc;

use pool::{JobError, Needs};
use resp::{Decoded, Protocol, Request, RequestDecoder, RequestLimits, parse_integer, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use topology::Address;

use crate::{
    exclusive::{
        change::Change, exchange::Exchange, lending::Lending, request::ExclusiveRequest, tracking::invalidation,
    },
    observe::{
        ids::inbox::Redirection,
        registry::{Entry, Registry, Tracking},
    },
};

/// The id of no client: the upstream refuses it, in its own words.
const NOBODY: i64 = i64::MAX;

/// The channel of what is invalid.
const INVALIDATIONS: &str = "__redis__:invalidate";

/// A request that redirects, as the client wrote it.
#[derive(Debug)]
pub(in crate::exclusive) struct Redirect {
    args: Vec<Vec<u8>>,
    /// The ids in it: where they stand, and whose they are.
    ids: Vec<(usize, Option<Arc<Entry>>)>,
}

impl Redirect {
    /// Reads a `CLIENT TRACKING`, option by option as Redis does. Nothing if it does not redirect.
    pub(in crate::exclusive) fn read(request: &Request<'_>, registry: &Registry) -> Option<Self> {
        let redirects = options(request).filter(|at| is(request, *at, "REDIRECT"));
        // What is no number is for the upstream to refuse.
        let ids = redirects.filter_map(|at| Some((at + 1, request.arg(at + 1).and_then(parse_integer)?)));
        let ids: Vec<_> = ids.map(|(at, id)| (at, u64::try_from(id).ok().and_then(|id| registry.get(id)))).collect();
        (!ids.is_empty()).then(|| Self { args: request.args().map(<[u8]>::to_vec).collect(), ids })
    }

    /// The same, of a request that was written whole.
    pub(super) fn of(written: &[u8], registry: &Registry) -> Option<Self> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(written) else { return None };
        Self::read(&decoder.request(written), registry)
    }

    /// As the client wrote it.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut written = Vec::new();
        write_request(&mut written, &self.args);
        written
    }

    /// The one client to which the request redirects, if the upstream may do as it says.
    fn target(&self) -> Option<&Arc<Entry>> {
        match self.ids.as_slice() {
            [(_, Some(entry))] if self.args[2].eq_ignore_ascii_case(b"ON") => Some(entry),
            _ => None,
        }
    }
}

impl Lending {
    /// `CLIENT TRACKING`, if it is on. `own` is the session's id.
    pub(in crate::exclusive) fn tracking(&self, own: u64) -> Option<Tracking> {
        let client = self.redirect.and_then(|id| self.client(id, own));
        self.tracking.then_some(Tracking { client, broadcasts: self.broadcasts })
    }

    /// Puts the gateway's ids in what is said of redirections from `at` in `out` on.
    pub(in crate::exclusive) fn translate(&self, out: &mut Vec<u8>, at: usize, own: u64) {
        invalidation::translate(out, at, |id| self.client(id, own));
    }

    /// The client that gets what the upstream sends to the connection of that id.
    fn client(&self, upstream_id: i64, own: u64) -> Option<u64> {
        let of_another = self.redirections.iter().find(|redirection| redirection.upstream_id() == upstream_id);
        let is_own = self.lent.upstream_id() == Some(upstream_id);
        of_another.map(|redirection| redirection.client()).or_else(|| is_own.then_some(own))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Writes a request that redirects with the ids of the upstream at hand.
    ///
    /// # Errors
    /// There is no connection for the client that is redirected to.
    pub(in crate::exclusive) async fn translate(
        &mut self,
        request: &mut ExclusiveRequest,
        redirect: &Redirect,
    ) -> Result<(), JobError> {
        let Some(mut lending) = self.exclusive.lending.take() else { return Err(JobError::Closed) };
        let translated = self.translated(redirect, &mut lending).await;
        self.exclusive.lending = Some(lending);
        let (requests, upstream_id) = translated?;
        if redirect.target().is_some()
            && let Change::Tracking { redirect, .. } = &mut request.change
        {
            *redirect = Some(upstream_id);
        }
        request.requests = requests;
        Ok(())
    }

    /// The request as it goes out on the connection of `lending`, which holds that to the client meant from now on; and the id
    /// there of the latter.
    pub(super) async fn translated(
        &mut self,
        redirect: &Redirect,
        lending: &mut Lending,
    ) -> Result<(Vec<u8>, i64), JobError> {
        let own_id = self.link.entry().id();
        let mut upstream_id = lending.lent.upstream_id().unwrap_or(NOBODY);
        if let Some(target) = redirect.target().filter(|target| target.id() != own_id) {
            let redirection = self.redirection_to(target, lending.node()).await?;
            upstream_id = redirection.as_ref().map_or(NOBODY, |redirection| redirection.upstream_id());
            lending.redirections.extend(redirection);
        }
        let mut args = redirect.args.clone();
        for (at, entry) in &redirect.ids {
            // Of several, which the upstream refuses, any will do that exists.
            let id = if entry.is_some() { upstream_id } else { NOBODY };
            args[*at] = id.to_string().into_bytes();
        }
        let mut requests = Vec::new();
        write_request(&mut requests, &args);
        Ok((requests, upstream_id))
    }

    /// A connection on which `target` gets what is redirected to it, of this node of a cluster if it is one; nothing if its
    /// session has ended.
    async fn redirection_to(
        &mut self,
        target: &Entry,
        node: Option<&Address>,
    ) -> Result<Option<Arc<Redirection>>, JobError> {
        if let Some(redirection) = target.inbox().open(node) {
            return Ok(Some(redirection));
        }
        let needs = Needs { db: self.settings.db, protocol: Protocol::Resp3 };
        let began = Instant::now();
        let place = self.place(began).await?;
        let caller = (&*self.caller, began);
        let mut lent = match (self.cluster, node) {
            (Some(cluster), Some(node)) => cluster.lend_at(caller, node, needs.into()).await?.lent,
            (_, _) => self.caller.lend(began, needs).await?,
        };
        // The upstream closes no subscriber for being idle. One that may not subscribe is of use all the same.
        let mut subscribe = Vec::new();
        write_request(&mut subscribe, &["SUBSCRIBE", INVALIDATIONS]);
        // Once there is a reply, the connection speaks RESP3.
        if let Err(failure) = lent.ask(&subscribe, self.settings.reply_timeout, &mut Vec::new()).await {
            self.caller.count_failure(&failure);
            return Err(failure);
        }
        let redirection = target.inbox().add(target.id(), (lent, node.cloned()), place);
        target.wake();
        Ok(redirection)
    }
}

fn is(request: &Request<'_>, at: usize, word: &str) -> bool {
    request.arg(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

/// Where the options of a `CLIENT TRACKING` stand, read one after another as Redis does.
fn options(request: &Request<'_>) -> impl Iterator<Item = usize> {
    let step = |at: usize| {
        let has_value = at + 1 < request.len() && (is(request, at, "REDIRECT") || is(request, at, "PREFIX"));
        Some(at + 1 + usize::from(has_value)).filter(|at| *at < request.len())
    };
    std::iter::successors(Some(3).filter(|at| *at < request.len()), move |at| step(*at))
}

/// Whether a `CLIENT TRACKING` has the option `BCAST`.
pub(in crate::exclusive) fn broadcasts(request: &Request<'_>) -> bool {
    options(request).any(|at| is(request, at, "BCAST"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::address::Address;

    /// Where ids stand in a request, and whether they are known.
    fn ids(line: &str, registry: &Registry) -> Vec<(usize, bool)> {
        let line = format!("{line}\r\n");
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        assert_eq!(decoder.decode(line.as_bytes()), Ok(Decoded::Request { len: line.len() }));
        let redirect = Redirect::read(&decoder.request(line.as_bytes()), registry);
        redirect.map_or_else(Vec::new, |redirect| redirect.ids.iter().map(|(at, id)| (*at, id.is_some())).collect())
    }

    #[test]
    fn an_id_is_found_where_redis_finds_it() {
        let registry = Registry::default();
        let address = Address::Unix("/tmp/socket".into());
        let entry = registry.enter(address.clone(), address, Arc::default());
        assert_eq!(entry.id(), 1);
        for (line, expected) in [
            ("client tracking on redirect 1", &[(4, true)][..]),
            ("client tracking on bcast prefix redirect prefix 1 redirect 2", &[(9, false)]),
            ("client tracking on prefix redirect redirect 1", &[(6, true)]),
            ("client tracking on redirect redirect", &[]),
            ("client tracking on redirect", &[]),
            ("client tracking on redirect 1 redirect 1", &[(4, true), (6, true)]),
            ("client tracking on redirect -1", &[(4, false)]),
        ] {
            assert_eq!(ids(line, &registry), expected, "{line}");
        }
    }
}
