//! Finding files: what the globs name now against what is being read and what is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::discover::Candidate;
use super::super::generation::{Generation, Opening, State, open};
use super::super::identity::{FileId, Overlap, has_content};
use super::super::known::place;
use super::super::siblings::{self, Sibling, is_rotated, is_rotated_name, siblings};
use super::Reader;
use crate::checkpoint::Entry;
use crate::clock;
use crate::config::StartAt;
use crate::event::SourceId;

/// Files that have less than this in common are too easily alike: it is better to send one twice than to take a new one for an old one that was
/// saved anew under its name, or another log's file for a copy.
pub(super) const ALIKE_BYTES: u64 = 4096;
/// The kernel's clock that stamps files lags behind the one that is read here, by up to a tick of it.
const CLOCK_SLACK: Duration = Duration::from_millis(10);

/// A file that was found, and where reading it begins.
#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) group: usize,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Where it was when it had its lane: the files of one path keep their order.
    pub(super) lane: PathBuf,
    pub(super) offset: u64,
    pub(super) tag: u64,
    pub(super) state: State,
    /// It may be a copy that is made of another one.
    pub(super) unproven: bool,
    /// The first generation of the file, if this is not it.
    pub(super) birth: Option<SourceId>,
}

impl Reader {
    pub(super) fn scan(&mut self, now: Instant) {
        let began = clock::now();
        let scan = self.discovery.scan(&self.groups);
        let target_dir = |g: &Generation| g.target.as_ref()?.parent().map(Path::to_owned);
        let links = self.files.iter().filter_map(target_dir);
        self.watch.set(scan.directories.iter().cloned().chain(links).collect());
        let rotated = self.follow_renames(&scan, now);
        self.unreadable.clear();
        let ignored = scan.ignored.clone();
        let mut new: Vec<_> = scan.files.into_iter().filter(|(id, _)| self.files.by_file(*id).is_none()).collect();
        // Older files first: what was written first is sent first.
        new.sort_by_key(|(_, c)| c.metadata.modified().ok());
        let mut new: Vec<Candidate> = new.into_iter().map(|(_, candidate)| candidate).collect();
        if self.scanned {
            self.find_missed(&rotated, now);
            new.retain(|c| self.files.by_file(FileId::of(&c.metadata)).is_none());
        } else {
            self.warn_of_history(&new);
            self.resume(&mut new, now);
        }
        for candidate in new {
            self.open_candidate(candidate, now);
        }
        // What was there before the first look is nothing that was missed.
        self.looked_at = if self.scanned { began } else { began + CLOCK_SLACK };
        self.scanned = true;
        self.count_files(&ignored);
    }

    fn count_files(&self, ignored: &BTreeMap<usize, i64>) {
        let mut counts = vec![[0_i64; 3]; self.groups.len()];
        for generation in self.files.iter() {
            match generation.state {
                State::Live => {
                    counts[generation.group][0] += 1;
                    counts[generation.group][2] += i64::from(self.files.is_quiet(generation.id));
                }
                State::Draining(_) => counts[generation.group][1] += 1,
                State::Done => {}
            }
        }
        for (index, (group, [live, draining, quiet])) in self.groups.iter().zip(counts).enumerate() {
            let count = |state: &str, n: i64| self.metrics.files.with_label_values(&[&*group.name, state]).set(n);
            count("live", live);
            count("quiet", quiet);
            count("draining", draining);
            count("ignored", ignored.get(&index).copied().unwrap_or(0));
            let unreadable = self.unreadable.values().filter(|g| **g == index).count();
            count("unreadable", i64::try_from(unreadable).unwrap_or(i64::MAX));
        }
    }

    /// Without a checkpoint nobody knows what was sent before: a new `state_dir` on an old node sends all of it again.
    fn warn_of_history(&self, new: &[Candidate]) {
        let old: Vec<u64> = new
            .iter()
            .filter(|c| self.first_run && self.groups[c.group].start_at == StartAt::Beginning)
            .map(|c| c.metadata.len())
            .filter(|size| *size > 0)
            .collect();
        if !old.is_empty() {
            tracing::warn!(
                files = old.len(),
                bytes = old.iter().sum::<u64>(),
                "state_dir holds no checkpoint, so these files are sent from their beginning; if an agent with another state_dir has sent them before, they come twice (start_at: end skips what is there)"
            );
        }
    }

