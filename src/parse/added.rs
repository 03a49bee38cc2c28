//! What events get beside their own fields: fixed ones, the line's offset and id, what a container runtime says, what is known of the place. And how
//! it is written into an object that is passed on as it stands. It parses nothing.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use memchr::memchr;
use memchr::memmem::Finder;

use crate::event::{self, Event, Value};

/// Fields that every event of a file gets, ready to be written.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting by itself")]
pub struct Added {
    names: Vec<String>,
    /// The values as JSON, in the order of the names.
    values: Vec<String>,
    /// `"name":value` of all of them, joined by commas.
    joined: Vec<u8>,
    offset: bool,
    /// What names the file in the names of its events, if they have one.
    id: Option<String>,
    /// What a container runtime says of a line; an event's own fields of these names win.
    stream: bool,
    time: bool,
    /// The value of `kubernetes` as JSON.
    kubernetes: Option<String>,
    /// Text becomes an object even if nothing is added to it.
    pub(super) objects: bool,
    /// What is known of the place, so far.
    known: Arc<Known>,
    whence: Whence,
}

/// Where a file's events are from, for those who ask it of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whence {
    /// The name of the configured source.
    pub source: String,
    /// The path of the file.
    pub path: String,
    /// The machine.
    pub host: String,
}

/// The names of objects that hold what is known of the place.
pub const TOPS: [&str; 4] = ["ecs", "cloud", KUBERNETES, "host"];

/// Objects that events get, such as `ecs`; an event's own field of the name wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// By their names, which are among [`TOPS`], in that order.
    objects: Vec<(&'static str, String)>,
}

impl Known {
    /// Objects by their names, each in JSON. Names that none of these can have are left out.
    pub fn new(objects: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { objects: objects.into_iter().filter(|(name, _)| TOPS.contains(name)).collect() }
    }
}
/// The name of the field that holds a line's offset.
const OFFSET: &str = "offset";
/// The name of the field that names the event.
const ID: &str = "_id";
/// The name of the field that holds a line that has no fields of its own.
pub const MESSAGE: &str = "message";
/// The names of the fields that a container runtime's words are put under.
const STREAM: &str = "stream";
const TIME: &str = "time";
const KUBERNETES: &str = "kubernetes";
/// The same as they stand in an object.
static ORIGIN_NAMES: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["\"stream\"", "\"time\"", "\"kubernetes\""].map(Finder::new));
/// Those of what is known of the place.
static KNOWN_NAMES: LazyLock<[Finder<'static>; 4]> =
    LazyLock::new(|| ["\"ecs\"", "\"cloud\"", "\"kubernetes\"", "\"host\""].map(Finder::new));
/// And that one.
static ID_NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"_id\""));

/// What an object's names can stand in the way of, as bits.
pub(super) const TAKES_ADDED: u8 = 1;
const TAKES_STREAM: u8 = 2;
const TAKES_TIME: u8 = 4;
const TAKES_KUBERNETES: u8 = 8;
const TAKES_ECS: u8 = 16;
const TAKES_CLOUD: u8 = 32;
const TAKES_HOST: u8 = 64;

/// What a container runtime says of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// `stdout` or `stderr`; empty if it is not known.
    pub stream: &'static str,
    /// When it was written, in the runtime's own words; empty if that is not known.
    pub time: &'a str,
}

/// The fields that one event gets.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// Those of its file.
    pub added: &'a Added,
    /// Where its line starts in the file.
    pub offset: u64,
    /// What names it, where events have a name.
    pub id: Option<&'a str>,
    /// What the container runtime said of it, if one did.
    pub origin: Option<Origin<'a>>,
}

impl Added {
    /// Fields with fixed values, and whether the line's offset is one too.
    pub fn new(fields: impl IntoIterator<Item = (String, serde_json::Value)>, offset: bool) -> Self {
        let mut added = Self { offset, ..Self::default() };
        for (name, value) in fields {
            if !added.joined.is_empty() {
                added.joined.push(b',');
            }
            event::write_text(&name, &mut added.joined);
            added.joined.push(b':');
            let value = value.to_string();
            added.joined.extend_from_slice(value.as_bytes());
            added.names.push(name);
            added.values.push(value);
        }
        added
    }

    /// Adds what a container runtime and its paths say, where an event does not say it itself.
    #[must_use]
    pub fn with_origin(mut self, stream: bool, time: bool, kubernetes: Option<serde_json::Value>) -> Self {
        self.stream = stream && !self.has(STREAM);
        self.time = time && !self.has(TIME);
        self.kubernetes = kubernetes.filter(|_| !self.has(KUBERNETES)).map(|value| value.to_string());
        self
    }

    /// Makes objects of text: where a record can have several lines, its text alone could not be told from several records.
    #[must_use]
    pub fn as_objects(mut self, objects: bool) -> Self {
        self.objects = objects;
        self
    }

    /// Says where the file's events are from.
    #[must_use]
    pub fn with_whence(mut self, whence: Whence) -> Self {
        self.whence = whence;
        self
    }

    /// Where the file's events are from.
    pub fn whence(&self) -> &Whence {
        &self.whence
    }

    /// Has each event say what it is called, which begins with this.
    #[must_use]
    pub fn with_id(mut self, tag: String) -> Self {
        self.id = Some(tag);
        self
    }

    /// What the names of events begin with, if they have one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Events from now on get this of what is known of the place.
    pub fn know(&mut self, known: Arc<Known>) {
        self.known = known;
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name) || (self.offset && name == OFFSET)
    }
}

