//! The memory budget: how many bytes of log data may be in memory at once, and how many of them one stream may hold while others need some. It
//! knows nothing of what they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A number of bytes that are lent out as [`Permit`]s.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Of what is lent out, what is charged to each stream.
    shares: Box<[AtomicUsize]>,
    /// There is more than one stream by now.
    is_shared: AtomicBool,
    freed: Notify,
}

impl Budget {
    /// A budget of so many bytes, for one stream.
    pub fn new(limit: usize) -> Arc<Self> {
        Self::shared(limit, 1)
    }

    /// A budget of so many bytes, for up to so many streams.
    pub fn shared(limit: usize, streams: usize) -> Arc<Self> {
        let shares = (0..streams.max(1)).map(|_| AtomicUsize::new(0)).collect();
        let is_shared = AtomicBool::new(streams > 1);
        Arc::new(Self { limit, used: AtomicUsize::new(0), shares, is_shared, freed: Notify::new() })
    }

    /// The same for one stream as long as no other one comes.
    pub fn to_share(limit: usize, streams: usize) -> Arc<Self> {
        let budget = Self::shared(limit, streams);
        budget.is_shared.store(false, Ordering::Relaxed);
        budget
    }

    /// There are others from now on.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// The whole of it.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What is lent out. It can pass the limit by one batch, whose true size shows only when it has been made.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a stream may have more: it may hold as much as is free. One stream that takes nothing fills half of the budget, two of them two
    /// thirds, and something is always left for the others. (Choudhury and Hahne's dynamic thresholds, of shared-memory switches.) So much is left
    /// as two times `batch`: one for what it takes now, and one for another stream.
    pub fn has_share(&self, stream: usize, batch: usize) -> bool {
        if !self.is_shared.load(Ordering::Relaxed) {
            return true;
        }
        let held = self.shares.get(stream).map_or(0, |share| share.load(Ordering::Relaxed));
        held == 0 || held + 2 * batch <= self.limit.saturating_sub(self.used())
    }

    /// Takes these bytes if they are free, for the first stream. When nothing is lent out anything fits, or a batch larger than the whole
    /// budget could never pass.
    pub fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used == 0 || used.saturating_add(bytes) <= self.limit).then_some(used + bytes)
            })
            .ok()?;
        let permit = Permit { budget: Arc::clone(self), bytes, stream: 0 };
        permit.charge(bytes);
        Some(permit)
    }

    /// Completes once bytes have come back since the last call. For one waiter.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }
}

/// Bytes that are in use until this is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
    /// Whose share they are charged to.
    stream: usize,
}

impl Permit {
    /// How many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets the true size, whatever is free.
    pub fn resize(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.budget.used.fetch_add(bytes - self.bytes, Ordering::AcqRel);
            self.charge(bytes - self.bytes);
        } else {
            self.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Charges them to another stream.
    pub fn assign(&mut self, stream: usize) {
        if stream != self.stream {
            self.discharge(self.bytes);
            self.stream = stream;
            self.charge(self.bytes);
        }
    }

    /// Takes a part out as a permit of its own; no more than there is.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Permit { budget: Arc::clone(&self.budget), bytes, stream: self.stream }
    }

    /// Takes another permit in.
    pub fn merge(&mut self, mut other: Permit) {
        other.assign(self.stream);
        self.bytes += std::mem::take(&mut other.bytes);
    }

    fn charge(&self, bytes: usize) {
        if let Some(share) = self.budget.shares.get(self.stream) {
            share.fetch_add(bytes, Ordering::AcqRel);
        }
    }

    fn discharge(&self, bytes: usize) {
        if let Some(share) = self.budget.shares.get(self.stream) {
            share.fetch_sub(bytes, Ordering::AcqRel);
        }
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.discharge(bytes);
            self.budget.used.fetch_sub(bytes, Ordering::AcqRel);
            self.budget.freed.notify_one();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_split_merged_and_resized_adds_up() {
        let budget = Budget::new(100);
        let mut a = budget.try_reserve(60).unwrap();
        assert!(budget.try_reserve(41).is_none());
        let b = a.split(20);
        a.resize(90);
        assert_eq!((a.bytes(), b.bytes(), budget.used()), (90, 20, 110));
        a.merge(b);
        assert_eq!(a.bytes(), 110);
        drop(a);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_stream_that_takes_nothing_leaves_room_for_the_others() {
        let budget = Budget::shared(100, 3);
        let mut held: Vec<Permit> = Vec::new();
        let mut fill = |stream: usize| {
            let mut bytes = 0;
            while budget.has_share(stream, 5) {
                let mut permit = budget.try_reserve(5).unwrap();
                permit.assign(stream);
                bytes += permit.bytes();
                held.push(permit);
            }
            bytes
        };
        assert_eq!((fill(1), fill(2)), (50, 25), "half, and half of the rest");
        assert!(budget.has_share(0, 5) && budget.try_reserve(5).is_some(), "the third may still have some");
        drop(held);
        assert!(budget.used() == 0 && (0..3).all(|stream| budget.has_share(stream, 5)));
        let alone = Budget::new(10);
        let _all = alone.try_reserve(10).unwrap();
        assert!(alone.has_share(0, 5), "one stream may have it all");
    }

    #[test]
    fn one_batch_larger_than_the_budget_passes_alone() {
        let budget = Budget::new(10);
        let big = budget.try_reserve(50).unwrap();
        assert!(budget.try_reserve(1).is_none());
        drop(big);
        assert!(budget.try_reserve(1).is_some());
    }

    #[tokio::test]
    async fn a_waiter_sees_bytes_that_came_back_before_it_waited() {
        let budget = Budget::new(10);
        drop(budget.try_reserve(10).unwrap());
        tokio::time::timeout(std::time::Duration::from_secs(10), budget.freed()).await.unwrap();
    }
}
