//! The first scan: what is there now against what the last run left. Decides for each known file what has become of it, and reads what was
//! rotated meanwhile before what is there in its place.
//!
//! What is certain comes first. A file that lies under its inode, with the content that is known, is the one. Only of files of which that is
//! not so a copy is looked for, each file is the copy of one at most, and the one that was read furthest chooses first. Whatever is left and
//! was not there at the last look has not been seen by anybody, and is read from its beginning.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::super::discover::Candidate;
use super::super::generation::{State, open};
use super::super::identity::{FileId, HEAD_BYTES, born, has_content, has_used_inode};
use super::super::known::place;
use super::super::siblings::{self, Sibling, is_rotated};
use super::Reader;
use super::find::{ALIKE_BYTES, Adoption, CLOCK_SLACK, lane_of, rotated_siblings};
use crate::checkpoint::Entry;
use crate::clock;
use crate::heartbeat::Doing;

/// What has become of a file that the last run knew.
#[derive(Debug)]
enum Fate {
    /// It is there, and a glob names it.
    Named,
    /// It is there, and no glob names it any more.
    Renamed(Sibling),
    /// It is there and holds something else: it was truncated. If no glob names it, this is where it lies.
    BegunAnew(Option<Sibling>),
    /// It is not there.
    Gone,
}

/// A file that is to be read before those that the globs name.
#[derive(Debug)]
struct Past<'a> {
    entry: &'a Entry,
    file: Sibling,
    group: usize,
    /// Nothing of what it holds is known.
    is_new: bool,
    is_copy: bool,
}

impl Reader {
    /// Goes on where the last run left these files, or this one did: files that are where they were, files that were renamed or copied meanwhile,
    /// and rotated files that came and went. A file's predecessors are adopted before it, so that a lane's lines keep their order.
    pub(super) fn resume(&mut self, entries: Vec<Entry>, new: &mut Vec<Candidate>, now: Instant) {
        let returned = std::mem::take(&mut self.returned);
        if entries.is_empty() && returned.is_empty() {
            return;
        }
        let mut places = Places::default();
        let (pasts, claimed) = self.find_pasts(&entries, new, &mut places);
        for past in pasts {
            self.adopt_past(&past, now);
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
        let lanes: Vec<&Entry> = entries.iter().chain(&returned).collect();
        self.find_come_and_gone(&lanes, &claimed, &mut places, now);
        new.retain(|c| self.files.by_file(FileId::of(&c.metadata)).is_none());
    }

    /// What is to be read before what the globs name, older files first, and which of it are copies.
    fn find_pasts<'a>(
        &self,
        entries: &'a [Entry],
        new: &[Candidate],
        places: &mut Places,
    ) -> (Vec<Past<'a>>, BTreeSet<FileId>) {
        let named: BTreeMap<FileId, &Candidate> = new.iter().map(|c| (FileId::of(&c.metadata), c)).collect();
        let (mut pasts, mut lost) = (Vec::new(), Vec::new());
        for entry in entries {
            let Some(group) = self.groups.iter().position(|g| g.names(Path::new(&entry.path))) else { continue };
            // Its segments have been found, and have no copies.
            if self.groups[group].spool.is_some() {
                continue;
            }
            match fate(entry, &named, places) {
                Fate::Named => {}
                Fate::Renamed(file) => {
                    let age = clock::now().duration_since(file.modified()).unwrap_or_default();
                    // If nothing is left of it and nobody writes to it any more, it stays known.
                    if file.metadata.len() != entry.offset || age <= self.groups[group].rotate_wait {
                        pasts.push(Past { entry, file, group, is_new: false, is_copy: false });
                    }
                }
                Fate::BegunAnew(file) => lost.push((entry, group, true, file)),
                Fate::Gone => lost.push((entry, group, false, None)),
            }
        }
        // What has all that was read of one file may have the beginning of another one, too, of which less was read.
        lost.sort_by_key(|(entry, ..)| Reverse(entry.offset));
        let mut claimed = BTreeSet::new();
        for &(entry, group, is_there, _) in &lost {
            if entry.head_len > 0
                && (is_there || !is_at_its_path(entry))
                && let Some(file) = self.find_copy_of(entry, is_there, &claimed)
            {
                claimed.insert(file.id);
                pasts.push(Past { entry, file, group, is_new: false, is_copy: true });
            }
        }
        // Truncated, written to and then renamed: what it holds now nobody has seen.
        let anew = lost.into_iter().filter_map(|(entry, group, _, file)| {
            let file = file.filter(|f| f.metadata.len() > 0 && is_rotated(Path::new(&entry.path), &f.path))?;
            Some(Past { entry, file, group, is_new: true, is_copy: false })
        });
        pasts.extend(anew);
        pasts.retain(|past| past.is_copy || !claimed.contains(&past.file.id));
        pasts.retain(|past| self.files.by_file(past.file.id).is_none());
        // What a truncated file holds now was written after what its copy holds.
        pasts.sort_by_cached_key(|past| (past.file.modified(), past.is_new, past.file.created()));
        (pasts, claimed)
    }

