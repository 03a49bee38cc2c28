//! What is done to a parsed event before it is rendered: its time, its level and the names of its fields made alike, and the transforms. What is set is a
//! [`Shape`], what is remembered from event to event is [`Shaping`]. It reads no clock.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::time::Duration;

use crate::event::{Event, Value};
use crate::level::{self, Numbers};
use crate::names::Scheme;
use crate::parse::{MESSAGE, Parser};
use crate::times::{self, Times};
use crate::transform::{Context, Did, Outcome, Parsers, Pipeline, Repeats, State};

/// Fields that hold the time where neither a setting nor the format says which, in the order in which they are looked for.
const TIME_FIELDS: [&str; 10] =
    ["@timestamp", "timestamp", "time", "ts", "datetime", "date", "eventTime", "event_time", "asctime", "t"];
/// The same for the level.
const LEVEL_FIELDS: [&str; 9] =
    ["level", "severity", "lvl", "loglevel", "log_level", "levelname", "log.level", "severity_text", "priority"];

/// What is done to the events of a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// How the time is found and said.
    pub timestamp: Option<Timestamp>,
    /// How the level is found and said.
    pub level: Option<Level>,
    /// Whose names the fields get.
    pub names: Option<Scheme>,
    /// The transforms.
    pub pipeline: Pipeline,
    /// What transforms parse with.
    pub parsers: Vec<Parser>,
    /// As they are written in a configuration.
    pub written: Vec<serde_json::Value>,
}

/// How the time is found and said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// The field that holds it; none is what the format says, or what is customary.
    pub field: Option<String>,
    /// How it may be written. They were checked.
    pub formats: Vec<String>,
    /// The zone of times that name none.
    pub zone: Option<String>,
    /// The field that it is put in.
    pub name: String,
}

/// How the level is found and said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The field that holds it; none is what the format says, or what is customary.
    pub field: Option<String>,
    /// What numbers mean.
    pub numbers: Numbers,
    /// The field that it is put in.
    pub name: String,
}

/// What goes from line to line: memory, and what transforms remember. It is a source's; whoever reads several files of one hands it on.
#[derive(Debug, Default)]
pub struct Shaping {
    /// The memory of an event's list of fields.
    pub memory: Event<'static>,
    /// When what is read now was read, in nanoseconds since 1970.
    pub read_at: u64,
    times: Option<Times>,
    state: Option<State>,
}

/// A time as text, for as long as an event needs it.
pub type Stamp = OnceCell<[u8; times::WIDTH]>;

/// Where an event's time is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A field of its own, by so many nanoseconds before it was read.
    Own(i128),
    /// The container runtime.
    Runtime,
    /// When it was read, since there is no field with one.
    Missing,
    /// The same, since what there is could not be read.
    Unreadable,
}

impl Shape {
    /// Whether nothing is done.
    pub fn is_empty(&self) -> bool {
        self.timestamp.is_none() && self.level.is_none() && self.names.is_none() && self.pipeline.is_empty()
    }
}

impl Shaping {
    /// Nothing is remembered yet; what is read now was read then, in nanoseconds since 1970.
    pub fn at(read_at: u64) -> Self {
        Self { read_at, ..Self::default() }
    }

    /// The numbers that transforms have, if an event has come by.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Repeats that were left out and that no event has told of for so long.
    pub fn quiet(&mut self, now_nanos: u64, wait: Duration) -> Vec<Repeats> {
        self.state.as_mut().map(|state| state.quiet(now_nanos, wait)).unwrap_or_default()
    }

    /// A text that is no event, without its secrets: a line that is refused, or a part of one.
    pub fn redact<'t>(&mut self, shape: &Shape, text: &'t str, context: &Context<'_>) -> Cow<'t, str> {
        if !shape.pipeline.redacts() {
            return Cow::Borrowed(text);
        }
        let seed = self.read_at;
        let state = self.state.get_or_insert_with(|| shape.pipeline.state(seed));
        let mut event = Event::default();
        event.push(MESSAGE, Value::text(text));
        shape.pipeline.redact(state, &mut event, context);
        // A field that is removed as a whole leaves nothing of its text.
        let left = event.remove(MESSAGE).map(|value| value.as_str().into_owned()).unwrap_or_default();
        if left == text { Cow::Borrowed(text) } else { Cow::Owned(left) }
    }

