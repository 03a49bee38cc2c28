//! Which shards random keys are drawn for. A sender with a small part of a large stream sends to a few of its shards, and learns soon what
//! they have left for it; asking all of them, it would ask each so rarely that it learns nothing. A sender that is alone uses all.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::{LEAST_SHARE, Pacer, ShardIndex, UNUSED_DECREASE};

/// The share that each chosen shard should have: 16 KiB/s, so that a record of 8 KiB goes twice a second.
const WANTED_SHARE: f64 = 1.0 / 64.0;
/// How many of them there are then.
const AT_WANTED_SHARE: f64 = 4.0;
/// With two, what one has no room for goes to the other, and an uneven choice evens out.
const LEAST_CHOSEN: usize = 2;
/// A shard with so small a part of what the others give is crowded: another one takes its place.
const CROWDED: f64 = 0.25;
/// Who has so much of each shard is nearly alone.
const ALONE: f64 = 0.125;
/// Seconds over which what is taken is averaged.
const TAKEN_SECONDS: f64 = 5.0;
/// What a sender that keeps up may count on, as a multiple of what it takes.
const HEADROOM: f64 = 2.0;
/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// The shards that were chosen.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// None: all.
    shards: Option<BTreeSet<ShardIndex>>,
    looked: Option<Instant>,
    /// Seconds of a whole shard that were taken since, and whether anything was refused to a sender that keeps up.
    since: (f64, bool),
    /// How many shards' worth is taken, on average.
    taken: f64,
}

impl Chosen {
    pub(super) fn sent(&mut self, cost: f64) {
        self.since.0 += cost;
    }

    pub(super) fn refused(&mut self, cost: f64, keeps_up: bool) {
        self.since = (self.since.0 - cost, self.since.1 || keeps_up);
    }

    /// Takes in what happened since the last look. Answers whether anything was refused while the sender kept up.
    fn look(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.looked.unwrap_or(now)).as_secs_f64();
        self.looked = Some(now);
        let (taken, refused) = std::mem::take(&mut self.since);
        if passed > 0.0 {
            self.taken += (taken / passed - self.taken) * (1.0 - (-passed / TAKEN_SECONDS).exp());
        }
        refused
    }
}

impl Pacer {
    /// Whether random keys are drawn for this shard.
    pub fn is_chosen(&self, shard: ShardIndex) -> bool {
        self.chosen.shards.as_ref().is_none_or(|chosen| chosen.contains(&shard))
    }

    /// Chooses anew among a stream's shards, now and then. What the sender has of them together stays as it is.
    pub fn choose(&mut self, open: impl Iterator<Item = ShardIndex>, now: Instant) {
        if self.chosen.looked.is_some_and(|at| now.saturating_duration_since(at) < INTERVAL) {
            return;
        }
        let refused = self.chosen.look(now);
        let open: BTreeSet<ShardIndex> = open.collect();
        if !self.has_limits || open.len() <= LEAST_CHOSEN {
            self.chosen.shards = None;
            return;
        }
        let before = self.chosen.shards.take();
        let is_kept = |shard: &ShardIndex| before.as_ref().is_none_or(|before| before.contains(shard));
        let (mut chosen, mut others): (Vec<_>, Vec<_>) = open.iter().copied().partition(is_kept);
        if chosen.is_empty() {
            std::mem::swap(&mut chosen, &mut others);
        }
        if refused {
            self.come_down(&chosen, now);
        }
        self.adjust(&mut chosen, others, now);
        self.chosen.shards = Some(chosen.into_iter().collect());
    }

    /// Keys are random, so that what goes unused does so everywhere: a refusal of one shard says of all that this was too much to count on.
    fn come_down(&mut self, chosen: &[ShardIndex], now: Instant) {
        let total: f64 = chosen.iter().map(|shard| self.share(*shard)).sum();
        let factor = (HEADROOM * self.chosen.taken / total).clamp(1.0 - UNUSED_DECREASE, 1.0);
        for shard in chosen {
            self.give(*shard, self.share(*shard) * factor, now);
        }
    }

