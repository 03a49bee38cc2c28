//! Hints that a directory changed. A hint makes the reader look a little earlier than it would have looked anyway; none is ever needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Config, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::identity::FileId;
use super::mounts;
use crate::metrics::Metrics;

/// Directories are watched for what comes, goes and is renamed; what is written is found by looking at the files, since
/// a busy file would send an event for every write.
#[derive(Debug)]
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// What is wanted.
    wanted: BTreeSet<PathBuf>,
    /// What is watched: the wanted ones, or what exists above them. A directory that was made anew has another inode.
    watched: BTreeMap<PathBuf, FileId>,
    /// Wanted ones on file systems that send no events of what others write.
    silent: BTreeSet<PathBuf>,
    /// File systems that were told of.
    told: BTreeSet<String>,
    hint: Arc<Notify>,
    written: Arc<Notify>,
    metrics: Arc<Metrics>,
}

impl Watch {
    /// A watch on nothing. Where the system gives none, looking every second has to do.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let hint = Arc::new(Notify::new());
        let wake = Arc::clone(&hint);
        let kinds = EventKindMask::CREATE | EventKindMask::REMOVE | EventKindMask::MODIFY_NAME;
        let config = Config::default().with_event_kinds(kinds);
        let overflows = metrics.watch_overflows.clone();
        // One bit: however many events there are, and whatever they say, the next look sees it all.
        let handler = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| event.need_rescan()) {
                overflows.inc();
            }
            wake.notify_one();
        };
        let watcher = RecommendedWatcher::new(handler, config);
        let mut watch = Self {
            watcher: None,
            wanted: BTreeSet::new(),
            watched: BTreeMap::new(),
            silent: BTreeSet::new(),
            told: BTreeSet::new(),
            hint,
            written: Arc::new(Notify::new()),
            metrics,
        };
        match watcher {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(error) => watch.fall_back(&error),
        }
        watch.tell_mode();
        watch
    }

    /// Whether nothing comes of what others write in this directory.
    pub fn is_silent(&self, directory: &Path) -> bool {
        self.silent.contains(directory)
    }

    /// Whether something can change without a hint.
    pub fn is_blind(&self) -> bool {
        self.watcher.is_none() || !self.silent.is_empty()
    }

    /// Watches exactly these directories from now on; of one that is missing, the one in which it would come to be.
    pub fn set(&mut self, wanted: BTreeSet<PathBuf>) {
        if self.watcher.is_none() {
            return;
        }
        if wanted != self.wanted {
            self.find_silent(&wanted);
            self.wanted = wanted;
        }
        let existing: BTreeMap<PathBuf, FileId> = self.wanted.iter().filter_map(|dir| existing(dir)).collect();
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.watched.iter().filter(|(dir, id)| existing.get(*dir) != Some(id)).map(|(dir, _)| dir) {
            // It may be gone from the file system, and its watch with it.
            watcher.unwatch(gone).ok();
        }
        let mut now = BTreeMap::new();
        let mut failed = None;
        for (directory, id) in existing {
            if self.watched.get(&directory) == Some(&id) {
                now.insert(directory, id);
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    now.insert(directory, id);
                    // For what came to be in it before it was watched.
                    self.hint.notify_one();
                }
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => failed = Some(error),
                // It went away, or cannot be read: the next scan tries again.
                Err(_) => {}
            }
        }
        self.watched = now;
        if let Some(error) = failed {
            self.fall_back(&error);
        }
        self.tell_mode();
    }

    /// Completes when something may have changed since the last call.
    pub async fn hint(&self) {
        self.hint.notified().await;
    }

    /// What a watch on writes wakes the reader with.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.written)
    }

    /// Completes when something was written to a quiet file.
    pub async fn written(&self) {
        self.written.notified().await;
    }

    fn find_silent(&mut self, wanted: &BTreeSet<PathBuf>) {
        let mounts = mounts::Mounts::read();
        self.silent.clear();
        for directory in wanted {
            let Some(kind) = mounts.kind_of(directory) else { continue };
            self.silent.insert(directory.clone());
            if self.told.insert(kind.to_owned()) {
                tracing::warn!(directory = %directory.display(), file_system = kind, "this file system does not tell what others change in it; new files are noticed within a second by looking");
            }
        }
    }

    fn fall_back(&mut self, error: &notify::Error) {
        self.watcher = None;
        self.watched.clear();
        tracing::warn!(%error, "directories cannot be watched; new files are noticed within a second by looking (raise fs.inotify.max_user_instances and max_user_watches for sooner)");
    }

    fn tell_mode(&self) {
        let watched = i64::try_from(self.watched.len()).unwrap_or(i64::MAX);
        self.metrics.watch_mode.with_label_values(&["notify"]).set(i64::from(self.watcher.is_some()));
        self.metrics.watch_mode.with_label_values(&["poll"]).set(i64::from(self.is_blind()));
        self.metrics.watched_directories.set(watched);
    }
}

/// The directory, or the nearest above it that exists.
pub(super) fn existing(directory: &Path) -> Option<(PathBuf, FileId)> {
    directory.ancestors().find_map(|dir| {
        let metadata = std::fs::metadata(dir).ok().filter(std::fs::Metadata::is_dir)?;
        Some((dir.to_owned(), FileId::of(&metadata)))
    })
}
