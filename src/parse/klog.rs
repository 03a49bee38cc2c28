//! The header that Google's loggers write: glog, its Go port, and klog, which Kubernetes uses. `Lmmdd hh:mm:ss.uuuuuu threadid file:line] message`, with
//! a year of four digits before the month in newer versions of glog. Both are taken under either name. Field names are those of Vector's
//! `parse_klog` and `parse_glog`.

use crate::event::{Event, Value};
use crate::parse::scan::Scan;
use crate::parse::stamp::{Digits, is_day, is_day_of_any_year};
use crate::parse::types::is_count;

/// The field that holds the time: `0131 14:48:54.411655` or `20210131 14:48:54.411655`, in the machine's own zone.
pub const TIME: &str = "timestamp";
/// The field that holds the level: `info`, `warning`, `error` or `fatal`.
pub const LEVEL: Option<&str> = Some("level");

/// A parser of klog and glog.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Klog;

impl Klog {
    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let mut scan = Scan::new(line);
        let level = match scan.peek() {
            Some(b'I') => "info",
            Some(b'W') => "warning",
            Some(b'E') => "error",
            Some(b'F') => "fatal",
            _ => return Err("no letter of a level at the start"),
        };
        scan.take(1);
        let len = stamp(scan.rest()).ok_or("no timestamp behind the level")?;
        let stamp = scan.take(len);
        let gap = scan.skip(|b| b == b' ');
        let id = scan.word();
        if gap.is_empty() || !is_count(id) {
            return Err("no thread ID behind the timestamp");
        }
        let place = scan.until(|b| b == b']');
        let (file, line) = place.rsplit_once(':').ok_or("no file:line behind the thread ID")?;
        if !scan.eat("]") || file.is_empty() || !is_count(line) {
            return Err("no file:line] behind the thread ID");
        }
        if !scan.is_done() && !scan.eat(" ") {
            return Err("no space behind file:line]");
        }
        event.push("level", Value::text(level));
        event.push(TIME, Value::text(stamp));
        event.push("id", Value::Raw(id));
        event.push("file", Value::text(file));
        event.push("line", Value::Raw(line));
        event.push("message", Value::text(scan.rest()));
        Ok(())
    }
}

/// The length of the timestamp that a text begins with.
fn stamp(text: &str) -> Option<usize> {
    let mut digits = Digits::new(text);
    let date = digits.number(4, 8)?;
    let (month, day) = (date / 100 % 100, date % 100);
    let exists = match digits.len() {
        4 => is_day_of_any_year(month, day),
        8 => is_day(date / 10_000, month, day),
        _ => false,
    };
    digits.any(b" ").filter(|_| exists)?;
    digits.clock(b".")?;
    Some(digits.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::testing::{outcome, refused, sound};
    use proptest::prelude::*;

    #[test]
    fn lines_of_kubernetes_and_of_glog() {
        let cases = [
            (
                "I0505 17:59:40.692994   28133 klog.go:70] hello from klog",
                r#"{"level":"info","timestamp":"0505 17:59:40.692994","id":28133,"file":"klog.go","line":70,"message":"hello from klog"}"#,
            ),
            (
                r#"E1025 00:15:15.525108       1 controller/d.go:116] "Failed [x]" err="a: b" pod="kube-system/dns""#,
                r#"{"level":"error","timestamp":"1025 00:15:15.525108","id":1,"file":"controller/d.go","line":116,"message":"\"Failed [x]\" err=\"a: b\" pod=\"kube-system/dns\""}"#,
            ),
            (
                "W20210131 14:48:54.411655 15520 main.c++:9] ",
                r#"{"level":"warning","timestamp":"20210131 14:48:54.411655","id":15520,"file":"main.c++","line":9,"message":""}"#,
            ),
            (
                "F0229 00:00:00.000001 1 ???:1]",
                r#"{"level":"fatal","timestamp":"0229 00:00:00.000001","id":1,"file":"???","line":1,"message":""}"#,
            ),
        ];
        for (line, want) in cases {
            assert_eq!(outcome(line, |line, event| Klog.parse(line, event)), want);
        }
    }

    #[test]
    fn what_is_not_klog_is_refused() {
        for (line, why) in [
            ("", "no letter of a level at the start"),
            ("not a klog line", "no letter of a level at the start"),
            ("Invalid request", "no timestamp behind the level"),
            ("I0000 17:59:40.692994 1 k.go:70] x", "no timestamp behind the level"),
            ("I20210229 17:59:40.692994 1 k.go:70] x", "no timestamp behind the level"),
            ("I050505 17:59:40.692994 1 k.go:70] x", "no timestamp behind the level"),
            ("I0505 17:59:40.692994 99999999999999999999999999999 k.go:7] x", "no thread ID behind the timestamp"),
            ("I0505 17:59:40.692994 x k.go:7] x", "no thread ID behind the timestamp"),
            ("I0505 17:59:40.692994 1 k.go] x", "no file:line behind the thread ID"),
            ("I0505 17:59:40.692994 1 k.go:7 x", "no file:line] behind the thread ID"),
            ("I0505 17:59:40.692994 1 k.go:7]x", "no space behind file:line]"),
        ] {
            assert_eq!(refused(line, |line, event| Klog.parse(line, event)), why, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(
            line in "(?s)[IWEFx]([0-9]{4}|[0-9]{8}) 1[0-9]:[0-6][0-9]:[0-5][0-9]\\.[0-9]{0,10} {0,3}[0-9a]{0,3} [a-z:\\]]{0,5}:[0-9]{1,3}\\]( .{0,9}|.{0,9})",
            noise in "(?s).{0,30}",
        ) {
            sound(&line, |line, event| Klog.parse(line, event))?;
            sound(&noise, |line, event| Klog.parse(line, event))?;
        }
    }
}
