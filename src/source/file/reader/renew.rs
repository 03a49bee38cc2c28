//! Other sources in the place of those that there are, between two turns: nobody reads then, and what was read is in batches that say all of
//! themselves. A file that has a source goes on where it is, whichever source that was and is. One that has none any more is closed when what was
//! read of it is delivered, and is known from then on like one of an earlier run. Whether a configuration can be taken is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::discover::Scan;
use super::super::generation::{Generation, Read, State};
use super::{Channels, Group, Reader, Wait};
use crate::checkpoint::Entry;
use crate::clock;
use crate::config::StreamRule;
use crate::event::SourceId;
use crate::kinesis::aggregate::max_event;
use crate::line::Lines;
use crate::route::{Router, Rules};
use crate::shape::Shaping;

/// The reason of bytes that nobody gets because their file has no source any more.
const REMOVED: &str = "source_removed";

/// What is read from now on.
#[derive(Debug)]
pub struct Renewal {
    /// The sources, and where their events go.
    pub sources: Vec<(Group, Rules)>,
    /// After this time a file that is gone is forgotten.
    pub expire_after: Duration,
    /// Told what became of it.
    pub done: oneshot::Sender<Result<Renewed, NoRoom>>,
}

/// What became of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Files that have no source any more.
    pub left: usize,
    /// What was not read of them.
    pub unread: u64,
}

/// A stream that sources name is one too many, with those that were named before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{source_name} names the stream {stream}, and with those that events went to before there are more than kinesis.max_streams: needs a restart"
)]
pub struct NoRoom {
    source_name: Arc<str>,
    stream: String,
}

impl Reader {
    /// Takes other sources.
    pub(super) fn renew(&mut self, ch: &mut Channels, renewal: Renewal) {
        let Renewal { sources, expire_after, done } = renewal;
        // Whoever asks hears by the end of this that nothing came of it.
        if self.stopping {
            return;
        }
        let outcome = self.route(sources).map(|groups| {
            self.known.set_expiry(expire_after);
            // The last numbers of transforms that go.
            self.tell_transforms();
            self.replace(groups);
            self.scan_now("reload", Instant::now());
            self.tell_repeats(ch, false);
            self.tell();
            self.renewed
        });
        // An agent that is gone needs no answer.
        done.send(outcome).ok();
    }

    /// The groups with their routers, if there is room for every stream that they name.
    fn route(&mut self, sources: Vec<(Group, Rules)>) -> Result<Vec<Group>, NoRoom> {
        let mut streams = self.streams.clone();
        for (group, rules) in &sources {
            if let Some(StreamRule::Name(stream)) = &rules.stream
                && streams.index(stream).is_err()
            {
                return Err(NoRoom { source_name: Arc::clone(&group.name), stream: stream.clone() });
            }
        }
        let route = |(group, rules): (Group, Rules)| {
            let router = Router::new(&rules, &group.name, group.host(), &mut streams);
            group.with_router(router)
        };
        let groups = sources.into_iter().map(route).collect();
        self.streams = streams;
        Ok(groups)
    }

    /// Puts these groups in the place of the others, and what is remembered for each in its new place. Groups that are no sources any more come
    /// last, and stay for as long as there is something of them.
    fn replace(&mut self, mut groups: Vec<Group>) {
        self.shaping.resize_with(self.groups.len(), Shaping::default);
        let before = std::mem::take(&mut self.groups);
        let mut places = Vec::new();
        for old in &before {
            let same = groups.iter().position(|new| new.name == old.name && !old.has_left && !new.has_left);
            places.push(same.unwrap_or_else(|| {
                if !groups.iter().any(|new| new.name == old.name && !new.has_left) {
                    self.metrics.forget_source(&old.name);
                }
                groups.push(old.clone().leaving());
                groups.len() - 1
            }));
        }
        let place = |index: usize| places.get(index).copied().unwrap_or_default();
        let mut shaping: Vec<Shaping> = groups.iter().map(|_| Shaping::default()).collect();
        let now = clock::unix_nanos();
        self.repeats.iter_mut().for_each(|(group, _)| *group = place(*group));
        for (index, mut remembered) in std::mem::take(&mut self.shaping).into_iter().enumerate() {
            let (old, new) = (&before[index], &groups[place(index)]);
            if old.line.shape == new.line.shape && !new.has_left {
                shaping[place(index)] = remembered;
                continue;
            }
            // Nobody remembers these for longer.
            let silent = remembered.quiet(now, Duration::ZERO);
            self.repeats.extend(silent.into_iter().map(|repeats| (place(index), repeats)));
            self.forget_counts(old, &remembered);
            if new.has_left {
                shaping[place(index)] = remembered;
            }
        }
        self.account.renew(&places, groups.len());
        self.files.for_each(|g| g.group = place(g.group));
        (self.groups, self.shaping, self.before) = (groups, shaping, Some(before));
    }

