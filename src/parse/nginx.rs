//! The logs of nginx. Access: the formats `combined`, `main` of the packages' nginx.conf, with compression, and `upstreaminfo` of the
//! ingress controller, told apart by what follows the user agent. Error: what `ngx_log_error` writes.
//!
//! What access logs of other servers have too has the names that it has with those, which are short: `client`, `user`, `timestamp`, `status`, `size`,
//! `referer`, `agent`, and `method`, `path` and `protocol` for the request. The rest has the names of nginx's variables:
//! <https://nginx.org/en/docs/http/ngx_http_log_module.html>, <https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/log-format/>.
//! In the error log they are its own labels. A `-` in an access log is no field. Escapes such as `\x22` are text.

use memchr::memmem;

use super::cursor::{self, Cursor};
use super::request;
use super::sink::{Sink, name};
use crate::event::{Event, Value};

/// Access logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access;

impl Access {
    /// The field that holds the time: `31/Mar/2021:12:04:07 +0000`, or what a format puts in its brackets.
    pub const TIME: &'static str = "timestamp";

    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut impl Sink<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        let client = cursor.until(b'[').and_then(|head| head.strip_suffix(" ")).ok_or("no time in brackets")?;
        push_client(client, event).ok_or("no address, user and time to begin with")?;
        let time = cursor.until(b']').ok_or("no bracket after the time")?;
        event.put(name!("timestamp"), Value::text(time));
        let request =
            cursor.eat(" ").then(|| cursor.quoted()).flatten().ok_or("no request in quotes after the time")?;
        request::push(request, event);
        let status = cursor.eat(" ").then(|| cursor.word()).filter(|s| is_status(s));
        event.put_number(name!("status"), status.ok_or("no status after the request")?);
        let bytes = Some(cursor.word()).filter(|bytes| is_count(bytes)).ok_or("no number of bytes after the status")?;
        event.put_number(name!("size"), bytes);
        if cursor.is_done() {
            return Ok(());
        }
        push_agent(&mut cursor, event).ok_or("no referer and user agent in quotes after the number of bytes")?;
        push_tail(cursor, event);
        Ok(())
    }
}

/// Who asked: `address - user`, `host address - user`, or `address host user`.
fn push_client<'a>(head: &'a str, event: &mut impl Sink<'a>) -> Option<()> {
    let mut cursor = Cursor::new(head);
    let first = cursor.word();
    let (host, address, user) = if cursor.eat("- ") {
        (None, first, cursor.rest())
    } else {
        let second = cursor.word();
        if cursor.is_done() {
            return None;
        }
        if cursor.eat("- ") { (Some(first), second, cursor.rest()) } else { (Some(second), first, cursor.rest()) }
    };
    if let Some(host) = host {
        event.put(name!("host"), Value::text(host));
    }
    event.put_text(name!("client"), address);
    event.put_text(name!("user"), user);
    Some(())
}

fn push_agent<'a>(cursor: &mut Cursor<'a>, event: &mut impl Sink<'a>) -> Option<()> {
    event.put_text(name!("referer"), cursor.quoted()?);
    cursor.eat(" ").then_some(())?;
    event.put_text(name!("agent"), cursor.quoted()?);
    Some(())
}

/// What formats have after the user agent. What none of them has is kept as `rest`.
fn push_tail<'a>(mut cursor: Cursor<'a>, event: &mut impl Sink<'a>) {
    cursor.spaces();
    if cursor.is_done() {
        return;
    }
    let mut ahead = cursor;
    match ahead.quoted() {
        Some(ratio) if ahead.is_done() && is_ratio(ratio) => event.put_number(name!("gzip_ratio"), ratio),
        Some(forwarded) if ahead.is_done() => event.put_text(name!("http_x_forwarded_for"), forwarded),
        None if push_upstream(cursor, event).is_some() => {}
        Some(_) | None => event.put(name!("rest"), Value::text(cursor.rest())),
    }
}

/// `upstreaminfo`: nothing is appended unless all of it is there.
fn push_upstream<'a>(mut cursor: Cursor<'a>, event: &mut impl Sink<'a>) -> Option<()> {
    let length = Some(cursor.word()).filter(|word| is_count(word))?;
    let time = Some(cursor.word()).filter(|word| is_count(word))?;
    let mut name = || {
        let name = cursor.eat("[").then(|| cursor.until(b']')).flatten()?;
        cursor.eat(" ").then_some(name)
    };
    let (upstream, alternative) = (name()?, name()?);
    let [address, response_length, response_time, status] = [(); 4].map(|()| tries(&mut cursor));
    let id = Some(cursor.word()).filter(|id| !id.is_empty())?;
    event.put_number(name!("request_length"), length);
    event.put_number(name!("request_time"), time);
    event.put_text(name!("proxy_upstream_name"), upstream);
    event.put_text(name!("proxy_alternative_upstream_name"), alternative);
    event.put_text(name!("upstream_addr"), address);
    event.put_number(name!("upstream_response_length"), response_length);
    event.put_number(name!("upstream_response_time"), response_time);
    event.put_number(name!("upstream_status"), status);
    event.put_text(name!("req_id"), id);
    if !cursor.is_done() {
        event.put(name!("rest"), Value::text(cursor.rest()));
    }
    Some(())
}