    fn adjust(&mut self, chosen: &mut Vec<ShardIndex>, mut others: Vec<ShardIndex>, now: Instant) {
        // Of shards that are alike, each sender keeps others.
        self.rng.shuffle(chosen);
        chosen.sort_by(|a, b| self.share(*b).total_cmp(&self.share(*a)));
        let total: f64 = chosen.iter().map(|shard| self.share(*shard)).sum();
        // Each shard gives all its senders alike, so that who has many shards has much. With the root, those who happen to have more than others
        // give some up, whatever they have.
        let right = (AT_WANTED_SHARE * total / WANTED_SHARE).sqrt();
        let size = wanted(right, chosen.len()).min(chosen.len() + others.len());
        let least = chosen.last().map_or(1.0, |shard| self.share(*shard));
        let is_crowded = least < CROWDED * total / float(chosen.len()) && !others.is_empty();
        let keeps = size.min(chosen.len() - usize::from(is_crowded));
        if keeps == chosen.len() && keeps == size {
            return;
        }
        chosen.truncate(keeps);
        let kept: f64 = chosen.iter().map(|shard| self.share(*shard)).sum();
        self.rng.shuffle(&mut others);
        others.truncate(size - keeps);
        let mean = kept / float(keeps);
        // In a crowd, what is new is taken from what there is. Who has much of each shard is likely to find as much of another.
        let (each, factor) = if mean < ALONE {
            let each = total / float(keeps + others.len());
            (each, (total - each * float(others.len())) / kept)
        } else {
            (mean, 1.0)
        };
        for shard in chosen.iter() {
            self.give(*shard, self.share(*shard) * factor, now);
        }
        for shard in &others {
            self.give(*shard, each, now);
        }
        chosen.append(&mut others);
    }

    fn share(&self, shard: ShardIndex) -> f64 {
        self.shards.get(&shard).map_or(1.0, |shard| shard.share)
    }

    fn give(&mut self, to: ShardIndex, share: f64, now: Instant) {
        self.shard(to, now).share = share.clamp(LEAST_SHARE, 1.0);
    }
}

/// How many shards there should be, if this many is right and there are so many now.
fn wanted(right: f64, now: usize) -> usize {
    if (right - float(now)).abs() <= 1.0 {
        return now;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a stream has thousands of shards at most"
    )]
    let right = right.round() as usize;
    right.max(LEAST_CHOSEN)
}

#[expect(clippy::cast_precision_loss, reason = "a stream has thousands of shards at most")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: u32 = 40;

    fn all() -> impl Iterator<Item = ShardIndex> {
        (0..SHARDS).map(ShardIndex)
    }

    fn chosen(pacer: &Pacer) -> Vec<ShardIndex> {
        all().filter(|shard| pacer.is_chosen(*shard)).collect()
    }

    /// A pacer that has met limits, with the same share of every shard.
    fn crowded(share: f64, now: Instant) -> Pacer {
        let mut pacer = Pacer::new(1);
        // A full record: it does not keep up.
        pacer.throttled(ShardIndex(0), 51_200, now, now);
        for shard in all() {
            pacer.give(shard, share, now);
        }
        pacer
    }

    #[test]
    fn who_has_little_of_many_shards_gets_as_much_of_a_few() {
        let now = Instant::now();
        let mut pacer = crowded(1.0 / 640.0, now);
        pacer.choose(all(), now);
        let few = chosen(&pacer);
        assert_eq!(few.len(), 4);
        assert!(few.iter().all(|shard| (pacer.share(*shard) - 1.0 / 64.0).abs() < 1e-9));
        // Sooner than the interval it is not looked at again.
        for shard in &few {
            pacer.give(*shard, 1.0, now);
        }
        pacer.choose(all(), now + INTERVAL / 2);
        assert_eq!(chosen(&pacer), few);
        pacer.choose(all(), now + INTERVAL);
        pacer.choose(all(), now + 2 * INTERVAL);
        assert_eq!(chosen(&pacer).len(), all().count());
    }

    #[test]
    fn a_sender_that_keeps_up_comes_down_to_twice_what_it_takes() {
        let now = Instant::now();
        let mut pacer = Pacer::new(1);
        let mut looks = 0;
        pacer.choose(all(), now);
        while chosen(&pacer).len() > LEAST_CHOSEN {
            looks += 1;
            let later = now + looks * INTERVAL;
            pacer.throttled(ShardIndex(0), 100, later, later);
            pacer.choose(all(), later);
            assert!(looks < 60, "{} after {looks} looks", chosen(&pacer).len());
        }
    }

    #[test]
    fn a_crowded_shard_is_left_for_another_and_a_gone_one_too() {
        let now = Instant::now();
        let mut pacer = crowded(1.0 / 640.0, now);
        pacer.choose(all(), now);
        let few = chosen(&pacer);
        pacer.give(few[2], 1.0 / 640.0, now);
        pacer.choose(all(), now + INTERVAL);
        let others = chosen(&pacer);
        assert!(!others.contains(&few[2]) && others.len() >= few.len() - 1, "{few:?} {others:?}");
        let left = || all().filter(|shard| !others.contains(shard));
        pacer.choose(left(), now + 2 * INTERVAL);
        assert!(left().any(|shard| pacer.is_chosen(shard)));
    }

    #[test]
    fn without_limits_all_are_chosen() {
        let now = Instant::now();
        let mut pacer = Pacer::new(1);
        pacer.choose(all(), now);
        assert_eq!(chosen(&pacer).len(), all().count());
        let mut pacer = crowded(1.0, now);
        pacer.choose(all(), now);
        assert_eq!(chosen(&pacer).len(), all().count());
    }
}
