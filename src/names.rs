//! The names of fields in the terms of others: OpenTelemetry's semantic conventions, or the Elastic Common Schema. Tables from what formats call their
//! fields; values stay as they are, and so does what has no name there.
//!
//! The value has a say, since receivers would refuse or misread the field otherwise: `source.ip` and its like are for addresses and not for names of
//! hosts, `url.path` is for paths without a query, only RFC 3339 is a time and only a word is a level, and no object or list takes the name of a
//! text. A field also keeps its name if there is a field of the new one.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::LazyLock;

use crate::event::{Event, Value};

/// In whose terms fields are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// OpenTelemetry: its log data model (`body`, `severity_text`) and its semantic conventions.
    Otel,
    /// The Elastic Common Schema, version 8, with dots in the names.
    Ecs,
}

impl Scheme {
    /// A scheme by its name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "otel" => Some(Self::Otel),
            "ecs" => Some(Self::Ecs),
            _ => None,
        }
    }

    /// What the scheme calls the message.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Otel => "body",
            Self::Ecs => "message",
        }
    }

    /// What it calls the time.
    pub const fn time(self) -> &'static str {
        match self {
            Self::Otel => "timestamp",
            Self::Ecs => "@timestamp",
        }
    }

    /// What it calls the level.
    pub const fn level(self) -> &'static str {
        match self {
            Self::Otel => "severity_text",
            Self::Ecs => "log.level",
        }
    }
}

/// What a field becomes.
#[derive(Debug, Clone, Copy)]
enum To {
    /// The names in OpenTelemetry and in the Elastic Common Schema; empty where there is none.
    Names(&'static str, &'static str),
    /// The same for what may be an object or a list; nothing else may.
    Nested(&'static str, &'static str),
    /// Whoever sent a request to a server.
    Client,
    /// Where something came from.
    Source,
    /// Where it went, or went on to.
    Upstream,
    /// What was asked for, as a path or as a whole URL.
    Target,
    Time,
    Level,
    Message,
}

use To::{Client, Level, Message, Names, Nested, Source, Target, Time, Upstream};

type Table = &'static [(&'static str, To)];

/// nginx, its combined log and what an ingress controller adds.
const NGINX: Table = &[
    ("client", Client),
    ("user", USER),
    ("remote_port", Names("client.port", "source.port")),
    ("timestamp", Time),
    ("method", METHOD),
    ("request_method", METHOD),
    ("path", Target),
    ("uri", Target),
    ("request_uri", Target),
    ("args", QUERY),
    ("scheme", SCHEME),
    ("status", STATUS),
    ("size", RESPONSE_BODY),
    ("bytes_sent", RESPONSE_SIZE),
    ("request_length", REQUEST_SIZE),
    ("referer", REFERER),
    ("agent", AGENT),
    ("http_x_forwarded_for", FORWARDED),
    ("http_host", HOST_ASKED),
    ("host", HOST_ASKED),
    ("server_name", HOST_ASKED),
    ("upstream_addr", Upstream),
    ("req_id", REQUEST_ID),
    ("request_id", REQUEST_ID),
    ("ssl_cipher", CIPHER),
];

/// nginx's error log.
const NGINX_ERROR: Table = &[
    ("timestamp", Time),
    ("level", Level),
    ("message", Message),
    ("pid", PID),
    ("tid", THREAD_ID),
    ("client", Client),
    ("server", HOST_ASKED),
    ("referrer", REFERER),
];

/// Apache's access log.
const APACHE: Table = &[
    ("host", Client),
    ("user", USER),
    ("timestamp", Time),
    ("method", METHOD),
    ("path", Target),
    ("status", STATUS),
    ("size", RESPONSE_BODY),
    ("referer", REFERER),
    ("agent", AGENT),
    ("vhost", HOST_ASKED),
    ("port", Names("server.port", "url.port")),
];

/// Apache's error log.
const APACHE_ERROR: Table = &[
    ("timestamp", Time),
    ("level", Level),
    ("message", Message),
    ("pid", PID),
    ("tid", THREAD_ID),
    ("client", Client),
    ("port", Names("client.port", "source.port")),
    ("module", LOGGER),
];

