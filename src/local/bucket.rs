//! The token bucket behind a shard's limits. It reads no clock: the caller says what time it is.

/// Tokens are kept in thousandths, so that a refill by whole milliseconds is exact at any rate.
const PARTS_PER_TOKEN: i64 = 1000;

/// A bucket that holds one second's worth of tokens, filled at a constant rate.
///
/// A cost above the capacity passes when the bucket is full and leaves it in debt: so may one record of 10 MiB enter a
/// shard that takes 1 MiB/s, which is what the service describes as burst capacity, and the average still holds.
#[derive(Debug, Clone)]
pub(crate) struct TokenBucket {
    per_second: i64,
    parts: i64,
    filled_ms: u64,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 means no limit.
    pub(crate) fn new(per_second: u32, now_ms: u64) -> Self {
        let per_second = i64::from(per_second);
        Self { per_second, parts: per_second * PARTS_PER_TOKEN, filled_ms: now_ms }
    }

    /// Whether `cost` tokens could be taken now.
    pub(crate) fn has(&mut self, cost: u32, now_ms: u64) -> bool {
        self.refill(now_ms);
        self.per_second == 0 || self.parts >= i64::from(cost).min(self.per_second) * PARTS_PER_TOKEN
    }

    /// Takes `cost` tokens; the caller has asked [`Self::has`] before.
    pub(crate) fn take(&mut self, cost: u32) {
        if self.per_second > 0 {
            self.parts -= i64::from(cost) * PARTS_PER_TOKEN;
        }
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(self.filled_ms)).unwrap_or(i64::MAX);
        self.filled_ms = self.filled_ms.max(now_ms);
        // A rate in tokens per second is the same number in thousandths of tokens per millisecond.
        let gained = elapsed_ms.saturating_mul(self.per_second);
        self.parts = self.parts.saturating_add(gained).min(self.per_second * PARTS_PER_TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(bucket: &mut TokenBucket, cost: u32, now_ms: u64) -> bool {
        let has = bucket.has(cost, now_ms);
        if has {
            bucket.take(cost);
        }
        has
    }

    #[test]
    fn a_full_bucket_gives_one_second_and_no_more() {
        let mut bucket = TokenBucket::new(1000, 5_000);
        let given = (0..2000).filter(|_| took(&mut bucket, 1, 5_000)).count();
        assert_eq!(given, 1000);
    }

    #[test]
    fn it_fills_by_the_millisecond() {
        let mut bucket = TokenBucket::new(1000, 0);
        assert!(took(&mut bucket, 1000, 0));
        assert!(!took(&mut bucket, 1, 0));
        assert!(took(&mut bucket, 1, 1));
        assert!(!took(&mut bucket, 3, 3));
        assert!(took(&mut bucket, 2, 3));
    }

    #[test]
    fn slow_rates_lose_no_fraction() {
        let mut bucket = TokenBucket::new(3, 0);
        assert!(took(&mut bucket, 3, 0));
        let given = (1..=10_000).filter(|now_ms| took(&mut bucket, 1, *now_ms)).count();
        assert_eq!(given, 30);
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let mut bucket = TokenBucket::new(10, 0);
        assert!(bucket.has(10, 1_000_000));
        bucket.take(10);
        assert!(!bucket.has(1, 1_000_000));
    }

    #[test]
    fn a_cost_over_the_capacity_passes_when_full_and_is_paid_back() {
        let mut bucket = TokenBucket::new(1000, 0);
        assert!(took(&mut bucket, 5000, 0));
        assert!(!took(&mut bucket, 1, 4_000));
        assert!(took(&mut bucket, 1, 4_001));
    }

    #[test]
    fn a_clock_that_steps_back_neither_fills_nor_drains() {
        let mut bucket = TokenBucket::new(10, 10_000);
        assert!(took(&mut bucket, 10, 10_000));
        assert!(!took(&mut bucket, 1, 0));
        assert!(!took(&mut bucket, 2, 10_100));
        assert!(took(&mut bucket, 1, 10_100));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = TokenBucket::new(0, 0);
        assert!((0..10_000).all(|_| took(&mut bucket, u32::MAX, 0)));
    }
}