    /// The copy that a rotator made of a file before it truncated it.
    fn find_copy_of(&self, entry: &Entry, is_there: bool, claimed: &BTreeSet<FileId>) -> Option<Sibling> {
        let (was, lane) = (Path::new(&entry.path), lane_of(entry));
        let seen = SystemTime::UNIX_EPOCH + Duration::from_micros(entry.seen);
        // That a deleted file was copied before is not usual. One that no glob names and that was not there at the last look is a copy, or
        // begins as the deleted file did: no more of it is skipped than what the two have in common.
        let is_likely = |s: &Sibling| {
            let is_unseen = s.created() + CLOCK_SLACK >= seen && is_rotated(was, &s.path);
            let is_named = self.groups.iter().any(|g| g.names(&s.path));
            is_there || entry.offset >= ALIKE_BYTES || !is_named && (is_unseen || entry.head_len >= HEAD_BYTES as u64)
        };
        let is_copy = |s: &Sibling, file: &std::fs::File| {
            // A known file is what it is, unless it was taken for a possible copy of one that was not truncated yet. It takes more than the same
            // first line to see that of one that was deleted since.
            let may_be_copy = is_there || entry.head_len >= HEAD_BYTES as u64;
            let is_itself = self.known.of(file, &s.metadata)?.is_some_and(|e| !e.unproven || !may_be_copy);
            let is_copy = !is_itself
                && self.files.by_file(s.id).is_none()
                && is_likely(s)
                && has_content(file, &s.metadata, entry)?;
            let is_log = self.groups.iter().any(|g| g.names(&s.path));
            Ok(is_copy && !self.is_anothers([was, &lane], s, entry.offset, is_log))
        };
        let (copy, _) = siblings::find(was, |s| s.id != place(entry) && !claimed.contains(&s.id), is_copy)?;
        Some(copy)
    }

    fn adopt_past(&mut self, past: &Past<'_>, now: Instant) {
        let Past { entry, file: Sibling { path, id, .. }, group, is_new, is_copy } = past;
        let what = match (is_new, is_copy) {
            (true, _) => "a file that was truncated and rotated meanwhile is read from its beginning",
            (_, true) => "a file was copied and truncated meanwhile, and its copy is read to its end",
            (_, false) => "a file that was rotated meanwhile is read to its end",
        };
        let offset = if *is_new { 0 } else { entry.offset };
        tracing::info!(path = %path.display(), was = entry.path, offset, "{what}");
        let found = Adoption {
            group: *group,
            // It keeps its old name: by that a next start finds its group, and it, again.
            path: PathBuf::from(&entry.path),
            lane: lane_of(entry),
            offset,
            tag: if *is_new { self.rng.u64(..) } else { entry.generation },
            state: State::Draining(now),
            // What it holds now may be a copy of another file that is there.
            unproven: *is_new || entry.unproven && !is_copy,
            birth: None,
        };
        let added = open(path).and_then(|file| {
            if FileId::of(&file.metadata()?) == *id { self.add(found, file, now) } else { Err(moved()) }
        });
        match added {
            Ok(()) if *is_new => {}
            Ok(()) => {
                if *is_copy {
                    self.known.remove(place(entry));
                }
                if let Some(id) = self.files.by_file(*id).filter(|_| *is_copy) {
                    self.files.update(id, |g| g.is_copy = true);
                }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a rotated file cannot be read; the next start tries again");
            }
        }
    }

    fn resume_candidate(&mut self, candidate: &Candidate, places: &mut Places, now: Instant) -> std::io::Result<bool> {
        self.beat(Doing::Scans);
        let file = open(&candidate.path)?;
        let metadata = file.metadata()?;
        let (id, path) = (FileId::of(&metadata), &candidate.path);
        if self.files.by_file(id).is_some() {
            return Ok(true);
        }
        if id != FileId::of(&candidate.metadata) {
            return Ok(false);
        }
        if let Some(entry) = self.known.of(&file, &metadata)? {
            let entry = entry.clone();
            self.go_on(&entry, candidate.group, path, file, now)?;
            return Ok(true);
        }
        // The same log under the same name, on a device that got another number, or saved anew.
        let mut same = |e: &&Entry| {
            let saved_anew = e.offset >= ALIKE_BYTES && places.find(e).is_none();
            (e.dev != id.dev && e.head_len > 0 || saved_anew) && has_content(&file, &metadata, e).unwrap_or(false)
        };
        let Some(entry) = self.known.at_path(path).find(|e| same(e)) else { return Ok(false) };
        let entry = entry.clone();
        self.go_on(&entry, candidate.group, path, file, now)?;
        Ok(true)
    }

