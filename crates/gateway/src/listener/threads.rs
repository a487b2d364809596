//! The threads that serve clients and workers, each with a runtime of its own: the main one and, with
//! `runtime.threads` above 1, further ones. A client is served on one of them as long as it stays, and its
//! requests by workers of the same one, so that threads do not have to wake each other.
//!
//! Owns the further threads: they end when this is dropped, after all tasks have ended or been aborted.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Threads {
    /// Of each thread, the main one's first.
    runtimes: Vec<Handle>,
    seated: Vec<Arc<AtomicUsize>>,
    further: Vec<Further>,
}

/// A thread besides the main one, with a runtime of its own. Ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Further {
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// A session's place on a thread, as long as it holds this.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(super) thread: usize,
    seated: Arc<AtomicUsize>,
}

/// The runtime of one thread, which blocks on what is to be done there.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

impl Threads {
    /// Starts as many threads as there are to be besides that of `main`.
    pub(crate) fn start(main: &Handle, count: usize) -> io::Result<Self> {
        let mut threads = Self { runtimes: vec![main.clone()], seated: vec![Arc::default()], further: Vec::new() };
        for number in 2..=count {
            let (runtime, further) = Further::start(format!("respool-{number}"))?;
            threads.runtimes.push(runtime);
            threads.seated.push(Arc::default());
            threads.further.push(further);
        }
        Ok(threads)
    }

    pub(crate) fn runtimes(&self) -> &[Handle] {
        &self.runtimes
    }

    /// A place on the thread that has the fewest sessions.
    pub(crate) fn seat(&self) -> Seat {
        let counts = self.seated.iter().map(|seated| seated.load(Ordering::Relaxed)).enumerate();
        let thread = counts.min_by_key(|(_, count)| *count).map_or(0, |(thread, _)| thread);
        self.seated[thread].fetch_add(1, Ordering::Relaxed);
        Seat { thread, seated: Arc::clone(&self.seated[thread]) }
    }
}

impl Further {
    /// Starts it; where tasks for it are spawned.
    pub(crate) fn start(name: String) -> io::Result<(Handle, Self)> {
        let runtime = runtime()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name).spawn(move || {
            // The sender is only ever dropped.
            runtime.block_on(async { drop(stopped.await) });
            runtime.shutdown_background();
        })?;
        Ok((handle, Self { stop: Some(stop), thread: Some(thread) }))
    }
}

impl Drop for Further {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its tasks catch their own panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seated.fetch_sub(1, Ordering::Relaxed);
    }
}
