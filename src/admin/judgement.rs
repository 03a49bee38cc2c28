//! Whether it is delivering, in a sentence, and if not, why and what is to be done. Made of what the page shows anyway; it decides nothing: health
//! checks have rules of their own.

use serde::Serialize;

use super::shown::{Parts, SourceShown, StreamShown, trend};
use super::words;
use crate::kinesis::pace::SHARD_BYTES_PER_SECOND;
use crate::log::recent::Problem;
use crate::watchdog::Stalled;

/// A source that is so many seconds behind is worth a word.
const BEHIND_SECONDS: f64 = 30.0;
/// A fleet that shares a stream finds its shares by some refusals in a hundred; from here on they are the news.
const MUCH_THROTTLED: f64 = 0.05;
/// Where lines come faster than they go, so few are the reason.
const THROTTLED: f64 = 0.005;
/// A spool that is so full is worth a word.
const FULL_SPOOL: f64 = 0.8;

/// The notes that answer whether it is delivering. The others come beside one that does.
const ANSWERS: [&str; 7] = ["stalled", "blocked", "starting", "stuck", "slow", "throttled", "behind"];

/// How good or bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is to be done.
    Good,
    /// It works, and somebody should look.
    Warn,
    /// It does not deliver.
    Bad,
}

/// Something to know, and the way out if there has to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// How bad it is.
    pub level: Level,
    /// A word for it.
    pub word: &'static str,
    /// What it is.
    pub sentence: String,
    /// What is to be done.
    pub way_out: Option<String>,
}

/// The sentence, and what else there is to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What matters most.
    #[serde(flatten)]
    pub main: Note,
    /// The rest.
    pub also: Vec<Note>,
}

/// What the judgement is made of beside the metrics.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The metrics and the history.
    pub parts: Parts<'a>,
    /// Stages that do not move.
    pub stalled: &'a [Stalled],
    /// Files were looked for.
    pub has_scanned: bool,
    /// Why `/readyz` says no.
    pub not_ready: Option<&'a str>,
    /// The last error with a code, if it is fresh.
    pub last_error: Option<&'a Problem>,
}

fn note(level: Level, word: &'static str, sentence: String, way_out: Option<&str>) -> Note {
    Note { level, word, sentence, way_out: way_out.map(str::to_owned) }
}

