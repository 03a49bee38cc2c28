//! Whether a line begins as loggers begin theirs: with a time or a level. What follows such a line may belong to it.

/// The levels that stand at the beginning of a line, or in brackets there.
const LEVELS: [&[u8]; 20] = [
    b"TRACE",
    b"DEBUG",
    b"INFO",
    b"NOTICE",
    b"WARN",
    b"WARNING",
    b"ERROR",
    b"FATAL",
    b"CRITICAL",
    b"SEVERE",
    b"ALERT",
    b"EMERGENCY",
    b"CONFIG",
    b"FINE",
    b"FINER",
    b"FINEST",
    b"ERR",
    b"CRIT",
    b"PANIC",
    b"VERBOSE",
];
/// The levels of .NET's console logger.
const CONSOLE_LEVELS: [&[u8]; 6] = [b"trce: ", b"dbug: ", b"info: ", b"warn: ", b"fail: ", b"crit: "];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
/// The longest thread name in brackets before a level.
const MAX_THREAD_BYTES: usize = 64;

/// What kind of header a line begins with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// A time or a level.
    #[default]
    Plain,
    /// `Jan 02, 2026 ...`, as java.util.logging writes it: the level and the message are in the next line.
    JavaUtil,
    /// `fail: Category[0]`, as .NET's console logger writes it: the message is in the next lines, indented.
    Console,
}

/// The header that a line begins with, if it does with one.
pub fn of(line: &[u8]) -> Option<Header> {
    match line.first()? {
        b'0'..=b'9' => is_time(line).then_some(Header::Plain),
        b'[' => in_brackets(&line[1..]).then_some(Header::Plain),
        b'A'..=b'Z' => capital(line),
        b'c' | b'd' | b'f' | b'i' | b't' | b'w' => {
            CONSOLE_LEVELS.iter().any(|level| line.starts_with(level)).then_some(Header::Console)
        }
        _ => None,
    }
}

fn capital(line: &[u8]) -> Option<Header> {
    let word = line.get(..3).unwrap_or_default();
    let after = |n: usize| line.get(n).copied().unwrap_or_default();
    if MONTHS.contains(&word) && after(3) == b' ' && (after(4).is_ascii_digit() || after(4) == b' ') {
        let java_util = line.get(6) == Some(&b',') && line.get(8).is_some_and(u8::is_ascii_digit);
        return Some(if java_util { Header::JavaUtil } else { Header::Plain });
    }
    let is_day = DAYS.contains(&word) && matches!(after(3), b' ' | b',');
    // `E0102 10:11:12.345678 1 file.go:3]`, and `E, [2026-01-02T10:11:12.345678 #1] ERROR -- : `.
    let is_klog = line.get(1..5).is_some_and(|d| d.iter().all(u8::is_ascii_digit)) && after(5) == b' ';
    let is_ruby = line.get(1..4) == Some(b", [");
    (is_day || is_klog || is_ruby || is_level(line)).then_some(Header::Plain)
}

fn in_brackets(line: &[u8]) -> bool {
    if is_time(line) || is_level(line) || capital(line).is_some() {
        return true;
    }
    // `[main] ERROR ...`
    let name = memchr::memchr(b']', &line[..line.len().min(MAX_THREAD_BYTES)]);
    name.is_some_and(|end| line.get(end + 1) == Some(&b' ') && is_level(&line[end + 2..]))
}

/// `2026-01-02`, `2026/01/02`, `02/Jan/2026`, `02.01.2026`, `10:11:12`, `20260102 `, or seconds since 1970.
fn is_time(line: &[u8]) -> bool {
    let digits = line.iter().take_while(|b| b.is_ascii_digit()).count();
    let next = line.get(digits).copied().unwrap_or_default();
    let then = line.get(digits + 1).copied().unwrap_or_default();
    match digits {
        1 => next == b'/' && then.is_ascii_digit(),
        2 => matches!(next, b':' | b'/' | b'-' | b'.') && then.is_ascii_alphanumeric(),
        4 => matches!(next, b'-' | b'/' | b'.') && then.is_ascii_digit(),
        8 => matches!(next, b' ' | b'T'),
        10 | 13 => matches!(next, b' ' | b'.'),
        _ => false,
    }
}

fn is_level(line: &[u8]) -> bool {
    let ends = |rest: &[u8]| rest.first().is_none_or(|b| b" :[]|,\t-/".contains(b));
    LEVELS.iter().any(|level| line.strip_prefix(*level).is_some_and(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_loggers_begin_with_a_header() {
        for line in [
            "2026-01-02 10:11:12,345 ERROR [main] c.a.Foo - text",
            "2026/01/02 10:11:12 http: panic serving",
            "02-Jan-2026 10:11:12.345 SEVERE [main] text",
            "10:11:12.345 [main] ERROR c.a.Foo - text",
            "[2026-01-02T10:11:12Z] text",
            "[02-Jan-2026 10:11:12 UTC] PHP Fatal error:  Uncaught",
            "[main] ERROR com.acme.Foo - text",
            "[ERROR] text",
            "ERROR:root:text",
            "Jan  2 10:11:12 host app[1]: text",
            "Fri, 02 Jan 2026 text",
            "E0102 10:11:12.345678       1 file.go:3] text",
            "E, [2026-01-02T10:11:12.345678 #1] ERROR -- : text",
            "20260102 10:11:12 text",
            "1767348672.345 text",
        ] {
            assert_eq!(of(line.as_bytes()), Some(Header::Plain), "{line}");
        }
        assert_eq!(of(b"Jul 09, 2015 3:23:29 PM com.acme.Foo bar"), Some(Header::JavaUtil));
        assert_eq!(of(b"fail: Acme.Foo[13]"), Some(Header::Console));
    }

    #[test]
    fn other_lines_do_not() {
        for line in [
            "",
            "{\"a\":1}",
            "text",
            "Error: x",
            "ERRORS",
            "12 apples",
            "at x",
            "Maybe",
            "Monday",
            "[x] y",
            "information",
            "E12",
        ] {
            assert_eq!(of(line.as_bytes()), None, "{line}");
        }
    }
}