    fn open_candidate(&mut self, candidate: Candidate, now: Instant) {
        let Candidate { group, path, metadata } = candidate;
        if let Err(error) = self.try_candidate(group, &path, now) {
            self.unreadable.insert(path.clone(), group);
            tracing::warn!(path = %path.display(), size = metadata.len(), %error, "a file cannot be read and is tried again every second; give this process's user read access to it");
        }
    }

    fn try_candidate(&mut self, group: usize, path: &Path, now: Instant) -> std::io::Result<()> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let id = FileId::of(&metadata);
        // It was replaced between the two looks: the next scan sees what is there then.
        if !metadata.is_file() || self.files.by_file(id).is_some() || self.is_saved_anew(path, &file, now)? {
            return Ok(());
        }
        if let Some(entry) = self.known.of(&file, &metadata)? {
            let entry = entry.clone();
            return self.go_on(&entry, group, path, file, now);
        }
        let is_first = self.first_run && !self.scanned;
        let offset = if is_first && self.groups[group].start_at == StartAt::End { metadata.len() } else { 0 };
        let adoption = Adoption {
            group,
            path: path.to_owned(),
            lane: path.to_owned(),
            offset,
            tag: self.rng.u64(..),
            state: State::Live,
            unproven: !is_first,
            birth: None,
        };
        self.add(adoption, file, now)
    }

    /// Adopts a live file that is known.
    fn go_on(&mut self, known: &Entry, group: usize, path: &Path, file: File, now: Instant) -> std::io::Result<()> {
        let found = Adoption {
            group,
            path: path.to_owned(),
            lane: lane_of(known),
            offset: known.offset,
            tag: known.generation,
            state: State::Live,
            unproven: false,
            birth: None,
        };
        self.add(found, file, now)?;
        // Only now: had it failed, the next scan would need the entry again.
        self.known.remove(place(known));
        Ok(())
    }

    /// A file that was deleted and has come again under its name, with all that was read of it, was saved anew: an editor does that.
    fn is_saved_anew(&mut self, path: &Path, file: &File, now: Instant) -> std::io::Result<bool> {
        let size = file.metadata()?.len();
        let was = |g: &&Generation| {
            g.path == *path && g.deleted_at.is_some() && g.state != State::Done && g.content().end() >= ALIKE_BYTES
        };
        let Some(old) = self.files.closing().find(was) else { return Ok(false) };
        if old.backlog() > 0 || old.content().overlap(file, size)? != Overlap::Whole {
            return Ok(false);
        }
        let (id, file) = (old.id, file.try_clone()?);
        tracing::info!(path = %path.display(), "a file was replaced by one that begins with all that was read of it, and is read on");
        self.files.update(id, |g| {
            g.state = State::Live;
            g.wake(now);
            g.move_to(file)
        });
        self.metrics.rotations.with_label_values(&["replace"]).inc();
        self.checkpoint_soon();
        Ok(true)
    }

    /// The first scan goes on where the last run left: files that are where they were, files that were renamed or copied meanwhile, and rotated
    /// files that came and went. A file's predecessors are adopted before it, so that a lane's lines keep their order.
    fn resume(&mut self, new: &mut Vec<Candidate>, now: Instant) {
        let mut entries: Vec<Entry> = self.known.entries().cloned().collect();
        if entries.is_empty() {
            return;
        }
        let mut places = Places::default();
        let named: BTreeMap<FileId, &Path> = new.iter().map(|c| (FileId::of(&c.metadata), c.path.as_path())).collect();
        let is_in_place = |e: &&Entry| {
            let file = named.get(&place(e)).and_then(|path| open(path).ok());
            file.is_some_and(|f| f.metadata().and_then(|m| has_content(&f, &m, e)).unwrap_or(false))
        };
        for entry in &entries {
            // Lists the directories, which say when each file was written to.
            places.path_of(Path::new(&entry.path), place(entry));
        }
        entries.sort_by_key(|e| places.modified(place(e)));
        let rotated: Vec<&Entry> = entries.iter().filter(|e| !is_in_place(e)).collect();
        for entry in rotated {
            self.resume_rotated(entry, &mut places, now);
        }
        let mut rest = Vec::new();
        for candidate in std::mem::take(new) {
            match self.resume_candidate(&candidate, &mut places, now) {
                Ok(true) => {}
                // What is wrong with it shows when it is opened as a new one.
                Ok(false) | Err(_) => rest.push(candidate),
            }
        }
        *new = rest;
        self.find_come_and_gone(&entries, &mut places, now);
        new.retain(|c| self.files.by_file(FileId::of(&c.metadata)).is_none());
    }

    fn resume_candidate(&mut self, candidate: &Candidate, places: &mut Places, now: Instant) -> std::io::Result<bool> {
        let file = open(&candidate.path)?;
        let metadata = file.metadata()?;
        let (id, path) = (FileId::of(&metadata), &candidate.path);
        if let Some(entry) = self.known.of(&file, &metadata)? {
            let entry = entry.clone();
            self.go_on(&entry, candidate.group, path, file, now)?;
            return Ok(true);
        }
        let others: Vec<FileId> =
            self.known.at_path(path).map(place).filter(|id| places.path_of(path, *id).is_some()).collect();
        // The same log under the same name, on a device that got another number, or saved anew.
        let same = |e: &&Entry| {
            let saved_anew = e.offset >= ALIKE_BYTES && !others.contains(&place(e));
            (e.dev != id.dev && e.head_len > 0 || saved_anew) && has_content(&file, &metadata, e).unwrap_or(false)
        };
        let Some(entry) = self.known.at_path(path).find(same) else { return Ok(false) };
        let entry = entry.clone();
        self.go_on(&entry, candidate.group, path, file, now)?;
        Ok(true)
    }

    /// A file of the last run that has another name now, or was copied and truncated: what is left of it is read first.
    fn resume_rotated(&mut self, entry: &Entry, places: &mut Places, now: Instant) {
        let was = PathBuf::from(&entry.path);
        // Of a file of which nothing was ever read, any other one could be a copy.
        let Some(group) = self.groups.iter().position(|g| entry.head_len > 0 && g.names(&was)) else { return };
        let Some((path, size, file)) = self.find_again(entry, &was, places) else {
            return self.resume_begun_anew(entry, group, places, now);
        };
        let is_itself = file.metadata().is_ok_and(|m| FileId::of(&m) == place(entry));
        let age = clock::now().duration_since(places.modified(place(entry))).unwrap_or_default();
        if is_itself && size == entry.offset && age > self.groups[group].rotate_wait {
            // Nothing is left of it, and nobody writes to it any more. It stays known.
            return;
        }
        tracing::info!(path = %path.display(), was = entry.path, offset = entry.offset, "a file that was rotated meanwhile is read to its end");
        let (offset, tag, state) = (entry.offset, entry.generation, State::Draining(now));
        // It keeps its old name: by that a next start finds its group, and it, again.
        let lane = lane_of(entry);
        let unproven = offset == 0;
        let found = Adoption { group, path: was, lane, offset, tag, state, unproven, birth: None };
        let id = file.metadata().map(|m| FileId::of(&m)).ok();
        self.known.remove(place(entry));
        if let Err(error) = self.add(found, file, now) {
            tracing::warn!(path = %path.display(), %error, "a rotated file cannot be read; the next start tries again");
            self.known.insert(entry.clone());
        } else if let Some(id) = id.filter(|_| !is_itself).and_then(|id| self.files.by_file(id)) {
            self.files.update(id, |g| g.is_copy = true);
        }
    }

    /// A known file that was truncated, written to and then renamed: what it holds now nobody has seen.
    fn resume_begun_anew(&mut self, entry: &Entry, group: usize, places: &mut Places, now: Instant) {
        let was = Path::new(&entry.path);
        let Some(path) = places.path_of(was, place(entry)).filter(|path| is_rotated(was, path)) else { return };
        let Ok(file) = open(&path) else { return };
        let Ok(metadata) = file.metadata() else { return };
        let is_copy = |e: &Entry| e.head_len > 0 && has_content(&file, &metadata, e).unwrap_or(false);
        if metadata.len() == 0 || self.files.by_file(place(entry)).is_some() || self.known.entries().any(is_copy) {
            return;
        }
        tracing::info!(path = %path.display(), was = entry.path, "a file that was truncated and rotated meanwhile is read from its beginning");
        let (tag, state, lane) = (self.rng.u64(..), State::Draining(now), lane_of(entry));
        let found = Adoption { group, path: was.to_owned(), lane, offset: 0, tag, state, unproven: true, birth: None };
        if let Err(error) = self.add(found, file, now) {
            tracing::warn!(path = %path.display(), %error, "a rotated file cannot be read; the next start tries again");
        }
    }

    /// A known file under another name, or its copy if it is still there but has other content now.
    fn find_again(&self, entry: &Entry, was: &Path, places: &mut Places) -> Option<(PathBuf, u64, File)> {
        let path = places.path_of(was, place(entry))?;
        let file = open(&path).ok()?;
        let metadata = file.metadata().ok()?;
        if has_content(&file, &metadata, entry).unwrap_or(false) {
            return Some((path, metadata.len(), file));
        }
        let is_copy = |s: &Sibling, file: &File| {
            let is_copy = has_content(file, &s.metadata, entry)? && self.known.of(file, &s.metadata)?.is_none();
            Ok(is_copy && !self.is_anothers(was, s, entry.offset))
        };
        let (copy, file) = siblings::find(was, |s| self.files.by_file(s.id).is_none(), is_copy)?;
        Some((copy.path, copy.metadata.len(), file))
    }

    /// Files that came after the last look of the last run and were rotated before this one: nobody has seen them yet.
    fn find_come_and_gone(&mut self, entries: &[Entry], places: &mut Places, now: Instant) {
        let mut lanes: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for entry in entries {
            let seen = lanes.entry(PathBuf::from(&entry.path)).or_default();
            *seen = entry.seen.max(*seen);
        }
        for generation in self.files.iter().filter(|g| g.state == State::Live) {
            // Where the file is still there, none has come in its place.
            lanes.remove(&generation.path);
        }
        for (lane, seen) in lanes {
            let seen = SystemTime::UNIX_EPOCH + Duration::from_micros(seen);
            let since = seen.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
            let copies: Vec<&Entry> = entries.iter().filter(|e| Path::new(&e.path) == lane).collect();
            let is_copy = |s: &Sibling| {
                open(&s.path).is_ok_and(|f| {
                    copies.iter().any(|e| e.head_len > 0 && has_content(&f, &s.metadata, e).unwrap_or(false))
                })
            };
            let missed: Vec<Sibling> = places.rotated_since(&lane, since).into_iter().filter(|s| !is_copy(s)).collect();
            self.adopt_missed(&lane, missed, now);
        }
    }

    /// Files that came and were rotated between two scans, beside the ones whose rotation this scan saw.
    fn find_missed(&mut self, rotated: &[PathBuf], now: Instant) {
        for lane in rotated {
            let since = self.looked_at.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
            let missed = rotated_siblings(lane).into_iter().filter(|s| s.created() >= since);
            let is_copy = |s: &Sibling| {
                let file = open(&s.path).and_then(|f| Ok((f.metadata()?.len(), f)));
                file.is_ok_and(|(size, file)| {
                    let overlaps = |g: &Generation| {
                        g.path.parent() == lane.parent()
                            && g.content().overlap(&file, size).is_ok_and(|o| o != Overlap::None)
                    };
                    self.files.iter().any(overlaps)
                })
            };
            let missed: Vec<Sibling> = missed.filter(|s| !is_copy(s)).collect();
            self.adopt_missed(lane, missed, now);
        }
    }

    fn adopt_missed(&mut self, lane: &Path, missed: Vec<Sibling>, now: Instant) {
        let Some(group) = self.groups.iter().position(|g| g.names(lane)) else { return };
        for sibling in missed {
            let opened = open(&sibling.path).and_then(|file| {
                let is_known = self.known.of(&file, &file.metadata()?)?.is_some();
                Ok((!is_known && self.files.by_file(sibling.id).is_none()).then_some(file))
            });
            let added = match opened {
                Ok(None) => continue,
                Ok(Some(file)) => {
                    tracing::info!(path = %sibling.path.display(), was = %lane.display(), "a file that came and was rotated between two looks is read");
                    let (path, lane, state) = (lane.to_owned(), lane.to_owned(), State::Draining(now));
                    let tag = self.rng.u64(..);
                    // Or it is a copy of the file that is there now, which is about to be truncated.
                    self.add(
                        Adoption { group, path, lane, offset: 0, tag, state, unproven: true, birth: None },
                        file,
                        now,
                    )
                }
                Err(error) => Err(error),
            };
            if let Err(error) = added {
                tracing::warn!(path = %sibling.path.display(), %error, "a rotated file cannot be read");
            }
        }
    }

    pub(super) fn add(&mut self, found: Adoption, file: File, now: Instant) -> std::io::Result<()> {
        let Adoption { group, path, lane: lane_path, offset, tag, state, unproven, birth } = found;
        let lane = self.files.lane(&lane_path);
        let partition_key = self.groups[group].partition_key(&lane_path.to_string_lossy());
        let id = self.files.next_id();
        let added = self.groups[group].added(&lane_path.to_string_lossy());
        let birth = birth.unwrap_or(id);
        let opening = Opening { id, birth, group, path, lane_path, lane, partition_key, added, tag, offset, state };
        let mut generation = Generation::new(opening, file, &self.groups[group], now)?;
        generation.unproven = unproven.then_some((now, 0));
        tracing::info!(path = %generation.path.display(), offset, size = generation.size, "reading a file");
        // Whatever was known of an earlier file with this inode.
        self.known.remove(generation.file_id);
        self.files.insert(generation);
        self.close_one_too_many(id);
        self.checkpoint_soon();
        Ok(())
    }
}

