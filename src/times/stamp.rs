//! A time as a text has it, before its year, its zone and its place on the calendar are settled.

use super::civil::{DAY, days, is_leap, join, month_len, split, year_of};
use super::zone::Zone;

/// What reads a year's end in January: a time without a year is of the last one in which it is not further ahead of the read than this.
pub(super) const AHEAD: i64 = 7 * DAY;
/// The 29th of February can be eight years away.
const YEARS_BACK: i32 = 9;
pub(super) const OUT_OF_RANGE: &str = "a time out of range";

/// What a time looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shape {
    /// `2013-03-03T14:27:33,123+01:00`, with a T, a space or another sign between.
    #[default]
    Iso,
    /// `20210131T144854Z`.
    Compact,
    /// `2022/04/15 08:16:13`.
    Slashes,
    /// `10/Oct/2000:13:55:36 -0700`.
    Clf,
    /// `Feb  5 17:32:18`, also with a year.
    MonthDay,
    /// `Wed Oct 11 14:32:52 2000`.
    Asctime,
    /// `Wed, 11 Oct 2000 14:32:52 +0200`, `01 Jan 2023 00:00:00`.
    DayMonth,
    /// `0203 17:32:18.123456`, `20210131 14:48:54.411655`.
    Glog,
}

/// The zone as a text has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ZoneText<'a> {
    #[default]
    None,
    Offset(i32),
    Name(&'a [u8]),
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp<'a> {
    pub(super) shape: Shape,
    pub(super) year: Option<i32>,
    pub(super) month: u32,
    pub(super) day: u32,
    /// In place of the month and the day.
    pub(super) day_of_year: Option<u32>,
    pub(super) hour: Option<u32>,
    /// Hours after midnight at which the half of the day begins that a clock of twelve hours was in.
    pub(super) half: Option<u32>,
    pub(super) minute: u32,
    pub(super) second: u32,
    pub(super) nanos: u32,
    /// Where the parts of the second stand in the text.
    pub(super) part: &'a [u8],
    pub(super) zone: ZoneText<'a>,
    /// In place of all that: seconds since 1970.
    pub(super) epoch: Option<i64>,
}

impl Stamp<'_> {
    /// The nanoseconds from 1970 to the time. A second of 60 is the first of the next minute, as POSIX counts.
    pub(super) fn resolve(&self, zone: &mut Zone, read_at: i128) -> Result<i128, &'static str> {
        if let Some(second) = self.epoch {
            return join(second, self.nanos).ok_or(OUT_OF_RANGE);
        }
        let time = self.time_of_day()?;
        let local = match self.year {
            Some(year) => self.day_in(year).ok_or("no such day")? * DAY + time,
            None => self.latest(time, read_at)?,
        };
        let offset = match self.zone {
            ZoneText::None => zone.offset(local).ok_or(OUT_OF_RANGE)?,
            ZoneText::Offset(offset) => offset,
            ZoneText::Name(name) => zone.named(name, local).ok_or("an unknown abbreviation of a zone")?,
        };
        join(local - i64::from(offset), self.nanos).ok_or(OUT_OF_RANGE)
    }

    fn time_of_day(&self) -> Result<i64, &'static str> {
        let hour = self.hour.unwrap_or_default();
        let hour = match self.half {
            None if hour < 24 => hour,
            Some(half) if (1..=12).contains(&hour) => hour % 12 + half,
            _ => return Err("no such hour"),
        };
        if self.minute > 59 || self.second > 60 {
            return Err("no such minute or second");
        }
        Ok(i64::from(hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second))
    }

    /// The days from 1970 to the date in a year.
    fn day_in(&self, year: i32) -> Option<i64> {
        if !(0..=9999).contains(&year) {
            return None;
        }
        if let Some(day) = self.day_of_year {
            return (1..=365 + u32::from(is_leap(year))).contains(&day).then(|| days(year, 1, 1) + i64::from(day) - 1);
        }
        (1..=month_len(year, self.month)).contains(&self.day).then(|| days(year, self.month, self.day))
    }

    /// The local second in the year that was not written: logs come from the past, and clocks are not far ahead.
    fn latest(&self, time: i64, read_at: i128) -> Result<i64, &'static str> {
        let (read_at, _) = split(read_at);
        let next = year_of(read_at) + 1;
        (next - YEARS_BACK..=next)
            .rev()
            .filter_map(|year| self.day_in(year))
            .map(|day| day * DAY + time)
            .find(|second| *second <= read_at + AHEAD)
            .ok_or("no such day")
    }
}
