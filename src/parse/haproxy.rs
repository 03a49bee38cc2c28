//! The logs of `HAProxy`: `option httplog` (and `httpslog`), `option tcplog`, and what it says of connections that fail before there is a request.
//! The header that syslog puts before them can be there or not.
//!
//! <https://docs.haproxy.org/3.0/configuration.html#8.2>. Fields have the names of that chapter, but for the times: its `TR`, `Tr` and `Tc` differ
//! in nothing but case for many stores, so that they have the names that Logstash gives them. The request comes apart into `method`, `path` and
//! `protocol`. A `-` is null.

use memchr::memmem;

use super::cursor::{self, Cursor};
use super::request;
use crate::event::{Event, Value};

/// Logs of `HAProxy`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Haproxy;

const HTTP_TIMES: [&str; 5] =
    ["time_request", "time_queue", "time_backend_connect", "time_backend_response", "time_duration"];
const TCP_TIMES: [&str; 3] = ["time_queue", "time_backend_connect", "time_duration"];
const CONNECTIONS: [&str; 5] = ["actconn", "feconn", "beconn", "srv_conn", "retries"];
const QUEUES: [&str; 2] = ["srv_queue", "backend_queue"];
const ERRORS: [&str; 5] = ["fc_err", "ssl_fc_err", "ssl_c_err", "ssl_c_ca_err", "ssl_fc_is_resumed"];
const SESSION: [&str; 3] = ["ssl_fc_sni", "ssl_version", "ssl_ciphers"];

impl Haproxy {
    /// The field that holds the time when the connection, or the request, came: `06/Feb/2009:12:14:14.655`.
    pub const TIME: &'static str = "accept_date";

    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        push_header(&mut cursor, event);
        let client = cursor.word();
        let (ip, port) = client.rsplit_once(':').ok_or("no address and port of a client to begin with")?;
        event.push("client_ip", Value::text(ip));
        event.push("client_port", cursor::digits(port).ok_or("no port after the client's address")?);
        let date =
            cursor.eat("[").then(|| cursor.until(b']')).flatten().ok_or("no date in brackets after the client")?;
        event.push(Self::TIME, Value::text(date));
        let frontend = cursor.eat(" ").then(|| cursor.word()).ok_or("no frontend after the date")?;
        if let Some(place) = frontend.strip_suffix(':') {
            push_names(["frontend_name", "bind_name"], place, event);
            event.push("message", Value::text(cursor.rest()));
            return Ok(());
        }
        event.push("frontend_name", cursor::text(frontend));
        push_names(["backend_name", "server_name"], cursor.word(), event);
        let times = cursor.word();
        if push_parts(&HTTP_TIMES, times, event) {
            push_http(&mut cursor, event).ok_or("no status, connections and request as `option httplog` has them")?;
        } else if push_parts(&TCP_TIMES, times, event) {
            event.push("bytes_read", cursor::number(cursor.word()));
            event.push("termination_state", cursor::text(cursor.word()));
            push_load(&mut cursor, event).ok_or("no connections as `option tcplog` has them")?;
        } else {
            return Err("no times as `option httplog` or `option tcplog` has them, after the server");
        }
        if !cursor.is_done() {
            event.push("rest", Value::text(cursor.rest()));
        }
        Ok(())
    }
}

/// `Dec  9 13:01:26 localhost haproxy[28029]: `, of which the first two may be missing.
fn push_header<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) {
    let line = cursor.rest();
    let Some((head, pid, rest)) = memmem::find(line.as_bytes(), b"]: ").and_then(|at| {
        let (head, pid) = line.get(..at)?.rsplit_once('[')?;
        Some((head, pid, line.get(at + 3..)?))
    }) else {
        return;
    };
    let Some(number) = cursor::digits(pid).filter(|_| !head.contains('[')) else { return };
    let (before, process) = head.rsplit_once(' ').map_or(("", head), |(before, process)| (before, process));
    if let Some((time, server)) = before.rsplit_once(' ') {
        event.push("syslog_timestamp", Value::text(time));
        event.push("syslog_server", Value::text(server));
    }
    event.push("process_name", Value::text(process));
    event.push("pid", number);
    *cursor = Cursor::new(rest.trim_ascii_start());
}

