//! RFC 3164, which describes what programs did, and what they do since: `Oct 11 22:14:15 host program[7]: message` behind a priority or without one.
//! The timestamp may be one of ISO 8601 and may have a year; behind a priority it may be missing. The hostname may be missing (as on `/dev/log`), and
//! the tag, too.

use memchr::memchr;

use crate::event::{Event, Value};
use crate::parse::scan::Scan;
use crate::parse::stamp;
use crate::parse::types;

/// Appends the fields of what is behind a priority, or of a whole line if it has none.
pub fn parse<'a>(text: &'a str, prioritised: bool, event: &mut Event<'a>) -> Result<(), &'static str> {
    // Cisco's devices mark a clock that is not set by an asterisk or a dot.
    let starred = text.strip_prefix(['*', '.']).filter(|text| stamp::bsd(text).is_some());
    let mut scan = Scan::new(starred.unwrap_or(text));
    let len = stamp::bsd(scan.rest()).or_else(|| stamp::iso(scan.rest()));
    let ends = |len: usize| matches!(scan.rest().as_bytes().get(len), None | Some(b' ' | b':'));
    if let Some(len) = len.filter(|&len| ends(len)) {
        event.push(super::TIME, Value::text(scan.take(len)));
        scan.eat(":");
        scan.skip(|b| b == b' ');
        hostname(&mut scan, event);
    } else if !prioritised {
        return Err("no timestamp at the start");
    }
    if let Some(tag) = Tag::read(scan.rest()) {
        event.push("appname", Value::text(tag.name));
        if !tag.pid.is_empty() {
            event.push("procid", types::id(tag.pid));
        }
        scan = Scan::new(tag.rest);
    }
    if !scan.is_done() {
        event.push("message", Value::text(scan.rest()));
    }
    Ok(())
}

/// Reads the hostname, unless the tag stands in its place.
fn hostname<'a>(scan: &mut Scan<'a>, event: &mut Event<'a>) {
    let start = *scan;
    let word = scan.word();
    // Of two tags the first is a host: Cisco's devices put a colon behind it, and a percent sign before the second.
    let name = match (Tag::read(start.rest()), word.strip_suffix(':')) {
        (None, _) => word,
        (Some(_), Some(name)) if scan.rest().starts_with('%') && Tag::read(scan.rest()).is_some() => name,
        _ => "",
    };
    if name.is_empty()
        || scan.is_done() && !start.rest().ends_with(' ')
        || start.rest().starts_with("last message repeated ")
    {
        *scan = start;
        return;
    }
    if name != "-" {
        event.push("hostname", Value::text(name));
    }
    scan.eat(": ");
}

/// The name of a program in front of a message: `name:`, `name[pid]:` or `name[pid]`.
struct Tag<'a> {
    name: &'a str,
    pid: &'a str,
    /// The message.
    rest: &'a str,
}

