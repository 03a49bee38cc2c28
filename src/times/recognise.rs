//! The times that logs have, told by their looks: one pass over the text, without a pattern and without trying one format after another. English
//! names, whatever the locale is.
//!
//! What can be read in two ways is not guessed: `03/04/2024` is no time here. Weekdays are not compared with dates.

use super::stamp::{Shape, Stamp, ZoneText};
use super::zone;

/// The narrow space that newer Javas write before AM and PM.
const NARROW_SPACE: [u8; 3] = [0xE2, 0x80, 0xAF];
/// Longer names are not abbreviations of zones.
const MAX_ZONE_NAME: usize = 5;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan<'a> {
    rest: &'a [u8],
}

/// A date and a time of day, told by their looks; nothing else may be in the text but the signs that formats put around a time.
pub(super) fn recognise(text: &[u8]) -> Option<Stamp<'_>> {
    let mut scan = Scan::new(unwrapped(text));
    let mut stamp = Stamp::default();
    let has_time = scan.date(&mut stamp)?;
    if !has_time {
        if scan.rest.is_empty() {
            // Without a year, a day alone is too little to be sure.
            return stamp.year.map(|_| stamp);
        }
        scan.between(&stamp)?;
        scan.time(&mut stamp)?;
    }
    scan.tail(&mut stamp)?;
    Some(stamp)
}

