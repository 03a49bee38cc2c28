//! Formats in the way of `strftime`, read as `strptime` does: compiled once, and then one pass for each text. Beyond POSIX they have what loggers' formats
//! have for parts of a second. Names are English.

use super::TimesError;
use super::recognise::{Scan, century, is_weekday, month, recognise};
use super::stamp::{Stamp, ZoneText};
use super::zone;

/// What others stand for.
const SHORT: [(&str, &str); 7] = [
    ("F", "%Y-%m-%d"),
    ("T", "%H:%M:%S"),
    ("R", "%H:%M"),
    ("D", "%m/%d/%y"),
    ("r", "%I:%M:%S %p"),
    ("c", "%a %b %e %H:%M:%S %Y"),
    ("v", "%e-%b-%Y"),
];
/// What is known, for people.
pub(super) const KNOWN: &str = "%Y %y %m %d %e %j %b %B %h %a %A %H %k %I %l %M %S %p %P %f %3f %6f %9f %.f %L %N %3N %6N %9N %z %:z %Z %s %F %T %R %D %r %c %v %+ \
                                %n %t %%";

/// A format that was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Byte(u8),
    /// White space, however much.
    Space,
    Year,
    YearOfCentury,
    Month,
    Day,
    /// A day or an hour that spaces may fill up.
    PaddedDay,
    DayOfYear,
    MonthName,
    Weekday,
    Hour,
    PaddedHour,
    Minute,
    Second,
    Half,
    /// Digits of the second's parts: so many, or as many as there are if 0.
    Fraction(usize),
    /// The same with the point before it, if it is there.
    PointFraction,
    Offset,
    ZoneName,
    Epoch,
    /// The rest of the text is told by its looks.
    Looks,
}

impl Format {
    /// Compiles a format, and checks that it says enough for a time.
    pub(super) fn compile(text: &str) -> Result<Self, TimesError> {
        let mut items = Vec::new();
        let mut halves = Halves::default();
        add(text, text, &mut items, &mut halves)?;
        let has = |item| items.contains(&item);
        let has_day = (has(Item::Month) || has(Item::MonthName)) && (has(Item::Day) || has(Item::PaddedDay));
        if !has_day && !has(Item::DayOfYear) && !has(Item::Epoch) && !has(Item::Looks) {
            return Err(TimesError::NoDay(text.to_owned()));
        }
        if halves.of_twelve && !has(Item::Half) {
            return Err(TimesError::NoHalf(text.to_owned()));
        }
        if !halves.of_twelve {
            // It says nothing that an hour of 24 does not, and hours after noon have no half.
            items.iter_mut().filter(|item| **item == Item::Half).for_each(|item| *item = Item::Weekday);
        }
        Ok(Self { items })
    }

    /// A text that is of this format, to its end.
    pub(super) fn read<'a>(&self, text: &'a [u8]) -> Option<Stamp<'a>> {
        let mut scan = Scan::new(text.trim_ascii());
        let mut stamp = Stamp::default();
        for item in &self.items {
            if *item == Item::Looks {
                return recognise(scan.rest());
            }
            item.read(&mut scan, &mut stamp)?;
        }
        scan.rest().is_empty().then_some(stamp)
    }
}

/// Which hours a format has.
#[derive(Debug, Default)]
struct Halves {
    of_twelve: bool,
}

fn add(format: &str, whole: &str, items: &mut Vec<Item>, halves: &mut Halves) -> Result<(), TimesError> {
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_whitespace() {
            rest = rest.trim_ascii_start();
            space(items);
            continue;
        }
        if c != '%' {
            let (literal, after) = rest.split_at(c.len_utf8());
            items.extend(literal.bytes().map(Item::Byte));
            rest = after;
            continue;
        }
        let (directive, after) = directive(rest);
        rest = after;
        if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == directive) {
            add(long, whole, items, halves)?;
            continue;
        }
        halves.of_twelve |= matches!(directive, "I" | "l");
        match item(directive) {
            Some(Item::Space) => space(items),
            Some(item) => items.push(item),
            None => {
                return Err(TimesError::UnknownDirective {
                    directive: format!("%{directive}"),
                    format: whole.to_owned(),
                });
            }
        }
    }
    Ok(())
}

fn space(items: &mut Vec<Item>) {
    if items.last() != Some(&Item::Space) {
        items.push(Item::Space);
    }
}

/// The directive behind a percent sign, with what modifies it, and what comes after.
fn directive(text: &str) -> (&str, &str) {
    let text = text.strip_prefix('%').unwrap_or(text);
    let modifiers = text.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b':' | b'-' | b'_')).count();
    let letter = text.chars().nth(modifiers).map_or(0, char::len_utf8);
    text.split_at(modifiers + letter)
}