/// Load balancers of AWS.
const ALB: Table = &[
    ("time", Time),
    ("client_ip", Client),
    ("client_port", Names("client.port", "source.port")),
    ("target_ip", Upstream),
    ("target_port", Names("destination.port", "destination.port")),
    ("elb_status_code", STATUS),
    ("received_bytes", REQUEST_SIZE),
    ("sent_bytes", RESPONSE_SIZE),
    ("request_verb", METHOD),
    ("request_url", Names("url.full", "url.original")),
    ("user_agent", AGENT),
    ("ssl_cipher", CIPHER),
    ("domain_name", HOST_ASKED),
    ("error_reason", Names("error.type", "error.code")),
];

/// Envoy, and Istio's proxies.
const ENVOY: Table = &[
    ("start_time", Time),
    ("method", METHOD),
    ("path", Target),
    ("x_envoy_origin_path", Target),
    ("response_code", STATUS),
    ("bytes_received", REQUEST_BODY),
    ("bytes_sent", RESPONSE_BODY),
    ("x_forwarded_for", FORWARDED),
    ("user_agent", AGENT),
    ("request_id", REQUEST_ID),
    ("authority", HOST_ASKED),
    ("requested_server_name", Names("tls.client.server_name", "tls.client.server_name")),
];

/// The load balancer `HAProxy`, by the names of its manual.
const HAPROXY: Table = &[
    ("client_ip", Client),
    ("client_port", Names("client.port", "source.port")),
    ("accept_date", Time),
    ("request_date", Time),
    ("time", Time),
    ("timestamp", Time),
    ("status_code", STATUS),
    ("status", STATUS),
    ("bytes_read", RESPONSE_SIZE),
    ("method", METHOD),
    ("http_method", METHOD),
    ("path", Target),
    ("http_path", Target),
    ("message", Message),
    ("pid", PID),
    ("process_name", Names("process.executable.name", "process.name")),
    ("syslog_server", Names("host.name", "log.syslog.hostname")),
];

/// syslog, and journald.
const SYSLOG: Table = &[
    ("timestamp", Time),
    ("severity", Level),
    ("message", Message),
    ("facility", Names("syslog.facility", "log.syslog.facility.name")),
    ("hostname", Names("host.name", "log.syslog.hostname")),
    ("appname", Names("service.name", "log.syslog.appname")),
    ("procid", Names("syslog.procid", "log.syslog.procid")),
    ("msgid", Names("syslog.msgid", "log.syslog.msgid")),
    ("version", Names("syslog.version", "log.syslog.version")),
    ("structured_data", Nested("syslog.structured_data", "log.syslog.structured_data")),
    ("priority", Names("syslog.priority", "log.syslog.priority")),
];

/// klog and glog.
const KLOG: Table =
    &[("level", Level), ("timestamp", Time), ("id", THREAD_ID), ("file", FILE), ("line", LINE), ("message", Message)];

/// log4j, logback, and what the like write as text.
const LOG4J: Table = &[
    ("timestamp", Time),
    ("time", Time),
    ("date", Time),
    ("level", Level),
    ("priority", Level),
    ("severity", Level),
    ("logger", LOGGER),
    ("class", LOGGER),
    ("category", LOGGER),
    ("thread", THREAD),
    ("pid", PID),
    ("file", FILE),
    ("line", LINE),
    ("method", FUNCTION),
    ("message", Message),
    ("exception", STACK),
    ("stack_trace", STACK),
    ("application", SERVICE),
];

/// The Common Event Format.
const CEF: Table = &[
    ("rt", Time),
    ("msg", Message),
    ("name", Names("event.name", "event.action")),
    ("severity", Names("cef.severity", "event.severity")),
    ("deviceVendor", Names("", "observer.vendor")),
    ("deviceProduct", Names("", "observer.product")),
    ("deviceVersion", Names("", "observer.version")),
    ("deviceEventClassId", Names("", "event.code")),
    ("dvchost", Names("host.name", "observer.hostname")),
    ("src", Source),
    ("spt", Names("source.port", "source.port")),
    ("shost", Names("", "source.domain")),
    ("suser", Names("user.name", "source.user.name")),
    ("suid", Names("user.id", "source.user.id")),
    ("dst", Upstream),
    ("dpt", Names("destination.port", "destination.port")),
    ("dhost", Names("", "destination.domain")),
    ("duser", Names("", "destination.user.name")),
    ("proto", Names("network.transport", "network.transport")),
    ("app", Names("network.protocol.name", "network.protocol")),
    ("request", Names("url.full", "url.original")),
    ("requestMethod", METHOD),
    ("requestClientApplication", AGENT),
    ("outcome", Names("", "event.outcome")),
    ("act", Names("", "event.action")),
    ("fname", Names("file.name", "file.name")),
    ("filePath", Names("file.path", "file.path")),
    ("fsize", Names("file.size", "file.size")),
    ("dpid", PID),
];