/// Two names with a slash between them.
fn push_names<'a>([first, second]: [&'static str; 2], text: &'a str, event: &mut Event<'a>) {
    let (a, b) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    event.push(first, cursor::text(a));
    if let Some(b) = b {
        event.push(second, cursor::text(b));
    }
}

/// Numbers with slashes between them, if they are as many as their names. A `+` says that more was to come when it was written.
fn push_parts<'a>(names: &[&'static str], text: &'a str, event: &mut Event<'a>) -> bool {
    let is_number =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+'));
    if text.split('/').count() != names.len() || !text.split('/').all(is_number) {
        return false;
    }
    for (name, part) in names.iter().zip(text.split('/')) {
        event.push(*name, cursor::number(part));
    }
    true
}

fn push_load<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) -> Option<()> {
    (push_parts(&CONNECTIONS, cursor.word(), event) && push_parts(&QUEUES, cursor.word(), event)).then_some(())
}

fn push_http<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) -> Option<()> {
    event.push("status_code", cursor::number(cursor.word()));
    event.push("bytes_read", cursor::number(cursor.word()));
    for name in ["captured_request_cookie", "captured_response_cookie", "termination_state"] {
        event.push(name, cursor::text(cursor.word()));
    }
    push_load(cursor, event)?;
    for name in ["captured_request_headers", "captured_response_headers"] {
        if cursor.eat("{") {
            event.push(name, Value::text(cursor.until(b'}')?));
            cursor.spaces();
        }
    }
    // Syslog cuts long lines, and so the quote at the end.
    let request = match cursor.quoted() {
        Some(request) => request,
        None => std::mem::replace(cursor, Cursor::new("")).rest().strip_prefix('"')?,
    };
    request::push(request, event);
    cursor.spaces();
    push_tls(cursor, event);
    Some(())
}

/// What `option httpslog` has at the end: `0/0000000000000000/0/0/0 example.com/TLSv1.3/TLS_AES_128_GCM_SHA256`.
fn push_tls<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) {
    let mut ahead = *cursor;
    let (errors, session) = (ahead.word(), ahead.word());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    let are_errors = errors.split('/').count() == ERRORS.len() && errors.split('/').all(is_number);
    if !are_errors || session.split('/').count() != SESSION.len() || !ahead.is_done() {
        return;
    }
    for (name, part) in ERRORS.iter().zip(errors.split('/')).chain(SESSION.iter().zip(session.split('/'))) {
        // The second is in hexadecimal, with zeros before it.
        let is_count = part.len() < 16 && part != "-";
        event.push(*name, cursor::digits(part).filter(|_| is_count).unwrap_or_else(|| cursor::text(part)));
    }
    *cursor = ahead;
}

#[cfg(test)]
mod tests {
    use super::super::check::{parsed, strange};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const LINES: &[&str] = &[
        r#"haproxy[14389]: 10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu|x} {} "GET /index.html HTTP/1.1""#,
        "Sep 20 15:44:23 127.0.0.1 haproxy[25457]: 127.0.0.1:40962 [20/Sep/2018:15:44:23.285] main app/<NOSRV> -1/-1/1 212 SC 1/1/0/0/0 0/0",
        "192.168.1.4:50033 [28/Feb/2025:02:43:10.123] frontend/1: SSL handshake failure (error:0A0000C1:SSL routines::no shared cipher)",
        r#"2001:db8::7:4711 [28/Feb/2025:02:43:10.123] fe~ be/s 0/0/0/-1/+12 -1 0 - - cD-- 1/1/1/1/+2 0/0 "<BADREQ>""#,
    ];

