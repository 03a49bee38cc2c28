//! The pacer: when a record may go to a shard, and how large it should be, learnt from what the shard stores and refuses. Pure; the time is an
//! argument, its randomness comes from a seed. It sends nothing, and keeps no record.
//!
//! A shard is shared by senders that do not know of each other. Each has a *share* of it, at first all of it. A record costs the time that a
//! whole shard needs to take it; the share pays for it, in arrears, so that a record of any size may go as soon as nothing is owed.

mod chosen;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use chosen::Chosen;

/// Bytes that a shard takes in a second, in every mode of a stream.
pub const SHARD_BYTES_PER_SECOND: f64 = 1_048_576.0;
/// Records that a shard takes in a second.
const SHARD_RECORDS_PER_SECOND: f64 = 1_000.0;
/// The least share: 1 KiB/s, what a fleet of a thousand leaves to each.
const LEAST_SHARE: f64 = 1.0 / 4096.0;
/// No record is waited for longer than this, whatever it costs: one that was made large before its shard was crowded must not stand for an
/// hour in front of all others of its lane.
const MOST_WAIT_SECONDS: f64 = 60.0;
/// Without a refusal for so long, a share below [`RECOVERED_SHARE`] that does not suffice doubles every ten seconds: whatever drove it down is over.
/// In a crowd that small shares are made for, a refusal comes every half minute.
const RECOVERY: Duration = Duration::from_mins(2);
const RECOVERY_DOUBLING_SECONDS: f64 = 10.0;
const RECOVERED_SHARE: f64 = 1.0 / 50.0;
/// Seconds of its share that a sender may save up, so that small records which come together go together. A tenth of what the service saves up
/// for all senders.
const SAVED_SECONDS: f64 = 0.1;
/// A record should take so many seconds of the share. Each record is a question to the shard, and a sender that asks twice a second learns in
/// minutes what would take it hours with full records; and nothing waits longer than that for the record before it.
const FILL_SECONDS: f64 = 0.5;
/// Smaller records cost more than they tell: a thousand senders would come close to the limit of records with them.
const LEAST_FILL_BYTES: f64 = 3072.0;
/// Above this a larger record saves next to nothing.
const MOST_FILL_BYTES: f64 = 51_200.0;
/// A lane's record that has to wait for the one before it grows up to this many seconds of a whole shard, ...
const MOST_GROWN_SECONDS: f64 = 0.5;
/// ... and to so many times what the shard has stored at once: one that is much larger than those of others would stand in front of its lane for
/// ever.
const GROWN: f64 = 2.0;
/// The part of its share that a sender gives up when a record is refused. Small: what remains of it is noise between the shares.
const DECREASE: f64 = 0.04;
/// A sender that keeps up when it is refused, and uses less than its share, comes down to what it uses, at most by this part at once: one
/// refusal is a poor reason to believe in much less.
const UNUSED_DECREASE: f64 = 0.3;
/// The part of its records that a sender at a thousandth of a shard accepts to be refused ...
const REFUSALS_AT_A_THOUSANDTH: f64 = 0.04;
/// ... and how fast that falls as its share grows. Falling makes shares even; falling faster would refuse too much of a large fleet.
const FAIRNESS: f64 = 0.6;
/// Growth speeds up when this many times the refusals that one would expect did not come: then others have left.
const PATIENCE: f64 = 2.0;
/// The most that one answer adds, as a part of the share.
const MOST_GROWTH: f64 = 0.2;
/// Seconds over which the unused part of a share is averaged.
const UNUSED_SECONDS: f64 = 5.0;
/// A refused record waits for up to this long at least, of its shard's second.
const LEAST_JITTER_SECONDS: f64 = 0.1;
/// Before a stream has ever refused a record for want of room, nobody knows that its shards have the service's limits: stand-ins have none. A share that
/// does not suffice doubles in this time, up to [`MOST_SHARE`]; the first refusal ends that for good.
const DOUBLING_SECONDS: f64 = 0.02;
/// What a shard is left in reserve when it has shown its limits: five records of the usual size.
const RESERVE_SECONDS: f64 = 0.25;
/// 4 GiB/s, which is no limit.
const MOST_SHARE: f64 = 4096.0;
/// Refusals that stay between these parts of all records ...
const NOISE: std::ops::Range<f64> = 0.10..0.5;
/// (a little below, once they have been there) ...
const NOISE_END: f64 = 0.07;
/// ... while what is used of the shard comes down by this factor (a share that nobody uses may come down for any reason) ...
const NOISE_DECREASE: f64 = 8.0;
/// ... and so many records are stored have nothing to do with the share. In a fleet that comes down together, refusals would have become rare
/// long before: from one in two to one in twenty, the shares halve.
const NOISE_STORED: u32 = 100;
/// Records over which refusals are averaged.
const REFUSED_RECORDS: f64 = 80.0;
/// A shard to which nothing was sent for so long is as one that was never heard of: whoever shared it then is not who shares it now.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// A shard as the sender numbers them (its id's text is kept elsewhere).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardIndex(pub u32);

