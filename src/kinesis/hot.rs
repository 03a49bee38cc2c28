//! Which partition keys carry the most bytes, in little memory: the Space-Saving algorithm (Metwally, Agrawal, El Abbadi 2005) with counts that
//! are halved every minute, so that it follows. It knows nothing of shards, and a count may be too high by its stated error, never too low.

use std::time::Duration;

use tokio::time::Instant;

/// Keys that are counted at once. A key with more than this part of all bytes is always among them; at a shard's limit of 1 MiB a second that is
/// 16 KiB a second, far below what heats a shard.
pub const COUNTED_KEYS: usize = 64;
/// After this time a byte counts half.
pub const HALF_LIFE: Duration = Duration::from_mins(1);
/// After so many halvings nothing is left that could be told from nothing.
const MAX_HALVINGS: i32 = 1000;
/// Characters of a key that are shown: enough to find it, and a table stays a table.
const SHOWN_CHARS: usize = 64;

/// A key that carries much.
#[derive(Debug, Clone, PartialEq)]
pub struct HotKey {
    /// The key, its end replaced by an ellipsis where it is long.
    pub key: String,
    /// Its bytes of late, at most.
    pub bytes: u64,
    /// They may be this many fewer.
    pub error: u64,
    /// Their part of all bytes of late.
    pub share: f64,
    /// What that is a second.
    pub bytes_per_second: f64,
}

/// A key and its count.
#[derive(Debug)]
struct Entry {
    key: String,
    error: f64,
}

/// The counts. Hashes and counts lie by themselves, since they are what is searched.
#[derive(Debug)]
pub struct HotKeys {
    hashes: Vec<u64>,
    counts: Vec<f64>,
    entries: Vec<Entry>,
    total: f64,
    /// Seconds before the last halving, halved as often as the bytes of them.
    seconds: f64,
    halved: Instant,
}

impl HotKeys {
    /// Without counts.
    pub fn new(now: Instant) -> Self {
        let room = COUNTED_KEYS;
        let (hashes, counts, entries) = (Vec::with_capacity(room), Vec::with_capacity(room), Vec::with_capacity(room));
        Self { hashes, counts, entries, total: 0.0, seconds: 0.0, halved: now }
    }

    /// Counts bytes of a key. A key that is known costs no allocation.
    pub fn add(&mut self, key: &str, bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "it is a statistic")]
        let bytes = bytes as f64;
        self.total += bytes;
        let hash = hash(key);
        let known = |(index, _): &(usize, &u64)| self.entries[*index].key == key;
        let found =
            self.hashes.iter().enumerate().filter(|(_, other)| **other == hash).find(known).map(|(index, _)| index);
        if let Some(index) = found {
            self.counts[index] += bytes;
        } else if self.entries.len() < COUNTED_KEYS {
            self.hashes.push(hash);
            self.counts.push(bytes);
            self.entries.push(Entry { key: key.to_owned(), error: 0.0 });
        } else {
            self.replace_least(key, hash, bytes);
        }
    }

    /// The new key takes over the count of the one that has the least: it may have had as much while it was not looked at.
    fn replace_least(&mut self, key: &str, hash: u64, bytes: f64) {
        let least = self.counts.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let Some((index, count)) = least.map(|(index, count)| (index, *count)) else { return };
        let entry = &mut self.entries[index];
        entry.key.clear();
        entry.key.push_str(key);
        entry.error = count;
        self.hashes[index] = hash;
        self.counts[index] = count + bytes;
    }

    /// Halves everything for each half-life that has passed. To be called from time to time.
    pub fn decay(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.halved).as_secs() / HALF_LIFE.as_secs();
        if passed == 0 {
            return;
        }
        let times = i32::try_from(passed).unwrap_or(MAX_HALVINGS).min(MAX_HALVINGS);
        let factor = 0.5_f64.powi(times);
        self.total *= factor;
        for _ in 0..times {
            self.seconds = self.seconds.midpoint(HALF_LIFE.as_secs_f64());
        }
        self.counts.iter_mut().for_each(|count| *count *= factor);
        self.entries.iter_mut().for_each(|entry| entry.error *= factor);
        self.halved += HALF_LIFE * u32::try_from(passed).unwrap_or(u32::MAX);
    }

    /// The keys that carry the most, the most first. What has faded away is not among them.
    pub fn top(&self, most: usize, now: Instant) -> Vec<HotKey> {
        let seconds = self.seconds + now.saturating_duration_since(self.halved).as_secs_f64();
        let mut all: Vec<(f64, &Entry)> = self.counts.iter().copied().zip(&self.entries).collect();
        all.retain(|(count, _)| *count >= 1.0);
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
        let hot = |(count, entry): (f64, &Entry)| HotKey {
            key: shown(&entry.key),
            bytes: whole(count.ceil()),
            error: whole(entry.error.ceil()),
            share: count / self.total,
            bytes_per_second: count / seconds.max(1.0),
        };
        all.into_iter().take(most).map(hot).collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that is not negative; beyond the range it is the highest"
)]
fn whole(count: f64) -> u64 {
    count as u64
}

