//! `dedupe`: repeats of an event, one after the other in a file, are left out and counted.
//!
//! No count is lost on the way. The next event of the file that goes through says it, in `repeats_dropped`: another one, or the same one again, which is
//! let through when the time is over. If that event is dropped further on, the one after it says it. A file that falls silent, and one that is no longer
//! kept in mind, has its count handed over as a [`Repeats`], for whoever sends it as an event of its own.

use std::time::Duration;

use super::Context;
use super::name::{Name, Seen, text_of};
use super::table::{Table, stable_hash};
use crate::event::{Event, Value};

/// How many repeats of the event before this one, in its file, were left out between the two.
pub const REPEATS_FIELD: &str = "repeats_dropped";

/// Files that are kept in mind.
const MAX_FILES: usize = 1024;

/// Bytes of a repeated event's fields that are kept, to say what it was that was repeated.
const MAX_SHOWN_BYTES: usize = 1024;

/// Counts that wait to be fetched. Each is of a file that fell silent, so that there are no more of them in a sensible time.
const MAX_WAITING: usize = 1024;

/// Repeats that are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedupe {
    fields: Vec<Name>,
    within: Duration,
}

/// Repeats that no event has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeats {
    /// The file.
    pub path: String,
    /// How many were left out.
    pub count: u64,
    /// The fields that were repeated, as a JSON object with `repeats_dropped`; without those for which there is no room.
    pub event: String,
}

/// What is known of the files.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    files: Table<Run>,
    waiting: Vec<Repeats>,
    key: Vec<u8>,
    /// The file that the last event belongs to, and what it said, until it is known whether it was kept.
    said: Option<(u64, u64)>,
    /// Repeats that were counted and could not be told of.
    pub(super) untold: u64,
}

#[derive(Debug, Clone, Default)]
struct Run {
    path: String,
    /// The chosen fields of the last event, twice hashed; a chance of one in 2^128 to take one event for another.
    key: Option<(u64, u64)>,
    let_through_at: u64,
    repeats: u64,
    shown: String,
}

impl Dedupe {
    /// Repeats are events whose fields are the same, within a time after the one that was let through.
    pub fn new(fields: Vec<Name>, within: Duration) -> Self {
        Self { fields, within }
    }

    /// The time after which a repeat goes through.
    pub(super) fn within(&self) -> Duration {
        self.within
    }

    #[expect(clippy::unused_self, reason = "each transform makes its state")]
    pub(super) fn runs(&self) -> Runs {
        Runs { files: Table::new(MAX_FILES), waiting: Vec::new(), key: Vec::new(), said: None, untold: 0 }
    }

    /// Whether the event goes through. One that has none of the fields does, and says nothing.
    pub(super) fn lets_through(&self, runs: &mut Runs, event: &mut Event<'_>, at: &Context<'_>) -> Option<bool> {
        runs.said = None;
        if !self.write_key(event, &mut runs.key) {
            return None;
        }
        let key = (stable_hash(&runs.key), {
            runs.key.push(1);
            stable_hash(&runs.key)
        });
        let file = stable_hash(at.path.as_bytes());
        let (run, evicted) = runs.files.entry(file, || Run { path: at.path.to_owned(), ..Run::default() });
        let elapsed = at.now_nanos.saturating_sub(run.let_through_at);
        if run.key == Some(key) && u128::from(elapsed) < self.within.as_nanos() {
            run.repeats += 1;
            if run.repeats == 1 {
                run.shown = self.shown(event);
            }
            hand_over(evicted, &mut runs.waiting, &mut runs.untold);
            return Some(false);
        }
        let repeats = std::mem::take(&mut run.repeats);
        run.key = Some(key);
        run.let_through_at = at.now_nanos;
        hand_over(evicted, &mut runs.waiting, &mut runs.untold);
        if repeats > 0 {
            event.set(REPEATS_FIELD, Value::Number(repeats));
            runs.said = Some((file, repeats));
        }
        Some(true)
    }

