//! Lines that wait to be written when the process ends: it waits for them, and not for a reader who stalls. Held by `main`.

use std::{sync::mpsc, thread, time::Duration};

use tracing_appender::non_blocking::WorkerGuard;

/// A little more than the guard takes.
const REST_MAX: Duration = Duration::from_millis(1200);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Rest(Option<WorkerGuard>);

impl Rest {
    /// `guard` has it written when it is dropped.
    pub(crate) fn new(guard: WorkerGuard) -> Self {
        Self(Some(guard))
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let (guard, (written, wait)) = (self.0.take(), mpsc::channel::<()>());
        // Where it has no room it says so on standard output, and waits for the reader of that.
        let writes = thread::Builder::new().spawn(move || {
            drop(guard);
            drop(written);
        });
        if writes.is_ok() {
            // Ends with an error either way.
            let _ = wait.recv_timeout(REST_MAX);
        }
    }
}