/// What loggers that write JSON, logfmt and the like call the same things.
const COMMON: Table = &[
    ("message", Message),
    ("msg", Message),
    ("level", Level),
    ("lvl", Level),
    ("severity", Level),
    ("levelname", Level),
    ("log_level", Level),
    ("loglevel", Level),
    ("@l", Level),
    ("@m", Message),
    ("@t", Time),
    ("@timestamp", Time),
    ("timestamp", Time),
    ("time", Time),
    ("ts", Time),
    ("t", Time),
    ("datetime", Time),
    ("logger", LOGGER),
    ("logger_name", LOGGER),
    ("loggerName", LOGGER),
    ("SourceContext", LOGGER),
    ("thread", THREAD),
    ("thread_name", THREAD),
    ("threadName", THREAD),
    ("thread_id", THREAD_ID),
    ("threadId", THREAD_ID),
    ("pid", PID),
    ("process_id", PID),
    // With the line's number behind it, as Go's loggers write it.
    ("caller", FILE),
    ("file", FILE),
    ("filename", FILE),
    ("pathname", FILE),
    ("line", LINE),
    ("lineno", LINE),
    ("line_number", LINE),
    ("func", FUNCTION),
    ("funcName", FUNCTION),
    ("function", FUNCTION),
    ("error", ERROR),
    ("err", ERROR),
    ("exception", STACK),
    ("exc_info", STACK),
    ("stacktrace", STACK),
    ("stack_trace", STACK),
    ("stack", STACK),
    ("trace_id", TRACE),
    ("traceId", TRACE),
    ("traceID", TRACE),
    ("span_id", SPAN),
    ("spanId", SPAN),
    ("spanID", SPAN),
    ("trace_flags", Names("trace_flags", "")),
    ("request_id", REQUEST_ID),
    ("requestId", REQUEST_ID),
    ("req_id", REQUEST_ID),
    ("service", SERVICE),
    ("service_name", SERVICE),
    ("hostname", Names("host.name", "host.hostname")),
    ("host", Names("host.name", "host.hostname")),
    ("stream", Names("log.iostream", "")),
    ("method", METHOD),
    ("http_method", METHOD),
    ("path", Target),
    ("uri", Target),
    ("url", Target),
    ("status_code", STATUS),
    ("statusCode", STATUS),
    ("remote_addr", Client),
    ("client_ip", Client),
    ("clientIp", Client),
    ("remote_ip", Client),
    ("user_agent", AGENT),
    ("userAgent", AGENT),
    ("referer", REFERER),
    ("referrer", REFERER),
    ("user", USER),
    ("username", USER),
    ("user_id", Names("user.id", "user.id")),
    ("userId", Names("user.id", "user.id")),
];

