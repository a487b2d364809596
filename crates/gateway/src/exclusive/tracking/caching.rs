//! `CLIENT CACHING` holds for the next request, wherever that is answered. Asked by `session` before it is answered elsewhere.

use resp::write_request;
use tokio::io::{AsyncRead, AsyncWrite};

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
        write_request(&mut requests, &["PING"]);
        Box::pin(self.exchange(&ExclusiveRequest::unasked(requests, 1), &mut ReplyHead::default())).await
    }
}
