//! Hints that a directory changed. A hint makes the reader look a little earlier than it would have looked anyway; none is ever needed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use notify::{Config, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// Directories are watched for what comes, goes and is renamed; what is written is found by looking at the files, since
/// a busy file would send an event for every write.
#[derive(Debug)]
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    hint: Arc<Notify>,
    metrics: Arc<Metrics>,
}

impl Watch {
    /// A watch on nothing. Where the system gives none, looking every second has to do.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let hint = Arc::new(Notify::new());
        let wake = Arc::clone(&hint);
        let kinds = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
        let config = Config::default().with_event_kinds(kinds);
        // One bit: however many events there are, and whatever they say (an overflow too), the next look sees it all.
        let watcher = RecommendedWatcher::new(move |_| wake.notify_one(), config);
        let mut watch = Self { watcher: None, directories: BTreeSet::new(), hint, metrics };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.fall_back(&error),
        }
        watch.tell_mode();
        watch
    }

    /// Watches exactly these directories from now on.
    pub fn set(&mut self, directories: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(&directories) {
            // It may be gone from the file system, and its watch with it.
            watcher.unwatch(gone).ok();
        }
        let mut now = BTreeSet::new();
        let mut failed = None;
        for directory in directories {
            if self.directories.contains(&directory) {
                now.insert(directory);
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    now.insert(directory);
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => failed = Some(error),
                // It does not exist yet, or cannot be read: the next scan tries again.
                Err(_) => {}
            }
        }
        self.directories = now;
        if let Some(error) = failed {
            self.fall_back(&error);
            self.tell_mode();
        }
    }

    /// Completes when something may have changed since the last call.
    pub async fn hint(&self) {
        self.hint.notified().await;
    }

    fn fall_back(&mut self, error: &notify::Error) {
        self.watcher = None;
        self.directories.clear();
        tracing::warn!(%error, "directories cannot be watched; new files are noticed within a second by looking (raise fs.inotify.max_user_instances and max_user_watches for sooner)");
    }

    fn tell_mode(&self) {
        let notify = i64::from(self.watcher.is_some());
        self.metrics.watch_mode.with_label_values(&["notify"]).set(notify);
        self.metrics.watch_mode.with_label_values(&["poll"]).set(1 - notify);
    }
}
