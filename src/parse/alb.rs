//! Access logs of AWS Application Load Balancers.
//!
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>. Fields have the names that AWS gives them
//! there and in its table for Athena, where the address and port of `client:port` have a column each. A `-` is null. Fields come with time: a
//! line may end after the user agent, and what comes after the last field that is known is kept as `rest`.

use super::cursor::{self, Cursor};
use crate::event::{Event, Value};

/// Access logs of Application Load Balancers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alb;

/// The protocols that a line begins with.
const TYPES: [&str; 6] = ["http", "https", "h2", "grpcs", "ws", "wss"];

/// How a field is written.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
}

/// What comes before the request.
const BEFORE: [(&str, Kind); 7] = [
    ("request_processing_time", Kind::Number),
    ("target_processing_time", Kind::Number),
    ("response_processing_time", Kind::Number),
    ("elb_status_code", Kind::Number),
    ("target_status_code", Kind::Number),
    ("received_bytes", Kind::Number),
    ("sent_bytes", Kind::Number),
];

/// What comes after the request, the oldest first.
const AFTER: [(&str, Kind); 20] = [
    ("user_agent", Kind::Text),
    ("ssl_cipher", Kind::Text),
    ("ssl_protocol", Kind::Text),
    ("target_group_arn", Kind::Text),
    ("trace_id", Kind::Text),
    ("domain_name", Kind::Text),
    ("chosen_cert_arn", Kind::Text),
    ("matched_rule_priority", Kind::Number),
    ("request_creation_time", Kind::Text),
    ("actions_executed", Kind::Text),
    ("redirect_url", Kind::Text),
    ("error_reason", Kind::Text),
    ("target_port_list", Kind::Text),
    ("target_status_code_list", Kind::Text),
    ("classification", Kind::Text),
    ("classification_reason", Kind::Text),
    ("conn_trace_id", Kind::Text),
    ("transformed_host", Kind::Text),
    ("transformed_uri", Kind::Text),
    ("request_transform_status", Kind::Text),
];

impl Alb {
    /// The field that holds the time: `2018-07-02T22:23:00.186641Z`.
    pub const TIME: &'static str = "time";

    /// Appends the fields of a line.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(line.trim_ascii_end());
        let kind = cursor.word();
        TYPES.contains(&kind).then_some(()).ok_or("no protocol such as https to begin with")?;
        event.push("type", Value::text(kind));
        event.push(Self::TIME, cursor::text(cursor.word()));
        event.push("elb", cursor::text(cursor.word()));
        push_address(["client_ip", "client_port"], cursor.word(), event);
        push_address(["target_ip", "target_port"], cursor.word(), event);
        for (name, kind) in BEFORE {
            event.push(name, kind.value(cursor.word()));
        }
        let request = cursor.quoted().ok_or("no request in quotes after the numbers of bytes")?;
        push_request(request, event);
        while cursor.eat(" ") {}
        for (name, kind) in AFTER {
            if cursor.is_done() {
                break;
            }
            event.push(name, kind.value(cursor.quoted_or_word().ok_or("no closing quote")?));
        }
        if !cursor.is_done() {
            event.push("rest", Value::text(cursor.rest()));
        }
        Ok(())
    }
}

impl Kind {
    fn value(self, text: &str) -> Value<'_> {
        match self {
            Self::Text => cursor::text(text),
            Self::Number => cursor::number(text),
        }
    }
}

/// An address and its port, in two fields; an address alone leaves the port out.
fn push_address<'a>([ip, port]: [&'static str; 2], text: &'a str, event: &mut Event<'a>) {
    let parts = text.rsplit_once(':').and_then(|(address, number)| Some((address, cursor::digits(number)?)));
    if let Some((address, number)) = parts {
        event.push(ip, Value::text(address));
        return event.push(port, number);
    }
    event.push(ip, cursor::text(text));
    if text == "-" {
        event.push(port, Value::NULL);
    }
}

