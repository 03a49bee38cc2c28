//! Exponential backoff with full jitter. The random number is the caller's, so that a run can be repeated.

use std::time::Duration;

/// Waits that double from `base` to `cap`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait at all.
    pub cap: Duration,
}

impl Backoff {
    /// The wait before attempt `attempt + 1`, after `attempt` failures (from 1): uniform between nothing and the doubled base, which
    /// spreads a fleet that failed at one moment evenly over the wait.
    pub fn wait(&self, attempt: u32, rng: &mut fastrand::Rng) -> Duration {
        self.ceiling(attempt).mul_f64(rng.f64())
    }

    /// The longest that [`Backoff::wait`] answers for this attempt.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_cap_and_stays_below_it() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
        let ceilings: Vec<_> = [1, 2, 3, 6, 7, 40, u32::MAX].map(|a| backoff.ceiling(a).as_millis()).into();
        assert_eq!(ceilings, [100, 200, 400, 3200, 5000, 5000, 5000]);
        let mut rng = fastrand::Rng::with_seed(1);
        let waits: Vec<_> = (0..1000).map(|_| backoff.wait(4, &mut rng)).collect();
        assert!(waits.iter().all(|w| *w <= backoff.ceiling(4)));
        assert!(
            waits.iter().any(|w| *w < backoff.ceiling(4) / 10)
                && waits.iter().any(|w| *w > backoff.ceiling(4) * 9 / 10)
        );
    }
}