impl Evidence<'_> {
    /// The judgement.
    pub fn judge(&self) -> Judgement {
        let (sources, streams) = (self.parts.sources(), self.parts.streams());
        let mut notes: Vec<Note> = self.stalled.iter().map(stalled).collect();
        notes.extend(self.blocked());
        notes.extend(self.starting());
        notes.extend(self.not_ready());
        notes.extend(self.throttled(&sources, &streams));
        notes.extend(self.behind(&sources));
        notes.extend(self.checkpoint());
        notes.extend(sources.iter().filter(|_| self.has_scanned).filter_map(nothing_to_read));
        notes.extend(sources.iter().filter_map(unreadable));
        notes.extend(sources.iter().filter_map(full_spool));
        notes.extend(streams.values().filter_map(|stream| self.hot_key(stream)));
        notes.extend(self.dropping());
        // The worst first, and of those that are equally bad the one that explains the others.
        notes.sort_by_key(|note| std::cmp::Reverse(note.level));
        if notes.first().is_none_or(|note| !ANSWERS.contains(&note.word)) {
            notes.insert(0, self.all_is_well());
        }
        let main = notes.remove(0);
        Judgement { main, also: notes }
    }

    fn blocked(&self) -> Option<Note> {
        let (all, statuses) = (self.parts.statuses.len(), self.parts.statuses);
        let mut blocked = statuses.iter().filter_map(|(name, status)| Some((name, status.blocked.as_ref()?)));
        let (name, first) = blocked.next()?;
        let count = 1 + blocked.count();
        let of = if all > 1 { format!(" ({count} of {all} streams)") } else { String::new() };
        let since = words::time(first.since);
        let sentence = format!(
            "Nothing is delivered to {name}{of} since {since}: {}. Nothing is dropped; the files are the buffer",
            first.code
        );
        Some(note(Level::Bad, "blocked", sentence, Some(first.way_out)))
    }

    fn starting(&self) -> Option<Note> {
        let sentence = "Starting: files are looked for and compared with the checkpoint".to_owned();
        (!self.has_scanned).then(|| note(Level::Good, "starting", sentence, None))
    }

    fn not_ready(&self) -> Option<Note> {
        let why = self.not_ready.filter(|_| self.blocked().is_none())?;
        let (because, way_out) = match self.last_error {
            Some(error) => (format!(" The last error: {} ({})", error.message, error.details), error.way_out),
            None => (String::new(), None),
        };
        let is_slow = self.parts.history.whole.delivered.ring.recent().unwrap_or(0.0) > 0.0;
        let (word, what) = if is_slow { ("slow", "Delivering too slowly") } else { ("stuck", "Nothing is delivered") };
        let usual = "see whether kinesis.endpoint can be reached and answers in time, and whether its shards have room";
        Some(note(Level::Bad, word, format!("{what}: {why}.{because}"), Some(way_out.unwrap_or(usual))))
    }

    fn throttled(
        &self,
        sources: &[SourceShown],
        streams: &std::collections::BTreeMap<String, StreamShown>,
    ) -> Option<Note> {
        let refused = self.parts.history.whole.throttled.recent().unwrap_or(0.0);
        let behind = sources.iter().any(|source| source.backlog_seconds > BEHIND_SECONDS);
        if refused < if behind { THROTTLED } else { MUCH_THROTTLED } {
            return None;
        }
        let shards = streams.values().flat_map(|stream| &stream.shards);
        let refusing: Vec<_> = shards.filter(|shard| shard.throttled_share > 0.0).collect();
        let all: u64 = streams.values().filter_map(|stream| stream.open_shards).sum();
        let which = match (&refusing[..], all) {
            ([shard], 2..) => format!("{} has", shard.id),
            (several, 2..) => format!("{} of {all} shards have", several.len()),
            _ => "shards have".to_owned(),
        };
        let sentence =
            format!("Delivering, and {which} no room for {} of what is sent; it is sent again", words::share(refused));
        let hot = streams.values().any(|stream| self.hot_key(stream).is_some());
        let way_out = if hot {
            "one partition key fills a shard, and more shards do not help: choose a finer kinesis.partition_key"
        } else {
            "split shards, or switch the stream to on-demand; if others write to it, see what they send"
        };
        Some(note(Level::Warn, "throttled", sentence, Some(way_out)))
    }

    fn behind(&self, sources: &[SourceShown]) -> Option<Note> {
        let is_behind = |source: &&SourceShown| source.backlog_bytes > 0 && source.backlog_seconds > BEHIND_SECONDS;
        let late: Vec<_> = sources.iter().filter(is_behind).collect();
        let worst = late.iter().max_by(|a, b| a.backlog_seconds.total_cmp(&b.backlog_seconds))?;
        #[expect(clippy::cast_precision_loss, reason = "a size in words")]
        let bytes = late.iter().map(|source| source.backlog_bytes).sum::<u64>() as f64;
        let growth = trend(&self.parts.history.whole.backlog).unwrap_or(0.0);
        let pace = if growth < -1.0 {
            format!("catching up: done in about {} at this pace", words::seconds(bytes / -growth))
        } else if growth > 1.0 {
            format!("growing by {}/s", words::bytes(growth))
        } else {
            "neither growing nor shrinking".to_owned()
        };
        let sentence = format!(
            "Delivering, and {} is {} behind: {} are not read yet, {pace}",
            worst.name,
            words::seconds(worst.backlog_seconds),
            words::bytes(bytes)
        );
        let way_out = (growth >= -1.0).then_some(
            "see below what limits it: shards that refuse, requests that take long, or the CPU that this container may use",
        );
        Some(note(Level::Warn, "behind", sentence, way_out))
    }

    fn checkpoint(&self) -> Option<Note> {
        let age = self.parts.now.total("checkpoint_age_seconds");
        let sentence = format!(
            "The checkpoint could not be written for {}: a restart would send again what was delivered since",
            words::seconds(age)
        );
        let way_out = format!("make {} writable for this user and give it space", self.parts.known.state_dir);
        (age > 0.0).then(|| note(Level::Warn, "checkpoint", sentence, Some(&way_out)))
    }

    fn hot_key(&self, stream: &StreamShown) -> Option<Note> {
        let limit = self.parts.known.hot_key_share * SHARD_BYTES_PER_SECOND;
        let key = stream.hot_keys.iter().find(|key| limit > 0.0 && key.bytes_per_second > limit)?;
        let part = words::share(key.bytes_per_second / SHARD_BYTES_PER_SECOND);
        let sentence = format!("The partition key {:?} alone carries {part} of what a shard takes", key.partition_key);
        let way_out = "choose a finer kinesis.partition_key: more shards do not help one key";
        Some(note(Level::Warn, "hot key", sentence, Some(way_out)))
    }

    fn dropping(&self) -> Option<Note> {
        let dropped = self.parts.history.whole.dropped.ring.iter().filter(|rate| !rate.is_nan());
        let events: f64 = dropped.map(|rate| rate * super::history::INTERVAL.as_secs_f64()).sum();
        let sentence = format!(
            "{} events were dropped in the last quarter of an hour; the ledger says why",
            words::number(events.round())
        );
        (events >= 1.0).then(|| note(Level::Good, "note", sentence, None))
    }

    fn all_is_well(&self) -> Note {
        let whole = &self.parts.history.whole;
        let rate = whole.delivered.ring.recent().unwrap_or(0.0);
        let last = self.parts.now.total("last_success_timestamp_seconds");
        if rate > 0.0 {
            let took = whole
                .median
                .recent()
                .map(|took| format!("; half of them within {} of being read", words::seconds(took)));
            let sentence = format!("Delivering {} events a second{}", words::number(rate), took.unwrap_or_default());
            return note(Level::Good, "delivering", sentence, None);
        }
        let unsent = self.parts.now.total_count("in_flight_events");
        if unsent > 0 {
            let sentence = format!("Delivering: {} events are on their way", words::count(unsent));
            return note(Level::Good, "delivering", sentence, None);
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 53 bits")]
        let age = crate::clock::unix_seconds() as f64 - last;
        let sentence = if last > 0.0 {
            format!(
                "Idle: everything that was written is delivered; the last event {} ago",
                words::seconds(age.max(1.0))
            )
        } else {
            "Idle: nothing was written since the start".to_owned()
        };
        note(Level::Good, "idle", sentence, None)
    }
}

