//! The stand-in's clock: the machine's time at the start, and from then on what tokio's clock adds to it.
//!
//! So it never steps back, and a test that pauses tokio's clock pauses this one too.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    since_epoch: Duration,
}

impl Clock {
    /// Looks at the machine's clock, this once.
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's time for the stand-in")]
        let now = SystemTime::now();
        let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), since_epoch }
    }

    /// Now.
    pub(crate) fn now_ms(&self) -> u64 {
        let now = self.since_epoch + self.started.elapsed();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}