    fn haproxy(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| Haproxy.parse(line, event))
    }

    #[test]
    fn http() {
        let want = json!({
            "process_name": "haproxy", "pid": 14389, "client_ip": "10.0.1.2", "client_port": 33317, "accept_date": "06/Feb/2009:12:14:14.655",
            "frontend_name": "http-in", "backend_name": "static", "server_name": "srv1", "time_request": 10, "time_queue": 0,
            "time_backend_connect": 30, "time_backend_response": 69, "time_duration": 109, "status_code": 200, "bytes_read": 2750,
            "captured_request_cookie": null, "captured_response_cookie": null, "termination_state": "----", "actconn": 1, "feconn": 1,
            "beconn": 1, "srv_conn": 1, "retries": 0, "srv_queue": 0, "backend_queue": 0, "captured_request_headers": "1wt.eu|x",
            "captured_response_headers": "", "method": "GET", "path": "/index.html",
            "protocol": "HTTP/1.1",
        });
        assert_eq!(haproxy(LINES[0]), Ok(want));
        let cut = haproxy(LINES[0].strip_suffix(".html HTTP/1.1\"").unwrap()).unwrap();
        assert_eq!((cut.get("request"), &cut["path"], cut.get("protocol")), (None, &json!("/index"), None));
    }

    #[test]
    fn https_says_how_it_was_encrypted() {
        let got = haproxy(r#"127.0.0.1:33452 [28/Nov/2026:23:30:06.877] tls~ app/a1 0/0/0/3/3 200 182 - - ---- 1/1/0/0/0 0/0 "GET / HTTP/1.1" 0/0000000000000000/0/0/1 -/TLSv1.3/TLS_AES_256_GCM_SHA384"#).unwrap();
        let want = json!({"fc_err": 0, "ssl_fc_err": "0000000000000000", "ssl_c_err": 0, "ssl_c_ca_err": 0, "ssl_fc_is_resumed": 1,
            "ssl_fc_sni": null, "ssl_version": "TLSv1.3", "ssl_ciphers": "TLS_AES_256_GCM_SHA384"});
        for (name, value) in want.as_object().unwrap() {
            assert_eq!(&got[name], value, "{name}");
        }
        assert!(got.get("rest").is_none());
        let line = format!("{} 0/0/0 x", LINES[0]);
        assert_eq!(haproxy(&line).unwrap()["rest"], "0/0/0 x");
    }

    #[test]
    fn tcp_after_a_header_of_syslog() {
        let want = json!({
            "syslog_timestamp": "Sep 20 15:44:23", "syslog_server": "127.0.0.1", "process_name": "haproxy", "pid": 25457,
            "client_ip": "127.0.0.1", "client_port": 40962, "accept_date": "20/Sep/2018:15:44:23.285", "frontend_name": "main",
            "backend_name": "app", "server_name": "<NOSRV>", "time_queue": -1, "time_backend_connect": -1, "time_duration": 1,
            "bytes_read": 212, "termination_state": "SC", "actconn": 1, "feconn": 1, "beconn": 0, "srv_conn": 0, "retries": 0,
            "srv_queue": 0, "backend_queue": 0,
        });
        assert_eq!(haproxy(LINES[1]), Ok(want));
    }

    #[test]
    fn what_failed_before_there_was_a_request() {
        let got = haproxy(LINES[2]).unwrap();
        assert_eq!((&got["frontend_name"], &got["bind_name"]), (&json!("frontend"), &json!("1")));
        assert_eq!(got["message"], "SSL handshake failure (error:0A0000C1:SSL routines::no shared cipher)");
        let got = haproxy(LINES[3]).unwrap();
        assert_eq!(
            (&got["client_ip"], &got["time_duration"], &got["retries"]),
            (&json!("2001:db8::7"), &json!("+12"), &json!("+2"))
        );
        assert_eq!((&got["request"], got.get("method")), (&json!("<BADREQ>"), None));
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "a:1 [x]",
            "a:b [x] f b/s 1/2/3 4 -- 1/1/1/1/1 0/0",
            "a:1 [x] f b/s 1/2 3",
            "a:1 [x] f b/s 1/2/3/4/5 200 1 - - ---- 1/1 0/0 \"GET / HTTP/1.1\"",
        ] {
            assert!(haproxy(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in strange(LINES)) {
            _ = haproxy(&line);
        }
    }
}
