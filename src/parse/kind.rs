//! The parsers by their names: which there are, and the one call that all of them have. What each does is in a file of its own.

use memchr::memchr;

use crate::container::{Piece, cri};
use crate::event::{Event, Value};
use crate::parse::alb::Alb;
use crate::parse::cef::{self, Cef};
use crate::parse::csv::{self, Csv};
use crate::parse::envoy::Envoy;
use crate::parse::grok::Grok;
use crate::parse::haproxy::Haproxy;
use crate::parse::key_value::{self, KeyValue};
use crate::parse::klog::{self, Klog};
use crate::parse::log4j::Log4j;
use crate::parse::logfmt::{self, Logfmt};
use crate::parse::ltsv::{self, Ltsv};
use crate::parse::regex::Regex;
use crate::parse::sink::Writer;
use crate::parse::syslog::{self, Syslog};
use crate::parse::{MESSAGE, apache, nginx};

/// A parser with its options.
#[derive(Debug)]
#[expect(missing_docs, reason = "each is described where it is")]
pub enum Kind {
    /// The line as it is.
    Raw,
    /// A JSON object.
    Json,
    /// A line of a container runtime in the CRI's format.
    Cri,
    /// A line of Docker's json-file driver.
    Docker,
    Logfmt(Logfmt),
    KeyValue(KeyValue),
    Ltsv(Ltsv),
    Csv(Csv),
    Tsv(Csv),
    Cef(Cef),
    Klog(Klog),
    Regex(Regex),
    Grok(Grok),
    Nginx(nginx::Access),
    NginxError(nginx::ErrorLog),
    Apache(apache::Access),
    ApacheError(apache::ErrorLog),
    Alb(Alb),
    Envoy(Envoy),
    Haproxy(Haproxy),
    Log4j(Log4j),
    Syslog(Syslog),
}

/// The names of all parsers, for people.
pub const NAMES: [&str; 22] = [
    "raw",
    "json",
    "logfmt",
    "key_value",
    "ltsv",
    "csv",
    "tsv",
    "regex",
    "grok",
    "nginx",
    "nginx_error",
    "apache",
    "apache_error",
    "haproxy",
    "envoy",
    "alb",
    "log4j",
    "syslog",
    "klog",
    "cef",
    "cri",
    "docker",
];

/// What else some of them are called.
pub const ALIASES: [(&str, &str); 10] = [
    ("logback", "log4j"),
    ("java", "log4j"),
    ("nginx_access", "nginx"),
    ("apache_access", "apache"),
    ("glog", "klog"),
    ("delimited", "csv"),
    ("aws_alb", "alb"),
    ("istio", "envoy"),
    ("kv", "key_value"),
    ("none", "raw"),
];

