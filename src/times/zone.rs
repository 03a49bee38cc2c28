//! What a time's zone means in seconds: offsets, the abbreviations that logs have, and the zones of the IANA database, which is part of the program.
//!
//! A time that a zone's clocks skipped is read with the offset before the gap: half past two, on a night that goes from two to three, is half past
//! three. Of a time that they showed twice, the first is meant.

use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Timestamp, civil::DateTime};

use super::TimesError;

/// So long no two changes of a zone's clocks are apart: rules are looked up once for each quarter of an hour.
const QUARTER: i64 = 900;
/// How near a name has to be for it to be proposed.
const LIKE: f64 = 0.8;

/// The zone of times that name none.
#[derive(Debug, Clone)]
pub(super) enum Zone {
    Fixed(i32),
    Rules(Rules),
}

/// A zone of the database, and what was last asked of it.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    zone: TimeZone,
    /// The quarter of an hour, by the zone's own clocks, that the offset holds for.
    quarter: i64,
    offset: i32,
}

/// Abbreviations that logs have, and minutes east of Greenwich. The last says whether others mean another zone by it; then the configured zone
/// decides if it has that abbreviation, and what stands here holds otherwise.
const NAMES: [(&str, i32, bool); 56] = [
    ("UTC", 0, false),
    ("GMT", 0, false),
    ("UT", 0, false),
    ("CET", 60, false),
    ("CEST", 120, false),
    ("EST", -300, true), // North America; Queensland in older databases
    ("EDT", -240, false),
    ("CST", -360, true), // North America; China, Cuba
    ("CDT", -300, true), // North America; Cuba
    ("MST", -420, true), // North America; Malaysia, Myanmar
    ("MDT", -360, false),
    ("PST", -480, true), // North America; the Philippines
    ("PDT", -420, true), // North America; the Philippines
    ("AKST", -540, false),
    ("AKDT", -480, false),
    ("HST", -600, false),
    ("HDT", -540, false),
    ("AST", -240, true), // Atlantic; Arabia
    ("ADT", -180, true), // Atlantic; Arabia
    ("NST", -210, false),
    ("NDT", -150, false),
    ("WET", 0, false),
    ("WEST", 60, false),
    ("BST", 60, true),  // Britain; Bangladesh, Bougainville
    ("IST", 330, true), // India; Ireland, Israel
    ("IDT", 180, false),
    ("MET", 60, false),
    ("MEST", 120, false),
    ("EET", 120, false),
    ("EEST", 180, false),
    ("MSK", 180, false),
    ("MSD", 240, false),
    ("TRT", 180, false),
    ("SAST", 120, false),
    ("CAT", 120, false),
    ("EAT", 180, false),
    ("WAT", 60, false),
    ("GST", 240, true), // the Gulf; Guam
    ("PKT", 300, false),
    ("NPT", 345, false),
    ("WIB", 420, false),
    ("ICT", 420, false),
    ("HKT", 480, false),
    ("SGT", 480, false),
    ("PHT", 480, false),
    ("AWST", 480, false),
    ("JST", 540, false),
    ("KST", 540, false),
    ("ACST", 570, false),
    ("ACDT", 630, false),
    ("AEST", 600, false),
    ("AEDT", 660, false),
    ("NZST", 720, false),
    ("NZDT", 780, false),
    ("BRT", -180, false),
    ("ART", -180, false),
];

impl Zone {
    /// A zone as it is written: `UTC`, `+02:00`, `Europe/Paris`, or `local` for that of the agent.
    pub(super) fn parse(text: &str) -> Result<Self, TimesError> {
        let name = text.trim();
        if ["utc", "z", "gmt"].iter().any(|utc| name.eq_ignore_ascii_case(utc)) {
            return Ok(Self::Fixed(0));
        }
        if let Some((offset, [])) = offset(name.as_bytes()) {
            return Ok(Self::Fixed(offset));
        }
        let zone = if name.eq_ignore_ascii_case("local") {
            TimeZone::try_system().ok().filter(|zone| !zone.is_unknown()).ok_or(TimesError::NoLocalZone)?
        } else {
            jiff::tz::db().get(name).map_err(|_| unknown(text))?
        };
        Ok(Self::Rules(Rules { zone, quarter: i64::MIN, offset: 0 }))
    }