/// A value of each server that was tried: `a, b`, and `a, b : c` after a redirect within nginx.
fn tries<'a>(cursor: &mut Cursor<'a>) -> &'a str {
    let before = cursor.rest();
    while cursor.word().ends_with(',') || cursor.eat(": ") {}
    before.get(..before.len() - cursor.rest().len()).unwrap_or(before).trim_ascii_end()
}

fn is_status(text: &str) -> bool {
    text == "-" || text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a text is a number or the `-` that stands for none.
fn is_count(text: &str) -> bool {
    text == "-" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a text is a ratio, such as `2.75`, and no address.
fn is_ratio(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(a, b)| [a, b].iter().all(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())))
}

/// Error logs.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorLog;

/// What nginx says of a request after the message: `, label: value`, in this order.
const LABELS: [&str; 9] =
    ["client", "server", "request", "subrequest", "upstream", "host", "referrer", "login", "bytes from/to client"];

impl ErrorLog {
    /// The field that holds the time: `2022/04/15 08:16:13`, of no zone.
    pub const TIME: &'static str = "timestamp";
    /// The field that holds the level: `error`.
    pub const LEVEL: &'static str = "level";

    /// Appends the fields of a record, which may have several lines.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        // Before the log is open, nginx tells it to its standard error, without the time.
        if cursor.eat("nginx: [") {
            event.push(Self::LEVEL, Value::text(cursor.until(b']').ok_or("no bracket after the level")?));
            event.push("message", Value::text(cursor.rest().trim_ascii_start()));
            return Ok(());
        }
        let time = cursor.rest().get(..19).filter(|time| is_time(time)).ok_or("no time such as 2022/04/15 08:16:13")?;
        event.push(Self::TIME, Value::text(time));
        let level = cursor.until(b'[').and_then(|_| cursor.until(b']')).ok_or("no level in brackets after the time")?;
        event.push(Self::LEVEL, Value::text(level));
        cursor.spaces();
        for (name, end) in [("pid", b'#'), ("tid", b':')] {
            let id = cursor.until(end).and_then(Value::number).ok_or("no `pid#tid:` after the level")?;
            event.push(name, id);
        }
        cursor.spaces();
        if cursor.eat("*") {
            event.push("connection", cursor::number(cursor.word()));
        }
        push_message(cursor.rest(), event);
        Ok(())
    }
}

/// The message, and what is said of the request after it.
fn push_message<'a>(text: &'a str, event: &mut Event<'a>) {
    let (message, mut rest) = find_labels(text);
    push_limit(message, event);
    let mut labels = &LABELS[..];
    while let Some((label, value)) = next_label(&mut rest, &mut labels) {
        event.push(label, value);
    }
    if !rest.is_empty() {
        event.push("rest", Value::text(rest.trim_start_matches(", ")));
    }
}

