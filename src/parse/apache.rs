//! The logs of the Apache HTTP Server. Access: the formats `common`, `combined` and `vhost_combined` of its configuration. Error: the default
//! `ErrorLogFormat` of 2.4, and what 2.2 wrote.
//!
//! <https://httpd.apache.org/docs/2.4/logs.html>, <https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>. Fields have the names that
//! the documentation and Vector give them. `request` is `method`, `path` and `protocol`. A `-` in an access log is no field. Escapes such as `\"` are
//! text.

use memchr::memmem;

use super::cursor::{self, Cursor};
use super::request;
use super::sink::{Name, Sink, name};
use crate::event::{Event, Value};

/// Access logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access;

impl Access {
    /// The field that holds the time: `10/Oct/2000:13:55:36 -0700`, or what a format puts in its brackets.
    pub const TIME: &'static str = "timestamp";

    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut impl Sink<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        let client = cursor.until(b'[').and_then(|head| head.strip_suffix(" ")).ok_or("no time in brackets")?;
        push_client(client, event).ok_or("no host, identity and user to begin with")?;
        event.put_text(name!("timestamp"), cursor.until(b']').ok_or("no bracket after the time")?);
        let request =
            cursor.eat(" ").then(|| cursor.quoted()).flatten().ok_or("no request in quotes after the time")?;
        request::push(request, event);
        let status = cursor.eat(" ").then(|| cursor.word()).filter(|word| is_count(word));
        event.put_number(name!("status"), status.ok_or("no status after the request")?);
        let size = Some(cursor.word()).filter(|word| is_count(word)).ok_or("no size after the status")?;
        event.put_number(name!("size"), size);
        push_agent(cursor, event);
        Ok(())
    }
}

/// Who asked: `host identity user`, and before it the virtual host, if a format has that. A user can have spaces; what has a `-` in the
/// second place has the identity there, and so no virtual host.
fn push_client<'a>(head: &'a str, event: &mut impl Sink<'a>) -> Option<()> {
    let (first, rest) = head.split_once(' ')?;
    let (second, rest) = rest.split_once(' ')?;
    let third = rest.split_once(' ').filter(|_| second != "-");
    let (host, identity, user) = third.map_or((first, second, rest), |(identity, user)| (second, identity, user));
    if third.is_some() {
        push_place(name!("vhost"), first, event);
    }
    event.put_text(name!("host"), host);
    event.put_text(name!("identity"), identity);
    event.put_text(name!("user"), user);
    Some(())
}

/// A name, and `port` if it is `name:port`.
fn push_place<'a>(field: Name<'a>, place: &'a str, event: &mut impl Sink<'a>) {
    match place.rsplit_once(':').and_then(|(name, port)| Some((name, cursor::digits(port)?))) {
        Some((name, port)) => {
            event.put_text(field, name);
            event.put(name!("port"), port);
        }
        None => event.put_text(field, place),
    }
}

/// Referer and user agent, if they are there; what comes after them is kept as `rest`.
fn push_agent<'a>(mut cursor: Cursor<'a>, event: &mut impl Sink<'a>) {
    for name in [name!("referer"), name!("agent")] {
        let mut ahead = cursor;
        let Some(text) = ahead.quoted().filter(|_| ahead.eat(" ") || ahead.is_done()) else { break };
        event.put_text(name, text);
        cursor = ahead;
    }
    if !cursor.is_done() {
        event.put(name!("rest"), Value::text(cursor.rest()));
    }
}

