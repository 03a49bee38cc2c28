//! What is settled, and the notes of it: tracker, journal, checkpoint, metrics.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::account;
use super::{
    CHECKPOINT_INTERVAL, CHECKPOINT_INTERVAL_MAX, CHECKPOINT_SHARE, Channels, HINTED_SCAN_SHARE, Reader, TELL_INTERVAL,
    TELL_INTERVAL_MAX, TELL_SHARE,
};
use crate::checkpoint::Entry;
use crate::clock::{now as now_of_day, unix_micros, unix_nanos};
use crate::event::{SourceId, Span};
use crate::metrics::derived::Families;
use crate::metrics::ledger::raise;
use crate::transform::Counts;

impl Reader {
    pub(super) fn settle(&mut self, spans: Vec<Span>) {
        let mut moved = BTreeSet::new();
        for span in spans {
            if self.files.update(span.source, |g| g.tracker.settle(span.start, span.end)).is_some() {
                moved.insert(span.source);
            } else {
                self.account.settle_of_gone(span);
            }
        }
        for id in moved {
            self.dirty = true;
            self.note(id);
        }
    }

    /// Notes in the journal how far a file is, which costs one small write and no sync.
    pub(super) fn note(&mut self, id: SourceId) {
        if let (Some(journal), Some(generation)) = (&mut self.journal, self.files.get(id))
            && let Err(error) = journal.note(&generation.slot())
        {
            self.metrics.checkpoint_errors.inc();
            tracing::error!(%error, "offsets cannot be noted in state_dir; a restart would send again what was delivered since the last checkpoint");
        }
    }

    pub(super) fn checkpoint(&mut self, ch: &Channels, now: Instant) {
        self.notice_failures();
        if !self.dirty || now < self.next_checkpoint {
            return;
        }
        // While the writer is busy with the last one this waits for the next round.
        let Ok(slot) = ch.checkpoints.try_reserve() else { return };
        self.notice_failures();
        slot.send(self.snapshot(now));
        self.dirty = false;
        self.free_slots();
    }

    /// A checkpoint that could not be written is to be written again, and nothing that it was to hold is safe.
    fn notice_failures(&mut self) {
        let failures = self.metrics.checkpoint_errors.get();
        if std::mem::replace(&mut self.checkpoint_failures, failures) != failures {
            self.dirty = true;
            let [late, early] = &mut self.leaving;
            self.left.append(late);
            self.left.append(early);
        }
    }

    /// A file that is done with keeps its slot in the journal until a checkpoint on disk says how far it came: an older one says less. The
    /// writer has one in its hands and one waiting, so the one before these two is on disk.
    fn free_slots(&mut self) {
        let [late, early] = &mut self.leaving;
        let safe = std::mem::replace(early, std::mem::replace(late, std::mem::take(&mut self.left)));
        let Some(journal) = self.journal.as_mut().filter(|_| !safe.is_empty()) else { return };
        // One that has come back meanwhile goes on under its old tag.
        let alive: BTreeSet<u64> = self.files.iter().map(|g| g.tag).collect();
        safe.iter().filter(|tag| !alive.contains(tag)).for_each(|tag| journal.forget(*tag));
    }

    /// Has the checkpoint written soon: there is a file that it does not know.
    pub(super) fn checkpoint_soon(&mut self) {
        self.dirty = true;
        self.next_checkpoint = self.checkpoint_again;
    }

    /// The time of the last scan, for the checkpoint: what came to be after that has not been seen.
    pub(super) fn seen(&self) -> u64 {
        unix_micros(self.looked_at)
    }

    pub(super) fn snapshot(&mut self, now: Instant) -> Vec<Entry> {
        let began = Instant::now();
        let seen = self.seen();
        self.known.refresh(unix_micros(now_of_day()));
        let mut entries: Vec<Entry> = self.known.entries().cloned().collect();
        self.files.for_each(|g| {
            // Of what may be a copy nothing was read, and the next start asks the same question again. That it was there is known from now
            // on: what came later has not been seen.
            if !g.replaced {
                entries.push(g.entry(seen));
            }
        });
        let took = began.elapsed();
        self.next_checkpoint = now + (took * CHECKPOINT_SHARE).clamp(CHECKPOINT_INTERVAL, CHECKPOINT_INTERVAL_MAX);
        self.checkpoint_again = now + took * HINTED_SCAN_SHARE;
        entries
    }

    /// Tells where the bytes of all files are, as one picture, and what transforms have done.
    pub(super) fn tell(&mut self) {
        let began = Instant::now();
        let Self { files, groups, account, .. } = self;
        let mut held = 0;
        let mut picture = account.picture(groups.iter().map(|group| Arc::clone(&group.name)));
        let now = unix_nanos();
        files.for_each(|g| {
            held += if g.deleted_at.is_some() && g.is_open() { g.size } else { 0 };
            if let Some((_, bytes)) = picture.sources.get_mut(g.group) {
                account::add(bytes, g, now);
            }
            if g.cut() > 0 {
                *picture.abandoned.entry("truncated").or_default() += g.cut();
            }
        });
        self.metrics.deleted_held_bytes.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.metrics.picture.send_replace(Arc::new(picture));
        self.tell_transforms();
        self.next_tell = began + (began.elapsed() * TELL_SHARE).clamp(TELL_INTERVAL, TELL_INTERVAL_MAX);
    }

    /// Tells what transforms have done and counted.
    pub(super) fn tell_transforms(&self) {
        let mut families = Families::default();
        for (group, shaping) in self.groups.iter().zip(&self.shaping).filter(|(group, _)| !group.has_left) {
            let (pipeline, Some(state)) = (&group.line.shape.pipeline, shaping.state()) else { continue };
            let (m, source) = (&self.metrics, &*group.name);
            for (index, (name, counts)) in pipeline.counts(state).enumerate() {
                let transform = format!("{index} {name}");
                let Counts { touched, dropped, failed, forgotten } = counts;
                for (outcome, total) in
                    [("touched", touched), ("dropped", dropped), ("failed", failed), ("forgotten", forgotten)]
                {
                    raise(&m.transforms.with_label_values(&[source, &*transform, outcome]), total);
                }
            }
            for metric in pipeline.derived(state) {
                for (reason, total) in [("max_series", metric.series.overflow), ("invalid", metric.series.invalid)] {
                    raise(&m.metric_errors.with_label_values(&[source, metric.name(), reason]), total);
                }
                families.add(source, &metric);
            }
        }
        let text = families.render();
        let text: Arc<[u8]> = text.into();
        self.metrics.derived.send_if_modified(|before| {
            let is_new = *before != text;
            *before = text;
            is_new
        });
    }
}
