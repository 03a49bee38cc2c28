//! Docker cuts lines after 16 KiB. This joins the parts: they may come in any order, and those of several lines among each other. What is held is
//! bounded in lines, bytes and age; what cannot be joined within that is given back as it came. Writes no lines itself, and is told the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::msgpack::{Reader, Token};

/// Lines of one connection that may be open: a container writes one at a time on each of its two streams.
const MAX_OPEN: usize = 64;
/// Parts of one line: 64 MiB, more than all lines together may have.
const MAX_PARTS: u32 = 4096;
/// How long a line may stay open from its first part on. The same as for lines that a runtime cut in files.
pub(super) const MAX_AGE: Duration = Duration::from_secs(5);
/// Bytes of parts that are held, over all connections. Thousand parts of docker's.
pub(super) const MAX_HELD_BYTES: usize = 16 * 1024 * 1024;

/// One part of a line, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Its time and its record.
    pub(super) entry: &'a [u8],
    /// Its text.
    pub(super) log: &'a [u8],
    id: &'a [u8],
    /// From 1 on.
    ordinal: u32,
    last: bool,
}

impl<'a> Part<'a> {
    /// What a record says of itself; nothing if it is no part, or not all that is needed is there.
    pub(super) fn read(entry: &'a [u8], mut record: Reader<'a>) -> Option<Self> {
        let Ok(Token::Map(count)) = record.token() else { return None };
        let (mut is_part, mut log, mut id, mut ordinal, mut last) = (false, None, None, None, None);
        for _ in 0..count {
            let key = record.token().ok()?;
            let Token::Str(name) = key else {
                record.skip().ok()?;
                continue;
            };
            let mut value = record;
            record.skip().ok()?;
            match name {
                b"partial_message" => is_part = flag(value.token().ok()?)?,
                b"partial_last" => last = flag(value.token().ok()?),
                b"partial_ordinal" => ordinal = number(value.token().ok()?),
                b"partial_id" => id = bytes(value.token().ok()?),
                b"log" => log = bytes(value.token().ok()?),
                _ => {}
            }
        }
        let ordinal = ordinal.filter(|ordinal| (1..=MAX_PARTS).contains(ordinal))?;
        is_part.then_some(Self { entry, log: log?, id: id?, ordinal, last: last? })
    }
}

fn bytes(token: Token<'_>) -> Option<&[u8]> {
    match token {
        Token::Str(bytes) | Token::Bin(bytes) => Some(bytes),
        _ => None,
    }
}

/// Docker writes `"true"`; those who copy records may have made a boolean of it.
fn flag(token: Token<'_>) -> Option<bool> {
    match token {
        Token::Bool(flag) => Some(flag),
        Token::Str(b"true") => Some(true),
        Token::Str(b"false") => Some(false),
        _ => None,
    }
}

fn number(token: Token<'_>) -> Option<u32> {
    match token {
        Token::Uint(n) => u32::try_from(n).ok(),
        Token::Str(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// A part that is held, and the room that it takes.
#[derive(Debug)]
struct Held {
    entry: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// A line of which not all parts are there.
#[derive(Debug)]
struct Open {
    since: Instant,
    parts: BTreeMap<u32, Held>,
    /// The number of the last part, once it is there.
    last: Option<u32>,
}

/// Parts that are no longer held, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) tag: Vec<u8>,
    /// Time and record of each.
    pub(super) entries: Vec<Vec<u8>>,
}

/// What becomes of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is held.
    Held,
    /// It was the one that was missing: these are all parts of its line.
    Whole(Released),
    /// There is no room for it. These were held of its line and will not be joined either; it goes after them, as it came.
    Refused(Released),
}

/// The open lines of one connection.
#[derive(Debug)]
pub(super) struct Joins {
    /// By tag and id.
    open: BTreeMap<(Vec<u8>, Vec<u8>), Open>,
    /// The bytes that may be held, over all connections.
    room: Arc<Semaphore>,
}

impl Joins {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self { open: BTreeMap::new(), room }
    }

    /// Takes a part.
    pub(super) fn add(&mut self, tag: &[u8], part: Part<'_>, now: Instant) -> Added {
        let key = (tag.to_vec(), part.id.to_vec());
        let is_new = !self.open.contains_key(&key);
        if is_new && part.last && part.ordinal == 1 {
            return Added::Whole(Released { tag: key.0, entries: vec![part.entry.to_vec()] });
        }
        // A part that is there twice says that its line is not what it seems.
        let is_twice = self.open.get(&key).is_some_and(|open| open.parts.contains_key(&part.ordinal));
        let room = u32::try_from(part.entry.len())
            .ok()
            .and_then(|bytes| Arc::clone(&self.room).try_acquire_many_owned(bytes).ok())
            .filter(|_| !is_twice && (!is_new || self.open.len() < MAX_OPEN));
        let Some(room) = room else {
            let open = self.open.remove(&key);
            return Added::Refused(open.map_or_else(Released::default, |open| open.release(key.0)));
        };
        let open = self.open.entry(key.clone()).or_insert_with(|| Open::new(now));
        open.parts.insert(part.ordinal, Held { entry: part.entry.to_vec(), _room: room });
        if part.last {
            open.last = Some(part.ordinal);
        }
        if !open.is_whole() {
            return Added::Held;
        }
        let open = self.open.remove(&key);
        Added::Whole(open.map_or_else(Released::default, |open| open.release(key.0)))
    }

    /// When the oldest open line is too old, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.values().map(|open| open.since + MAX_AGE).min()
    }

    /// Gives back the parts of lines that were open for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Released> {
        let old = self.open.extract_if(.., |_, open| open.since + MAX_AGE <= now);
        old.map(|((tag, _), open)| open.release(tag)).collect()
    }

    /// Gives back all parts.
    pub(super) fn end(&mut self) -> Vec<Released> {
        std::mem::take(&mut self.open).into_iter().map(|((tag, _), open)| open.release(tag)).collect()
    }
}