impl Kind {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Json => "json",
            Self::Cri => "cri",
            Self::Docker => "docker",
            Self::Logfmt(_) => "logfmt",
            Self::KeyValue(_) => "key_value",
            Self::Ltsv(_) => "ltsv",
            Self::Csv(_) => "csv",
            Self::Tsv(_) => "tsv",
            Self::Cef(_) => "cef",
            Self::Klog(_) => "klog",
            Self::Regex(_) => "regex",
            Self::Grok(_) => "grok",
            Self::Nginx(_) => "nginx",
            Self::NginxError(_) => "nginx_error",
            Self::Apache(_) => "apache",
            Self::ApacheError(_) => "apache_error",
            Self::Alb(_) => "alb",
            Self::Envoy(_) => "envoy",
            Self::Haproxy(_) => "haproxy",
            Self::Log4j(_) => "log4j",
            Self::Syslog(_) => "syslog",
        }
    }

    /// The field that holds the time, and that which holds the level, where the format says it.
    pub fn customs(&self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Raw | Self::Json | Self::Regex(_) | Self::Grok(_) => (None, None),
            Self::Cri | Self::Docker => (Some("time"), None),
            Self::Logfmt(_) => (Some(logfmt::TIME), logfmt::LEVEL),
            Self::KeyValue(_) => (Some(key_value::TIME), key_value::LEVEL),
            Self::Ltsv(_) => (Some(ltsv::TIME), ltsv::LEVEL),
            Self::Csv(_) | Self::Tsv(_) => (Some(csv::TIME), csv::LEVEL),
            Self::Cef(_) => (Some(cef::TIME), cef::LEVEL),
            Self::Klog(_) => (Some(klog::TIME), klog::LEVEL),
            Self::Nginx(_) => (Some(nginx::Access::TIME), None),
            Self::NginxError(_) => (Some(nginx::ErrorLog::TIME), Some(nginx::ErrorLog::LEVEL)),
            Self::Apache(_) => (Some(apache::Access::TIME), None),
            Self::ApacheError(_) => (Some(apache::ErrorLog::TIME), Some(apache::ErrorLog::LEVEL)),
            Self::Alb(_) => (Some(Alb::TIME), None),
            Self::Envoy(_) => (Some(Envoy::TIME), None),
            Self::Haproxy(_) => (Some(Haproxy::TIME), None),
            Self::Log4j(_) => (Some(Log4j::TIME), Some(Log4j::LEVEL)),
            Self::Syslog(_) => (Some(syslog::TIME), syslog::LEVEL),
        }
    }

    /// Writes the line's fields as they come, where it is one of those parsers that lines are read by in great numbers; the same fields as
    /// [`Kind::parse`].
    pub fn write<'a>(&'a self, line: &'a str, writer: &mut Writer<'_>) -> Option<Result<(), &'static str>> {
        match self {
            Self::Regex(parser) => Some(parser.parse(line, writer)),
            Self::Grok(parser) => Some(parser.parse(line, writer)),
            Self::Nginx(parser) => Some(parser.parse(line, writer)),
            Self::Apache(parser) => Some(parser.parse(line, writer)),
            _ => None,
        }
    }

    /// Appends the line's fields, or says why the line is not what it reads. What was appended by then is the caller's to take back.
    pub fn parse<'a>(&'a self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        match self {
            Self::Raw => {
                event.push(MESSAGE, Value::text(line));
                Ok(())
            }
            Self::Json => event.read_json(line.trim_ascii()),
            Self::Cri => cri_line(line, event),
            Self::Docker => docker_line(line, event),
            Self::Logfmt(parser) => parser.parse(line, event),
            Self::KeyValue(parser) => parser.parse(line, event),
            Self::Ltsv(parser) => parser.parse(line, event),
            Self::Csv(parser) | Self::Tsv(parser) => parser.parse(line, event),
            Self::Cef(parser) => parser.parse(line, event),
            Self::Klog(parser) => parser.parse(line, event),
            Self::Regex(parser) => parser.parse(line, event),
            Self::Grok(parser) => parser.parse(line, event),
            Self::Nginx(parser) => parser.parse(line, event),
            Self::NginxError(parser) => parser.parse(line, event),
            Self::Apache(parser) => parser.parse(line, event),
            Self::ApacheError(parser) => parser.parse(line, event),
            Self::Alb(parser) => parser.parse(line, event),
            Self::Envoy(parser) => parser.parse(line, event),
            Self::Haproxy(parser) => parser.parse(line, event),
            Self::Log4j(parser) => parser.parse(line, event),
            Self::Syslog(parser) => parser.parse(line, event),
        }
    }
}

fn cri_line<'a>(line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
    let Piece { stream, time, text, partial, .. } =
        cri::parse(line.as_bytes()).ok_or("it does not begin with a time, a stream and a tag")?;
    let text = std::str::from_utf8(text).map_err(|_| "its text begins in the middle of a character")?;
    event.push("time", Value::text(time));
    event.push("stream", Value::text(stream.name()));
    event.push("logtag", Value::text(if partial { "P" } else { "F" }));
    event.push(MESSAGE, Value::text(text));
    Ok(())
}

fn docker_line<'a>(line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
    const NOT_DOCKERS: &str = "it has no text in \"log\", so it is not of docker's json-file driver";
    let before = event.len();
    event.read_json(line)?;
    let log = event.fields_mut().iter_mut().skip(before).rfind(|(name, _)| name == "log");
    let value = log.map(|(_, value)| value).filter(|value| value.json().is_some_and(|json| json.starts_with('"')));
    let value = value.ok_or(NOT_DOCKERS)?;
    // The newline that ended the line in the container is none of its text.
    let Value::Raw(json) = *value else { return Ok(()) };
    if let Some(inner) = json.strip_prefix('"').and_then(|json| json.strip_suffix("\\n\"")) {
        // An odd number of backslashes before it makes a backslash and an n of it.
        let is_newline = inner.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0;
        if memchr(b'\\', inner.as_bytes()).is_none() {
            *value = Value::text(inner);
        } else if is_newline {
            *value = Value::Json(format!("\"{inner}\""));
        }
    }
    Ok(())
}
