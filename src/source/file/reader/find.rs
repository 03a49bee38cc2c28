//! Finding files: what the globs name now against what is being read and what is known.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::discover::Candidate;
use super::super::generation::{Generation, Opening, State, open};
use super::super::identity::{FileId, Overlap};
use super::super::known::place;
use super::super::siblings::{Sibling, is_rotated_name, siblings};
use super::{Reader, VACANT_FOR};
use crate::checkpoint::Entry;
use crate::clock;
use crate::config::StartAt;
use crate::event::SourceId;
use crate::heartbeat::Doing;

/// Files that have less than this in common are too easily alike: it is better to send one twice than to take a new one for an old one that was
/// saved anew under its name, or another log's file for a copy.
pub(super) const ALIKE_BYTES: u64 = 4096;
/// The kernel's clock that stamps files lags behind the one that is read here, by up to a tick of it.
pub(super) const CLOCK_SLACK: Duration = Duration::from_millis(10);

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
        if self.before.is_some() {
            self.regroup(&scan, now);
        }
        let mut rotated = self.follow_renames(&scan, now);
        rotated.extend(self.vacant.keys().cloned());
        self.unreadable.clear();
        let ignored = scan.ignored.clone();
        let mut new: Vec<_> = scan.files.into_iter().filter(|(id, _)| self.files.by_file(*id).is_none()).collect();
        // Older files first: what was written first is sent first.
        new.sort_by_key(|(_, c)| c.metadata.modified().ok());
        let mut new: Vec<Candidate> = new.into_iter().map(|(_, candidate)| candidate).collect();
        self.adopt_segments(now);
        if self.scanned {
            self.find_missed(&rotated, now);
            new.retain(|c| self.files.by_file(FileId::of(&c.metadata)).is_none());
        } else {
            self.warn_of_history(&new);
        }
        self.resume(self.to_resume(), &mut new, now);
        for candidate in new {
            self.open_candidate(candidate, now);
        }
        self.note_vacant(rotated, now);
        self.before = None;
        // What was there before the first look is nothing that was missed.
        self.looked_at = if self.scanned { began } else { began + CLOCK_SLACK };
        self.scanned = true;
        self.count_files(&ignored);
    }

    /// Of paths whose file was rotated, notes those that have no other one yet.
    fn note_vacant(&mut self, rotated: Vec<PathBuf>, now: Instant) {
        let before = std::mem::take(&mut self.vacant);
        for path in rotated {
            let since = before.get(&path).copied().unwrap_or(now);
            if now < since + VACANT_FOR && self.files.live_in(&path).is_empty() {
                self.vacant.insert(path, since);
            }
        }
    }

    /// Of the files that are known, those that may have been renamed, copied or replaced while nobody looked: all at the first look, and then those
    /// that had no source.
    fn to_resume(&self) -> Vec<Entry> {
        match &self.before {
            _ if !self.scanned => self.known.entries().cloned().collect(),
            None => Vec::new(),
            Some(before) => {
                let is_back = |entry: &&Entry| {
                    let path = Path::new(&entry.path);
                    self.groups.iter().any(|g| g.names(path)) && !before.iter().any(|g| g.names(path))
                };
                self.known.entries().filter(is_back).cloned().collect()
            }
        }
    }

    /// Whether a file is there that nobody has known of because it had no source.
    fn is_from_before(&self, path: &Path) -> bool {
        match &self.before {
            _ if !self.scanned => self.first_run,
            before => before.as_ref().is_some_and(|before| !before.iter().any(|g| g.has(path))),
        }
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
        let groups = self.groups.iter().zip(counts).enumerate();
        for (index, (group, [live, draining, quiet])) in groups.filter(|(_, (group, _))| !group.has_left) {
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
        self.beat(Doing::Scans);
        let Candidate { group, path, others, metadata } = candidate;
        let looked_at = FileId::of(&metadata);
        if let Err(error) = self.try_candidate((group, looked_at), &path, &others, now) {
            self.unreadable.insert(path.clone(), group);
            tracing::warn!(path = %path.display(), size = metadata.len(), %error, "a file cannot be read and is tried again every second; give this process's user read access to it");
        }
    }

    fn try_candidate(
        &mut self,
        (group, looked_at): (usize, FileId),
        path: &Path,
        others: &[PathBuf],
        now: Instant,
    ) -> std::io::Result<()> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let id = FileId::of(&metadata);
        if id != looked_at {
            // It was rotated between the two looks, and is read before what has come in its place: the next scan, at once, sees that.
            self.hinted_scan = Some(now);
            self.find_missed(&[path.to_owned()], now);
            return Ok(());
        }
        if !metadata.is_file() || self.files.by_file(id).is_some() || self.is_saved_anew(path, &file, now)? {
            return Ok(());
        }
        if let Some(entry) = self.known.of(&file, &metadata)? {
            let entry = entry.clone();
            return self.go_on(&entry, group, path, file, now);
        }
        let is_first = self.first_run && !self.scanned;
        let is_skipped = self.groups[group].start_at == StartAt::End && self.is_from_before(path);
        let offset = if is_skipped { metadata.len() } else { 0 };
        // One that was linked follows the files that had any of its names.
        let has_lane = |name: &&Path| self.files.lane_path(name).is_some();
        let path = others.iter().map(PathBuf::as_path).chain([path]).find(has_lane).unwrap_or(path);
        let lane = self.files.lane_path(path).unwrap_or(path).to_owned();
        if lane != *path {
            for id in self.files.live_in(path) {
                // It has lost that name, and keeps another one.
                self.files.update(id, |g| g.supersede(now));
            }
        }
        let adoption = Adoption {
            group,
            path: path.to_owned(),
            lane,
            offset,
            tag: self.rng.u64(..),
            state: State::Live,
            unproven: !is_first && self.groups[group].spool.is_none(),
            birth: None,
        };
        self.add(adoption, file, now)?;
        if let Some(id) = self.files.by_file(id) {
            for name in others {
                self.files.alias(id, name);
            }
        }
        Ok(())
    }

    /// Adopts a live file that is known.
    pub(super) fn go_on(
        &mut self,
        known: &Entry,
        group: usize,
        path: &Path,
        file: File,
        now: Instant,
    ) -> std::io::Result<()> {
        let found = Adoption {
            group,
            path: path.to_owned(),
            lane: lane_of(known),
            offset: known.offset,
            tag: known.generation,
            state: State::Live,
            unproven: known.unproven,
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

    /// Files that came and were rotated between two scans, beside the ones whose rotation this scan saw.
    fn find_missed(&mut self, rotated: &[PathBuf], now: Instant) {
        for lane in rotated {
            let since = self.looked_at.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
            let missed = rotated_siblings(lane).into_iter().filter(|s| s.created() >= since).collect();
            self.adopt_missed(lane, missed, now);
        }
    }

    /// Copies of what a truncated file held between two reads, which may lie far apart while there is no room for any: it was copied and truncated more
    /// than once meanwhile. Answers whether there are some.
    pub(super) fn find_missed_copies(&mut self, lane: &Path, last_growth: Instant, now: Instant) -> bool {
        let since = clock::now().checked_sub(now.saturating_duration_since(last_growth) + CLOCK_SLACK);
        let since = since.unwrap_or(SystemTime::UNIX_EPOCH);
        let missed: Vec<Sibling> = rotated_siblings(lane).into_iter().filter(|s| s.created() >= since).collect();
        let before = self.files.ids().len();
        self.adopt_missed(lane, missed, now);
        self.files.ids().len() > before
    }

    pub(super) fn adopt_missed(&mut self, lane: &Path, missed: Vec<Sibling>, now: Instant) {
        let Some(group) = self.groups.iter().position(|g| g.names(lane)) else { return };
        for sibling in missed {
            self.beat(Doing::Scans);
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
pub(super) fn lane_of(entry: &Entry) -> PathBuf {
    PathBuf::from(entry.lane.as_ref().unwrap_or(&entry.path))
}

/// Siblings whose names are those of rotated files of this path; older ones first.
pub(super) fn rotated_siblings(lane: &Path) -> Vec<Sibling> {
    let name_of = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // Of a link, the file that it is of has the name.
    let target = std::fs::canonicalize(lane).ok();
    let names: Vec<String> = [Some(lane), target.as_deref()].into_iter().flatten().filter_map(name_of).collect();
    let is_rotated =
        |s: &Sibling| name_of(&s.path).is_some_and(|other| names.iter().any(|n| is_rotated_name(n, &other)));
    siblings(lane).into_iter().filter(is_rotated).collect()
}
