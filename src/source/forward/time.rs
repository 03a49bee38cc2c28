//! The times of Forward: whole seconds, or an `EventTime` with nanoseconds. As text they are RFC 3339 in UTC. Asks no clock.

use std::time::{Duration, SystemTime};

use super::msgpack::{self, Reader, Token};

/// The extension that Fluentd made for times: seconds and nanoseconds, four bytes each.
const EVENT_TIME: i8 = 0;
/// The extension that msgpack itself has for times.
const TIMESTAMP: i8 = -1;
/// The first second that has five digits in its year, which RFC 3339 does not know.
const YEAR_10000: u64 = 253_402_300_800;
const NANOS: u32 = 1_000_000_000;

/// When an event was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Time<'a> {
    /// Since 1970, in a year of four digits.
    At {
        /// Whole seconds.
        seconds: u64,
        /// Less than a second.
        nanos: u32,
    },
    /// A number that is no such time: milliseconds, or a time before 1970. It stays a number.
    Odd(Token<'a>),
    /// None was given: the time of arrival counts.
    Missing,
}

/// Why there is no time where one should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Msgpack(#[from] msgpack::Error),
    #[error("an event's time is neither a number nor an EventTime")]
    NoTime,
}

impl<'a> Time<'a> {
    /// Reads a time. Fluent Bit writes one with metadata beside it, which is passed over.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let token = reader.token()?;
        let Token::Array(count) = token else { return Self::of(token) };
        if count == 0 {
            return Err(Error::NoTime);
        }
        let time = Self::of(reader.token()?)?;
        for _ in 1..count {
            reader.skip()?;
        }
        Ok(time)
    }

    fn of(token: Token<'a>) -> Result<Self, Error> {
        match token {
            // Fluentd takes these two for no time as well.
            Token::Nil | Token::Uint(0) => Ok(Self::Missing),
            Token::Uint(seconds) => Ok(Self::at(seconds, 0).unwrap_or(Self::Odd(token))),
            Token::Int(_) => Ok(Self::Odd(token)),
            Token::F32(float) => Ok(Self::of_float(f64::from(float)).unwrap_or(Self::Odd(token))),
            Token::F64(float) => Ok(Self::of_float(float).unwrap_or(Self::Odd(token))),
            Token::Ext(tag, bytes) => Self::of_extension(tag, bytes).ok_or(Error::NoTime),
            _ => Err(Error::NoTime),
        }
    }

    fn at(seconds: u64, nanos: u32) -> Option<Self> {
        (seconds < YEAR_10000 && nanos < NANOS).then_some(Self::At { seconds, nanos })
    }

    fn of_float(float: f64) -> Option<Self> {
        let since = Duration::try_from_secs_f64(float).ok()?;
        Self::at(since.as_secs(), since.subsec_nanos())
    }

    /// The time that an extension stands for, if it does.
    pub(super) fn of_extension(tag: i8, bytes: &[u8]) -> Option<Self> {
        match (tag, bytes) {
            (EVENT_TIME | TIMESTAMP, [s0, s1, s2, s3, rest @ ..]) if rest.len() == 4 => {
                let first = u32::from_be_bytes([*s0, *s1, *s2, *s3]);
                let second = u32::from_be_bytes(rest.try_into().ok()?);
                if tag == EVENT_TIME {
                    return Self::at(u64::from(first), second);
                }
                // 30 bits of nanoseconds before 34 bits of seconds.
                Self::at((u64::from(first & 3) << 32) | u64::from(second), first >> 2)
            }
            (TIMESTAMP, [_, _, _, _]) => Self::at(u64::from(u32::from_be_bytes(bytes.try_into().ok()?)), 0),
            (TIMESTAMP, [n0, n1, n2, n3, seconds @ ..]) => {
                let seconds = i64::from_be_bytes(seconds.try_into().ok()?);
                Self::at(u64::try_from(seconds).ok()?, u32::from_be_bytes([*n0, *n1, *n2, *n3]))
            }
            _ => None,
        }
    }

    /// A time of the clock.
    pub(super) fn of_clock(now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self::At { seconds: since.as_secs(), nanos: since.subsec_nanos() }
    }
}

/// Writes times. Events come many to a second, so the text of the last one is kept.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: u64,
    /// Date and time up to the second; empty before the first.
    text: String,
}

