//! Access logs of Envoy: its default format, and Istio's.
//!
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#default-format-string>,
//! <https://istio.io/latest/docs/tasks/observability/logs/access-log/>. Fields have the names that both have in their JSON formats, so that a
//! proxy's events look the same in either. A `-` is null.

use super::cursor::{self, Cursor};
use super::request;
use crate::event::{Event, Value};

/// Access logs of Envoy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Envoy;

impl Envoy {
    /// The field that holds the time: `2016-04-15T20:17:00.310Z`.
    pub const TIME: &'static str = "start_time";

    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        let time = cursor.eat("[").then(|| cursor.until(b']')).flatten().ok_or("no time in brackets to begin with")?;
        event.push(Self::TIME, Value::text(time));
        let request =
            cursor.eat(" ").then(|| cursor.quoted()).flatten().ok_or("no request in quotes after the time")?;
        push_request(request, event);
        let code = cursor.eat(" ").then(|| cursor.word()).filter(|code| is_count(code));
        event.push("response_code", cursor::number(code.ok_or("no status after the request")?));
        event.push("response_flags", cursor::text(cursor.word()));
        push_details(&mut cursor, event).ok_or("no details of the response where Istio has them")?;
        for name in ["bytes_received", "bytes_sent", "duration"] {
            let count =
                Some(cursor.word()).filter(|word| is_count(word)).ok_or("no bytes and duration after the status")?;
            event.push(name, cursor::number(count));
        }
        event.push("upstream_service_time", cursor::number(cursor.word()));
        for name in ["x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host"] {
            event.push(name, cursor::text(sent(&mut cursor).ok_or("no closing quote")?));
        }
        push_istio(cursor, event);
        Ok(())
    }
}

/// What a client sent, in quotes that nothing within is escaped for: they end where a space or nothing follows.
fn sent<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let Some(inner) = cursor.rest().strip_prefix('"') else { return Some(cursor.word()) };
    let is_end = |at: &usize| matches!(inner.as_bytes().get(at + 1), None | Some(b' '));
    let end = memchr::memchr_iter(b'"', inner.as_bytes()).find(is_end)?;
    *cursor = Cursor::new(inner.get(end + 1..).unwrap_or_default());
    cursor.eat(" ");
    inner.get(..end)
}

/// The parts of the request, which are all `-` for what is not HTTP.
fn push_request<'a>(request: &'a str, event: &mut Event<'a>) {
    if request != "- - -" {
        return request::push(request, event);
    }
    for name in ["method", "path", "protocol"] {
        event.push(name, Value::NULL);
    }
}

/// What Istio has between the flags and the numbers: `details termination "failure"`, before 1.9 without the termination, and before 1.8
/// `"status" "failure"`.
fn push_details<'a>(cursor: &mut Cursor<'a>, event: &mut Event<'a>) -> Option<()> {
    let first = cursor.peek()?;
    if first.is_ascii_digit() {
        return Some(());
    }
    if first == b'"' {
        event.push("mixer_status", cursor::text(cursor.quoted_or_word()?));
    } else {
        event.push("response_code_details", cursor::text(braced(cursor)));
        if cursor.peek() != Some(b'"') {
            event.push("connection_termination_details", cursor::text(braced(cursor)));
        }
    }
    event.push("upstream_transport_failure_reason", cursor::text(cursor.quoted_or_word()?));
    Some(())
}

/// A word; in braces it can have spaces.
fn braced<'a>(cursor: &mut Cursor<'a>) -> &'a str {
    let before = cursor.rest();
    let mut ahead = *cursor;
    let word = cursor.word();
    if !word.contains('{') || word.contains('}') || ahead.until(b'}').is_none() {
        return word;
    }
    ahead.word();
    *cursor = ahead;
    before.get(..before.len() - ahead.rest().len()).unwrap_or(before).trim_ascii_end()
}

/// What Istio has at the end.
fn push_istio<'a>(mut cursor: Cursor<'a>, event: &mut Event<'a>) {
    let names = [
        "upstream_cluster",
        "upstream_local_address",
        "downstream_local_address",
        "downstream_remote_address",
        "requested_server_name",
        "route_name",
    ];
    for name in names {
        if cursor.is_done() {
            return;
        }
        let before = cursor;
        let Some(text) = cursor.quoted_or_word() else {
            return event.push("rest", Value::text(before.rest()));
        };
        event.push(name, cursor::text(text));
    }
    if !cursor.is_done() {
        event.push("rest", Value::text(cursor.rest()));
    }
}