fn is_count(text: &str) -> bool {
    text == "-" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Error logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorLog;

/// The levels of `LogLevel`; `trace` has a number from 1 to 8.
const LEVELS: [&str; 9] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace"];

impl ErrorLog {
    /// The field that holds the time: `Fri Sep 09 10:42:29.902022 2011`, of no zone.
    pub const TIME: &'static str = "timestamp";
    /// The field that holds the level: `error`.
    pub const LEVEL: &'static str = "level";

    /// Appends the fields of a record, which may have several lines.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        let time = cursor.eat("[").then(|| cursor.until(b']')).flatten().ok_or("no time in brackets to begin with")?;
        event.push(Self::TIME, cursor::text(time));
        let level =
            cursor.eat(" [").then(|| cursor.until(b']')).flatten().ok_or("no level in brackets after the time")?;
        let (module, level) = level.rsplit_once(':').map_or((None, level), |(module, level)| (Some(module), level));
        let known = level.trim_end_matches(|c: char| c.is_ascii_digit());
        LEVELS.contains(&known).then_some(()).ok_or("no level that Apache has, after the time")?;
        // The core's own messages of 2.4 have a colon and no module.
        if let Some(module) = module.filter(|module| !matches!(*module, "" | "-")) {
            event.push("module", Value::text(module));
        }
        event.push(Self::LEVEL, Value::text(level));
        cursor.spaces();
        let has_pid = push_process(&mut cursor, event);
        if has_pid {
            push_origin(&mut cursor, event);
        }
        if let Some(client) = cursor.eat("[client ").then(|| cursor.until(b']')).flatten() {
            push_address(client, has_pid, event);
            cursor.spaces();
        }
        event.push("message", Value::text(cursor.rest()));
        Ok(())
    }
}

/// `[pid 24968:tid 140169861986176]`, which is there from 2.4 on.
fn push_process<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) -> bool {
    let mut ahead = *cursor;
    let Some(process) = ahead.eat("[pid ").then(|| ahead.until(b']')).flatten() else { return false };
    let (pid, tid) = process.split_once(":tid ").map_or((process, None), |(pid, tid)| (pid, Some(tid)));
    event.push("pid", cursor::number(pid));
    if let Some(tid) = tid {
        event.push("tid", cursor::number(tid));
    }
    ahead.spaces();
    *cursor = ahead;
    true
}

/// What can be before the client: where in the source it was written, `mod_authz_core.c(820): `, and an error of the system,
/// `(70008)Partial results are valid: `. The latter's end shows only where a client or a message with a number comes next.
fn push_origin<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) {
    let source = cursor.rest().split_once(": ").filter(|(source, _)| is_source(source));
    if let Some((source, rest)) = source {
        event.push("source", Value::text(source));
        *cursor = Cursor::new(rest);
    }
    let rest = cursor.rest();
    let digits = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(digits, _)| digits);
    if !digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
        return;
    }
    let ends = ["[client ", "AH0", "AH1"];
    let mut colons =
        memmem::find_iter(rest.as_bytes(), ": ").filter_map(|at| Some((rest.get(..at)?, rest.get(at + 2..)?)));
    if let Some((error, rest)) = colons.find(|(_, rest)| ends.iter().any(|end| rest.starts_with(end))) {
        event.push("error", Value::text(error));
        *cursor = Cursor::new(rest);
    }
}

/// Whether a text is such as `mod_authz_core.c(820)`.
fn is_source(text: &str) -> bool {
    let parts = text.strip_suffix(')').and_then(|text| text.split_once('('));
    parts.is_some_and(|(file, line)| {
        !file.contains(' ') && file.contains('.') && line.bytes().all(|b| b.is_ascii_digit())
    })
}