    /// The fields, each with its length, so that no two ways of cutting the same bytes are equal.
    fn write_key(&self, event: &Event<'_>, key: &mut Vec<u8>) -> bool {
        key.clear();
        let mut is_there = false;
        for name in &self.fields {
            let seen = name.see(event);
            is_there |= seen.is_some();
            let nested;
            let (kind, text) = match &seen {
                None => (b'-', Some("".into())),
                Some(Seen::Object | Seen::Array(_)) => {
                    nested = name.value(event).map(|value| text_of(&value)).unwrap_or_default();
                    (b'j', Some(nested.into()))
                }
                Some(Seen::Text(text)) => (b't', Some(text.clone())),
                Some(other) => (b'v', other.text()),
            };
            let text = text.unwrap_or_default();
            key.push(kind);
            key.extend_from_slice(&text.len().to_be_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        is_there
    }

    fn shown(&self, event: &Event<'_>) -> String {
        let mut shown = Event::default();
        let mut left = MAX_SHOWN_BYTES;
        for name in &self.fields {
            let Some(value) = name.value(event) else { continue };
            let value = text_of(&value);
            let size = value.len() + name.text().len();
            if size <= left {
                left -= size;
                shown.push(name.text(), Value::Json(value));
            }
        }
        let mut out = Vec::new();
        shown.write_to(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

impl Runs {
    /// The last event was dropped after all: what it said, the next one says.
    pub(super) fn take_back(&mut self) {
        if let Some((file, repeats)) = self.said.take() {
            self.files.entry(file, Run::default).0.repeats += repeats;
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.files.evicted
    }

    /// What no event has told of in a time, or at all: the counts of files that fell silent.
    pub(super) fn quiet(&mut self, now_nanos: u64, wait: Duration, taken: &mut Vec<Repeats>) {
        taken.append(&mut self.waiting);
        let is_quiet = |run: &&mut Run| {
            run.repeats > 0 && u128::from(now_nanos.saturating_sub(run.let_through_at)) >= wait.as_nanos()
        };
        for run in self.files.values_mut().filter(is_quiet) {
            taken.push(told(std::mem::take(&mut run.repeats), run));
        }
    }
}

fn told(count: u64, run: &Run) -> Repeats {
    let mut event = if run.shown.is_empty() { "{}".to_owned() } else { run.shown.clone() };
    event.pop();
    event.push_str(if event.len() > 1 { "," } else { "" });
    for part in ["\"", REPEATS_FIELD, "\":", &count.to_string(), "}"] {
        event.push_str(part);
    }
    Repeats { path: run.path.clone(), count, event }
}

fn hand_over(evicted: Option<Run>, waiting: &mut Vec<Repeats>, untold: &mut u64) {
    let Some(run) = evicted.filter(|run| run.repeats > 0) else { return };
    if waiting.len() < MAX_WAITING {
        waiting.push(told(run.repeats, &run));
    } else {
        *untold += run.repeats;
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn dedupe() -> Dedupe {
        Dedupe::new(vec![Name::parse("m").unwrap()], Duration::from_secs(5))
    }

    fn go(runs: &mut Runs, path: &str, seconds: u64, json: &str) -> Option<String> {
        let at = Context { path, now_nanos: seconds * SECOND, ..Context::default() };
        let mut event = event(json);
        let lets = dedupe().lets_through(runs, &mut event, &at);
        (lets != Some(false)).then(|| rendered(&event))
    }

    #[test]
    fn the_event_after_repeats_says_how_many_there_were() {
        let mut runs = dedupe().runs();
        assert_eq!(go(&mut runs, "/a", 0, r#"{"m":"x","t":1}"#).unwrap(), r#"{"m":"x","t":1}"#);
        assert_eq!(go(&mut runs, "/a", 1, r#"{"m":"x","t":2}"#), None);
        assert_eq!(go(&mut runs, "/b", 1, r#"{"m":"y"}"#).unwrap(), r#"{"m":"y"}"#);
        assert_eq!(go(&mut runs, "/a", 2, r#"{"m":"x","t":3}"#), None);
        assert_eq!(go(&mut runs, "/a", 2, r#"{"t":3}"#).unwrap(), r#"{"t":3}"#);
        assert_eq!(go(&mut runs, "/a", 3, r#"{"m":"y"}"#).unwrap(), r#"{"m":"y","repeats_dropped":2}"#);
        assert_eq!(go(&mut runs, "/a", 3, r#"{"m":"x"}"#).unwrap(), r#"{"m":"x"}"#);
    }

    #[test]
    fn when_the_time_is_over_the_same_event_goes_through_and_says_it() {
        let mut runs = dedupe().runs();
        let through: Vec<String> = (0..12).filter_map(|t| go(&mut runs, "/a", t, r#"{"m":"x"}"#)).collect();
        assert_eq!(through, [r#"{"m":"x"}"#, r#"{"m":"x","repeats_dropped":4}"#, r#"{"m":"x","repeats_dropped":4}"#]);
    }

    #[test]
    fn no_count_is_lost() {
        let mut runs = dedupe().runs();
        for file in 0..5000 {
            let path = format!("/{file}");
            for _ in 0..4 {
                go(&mut runs, &path, 0, r#"{"m":"x","n":1}"#);
            }
        }
        // One is dropped further on.
        assert!(go(&mut runs, "/4999", 1, r#"{"m":"z"}"#).unwrap().contains("\"repeats_dropped\":3"));
        runs.take_back();
        let mut taken = Vec::new();
        runs.quiet(0, Duration::from_secs(1), &mut taken);
        runs.quiet(9 * SECOND, Duration::from_secs(1), &mut taken);
        let told: u64 = taken.iter().map(|repeats| repeats.count).sum();
        assert_eq!(told + runs.untold, 15_000);
        assert!(runs.untold > 0 && taken.len() <= MAX_FILES + MAX_WAITING);
        assert_eq!(taken[0].event, r#"{"m":"x","repeats_dropped":3}"#);
        runs.quiet(99 * SECOND, Duration::ZERO, &mut taken);
        assert_eq!(taken.iter().map(|repeats| repeats.count).sum::<u64>(), told);
    }
}