impl<'a> Fields<'a> {
    /// Whether there is nothing to add.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let Added { names, offset, stream, time, kubernetes, known, .. } = self.added;
        // Of a runtime's file, all events look alike, also that of a line of which the runtime says nothing.
        let origin = self.origin.is_some() && (*stream || *time || kubernetes.is_some());
        names.is_empty() && !offset && self.id.is_none() && !origin && known.objects.is_empty()
    }

    /// What is known of the place and has no other of its name.
    fn known(&self) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let (added, of_path) = (self.added, self.kubernetes().is_some());
        let objects = added.known.objects.iter().map(|(name, value)| (*name, value.as_str()));
        // Of the logs of other pods it is theirs that counts.
        objects.filter(move |(name, _)| !(added.has(name) || of_path && *name == KUBERNETES))
    }

    fn stream(&self) -> Option<&'a str> {
        self.origin.map(|origin| origin.stream).filter(|stream| self.added.stream && !stream.is_empty())
    }

    fn time(&self) -> Option<&'a str> {
        self.origin.map(|origin| origin.time).filter(|time| self.added.time && !time.is_empty())
    }

    fn kubernetes(&self) -> Option<&'a str> {
        self.added.kubernetes.as_deref().filter(|_| self.origin.is_some())
    }

    /// Whether an object has none of the names, as far as a search for them shows, which is quicker than to look at each of its names. One
    /// written with escapes is found by its backslash.
    pub(super) fn clearly_missing(&self, object: &str) -> bool {
        let Added { names, offset, known, .. } = self.added;
        let bytes = object.as_bytes();
        let lacks = |names: &[Finder<'static>]| names.iter().all(|name| name.find(bytes).is_none());
        names.is_empty()
            && !offset
            && memchr(b'\\', bytes).is_none()
            && (self.id.is_none() || ID_NAME.find(bytes).is_none())
            && (self.origin.is_none() || lacks(&*ORIGIN_NAMES))
            && (known.objects.is_empty() || lacks(&*KNOWN_NAMES))
    }

    /// What an object's name takes.
    pub(super) fn taken(&self, name: &str) -> u8 {
        match name {
            _ if self.added.has(name) => TAKES_ADDED,
            ID if self.id.is_some() => TAKES_ADDED,
            STREAM => TAKES_STREAM,
            TIME => TAKES_TIME,
            _ => taken_by(name),
        }
    }

    /// Gives an event its fields.
    pub fn set_on(&self, event: &mut Event<'a>) {
        if let Some(stream) = self.stream() {
            event.set_if_absent(STREAM, Value::Text(Cow::Borrowed(stream)));
        }
        if let Some(time) = self.time() {
            event.set_if_absent(TIME, Value::Text(Cow::Borrowed(time)));
        }
        if let Some(kubernetes) = self.kubernetes() {
            event.set_if_absent(KUBERNETES, Value::Raw(kubernetes));
        }
        for (name, value) in self.known() {
            event.set_if_absent(name, Value::Raw(value));
        }
        for (name, value) in self.added.names.iter().zip(&self.added.values) {
            event.set(name, Value::Raw(value));
        }
        if self.added.offset {
            event.set(OFFSET, Value::Number(self.offset));
        }
        self.set_id_on(event);
    }

    /// Has the event say its name.
    pub fn set_id_on(&self, event: &mut Event<'a>) {
        if let Some(id) = self.id {
            event.set(ID, Value::text(id));
        }
    }

    /// Appends what is not taken to an object whose brace is still open, and closes it.
    pub(super) fn close(&self, mut comma: bool, taken: u8, out: &mut Vec<u8>) {
        let mut field = |name: &[u8], value: &mut dyn FnMut(&mut Vec<u8>)| {
            if std::mem::replace(&mut comma, true) {
                out.push(b',');
            }
            out.extend_from_slice(name);
            value(out);
        };
        if let Some(stream) = self.stream().filter(|_| taken & TAKES_STREAM == 0) {
            field(b"\"stream\":", &mut |out| write_plain(stream, out));
        }
        if let Some(time) = self.time().filter(|_| taken & TAKES_TIME == 0) {
            field(b"\"time\":", &mut |out| write_plain(time, out));
        }
        if let Some(kubernetes) = self.kubernetes().filter(|_| taken & TAKES_KUBERNETES == 0) {
            field(b"\"kubernetes\":", &mut |out| out.extend_from_slice(kubernetes.as_bytes()));
        }
        for (name, value) in self.known().filter(|(name, _)| taken & taken_by(name) == 0) {
            field(b"\"", &mut |out| {
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                out.extend_from_slice(value.as_bytes());
            });
        }
        if !self.added.joined.is_empty() {
            field(&self.added.joined, &mut |_| {});
        }
        if self.added.offset {
            field(b"\"offset\":", &mut |out| event::write_number(self.offset, out));
        }
        if let Some(id) = self.id {
            field(b"\"_id\":", &mut |out| write_plain(id, out));
        }
        out.push(b'}');
    }
}

/// Puts the name of an event that was rendered without it at its end.
pub fn append_id(id: &str, out: &mut Vec<u8>) {
    let brace = out.pop();
    out.extend_from_slice(b",\"_id\":");
    write_plain(id, out);
    out.extend(brace);
}

/// What an object's name at the top takes of those that are not set by the user.
fn taken_by(name: &str) -> u8 {
    match name {
        KUBERNETES => TAKES_KUBERNETES,
        "ecs" => TAKES_ECS,
        "cloud" => TAKES_CLOUD,
        "host" => TAKES_HOST,
        _ => 0,
    }
}

/// Appends a JSON string; the words of a container runtime hardly ever need an escape.
fn write_plain(text: &str, out: &mut Vec<u8>) {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'.' | b'+' | b'_');
    if !text.bytes().all(is_plain) {
        return event::write_text(text, out);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}
