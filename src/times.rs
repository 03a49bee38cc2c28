//! What time a field says: the many ways in which logs write times, to nanoseconds since 1970, and these to one way of writing them. The clock is not
//! read here: the time of the read, by which a missing year is found, comes from the caller.

mod civil;
mod epoch;
mod format;
mod last;
mod recognise;
mod render;
mod stamp;
mod zone;

#[cfg(test)]
mod tests;

use crate::event::Value;

use epoch::Unit;
use format::Format;
use last::Last;
use render::Writer;
pub use render::{WIDTH, rfc3339, write_rfc3339};
use stamp::{Shape, Stamp, ZoneText};
use zone::Zone;

/// How near a format's name has to be for it to be proposed.
const LIKE: f64 = 0.75;
const NO_FORMAT_FITS: &str = "no time format fits";

/// The names of formats, with what each is for.
pub const NAMES: [(&str, &str); 18] = [
    ("auto", "told by its looks"),
    ("rfc3339", "2013-03-03T14:27:33.123Z, with a zone"),
    ("iso8601", "2013-03-03 14:27:33,123 or 20130303T142733Z, with or without a zone"),
    ("rfc2822", "Wed, 11 Oct 2000 14:32:52 +0200"),
    ("clf", "10/Oct/2000:13:55:36 -0700"),
    ("haproxy", "10/Oct/2000:13:55:36.123"),
    ("syslog", "Feb  5 17:32:18, also with a year, or as rfc3339"),
    ("asctime", "Wed Oct 11 14:32:52.123456 2000"),
    ("nginx_error", "2022/04/15 08:16:13"),
    ("glog", "0203 17:32:18.123456 or 20210131 14:48:54.411655"),
    ("klog", "0203 17:32:18.123456"),
    ("log4j", "2013-03-03 14:27:33,123"),
    ("postgres", "2023-01-01 00:00:00.000 UTC"),
    ("redis", "01 Jan 2023 00:00:00.000"),
    ("epoch", "seconds since 1970"),
    ("epoch_ms", "milliseconds since 1970"),
    ("epoch_us", "microseconds since 1970"),
    ("epoch_ns", "nanoseconds since 1970"),
];

/// Why settings of times cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimesError {
    /// A directive of a format is not known.
    #[error("`{directive}` in the time format `{format}` is not known; known are {known}", known = format::KNOWN)]
    UnknownDirective {
        /// The directive.
        directive: String,
        /// The format it is in.
        format: String,
    },
    /// A format gives no date.
    #[error("the time format `{0}` says no day: it needs %m or %b with %d, or %j, or %s")]
    NoDay(String),
    /// A format gives hours of a clock of twelve, and not which half of the day it is.
    #[error("the time format `{0}` has an hour of twelve, %I, without %p")]
    NoHalf(String),
    /// A format is neither a name nor a text with directives.
    #[error("`{format}` is no time format: {nearest}a format is {known}, or a text like %Y-%m-%d %H:%M:%S", known = names())]
    UnknownFormat {
        /// The format.
        format: String,
        /// The nearest name, as a part of the sentence.
        nearest: String,
    },
    /// A zone is neither an offset nor in the database.
    #[error("the zone `{zone}` is not known: {}a zone is UTC, an offset like +02:00, or a name like Europe/Paris",
        nearest.as_ref().map(|nearest| format!("is `{nearest}` meant? ")).unwrap_or_default())]
    UnknownZone {
        /// The zone.
        zone: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// The zone is that of the agent, and it has none.
    #[error(
        "the zone `local` is not known here: neither TZ nor /etc/localtime says it; name the zone, like Europe/Paris"
    )]
    NoLocalZone,
}

fn names() -> String {
    NAMES.map(|(name, _)| name).join(", ")
}

/// How times are read: the formats, in the order in which they are tried, and the zone of times that name none.
#[derive(Debug, Clone)]
pub struct Times {
    formats: Vec<How>,
    zone: Zone,
    last: Option<Last>,
    writer: Writer,
}