const USER: To = Names("user.name", "user.name");
const METHOD: To = Names("http.request.method", "http.request.method");
const STATUS: To = Names("http.response.status_code", "http.response.status_code");
const REQUEST_BODY: To = Names("http.request.body.size", "http.request.body.bytes");
const REQUEST_SIZE: To = Names("http.request.size", "http.request.bytes");
const RESPONSE_BODY: To = Names("http.response.body.size", "http.response.body.bytes");
const RESPONSE_SIZE: To = Names("http.response.size", "http.response.bytes");
const REFERER: To = Names("http.request.header.referer", "http.request.referrer");
const FORWARDED: To = Names("http.request.header.x-forwarded-for", "");
const AGENT: To = Names("user_agent.original", "user_agent.original");
const HOST_ASKED: To = Names("server.address", "url.domain");
const QUERY: To = Names("url.query", "url.query");
const SCHEME: To = Names("url.scheme", "url.scheme");
const REQUEST_ID: To = Names("http.request.header.x-request-id", "http.request.id");
const CIPHER: To = Names("tls.cipher", "tls.cipher");
const PID: To = Names("process.pid", "process.pid");
const THREAD: To = Names("thread.name", "process.thread.name");
const THREAD_ID: To = Names("thread.id", "process.thread.id");
const LOGGER: To = Names("otel.scope.name", "log.logger");
const FILE: To = Names("code.file.path", "log.origin.file.name");
const LINE: To = Names("code.line.number", "log.origin.file.line");
const FUNCTION: To = Names("code.function.name", "log.origin.function");
const ERROR: To = Names("exception.message", "error.message");
const STACK: To = Names("exception.stacktrace", "error.stack_trace");
const TRACE: To = Names("trace_id", "trace.id");
const SPAN: To = Names("span_id", "span.id");
const SERVICE: To = Names("service.name", "service.name");

/// Renames an event's fields in place. `parser` is the label of the parser that made them.
pub fn rename(scheme: Scheme, parser: &str, event: &mut Event<'_>) {
    let names = names(parser);
    let fields = event.fields_mut();
    for at in 0..fields.len() {
        let Some((name, value)) = fields.get(at) else { return };
        let Some(to) = names.find(name).and_then(|to| to.name(scheme, value)) else { continue };
        if fields.iter().any(|(name, _)| name == to) {
            continue;
        }
        if let Some((name, _)) = fields.get_mut(at) {
            *name = Cow::Borrowed(to);
        }
    }
}

impl To {
    fn name(self, scheme: Scheme, value: &Value<'_>) -> Option<&'static str> {
        if is_nested(value) && !matches!(self, Nested(..)) {
            return None;
        }
        let name = match (self, scheme) {
            (Names(otel, _) | Nested(otel, _), Scheme::Otel) => otel,
            (Names(_, ecs) | Nested(_, ecs), Scheme::Ecs) => ecs,
            (Client, Scheme::Otel) => "client.address",
            (Source, Scheme::Otel) => "source.address",
            (Upstream, Scheme::Otel) => "destination.address",
            (Client | Source, Scheme::Ecs) => {
                if is_address(value) {
                    "source.ip"
                } else {
                    "source.address"
                }
            }
            (Upstream, Scheme::Ecs) => {
                if is_address(value) {
                    "destination.ip"
                } else {
                    "destination.address"
                }
            }
            (Target, scheme) => target(scheme, &value.string()?)?,
            (Time, scheme) => value.string().filter(|text| is_rfc3339(text)).map(|_| scheme.time())?,
            (Level, scheme) => value.string().map(|_| scheme.level())?,
            (Message, scheme) => scheme.message(),
        };
        (!name.is_empty()).then_some(name)
    }
}

fn is_nested(value: &Value<'_>) -> bool {
    value.json().is_some_and(|json| json.starts_with(['{', '[']))
}

fn is_address(value: &Value<'_>) -> bool {
    value.string().is_some_and(|text| text.parse::<IpAddr>().is_ok())
}

fn target(scheme: Scheme, text: &str) -> Option<&'static str> {
    match scheme {
        _ if text.starts_with('/') && !text.contains('?') => Some("url.path"),
        Scheme::Otel if text.contains("://") => Some("url.full"),
        _ if text.is_empty() => None,
        Scheme::Otel | Scheme::Ecs => Some("url.original"),
    }
}

fn is_rfc3339(text: &str) -> bool {
    matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T', .., b'Z' | b'z'])
        || matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T', .., b'+' | b'-', _, _, b':', _, _])
}

