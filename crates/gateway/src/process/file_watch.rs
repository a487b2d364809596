//! Watches the configuration file for `reload = "watch"` and says when what is in it has changed and come to
//! rest. A thread of its own does it, because a file system may take its time; `gateway` waits for its news.
//!
//! The directories are watched rather than the file, since editors and deployments put another file, or
//! another link, in its place. Where the file system gives no news it looks by itself now and then.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// How long there must be no news before what is written counts as whole.
const QUIET: Duration = Duration::from_millis(100);

/// How long news may go on until the file is looked at all the same.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// How often it looks without news.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// News of a file's content. The thread behind it ends once this is dropped, at its next look.
#[derive(Debug)]
pub(crate) struct FileWatch {
    changed: Arc<Notify>,
}

impl FileWatch {
    /// Compares with what is in the file now.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        let changed = Arc::new(Notify::new());
        let (owner, path) = (Arc::downgrade(&changed), path.to_owned());
        let seen = content(&path);
        thread::Builder::new().name("file-watch".into()).spawn(move || watch(&path, seen, &owner))?;
        Ok(Self { changed })
    }

    /// Waits until the content is another. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// What is in a file; nothing if it cannot be read.
fn content(path: &Path) -> Option<Vec<u8>> {
    // A pipe, which can be read only once, or a terminal, at which reading would wait.
    path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    std::fs::read(path).ok()
}

fn watch(path: &Path, mut seen: Option<Vec<u8>>, owner: &Weak<Notify>) {
    // One piece of news is as good as many. This sender stays, so that waiting for news is a wait without it too.
    let (sender, news) = sync_channel(1);
    let teller = sender.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.is_ok_and(|event| tells_of_change(event.kind)) {
            let _ = teller.try_send(());
        }
    });
    if let Err(error) = &watcher {
        tracing::warn!(%error, every_s = LOOK_EVERY.as_secs(), "cannot watch the configuration file, reading it now and then");
    }
    let mut directories = Directories { watcher: watcher.ok(), watched: BTreeSet::new() };
    loop {
        directories.follow(path);
        let now = content(path);
        let Some(owner) = owner.upgrade() else { return };
        if now != seen {
            if now.as_ref().is_some_and(|bytes| bytes.trim_ascii().is_empty()) {
                // Valid, and about never what is meant: somebody has truncated it and not written it yet.
                tracing::error!(path = %path.display(), "configuration file is empty, nothing has changed");
            } else {
                owner.notify_one();
            }
            seen = now;
        }
        drop(owner);
        settle(&news);
    }
}

/// Our own reading is no news.
fn tells_of_change(kind: EventKind) -> bool {
    !kind.is_access() || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Waits for news, or for the time to look without, and then until there is no more of it.
fn settle(news: &Receiver<()>) {
    if news.recv_timeout(LOOK_EVERY).is_err() {
        return;
    }
    let began = Instant::now();
    while began.elapsed() < SETTLE_MAX && news.recv_timeout(QUIET).is_ok() {}
}

/// The directories in which the file may be replaced.
struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Directories {
    /// Watches where `path` is and where the links in it lead now. A directory that was replaced by another
    /// of its name is watched anew.
    fn follow(&mut self, path: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = [Some(path.to_owned()), path.canonicalize().ok()]
            .into_iter()
            .flatten()
            .filter_map(|path| Some(path.parent()?.to_owned()))
            .map(|directory| if directory.as_os_str().is_empty() { ".".into() } else { directory })
            .collect();
        for directory in self.watched.difference(&wanted) {
            // It may be gone, and its watch with it.
            let _ = watcher.unwatch(directory);
        }
        self.watched = wanted.into_iter().filter(|it| watcher.watch(it, RecursiveMode::NonRecursive).is_ok()).collect();
    }
}