#[derive(Debug, Clone)]
enum How {
    Auto,
    Shapes(&'static [Shape], Needs),
    Number(Unit),
    Format(Format),
}

/// What a format asks for beyond the looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Zone,
}

/// The nanoseconds from 1970 to a time as container runtimes write it; nothing if it is none.
pub fn parse_rfc3339(text: &str) -> Option<i128> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_nanosecond)
}

impl Times {
    /// Formats by their names or as `strftime` has them, none for `auto`; and the zone, by default UTC.
    pub fn new(formats: &[impl AsRef<str>], zone: Option<&str>) -> Result<Self, TimesError> {
        let mut formats = formats.iter().map(|format| How::parse(format.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if formats.is_empty() {
            formats.push(How::Auto);
        }
        let zone = zone.map_or(Ok(Zone::Fixed(0)), Zone::parse)?;
        Ok(Self { formats, zone, last: None, writer: Writer::default() })
    }

    /// The nanoseconds from 1970 to the time that a field says; nothing if it says none. `read_at` is when it was read, as nanoseconds since 1970.
    pub fn normalise(&mut self, value: &Value<'_>, read_at: i128) -> Option<i128> {
        self.read_value(value, read_at).ok()
    }

    /// The same, with the reason where there is no time.
    pub fn read_value(&mut self, value: &Value<'_>, read_at: i128) -> Result<i128, &'static str> {
        match value {
            Value::Text(text) => self.read(text, read_at),
            Value::Number(number) => self.read_number(*number, read_at),
            Value::Bool(_) => Err("a truth value is no time"),
            Value::Raw(_) | Value::Json(_) => {
                let json = value.json().unwrap_or_default();
                match plain(json) {
                    Some(text) => self.read(text, read_at),
                    // Escapes: PHP writes slashes with them.
                    None => self.read(&value.string().ok_or(NO_FORMAT_FITS)?, read_at),
                }
            }
        }
    }

    /// The nanoseconds from 1970 to the time that a text says.
    pub fn read(&mut self, text: &str, read_at: i128) -> Result<i128, &'static str> {
        let text = text.as_bytes();
        if let Some(nanos) = self.last.as_ref().and_then(|last| last.time(text, read_at)) {
            return Ok(nanos);
        }
        let mut reason = NO_FORMAT_FITS;
        for how in &self.formats {
            match how.read(text, &mut self.zone, read_at) {
                Ok(Read::Number(nanos)) => return Ok(nanos),
                Ok(Read::Stamp(stamp, nanos)) => {
                    self.last = Last::of(text, &stamp, nanos, self.formats.len() > 1);
                    return Ok(nanos);
                }
                // The first that saw a time in it knows best what is wrong with that.
                Err(other) if reason == NO_FORMAT_FITS => reason = other,
                Err(_) => {}
            }
        }
        Err(reason)
    }

    /// Appends a time as [`write_rfc3339`] does, quicker where it is of the same second as the last.
    pub fn write_rfc3339(&mut self, nanos: i128, out: &mut Vec<u8>) {
        out.extend_from_slice(self.writer.rfc3339(nanos));
    }

    fn read_number(&mut self, number: u64, read_at: i128) -> Result<i128, &'static str> {
        let mut digits = [0; 20];
        let (mut at, mut rest) = (digits.len(), number);
        while rest > 0 || at == digits.len() {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        let text = digits.get(at..).and_then(|digits| str::from_utf8(digits).ok());
        self.read(text.unwrap_or_default(), read_at)
    }
}

/// What a JSON value says, if it stands there as it is: a string without escapes, a number, or one of these in `MongoDB`'s `{"$date": …}`.
fn plain(json: &str) -> Option<&str> {
    let json = json.trim_ascii();
    let json = match json.strip_prefix('{').and_then(|json| json.strip_suffix('}')) {
        Some(inner) => inner.trim_ascii().strip_prefix("\"$date\"")?.trim_ascii_start().strip_prefix(':')?.trim_ascii(),
        None => json,
    };
    match json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) {
        Some(text) => memchr::memchr2(b'\\', b'"', text.as_bytes()).is_none().then_some(text),
        None => Some(json),
    }
}

impl How {
    fn parse(format: &str) -> Result<Self, TimesError> {
        if format.contains('%') {
            return Format::compile(format).map(Self::Format);
        }
        let shapes = |shapes| Ok(Self::Shapes(shapes, Needs::Nothing));
        match format.trim() {
            "auto" => Ok(Self::Auto),
            "rfc3339" => Ok(Self::Shapes(&[Shape::Iso], Needs::Zone)),
            "iso8601" => shapes(&[Shape::Iso, Shape::Compact]),
            "log4j" | "postgres" => shapes(&[Shape::Iso]),
            "rfc2822" | "redis" => shapes(&[Shape::DayMonth]),
            "clf" | "haproxy" => shapes(&[Shape::Clf]),
            "syslog" => shapes(&[Shape::MonthDay, Shape::Iso]),
            "asctime" => shapes(&[Shape::Asctime]),
            "nginx_error" => shapes(&[Shape::Slashes]),
            "glog" | "klog" => shapes(&[Shape::Glog]),
            "epoch" => Ok(Self::Number(Unit::SECONDS)),
            "epoch_ms" => Ok(Self::Number(Unit::MILLIS)),
            "epoch_us" => Ok(Self::Number(Unit::MICROS)),
            "epoch_ns" => Ok(Self::Number(Unit::NANOS)),
            other => Err(unknown(other)),
        }
    }

