//! The files that are being read, by name, by place and by lane, and when each is looked at next. Bookkeeping only: every change of a
//! generation goes through here, so that the indexes are true.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::generation::{Generation, State};
use super::identity::FileId;
use crate::event::{LaneId, SourceId};

/// Descriptors that are left for everything that is not a file being read.
const RESERVED_DESCRIPTORS: usize = 64;
/// More are never held, however many the process may have.
const MAX_DESCRIPTORS: usize = 4096;
/// What is assumed where the limit cannot be learnt: the usual soft limit.
const USUAL_LIMIT: usize = 1024;

/// Files that had one path, one after the other.
#[derive(Debug)]
struct Lane {
    path: PathBuf,
    /// Names that a file of it has, or had, beside that.
    aliases: Vec<PathBuf>,
    /// In their order: that of the files, and of what was read of each before it was truncated.
    members: BTreeSet<(SourceId, SourceId)>,
}

/// All open generations.
#[derive(Debug, Default)]
pub struct Files {
    generations: BTreeMap<SourceId, Generation>,
    by_file: BTreeMap<FileId, SourceId>,
    lanes: BTreeMap<LaneId, Lane>,
    by_path: BTreeMap<PathBuf, LaneId>,
    /// When which is due. Quiet ones are not in it.
    due: BTreeSet<(Instant, SourceId)>,
    scheduled: BTreeMap<SourceId, Instant>,
    /// Quiet ones, by directory and name.
    quiet: BTreeMap<PathBuf, BTreeMap<OsString, SourceId>>,
    /// No longer live.
    closing: BTreeSet<SourceId>,
    next_id: u32,
    next_lane: u32,
    open: usize,
    limit: usize,
}

impl Files {
    /// No files; as many descriptors as the process may have and no more than is sensible.
    pub fn new() -> Self {
        let limit = descriptor_limit().unwrap_or(USUAL_LIMIT).saturating_sub(RESERVED_DESCRIPTORS);
        Self { limit: limit.clamp(1, MAX_DESCRIPTORS), ..Self::default() }
    }

    /// A name for another generation.
    pub fn next_id(&mut self) -> SourceId {
        self.next_id += 1;
        SourceId(self.next_id - 1)
    }

    /// The lane of this path.
    pub fn lane(&mut self, path: &Path) -> LaneId {
        if let Some(lane) = self.by_path.get(path) {
            return *lane;
        }
        self.next_lane += 1;
        let lane = LaneId(self.next_lane);
        self.by_path.insert(path.to_owned(), lane);
        self.lanes.insert(lane, Lane { path: path.to_owned(), aliases: Vec::new(), members: BTreeSet::new() });
        lane
    }

    /// A name of a file that has several: the next file of that name shares the file's lane, unless the name has one.
    pub fn alias(&mut self, id: SourceId, name: &Path) {
        let Some(lane) = self.generations.get(&id).map(|g| g.lane) else { return };
        if !self.by_path.contains_key(name)
            && let Some(of) = self.lanes.get_mut(&lane)
        {
            self.by_path.insert(name.to_owned(), lane);
            of.aliases.push(name.to_owned());
        }
    }

    /// The path that a lane has its name from, by that or by another name.
    pub fn lane_path(&self, name: &Path) -> Option<&Path> {
        let lane = self.by_path.get(name)?;
        self.lanes.get(lane).map(|lane| lane.path.as_path())
    }

    /// The live files of the lane of this path.
    pub fn live_in(&self, path: &Path) -> Vec<SourceId> {
        let lane = self.by_path.get(path).and_then(|lane| self.lanes.get(lane));
        let members = lane.into_iter().flat_map(|lane| &lane.members).map(|(_, id)| *id);
        members.filter(|id| self.generations.get(id).is_some_and(|g| g.state == State::Live)).collect()
    }

    /// The paths whose files are being read.
    pub fn lanes(&self) -> impl Iterator<Item = &Path> {
        self.by_path.keys().map(PathBuf::as_path)
    }

    /// Takes in a generation.
    pub fn insert(&mut self, generation: Generation) {
        let id = generation.id;
        self.by_file.insert(generation.file_id, id);
        if let Some(lane) = self.lanes.get_mut(&generation.lane) {
            lane.members.insert((generation.birth, id));
        }
        self.open += usize::from(generation.is_open());
        self.schedule(id, Some(generation.next_poll));
        if generation.state != State::Live {
            self.closing.insert(id);
        }
        self.generations.insert(id, generation);
    }

    /// Takes out a generation, and its lane with the last one.
    pub fn remove(&mut self, id: SourceId) -> Option<Generation> {
        self.end_quiet(id);
        let generation = self.generations.remove(&id)?;
        if self.by_file.get(&generation.file_id) == Some(&id) {
            self.by_file.remove(&generation.file_id);
        }
        self.open -= usize::from(generation.is_open());
        self.schedule(id, None);
        self.closing.remove(&id);
        if let Some(lane) = self.lanes.get_mut(&generation.lane) {
            lane.members.remove(&(generation.birth, id));
            if lane.members.is_empty() {
                self.by_path.remove(&lane.path);
                for name in &lane.aliases {
                    self.by_path.remove(name);
                }
                self.lanes.remove(&generation.lane);
            }
        }
        Some(generation)
    }