fn shown(key: &str) -> String {
    match key.char_indices().nth(SHOWN_CHARS) {
        None => key.to_owned(),
        Some(_) => key.chars().take(SHOWN_CHARS - 1).chain(['…']).collect(),
    }
}

/// Eight bytes at a time, mixed by a multiplication. Keys with the same hash are told apart by themselves, so that it need not be a good one.
fn hash(key: &str) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let (chunks, rest) = key.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mix = |hash: u64, chunk: &[u8; 8]| (hash ^ u64::from_le_bytes(*chunk)).wrapping_mul(ODD).rotate_left(29);
    let whole = chunks.iter().fold(key.len() as u64, mix);
    mix(whole, &last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Add(u16, u32),
        Wait(u8),
    }

    /// Few hot keys among many cold ones, or all alike; now and then time passes.
    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = prop_oneof![0..8_u16, 0..100_u16, 0..2000_u16];
        let step = prop_oneof![40 => (key, 0..100_000_u32).prop_map(|(key, bytes)| Step::Add(key, bytes)), 1 => (0..200_u8).prop_map(Step::Wait)];
        prop::collection::vec(step, 0..2000)
    }

    proptest! {
        #[test]
        fn what_carries_much_is_there_and_no_count_is_too_low(steps in steps()) {
            let mut now = Instant::now();
            let (start, mut halvings) = (now, 0);
            let mut hot = HotKeys::new(now);
            let mut exact: BTreeMap<String, f64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Add(key, bytes) => {
                        let key = format!("key-{key}");
                        hot.add(&key, u64::from(bytes));
                        *exact.entry(key).or_default() += f64::from(bytes);
                    }
                    Step::Wait(seconds) => {
                        now += Duration::from_secs(seconds.into());
                        hot.decay(now);
                        while start + HALF_LIFE * (halvings + 1) <= now {
                            halvings += 1;
                            for bytes in exact.values_mut() {
                                *bytes /= 2.0;
                            }
                        }
                    }
                }
            }
            let total: f64 = exact.values().sum();
            let top = hot.top(usize::MAX, Instant::now());
            prop_assert!(top.len() <= COUNTED_KEYS);
            prop_assert!(top.is_sorted_by(|a, b| a.bytes >= b.bytes));
            // Floats are as exact as it takes here.
            let slack = 1.0 + total * 1e-9;
            for key in &top {
                let exact = exact[&key.key];
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let (most, error) = (key.bytes as f64, key.error as f64);
                prop_assert!(exact <= most + slack && most - error <= exact + 2.0 * slack, "{key:?}: {exact}");
                prop_assert!((key.share * total - most).abs() <= slack, "{key:?} of {total}");
            }
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let much = total / COUNTED_KEYS as f64;
            for (key, bytes) in exact.iter().filter(|(_, bytes)| **bytes > much + slack) {
                prop_assert!(top.iter().any(|hot| hot.key == *key), "{key} has {bytes} of {total}");
            }
        }
    }

    #[test]
    fn a_key_that_cools_down_makes_room_for_one_that_heats_up() {
        let mut now = Instant::now();
        let mut hot = HotKeys::new(now);
        hot.add("old", 1 << 30);
        for _ in 0..12 {
            now += HALF_LIFE;
            hot.decay(now);
            hot.add("new", 1 << 20);
        }
        let top = hot.top(1, Instant::now());
        assert_eq!((&*top[0].key, top[0].error), ("new", 0));
        assert!((0.8..1.0).contains(&top[0].share), "{top:?}");
        hot.decay(now + Duration::from_hours(24 * 365));
        assert_eq!(hot.top(9, Instant::now()), []);
    }

    #[test]
    fn long_keys_are_shown_short_but_counted_apart() {
        let mut hot = HotKeys::new(Instant::now());
        let key = |end: &str| format!("{}{end}", "é".repeat(SHOWN_CHARS));
        hot.add(&key("a"), 3);
        hot.add(&key("b"), 5);
        hot.add(&key("a"), 4);
        let top = hot.top(9, Instant::now());
        assert_eq!([top[0].bytes, top[1].bytes], [7, 5]);
        assert_eq!(top[0].key, format!("{}…", "é".repeat(SHOWN_CHARS - 1)));
        hot.add("", 100);
        assert_eq!(hot.top(1, Instant::now())[0].key, "");
    }
}
