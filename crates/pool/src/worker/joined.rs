//! Requests of several jobs on their way into a stream, in one call where it takes them.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::AsyncWrite;

/// Requests of no more bytes than these are put together in one piece before they are written. To copy them takes less than
/// the kernel needs to look at a slice for each: 12 of 36 bytes are written in 0.6 us less so, 12 of 1,200 bytes in 0.3.
const JOINED_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// Memory for such a piece: the workers of a thread write one after another.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(JOINED_BYTES_MAX));
}

/// Writes these requests, or as much as the stream takes now; how many bytes that was.
pub(super) fn poll_write<'r, S>(
    stream: &mut S,
    cx: &mut Context<'_>,
    requests: impl Iterator<Item = &'r [u8]> + Clone,
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite + Unpin,
{
    let (mut rest, stream) = (requests.clone(), Pin::new(stream));
    if let (Some(only), None) = (rest.next(), rest.next()) {
        return stream.poll_write(cx, only);
    }
    if requests.clone().map(<[u8]>::len).sum::<usize>() > JOINED_BYTES_MAX {
        let slices: Vec<IoSlice<'_>> = requests.map(IoSlice::new).collect();
        return stream.poll_write_vectored(cx, &slices);
    }
    JOINED.with_borrow_mut(|joined| {
        joined.clear();
        requests.for_each(|request| joined.extend_from_slice(request));
        stream.poll_write(cx, joined)
    })
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes up to so many bytes a call, and keeps of each call how many pieces it had.
    struct Taken(usize, Vec<u8>, Vec<usize>);

    impl AsyncWrite for Taken {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = pieces.iter().flat_map(|piece| piece.iter().copied());
            let taken: Vec<u8> = all.take(self.0).collect();
            self.1.extend_from_slice(&taken);
            self.2.push(pieces.len());
            Poll::Ready(Ok(taken.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn few_bytes_are_one_piece_and_many_are_not_copied() {
        let large = vec![b'x'; JOINED_BYTES_MAX];
        for (requests, pieces) in [
            (&[&b"a"[..]][..], 1),
            (&[&large], 1),
            (&[b"a", b"", b"bc"], 1),
            (&[b"a", &large[1..]], 1),
            (&[b"a", &large, b"c"], 3),
        ] {
            let mut stream = Taken(usize::MAX, Vec::new(), Vec::new());
            let all = requests.concat();
            let written = poll_write(&mut stream, &mut Context::from_waker(Waker::noop()), requests.iter().copied());
            assert!(matches!(written, Poll::Ready(Ok(bytes)) if bytes == all.len()));
            assert!(stream.1 == all && stream.2 == [pieces], "{pieces} in {:?}", stream.2);
        }
    }

    #[test]
    fn what_the_stream_took_is_told() {
        let mut stream = Taken(4, Vec::new(), Vec::new());
        let requests = [&b"abc"[..], b"def"];
        let written = poll_write(&mut stream, &mut Context::from_waker(Waker::noop()), requests.iter().copied());
        assert!(matches!(written, Poll::Ready(Ok(4))) && stream.1 == b"abcd");
    }
}
