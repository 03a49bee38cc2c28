//! How severe an event is, from the many words and numbers that loggers have for it, to six words. The words and their numbers are those of OpenTelemetry's
//! logs. It reads a value and changes no event.
//!
//! | word | numbers | what is read as it |
//! |---|---|---|
//! | `trace` | 1-4 | trace, verbose, finest, Android's V |
//! | `debug` | 5-8 | debug, fine, finer, config, D |
//! | `info` | 9-12 | info, notice (10), log, I |
//! | `warn` | 13-16 | warn, warning, deprecation, W |
//! | `error` | 17-20 | error, severe, fail, crit (18), alert (19), dpanic (18), panic (19), E |
//! | `fatal` | 21-24 | fatal, critical, emergency, assert, F |
//!
//! `crit` is syslog's word, and there two others are above it; `critical` is the highest of Python and .NET.

use std::fmt;

use crate::event::Value;

/// The longest spelling, with room for what is around it.
const MAX_LEN: usize = 24;

/// How severe an event is: a number from 1 to 24, as OpenTelemetry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

/// What a level that is a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// 10 is trace, and then by tens up to 60, fatal: pino and bunyan. What is between two belongs to the lower one.
    #[default]
    Tens,
    /// 0 is the most severe, and 7 is debug: syslog and journald.
    Syslog,
    /// 1 to 24: OpenTelemetry.
    Otel,
}

impl Level {
    /// The finest.
    pub const TRACE: Self = Self(1);
    /// For whoever looks for mistakes.
    pub const DEBUG: Self = Self(5);
    /// What goes on.
    pub const INFO: Self = Self(9);
    /// What goes on and is worth a look; its word is that of [`Level::INFO`].
    pub const NOTICE: Self = Self(10);
    /// What may become an error.
    pub const WARN: Self = Self(13);
    /// What went wrong.
    pub const ERROR: Self = Self(17);
    /// What went wrong and is syslog's `crit`; its word is that of [`Level::ERROR`].
    pub const CRITICAL: Self = Self(18);
    /// What somebody has to act on, syslog's `alert`; its word is that of [`Level::ERROR`].
    pub const ALERT: Self = Self(19);
    /// What ended a program.
    pub const FATAL: Self = Self(21);

    /// The word.
    pub const fn name(self) -> &'static str {
        match self.0 {
            ..5 => "trace",
            5..9 => "debug",
            9..13 => "info",
            13..17 => "warn",
            17..21 => "error",
            21.. => "fatal",
        }
    }

    /// OpenTelemetry's number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The level that a field says; nothing if it says none.
    pub fn of(value: &Value<'_>, numbers: Numbers) -> Option<Self> {
        match value {
            Value::Text(text) => Self::read(text, numbers),
            Value::Number(number) => Self::of_number(*number, numbers),
            Value::Bool(_) => None,
            Value::Raw(_) | Value::Json(_) => match value.string() {
                Some(text) => Self::read(&text, numbers),
                None => {
                    Self::read(value.json().filter(|json| json.starts_with(|c: char| c.is_ascii_digit()))?, numbers)
                }
            },
        }
    }

    /// The level that a text says, in whatever case, also in brackets or in a terminal's colours.
    pub fn read(text: &str, numbers: Numbers) -> Option<Self> {
        let text = bare(text.as_bytes());
        if text.first()?.is_ascii_digit() {
            let number = text
                .iter()
                .take(9)
                .try_fold(0, |number: u64, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')));
            return number.filter(|_| text.len() < 9).and_then(|number| Self::of_number(number, numbers));
        }
        let mut lower = [0; MAX_LEN];
        let lower = lower.get_mut(..text.len())?;
        lower.copy_from_slice(text);
        lower.make_ascii_lowercase();
        let lower: &[u8] = lower;
        // `LogLevel.Error`, `daemon.err`, `LOG_ERR`.
        let word = lower.rsplit(|byte| *byte == b'.').next()?;
        let word = word.strip_prefix(b"log_").unwrap_or(word);
        word_of(word).or_else(|| stepped(word))
    }

    /// The level that a number says.
    pub fn of_number(number: u64, numbers: Numbers) -> Option<Self> {
        let at = usize::try_from(number).ok()?;
        match numbers {
            Numbers::Tens => TENS.get((at / 10).checked_sub(1)?).copied(),
            Numbers::Syslog => SYSLOG.get(at).copied(),
            Numbers::Otel => (1..=24).contains(&number).then(|| u8::try_from(number).ok().map(Self))?,
        }
    }
}