    /// Changes a generation.
    pub fn update<R>(&mut self, id: SourceId, change: impl FnOnce(&mut Generation) -> R) -> Option<R> {
        self.end_quiet(id);
        let generation = self.generations.get_mut(&id)?;
        let (was_open, was_file) = (generation.is_open(), generation.file_id);
        let result = change(generation);
        let (is_open, file, state, poll) =
            (generation.is_open(), generation.file_id, generation.state, generation.next_poll);
        self.open = self.open + usize::from(is_open) - usize::from(was_open);
        if file != was_file {
            if self.by_file.get(&was_file) == Some(&id) {
                self.by_file.remove(&was_file);
            }
            self.by_file.insert(file, id);
        }
        if state == State::Live {
            self.closing.remove(&id);
        } else {
            self.closing.insert(id);
        }
        self.schedule(id, (state != State::Done).then_some(poll));
        Some(result)
    }

    /// Does something with each generation that changes neither its place, its state, its descriptor nor when it is due.
    pub fn for_each(&mut self, act: impl FnMut(&mut Generation)) {
        self.generations.values_mut().for_each(act);
    }

    /// Looks at the file only together with all quiet ones from now on.
    pub fn make_quiet(&mut self, id: SourceId) {
        let Some(generation) = self.generations.get(&id) else { return };
        let Some((directory, name)) = generation.directory_and_name() else { return };
        if !self.quiet.contains_key(directory) {
            self.quiet.insert(directory.to_owned(), BTreeMap::new());
        }
        if let Some(names) = self.quiet.get_mut(directory) {
            names.insert(name.to_owned(), id);
        }
        self.schedule(id, None);
    }

    /// The file is looked at by itself again.
    fn end_quiet(&mut self, id: SourceId) {
        let Some((directory, name)) = self.generations.get(&id).and_then(Generation::directory_and_name) else {
            return;
        };
        if let Some(names) = self.quiet.get_mut(directory)
            && names.get(name) == Some(&id)
        {
            names.remove(name);
            if names.is_empty() {
                self.quiet.remove(directory);
            }
        }
    }

    /// The quiet file of this path.
    pub fn quiet_at(&self, path: &Path) -> Option<SourceId> {
        self.quiet.get(path.parent()?)?.get(path.file_name()?).copied()
    }

    /// The directories of quiet files, with how many there are in each.
    pub fn quiet_directories(&self) -> impl Iterator<Item = (&Path, usize)> {
        self.quiet.iter().map(|(directory, names)| (directory.as_path(), names.len()))
    }

    /// Whether a file is looked at only now and then.
    pub fn is_quiet(&self, id: SourceId) -> bool {
        !self.scheduled.contains_key(&id)
    }

    /// How many files are quiet.
    pub fn quiet(&self) -> usize {
        self.quiet.values().map(BTreeMap::len).sum()
    }

    /// Looks at all quiet files of these directories.
    pub fn sweep(&mut self, is_due: impl Fn(&Path) -> bool, mut look: impl FnMut(&mut Generation) -> bool) {
        let ids = self.quiet.iter().filter(|(directory, _)| is_due(directory)).flat_map(|(_, names)| names.values());
        let mut awake = Vec::new();
        for id in ids {
            if self.generations.get_mut(id).is_some_and(&mut look) {
                awake.push(*id);
            }
        }
        for id in awake {
            self.update(id, |_| ());
        }
    }

    fn schedule(&mut self, id: SourceId, at: Option<Instant>) {
        let was = match at {
            Some(at) => self.scheduled.insert(id, at),
            None => self.scheduled.remove(&id),
        };
        if was == at {
            return;
        }
        if let Some(was) = was {
            self.due.remove(&(was, id));
        }
        if let Some(at) = at {
            self.due.insert((at, id));
        }
    }

    /// One generation.
    pub fn get(&self, id: SourceId) -> Option<&Generation> {
        self.generations.get(&id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Generation> {
        self.generations.values()
    }

    /// Their names.
    pub fn ids(&self) -> Vec<SourceId> {
        self.generations.keys().copied().collect()
    }

    /// Which generation reads the file at this place.
    pub fn by_file(&self, id: FileId) -> Option<SourceId> {
        self.by_file.get(&id).copied()
    }

    /// Those that no glob names any more, and those that are done with.
    pub fn closing(&self) -> impl Iterator<Item = &Generation> {
        self.closing.iter().filter_map(|id| self.generations.get(id))
    }

    /// Those of its lane that came before this one.
    pub fn before(&self, id: SourceId) -> impl Iterator<Item = &Generation> {
        let generation = self.generations.get(&id);
        let lane = generation.and_then(|g| Some((g, self.lanes.get(&g.lane)?)));
        let members = lane.map(|(g, lane)| lane.members.range(..(g.birth, id)));
        members.into_iter().flatten().filter_map(|(_, id)| self.generations.get(id))
    }

    /// Those that are due, the longest due first.
    pub fn due(&self, now: Instant) -> Vec<SourceId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether there are more descriptors than there should be.
    pub fn has_too_many_open(&self) -> bool {
        self.open > self.limit
    }
}

/// How many descriptors this process may have.
fn descriptor_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(usize::MAX) } else { soft.parse().ok() }
}