/// The message, and from `, client: ` on the rest, if that is where the labels begin: a message can quote anything.
fn find_labels(text: &str) -> (&str, &str) {
    let is_start = |at: &usize| {
        let after = text.get(at + ", client: ".len()..).unwrap_or_default();
        let server = |(value, rest): (&str, &str)| !value.contains('"') && after_label(rest, "server").is_some();
        after.split_once(", ").is_none_or(server)
    };
    let at = memmem::find_iter(text.as_bytes(), ", client: ").find(is_start);
    at.and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// The next `, label: value` of those that can come, and steps over it and over the labels up to it: each is there once, in its order.
fn next_label<'a>(text: &mut &'a str, labels: &mut &[&'static str]) -> Option<(&'static str, Value<'a>)> {
    let rest = text.strip_prefix(", ")?;
    let (at, rest) = labels.iter().enumerate().find_map(|(at, name)| Some((at, after_label(rest, name)?)))?;
    let (name, later) = (labels[at], labels.get(at + 1..).unwrap_or_default());
    let ends_here = |text: &str| text.is_empty() || later.iter().any(|name| starts_label(text, name));
    let (value, after) = match rest.strip_prefix('"') {
        // A request can have quotes of its own.
        Some(inner) => memchr::memchr_iter(b'"', inner.as_bytes())
            .filter_map(|at| Some((inner.get(..at)?, inner.get(at + 1..)?)))
            .find(|(_, after)| ends_here(after))
            .or_else(|| inner.split_once('"'))
            // nginx cuts its lines at 2,048 bytes, and so the quote at the end.
            .unwrap_or((inner, "")),
        None => memmem::find_iter(rest.as_bytes(), ", ")
            .filter_map(|at| rest.split_at_checked(at))
            .find(|(_, after)| ends_here(after))
            .unwrap_or((rest, "")),
    };
    (*text, *labels) = (after, later);
    Some((name, Value::text(value)))
}

#[inline]
fn starts_label(text: &str, name: &str) -> bool {
    text.strip_prefix(", ").and_then(|text| after_label(text, name)).is_some()
}

/// What follows `label: `. At the end of a line that is nothing, as with a server that has no name.
#[inline]
fn after_label<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let after = text.strip_prefix(name)?.strip_prefix(':')?;
    if after.is_empty() { Some(after) } else { after.strip_prefix(' ') }
}

/// The message; of one about a limit of requests: `limiting requests, excess: 0.416 by zone "name"`, also what it says.
fn push_limit<'a>(text: &'a str, event: &mut Event<'a>) {
    let limit = text.split_once(", excess: ").and_then(|(message, limit)| {
        let (excess, zone) = limit.split_once(" by zone \"").or_else(|| limit.split_once(", by zone \""))?;
        Some((message, Value::number(excess)?, zone.strip_suffix('"')?))
    });
    let Some((message, excess, zone)) = limit else { return event.push("message", Value::text(text)) };
    event.push("message", Value::text(message));
    event.push("excess", excess);
    event.push("zone", Value::text(zone));
}

/// Whether a text is such as `2022/04/15 08:16:13`.
fn is_time(text: &str) -> bool {
    text.bytes()
        .zip("0000/00/00 00:00:00".bytes())
        .all(|(b, like)| if like == b'0' { b.is_ascii_digit() } else { b == like })
}

#[cfg(test)]
mod tests {
    use super::super::check::{parsed, strange};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const LINES: &[&str] = &[
        r#"172.17.0.1 - - [31/Mar/2021:12:04:07 +0000] "GET / HTTP/1.1" 200 612 "-" "curl/7.75.0""#,
        r#"172.17.0.1 - joe doe [31/Mar/2021:12:04:07 +0000] "GET /a?b=%20c HTTP/2.0" 304 0 "https://example.com/" "Mozilla/5.0 (X11)" "203.0.113.7, 10.10.1.1""#,
        r#"10.0.0.1 - bob [18/Mar/2023:15:00:00 +0000] "GET /p HTTP/2.0" 200 12312 "" "curl" 462 0.050 [ns-svc-9000] [] 10.0.50.80:9000, 10.0.50.81:9000 : 10.0.50.82:80 0, 10 : 19437 0.001, 0.048 : 0.002 502, 504 : 200 752178adb17130b291aefd8c386279e7"#,
        r#"2022/04/15 08:16:13 [error] 7164#7164: *20 connect() failed (113: No route to host) while connecting to upstream, client: 10.244.0.0, server: test.local, request: "GET /a"b HTTP/2.0", upstream: "http://127.0.0.1:80/", host: "h""#,
        r#"2022/08/23 21:48:00 [error] 3243#3243: *1 limiting requests, excess: 0.416 by zone "z", client: 10.244.0.0, server: test.local, request: "GET / HTTP/2.0", host: "h""#,
    ];

