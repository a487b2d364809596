//! Writes every key of the strings once before a load, so that reads find values of the right size.

use resp::{ReplyKind, ReplyScanner};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    load::{Load, LoadError},
    target::{DEPTH_MAX, TargetError},
    traffic::requests::Requests,
};

/// Requests that are sent before their replies are read.
const BURST: u64 = 64;
const BURST_STEP: usize = 64;

/// Fills the keys if the load wants it.
///
/// # Errors
/// The target cannot be reached, or refuses a `SET`.
pub async fn fill(load: &Load) -> Result<(), LoadError> {
    if !load.fill {
        return Ok(());
    }
    let closed = |error| TargetError::Closed(load.target.to_string(), error);
    let mut stream = load.target.connect(load.protocol, load.connect_timeout).await?;
    let mut requests = Requests::new(load, 0, None);
    let (mut out, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    for first in (0..load.keys).step_by(BURST_STEP) {
        out.clear();
        let keys = first..(first + BURST).min(load.keys);
        let mut due = keys.end - keys.start;
        keys.for_each(|key| requests.fill(&mut out, key));
        stream.write_all(&out).await.map_err(closed)?;
        stream.flush().await.map_err(closed)?;
        let mut scanner = ReplyScanner::new(DEPTH_MAX);
        while due > 0 {
            let read = timeout(load.reply_timeout, stream.read(&mut buffer))
                .await
                .map_err(|_| TargetError::Timeout(load.target.to_string(), load.reply_timeout))?
                .map_err(closed)?;
            if read == 0 {
                return Err(closed(std::io::ErrorKind::UnexpectedEof.into()).into());
            }
            let mut chunk = &buffer[..read];
            while !chunk.is_empty() {
                let progress = scanner
                    .scan(chunk)
                    .map_err(|error| TargetError::NotResp(load.target.to_string(), error.to_string()))?;
                let (piece, rest) = chunk.split_at(progress.consumed);
                match progress.complete {
                    Some(ReplyKind::Error) => {
                        let text = String::from_utf8_lossy(piece).trim_end().to_owned();
                        return Err(TargetError::Refused(load.target.to_string(), "SET".to_owned(), text).into());
                    }
                    Some(ReplyKind::Answer) => due = due.saturating_sub(1),
                    Some(ReplyKind::Push) | None => {}
                }
                chunk = rest;
            }
        }
    }
    Ok(())
}