impl Stamp {
    /// Appends a time, without quotes.
    pub(super) fn write(&mut self, seconds: u64, nanos: u32, out: &mut Vec<u8>) {
        if self.second != seconds || self.text.is_empty() {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let text = humantime::format_rfc3339_seconds(time).to_string();
            text.trim_end_matches('Z').clone_into(&mut self.text);
            self.second = seconds;
        }
        out.extend_from_slice(self.text.as_bytes());
        let mut digits = *b".000000000Z";
        let mut left = nanos;
        for place in digits.iter_mut().skip(1).take(9).rev() {
            *place = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Option<String> {
        match Time::read(&mut Reader::new(bytes)).unwrap() {
            Time::At { seconds, nanos } => {
                let mut out = Vec::new();
                Stamp::default().write(seconds, nanos, &mut out);
                Some(String::from_utf8(out).unwrap())
            }
            Time::Odd(_) | Time::Missing => None,
        }
    }

    #[test]
    fn all_ways_to_write_a_time() {
        let want = Some("2023-11-14T22:13:20.000000000Z".to_owned());
        assert_eq!(text(&[0xce, 0x65, 0x53, 0xf1, 0x00]), want);
        assert_eq!(text(&[0xcf, 0, 0, 0, 0, 0x65, 0x53, 0xf1, 0x00]), want);
        assert_eq!(text(&[0xd6, 0xff, 0x65, 0x53, 0xf1, 0x00]), want);
        let want = Some("2023-11-14T22:13:20.000000123Z".to_owned());
        let event_time = [0xd7, 0, 0x65, 0x53, 0xf1, 0, 0, 0, 0, 123];
        assert_eq!(text(&event_time), want);
        assert_eq!(text(&[0xc7, 8, 0, 0x65, 0x53, 0xf1, 0, 0, 0, 0, 123]), want);
        assert_eq!(text(&[0xd7, 0xff, 0, 0, 0x01, 0xec, 0x65, 0x53, 0xf1, 0]), want);
        assert_eq!(text(&[0xc7, 12, 0xff, 0, 0, 0, 123, 0, 0, 0, 0, 0x65, 0x53, 0xf1, 0]), want);
        // Fluent Bit's, with metadata.
        let with_metadata = [&[0x92][..], &event_time, &[0x81, 0xa1, b'k', 1]].concat();
        assert_eq!(text(&with_metadata), want);
        let mut float = vec![0xcb];
        float.extend_from_slice(&1_700_000_000.5_f64.to_be_bytes());
        assert_eq!(text(&float), Some("2023-11-14T22:13:20.500000000Z".to_owned()));
    }

    #[test]
    fn what_is_no_time_stays_a_number_or_is_refused() {
        let read = |bytes: &'static [u8]| Time::read(&mut Reader::new(bytes));
        assert_eq!(read(&[0xc0]), Ok(Time::Missing));
        assert_eq!(read(&[0x00]), Ok(Time::Missing));
        assert_eq!(read(&[0xff]), Ok(Time::Odd(Token::Int(-1))));
        let milliseconds = &[0xcf, 0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x00];
        assert_eq!(read(milliseconds), Ok(Time::Odd(Token::Uint(1_700_000_000_000))));
        assert_eq!(read(&[0xa1, b'x']), Err(Error::NoTime));
        assert_eq!(read(&[0x90]), Err(Error::NoTime));
        // A billion nanoseconds are a second.
        assert_eq!(read(&[0xd7, 0, 0, 0, 0, 1, 0x3b, 0x9a, 0xca, 0x00]), Err(Error::NoTime));
    }

    #[test]
    fn seconds_are_not_mixed_up() {
        let mut stamp = Stamp::default();
        let mut out = Vec::new();
        for (seconds, nanos) in [(0, 1), (0, 999_999_999), (1, 0), (0, 10), (YEAR_10000 - 1, 5)] {
            stamp.write(seconds, nanos, &mut out);
            out.push(b' ');
        }
        let want = "1970-01-01T00:00:00.000000001Z 1970-01-01T00:00:00.999999999Z 1970-01-01T00:00:01.000000000Z \
                    1970-01-01T00:00:00.000000010Z 9999-12-31T23:59:59.000000005Z ";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
