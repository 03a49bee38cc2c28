//! From a line's text to an event's fields: a chain of parsers, of which the first that fits makes the event. Raw text and JSON that nothing else is
//! asked of need no fields and go the direct way. Pure; framing happened before, shaping and packing come after.

pub mod added;
pub mod direct;
pub mod kind;

pub mod alb;
pub mod apache;
#[cfg(test)]
mod check;
mod cursor;
pub mod envoy;
pub mod grok;
pub mod haproxy;
pub mod log4j;
pub mod nginx;
pub mod regex;
mod request;
pub mod sink;

pub mod cef;
pub mod csv;
pub mod delimiter;
pub mod escape;
pub mod fields;
pub mod key_value;
pub mod klog;
pub mod logfmt;
pub mod ltsv;
pub mod scan;
pub mod stamp;
pub mod syslog;
#[cfg(test)]
mod testing;
pub mod types;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::event::{Event, Value};
pub use added::{Added, Fields, Known, MESSAGE, Origin, TOPS, Whence, append_id};
pub use direct::{Direct, Parsed, message, parse, text, without_return};
pub use kind::Kind;
use sink::Writer;

/// From so many comparisons of names on, those of a nested event are looked up in a set.
const MANY_COMPARISONS: usize = 4096;

/// How lines become events: steps of which the first that fits is taken. Compiled once, with the configuration.
#[derive(Clone)]
pub struct Parser(Arc<Compiled>);

struct Compiled {
    steps: Vec<Step>,
    label: Arc<str>,
    /// As it is written in a configuration.
    spec: Json,
    direct: Option<Direct>,
}

/// One way to read a line.
#[derive(Debug)]
pub enum Step {
    /// The line as a whole.
    Whole(Kind),
    /// The line is a JSON object, of which this field is parsed further.
    Field(Nested),
}

/// A field that is parsed further: what is found in it takes its place.
#[derive(Debug)]
pub struct Nested {
    /// The field's name.
    pub field: String,
    /// What reads it.
    pub parser: Parser,
}

/// What a step that did not fit says: its name, and why.
pub type Refusals<'r> = dyn FnMut(&str, &'static str) + 'r;

/// What became of a line that was parsed.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'p> {
    /// The step that fitted.
    pub step: &'p Step,
    /// A field that was to be parsed further is not what its parser reads, and stays as it is.
    pub nested_refused: bool,
}

impl Parser {
    /// A chain of steps, as it is written in a configuration. There has to be one.
    pub fn new(steps: Vec<Step>, spec: Json) -> Self {
        let direct = match &steps[..] {
            [Step::Whole(Kind::Raw)] => Some(Direct::Raw),
            [Step::Whole(Kind::Json)] => Some(Direct::Json),
            _ => None,
        };
        let names: Vec<Cow<'_, str>> = steps.iter().map(Step::label).collect();
        let label = names.join(",").into();
        Self(Arc::new(Compiled { steps, label, spec, direct }))
    }

    /// Lines as they are.
    pub fn raw() -> Self {
        Direct::Raw.into()
    }

    /// JSON objects.
    pub fn json() -> Self {
        Direct::Json.into()
    }

    /// The same chain for a field of lines that are JSON objects.
    #[must_use]
    pub fn of_field(self, field: &str) -> Self {
        let spec = serde_json::json!({"field": field, "as": self.0.spec});
        Self::new(vec![Step::Field(Nested { field: field.to_owned(), parser: self })], spec)
    }

    /// The `parser` label: the names of the chain, separated by commas.
    pub fn label(&self) -> &Arc<str> {
        &self.0.label
    }

    /// As it is written in a configuration.
    pub fn spec(&self) -> &Json {
        &self.0.spec
    }

    /// The direct way, if nothing but that is needed.
    pub fn direct(&self) -> Option<Direct> {
        self.0.direct
    }

