//! The command `floor`: a bare event loop that answers requests with canned replies and has no upstream.
//! One `recv` and one `send` for what a client has sent together: no gateway that serves its clients by
//! readiness can cost less on this machine. With an upstream it is a bare gateway: the same for those that make
//! batches of what their clients send.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use clap::Args;

use crate::{
    drive::interrupt::Interrupt,
    load::LoadError,
    report::failure::Failure,
    serve::{bare::Bare, event_loop::EventLoop},
    system::SystemError,
};

/// `floor`
#[derive(Debug, Clone, Args)]
pub struct FloorArgs {
    /// Where to listen; port 0 is a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// A unix socket to listen on as well.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Pass requests on to this Redis in batches, and its replies back, in place of canned ones: the least that a
    /// gateway does. It mends no fault and bounds nothing.
    #[arg(long, value_name = "HOST:PORT")]
    pub upstream: Option<String>,
}

/// Serves clients until it is to stop.
type Serve = Box<dyn FnOnce(&AtomicBool) -> io::Result<()> + Send>;

/// Runs it until Ctrl-C.
///
/// # Errors
/// An address cannot be listened on, Redis cannot be reached, or the event loop fails.
pub async fn floor(args: &FloorArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let (serve, address): (Serve, SocketAddr) = match &args.upstream {
        None => {
            let failed = |error| SystemError::Io(format!("listen on {}", args.listen), error);
            let (mut events, address) = EventLoop::listen(args.listen, args.socket.as_deref()).map_err(failed)?;
            (Box::new(move |stop| events.run(stop)), address)
        }
        Some(upstream) => {
            let failed = |error| SystemError::Io(format!("connect to {upstream} or listen on {}", args.listen), error);
            let (mut bare, address) = Bare::listen(args.listen, args.socket.as_deref(), upstream).map_err(failed)?;
            (Box::new(move |stop| bare.run(stop)), address)
        }
    };
    println!("redis://{address}");
    let stop = Arc::new(AtomicBool::new(false));
    let (is_stopped, (done, ended)) = (Arc::clone(&stop), tokio::sync::oneshot::channel());
    // A thread of its own, so that nothing of the runtime stands between it and the system.
    let running = thread::spawn(move || {
        // The other side is there until this is sent, or wants to know nothing any more.
        done.send(serve(&is_stopped)).ok();
    });
    let ended = tokio::select! {
        ended = ended => ended,
        () = interrupt.come() => Ok(Ok(())),
    };
    stop.store(true, Ordering::Relaxed);
    running.join().map_err(|_| LoadError::Driver)?;
    ended.map_err(|_| LoadError::Driver)?.map_err(LoadError::System)?;
    Ok(0)
}
