//! The memory budget: how many bytes of log data may be in memory at once. It knows nothing of what they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A number of bytes that are lent out as [`Permit`]s.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// The whole of it.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What is lent out. It can pass the limit by one batch, whose true size shows only when it has been made.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes these bytes if they are free. When nothing is lent out anything fits, or a batch larger than the whole
    /// budget could never pass.
    pub fn try_reserve(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used == 0 || used.saturating_add(bytes) <= self.limit).then_some(used + bytes)
            })
            .ok()?;
        Some(Permit { budget: Arc::clone(self), bytes })
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
        } else {
            self.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Takes a part out as a permit of its own; no more than there is.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Permit { budget: Arc::clone(&self.budget), bytes }
    }

    /// Takes another permit in.
    pub fn merge(&mut self, mut other: Permit) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
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
