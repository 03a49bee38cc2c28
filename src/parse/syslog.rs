//! syslog: RFC 5424, RFC 3164 and what programs make of it, told apart by what a line looks like. The priority in front may be missing, as it is in
//! the files that syslog daemons write.
//!
//! Field names and the names of facilities and severities are those of Vector's `parse_syslog`; structured data is under `structured_data`, an object
//! for each element, so that no element takes the place of another field. What is absent in a line (`-` in RFC 5424) is absent in the event.

use memchr::memchr;

use crate::event::{Event, Value};

pub mod rfc3164;
pub mod rfc5424;

/// The field that holds the time, as it stands in the line.
pub const TIME: &str = "timestamp";
/// The field that holds the level: the names of [`SEVERITIES`], of lines that have a priority.
pub const LEVEL: Option<&str> = Some("severity");

/// The names of severities, by their numbers.
pub const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The names of facilities, by their numbers.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clockd", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// Which of the formats lines may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Whichever a line looks like.
    #[default]
    Auto,
    /// RFC 3164, and its variants.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
}

/// A parser of syslog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syslog {
    /// Which of the formats lines may have.
    pub format: Format,
    /// Whether a message of RFC 5424 that is marked as UTF-8 (by a BOM) is refused if it is not, as the RFC demands. Such lines are mostly cut within
    /// a character by a sender with a limit, so they are taken unless this is asked for.
    pub compliant_message: bool,
}

impl Syslog {
    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let (prioritised, rest) = priority(line, event)?;
        let from = event.len();
        match self.format {
            Format::Rfc3164 => rfc3164::parse(rest, prioritised, event),
            Format::Rfc5424 if prioritised => rfc5424::parse(rest, self.compliant_message, event),
            Format::Rfc5424 => rfc5424::parse_bare(rest, self.compliant_message, event),
            Format::Auto if prioritised && rfc5424::is_version(rest) => {
                rfc5424::parse(rest, self.compliant_message, event)
            }
            Format::Auto
                if rfc5424::may_be_bare(rest) && rfc5424::parse_bare(rest, self.compliant_message, event).is_ok() =>
            {
                Ok(())
            }
            Format::Auto => {
                event.truncate(from);
                rfc3164::parse(rest, prioritised, event)
            }
        }
    }
}

/// Appends what the priority in front of a line says, if there is one, and answers what is behind it.
fn priority<'a>(line: &'a str, event: &mut Event<'a>) -> Result<(bool, &'a str), &'static str> {
    let Some(behind) = line.strip_prefix('<') else {
        return Ok((false, line));
    };
    let end = memchr(b'>', behind.as_bytes().get(..4).unwrap_or(behind.as_bytes()));
    let (digits, rest) = end.and_then(|end| behind.split_at_checked(end)).ok_or("no priority in the angle brackets")?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    let number: usize = digits.parse().ok().filter(|_| plain).ok_or("no priority in the angle brackets")?;
    let facility = FACILITIES.get(number / 8).ok_or("a priority above 191")?;
    event.push("facility", Value::text(facility));
    event.push("severity", Value::text(SEVERITIES[number % 8]));
    Ok((true, rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    fn auto(line: &str) -> String {
        outcome(line, |line, event| Syslog::default().parse(line, event))
    }

    #[test]
    fn each_line_is_read_as_what_it_looks_like() {
        let cases = [
            (
                "<13>1 2019-02-13T19:48:34+00:00 74794bfb6795 root 8449 - [empty] qwerty",
                r#"{"facility":"user","severity":"notice","version":1,"timestamp":"2019-02-13T19:48:34+00:00","hostname":"74794bfb6795","appname":"root","procid":8449,"structured_data":{"empty":{}},"message":"qwerty"}"#,
            ),
            (
                "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
                r#"{"facility":"auth","severity":"crit","timestamp":"Oct 11 22:14:15","hostname":"mymachine","appname":"su","message":"'su root' failed for lonvick on /dev/pts/8"}"#,
            ),
            (
                "2024-12-31T06:56:17.784598+01:00 mail dovecot: auth-worker(10377): unknown user",
                r#"{"timestamp":"2024-12-31T06:56:17.784598+01:00","hostname":"mail","appname":"dovecot","message":"auth-worker(10377): unknown user"}"#,
            ),
            (
                "2017-02-06T13:14:15.003Z 192.168.0.1 fluentd 11111 ID24224 [id@1 a=\"b\"] Hi: you",
                r#"{"timestamp":"2017-02-06T13:14:15.003Z","hostname":"192.168.0.1","appname":"fluentd","procid":11111,"msgid":"ID24224","structured_data":{"id@1":{"a":"b"}},"message":"Hi: you"}"#,
            ),
            (
                "2017-02-06T13:14:15.003Z db1 app the 1 - of many",
                r#"{"timestamp":"2017-02-06T13:14:15.003Z","hostname":"db1","message":"app the 1 - of many"}"#,
            ),
            ("<13>1st of all", r#"{"facility":"user","severity":"notice","message":"1st of all"}"#),
        ];
        for (line, want) in cases {
            assert_eq!(auto(line), want);
        }
    }

    #[test]
    fn priorities_are_checked() {
        for line in ["<>x", "<13", "<1a>x", "<01>x", "<00>x", "<+1>x", "<1234>x", "<é>x", "<", "<  1>"] {
            let why = refused(line, |line, event| Syslog::default().parse(line, event));
            assert_eq!(why, "no priority in the angle brackets", "{line}");
        }
        assert_eq!(refused("<192>x", |line, event| Syslog::default().parse(line, event)), "a priority above 191");
        assert!(auto("<191>x").starts_with(r#"{"facility":"local7","severity":"debug""#));
        assert!(auto("<0>x").starts_with(r#"{"facility":"kern","severity":"emerg""#));
    }

    #[test]
    fn a_version_decides_and_there_is_no_way_back() {
        let line = "<13>1 2019-02-30T19:48:34Z host app - - - x";
        assert!(refused(line, |line, event| Syslog::default().parse(line, event)).contains("timestamp"));
        let line = "not much of a syslog message";
        assert_eq!(refused(line, |line, event| Syslog::default().parse(line, event)), "no timestamp at the start");
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(
            head in "(<[0-9]{1,3}>)?(1 )?(2024-05-01T10:00:00Z|Oct  1 22:14:15|-)?( [a-z\\[\\]:0-9-]{1,5}){0,4}( \\[a( [a-c]=\"[a-z\\\\\"\\]]{0,3}\")*\\])*",
            tail in "(?s)( |\\PC|.){0,30}",
            format in prop::sample::select(vec![Format::Auto, Format::Rfc3164, Format::Rfc5424]),
        ) {
            let line = format!("{head}{tail}");
            sound(&line, |line, event| Syslog { format, ..Syslog::default() }.parse(line, event))?;
        }
    }
}