/// A table that was put into an order in which a name is found by its length first.
struct Lookup(Vec<(&'static str, To)>);

impl Lookup {
    /// Of several tables the first that has a name holds.
    fn new(tables: &[Table]) -> Self {
        let mut rows: Vec<_> = tables.iter().flat_map(|table| table.iter().copied()).collect();
        rows.sort_by_key(|(name, _)| (name.len(), *name));
        rows.dedup_by_key(|(name, _)| *name);
        Self(rows)
    }

    fn find(&self, name: &str) -> Option<To> {
        let at = self.0.binary_search_by(|(known, _)| (known.len(), *known).cmp(&(name.len(), name))).ok()?;
        self.0.get(at).map(|(_, to)| *to)
    }
}

fn names(parser: &str) -> &'static Lookup {
    static LOOKUPS: [(&[&str], LazyLock<Lookup>); 11] = [
        (&["nginx", "nginx_ingress"], LazyLock::new(|| Lookup::new(&[NGINX]))),
        (&["nginx_error"], LazyLock::new(|| Lookup::new(&[NGINX_ERROR]))),
        (&["apache"], LazyLock::new(|| Lookup::new(&[APACHE]))),
        (&["apache_error"], LazyLock::new(|| Lookup::new(&[APACHE_ERROR]))),
        (&["alb"], LazyLock::new(|| Lookup::new(&[ALB]))),
        (&["envoy", "istio"], LazyLock::new(|| Lookup::new(&[ENVOY]))),
        (&["haproxy"], LazyLock::new(|| Lookup::new(&[HAPROXY]))),
        (&["syslog", "rfc3164", "rfc5424"], LazyLock::new(|| Lookup::new(&[SYSLOG]))),
        (&["klog", "glog"], LazyLock::new(|| Lookup::new(&[KLOG]))),
        (&["log4j", "logback", "java"], LazyLock::new(|| Lookup::new(&[LOG4J]))),
        (&["cef"], LazyLock::new(|| Lookup::new(&[CEF]))),
    ];
    // Web servers write JSON too, and then fields have the names of their variables.
    static OTHERS: LazyLock<Lookup> = LazyLock::new(|| Lookup::new(&[COMMON, NGINX]));
    LOOKUPS.iter().find(|(parsers, _)| parsers.contains(&parser)).map_or(&OTHERS, |(_, lookup)| lookup)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn renamed(scheme: Scheme, parser: &str, json: &str) -> String {
        let mut event = Event::from_json(json).unwrap();
        rename(scheme, parser, &mut event);
        let mut out = Vec::new();
        event.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_get_the_names_of_the_conventions_in_their_order() {
        for (parser, json, otel, ecs) in [
            (
                "nginx",
                r#"{"client":"10.0.0.1","user":null,"timestamp":"31/Mar/2021:12:04:07 +0000","method":"GET","path":"/","status":200,"size":612,"agent":"curl"}"#,
                r#"{"client.address":"10.0.0.1","user.name":null,"timestamp":"31/Mar/2021:12:04:07 +0000","http.request.method":"GET","url.path":"/","http.response.status_code":200,"http.response.body.size":612,"user_agent.original":"curl"}"#,
                r#"{"source.ip":"10.0.0.1","user.name":null,"timestamp":"31/Mar/2021:12:04:07 +0000","http.request.method":"GET","url.path":"/","http.response.status_code":200,"http.response.body.bytes":612,"user_agent.original":"curl"}"#,
            ),
            (
                "apache",
                r#"{"host":"example.com","timestamp":"2021-03-31T12:04:07.000000000Z","path":"/a?b=c","referer":"r"}"#,
                r#"{"client.address":"example.com","timestamp":"2021-03-31T12:04:07.000000000Z","url.original":"/a?b=c","http.request.header.referer":"r"}"#,
                r#"{"source.address":"example.com","@timestamp":"2021-03-31T12:04:07.000000000Z","url.original":"/a?b=c","http.request.referrer":"r"}"#,
            ),
            (
                "alb",
                r#"{"client_ip":"::1","target_ip":"10.0.0.1","target_port":80,"request_url":"https://x/"}"#,
                r#"{"client.address":"::1","destination.address":"10.0.0.1","destination.port":80,"url.full":"https://x/"}"#,
                r#"{"source.ip":"::1","destination.ip":"10.0.0.1","destination.port":80,"url.original":"https://x/"}"#,
            ),
            (
                "syslog",
                r#"{"facility":"local0","severity":"notice","hostname":"h","appname":"a","procid":1,"structured_data":{"x":{}},"message":"m"}"#,
                r#"{"syslog.facility":"local0","severity_text":"notice","host.name":"h","service.name":"a","syslog.procid":1,"syslog.structured_data":{"x":{}},"body":"m"}"#,
                r#"{"log.syslog.facility.name":"local0","log.level":"notice","log.syslog.hostname":"h","log.syslog.appname":"a","log.syslog.procid":1,"log.syslog.structured_data":{"x":{}},"message":"m"}"#,
            ),
            (
                "klog",
                r#"{"level":"I","timestamp":"0505 17:59:40.692994","id":1,"file":"k.go","line":7,"message":"m"}"#,
                r#"{"severity_text":"I","timestamp":"0505 17:59:40.692994","thread.id":1,"code.file.path":"k.go","code.line.number":7,"body":"m"}"#,
                r#"{"log.level":"I","timestamp":"0505 17:59:40.692994","process.thread.id":1,"log.origin.file.name":"k.go","log.origin.file.line":7,"message":"m"}"#,
            ),
            (
                "json",
                r#"{"ts":1.5,"level":"info","msg":"m","trace_id":"t","request_method":"PUT","other":1}"#,
                r#"{"ts":1.5,"severity_text":"info","body":"m","trace_id":"t","http.request.method":"PUT","other":1}"#,
                r#"{"ts":1.5,"log.level":"info","message":"m","trace.id":"t","http.request.method":"PUT","other":1}"#,
            ),
        ] {
            assert_eq!(renamed(Scheme::Otel, parser, json), otel);
            assert_eq!(renamed(Scheme::Ecs, parser, json), ecs);
        }
    }

    #[test]
    fn what_would_mislead_keeps_its_name() {
        for json in [
            r#"{"level":30,"err":{"type":"x"},"path":""}"#,
            r#"{"message":"a","msg":"b","log.level":1,"level":"info"}"#,
            r#"{"error":[1],"service":{"name":"x"},"message":{"a":1}}"#,
            r#"{"time":"12:00","@timestamp":"2021-03-31T12:04:07+01:00","timestamp":"2021-03-31T12:04:07Z"}"#,
            "{}",
        ] {
            assert_eq!(renamed(Scheme::Ecs, "json", json), json);
        }
        // Of two that would be the same, the first is.
        assert_eq!(renamed(Scheme::Otel, "logfmt", r#"{"msg":"a","message":"b"}"#), r#"{"body":"a","message":"b"}"#);
    }

    #[test]
    fn no_table_has_a_name_twice_and_names_are_those_of_a_convention() {
        for table in [NGINX, NGINX_ERROR, APACHE, APACHE_ERROR, ALB, ENVOY, HAPROXY, SYSLOG, KLOG, LOG4J, CEF, COMMON]
            .map(Vec::from)
        {
            let len = table.len();
            let mut names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), len);
            for (_, to) in table {
                let (Names(otel, ecs) | Nested(otel, ecs)) = to else { continue };
                assert!(!otel.is_empty() || !ecs.is_empty());
                for name in [otel, ecs].into_iter().filter(|name| !name.is_empty()) {
                    assert!(name.contains('.') || ["trace_id", "span_id", "trace_flags"].contains(&name), "{name}");
                }
            }
        }
        assert_eq!(
            (Scheme::parse("otel"), Scheme::parse("ecs"), Scheme::parse("x")),
            (Some(Scheme::Otel), Some(Scheme::Ecs), None)
        );
    }

    proptest! {
        #[test]
        fn values_order_and_number_stay(
            fields in prop::collection::vec(("(msg|message|level|time|path|remote_addr|err|[a-z]{1,4})", "[0-9]|\"[ -!#-Z]{0,5}\"|\\{\\}|null"), 0..12),
            ecs: bool,
        ) {
            let scheme = if ecs { Scheme::Ecs } else { Scheme::Otel };
            let mut event = Event::default();
            for (name, value) in &fields {
                event.push(name.as_str(), Value::Raw(value));
            }
            let doubled = |event: &Event<'_>| {
                let mut names: Vec<_> = event.fields().iter().map(|(name, _)| name.to_string()).collect();
                names.sort_unstable();
                let len = names.len();
                names.dedup();
                len - names.len()
            };
            let before = doubled(&event);
            rename(scheme, "json", &mut event);
            let values: Vec<_> = event.fields().iter().map(|(_, value)| value.json().unwrap_or_default().to_owned()).collect();
            prop_assert_eq!(values, fields.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>());
            prop_assert!(doubled(&event) <= before);
        }
    }
}
