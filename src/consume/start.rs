//! Where reading begins and ends, as people write it. Pure.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At the oldest records.
    Horizon,
    /// At what comes from now on.
    Latest,
    /// At what arrived at this time or later.
    Time(SystemTime),
}

/// Where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// When somebody says so.
    Never,
    /// Where everything is read that is there.
    CaughtUp,
    /// Behind what arrived at this time.
    Time(SystemTime),
}

impl Begin {
    /// Reads `TRIM_HORIZON`, `LATEST`, a time, or how long ago that was.
    pub fn parse(text: &str, now: SystemTime) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("TRIM_HORIZON") {
            Ok(Self::Horizon)
        } else if text.eq_ignore_ascii_case("LATEST") {
            Ok(Self::Latest)
        } else {
            let time = time(text, now).ok_or_else(|| wrong("--from", text, "TRIM_HORIZON, LATEST, "))?;
            if time > now {
                return Err(format!("--from: {text:?} is in the future; LATEST is what comes from now on"));
            }
            Ok(Self::Time(time))
        }
    }
}

impl End {
    /// Reads `now`, a time, or how long ago that was.
    pub fn parse(text: &str, now: SystemTime) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("now") {
            return Ok(Self::CaughtUp);
        }
        time(text, now).map(Self::Time).ok_or_else(|| wrong("--until", text, "now, "))
    }
}

fn wrong(flag: &str, text: &str, words: &str) -> String {
    format!("{flag}: {text:?} is not one of {words}a time such as 2026-01-31T08:00:00Z, or how long ago, such as -1h")
}

fn time(text: &str, now: SystemTime) -> Option<SystemTime> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago: Duration = humantime::parse_duration(ago).ok()?;
        return now.checked_sub(ago).filter(|time| *time >= SystemTime::UNIX_EPOCH);
    }
    let time = DateTime::from_str(text, Format::DateTimeWithOffset).ok()?;
    SystemTime::try_from(time).ok().filter(|time| *time >= SystemTime::UNIX_EPOCH)
}

/// A time as it is printed: to the millisecond, in UTC.
pub fn shown(time: SystemTime) -> String {
    let millis = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let time = DateTime::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
    time.fmt(Format::DateTime).unwrap_or_else(|_| format!("{millis} ms since 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn now() -> SystemTime {
        NOW + Duration::from_hours(500_000)
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let at = |seconds| Begin::Time(NOW + Duration::from_secs(seconds));
        for (text, want) in [
            ("TRIM_HORIZON", Begin::Horizon),
            ("latest", Begin::Latest),
            ("-1h", at(1_800_000_000 - 3600)),
            ("-1d 2h", at(1_800_000_000 - 93_600)),
            ("2026-01-31T08:00:00Z", at(1_769_846_400)),
            ("2026-01-31T09:30:00+01:30", at(1_769_846_400)),
        ] {
            assert_eq!(Begin::parse(text, now()), Ok(want), "{text}");
        }
        for text in ["", "1h", "yesterday", "-", "-1x", "2026-01-31", "-100years", "1969-01-01T00:00:00Z"] {
            assert!(Begin::parse(text, now()).unwrap_err().contains(&format!("{text:?}")), "{text}");
        }
        assert!(Begin::parse("2030-01-01T00:00:00Z", now()).unwrap_err().contains("future"));
        assert_eq!(End::parse("now", now()), Ok(End::CaughtUp));
        assert!(matches!(End::parse("2030-01-01T00:00:00Z", now()), Ok(End::Time(_))));
        assert!(End::parse("soon", now()).is_err());
    }

    #[test]
    fn a_time_is_shown_to_the_millisecond() {
        assert_eq!(shown(NOW + Duration::from_millis(1_769_846_400_125)), "2026-01-31T08:00:00.125Z");
    }
}
