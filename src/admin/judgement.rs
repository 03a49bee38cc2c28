//! Whether it is delivering, in a sentence, and if not, why and what is to be done. Made of what the page shows anyway; it decides nothing: health
//! checks have rules of their own.

use serde::Serialize;

use super::shown::{Parts, ShardShown, SourceShown, StreamShown, trend};
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
/// A limit that is at least so far below that of a whole shard was learnt from refusals ...
const LEARNT_SHARE: f64 = 0.9;
/// ... and is the reason of a backlog if so much of it is used.
const USED_SHARE: f64 = 0.7;
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
        let throttled = self.throttled(&sources, &streams);
        notes.extend(self.not_ready(throttled.as_ref()));
        let is_bad = notes.iter().any(|note| note.level == Level::Bad);
        // Otherwise it is the reason that was given.
        let but = |note: Note| Note { sentence: format!("Delivering, but {}", note.sentence), ..note };
        notes.extend(throttled.filter(|_| !is_bad).map(but));
        let is_answered = notes.iter().any(|note| ANSWERS.contains(&note.word));
        notes.extend(self.behind(&sources, is_answered));
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

    fn not_ready(&self, throttled: Option<&Note>) -> Option<Note> {
        let why = self.not_ready.filter(|_| self.blocked().is_none())?;
        let is_slow = self.parts.history.whole.delivered.ring.recent().unwrap_or(0.0) > 0.0;
        let (word, what) = if is_slow { ("slow", "Delivering too slowly") } else { ("stuck", "Nothing is delivered") };
        let usual = "see whether kinesis.endpoint can be reached and answers in time, and whether the stream's shards have room";
        let (because, way_out) = match (throttled, self.last_error) {
            (Some(note), _) => (format!(". The reason: {}", note.sentence), note.way_out.as_deref()),
            (None, Some(error)) => (format!(". The last error: {} ({})", error.message, error.details), error.way_out),
            (None, None) => (String::new(), None),
        };
        Some(note(Level::Bad, word, format!("{what}: {why}{because}"), Some(way_out.unwrap_or(usual))))
    }

    fn throttled(
        &self,
        sources: &[SourceShown],
        streams: &std::collections::BTreeMap<String, StreamShown>,
    ) -> Option<Note> {
        let refused = self.parts.history.whole.throttled.recent().unwrap_or(0.0);
        let behind = sources.iter().any(|source| source.backlog_seconds > BEHIND_SECONDS);
        let is_refused = refused >= if behind { THROTTLED } else { MUCH_THROTTLED };
        let shards = streams.values().flat_map(|stream| &stream.shards);
        let full: Vec<_> = shards.filter(|shard| shard.throttled_share > 0.0 || is_at_limit(shard)).collect();
        // Who has learnt a limit keeps to it, so that nothing needs to be refused for it to be the reason.
        if !is_refused && (!behind || !full.iter().any(|shard| is_at_limit(shard))) {
            return None;
        }
        let all: u64 = streams.values().filter_map(|stream| stream.open_shards).sum();
        let (who, has) = match (&full[..], all) {
            ([only], 2..) => (format!("shard {}", only.id), "has"),
            ([_, _, ..], 2..) => (format!("{} of {all} shards", full.len()), "have"),
            _ => ("shards".to_owned(), "have"),
        };
        let sentence = if is_refused {
            format!("{who} {has} no room for {} of what is sent; it is sent again", words::share(refused))
        } else {
            format!("{who} {has} reached the limit that was learnt from refusals; above it, more would be refused")
        };
        let is_uneven = !full.is_empty() && (full.len() as u64) < all;
        let way_out = if streams.values().any(|stream| self.hot_key(stream).is_some()) {
            "one partition key fills a shard, and more shards do not help: choose a finer kinesis.partition_key"
        } else if is_uneven && streams.values().any(|stream| !stream.hot_keys.is_empty()) {
            "keys are spread unevenly, since other shards have room: choose a finer kinesis.partition_key, or split the shards that refuse"
        } else {
            "split shards, or switch the stream to on-demand; if others write to it, see what they send"
        };
        Some(note(Level::Warn, "throttled", sentence, Some(way_out)))
    }

    fn behind(&self, sources: &[SourceShown], is_answered: bool) -> Option<Note> {
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
            "{}ource {} is {} behind: {} are not read yet, {pace}",
            if is_answered { "S" } else { "Delivering, but s" },
            worst.name,
            words::seconds(worst.backlog_seconds),
            words::bytes(bytes)
        );
        let way_out = (growth >= -1.0 && !is_answered).then_some(
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
        // A sample that comes late makes a rate of its count that is a little low.
        let events = events.round();
        let sentence = format!(
            "{} events were dropped in the last quarter of an hour; the ledger says why",
            words::number(events)
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

/// Whether a shard gets what it takes: its limit is below that of a whole shard, and used.
fn is_at_limit(shard: &ShardShown) -> bool {
    let learnt = shard.limit_bytes_per_second.filter(|limit| *limit < LEARNT_SHARE * SHARD_BYTES_PER_SECOND);
    learnt.is_some_and(|limit| shard.bytes_per_second > USED_SHARE * limit)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::admin::history::{History, INTERVAL};
    use crate::admin::shown::{Known, KnownSource};
    use crate::clock;
    use crate::config::SourceKind;
    use crate::heartbeat::Doing;
    use crate::kinesis::hot::HotKey;
    use crate::kinesis::{Blocked, Status, Statuses};
    use crate::metrics::Metrics;

    /// An agent of one source and one stream, and what is judged of it.
    struct Case {
        metrics: Metrics,
        history: History,
        statuses: Statuses,
        known: Known,
        stalled: Vec<Stalled>,
        has_scanned: bool,
        not_ready: Option<&'static str>,
    }

    impl Case {
        fn new() -> Self {
            let source =
                KnownSource { name: "app".to_owned(), kind: SourceKind::File, reads: "/var/log/*.log".to_owned() };
            let known = Known {
                host: "h".to_owned(),
                stream: "s".to_owned(),
                state_dir: "/state".to_owned(),
                spool_max_bytes: 1000,
                hot_key_share: 0.5,
                sources: vec![source],
                configuration: String::new(),
                hash: String::new(),
                loaded: std::time::SystemTime::UNIX_EPOCH,
            };
            let case = Self {
                metrics: Metrics::new(),
                history: History::default(),
                statuses: Statuses::from([("s".into(), Status::default())]),
                known,
                stalled: Vec::new(),
                has_scanned: true,
                not_ready: None,
            };
            case.metrics.files.with_label_values(&["app", "live"]).set(1);
            case.metrics.shards.with_label_values(&["s"]).set(4);
            case
        }

        /// Half a minute in which these many records of a shard are stored and refused every five seconds.
        fn send(&mut self, stored: u64, refused: u64, backlog: i64) {
            let shard = &["s", "shardId-000000000001"];
            let at = Instant::now();
            for step in 0..6 {
                self.metrics.user_records.with_label_values(&["s"]).inc_by(stored * 10);
                self.metrics.records.with_label_values(&["s"]).inc_by(stored);
                self.metrics.requests.with_label_values(&["s"]).inc();
                self.metrics.shard_records.with_label_values(shard).inc_by(stored);
                self.metrics.shard_rate.with_label_values(shard).set(1e6);
                self.metrics.throttled_records.with_label_values(shard).inc_by(refused);
                self.metrics.record_errors.with_label_values(&["s", "X"]).inc_by(refused);
                self.metrics.backlog_bytes.with_label_values(&["app"]).set(backlog * (10 + i64::from(step)));
                self.history.sample(&self.metrics.gather(), at + INTERVAL * step);
            }
        }

        fn judge(&self) -> Judgement {
            let now = self.metrics.gather();
            let parts = Parts { now: &now, statuses: &self.statuses, history: &self.history, known: &self.known };
            let (stalled, has_scanned, not_ready) = (&*self.stalled, self.has_scanned, self.not_ready);
            Evidence { parts, stalled, has_scanned, not_ready, last_error: None }.judge()
        }

        /// How bad it is, the word, and those beside it.
        fn words(&self) -> (Level, &'static str, Vec<&'static str>) {
            let judgement = self.judge();
            (judgement.main.level, judgement.main.word, judgement.also.iter().map(|note| note.word).collect())
        }
    }

    #[test]
    fn nothing_to_do_is_good_and_so_is_work_that_gets_done() {
        let mut case = Case::new();
        assert_eq!(case.words(), (Level::Good, "idle", vec![]));
        case.send(10, 0, 0);
        let judgement = case.judge();
        assert_eq!(judgement.main.sentence, "Delivering 20 events a second");
        case.has_scanned = false;
        assert_eq!(case.words(), (Level::Good, "starting", vec![]));
    }

    #[test]
    fn a_hold_says_since_when_and_the_way_out() {
        let mut case = Case::new();
        case.send(0, 0, 1000);
        let blocked = Blocked { code: "AccessDeniedException".to_owned(), way_out: "grant it", since: clock::now() };
        case.statuses.insert("s".into(), Status { blocked: Some(blocked), ..Status::default() });
        case.not_ready = Some("stream s is blocked");
        case.metrics.backlog_seconds.with_label_values(&["app"]).set(90.0);
        assert_eq!(case.words(), (Level::Bad, "blocked", vec!["behind"]));
        let Judgement { main, also } = case.judge();
        assert_eq!(main.way_out.as_deref(), Some("grant it"));
        assert!(main.sentence.contains("AccessDeniedException"), "{}", main.sentence);
        assert!(also[0].sentence.starts_with("Source app is 90 s behind") && also[0].way_out.is_none(), "{also:?}");
    }

    #[test]
    fn throttling_is_told_when_it_matters_and_with_the_way_out_that_helps() {
        let mut case = Case::new();
        case.send(980, 20, 0);
        assert_eq!(case.words(), (Level::Good, "delivering", vec![]), "a fleet that shares a stream refuses some");
        case.metrics.backlog_seconds.with_label_values(&["app"]).set(90.0);
        assert_eq!(case.words().1, "throttled", "but it explains a backlog");
        case.send(50, 50, 0);
        let judgement = case.judge();
        let sentence =
            "Delivering, but shard shardId-000000000001 has no room for 50 % of what is sent; it is sent again";
        assert_eq!((judgement.main.level, &*judgement.main.sentence), (Level::Warn, sentence));
        assert!(judgement.main.way_out.unwrap().contains("split shards"));
        let key = |rate: f64| HotKey { key: "k".to_owned(), bytes: 1, error: 0, share: 1.0, bytes_per_second: rate };
        for (rate, way_out) in [(1.0, "spread unevenly"), (SHARD_BYTES_PER_SECOND, "more shards do not help")] {
            case.statuses.insert("s".into(), Status { hot_keys: vec![key(rate)], ..Status::default() });
            let found = case.judge().main.way_out.unwrap();
            assert!(found.contains(way_out), "{found}");
        }
        case.not_ready = Some("the oldest unsent event is 99 s old");
        let main = case.judge().main;
        assert_eq!((main.level, main.word), (Level::Bad, "slow"));
        assert!(main.sentence.contains("99 s old. The reason: shard shardId") && main.way_out.is_some(), "{main:?}");
    }

    #[test]
    fn a_learnt_limit_explains_a_backlog_when_nothing_is_refused_any_more() {
        let shard = &["s", "shardId-000000000001"];
        for (limit, behind, word) in [(1e5, 90.0, "throttled"), (1e5, 1.0, "delivering"), (1e6, 90.0, "delivering")] {
            let mut case = Case::new();
            case.metrics.backlog_seconds.with_label_values(&["app"]).set(behind);
            case.metrics.shard_bytes.with_label_values(shard).inc_by(0);
            case.send(10, 0, 0);
            case.metrics.shard_bytes.with_label_values(shard).inc_by(500_000 * 6);
            case.history.sample(&case.metrics.gather(), Instant::now() + INTERVAL * 6);
            case.metrics.shard_rate.with_label_values(shard).set(limit);
            assert_eq!(case.words().1, word, "{limit} {behind}");
        }
    }

    #[test]
    fn what_is_wrong_beside_delivery_is_told_beside_it() {
        let mut case = Case::new();
        case.send(10, 0, 0);
        case.metrics.files.with_label_values(&["app", "live"]).set(0);
        case.metrics.checkpoint_age.set(12.0);
        assert_eq!(case.words(), (Level::Good, "delivering", vec!["checkpoint", "no files"]));
        case.metrics.files.with_label_values(&["app", "unreadable"]).set(2);
        case.metrics.dropped_events.with_label_values(&["parse", "json"]).inc();
        case.history.sample(&case.metrics.gather(), Instant::now() + INTERVAL * 6);
        assert_eq!(case.words(), (Level::Good, "delivering", vec!["checkpoint", "unreadable", "note"]));
        case.known.sources[0].kind = SourceKind::Fifo;
        case.metrics.spool_bytes.with_label_values(&["app"]).set(900);
        assert!(case.words().2.contains(&"spool"));
        case.stalled =
            vec![Stalled { stage: "reader".to_owned(), doing: Doing::Reads, since: Duration::from_secs(70) }];
        let main = case.judge().main;
        assert_eq!((main.level, main.word), (Level::Bad, "stalled"));
        assert_eq!(main.sentence, "A part of kinetail stands still: reader has not moved for 70 s: it reads files");
    }
}
