//! Timestamps as headers of lines have them: where one ends, and whether there is such a time. What time it is, is another module's work.

/// The names of months in headers of syslog.
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Zones that devices write behind a time of syslog.
const ZONES: [&str; 15] =
    ["UTC", "GMT", "EST", "EDT", "CST", "CDT", "MST", "MDT", "PST", "PDT", "CET", "CEST", "BST", "JST", "IST"];

/// A year with a 29th of February, for times without a year.
const LEAP_YEAR: u32 = 2000;

/// Reads numbers and what is between them.
#[derive(Debug, Clone, Copy)]
pub struct Digits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Digits<'a> {
    /// At the start of a text.
    pub const fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// How many bytes were read.
    pub const fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was read.
    pub const fn is_empty(&self) -> bool {
        self.at == 0
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Reads one of these bytes.
    #[inline]
    pub fn any(&mut self, of: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| of.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    /// Reads a number of at least and at most so many digits.
    #[inline]
    pub fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let start = self.at;
        let mut number = 0;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit).filter(|_| self.at - start < most) {
            number = number * 10 + u32::from(digit - b'0');
            self.at += 1;
        }
        (self.at - start >= least).then_some(number)
    }

    /// Reads a time of day, and a fraction of its second of up to nine digits if there is one.
    #[inline]
    pub fn clock(&mut self, dots: &[u8]) -> Option<()> {
        let hour = self.number(2, 2)?;
        self.any(b":")?;
        let minute = self.number(2, 2)?;
        self.any(b":")?;
        let second = self.number(2, 2)?;
        if self.any(dots).is_some() {
            self.number(1, 9)?;
        }
        (hour < 24 && minute < 60 && second < 60).then_some(())
    }

    #[inline]
    fn zone(&mut self) -> Option<()> {
        if self.any(b"Zz").is_some() {
            return Some(());
        }
        self.any(b"+-")?;
        let hour = self.number(2, 2)?;
        self.any(b":");
        let minute = self.number(2, 2)?;
        (hour < 24 && minute < 60).then_some(())
    }

    #[inline]
    fn date(&mut self) -> Option<()> {
        let year = self.number(4, 4)?;
        self.any(b"-")?;
        let month = self.number(2, 2)?;
        self.any(b"-")?;
        is_day(year, month, self.number(2, 2)?).then_some(())
    }
}

/// Whether there is such a day.
#[inline]
pub fn is_day(year: u32, month: u32, day: u32) -> bool {
    let days = match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// Whether there is such a day in some year.
pub fn is_day_of_any_year(month: u32, day: u32) -> bool {
    is_day(LEAP_YEAR, month, day)
}

/// Whether a text is a timestamp of RFC 5424: RFC 3339 with a `T` and a `Z` in upper case. Nine digits of a second are taken where the RFC has six,
/// since loggers that count nanoseconds write them.
pub fn is_rfc5424(text: &str) -> bool {
    let mut digits = Digits::new(text);
    let mut read = || {
        digits.date()?;
        digits.any(b"T")?;
        digits.clock(b".")?;
        digits.zone()
    };
    // Of zones, `zone` takes a small z and one without a colon, too.
    let zone = text.as_bytes().last_chunk::<6>().is_some_and(|end| b"+-".contains(&end[0]) && end[3] == b':');
    read().is_some() && digits.len() == text.len() && (zone || text.ends_with('Z'))
}

/// The length of the ISO 8601 timestamp that a text begins with: a date and a time with `T` or a space between them, a fraction behind a dot or a
/// comma, a zone or none.
pub fn iso(text: &str) -> Option<usize> {
    let mut digits = Digits::new(text);
    digits.date()?;
    digits.any(b"T ")?;
    digits.clock(b".,")?;
    let local = digits;
    if digits.zone().is_none() {
        digits = local;
    }
    Some(digits.len())
}

/// The length of the timestamp of RFC 3164 that a text begins with: `Oct  1 22:14:15`. As devices vary it, the day may be written in any way, and there
/// may be a year before the time or behind the day, a fraction of the second, and a zone if a colon is behind it.
pub fn bsd(text: &str) -> Option<usize> {
    let month = MONTHS.iter().position(|month| text.get(..3).is_some_and(|t| t.eq_ignore_ascii_case(month)))?;
    let mut digits = Digits { bytes: text.as_bytes(), at: 3 };
    digits.any(b" ")?;
    digits.any(b" ");
    let day = digits.number(1, 2)?;
    digits.any(b" ")?;
    let dated = digits;
    let year = digits.number(4, 4).filter(|_| digits.any(b" ").is_some());
    if year.is_none() {
        digits = dated;
    }
    digits.clock(b".")?;
    let month = u32::try_from(month + 1).ok()?;
    if !is_day(year.unwrap_or(LEAP_YEAR), month, day) {
        return None;
    }
    let zone = text.get(digits.len()..).and_then(|rest| rest.strip_prefix(' ')).and_then(|rest| rest.split_once(':'));
    let zone = zone.filter(|(zone, _)| ZONES.contains(zone)).map_or(0, |(zone, _)| zone.len() + 1);
    Some(digits.len() + zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_of_rfc_5424_are_strict() {
        for good in [
            "2003-10-11T22:14:15Z",
            "2003-10-11T22:14:15.003Z",
            "2018-12-31T23:59:59.999999-23:59",
            "2024-02-29T00:00:00+02:00",
            "2024-01-01T00:00:00.123456789Z",
        ] {
            assert!(is_rfc5424(good), "{good}");
        }
        for bad in [
            "",
            "2003",
            "2003-10-11",
            "2003-10-11T22:14",
            "2003-10-11T22:14:15",
            "2003-10-11T22:14:15.Z",
            "2003-10-11T22:14:15z",
            "2003-10-11 22:14:15Z",
            "2003-09-31T22:14:15Z",
            "2023-02-29T22:14:15Z",
            "2003-10-11T24:14:15Z",
            "2003-10-11T22:60:15Z",
            "2003-10-11T22:14:60Z",
            "2003-10-11T22:14:15+0200",
            "2003-10-11T22:14:15-60:00",
            "2003-10-11T22:14:15Zx",
            "2024-01-01T00:00:00.1234567890Z",
        ] {
            assert!(!is_rfc5424(bad), "{bad}");
        }
    }

    #[test]
    fn timestamps_of_headers_end_where_they_end() {
        for (text, len) in [
            ("2024-05-01T10:00:00.123+0200 host", 28),
            ("2024-05-01 10:00:00,5 host", 21),
            ("2024-05-01T10:00:00 Zoe", 19),
            ("2024-05-01T10:00:00-x", 19),
        ] {
            assert_eq!(iso(text), Some(len), "{text}");
        }
        for (text, len) in [
            ("Oct  1 22:14:15 host", 15),
            ("Oct 11 22:14:15.123456 host", 22),
            ("Sep 8 07:46:30 x", 14),
            ("sep 08 07:46:30", 15),
            ("May 18 2020 09:04:02: %ASA", 20),
            ("Mar  1 18:48:50.483 UTC: %SYS", 23),
            ("Jan  1 00:00:00 CRON: x", 15),
            ("Feb 29 00:00:00", 15),
        ] {
            assert_eq!(bsd(text), Some(len), "{text}");
        }
        for bad in [
            "",
            "Okt  1 22:14:15",
            "Oct   1 22:14:15",
            "Oct 32 22:14:15",
            "Oct  1 25:14:15",
            "Feb 29 2023 00:00:00",
            "é",
        ] {
            assert_eq!(bsd(bad), None, "{bad}");
        }
    }
}