    /// Writes a line's fields by the first step, if that is one that can. What was written by then is taken back where the line is not what it reads.
    pub fn write(&self, line: &str, mut writer: Writer<'_>) -> bool {
        match self.0.steps.first() {
            Some(Step::Whole(kind)) if kind.write(line, &mut writer) == Some(Ok(())) => writer.end(),
            _ => {
                writer.take_back();
                false
            }
        }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// Whether it reads objects and looks into a field of each.
    pub fn is_of_fields(&self) -> bool {
        self.0.steps.iter().all(|step| matches!(step, Step::Field(_)))
    }

    /// Whether a blank line is an event like any other, and not just nothing.
    pub fn takes_blank(&self) -> bool {
        matches!(self.0.steps.first(), Some(Step::Whole(Kind::Raw)))
    }

    /// Appends the line's fields, by the first step that fits. Of those that do not, `refusals` is told; without one that does, the last one's
    /// reason is the answer, and nothing was appended.
    pub fn parse<'a>(
        &'a self,
        line: &'a str,
        event: &mut Event<'a>,
        refusals: &mut Refusals<'_>,
    ) -> Result<Fit<'a>, &'static str> {
        let before = event.len();
        let mut last = "there is no parser";
        for step in &self.0.steps {
            let outcome = match step {
                Step::Whole(kind) => kind.parse(line, event).map(|()| Fit { step, nested_refused: false }),
                Step::Field(nested) => match event.read_json(line.trim_ascii()) {
                    Ok(()) => {
                        Ok(Fit { step, nested_refused: nested.expand(event, before, refusals) == Expanded::Refused })
                    }
                    Err(reason) => Err(reason),
                },
            };
            match outcome {
                Ok(fit) => return Ok(fit),
                Err(reason) => {
                    event.truncate(before);
                    refusals(&step.label(), reason);
                    last = reason;
                }
            }
        }
        Err(last)
    }
}

impl From<Direct> for Parser {
    fn from(direct: Direct) -> Self {
        let kind = match direct {
            Direct::Raw => Kind::Raw,
            Direct::Json => Kind::Json,
        };
        let spec = kind.name().into();
        Self::new(vec![Step::Whole(kind)], spec)
    }
}

impl PartialEq for Parser {
    fn eq(&self, other: &Self) -> bool {
        self.0.spec == other.0.spec
    }
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parser({})", self.0.spec)
    }
}

impl Step {
    /// The parser whose fields an event has that it made.
    pub fn parser(&self) -> &'static str {
        match self {
            Self::Whole(kind) => kind.name(),
            Self::Field(nested) => match nested.parser.steps() {
                [only] => only.parser(),
                _ => Kind::Json.name(),
            },
        }
    }

    /// The fields that hold the time and the level by the customs of what is read.
    pub fn customs(&self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Whole(kind) => kind.customs(),
            // Which of a chain fitted within a field is not known any more.
            Self::Field(nested) => match nested.parser.steps() {
                [only] => only.customs(),
                _ => (None, None),
            },
        }
    }

    /// What it is called where it is told of.
    pub fn label(&self) -> Cow<'_, str> {
        match self {
            Self::Whole(kind) => Cow::Borrowed(kind.name()),
            Self::Field(nested) => Cow::Owned(format!("{}:{}", nested.field, nested.parser.label())),
        }
    }
}

/// What became of a field that was to be parsed further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expanded {
    /// What was found in it is in its place.
    Yes,
    /// There is no such field, or it is no text.
    Nothing,
    /// It is not what its parser reads, and stays.
    Refused,
}

impl Nested {
    /// Puts what is found in the field in its place. What is found counts more than what the event has of the same names; fields before the first
    /// one that counts stay as they are.
    pub fn expand(&self, event: &mut Event<'_>, first: usize, refusals: &mut Refusals<'_>) -> Expanded {
        let of_name = |(name, _): &(Cow<'_, str>, Value<'_>)| *name == self.field;
        let Some(at) = event.fields().iter().skip(first).rposition(of_name).map(|at| at + first) else {
            return Expanded::Nothing;
        };
        let value = &event.fields()[at].1;
        let text = match value {
            // An object needs no quotes to be one.
            Value::Raw(json) if json.starts_with('{') => Some(Cow::Borrowed(*json)),
            other => other.string(),
        };
        let Some(text) = text else { return Expanded::Nothing };
        let mut found = Event::default();
        if self.parser.parse(&text, &mut found, refusals).is_err() {
            return Expanded::Refused;
        }
        let found = found.into_owned();
        let fields = event.fields_mut();
        fields.remove(at);
        let at = at - remove_named(fields, first, at, &found);
        fields.splice(at..at, found);
        Expanded::Yes
    }
}

type Field<'a> = (Cow<'a, str>, Value<'a>);

/// Takes out the fields from `first` on that have a name of the others, and answers how many of them were before `at`.
fn remove_named(fields: &mut Vec<Field<'_>>, first: usize, at: usize, others: &[Field<'static>]) -> usize {
    let is_many = fields.len().saturating_mul(others.len()) > MANY_COMPARISONS;
    let set: BTreeSet<&str> = if is_many { others.iter().map(|(name, _)| &**name).collect() } else { BTreeSet::new() };
    let is_taken = |name: &str| if is_many { set.contains(name) } else { others.iter().any(|(n, _)| n == name) };
    let (mut index, mut before) = (0, 0);
    fields.retain(|(name, _)| {
        let goes = index >= first && is_taken(name);
        before += usize::from(goes && index < at);
        index += 1;
        !goes
    });
    before
}

#[cfg(test)]
mod tests;