/// Where a known file had its lane.
fn lane_of(entry: &Entry) -> PathBuf {
    PathBuf::from(entry.lane.as_ref().unwrap_or(&entry.path))
}

/// Siblings whose names are those of rotated files of this path; older ones first.
fn rotated_siblings(lane: &Path) -> Vec<Sibling> {
    let name_of = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // Of a link, the file that it is of has the name.
    let target = std::fs::canonicalize(lane).ok();
    let names: Vec<String> = [Some(lane), target.as_deref()].into_iter().flatten().filter_map(name_of).collect();
    let is_rotated =
        |s: &Sibling| name_of(&s.path).is_some_and(|other| names.iter().any(|n| is_rotated_name(n, &other)));
    siblings(lane).into_iter().filter(is_rotated).collect()
}

/// What lies in the directories of known files, listed once: there may be thousands of entries of one directory.
#[derive(Debug, Default)]
struct Places {
    directories: BTreeMap<PathBuf, BTreeMap<FileId, (PathBuf, SystemTime)>>,
}

impl Places {
    /// The directories of this path, listed.
    fn around(&mut self, path: &Path) -> impl Iterator<Item = &BTreeMap<FileId, (PathBuf, SystemTime)>> {
        let dirs = siblings::directories(path);
        for dir in &dirs {
            if !self.directories.contains_key(dir) {
                let listed = siblings::list(dir).into_iter().map(|s| (s.id, (s.path.clone(), s.modified())));
                self.directories.insert(dir.clone(), listed.collect());
            }
        }
        let directories = &self.directories;
        dirs.into_iter().filter_map(|dir| directories.get(&dir))
    }

    /// Where a file is in the directories of this path, under whatever name.
    fn path_of(&mut self, path: &Path, id: FileId) -> Option<PathBuf> {
        self.around(path).find_map(|files| files.get(&id)).map(|(path, _)| path.clone())
    }

    fn modified(&self, id: FileId) -> SystemTime {
        let found = self.directories.values().find_map(|files| files.get(&id));
        found.map_or(SystemTime::UNIX_EPOCH, |(_, modified)| *modified)
    }

    /// Rotated files of this path that were created since.
    fn rotated_since(&mut self, lane: &Path, since: SystemTime) -> Vec<Sibling> {
        // What was written to last before that cannot have been created after it.
        if !self.around(lane).any(|files| files.values().any(|(_, modified)| *modified >= since)) {
            return Vec::new();
        }
        rotated_siblings(lane).into_iter().filter(|s| s.created() >= since).collect()
    }
}