    /// How far the zone's clocks are ahead when they show this second, counted as if they were those of UTC.
    pub(super) fn offset(&mut self, local: i64) -> Option<i32> {
        match self {
            Self::Fixed(offset) => Some(*offset),
            Self::Rules(rules) => rules.offset(local),
        }
    }

    /// The same for a time that names its zone by an abbreviation.
    pub(super) fn named(&self, name: &[u8], local: i64) -> Option<i32> {
        let known = NAMES.iter().find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name));
        match (known, self) {
            (Some((_, minutes, false)), _) => Some(minutes * 60),
            (_, Self::Rules(rules)) => rules.named(name, local).or(known.map(|(_, minutes, _)| minutes * 60)),
            (known, Self::Fixed(_)) => known.map(|(_, minutes, _)| minutes * 60),
        }
    }
}

impl Rules {
    fn offset(&mut self, local: i64) -> Option<i32> {
        let quarter = local.div_euclid(QUARTER);
        if quarter == self.quarter {
            return Some(self.offset);
        }
        let [from, to] = [quarter * QUARTER, quarter * QUARTER + QUARTER - 1].map(|second| self.at(second));
        if let (Some(AmbiguousOffset::Unambiguous { offset: from }), Some(AmbiguousOffset::Unambiguous { offset: to })) =
            (from, to)
            && from == to
        {
            (self.quarter, self.offset) = (quarter, from.seconds());
            return Some(self.offset);
        }
        self.at(local).map(|found| both(found).0.seconds())
    }

    /// The offset that this zone calls by that name at about that time.
    fn named(&self, name: &[u8], local: i64) -> Option<i32> {
        let (before, after) = both(self.at(local)?);
        [before, after].into_iter().map(Offset::seconds).find(|&offset| {
            let time = Timestamp::from_second(local.saturating_sub(i64::from(offset)));
            time.is_ok_and(|time| {
                let info = self.zone.to_offset_info(time);
                info.offset().seconds() == offset && info.abbreviation().as_bytes().eq_ignore_ascii_case(name)
            })
        })
    }

    fn at(&self, local: i64) -> Option<AmbiguousOffset> {
        let shown: DateTime = Offset::UTC.to_datetime(Timestamp::from_second(local).ok()?);
        Some(self.zone.to_ambiguous_timestamp(shown).offset())
    }
}

/// The offsets before and after a change; the one there is where there is no change.
fn both(found: AmbiguousOffset) -> (Offset, Offset) {
    match found {
        AmbiguousOffset::Unambiguous { offset } => (offset, offset),
        AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => (before, after),
    }
}

fn unknown(text: &str) -> TimesError {
    let like = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &text.to_lowercase());
    let nearest = jiff::tz::db()
        .available()
        .map(|name| (like(name.as_str()), name.as_str().to_owned()))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness >= LIKE);
    TimesError::UnknownZone { zone: text.to_owned(), nearest: nearest.map(|(_, name)| name) }
}