    fn access(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| Access.parse(line, event))
    }

    fn error(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| ErrorLog.parse(line, event))
    }

    #[test]
    fn combined() {
        let want = json!({
            "client": "172.17.0.1", "timestamp": "31/Mar/2021:12:04:07 +0000",
            "method": "GET", "path": "/", "protocol": "HTTP/1.1",
            "status": 200, "size": 612, "agent": "curl/7.75.0",
        });
        assert_eq!(access(LINES[0]), Ok(want));
    }

    #[test]
    fn main_has_who_it_was_forwarded_for() {
        let got = access(LINES[1]).unwrap();
        assert_eq!(got["http_x_forwarded_for"], "203.0.113.7, 10.10.1.1");
        assert_eq!(got["user"], "joe doe");
        assert_eq!(got["path"], "/a?b=%20c");
        assert_eq!(access(&format!("{} \"-\"", LINES[0])).unwrap().get("http_x_forwarded_for"), None);
        assert_eq!(access(&format!("{} \"2.75\"", LINES[0])).unwrap()["gzip_ratio"], json!(2.75));
    }

    #[test]
    fn the_ingress_lists_every_upstream_that_was_tried() {
        let got = access(LINES[2]).unwrap();
        let want = json!({
            "request_length": 462, "request_time": 0.050, "proxy_upstream_name": "ns-svc-9000", "proxy_alternative_upstream_name": "",
            "upstream_addr": "10.0.50.80:9000, 10.0.50.81:9000 : 10.0.50.82:80", "upstream_response_length": "0, 10 : 19437",
            "upstream_response_time": "0.001, 0.048 : 0.002", "upstream_status": "502, 504 : 200",
            "req_id": "752178adb17130b291aefd8c386279e7",
        });
        for (name, value) in want.as_object().unwrap() {
            assert_eq!(&got[name], value, "{name}");
        }
    }

    #[test]
    fn what_no_format_has_is_kept() {
        let line = format!("{} rt=0.1 \"x\"", LINES[0]);
        assert_eq!(access(&line).unwrap()["rest"], "rt=0.1 \"x\"");
        let line = r#"example.com 10.0.0.1 - - [29/Jul/2023:10:26:06 -0700] "\x16\x03\x01\x22" 400 157 "-" "-""#;
        let got = access(line).unwrap();
        assert_eq!((&got["host"], &got["client"]), (&json!("example.com"), &json!("10.0.0.1")));
        assert_eq!((&got["request"], got.get("method")), (&json!(r"\x16\x03\x01\x22"), None));
    }

    #[test]
    fn the_error_log_says_which_request_it_is_about() {
        let want = json!({
            "timestamp": "2022/04/15 08:16:13", "level": "error", "pid": 7164, "tid": 7164, "connection": 20,
            "message": "connect() failed (113: No route to host) while connecting to upstream", "client": "10.244.0.0",
            "server": "test.local", "request": "GET /a\"b HTTP/2.0", "upstream": "http://127.0.0.1:80/", "host": "h",
        });
        assert_eq!(error(LINES[3]), Ok(want));
        let got = error(LINES[4]).unwrap();
        assert_eq!(
            (&got["message"], &got["excess"], &got["zone"]),
            (&json!("limiting requests"), &json!(0.416), &json!("z"))
        );
    }

    #[test]
    fn an_error_message_can_quote_labels_and_have_several_lines() {
        let got = error("2021/06/03 09:30:50 [error] 32#32: *6 FastCGI sent in stderr: \"PHP message: a, client: \"x\" y\nb\" while reading, client: 10.0.0.1, server: , request: \"GET / HTTP/1.1\", referrer: \"\"").unwrap();
        assert_eq!(got["message"], "FastCGI sent in stderr: \"PHP message: a, client: \"x\" y\nb\" while reading");
        assert_eq!((&got["server"], &got["referrer"]), (&json!(""), &json!("")));
        let got = error("2021/06/17 19:25:59 [notice] 133309#133309: signal process started").unwrap();
        assert_eq!((&got["message"], got.get("client")), (&json!("signal process started"), None));
        let got = error(
            "2021/06/03 09:30:50 [error] 1#1: x, client: 1, server: 2021/06/03 [error] x, client: 2, host: \"h\"",
        )
        .unwrap();
        assert_eq!((&got["server"], &got["host"]), (&json!("2021/06/03 [error] x, client: 2"), &json!("h")));
        let got = error("2026/11/28 23:29:49 [info] 16822#16822: *12 client prematurely closed connection while reading client request line, client: 127.0.0.1, server: ").unwrap();
        assert_eq!((&got["client"], &got["server"]), (&json!("127.0.0.1"), &json!("")));
        assert_eq!(got["message"], "client prematurely closed connection while reading client request line");
        let got = error("2026/11/28 23:29:49 [info] 1#1: *10 client sent too long URI while reading client request line, client: ::1, server: , request: \"GET /xxx").unwrap();
        assert_eq!((&got["client"], &got["request"], got.get("rest")), (&json!("::1"), &json!("GET /xxx"), None));
        assert_eq!(error("nginx: [emerg] no \"events\" section").unwrap()["level"], "emerg");
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "not a line",
            LINES[3],
            "1.1.1.1 - - [x] \"GET / HTTP/1.1\" abc 1",
            "1.1.1.1 - - [x] \"GET / HTTP/1.1\" 200",
        ] {
            assert!(access(line).is_err(), "{line}");
        }
        for line in ["", LINES[0], "2021/06/17 19:25:59 [notice] x", "2021-06-17 19:25:59 [notice] 1#1: x"] {
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