    /// Takes an event through the transforms. `trail` is told what each did, if somebody asks.
    pub fn transform<'a>(
        &mut self,
        shape: &'a Shape,
        event: &mut Event<'a>,
        context: &Context<'_>,
        trail: Option<&mut Vec<String>>,
    ) -> Outcome {
        if shape.pipeline.is_empty() {
            return Outcome::Kept;
        }
        let seed = self.read_at;
        let state = self.state.get_or_insert_with(|| shape.pipeline.state(seed));
        let Some(trail) = trail else { return shape.pipeline.apply(state, event, context, shape) };
        let (outcome, said) = shape.pipeline.explain(state, event, context, shape);
        trail.extend(said.into_iter().map(|step| {
            let did = match step.did {
                Did::Nothing => "nothing, it is not for this event".to_owned(),
                Did::Passed => "passed".to_owned(),
                Did::Changed(json) => format!("changed to {json}"),
                Did::Failed(why) => format!("failed: {why}"),
                Did::Dropped => "dropped".to_owned(),
            };
            format!("transforms[{}] {}: {did}", step.transform, step.name)
        }));
        outcome
    }
}

impl Parsers for Shape {
    fn parse<'t>(&self, index: usize, text: &'t str, event: &mut Event<'t>) -> Result<(), &'static str> {
        let Some(parser) = self.parsers.get(index) else { return Err("there is no such parser") };
        let mut made = Event::default();
        // What parsers borrow of themselves, such as names, is theirs and not the text's.
        parser.parse(text, &mut made, &mut |_, _| {}).map(drop)?;
        event.fields_mut().extend(made.into_owned());
        Ok(())
    }
}

impl Timestamp {
    /// Puts the time in its field, and says where it is from.
    pub fn apply<'a>(
        &'a self,
        shaping: &mut Shaping,
        custom: Option<&'static str>,
        runtime: Option<&str>,
        event: &mut Event<'a>,
        stamp: &'a Stamp,
    ) -> Told {
        let read_at = i128::from(shaping.read_at);
        let times = shaping.times.get_or_insert_with(|| {
            Times::new(&self.formats, self.zone.as_deref()).expect("it was checked with the configuration")
        });
        let mut told = Told::Missing;
        let mut found = None;
        for name in candidates(self.field.as_deref(), custom, &TIME_FIELDS) {
            let Some(at) = event.fields().iter().rposition(|(field, _)| field == name) else { continue };
            told = Told::Unreadable;
            if let Some(nanos) = times.normalise(&event.fields()[at].1, read_at) {
                found = Some((at, nanos));
                break;
            }
        }
        let nanos = if let Some((_, nanos)) = found {
            told = Told::Own(read_at - nanos);
            nanos
        } else if let Some(nanos) = runtime.and_then(|time| times.normalise(&Value::text(time), read_at)) {
            if told == Told::Missing {
                told = Told::Runtime;
            }
            nanos
        } else {
            read_at
        };
        let text = stamp.get_or_init(|| times::rfc3339(nanos));
        let value = Value::text(std::str::from_utf8(text).unwrap_or_default());
        put(event, found.map(|(at, _)| at), &self.name, value);
        told
    }
}

impl Level {
    /// Puts the level in its field, if there is one that is known.
    pub fn apply<'a>(&'a self, custom: Option<&'static str>, event: &mut Event<'a>) -> bool {
        for name in candidates(self.field.as_deref(), custom, &LEVEL_FIELDS) {
            let Some(at) = event.fields().iter().rposition(|(field, _)| field == name) else { continue };
            if let Some(level) = level::Level::of(&event.fields()[at].1, self.numbers) {
                put(event, Some(at), &self.name, Value::text(level.name()));
                return true;
            }
        }
        false
    }
}

/// Where something is looked for: in the field that is set, or in those of the format's and the world's customs.
fn candidates<'n>(
    set: Option<&'n str>,
    custom: Option<&'static str>,
    customary: &'n [&'static str],
) -> impl Iterator<Item = &'n str> {
    let others = if set.is_some() { &[] } else { customary };
    set.into_iter().chain(custom.filter(|_| set.is_none())).chain(others.iter().copied())
}

/// Puts a value under a name in the place of a field, or at the end; other fields of the name go.
fn put<'a>(event: &mut Event<'a>, at: Option<usize>, name: &'a str, value: Value<'a>) {
    let Some(at) = at else { return event.set(name, value) };
    let fields = event.fields_mut();
    fields[at] = (Cow::Borrowed(name), value);
    let mut index = 0;
    fields.retain(|(field, _)| {
        index += 1;
        index - 1 == at || field != name
    });
}
