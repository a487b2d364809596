//! `CLIENT CACHING` holds for the next request, wherever that is answered. Asked by `session` before it is answered elsewhere.

use pool::OWN;
use resp::write_request;
use tokio::io::{AsyncRead, AsyncWrite};
use topology::Address;

use crate::exclusive::{
    exchange::{Exchange, ReplyHead},
    request::ExclusiveRequest,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has the connection take a request of its own for the next one, if `CLIENT CACHING` holds there; false to close the
    /// session.
    pub(crate) async fn end_caching(&mut self) -> bool {
        if !self.exclusive.is_caching() {
            return true;
        }
        let mut requests = Vec::new();
        write_request(&mut requests, &["PING", OWN]);
        Box::pin(self.exchange(&ExclusiveRequest::unasked(requests, 1), &mut ReplyHead::default())).await
    }

    /// Has the connection at hand be told `CLIENT CACHING` again if that holds, as it has forgotten it with a request that it
    /// has not executed; if it is still one of the node `before`: a further one has been told. False to close the session.
    pub(in crate::exclusive) async fn repeat_caching(&mut self, before: Option<Address>) -> bool {
        let lending = self.exclusive.lending.as_ref().filter(|lending| lending.is_caching());
        let Some(lending) = lending.filter(|lending| lending.node() == before.as_ref()) else { return true };
        let told = ExclusiveRequest::unasked(lending.tracked.caching.clone(), 1);
        let go_on = Box::pin(self.exchange(&told, &mut ReplyHead::default())).await;
        if let Some(lending) = &mut self.exclusive.lending {
            lending.set_caching(true);
        }
        go_on
    }
}