/// What pino and bunyan have from 10 on.
const TENS: [Level; 6] = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR, Level::FATAL];
/// What syslog has from 0 on.
const SYSLOG: [Level; 8] =
    [Level::FATAL, Level::ALERT, Level::CRITICAL, Level::ERROR, Level::WARN, Level::NOTICE, Level::INFO, Level::DEBUG];

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text without what people and terminals put around it.
fn bare(text: &[u8]) -> &[u8] {
    let mut text = text;
    loop {
        text = match text {
            [b' ' | b'\t' | b'[' | b'<' | b'(' | b'{' | b'"' | b'\'', rest @ ..]
            | [rest @ .., b' ' | b'\t' | b']' | b'>' | b')' | b'}' | b'"' | b'\'' | b':' | b',' | b'|'] => rest,
            [b'\x1b', b'[', rest @ ..] => after_colour(rest),
            // Where a colour ends is the last one.
            [rest @ .., b'm'] if colour_at_end(rest).is_some() => colour_at_end(rest).unwrap_or_default(),
            _ => return text,
        }
    }
}

fn after_colour(text: &[u8]) -> &[u8] {
    let codes = text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    match text.get(codes..) {
        Some([b'm', rest @ ..]) => rest,
        _ => text,
    }
}

fn colour_at_end(text: &[u8]) -> Option<&[u8]> {
    let codes = text.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    text.get(..text.len() - codes)?.strip_suffix(b"\x1b[")
}

fn word_of(word: &[u8]) -> Option<Level> {
    Some(match word {
        // Redis has signs for debug, notice and warning. Its `-` stands for nothing elsewhere.
        b"trace" | b"trc" | b"trce" | b"t" | b"verbose" | b"vrb" | b"verb" | b"v" | b"finest" | b"silly" => {
            Level::TRACE
        }
        b"debug" | b"debugging" | b"dbg" | b"dbug" | b"deb" | b"d" | b"finer" | b"." => Level::DEBUG,
        b"debug1" | b"debug2" | b"debug3" | b"debug4" | b"debug5" | b"d1" | b"d2" | b"d3" | b"d4" | b"d5" => {
            Level::DEBUG
        }
        b"fine" => Level(6),
        b"config" | b"conf" => Level(7),
        b"info" | b"information" | b"informational" | b"inf" | b"i" | b"normal" | b"success" | b"http"
        // PostgreSQL's own, and what it adds to others.
        | b"log" | b"statement" | b"detail" | b"hint" | b"context" | b"query" | b"location" | b"system" => Level::INFO,
        b"notice" | b"note" | b"notification" | b"n" | b"*" => Level::NOTICE,
        b"warn" | b"warning" | b"wrn" | b"w" | b"#" | b"deprecation" | b"deprecated" => Level::WARN,
        b"error" | b"err" | b"eror" | b"e" | b"fail" | b"failure" | b"failed" | b"severe" | b"exception" => {
            Level::ERROR
        }
        b"crit" | b"dpanic" => Level::CRITICAL,
        // Zap's panic and PostgreSQL's are not the same, and neither ends more than one program.
        b"alert" | b"panic" => Level::ALERT,
        b"fatal" | b"ftl" | b"f" | b"critical" | b"crt" | b"c" | b"emerg" | b"emergency" | b"assert" | b"a"
        | b"wtf" => Level::FATAL,
        b"trace2" => Level(2),
        b"trace3" => Level(3),
        b"trace4" => Level(4),
        b"info2" => Level(10),
        b"info3" => Level(11),
        b"info4" => Level(12),
        b"warn2" => Level(14),
        b"warn3" => Level(15),
        b"warn4" => Level(16),
        b"error2" => Level(18),
        b"error3" => Level(19),
        b"error4" => Level(20),
        b"fatal2" => Level(22),
        b"fatal3" => Level(23),
        b"fatal4" => Level(24),
        _ => return None,
    })
}