    fn read<'a>(&self, text: &'a [u8], zone: &mut Zone, read_at: i128) -> Result<Read<'a>, &'static str> {
        let stamp = match self {
            Self::Auto => return auto(text, zone, read_at),
            Self::Number(unit) => return number(epoch::nanos(text, *unit)),
            Self::Shapes(shapes, needs) => recognise::recognise(text)
                .filter(|stamp| shapes.contains(&stamp.shape))
                .filter(|stamp| *needs == Needs::Nothing || stamp.zone != ZoneText::None),
            Self::Format(format) => format.read(text),
        };
        let stamp = stamp.ok_or(NO_FORMAT_FITS)?;
        stamp.resolve(zone, read_at).map(|nanos| Read::Stamp(stamp, nanos))
    }
}

/// What a text was: a date and a time of day, or a number. Both with the nanoseconds that it stands for.
enum Read<'a> {
    Stamp(Stamp<'a>, i128),
    Number(i128),
}

fn auto<'a>(text: &'a [u8], zone: &mut Zone, read_at: i128) -> Result<Read<'a>, &'static str> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Dates that are written without signs have 14 or 17 digits, or no more than 8; other numbers of so many count something.
    let packed = matches!(digits, 14 | 17);
    if digits >= 9 && !packed {
        return number(epoch::by_size(text));
    }
    let Some(stamp) = recognise::recognise(text) else { return number(epoch::by_size(text)) };
    match stamp.resolve(zone, read_at) {
        Ok(nanos) => Ok(Read::Stamp(stamp, nanos)),
        Err(_) if packed => number(epoch::by_size(text)),
        Err(reason) => Err(reason),
    }
}

/// A time that can be written.
fn number(nanos: Option<i128>) -> Result<Read<'static>, &'static str> {
    let nanos = nanos.ok_or(NO_FORMAT_FITS)?;
    civil::is_within(nanos).then_some(Read::Number(nanos)).ok_or(stamp::OUT_OF_RANGE)
}

fn unknown(format: &str) -> TimesError {
    let nearest = NAMES
        .iter()
        .map(|(name, _)| (strsim::jaro_winkler(format, name), *name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .map(|(_, name)| format!("is `{name}` meant? "));
    TimesError::UnknownFormat { format: format.to_owned(), nearest: nearest.unwrap_or_default() }
}
