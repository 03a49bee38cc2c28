//! `rate_limit`: so many events in a time, for each key or for all. A bucket of tokens each: what was not used before may come at once.

use std::time::Duration;

use super::Context;
use super::condition::Condition;
use super::table::{Table, stable_hash};
use super::text::Text;
use crate::event::Event;

/// Keys whose buckets are kept. Of more, those that were used longest ago begin anew with a full bucket; that is counted.
const MAX_KEYS: usize = 10_000;

/// What one event takes out of a bucket. Fine enough for the smallest part that a nanosecond brings.
const TOKEN: u128 = 1 << 64;

/// So many events in a time.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimit {
    events: u64,
    per: Duration,
    key: Option<Text>,
    when: Option<Condition>,
}

/// The buckets of a rate limit.
#[derive(Debug, Clone)]
pub(super) struct Buckets(Table<Bucket>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u128,
    filled_at: u64,
}

impl Buckets {
    pub(super) fn evicted(&self) -> u64 {
        self.0.evicted
    }
}

impl RateLimit {
    /// So many events in a time, by key, of those for which the condition holds.
    pub fn new(events: u64, per: Duration, key: Option<Text>, when: Option<Condition>) -> Self {
        Self { events, per, key, when }
    }

    pub(super) fn buckets(&self) -> Buckets {
        Buckets(Table::new(if self.key.is_some() { MAX_KEYS } else { 1 }))
    }

    /// Whether there is room for the event; nothing if it is not for it. Events without the key share a bucket.
    pub(super) fn takes(
        &self,
        (buckets, scratch): (&mut Buckets, &mut String),
        event: &Event<'_>,
        at: &Context<'_>,
    ) -> Option<bool> {
        if self.when.as_ref().is_some_and(|when| !when.holds(event)) {
            return None;
        }
        scratch.clear();
        let is_keyed = self.key.as_ref().is_some_and(|key| key.write(event, at, scratch));
        let hash = if is_keyed { stable_hash(scratch.as_bytes()) } else { 0 };
        let full = u128::from(self.events) * TOKEN;
        let (bucket, _) = buckets.0.entry(hash, || Bucket { tokens: full, filled_at: at.now_nanos });
        // A clock that is set back brings nothing, and takes nothing.
        let elapsed = u128::from(at.now_nanos.saturating_sub(bucket.filled_at));
        let per = self.per.as_nanos().max(1);
        let brought = if elapsed >= per { full } else { full / per * elapsed };
        bucket.tokens = bucket.tokens.saturating_add(brought).min(full);
        bucket.filled_at = at.now_nanos;
        let has_room = bucket.tokens >= TOKEN;
        if has_room {
            bucket.tokens -= TOKEN;
        }
        Some(has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::event;
    use super::*;

    const MILLI: u64 = 1_000_000;

    fn taken(limit: &RateLimit, events: impl Iterator<Item = (u64, String)>) -> usize {
        let (mut buckets, mut scratch) = (limit.buckets(), String::new());
        let takes = |(millis, line): (u64, String)| {
            let at = Context { now_nanos: millis * MILLI, ..Context::default() };
            limit.takes((&mut buckets, &mut scratch), &event(&line), &at) != Some(false)
        };
        events.map(takes).filter(|taken| *taken).count()
    }

    #[test]
    fn a_full_bucket_at_once_and_then_the_rate() {
        let limit = RateLimit::new(100, Duration::from_secs(1), None, None);
        assert_eq!(taken(&limit, (0..1000).map(|_| (5, "{}".to_owned()))), 100);
        // Ten events a millisecond, for ten seconds: the bucket, and what came meanwhile.
        let count = taken(&limit, (0..100_000).map(|n| (n / 10, "{}".to_owned())));
        assert!((1098..=1100).contains(&count), "{count}");
        // Slower than the rate.
        assert_eq!(taken(&limit, (0..500).map(|n| (n * 11, "{}".to_owned()))), 500);
    }

    #[test]
    fn keys_do_not_take_from_each_other_and_are_bounded() {
        let limit = RateLimit::new(2, Duration::from_mins(1), Some(Text::parse("{user}").unwrap()), None);
        assert_eq!(taken(&limit, (0..1000).map(|n| (0, format!("{{\"user\":{}}}", n % 10)))), 20);
        let (mut buckets, mut scratch) = (limit.buckets(), String::new());
        for n in 0..50_000 {
            let line = format!("{{\"user\":{n}}}");
            limit.takes((&mut buckets, &mut scratch), &event(&line), &Context::default());
        }
        assert!(buckets.evicted() >= 40_000);
        assert!(buckets.0.values_mut().count() <= MAX_KEYS);
    }

    #[test]
    fn a_clock_that_is_set_back_is_no_harm() {
        let limit = RateLimit::new(1, Duration::from_secs(1), None, None);
        let times = [10_000, 9_000, 9_900, 10_500, 11_000];
        assert_eq!(taken(&limit, times.into_iter().map(|t| (t, "{}".to_owned()))), 2);
    }
}