/// `verb url protocol`, each of which can be a `-`. A URL can have spaces.
fn push_request<'a>(request: &'a str, event: &mut Event<'a>) {
    let parts = request.split_once(' ').and_then(|(verb, rest)| {
        let (url, proto) = rest.rsplit_once(' ')?;
        Some([verb, url, proto])
    });
    // What is not one is the URL, so that it is in the log.
    let values = parts.unwrap_or(["-", request, "-"]);
    for (name, value) in ["request_verb", "request_url", "request_proto"].into_iter().zip(values) {
        event.push(name, cursor::text(value.trim_ascii()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{parsed, strange};
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const LINES: &[&str] = &[
        r#"https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/a b HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80 10.0.0.2:80" "200" "-" "-" TID_dc57cebed65b444ebc8177bb698fe166"#,
        r#"http 2021-03-17T18:54:14.216357Z app/awseb/7f0dc2b05788640f 2601:6bbc:c529::1:15070 - -1 -1 -1 400 - 0 272 "- http://awseb.us-east-1.elb.amazonaws.com:80- -" "-" - -"#,
    ];

    fn alb(line: &str) -> Result<Json, &'static str> {
        parsed(line, |line, event| Alb.parse(line, event))
    }

    #[test]
    fn every_field_has_its_name() {
        let got = alb(LINES[0]).unwrap();
        let want = json!({
            "type": "https", "time": "2018-07-02T22:23:00.186641Z", "elb": "app/my-loadbalancer/50dc6c495c0c9188",
            "client_ip": "192.168.131.39", "client_port": 2817, "target_ip": "10.0.0.1", "target_port": 80,
            "request_processing_time": 0.086, "target_processing_time": 0.048, "response_processing_time": 0.037,
            "elb_status_code": 200, "target_status_code": 200, "received_bytes": 0, "sent_bytes": 57,
            "request_verb": "GET", "request_url": "https://www.example.com:443/a b", "request_proto": "HTTP/1.1",
            "user_agent": "curl/7.46.0", "ssl_cipher": "ECDHE-RSA-AES128-GCM-SHA256", "ssl_protocol": "TLSv1.2",
            "target_group_arn": "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067",
            "trace_id": "Root=1-58337281-1d84f3d73c47ec4e58577259", "domain_name": "www.example.com",
            "chosen_cert_arn": "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012",
            "matched_rule_priority": 1, "request_creation_time": "2018-07-02T22:22:48.364000Z",
            "actions_executed": "authenticate,forward", "redirect_url": null, "error_reason": null,
            "target_port_list": "10.0.0.1:80 10.0.0.2:80", "target_status_code_list": "200",
            "classification": null, "classification_reason": null, "conn_trace_id": "TID_dc57cebed65b444ebc8177bb698fe166",
        });
        assert_eq!(got, want);
        let more = alb(&format!("{} \"h\" \"/u\" \"TransformSuccess\" new", LINES[0])).unwrap();
        assert_eq!((&more["request_transform_status"], &more["rest"]), (&json!("TransformSuccess"), &json!("new")));
    }

    #[test]
    fn a_request_that_is_none_and_a_target_that_is_none() {
        let got = alb(LINES[1]).unwrap();
        assert_eq!((&got["client_ip"], &got["client_port"]), (&json!("2601:6bbc:c529::1"), &json!(15070)));
        assert_eq!(
            (&got["target_ip"], &got["target_port"], &got["target_status_code"]),
            (&Json::Null, &Json::Null, &Json::Null)
        );
        assert_eq!((&got["request_verb"], &got["request_proto"]), (&Json::Null, &Json::Null));
        assert_eq!(
            (&got["request_url"], &got["request_processing_time"]),
            (&json!("http://awseb.us-east-1.elb.amazonaws.com:80-"), &json!(-1))
        );
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "http",
            "ftp 2018-07-02T22:23:00.186641Z",
            "http a b c d 1 2 3 4 5 6 7 GET /",
            r#"http a b c d 1 2 3 4 5 6 7 "GET / HTTP/1.1" "x"#,
        ] {
            assert!(alb(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in strange(LINES)) {
            _ = alb(&line);
        }
    }
}