/// An offset at the beginning of a text, as `Z`, `+01:00`, `+0100`, `+01` or with seconds, and what comes after it.
pub(super) fn offset(text: &[u8]) -> Option<(i32, &[u8])> {
    let (sign, rest) = match text {
        [b'Z' | b'z', rest @ ..] => return Some((0, rest)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, mut rest) = two(rest)?;
    let mut seconds = hours * 3600;
    for unit in [60, 1] {
        let after = rest.strip_prefix(b":").unwrap_or(rest);
        let Some((value, after)) = two(after) else { break };
        if value > 59 {
            return None;
        }
        (seconds, rest) = (seconds + value * unit, after);
    }
    // No zone was ever more than 16 hours from Greenwich; jiff's limit is 25:59:59, RFC 3339's 23:59.
    (hours < 24).then_some((sign * seconds, rest))
}

fn two(text: &[u8]) -> Option<(i32, &[u8])> {
    match text {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', rest @ ..] => Some((i32::from(a - b'0') * 10 + i32::from(b - b'0'), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::times::civil::days;

    fn local(day: (i32, u32, u32), hour: i64, minute: i64) -> i64 {
        days(day.0, day.1, day.2) * 86_400 + hour * 3600 + minute * 60
    }

    #[test]
    fn zones_are_read_as_people_write_them() {
        for (text, want) in [("UTC", 0), ("z", 0), ("+02:00", 7200), ("-0730", -27_000), ("+05", 18_000), (" GMT ", 0)]
        {
            assert!(matches!(Zone::parse(text), Ok(Zone::Fixed(offset)) if offset == want), "{text}");
        }
        assert!(matches!(Zone::parse("europe/paris"), Ok(Zone::Rules(_))));
        assert_eq!(Zone::parse("Etc/GMT+3").unwrap().offset(0), Some(-10_800));
    }

    #[test]
    fn a_misspelt_zone_is_told_with_the_nearest() {
        let problem = Zone::parse("Europe/Pariss").unwrap_err().to_string();
        assert!(problem.contains("Europe/Pariss") && problem.contains("`Europe/Paris`"), "{problem}");
        for text in ["", "+25:00", "+01:60", "+1", "Nowhere", "+01:00x"] {
            assert!(Zone::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn skipped_times_keep_the_offset_before_and_doubled_ones_are_the_first() {
        let mut zone = Zone::parse("America/New_York").unwrap();
        for (day, hour, want) in [
            ((2024, 3, 10), 1, -5),
            ((2024, 3, 10), 2, -5),
            ((2024, 3, 10), 3, -4),
            ((2024, 11, 3), 0, -4),
            ((2024, 11, 3), 1, -4),
            ((2024, 11, 3), 2, -5),
        ] {
            for minute in [0, 14, 30, 59] {
                assert_eq!(zone.offset(local(day, hour, minute)), Some(want * 3600), "{day:?} {hour}:{minute}");
            }
        }
    }

    #[test]
    fn the_zone_decides_what_its_own_abbreviations_mean() {
        let summer = local((2024, 7, 1), 12, 0);
        let named = |zone: &str, name: &str, at| Zone::parse(zone).unwrap().named(name.as_bytes(), at);
        assert_eq!(named("UTC", "IST", summer), Some(19_800));
        assert_eq!(named("Asia/Jerusalem", "IST", local((2024, 1, 1), 12, 0)), Some(7200));
        assert_eq!(named("Europe/Dublin", "ist", summer), Some(3600));
        assert_eq!(named("Asia/Shanghai", "CST", summer), Some(28_800));
        assert_eq!(named("UTC", "CST", summer), Some(-21_600));
        assert_eq!(named("Pacific/Guam", "ChST", summer), Some(36_000));
        assert_eq!(named("UTC", "ChST", summer), None);
        // The hour that is there twice: the abbreviation says which.
        let twice = local((2024, 11, 3), 1, 30);
        assert_eq!(named("America/New_York", "EST", twice), Some(-18_000));
        assert_eq!(named("America/New_York", "EDT", twice), Some(-14_400));
    }

    #[test]
    fn what_is_remembered_is_what_would_be_found() {
        for name in ["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Asia/Kathmandu"]
        {
            let mut zone = Zone::parse(name).unwrap();
            let rules = TimeZone::get(name).unwrap();
            let mut at = local((1975, 1, 1), 0, 0);
            while at < local((2040, 1, 1), 0, 0) {
                let shown = Offset::UTC.to_datetime(Timestamp::from_second(at).unwrap());
                let want = rules.to_ambiguous_timestamp(shown).compatible().unwrap().as_second();
                assert_eq!(zone.offset(at).map(i64::from), Some(at - want), "{name} {shown}");
                at += 1301;
                at += if at % 7 == 0 { 86_400 } else { 0 };
            }
        }
    }
}