impl<'a> Tag<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let word = text.get(..memchr(b' ', text.as_bytes()).unwrap_or(text.len()))?;
        let (name, pid, rest) = match word.split_once('[').and_then(|(name, rest)| Some((name, rest.split_once(']')?)))
        {
            Some((name, (pid, behind))) => {
                let rest = text.get(word.len() - behind.len()..)?;
                match rest.strip_prefix(':') {
                    Some(rest) => (name, pid, rest),
                    // Without a colon it could be anything in brackets, but for a number.
                    None if behind.is_empty() && types::is_count(pid) => (name, pid, rest),
                    None => return None,
                }
            }
            None => (word.strip_suffix(':')?, "", text.get(word.len()..)?),
        };
        (!name.is_empty()).then(|| Self { name, pid, rest: rest.strip_prefix(' ').unwrap_or(rest) })
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::syslog::{Format, Syslog};
    use crate::parse::testing::outcome;

    fn parsed(line: &str) -> String {
        outcome(line, |line, event| Syslog { format: Format::Rfc3164, ..Syslog::default() }.parse(line, event))
    }

    #[test]
    fn lines_in_files_of_daemons() {
        let cases = [
            (
                "Mar 27 13:06:56 ip-10-77-20-248 sshd[1291]: Server listening on :: port 22.",
                r#"{"timestamp":"Mar 27 13:06:56","hostname":"ip-10-77-20-248","appname":"sshd","procid":1291,"message":"Server listening on :: port 22."}"#,
            ),
            (
                "Mar 27 13:09:37 h sudo:   ubuntu : TTY=pts/0 ",
                r#"{"timestamp":"Mar 27 13:09:37","hostname":"h","appname":"sudo","message":"  ubuntu : TTY=pts/0 "}"#,
            ),
            (
                "Sep 8 07:46:30 h kernel: [5.08] x: y",
                r#"{"timestamp":"Sep 8 07:46:30","hostname":"h","appname":"kernel","message":"[5.08] x: y"}"#,
            ),
            (
                "Oct 25 04:24:59 test postfix/smtpd[22244]:disconnect",
                r#"{"timestamp":"Oct 25 04:24:59","hostname":"test","appname":"postfix/smtpd","procid":22244,"message":"disconnect"}"#,
            ),
            (
                "Feb 28 12:00:00 192.168.0.1 fluentd[11111] [error] Syslog test",
                r#"{"timestamp":"Feb 28 12:00:00","hostname":"192.168.0.1","appname":"fluentd","procid":11111,"message":"[error] Syslog test"}"#,
            ),
            (
                "2024-05-01 10:00:00.5 h a[x-1]: m",
                r#"{"timestamp":"2024-05-01 10:00:00.5","hostname":"h","appname":"a","procid":"x-1","message":"m"}"#,
            ),
            (
                "Jul  1 09:00:55 authorMacBook-Pro last message repeated 2 times",
                r#"{"timestamp":"Jul  1 09:00:55","hostname":"authorMacBook-Pro","message":"last message repeated 2 times"}"#,
            ),
            ("Jan  1 00:00:00 h", r#"{"timestamp":"Jan  1 00:00:00","message":"h"}"#),
            ("Jan  1 00:00:00 h ", r#"{"timestamp":"Jan  1 00:00:00","hostname":"h"}"#),
            ("Jan  1 00:00:00", r#"{"timestamp":"Jan  1 00:00:00"}"#),
        ];
        for (line, want) in cases {
            assert_eq!(parsed(line), want);
        }
    }

    #[test]
    fn what_may_be_missing_and_what_devices_add() {
        let head = r#"{"facility":"local0","severity":"notice","#;
        let cases = [
            (
                "<133>Jun 13 16:33:35 haproxy[73411]: Proxy started.",
                r#""timestamp":"Jun 13 16:33:35","appname":"haproxy","procid":73411,"message":"Proxy started."}"#,
            ),
            (
                "<133>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
                r#""timestamp":"Feb  5 17:32:18","hostname":"10.0.0.99","message":"Use the BFG!"}"#,
            ),
            (
                "<133>Jan  1 00:00:00 last message repeated 2 times",
                r#""timestamp":"Jan  1 00:00:00","message":"last message repeated 2 times"}"#,
            ),
            ("<133>su: 'su root' failed", r#""appname":"su","message":"'su root' failed"}"#),
            ("<133>Oct 11 it rained", r#""message":"Oct 11 it rained"}"#),
            (
                "<133>*May 18 2020 09:04:02 UTC: fw: %ASA-6-302013: Built",
                r#""timestamp":"May 18 2020 09:04:02 UTC","hostname":"fw","appname":"%ASA-6-302013","message":"Built"}"#,
            ),
            (
                "<133>May 18 2020 09:04:02 fw : %ASA-6-302013: Built",
                r#""timestamp":"May 18 2020 09:04:02","hostname":"fw","appname":"%ASA-6-302013","message":"Built"}"#,
            ),
            ("<133>Jan  1 00:00:00 - a: b", r#""timestamp":"Jan  1 00:00:00","appname":"a","message":"b"}"#),
        ];
        for (line, want) in cases {
            assert_eq!(parsed(line), format!("{head}{want}"));
        }
    }
}