/// The text without the white space, and then without the brackets or quotes, that are around it.
fn unwrapped(text: &[u8]) -> &[u8] {
    match text.trim_ascii() {
        [b'[', inner @ .., b']'] | [b'"', inner @ .., b'"'] => inner.trim_ascii(),
        text => text,
    }
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    fn peek(self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| bytes.contains(byte))?;
        self.rest = &self.rest[1..];
        Some(byte)
    }

    /// Whether there was any white space.
    pub(super) fn spaces(&mut self) -> bool {
        let before = self.rest.len();
        loop {
            match self.rest {
                [b' ' | b'\t', rest @ ..] => self.rest = rest,
                [a, b, c, rest @ ..] if [*a, *b, *c] == NARROW_SPACE => self.rest = rest,
                _ => return self.rest.len() < before,
            }
        }
    }

    /// A number of so many digits: no fewer than `min`, and no more of them are read than `max`.
    pub(super) fn number(&mut self, min: usize, max: usize) -> Option<u32> {
        let mut value = 0;
        let mut count = 0;
        for byte in self.rest.iter().take(max) {
            if !byte.is_ascii_digit() {
                break;
            }
            value = value * 10 + u32::from(byte - b'0');
            count += 1;
        }
        self.rest = &self.rest[count..];
        (count >= min).then_some(value)
    }

    fn digits(self) -> usize {
        self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    /// Digits after a point, as nanoseconds; what comes after nine of them is left out.
    pub(super) fn fraction(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        let (digits, rest) = self.rest.split_at(self.digits());
        self.rest = rest;
        stamp.part = digits;
        stamp.nanos = part(digits)?;
        Some(())
    }

    /// Letters.
    pub(super) fn word(&mut self) -> &'a [u8] {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (word, rest) = self.rest.split_at(count);
        self.rest = rest;
        word
    }

    /// The date, and whether it came with its time.
    fn date(&mut self, stamp: &mut Stamp<'a>) -> Option<bool> {
        if self.peek()?.is_ascii_digit() {
            return self.digits_first(stamp);
        }
        if let [b'I' | b'W' | b'E' | b'F', b'0'..=b'9', ..] = self.rest {
            self.rest = &self.rest[1..];
            return self.digits_first(stamp).filter(|_| stamp.shape == Shape::Glog);
        }
        let before = *self;
        if is_weekday(self.word()) {
            self.eat(b',');
            self.spaces();
            stamp.shape = Shape::Asctime;
            if self.peek()?.is_ascii_digit() {
                self.day_month(stamp)?;
                return Some(false);
            }
        } else {
            *self = before;
            stamp.shape = Shape::MonthDay;
        }
        self.month_day(stamp)?;
        Some(false)
    }

    fn digits_first(&mut self, stamp: &mut Stamp<'a>) -> Option<bool> {
        match (self.digits(), self.rest) {
            (4, [_, _, _, _, b'-' | b'/' | b'.', ..]) => self.year_month_day(stamp).map(|()| false),
            (4, [_, _, _, _, b' ', b'0'..=b'9', ..]) => {
                stamp.shape = Shape::Glog;
                (stamp.month, stamp.day) = (self.number(2, 2)?, self.number(2, 2)?);
                Some(false)
            }
            (4, [_, _, _, _, b' ', ..]) => {
                stamp.shape = Shape::DayMonth;
                stamp.year = Some(self.year(4)?);
                self.spaces();
                stamp.month = month(self.word())?;
                self.spaces();
                stamp.day = self.number(1, 2)?;
                Some(false)
            }
            (1 | 2, _) => self.day_month(stamp).map(|()| false),
            (6, [_, _, _, _, _, _, b' ', ..]) => {
                stamp.shape = Shape::Compact;
                stamp.year = Some(self.year(2)?);
                (stamp.month, stamp.day) = (self.number(2, 2)?, self.number(2, 2)?);
                Some(false)
            }
            (8, rest) => {
                stamp.shape = if rest.get(8) == Some(&b' ') { Shape::Glog } else { Shape::Compact };
                self.packed_date(stamp)?;
                Some(false)
            }
            (14 | 17, _) => {
                stamp.shape = Shape::Compact;
                self.packed_date(stamp)?;
                self.packed_time(stamp)?;
                Some(true)
            }
            _ => None,
        }
    }

    /// `2013-03-03`, `2013/3/3`, `2013-Mar-03`.
    fn year_month_day(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        stamp.year = Some(self.year(4)?);
        let between = self.one_of(b"-/.")?;
        stamp.shape = if between == b'/' { Shape::Slashes } else { Shape::Iso };
        stamp.month = match self.peek()? {
            b'0'..=b'9' => self.number(1, 2)?,
            _ => month(self.word())?,
        };
        if !self.eat(between) {
            return None;
        }
        stamp.day = self.number(1, 2)?;
        Some(())
    }

    /// `10/Oct/2000`, `01 Jan 2023`, `11-Oct-00`; the year may be missing where white space is between.
    fn day_month(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        stamp.day = self.number(1, 2)?;
        let between = self.one_of(b"/- .")?;
        self.spaces();
        stamp.shape = if between == b'/' { Shape::Clf } else { Shape::DayMonth };
        stamp.month = month(self.word())?;
        if !self.eat(between) && !self.spaces() {
            return None;
        }
        self.spaces();
        match (self.digits(), self.rest) {
            (4, _) => stamp.year = Some(self.year(4)?),
            (2, rest) if rest.get(2) != Some(&b':') => stamp.year = Some(self.year(2)?),
            // What comes is the time of day: the space before it was taken as that before a year.
            (1 | 2, _) => {}
            _ => return None,
        }
        Some(())
    }

    /// `Feb  5`, `Feb 5 2021`, `Oct 10, 2000`.
    fn month_day(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        stamp.month = month(self.word())?;
        self.eat(b'.');
        if !self.spaces() {
            return None;
        }
        stamp.day = self.number(1, 2)?;
        let before = *self;
        self.eat(b',');
        self.spaces();
        if self.digits() == 4 && self.rest.get(4) != Some(&b':') {
            stamp.year = Some(self.year(4)?);
        } else {
            *self = before;
        }
        Some(())
    }

    fn packed_date(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        stamp.year = Some(self.year(4)?);
        stamp.month = self.number(2, 2)?;
        stamp.day = self.number(2, 2)?;
        // Other numbers have as many digits.
        (1900..2100).contains(&stamp.year?).then_some(())
    }

    fn packed_time(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        stamp.hour = Some(self.number(2, 2)?);
        stamp.minute = self.number(2, 2)?;
        if self.digits() > 0 {
            stamp.second = self.number(2, 2)?;
        }
        if self.one_of(b".,").is_some() || self.digits() > 0 {
            self.fraction(stamp)?;
        }
        Some(())
    }

    pub(super) fn year(&mut self, digits: usize) -> Option<i32> {
        let year = i32::try_from(self.number(digits, digits)?).ok()?;
        Some(if digits == 2 { century(year) } else { year })
    }

    /// What is between a date and a time of day.
    fn between(&mut self, stamp: &Stamp<'a>) -> Option<()> {
        self.eat(b',');
        if self.spaces() {
            let before = *self;
            if self.word() != b"at" || !self.spaces() {
                *self = before;
            }
            self.one_of(b"-T").map(|_| self.spaces());
            return Some(());
        }
        // The space that was taken for the one before a year.
        if stamp.year.is_none() && stamp.shape == Shape::DayMonth {
            return Some(());
        }
        self.one_of(b"Tt_-:").map(drop)
    }

    /// `13:55:36.123`, `13:55`, `1.02.03`, `135536`.
    fn time(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        if matches!(self.digits(), 4 | 6) {
            return self.packed_time(stamp);
        }
        stamp.hour = Some(self.number(1, 2)?);
        let between = self.one_of(b":.")?;
        stamp.minute = self.number(2, 2)?;
        if !self.eat(between) {
            return Some(());
        }
        stamp.second = self.number(2, 2)?;
        if let [b'.' | b',' | b':', b'0'..=b'9', ..] = self.rest {
            self.rest = &self.rest[1..];
            self.fraction(stamp)?;
        }
        Some(())
    }

    /// What may follow a time of day: AM or PM, a zone, a year, and notes on what was said already.
    fn tail(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        loop {
            self.spaces();
            match self.rest {
                [] => return Some(()),
                [b'+' | b'-', ..] if stamp.zone == ZoneText::None => self.offset(stamp)?,
                [b'0'..=b'9', ..] if stamp.year.is_none() && self.digits() == 4 => stamp.year = Some(self.year(4)?),
                // A zone in other words, or Go's monotonic clock.
                [b'[', .., b']'] | [b'(', .., b')'] | [b'm', b'=', b'+' | b'-', ..] if stamp.zone != ZoneText::None => {
                    return Some(());
                }
                [b'(', name @ .., b')'] => return zone_name(stamp, name),
                _ => self.tail_word(stamp)?,
            }
        }
    }

    fn tail_word(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        match self.word() {
            [b'A' | b'a', b'M' | b'm'] if stamp.half.is_none() => stamp.half = Some(0),
            [b'P' | b'p', b'M' | b'm'] if stamp.half.is_none() => stamp.half = Some(12),
            [b'Z' | b'z'] if stamp.zone == ZoneText::None => stamp.zone = ZoneText::Offset(0),
            name if name.eq_ignore_ascii_case(b"UTC") || name.eq_ignore_ascii_case(b"GMT") => match self.rest {
                [b'+' | b'-', ..] if stamp.zone == ZoneText::None => self.offset(stamp)?,
                _ if stamp.zone == ZoneText::None => stamp.zone = ZoneText::Offset(0),
                _ => {}
            },
            name if stamp.zone == ZoneText::None => zone_name(stamp, name)?,
            // The abbreviation of an offset that was there.
            name if (2..=MAX_ZONE_NAME).contains(&name.len()) => {}
            _ => return None,
        }
        Some(())
    }

    pub(super) fn offset(&mut self, stamp: &mut Stamp<'a>) -> Option<()> {
        let (offset, rest) = zone::offset(self.rest)?;
        (stamp.zone, self.rest) = (ZoneText::Offset(offset), rest);
        // `GMT+2`, and what would be a third digit of hours or minutes.
        (!rest.first().is_some_and(u8::is_ascii_digit)).then_some(())
    }
}