impl Open {
    fn new(since: Instant) -> Self {
        Self { since, parts: BTreeMap::new(), last: None }
    }

    /// All parts from the first to the last are there, and no other.
    fn is_whole(&self) -> bool {
        let count = u32::try_from(self.parts.len()).ok();
        self.last.is_some() && self.last == count && self.parts.last_key_value().map(|(ordinal, _)| *ordinal) == count
    }

    fn release(self, tag: Vec<u8>) -> Released {
        Released { tag, entries: self.parts.into_values().map(|held| held.entry).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part<'a>(entry: &'a [u8], id: &'a [u8], ordinal: u32, last: bool) -> Part<'a> {
        Part { entry, log: b"", id, ordinal, last }
    }

    fn joins(bytes: usize) -> Joins {
        Joins::new(Arc::new(Semaphore::new(bytes)))
    }

    fn released(entries: &[&[u8]]) -> Released {
        Released { tag: b"t".to_vec(), entries: entries.iter().map(|entry| entry.to_vec()).collect() }
    }

    #[tokio::test(start_paused = true)]
    async fn parts_come_in_any_order_and_among_each_other() {
        let (mut joins, now) = (joins(100), Instant::now());
        assert_eq!(joins.add(b"t", part(b"a3", b"a", 3, true), now), Added::Held);
        assert_eq!(joins.add(b"t", part(b"b2", b"b", 2, false), now), Added::Held);
        assert_eq!(joins.add(b"t", part(b"a1", b"a", 1, false), now), Added::Held);
        assert_eq!(joins.add(b"u", part(b"u2", b"a", 2, false), now), Added::Held);
        assert_eq!(joins.add(b"t", part(b"b1", b"b", 1, false), now), Added::Held);
        let whole = Added::Whole(released(&[b"a1", b"a2", b"a3"]));
        assert_eq!(joins.add(b"t", part(b"a2", b"a", 2, false), now), whole);
        assert_eq!(joins.add(b"t", part(b"b3", b"b", 3, true), now), Added::Whole(released(&[b"b1", b"b2", b"b3"])));
        assert_eq!(joins.add(b"t", part(b"x", b"x", 1, true), now), Added::Whole(released(&[b"x"])));
        assert_eq!(joins.end(), [Released { tag: b"u".to_vec(), entries: vec![b"u2".to_vec()] }]);
        assert_eq!(joins.room.available_permits(), 100, "all room is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_has_bounds() {
        let (mut joins, now) = (joins(5), Instant::now());
        assert_eq!(joins.add(b"t", part(b"a1", b"a", 1, false), now), Added::Held);
        assert_eq!(joins.add(b"t", part(b"b1", b"b", 1, false), now), Added::Held);
        assert_eq!(joins.add(b"t", part(b"a2", b"a", 2, false), now), Added::Refused(released(&[b"a1"])));
        assert_eq!(joins.add(b"t", part(b"b1", b"b", 1, false), now), Added::Refused(released(&[b"b1"])), "twice");
        assert_eq!(joins.room.available_permits(), 5);

        let mut many = self::joins(1 << 20);
        for n in 0..MAX_OPEN {
            assert_eq!(many.add(b"t", part(b"e", n.to_string().as_bytes(), 1, false), now), Added::Held);
        }
        assert_eq!(many.add(b"t", part(b"e", b"more", 1, false), now), Added::Refused(Released::default()));
        assert!(matches!(many.add(b"t", part(b"f", b"7", 2, true), now), Added::Whole(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_line_is_given_back() {
        let (mut joins, start) = (joins(100), Instant::now());
        assert_eq!(joins.due(), None);
        joins.add(b"t", part(b"a1", b"a", 1, false), start);
        let later = start + Duration::from_secs(1);
        joins.add(b"t", part(b"b1", b"b", 1, false), later);
        joins.add(b"t", part(b"a2", b"a", 2, false), later);
        assert_eq!(joins.due(), Some(start + MAX_AGE));
        assert_eq!(joins.expire(start + MAX_AGE), [released(&[b"a1", b"a2"])]);
        assert_eq!(joins.due(), Some(later + MAX_AGE));
        assert_eq!(joins.expire(later), []);
    }
}
