//! The time of day, for people to read: files, metrics, `/status`. Nothing is decided by it but when a file that vanished days ago is
//! forgotten, whether one came to be since the last look, and what time an event gets that says none; whatever waits or measures takes tokio's clock, which tests can pause.

use std::time::SystemTime;

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Microseconds from 1970 to a time; 0 if it is before that.
pub fn unix_micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970, for events that say no time of their own; 0 if the clock is set before that.
pub fn unix_nanos() -> u64 {
    let since = now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970; 0 if the clock is set before that.
pub fn unix_seconds() -> u64 {
    now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