fn zone_name<'a>(stamp: &mut Stamp<'a>, name: &'a [u8]) -> Option<()> {
    let fits = (2..=MAX_ZONE_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_alphabetic);
    stamp.zone = ZoneText::Name(name);
    fits.then_some(())
}

/// Digits after a point, as nanoseconds; nothing if there is none of them, or something else.
pub(super) fn part(digits: &[u8]) -> Option<u32> {
    let mut value = 0;
    for at in 0..9 {
        value = value * 10
            + match digits.get(at) {
                Some(digit @ b'0'..=b'9') => u32::from(digit - b'0'),
                Some(_) => return None,
                None => 0,
            };
    }
    let beyond = digits.get(9..).unwrap_or_default();
    (!digits.is_empty() && beyond.iter().all(u8::is_ascii_digit)).then_some(value)
}

/// The year that two digits mean: from 1969 to 2068, as POSIX has it.
pub(super) fn century(year: i32) -> i32 {
    if year < 69 { year + 2000 } else { year + 1900 }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The number of a month by its name or its first three letters, or `Sept`.
pub(super) fn month(name: &[u8]) -> Option<u32> {
    let lower = |at: usize| name.get(at).map_or(0, u8::to_ascii_lowercase);
    let number = match [lower(0), lower(1), lower(2)] {
        [b'j', b'a', b'n'] => 1,
        [b'f', b'e', b'b'] => 2,
        [b'm', b'a', b'r'] => 3,
        [b'a', b'p', b'r'] => 4,
        [b'm', b'a', b'y'] => 5,
        [b'j', b'u', b'n'] => 6,
        [b'j', b'u', b'l'] => 7,
        [b'a', b'u', b'g'] => 8,
        [b's', b'e', b'p'] => 9,
        [b'o', b'c', b't'] => 10,
        [b'n', b'o', b'v'] => 11,
        [b'd', b'e', b'c'] => 12,
        _ => return None,
    };
    let full = MONTHS.get(number - 1)?.as_bytes();
    let fits = name.len() == 3 || name.eq_ignore_ascii_case(full) || name.eq_ignore_ascii_case(b"sept");
    u32::try_from(number).ok().filter(|_| fits)
}

/// Whether a word is a weekday's name, or the beginning of one: three letters, or the four of `Tues` and `Thur`.
pub(super) fn is_weekday(word: &[u8]) -> bool {
    word.len() >= 3
        && WEEKDAYS.iter().any(|name| {
            let begins = name.as_bytes().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
            begins && (word.len() <= 5 || word.len() == name.len())
        })
}