/// Seconds of a whole shard that a record takes.
fn cost(size: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a record has at most 10 MiB")]
    let bytes = size as f64;
    (bytes / SHARD_BYTES_PER_SECOND).max(1.0 / SHARD_RECORDS_PER_SECOND)
}

/// What one sender knows of one shard.
#[derive(Debug, Clone, Copy)]
struct Shard {
    /// The part of the shard that the sender takes for itself.
    share: f64,
    /// Seconds of the whole shard that are saved up, or owed if negative, at `at`.
    balance: f64,
    at: Instant,
    /// The part of the share that went unused lately.
    unused: f64,
    /// A refused record waits, so that what goes unused is not the sender's choice.
    waits: bool,
    /// Refusals that were to be expected since the last one.
    expected: f64,
    /// Until when the share has grown.
    grown: Instant,
    /// When it last came down: refusals of what was sent before tell nothing new.
    decreased: Option<Instant>,
    used: Instant,
    /// Seconds of the whole shard that the largest record took which it has stored lately.
    largest: f64,
    /// The part of the records that was refused lately.
    refused: f64,
    /// Since that came into [`NOISE`]: the most of the shard that was used, and how many records were stored.
    noise: Option<(f64, u32)>,
}

impl Shard {
    fn new(now: Instant) -> Self {
        Self {
            share: 1.0,
            balance: SAVED_SECONDS,
            at: now,
            unused: 1.0,
            waits: false,
            expected: 0.0,
            grown: now,
            decreased: None,
            used: now,
            largest: MOST_FILL_BYTES / SHARD_BYTES_PER_SECOND,
            refused: 0.0,
            noise: None,
        }
    }

    /// Takes in whether a record was stored or refused. Answers whether refusals are noise: they do not become fewer when less is sent.
    fn observe(&mut self, stored: bool) -> bool {
        let refused = if stored { 0.0 } else { 1.0 };
        self.refused += (refused - self.refused) / REFUSED_RECORDS;
        let goes_on = (NOISE_END..NOISE.end).contains(&self.refused);
        let begins = NOISE.contains(&self.refused).then_some((0.0, 0));
        let Some((most, count)) = self.noise.filter(|_| goes_on).or(begins) else {
            self.noise = None;
            return false;
        };
        let most = self.used_share().max(most);
        self.noise = Some((most, count + u32::from(stored)));
        count >= NOISE_STORED && self.share * NOISE_DECREASE <= most
    }

    /// The part of the shard that is used.
    fn used_share(&self) -> f64 {
        self.share * (1.0 - self.unused)
    }

    /// Records that are smaller than they might be are those of a sender that keeps up, of which others may know nothing.
    fn keeps_up(&self, size: usize) -> bool {
        cost(size) < self.fill() / 2.0
    }