    /// Files that came after the last look of the last run and were rotated before this one: nobody has seen them yet.
    fn find_come_and_gone(
        &mut self,
        entries: &[&Entry],
        claimed: &BTreeSet<FileId>,
        places: &mut Places,
        now: Instant,
    ) {
        let mut lanes: BTreeMap<PathBuf, u64> = BTreeMap::new();
        for entry in entries {
            for path in [PathBuf::from(&entry.path), lane_of(entry)] {
                let seen = lanes.entry(path).or_default();
                *seen = entry.seen.max(*seen);
            }
        }
        // Where the file is still there, none has come in its place.
        let is_there = |path: &Path| {
            let id = std::fs::metadata(path).ok().and_then(|m| self.files.by_file(FileId::of(&m)));
            id.and_then(|id| self.files.get(id)).is_some_and(|g| g.state == State::Live)
        };
        lanes.retain(|path, _| !is_there(path));
        for (lane, seen) in lanes {
            let seen = SystemTime::UNIX_EPOCH + Duration::from_micros(seen);
            let since = seen.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
            let mut missed = places.rotated_since(&lane, since);
            missed.retain(|s| !claimed.contains(&s.id));
            self.adopt_missed(&lane, missed, now);
        }
    }
}

/// What has become of a file.
fn fate(entry: &Entry, named: &BTreeMap<FileId, &Candidate>, places: &mut Places) -> Fate {
    // Without a byte of its content only the time at which the inode was made tells that it is the one.
    let is_same = |path: &Path| {
        let file = open(path).and_then(|f| Ok((f.metadata()?, f)));
        file.is_ok_and(|(m, f)| {
            (entry.head_len > 0 || born(&m).is_some() && entry.born.is_some())
                && FileId::of(&m) == place(entry)
                && has_content(&f, &m, entry).unwrap_or(false)
        })
    };
    if named.get(&place(entry)).is_some_and(|c| is_same(&c.path)) {
        return Fate::Named;
    }
    match places.find(entry) {
        None => match named.get(&place(entry)) {
            Some(c) if !has_used_inode(&c.metadata, entry) => Fate::BegunAnew(None),
            _ => Fate::Gone,
        },
        Some(file) if is_same(&file.path) => Fate::Renamed(file),
        Some(file) => Fate::BegunAnew(Some(file)),
    }
}

/// Whether the file at a known file's path has its content, under whatever inode.
fn is_at_its_path(entry: &Entry) -> bool {
    let file = open(Path::new(&entry.path)).and_then(|f| Ok((f.metadata()?, f)));
    file.is_ok_and(|(m, f)| has_content(&f, &m, entry).unwrap_or(false))
}

fn moved() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, "another file has its name now")
}

/// What lies in the directories of known files, listed once: there may be thousands of entries of one directory.
#[derive(Debug, Default)]
struct Places {
    directories: BTreeMap<PathBuf, BTreeMap<FileId, Sibling>>,
}

impl Places {
    /// The directories of this path, listed.
    fn around(&mut self, path: &Path) -> impl Iterator<Item = &BTreeMap<FileId, Sibling>> {
        let dirs = siblings::directories(path);
        for dir in &dirs {
            if !self.directories.contains_key(dir) {
                let listed = siblings::list(dir).into_iter().map(|s| (s.id, s));
                self.directories.insert(dir.clone(), listed.collect());
            }
        }
        let directories = &self.directories;
        dirs.into_iter().filter_map(|dir| directories.get(&dir))
    }

    /// A known file, in the directories of its path, under whatever name and with whatever content.
    fn find(&mut self, entry: &Entry) -> Option<Sibling> {
        let found = self.around(Path::new(&entry.path)).find_map(|files| files.get(&place(entry)));
        found.filter(|s| !has_used_inode(&s.metadata, entry)).cloned()
    }

    /// Rotated files of this path that were created since.
    fn rotated_since(&mut self, lane: &Path, since: SystemTime) -> Vec<Sibling> {
        // What was written to last before that cannot have been created after it.
        if !self.around(lane).any(|files| files.values().any(|s| s.modified() >= since)) {
            return Vec::new();
        }
        rotated_siblings(lane).into_iter().filter(|s| s.created() >= since).collect()
    }
}
