//! A question to the upstream in a client's stead: what it says to a request whose words are its own, on a connection
//! that serves nobody else meanwhile.

use std::{future::poll_fn, io};

use pool::{JobError, Sent};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use crate::exclusive::exchange::Exchange;

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// What the upstream answers to a request that gets `due` replies, or one error instead.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub(crate) async fn ask(&mut self, request: &[u8], due: usize) -> Result<Vec<u8>, JobError> {
        let began = Instant::now();
        let place = self.place(began).await?;
        let mut lent = self.caller.lend(began, self.state.needs).await?;
        let (mut answer, limit) = (Vec::new(), self.settings.reply_timeout);
        let asked = async {
            lent.send(request).await?;
            for _ in 0..due {
                let at = answer.len();
                poll_fn(|cx| lent.poll_message(cx, &mut answer)).await?;
                if answer[at..].starts_with(b"-") {
                    break;
                }
            }
            io::Result::Ok(())
        };
        let failure = match timeout(limit, asked).await {
            Ok(Ok(())) => {
                // Nobody knows what it has changed, unless it was refused.
                if answer.starts_with(b"-") {
                    lent.give_back();
                }
                drop(place);
                return Ok(answer);
            }
            Ok(Err(error)) => JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::Maybe },
            Err(_) => JobError::ReplyTimeout(limit),
        };
        self.caller.count_failure(&failure);
        Err(failure)
    }
}
