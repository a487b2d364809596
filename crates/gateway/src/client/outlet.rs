//! The way of replies to a client while they come: they are written as they come, and no more of them are taken
//! while the client takes none. So a large one is nowhere held as a whole. A client that takes nothing for too long is
//! given up, as it is when it does not take replies that are whole.

use std::task::{Context, Poll};

use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::client::link::Link;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    /// Replies wait until the stream takes them.
    writes: bool,
    /// How many bytes waited when it last took some, and until when it has to take more.
    stuck: Option<(usize, Instant)>,
}

impl Outlet {
    /// Writes the replies that have come, which `take` appends, saying how many bytes they are; of a muted client they are
    /// thrown away.
    #[inline]
    pub(crate) fn pass_on<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S>,
        (settings, is_muted): (&SessionSettings, bool),
        mut take: impl FnMut(&mut Context<'_>, &mut Vec<u8>) -> usize,
    ) {
        loop {
            if self.writes || link.is_full() {
                self.writes = link.poll_write(cx).is_pending();
            }
            if self.writes && link.poll_asked(cx).ends() {
                // It is to go before it has taken all.
                link.stop_writing();
                self.writes = link.poll_write(cx).is_pending();
            }
            if self.writes {
                return self.waits(cx, link, settings);
            }
            self.stuck = None;
            let from = link.unwritten();
            if take(cx, link.output()) == 0 {
                return;
            }
            self.writes = true;
            if is_muted {
                link.output().truncate(from);
            }
        }
    }

    /// Whether it is the client that is waited for.
    pub(crate) fn is_stuck(&self) -> bool {
        self.writes
    }

    /// The client takes nothing now. It may do so only once it has sent all: that is kept, up to a bound.
    fn waits<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S>,
        settings: &SessionSettings,
    ) {
        let _ = link.poll_gone(cx, settings);
        let unwritten = link.unwritten();
        let until = match self.stuck {
            Some((before, until)) if before == unwritten => until,
            _ => Instant::now() + settings.write_timeout,
        };
        self.stuck = Some((unwritten, until));
        if let Poll::Ready(()) = link.poll_until(cx, until) {
            link.give_up();
        }
    }
}