fn stalled(stalled: &Stalled) -> Note {
    let way_out = "it is restarted where a liveness probe asks /livez, and goes on from the last offset; if it comes again, look at the disk or file system that it works on, and report it with the log";
    note(Level::Bad, "stalled", format!("A part of kinetail stands still: {stalled}"), Some(way_out))
}

fn nothing_to_read(source: &SourceShown) -> Option<Note> {
    let files: i64 = ["live", "draining", "unreadable"].iter().filter_map(|state| source.files.get(*state)).sum();
    let sentence = format!("Source {} has no files: nothing is named {}", source.name, source.reads);
    let way_out = "compare sources[].paths with what the service writes, and see that both containers mount the volume";
    (source.kind == "file" && files == 0 && source.read_bytes == 0)
        .then(|| note(Level::Warn, "no files", sentence, Some(way_out)))
}

fn unreadable(source: &SourceShown) -> Option<Note> {
    let files = *source.files.get("unreadable").filter(|files| **files > 0)?;
    let sentence = format!("{files} files of source {} cannot be read", source.name);
    Some(note(
        Level::Warn,
        "unreadable",
        sentence,
        Some("give this process's user read access to them; the log names them"),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "a share in words")]
fn full_spool(source: &SourceShown) -> Option<Note> {
    let spool = source.spool.as_ref()?;
    let share = spool.bytes as f64 / spool.capacity_bytes.max(1) as f64;
    let sentence = format!(
        "The spool of {} is {} full; what happens then is what spool.on_full says",
        source.name,
        words::share(share)
    );
    (share >= FULL_SPOOL).then(|| {
        note(Level::Warn, "spool", sentence, Some("raise spool.max_bytes, or see why it is not delivered faster"))
    })
}
