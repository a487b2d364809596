//! The command `relay`: passes bytes on to an upstream and its replies back after a fixed time, so
//! that a far upstream can be had on one machine.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use clap::Args;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split},
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
};

use crate::{
    drive::{alarm::Alarm, interrupt::Interrupt},
    load::{LoadError, arguments::within},
    report::failure::Failure,
    system::SystemError,
    target::{Target, TlsArgs, stream::Stream},
};

/// Pieces of at most [`PIECE_BYTES_MAX`] that are under way to one client; beyond, the upstream waits.
const UNDER_WAY_MAX: usize = 1_024;
const PIECE_BYTES_MAX: usize = 16 << 10;
/// The longest time to connect to the upstream.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// `relay`
#[derive(Debug, Clone, Args)]
pub struct RelayArgs {
    /// Where the bytes go.
    #[arg(long, value_name = "URL")]
    pub upstream: Target,
    /// TLS to the upstream.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Where to listen; port 0 is a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How long replies are held back, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1.0, value_parser = delay)]
    pub delay_ms: f64,
}

fn delay(text: &str) -> Result<f64, String> {
    within(text, 0.0, 60_000.0, "a delay is a number of milliseconds")
}

/// A relay that listens already.
#[derive(Debug)]
pub struct Relay {
    listener: TcpListener,
    upstream: Target,
    delay: Duration,
}

/// Runs it until Ctrl-C.
///
/// # Errors
/// The address cannot be listened on.
pub async fn relay(args: &RelayArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let failed = |error| SystemError::Io(format!("listen on {}", args.listen), error);
    let upstream = args.upstream.clone().with_tls(&args.tls).map_err(LoadError::from)?;
    let relay = Relay::bind(args.listen, upstream, Duration::from_secs_f64(args.delay_ms / 1e3));
    let relay = relay.await.map_err(failed)?;
    println!("redis://{}", relay.listener.local_addr().map_err(failed)?);
    tokio::select! {
        ended = relay.run() => ended.map_err(LoadError::System)?,
        () = interrupt.come() => {}
    }
    Ok(0)
}

impl Relay {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address is taken or not allowed.
    pub async fn bind(listen: SocketAddr, upstream: Target, delay: Duration) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(listen).await?, upstream, delay })
    }

    /// Where to connect to it.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn target(&self) -> io::Result<Target> {
        Ok(Target::loopback(self.listener.local_addr()?.port()))
    }

    /// Relays for as long as it is polled.
    ///
    /// # Errors
    /// Connections can no longer be accepted.
    pub async fn run(self) -> io::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = self.listener.accept().await?;
            client.set_nodelay(true)?;
            let (upstream, delay) = (self.upstream.clone(), self.delay);
            connections.spawn(async move {
                // An end of either side ends the other; there is nobody to tell.
                carry(Stream::Tcp(client), &upstream, delay).await.ok();
            });
            while connections.try_join_next().is_some() {}
        }
    }
}

async fn carry(client: Stream, upstream: &Target, delay: Duration) -> io::Result<()> {
    let upstream = upstream.connect(2, CONNECT_TIME_MAX).await.map_err(io::Error::other)?;
    let ((mut requests, replies), (from_upstream, mut to_upstream)) = (split(client), split(upstream));
    let (sender, receiver) = mpsc::channel(UNDER_WAY_MAX);
    tokio::select! {
        done = copy(&mut requests, &mut to_upstream) => done.map(|_| ()),
        done = take(from_upstream, sender, delay) => done,
        done = give(receiver, replies) => done,
    }
}

async fn take(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<(Instant, Bytes)>, delay: Duration) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE_BYTES_MAX);
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let due = Instant::now() + delay;
        if to.send((due, buffer.split().freeze())).await.is_err() {
            return Ok(());
        }
    }
}

async fn give(mut from: mpsc::Receiver<(Instant, Bytes)>, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    let alarm = Alarm::new()?;
    while let Some((due, piece)) = from.recv().await {
        alarm.wait_until(due).await?;
        to.write_all(&piece).await?;
        to.flush().await?;
    }
    Ok(())
}
