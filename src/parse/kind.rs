//! The parsers by their names: which there are, and the one call that all of them have. What each does is in a file of its own.

use memchr::memchr;

use crate::container::{Piece, cri};
use crate::event::{Event, Value};
use crate::parse::MESSAGE;

/// A parser with its options.
#[derive(Debug)]
pub enum Kind {
    /// The line as it is.
    Raw,
    /// A JSON object.
    Json,
    /// A line of a container runtime in the CRI's format.
    Cri,
    /// A line of Docker's json-file driver.
    Docker,
}

/// The names of all parsers, for people.
pub const NAMES: [&str; 4] = ["raw", "json", "cri", "docker"];

impl Kind {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Json => "json",
            Self::Cri => "cri",
            Self::Docker => "docker",
        }
    }

    /// Appends the line's fields, or says why the line is not what it reads. What was appended by then is the caller's to take back.
    pub fn parse<'a>(&self, line: &'a str, event: &mut Event<'a>) -> Result<(), &'static str> {
        match self {
            Self::Raw => {
                event.push(MESSAGE, Value::text(line));
                Ok(())
            }
            Self::Json => event.read_json(line.trim_ascii()),
            Self::Cri => cri_line(line, event),
            Self::Docker => docker_line(line, event),
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