/// The client's address, and its port, which 2.4 has also after an IPv6 address.
fn push_address<'a>(client: &'a str, has_port: bool, event: &mut Event<'a>) {
    if has_port || client.bytes().filter(|b| *b == b':').count() == 1 {
        push_place(name!("client"), client, event);
    } else {
        event.push("client", cursor::text(client));
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{parsed, strange};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const LINES: &[&str] = &[
        r#"127.0.0.1 bob frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
        r#"192.168.0.1 - - [28/Feb/2013:12:00:00 +0900] "GET /\" HTTP/1.1" 200 - "referer \\ \"" "user agent \\ \"""#,
        r#"www.example.com:443 2001:db8::7 - joe doe [28/Feb/2013:12:00:00 +0900] "-" 408 - "-" "-" 123"#,
        "[Mon Aug 31 09:30:48.958285 2015] [proxy_fcgi:error] [pid 28787:tid 140169587934976] (70008)Partial results are valid but processing is incomplete: [client 203.0.113.24:59307] AH01075: Error dispatching request to : (reading input brigade), referer: http://example.com/",
        "[Wed Oct 11 14:32:52 2000] [error] [client 127.0.0.1] client denied by server configuration",
    ];

    fn access(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| Access.parse(line, event))
    }

    fn error(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| ErrorLog.parse(line, event))
    }

    #[test]
    fn common() {
        let want = json!({
            "host": "127.0.0.1", "identity": "bob", "user": "frank", "timestamp": "10/Oct/2000:13:55:36 -0700",
            "method": "GET", "path": "/apache_pb.gif", "protocol": "HTTP/1.0",
            "status": 200, "size": 2326,
        });
        assert_eq!(access(LINES[0]), Ok(want));
        let nothing = json!({"timestamp": "x"});
        assert_eq!(access(r#"- - - [x] "-" - -"#), Ok(nothing));
    }

    #[test]
    fn combined_with_quotes_in_its_quotes() {
        let got = access(LINES[1]).unwrap();
        assert_eq!(got["path"], r#"/\""#);
        assert_eq!(
            (&got["size"], &got["referer"], &got["agent"]),
            (&Json::Null, &json!(r#"referer \\ \""#), &json!(r#"user agent \\ \""#))
        );
    }

    #[test]
    fn a_virtual_host_comes_first_if_there_is_one() {
        let want = json!({
            "vhost": "www.example.com", "port": 443, "host": "2001:db8::7", "user": "joe doe",
            "timestamp": "28/Feb/2013:12:00:00 +0900", "status": 408,
            "rest": "123",
        });
        assert_eq!(access(LINES[2]), Ok(want));
        let got = access(&LINES[0].replace("bob frank", "- frank of acme")).unwrap();
        assert_eq!((&got["host"], &got["user"]), (&json!("127.0.0.1"), &json!("frank of acme")));
    }

    #[test]
    fn errors_of_2_4() {
        let want = json!({
            "timestamp": "Mon Aug 31 09:30:48.958285 2015", "module": "proxy_fcgi", "level": "error", "pid": 28787, "tid": 140_169_587_934_976_u64,
            "error": "(70008)Partial results are valid but processing is incomplete", "client": "203.0.113.24", "port": 59307,
            "message": "AH01075: Error dispatching request to : (reading input brigade), referer: http://example.com/",
        });
        assert_eq!(error(LINES[3]), Ok(want));
        let got = error("[Fri Feb 01 22:03:08.319124 2019] [authz_core:trace3] [pid 9] mod_authz_core.c(820): [client 2001:db8::1:50752] AH01626: x: granted").unwrap();
        assert_eq!(
            (&got["source"], &got["client"], &got["port"]),
            (&json!("mod_authz_core.c(820)"), &json!("2001:db8::1"), &json!(50752))
        );
        assert_eq!((&got["message"], &got["level"]), (&json!("AH01626: x: granted"), &json!("trace3")));
    }

    #[test]
    fn errors_of_2_2() {
        let want = json!({"timestamp": "Wed Oct 11 14:32:52 2000", "level": "error", "client": "127.0.0.1",
            "message": "client denied by server configuration"});
        assert_eq!(error(LINES[4]), Ok(want));
        let got = error("[Wed Oct 11 14:32:52 2000] [notice] Apache/2.2.15 (Unix): (x) resuming").unwrap();
        assert_eq!((&got["message"], got.get("client")), (&json!("Apache/2.2.15 (Unix): (x) resuming"), None));
        assert_eq!(error("[Wed Oct 11 14:32:52 2000] [error] [client ::1] a\nb").unwrap()["message"], "a\nb");
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "not a common log line",
            LINES[3],
            r#"1.1.1.1 - - [x] "GET / HTTP/1.0" 200"#,
            r#"1.1.1.1 - - [x] "GET / HTTP/1.0" OK 1"#,
        ] {
            assert!(access(line).is_err(), "{line}");
        }
        for line in ["", LINES[0], "[2024-01-01 00:00:00] [main] INFO x", "[x]"] {
            assert!(error(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in strange(LINES)) {
            _ = (access(&line), error(&line));
        }
    }
}
