//! Notice of writes to quiet files, where there are so many that looking at each of them would cost. A directory whose files are mostly quiet is
//! watched for writes; one in which much is written is not, since every write would be an event. What is not watched is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use notify::{Config, EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};

use super::identity::FileId;
use super::watch::existing;

/// Events on their way to the reader; beyond that it looks at everything.
const QUEUE: usize = 1024;
/// Events between two sweeps from files that are not quiet, from which on a directory is too noisy to be watched.
const NOISY: u32 = 500;
/// For so many sweeps, of half a second and more, it is not watched then.
const NOISY_RESTS: u32 = 60;

/// A watch on writes.
#[derive(Debug)]
pub struct Writes {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<PathBuf>,
    lost: Arc<AtomicBool>,
    /// Directories that are watched, each with the inode that it had then.
    watched: BTreeMap<PathBuf, FileId>,
    noise: BTreeMap<PathBuf, u32>,
    /// Directories that are too noisy, and for how many more sweeps they count as that.
    noisy: BTreeMap<PathBuf, u32>,
}

impl Writes {
    /// A watch on nothing.
    pub fn new(wake: Arc<Notify>) -> notify::Result<Self> {
        let (sender, events) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&lost);
        let handler = move |event: notify::Result<notify::Event>| {
            let sent = match event {
                Ok(event) if !event.need_rescan() => event.paths.into_iter().all(|path| sender.try_send(path).is_ok()),
                _ => false,
            };
            if !sent {
                flag.store(true, Ordering::Release);
            }
            wake.notify_one();
        };
        let config = Config::default().with_event_kinds(EventKindMask::MODIFY_DATA);
        let watcher = RecommendedWatcher::new(handler, config)?;
        Ok(Self { watcher, events, lost, watched: BTreeMap::new(), noise: BTreeMap::new(), noisy: BTreeMap::new() })
    }

    /// The files that were written to since the last call.
    pub fn take(&mut self) -> impl Iterator<Item = PathBuf> {
        std::iter::from_fn(|| self.events.try_recv().ok())
    }

    /// Whether there was more than could be told of.
    pub fn has_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// An event of a file that is looked at anyway.
    pub fn count_noise(&mut self, directory: &Path) {
        *self.noise.entry(directory.to_owned()).or_default() += 1;
    }

    /// Whether writes to this directory's files are told of.
    pub fn covers(&self, directory: &Path) -> bool {
        self.watched.contains_key(directory)
    }

    /// Watches these directories as far as that is worth while. What is watched newly is to be looked at once more.
    pub fn set(&mut self, wanted: &BTreeSet<PathBuf>) -> notify::Result<BTreeSet<PathBuf>> {
        // A noisy directory is left alone for a while, and then gets another chance.
        self.noisy.values_mut().for_each(|rests| *rests -= 1);
        self.noisy.retain(|_, rests| *rests > 0);
        let noisy = std::mem::take(&mut self.noise).into_iter().filter(|(_, events)| *events > NOISY);
        self.noisy.extend(noisy.map(|(directory, _)| (directory, NOISY_RESTS)));
        let is_wanted = |dir: &PathBuf| wanted.contains(dir) && !self.noisy.contains_key(dir);
        let over: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|(dir, id)| !is_wanted(dir) || existing(dir).as_ref() != Some(&((*dir).clone(), **id)))
            .map(|(dir, _)| dir.clone())
            .collect();
        for directory in over {
            self.watched.remove(&directory);
            // It may be gone, and its watch with it.
            self.watcher.unwatch(&directory).ok();
        }
        let mut new = BTreeSet::new();
        for directory in wanted.iter().filter(|dir| !self.noisy.contains_key(*dir)) {
            if self.watched.contains_key(directory) {
                continue;
            }
            let Some((_, id)) = existing(directory).filter(|(found, _)| found == directory) else { continue };
            self.watcher.watch(directory, RecursiveMode::NonRecursive)?;
            self.watched.insert(directory.clone(), id);
            new.insert(directory.clone());
        }
        Ok(new)
    }
}