    /// Seconds of the whole shard that a record should take.
    fn fill(&self) -> f64 {
        (self.share * FILL_SECONDS)
            .clamp(LEAST_FILL_BYTES / SHARD_BYTES_PER_SECOND, MOST_FILL_BYTES / SHARD_BYTES_PER_SECOND)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        if passed <= 0.0 {
            return;
        }
        let (full, filled) = (self.share * SAVED_SECONDS, self.balance + passed * self.share);
        let over = if self.waits { 0.0 } else { (filled - full).max(0.0) / (passed * self.share) };
        self.unused += (over.min(1.0) - self.unused) * (1.0 - (-passed / UNUSED_SECONDS).exp());
        self.balance = filled.min(full);
        self.at = now;
    }

    fn opens_at(&self) -> Instant {
        if self.balance >= 0.0 { self.at } else { self.at + Duration::from_secs_f64(-self.balance / self.share) }
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= FORGOTTEN && self.opens_at() <= now
    }

    /// Refusals that are to be expected of a record, at this share.
    fn refusals(&self) -> f64 {
        REFUSALS_AT_A_THOUSANDTH * (self.share * 1000.0).powf(-FAIRNESS)
    }

    fn grow(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown).as_secs_f64();
        self.grown = self.grown.max(now);
        let expected = passed * self.share / self.fill() * self.refusals();
        self.expected += expected;
        let is_over = self.decreased.is_some_and(|at| now.saturating_duration_since(at) >= RECOVERY);
        if is_over && self.expected >= 5.0 && self.share < RECOVERED_SHARE && self.balance < 0.0 {
            self.share *= (passed / RECOVERY_DOUBLING_SECONDS).min(1.0).exp2();
        }
        let growth = DECREASE * expected * (1.0 + (self.expected / PATIENCE).powi(2));
        self.share = (self.share * (1.0 + growth.min(MOST_GROWTH))).min(1.0);
    }

    /// As long as nothing was ever refused, what does not suffice is too little.
    fn double(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.grown).as_secs_f64().min(DOUBLING_SECONDS);
        self.grown = self.grown.max(now);
        if self.opens_at() > now {
            self.share = (self.share * (passed / DOUBLING_SECONDS).exp2()).min(MOST_SHARE);
        }
    }

    /// The stream has limits after all: the share is the whole shard, and what was refused because it had been more tells nothing else.
    fn limit(&mut self, now: Instant) {
        if self.share > 1.0 {
            // What the shard had saved up is gone. Who then sends just as much as it takes meets an empty one again and again, and with a
            // little of it left in reserve, hardly ever.
            (self.share, self.balance) = (1.0, -RESERVE_SECONDS);
            self.decreased = Some(now);
        }
        self.grown = now;
    }

    fn decrease(&mut self, size: usize, now: Instant) {
        // A larger record than others send is refused more often, in proportion: it tells as much less. Among many refusals that does not matter.
        let usual = if self.refused >= NOISE.start { self.fill().max(self.share * FILL_SECONDS) } else { self.fill() };
        let weight = (usual / cost(size)).min(1.0);
        let kept = 1.0 - DECREASE * weight;
        let used = if self.keeps_up(size) { (1.0 - self.unused).max(1.0 - UNUSED_DECREASE) } else { 1.0 };
        self.share = (self.share * used.min(1.0) * kept).max(LEAST_SHARE);
        self.expected = 0.0;
        self.grown = now;
        self.decreased = Some(now);
    }
}

/// The paces of all shards that one sender sends to. A shard that it has never heard of has the service's limits.
#[derive(Debug)]
pub struct Pacer {
    shards: BTreeMap<ShardIndex, Shard>,
    /// The stream has refused a record for want of room.
    has_limits: bool,
    /// And more often than not for other reasons.
    is_noisy: bool,
    /// Those that random keys are drawn for.
    chosen: Chosen,
    rng: fastrand::Rng,
}

impl Pacer {
    /// A pacer that has heard of no shard.
    pub fn new(seed: u64) -> Self {
        let (chosen, rng) = (Chosen::default(), fastrand::Rng::with_seed(seed));
        Self { shards: BTreeMap::new(), has_limits: false, is_noisy: false, chosen, rng }
    }