/// Go's `slog` counts from the nearest below: `INFO+2`, `DEBUG-4`. Its steps are those of OpenTelemetry.
fn stepped(word: &[u8]) -> Option<Level> {
    let at = word.iter().position(|byte| matches!(byte, b'+' | b'-'))?;
    let (base, step) = word.split_at_checked(at)?;
    let (up, digits) = match step {
        [b'+', digits @ ..] => (true, digits),
        [b'-', digits @ ..] => (false, digits),
        _ => return None,
    };
    if !(1..=2).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let base = [("debug", Level::DEBUG), ("info", Level::INFO), ("warn", Level::WARN), ("error", Level::ERROR)]
        .into_iter()
        .find(|(name, _)| name.as_bytes() == base)
        .map(|(_, level)| level.0)?;
    let step = digits.iter().fold(0_u8, |step, digit| step * 10 + (digit - b'0'));
    Some(Level(if up { base.saturating_add(step).min(24) } else { base.saturating_sub(step).max(1) }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<(&'static str, u8)> {
        Level::read(text, Numbers::Tens).map(|level| (level.name(), level.number()))
    }

    #[test]
    fn loggers_words_are_known() {
        for (want, number, words) in [
            ("trace", 1, "trace TRACE Trace trc TRCE T VERBOSE v FINEST 10 15"),
            ("debug", 5, "debug DEBUG dbg DBUG D Finer DEBUG1 debug5 20 D2 LogLevel.Debug LOG_DEBUG"),
            ("debug", 6, "FINE DEBUG+1"),
            ("debug", 7, "CONFIG"),
            ("info", 9, "info INFO Information informational inf I LOG STATEMENT Normal 30 [info] info: <info> INFO+0"),
            ("info", 10, "notice NOTICE Note N INFO2 info+1"),
            ("warn", 13, "warn WARN Warning WRN W deprecation 40 [Warning] user.warning"),
            ("error", 17, "error ERROR Err E ERR fail SEVERE 50 (ERROR) daemon.err LOG_ERR LogLevel.Error"),
            ("error", 18, "crit CRIT dpanic ERROR2 error+1"),
            ("error", 19, "alert ALERT panic PANIC"),
            ("fatal", 21, "fatal FATAL ftl F CRITICAL Critical emerg EMERGENCY A assert 60 error+4"),
            ("fatal", 24, "fatal4 error+99"),
            ("trace", 1, "debug-4 DEBUG-9"),
        ] {
            for word in words.split(' ') {
                assert_eq!(read(word), Some((want, number)), "{word}");
            }
        }
        for (text, want) in [
            ("\x1b[32minfo\x1b[39m", "info"),
            ("\x1b[1;31m[ERROR]\x1b[0m", "error"),
            (" \"warn\" ", "warn"),
            ("WARN |", "warn"),
            ("*", "info"),
            ("#", "warn"),
        ] {
            assert_eq!(read(text).map(|(name, _)| name), Some(want), "{text:?}");
        }
        for text in [
            "",
            " ",
            "-",
            "0",
            "5",
            "70",
            "notset",
            "off",
            "all",
            "x",
            "in",
            "infos",
            "information about something",
            "error: no such file",
            "30x",
            "999999999999999999999999",
            "info+",
            "info+x",
            "info+100",
            "\x1b[",
            "\x1b[31m",
            "m",
            "é",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn numbers_are_what_the_caller_says_they_are() {
        let syslog = |number| Level::of_number(number, Numbers::Syslog).map(|level| (level.name(), level.number()));
        let want = [
            ("fatal", 21),
            ("error", 19),
            ("error", 18),
            ("error", 17),
            ("warn", 13),
            ("info", 10),
            ("info", 9),
            ("debug", 5),
        ];
        for (number, want) in (0..).zip(want) {
            assert_eq!(syslog(number), Some(want));
        }
        assert_eq!(syslog(8), None);
        assert_eq!(Level::of(&Value::Number(3), Numbers::Syslog), Some(Level::ERROR));
        assert_eq!(Level::of(&Value::Raw("3"), Numbers::Syslog), Some(Level::ERROR));
        assert_eq!(Level::of(&Value::Raw("\"3\""), Numbers::Syslog), Some(Level::ERROR));
        assert_eq!(Level::of(&Value::Raw("\"\\u0077arn\""), Numbers::Syslog), Some(Level::WARN));
        assert_eq!(Level::of(&Value::Number(17), Numbers::Otel), Some(Level::ERROR));
        assert_eq!(Level::of_number(25, Numbers::Otel), None);
        for value in [
            Value::Bool(true),
            Value::NULL,
            Value::Raw("{}"),
            Value::Raw("[30]"),
            Value::Raw("-30"),
            Value::Raw("30.5"),
        ] {
            assert_eq!(Level::of(&value, Numbers::Tens), None, "{value:?}");
        }
    }

    #[test]
    fn levels_are_ordered_and_have_their_words() {
        let levels = [
            Level::TRACE,
            Level::DEBUG,
            Level::INFO,
            Level::NOTICE,
            Level::WARN,
            Level::ERROR,
            Level::CRITICAL,
            Level::ALERT,
            Level::FATAL,
        ];
        assert!(levels.is_sorted());
        for level in levels {
            assert_eq!(Level::read(level.name(), Numbers::Tens).map(Level::name), Some(level.name()));
            assert_eq!(level.to_string(), level.name());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(\x1b\\[[0-9;]{0,4}m?)?[\\[<(]?.{0,30}(m|\\]|:)?") {
            for numbers in [Numbers::Tens, Numbers::Syslog, Numbers::Otel] {
                if let Some(level) = Level::read(&text, numbers) {
                    prop_assert!((1..=24).contains(&level.number()));
                }
            }
        }
    }
}
