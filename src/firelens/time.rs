//! Times in the way of `strftime`, as `time_key_format` has them: in UTC, with what Fluent Bit and AWS's plugin know beyond it for parts of a second.

/// Seconds of a day.
const DAY: u64 = 86_400;
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// What others stand for.
const SHORT: [(char, &str); 6] = [
    ('F', "%Y-%m-%d"),
    ('T', "%H:%M:%S"),
    ('R', "%H:%M"),
    ('D', "%m/%d/%y"),
    ('h', "%b"),
    ('c', "%a %b %e %H:%M:%S %Y"),
];
/// Single letters that are known.
const KNOWN: &str = "YymdeHIMSpjaAbBszZntLfNu%";

/// A format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeFormat {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    One(char),
    /// So many digits of the second's parts.
    Digits(usize),
}

/// A date and a time of day.
#[derive(Debug, Clone, Copy)]
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    /// From 0 on.
    day_of_year: u64,
    /// From Sunday on.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl TimeFormat {
    /// A format as it is written; what it has that is not known stays as it is, and is told.
    pub fn parse(format: &str) -> (Self, Vec<String>) {
        let (mut made, mut unknown) = (Self { pieces: Vec::new() }, Vec::new());
        made.add(format, &mut unknown);
        (made, unknown)
    }

    fn add(&mut self, format: &str, unknown: &mut Vec<String>) {
        let mut rest = format.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                self.text(c);
                continue;
            }
            let mut after = rest.clone();
            let piece = match (after.next(), after.next()) {
                (Some(letter), _) if SHORT.iter().any(|(short, _)| *short == letter) => {
                    let long = SHORT.iter().find(|(short, _)| *short == letter);
                    self.add(long.map(|(_, long)| *long).unwrap_or_default(), unknown);
                    rest.next();
                    continue;
                }
                (Some('%'), _) => {
                    self.text('%');
                    rest.next();
                    continue;
                }
                (Some('L'), _) => Piece::Digits(3),
                (Some('f'), _) => Piece::Digits(6),
                (Some('N'), _) => Piece::Digits(9),
                (Some(digits @ '1'..='9'), Some('N')) => {
                    rest.next();
                    Piece::Digits(digits.to_digit(10).and_then(|n| usize::try_from(n).ok()).unwrap_or(9))
                }
                (Some(letter), _) if KNOWN.contains(letter) => Piece::One(letter),
                (letter, _) => {
                    unknown.push(letter.map_or_else(|| "%".to_owned(), |letter| format!("%{letter}")));
                    self.text('%');
                    continue;
                }
            };
            rest.next();
            self.pieces.push(piece);
        }
    }

    fn text(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(c),
            _ => self.pieces.push(Piece::Text(c.to_string())),
        }
    }

    /// A time as text, given by the seconds since 1970 and the nanoseconds beyond.
    pub fn text_of(&self, seconds: u64, nanos: u32) -> String {
        let civil = Civil::of(seconds);
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Digits(count) => out.extend(format!("{nanos:09}").chars().take(*count)),
                Piece::One(letter) => out.push_str(&civil.part(*letter, seconds)),
            }
        }
        out
    }
}

impl Civil {
    fn of(seconds: u64) -> Self {
        let (days, of_day) = (seconds / DAY, seconds % DAY);
        // Years that begin in March have their odd day at their end, and 400 of them are always as long.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * from_march + 2) / 153;
        let day = from_march - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let january = if month > 2 { from_march + 59 + u64::from(is_leap) } else { from_march - 306 };
        Self {
            year,
            month,
            day,
            day_of_year: january,
            weekday: (days + 4) % 7,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    fn part(&self, letter: char, seconds: u64) -> String {
        let name = |names: &[&'static str], at: u64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or("")
        };
        let short = |name: &str| name.chars().take(3).collect::<String>();
        match letter {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{:02}", (self.hour + 11) % 12 + 1),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'j' => format!("{:03}", self.day_of_year + 1),
            'a' => short(name(&DAYS, self.weekday)),
            'A' => name(&DAYS, self.weekday).to_owned(),
            'b' => short(name(&MONTHS, self.month - 1)),
            'B' => name(&MONTHS, self.month - 1).to_owned(),
            'u' => (if self.weekday == 0 { 7 } else { self.weekday }).to_string(),
            's' => seconds.to_string(),
            'z' => "+0000".to_owned(),
            'Z' => "UTC".to_owned(),
            'n' => "\n".to_owned(),
            _ => "\t".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(format: &str, seconds: u64, nanos: u32) -> String {
        let (format, unknown) = TimeFormat::parse(format);
        assert!(unknown.is_empty(), "{unknown:?}");
        format.text_of(seconds, nanos)
    }

    #[test]
    fn times_are_written_as_date_writes_them() {
        let (seconds, nanos) = (1_709_210_096, 7_089_001);
        for (format, want) in [
            ("%Y-%m-%dT%H:%M:%S", "2024-02-29T12:34:56"),
            ("%FT%T.%3NZ", "2024-02-29T12:34:56.007Z"),
            ("%Y-%m-%dT%H:%M:%S.%L%z", "2024-02-29T12:34:56.007+0000"),
            ("%f %6N %9N %N %1N", "007089 007089 007089001 007089001 0"),
            ("%D %R %I %p %j %y", "02/29/24 12:34 12 PM 060 24"),
            ("%a %A %b %B %e %u %h", "Thu Thursday Feb February 29 4 Feb"),
            ("%s %Z 100%% %n%t", "1709210096 UTC 100% \n\t"),
            ("", ""),
        ] {
            assert_eq!(text(format, seconds, nanos), want, "{format}");
        }
        assert_eq!(text("%c", 0, 0), "Thu Jan  1 00:00:00 1970");
        assert_eq!(text("%F %j %u", 1_735_603_200 + 86_400 - 1, 0), "2024-12-31 366 2");
    }

    #[test]
    fn every_day_is_that_of_another_implementation() {
        for day in (0..200_000).step_by(13) {
            let seconds = day * DAY + 3_661;
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            assert_eq!(text("%Y-%m-%dT%H:%M:%SZ", seconds, 0), humantime::format_rfc3339_seconds(time).to_string());
        }
    }

    #[test]
    fn what_is_not_known_stays_and_is_told() {
        let (format, unknown) = TimeFormat::parse("%Y %Q %");
        assert_eq!(unknown, ["%Q", "%"]);
        assert_eq!(format.text_of(0, 0), "1970 %Q %");
    }
}