fn item(directive: &str) -> Option<Item> {
    Some(match directive {
        "Y" => Item::Year,
        "y" => Item::YearOfCentury,
        "m" | "-m" => Item::Month,
        "d" | "-d" => Item::Day,
        "e" | "_d" => Item::PaddedDay,
        "j" => Item::DayOfYear,
        "b" | "B" | "h" => Item::MonthName,
        "a" | "A" => Item::Weekday,
        "H" | "I" | "-H" | "-I" => Item::Hour,
        "k" | "l" | "_H" | "_I" => Item::PaddedHour,
        "M" | "-M" => Item::Minute,
        "S" | "-S" => Item::Second,
        "p" | "P" => Item::Half,
        "f" | "N" | "L" => Item::Fraction(0),
        "3f" | "3N" | "3L" => Item::Fraction(3),
        "6f" | "6N" => Item::Fraction(6),
        "9f" | "9N" => Item::Fraction(9),
        ".f" | ".3f" | ".6f" | ".9f" => Item::PointFraction,
        "z" | ":z" | "::z" => Item::Offset,
        "Z" => Item::ZoneName,
        "s" => Item::Epoch,
        "+" => Item::Looks,
        "n" | "t" => Item::Space,
        "%" => Item::Byte(b'%'),
        _ => return None,
    })
}

impl Item {
    fn read<'a>(self, scan: &mut Scan<'a>, stamp: &mut Stamp<'a>) -> Option<()> {
        match self {
            Self::Byte(byte) => return scan.eat(byte).then_some(()),
            Self::Space => return scan.spaces().then_some(()),
            Self::Year => stamp.year = Some(scan.year(4)?),
            Self::YearOfCentury => stamp.year = Some(century(i32::try_from(scan.number(2, 2)?).ok()?)),
            Self::Month => stamp.month = scan.number(1, 2)?,
            Self::Day => stamp.day = scan.number(1, 2)?,
            Self::PaddedDay => stamp.day = padded(scan)?,
            Self::DayOfYear => stamp.day_of_year = Some(scan.number(1, 3)?),
            Self::MonthName => stamp.month = month(scan.word())?,
            Self::Weekday => return word(scan),
            Self::Hour => stamp.hour = Some(scan.number(1, 2)?),
            Self::PaddedHour => stamp.hour = Some(padded(scan)?),
            Self::Minute => stamp.minute = scan.number(1, 2)?,
            Self::Second => stamp.second = scan.number(1, 2)?,
            Self::Half => stamp.half = Some(half(scan.word())?),
            Self::Fraction(digits) => fraction(scan, stamp, digits)?,
            Self::PointFraction => {
                if scan.eat(b'.') {
                    fraction(scan, stamp, 0)?;
                }
            }
            Self::Offset => {
                let (offset, rest) = zone::offset(scan.rest())?;
                (stamp.zone, *scan) = (ZoneText::Offset(offset), Scan::new(rest));
            }
            Self::ZoneName => return zone_name(scan, stamp),
            Self::Epoch => stamp.epoch = Some(epoch(scan)?),
            Self::Looks => return None,
        }
        Some(())
    }
}

fn padded(scan: &mut Scan<'_>) -> Option<u32> {
    scan.spaces();
    scan.number(1, 2)
}

fn word(scan: &mut Scan<'_>) -> Option<()> {
    let word = scan.word();
    (is_weekday(word) || half(word).is_some()).then_some(())
}

fn half(word: &[u8]) -> Option<u32> {
    match word {
        [b'A' | b'a', b'M' | b'm'] => Some(0),
        [b'P' | b'p', b'M' | b'm'] => Some(12),
        _ => None,
    }
}

fn fraction<'a>(scan: &mut Scan<'a>, stamp: &mut Stamp<'a>, digits: usize) -> Option<()> {
    if digits == 0 {
        return scan.fraction(stamp);
    }
    let (part, rest) = scan.rest().split_at_checked(digits)?;
    let mut part = Scan::new(part);
    part.fraction(stamp)?;
    *scan = Scan::new(rest);
    part.rest().is_empty().then_some(())
}

fn zone_name<'a>(scan: &mut Scan<'a>, stamp: &mut Stamp<'a>) -> Option<()> {
    if let Some((offset, rest)) = zone::offset(scan.rest()) {
        (stamp.zone, *scan) = (ZoneText::Offset(offset), Scan::new(rest));
        return Some(());
    }
    let name = scan.word();
    if stamp.zone == ZoneText::None {
        stamp.zone = ZoneText::Name(name);
    }
    (!name.is_empty()).then_some(())
}

fn epoch(scan: &mut Scan<'_>) -> Option<i64> {
    let negative = scan.eat(b'-');
    let rest = scan.rest();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // More digits are far beyond the year 9999.
    if !(1..=18).contains(&count) {
        return None;
    }
    let (digits, rest) = rest.split_at(count);
    *scan = Scan::new(rest);
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if negative { -value } else { value })
}