    fn shard(&mut self, shard: ShardIndex, now: Instant) -> &mut Shard {
        let shard = self.shards.entry(shard).or_insert_with(|| Shard::new(now));
        if shard.is_forgotten(now) {
            *shard = Shard::new(now);
        }
        shard.refill(now);
        shard
    }

    /// When a record may go to this shard; none if now.
    pub fn opens_at(&self, shard: ShardIndex, now: Instant) -> Option<Instant> {
        self.shards.get(&shard).filter(|shard| shard.balance < 0.0).map(Shard::opens_at).filter(|at| *at > now)
    }

    /// The size at which a record for this shard is large enough to go, where `target` is the one that is wanted when nothing is in the way.
    /// One that was made when the share was larger may go all the same, but a shard that is full refuses larger records first.
    pub fn record_size(&self, shard: ShardIndex, target: usize) -> usize {
        let Some(shard) = self.shards.get(&shard).filter(|shard| shard.share < 1.0) else {
            return target;
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 4 KiB and 50 KiB")]
        let bytes = (shard.fill() * SHARD_BYTES_PER_SECOND) as usize;
        bytes.min(target)
    }

    /// The size up to which a record grows that has to wait for the one before it: over a slow network, records would not use the share otherwise.
    pub fn grown_size(&self, shard: ShardIndex, target: usize) -> usize {
        let grown = self
            .shards
            .get(&shard)
            .map_or(0.0, |shard| (shard.share * FILL_SECONDS).min(MOST_GROWN_SECONDS).min(GROWN * shard.largest));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most half a shard's second")]
        let bytes = (grown * SHARD_BYTES_PER_SECOND) as usize;
        bytes.max(self.record_size(shard, target))
    }

    /// A record of this size (data and partition key, in bytes) goes out.
    pub fn sent(&mut self, shard: ShardIndex, size: usize, now: Instant) {
        self.chosen.sent(cost(size));
        let shard = self.shard(shard, now);
        shard.balance = (shard.balance - cost(size)).max(-MOST_WAIT_SECONDS * shard.share);
        shard.waits = false;
        shard.used = now;
    }

    /// A record was stored.
    pub fn stored(&mut self, shard: ShardIndex, size: usize, now: Instant) {
        let has_limits = self.has_limits;
        let shard = self.shard(shard, now);
        shard.observe(true);
        shard.largest = shard.largest.max(cost(size));
        if has_limits {
            shard.grow(now);
        } else {
            shard.double(now);
        }
    }

    /// A record was throttled whose request went out at `sent_at`. Answers when this same record may go again: after the debt of this attempt,
    /// and up to as long again, at random.
    pub fn throttled(&mut self, shard: ShardIndex, size: usize, sent_at: Instant, now: Instant) -> Instant {
        let jitter = self.rng.f64();
        let index = shard;
        let shard = self.shard(index, now);
        let keeps_up = shard.keeps_up(size);
        let is_noise = shard.observe(false);
        let is_bad = shard.refused >= NOISE.end;
        shard.largest = shard.largest.min((cost(size) / GROWN).max(MOST_FILL_BYTES / SHARD_BYTES_PER_SECOND));
        self.chosen.refused(cost(size), keeps_up);
        if is_noise || is_bad || !self.is_noisy {
            self.note(is_noise, now);
        }
        let has_limits = self.has_limits;
        let shard = self.shard(index, now);
        if has_limits && shard.decreased.is_none_or(|at| at <= sent_at) {
            shard.decrease(size, now);
        }
        shard.waits = true;
        let interval = (cost(size) / shard.share).clamp(LEAST_JITTER_SECONDS, MOST_WAIT_SECONDS);
        shard.opens_at().max(now) + Duration::from_secs_f64(interval * jitter)
    }

    /// What a refusal says of the whole stream: that it has limits, or that its refusals are not about them.
    fn note(&mut self, is_noise: bool, now: Instant) {
        if is_noise {
            tracing::warn!(
                "records are throttled however little is sent: their shards are sent to as if they had no limits, until most records are refused"
            );
            (self.has_limits, self.is_noisy) = (false, true);
            for shard in self.shards.values_mut() {
                (shard.share, shard.noise) = (shard.share.max(1.0), None);
            }
        } else if !std::mem::replace(&mut self.has_limits, true) {
            self.is_noisy = false;
            for shard in self.shards.values_mut() {
                shard.limit(now);
            }
        }
    }

    /// Bytes a second that the shard is given at present.
    pub fn rate(&self, shard: ShardIndex) -> f64 {
        self.shards.get(&shard).map_or(1.0, |shard| shard.share) * SHARD_BYTES_PER_SECOND
    }

    /// Forgets shards, such as those that are gone after a reshard.
    pub fn retain(&mut self, mut keep: impl FnMut(ShardIndex) -> bool) {
        self.shards.retain(|shard, _| keep(*shard));
    }

    /// The shards that it has heard of.
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> {
        self.shards.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends records one after the other for some time to a shard that refuses some of them by `refuses`; answers the bytes that it stored.
    fn drive(pacer: &mut Pacer, seconds: f64, start: Instant, mut refuses: impl FnMut(f64, usize) -> bool) -> usize {
        let (mut now, mut stored) = (start, 0);
        while now < start + Duration::from_secs_f64(seconds) {
            if let Some(at) = pacer.opens_at(SHARD, now) {
                now = at;
            }
            let size = pacer.record_size(SHARD, TARGET);
            pacer.sent(SHARD, size, now);
            let sent_at = now;
            now += Duration::from_millis(10);
            if refuses((sent_at - start).as_secs_f64(), size) {
                now = pacer.throttled(SHARD, size, sent_at, now).max(now);
            } else {
                pacer.stored(SHARD, size, now);
                stored += size;
            }
        }
        stored
    }

    #[test]
    fn refusals_that_have_nothing_to_do_with_the_share_do_not_starve_it() {
        for part in [0.15, 0.2, 0.3] {
            let (mut pacer, mut rng) = (Pacer::new(1), fastrand::Rng::with_seed(2));
            let stored = drive(&mut pacer, 600.0, Instant::now(), |_, _| rng.f64() < part);
            assert!(stored > 400 << 20, "{part}: {stored} bytes in ten minutes");
        }
    }

    /// With one record under way and slow answers, records are few, and have to tell all the same.
    #[test]
    fn a_lane_over_a_slow_network_is_not_starved_by_them_either() {
        for (seed, part) in [(2, 0.2), (3, 0.2), (4, 0.3)] {
            let (mut pacer, mut rng) = (Pacer::new(1), fastrand::Rng::with_seed(seed));
            let (start, mut now, mut stored) = (Instant::now(), Instant::now(), 0);
            while now < start + Duration::from_mins(10) {
                now = pacer.opens_at(SHARD, now).unwrap_or(now);
                let (size, sent_at) = (pacer.grown_size(SHARD, TARGET), now);
                // It is sent again until it is stored: no other may overtake it.
                loop {
                    pacer.sent(SHARD, size, now);
                    now += Duration::from_millis(rng.u64(5..500));
                    if rng.f64() >= part {
                        break;
                    }
                    now = pacer.throttled(SHARD, size, sent_at, now).max(now);
                }
                pacer.stored(SHARD, size, now);
                stored += size;
            }
            assert!(stored > 550 << 20, "{part}: {stored} bytes in ten minutes");
        }
    }

    #[test]
    fn a_shard_with_limits_is_filled_and_hardly_ever_asked_for_more() {
        let mut pacer = Pacer::new(1);
        let (mut tokens, mut at) = (SHARD_BYTES_PER_SECOND, 0.0);
        let mut refusals = 0;
        let stored = drive(&mut pacer, 600.0, Instant::now(), |now, size| {
            tokens = (tokens + (now - at) * SHARD_BYTES_PER_SECOND).min(SHARD_BYTES_PER_SECOND);
            at = now;
            #[expect(clippy::cast_precision_loss, reason = "a record is small")]
            let size = size as f64;
            let refused = tokens < size;
            tokens -= if refused { 0.0 } else { size };
            refusals += u32::from(refused);
            refused
        });
        assert!(stored > 600 * 95 * (1 << 20) / 100, "{stored} bytes in ten minutes");
        assert!(refusals < 60, "{refusals} refusals in ten minutes");
    }

    const SHARD: ShardIndex = ShardIndex(7);
    const TARGET: usize = 51_200;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// A pacer whose records were refused so many times in a row, and the time by then.
    fn refused(times: u32, size: usize) -> (Pacer, Instant) {
        let (mut pacer, mut now) = (Pacer::new(1), Instant::now());
        for _ in 0..times {
            pacer.sent(SHARD, size, now);
            let answered = now + seconds(0.02);
            now = pacer.throttled(SHARD, size, now, answered);
        }
        (pacer, now)
    }

    #[test]
    fn a_shard_that_was_never_heard_of_is_open_and_has_the_limits_of_the_service() {
        let pacer = Pacer::new(1);
        assert_eq!(pacer.opens_at(SHARD, Instant::now()), None);
        assert!((pacer.rate(SHARD) - SHARD_BYTES_PER_SECOND).abs() < 1.0);
        assert_eq!((pacer.record_size(SHARD, TARGET), pacer.shards().count()), (TARGET, 0));
    }

    #[test]
    fn a_refused_shard_slows_down_and_no_other_does() {
        let (mut pacer, now) = refused(60, TARGET);
        let other = ShardIndex(8);
        assert!(pacer.rate(SHARD) < SHARD_BYTES_PER_SECOND / 4.0);
        assert!(pacer.record_size(SHARD, TARGET) < TARGET);
        pacer.sent(SHARD, TARGET, now);
        pacer.sent(other, TARGET, now);
        let (slow, fast) = (pacer.opens_at(SHARD, now).unwrap(), pacer.opens_at(other, now));
        assert!(slow > now + seconds(0.1) && fast.is_none_or(|at| at < now + seconds(0.06)));
        assert!((pacer.rate(other) - SHARD_BYTES_PER_SECOND).abs() < 1.0);
        pacer.retain(|shard| shard != SHARD);
        assert_eq!(pacer.shards().collect::<Vec<_>>(), [other]);
        assert_eq!(pacer.opens_at(SHARD, now), None);
    }

    #[test]
    fn what_was_sent_before_the_last_decrease_says_nothing_new() {
        let (mut pacer, now) = (Pacer::new(1), Instant::now());
        let answered = now + seconds(0.02);
        for _ in 0..10 {
            pacer.sent(SHARD, TARGET, now);
        }
        pacer.throttled(SHARD, TARGET, now, answered);
        let once = pacer.rate(SHARD);
        for _ in 0..9 {
            pacer.throttled(SHARD, TARGET, now, answered);
        }
        assert!((pacer.rate(SHARD) - once).abs() < f64::EPSILON && once < SHARD_BYTES_PER_SECOND);
    }

    #[test]
    fn an_idle_shard_comes_back_by_answers_and_a_silent_one_is_forgotten() {
        let (mut pacer, start) = refused(40, TARGET);
        let (low, mut now) = (pacer.rate(SHARD), start);
        let mut clone = Pacer {
            shards: pacer.shards.clone(),
            has_limits: pacer.has_limits,
            is_noisy: pacer.is_noisy,
            chosen: Chosen::default(),
            rng: fastrand::Rng::with_seed(1),
        };
        while pacer.rate(SHARD) < 0.99 * SHARD_BYTES_PER_SECOND {
            now = pacer.opens_at(SHARD, now).unwrap_or(now);
            let size = pacer.record_size(SHARD, TARGET);
            pacer.sent(SHARD, size, now);
            now += seconds(0.02);
            pacer.stored(SHARD, size, now);
            assert!(now < start + seconds(3600.0), "from {low} to {} in an hour", pacer.rate(SHARD));
        }
        clone.sent(SHARD, TARGET, start + FORGOTTEN + seconds(60.0));
        assert!((clone.rate(SHARD) - SHARD_BYTES_PER_SECOND).abs() < 1.0);
    }

    #[test]
    fn refused_records_spread_over_as_long_again_as_they_take() {
        let (pacer, now) = refused(60, TARGET);
        let base = pacer.shards[&SHARD];
        let waits: Vec<f64> = (0..400)
            .map(|seed| {
                let mut pacer = Pacer {
                    shards: pacer.shards.clone(),
                    has_limits: pacer.has_limits,
                    is_noisy: pacer.is_noisy,
                    chosen: Chosen::default(),
                    rng: fastrand::Rng::with_seed(seed),
                };
                pacer.sent(SHARD, TARGET, now);
                (pacer.throttled(SHARD, TARGET, now, now) - now).as_secs_f64()
            })
            .collect();
        let interval = cost(TARGET) / (base.share * (1.0 - DECREASE));
        let (least, most) = waits.iter().fold((f64::MAX, 0.0f64), |(a, b), w| (a.min(*w), b.max(*w)));
        assert!(most - least > 0.9 * interval * 0.9 && most < 2.5 * interval, "{least} to {most} of {interval}");
    }

    proptest! {
        /// A sender alone on a shard is never slower than what the service takes of it.
        #[test]
        fn a_lone_sender_is_not_slowed(sizes in prop::collection::vec(1usize..200_000, 1..20), round_trip in 0.001f64..0.02) {
            // Without limits it would be faster than the service.
            let (mut pacer, start) = (Pacer { has_limits: true, ..Pacer::new(1) }, Instant::now());
            let (mut now, mut due) = (start, 0.0);
            for size in sizes.iter().cycle().take(500) {
                // It would have to wait for the service, too, before it waits for the pacer.
                let wait = pacer.opens_at(SHARD, now).map_or(0.0, |at| (at - now).as_secs_f64());
                let ahead = due - (now - start).as_secs_f64();
                prop_assert!(wait <= ahead.max(0.0) + 1e-6, "waits {wait} s, {ahead} s ahead of the service");
                now += seconds(wait);
                pacer.sent(SHARD, *size, now);
                due = due.max((now - start).as_secs_f64()) + cost(*size);
                now += seconds(round_trip);
                pacer.stored(SHARD, *size, now);
            }
            prop_assert!(pacer.rate(SHARD) >= SHARD_BYTES_PER_SECOND);
        }

        /// For all answers the rate stays between its bounds, and no wait is longer than the record's at the least share, twice.
        #[test]
        fn waits_and_rates_are_bounded(
            answers in prop::collection::vec((any::<u8>(), 1usize..1_048_576, 0.0f64..30.0), 1..200),
            seed in any::<u64>(),
        ) {
            let (mut pacer, mut now) = (Pacer::new(seed), Instant::now());
            for (answer, size, pause) in answers {
                now = pacer.opens_at(SHARD, now).unwrap_or(now) + seconds(pause);
                pacer.sent(SHARD, size, now);
                let answered = now + seconds(0.02);
                let longest = seconds(cost(size) / LEAST_SHARE + LEAST_JITTER_SECONDS + 1e-3);
                match answer % 3 {
                    0 => pacer.stored(SHARD, size, answered),
                    1 => {
                        let again = pacer.throttled(SHARD, size, now, answered);
                        prop_assert!(again >= answered && again <= answered + 2 * longest);
                    }
                    _ => {}
                }
                let rate = pacer.rate(SHARD) / SHARD_BYTES_PER_SECOND;
                prop_assert!((LEAST_SHARE..=MOST_SHARE).contains(&rate), "{rate}");
                prop_assert!(rate <= 1.0 || !pacer.has_limits);
                prop_assert!(pacer.opens_at(SHARD, answered).is_none_or(|at| at <= answered + longest));
                let record = pacer.record_size(SHARD, TARGET);
                prop_assert!((3072..=TARGET).contains(&record), "{record}");
            }
        }
    }
}