fn is_count(text: &str) -> bool {
    text == "-" || !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::check::{parsed, strange};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const LINES: &[&str] = &[
        r#"[2016-04-15T20:17:00.310Z] "POST /api/v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq2http" "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2" "locations" "tcp://10.0.2.1:80""#,
        r#"[2020-11-25T21:26:18.409Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/7.73.0-DEV" "84961386-6d84-929d-98bd-c5aee93b5c88" "httpbin:8000" "127.0.0.1:80" inbound|8000|| 127.0.0.1:41854 10.44.1.27:80 10.44.1.23:37652 outbound_.8000_._.httpbin.foo.svc.cluster.local default"#,
        r#"[2021-03-02T10:00:00.000Z] "- - -" 0 UF,URX upstream_reset_before_response_started{connection failure} - "TLS error" 0 0 5 - "-" "-" "-" "-" "10.0.0.1:443" outbound|443||x - 10.0.0.2:443 10.0.0.3:5 - -"#,
        r#"[2019-09-07T01:12:00.123Z] "GET / HTTP/1.1" 200 - "-" "-" 0 5 1 1 "-" "curl" "id" "host" "127.0.0.1:80" inbound|80|http|x - 10.0.0.1:80 10.0.0.2:5 - default"#,
    ];

    fn envoy(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| Envoy.parse(line, event))
    }

    #[test]
    fn the_default_format() {
        let want = json!({
            "start_time": "2016-04-15T20:17:00.310Z", "method": "POST", "path": "/api/v1/locations", "protocol": "HTTP/2",
            "response_code": 204, "response_flags": null, "bytes_received": 154, "bytes_sent": 0, "duration": 226,
            "upstream_service_time": 100, "x_forwarded_for": "10.0.35.28", "user_agent": "nsq2http",
            "request_id": "cc21d9b0-cf5c-432b-8c7e-98aeb7988cd2", "authority": "locations", "upstream_host": "tcp://10.0.2.1:80",
        });
        assert_eq!(envoy(LINES[0]), Ok(want));
    }

    #[test]
    fn what_clients_send_can_have_quotes_and_backslashes() {
        let got = envoy(r#"[2026-11-28T23:36:27.237Z] "GET / HTTP/1.1" 404 - 0 335 6 6 "2001:db8::9, 10.0.0.2" "bär "q"\" "r-17" "127.0.0.1:18120" "-""#).unwrap();
        assert_eq!(
            (&got["x_forwarded_for"], &got["user_agent"]),
            (&json!("2001:db8::9, 10.0.0.2"), &json!(r#"bär "q"\"#))
        );
        assert_eq!((&got["request_id"], &got["upstream_host"]), (&json!("r-17"), &Json::Null));
    }

    #[test]
    fn istio() {
        let got = envoy(LINES[1]).unwrap();
        let want = json!({
            "response_code_details": "via_upstream", "connection_termination_details": null, "upstream_transport_failure_reason": null,
            "bytes_received": 0, "bytes_sent": 135, "duration": 4, "authority": "httpbin:8000", "upstream_cluster": "inbound|8000||",
            "upstream_local_address": "127.0.0.1:41854", "downstream_local_address": "10.44.1.27:80",
            "downstream_remote_address": "10.44.1.23:37652",
            "requested_server_name": "outbound_.8000_._.httpbin.foo.svc.cluster.local", "route_name": "default",
        });
        for (name, value) in want.as_object().unwrap() {
            assert_eq!(&got[name], value, "{name}");
        }
    }

    #[test]
    fn istio_of_other_versions_and_what_is_not_http() {
        let got = envoy(LINES[2]).unwrap();
        assert_eq!(
            (&got["method"], &got["response_code"], &got["response_flags"]),
            (&Json::Null, &json!(0), &json!("UF,URX"))
        );
        assert_eq!(got["response_code_details"], "upstream_reset_before_response_started{connection failure}");
        assert_eq!(
            (&got["upstream_transport_failure_reason"], &got["upstream_host"]),
            (&json!("TLS error"), &json!("10.0.0.1:443"))
        );
        let got = envoy(LINES[3]).unwrap();
        assert_eq!(
            (&got["mixer_status"], &got["bytes_sent"], &got["route_name"]),
            (&Json::Null, &json!(5), &json!("default"))
        );
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "[x]",
            "[x] \"GET / HTTP/1.1\" 200",
            "[x] \"GET / HTTP/1.1\" 200 - 1 2",
            "[x] \"GET / HTTP/1.1\" 200 - 1 2 3 4 \"a",
            "[2024] [error] x",
        ] {
            assert!(envoy(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in strange(LINES)) {
            _ = envoy(&line);
        }
    }
}