    fn forget_counts(&self, group: &Group, shaping: &Shaping) {
        let (pipeline, Some(state)) = (&group.line.shape.pipeline, shaping.state()) else { return };
        let transforms = pipeline.counts(state).enumerate().map(|(index, (name, _))| format!("{index} {name}"));
        self.metrics.forget_transforms(&group.name, transforms);
        let derived = pipeline.derived(state).map(|metric| metric.name().to_owned());
        self.metrics.forget_derived(&group.name, derived);
    }

    /// After the globs of new groups were run for the first time: gives each file to its group, or lets it go.
    pub(super) fn regroup(&mut self, scan: &Scan, now: Instant) {
        self.renewed = Renewed::default();
        let mut unread: BTreeMap<Arc<str>, (usize, u64)> = BTreeMap::new();
        let seen = self.seen();
        for id in self.files.ids() {
            let is_over = |g: &&Generation| g.state == State::Done && !g.has_left();
            let Some(generation) = self.files.get(id).filter(|g| !is_over(g)) else { continue };
            let found = scan.files.get(&generation.file_id).map(|candidate| candidate.group);
            let of_path = || self.groups.iter().position(|group| group.has(&generation.path));
            let (before, has_left) = (Arc::clone(&self.groups[generation.group].name), generation.has_left());
            let groups = &self.groups;
            match found.or_else(of_path) {
                Some(index) => {
                    self.files.update(id, |g| g.renew(index, &groups[index]));
                    if has_left {
                        self.come_back(id, found.is_some(), now);
                    }
                }
                None if has_left => {}
                None => {
                    let bytes = self.files.update(id, |g| g.leave(seen)).unwrap_or_default();
                    let of_group = unread.entry(before).or_default();
                    *of_group = (of_group.0 + 1, of_group.1 + bytes);
                }
            }
        }
        self.dirty = true;
        for (source, (files, bytes)) in unread {
            self.account.abandon(REMOVED, bytes);
            self.renewed.left += files;
            self.renewed.unread += bytes;
            tracing::info!(
                source = &*source,
                files,
                unread = bytes,
                "files have no source any more: what was read of them is delivered, the rest is read when a source names them again"
            );
        }
    }

    /// A file that has a source again goes on at once, and what came and was rotated in its place meanwhile is looked for.
    fn come_back(&mut self, id: SourceId, is_named: bool, now: Instant) {
        let state = if is_named { State::Live } else { State::Draining(now) };
        let back = |g: &mut Generation| {
            let left = g.come_back(state, now);
            Entry { seen: left.unwrap_or_default(), ..g.entry(left.unwrap_or_default()) }
        };
        let entry = self.files.update(id, back);
        self.returned.extend(entry);
    }

    /// Sends what is held back of files that have no source any more. Answers what has to be waited for, if anything is left.
    pub(super) fn let_go_of_left(&mut self, ch: &mut Channels) -> Option<Wait> {
        let holds_back = |g: &&Generation| g.has_left() && g.holds_back();
        let ids: Vec<SourceId> = self.files.closing().filter(holds_back).map(|g| g.id).collect();
        for id in ids {
            let Some(group) = self.files.get(id).map(|g| g.group) else { continue };
            let permit = match self.room(ch) {
                Ok(permit) => permit,
                Err(wait) => return Some(wait),
            };
            let mut lines = self.with_shaping(group, Lines::default());
            let limit = max_event(*ch.record_limit.borrow());
            let let_go = self.files.update(id, |g| g.let_go(limit, &mut lines));
            self.keep_shaping(group, &mut lines);
            if let Some(Read::Lines { start, end }) = let_go {
                self.send(ch, (id, Vec::new()), lines, (start, end), permit);
            }
        }
        None
    }

    /// Forgets groups that are no sources any more and of which nothing is left.
    pub(super) fn drop_left(&mut self) {
        while let Some(group) = self.groups.last().filter(|group| group.has_left) {
            let index = self.groups.len() - 1;
            if self.files.iter().any(|g| g.group == index) || self.account.is_in_flight(index) {
                return;
            }
            self.account.retire(index, &group.name);
            if !self.groups.iter().any(|other| other.name == group.name && !other.has_left) {
                self.metrics.forget_source(&group.name);
            }
            self.groups.pop();
            self.shaping.truncate(index);
            self.repeats.retain(|(group, _)| *group != index);
        }
    }
}
