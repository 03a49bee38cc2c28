//! The Router: which partition key, explicit hash key and stream each event gets, by templates over its fields. Pure; it looks at an event's
//! final bytes, changes none of them, and knows no shards.

mod fields;
mod streams;
mod template;

use std::sync::Arc;

use crate::config::{KinesisConfig, PartitionKey, SourceConfig};
use crate::event::Batch;
use crate::kinesis::hash::parse_hash_key;
use fields::{Found, Wanted};
pub use streams::{MAX_STREAM_CHARS, StreamIndex, StreamRefusal, Streams, is_stream_name, split};
pub(crate) use template::{Choice, MAX_PARTS, Meta, Piece};
pub use template::{Template, TemplateError};

/// Characters of a partition key: the service's own limit, in which any Unicode character is one.
pub const MAX_KEY_CHARS: usize = 256;
/// The most bytes that so many characters have in UTF-8.
pub const MAX_KEY_BYTES: usize = 4 * MAX_KEY_CHARS;

/// Where one source's events go by their own words.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The partition key; without it, an event has its batch's.
    pub partition_key: Option<Arc<Template>>,
    /// The explicit hash key.
    pub explicit_hash_key: Option<Arc<Template>>,
    /// The stream; without it, that of the configuration.
    pub stream: Option<StreamRule>,
}

/// A source's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamRule {
    /// The one of this name.
    Name(String),
    /// The one that each event names.
    Template(Arc<Template>),
}

impl Rules {
    /// What the configuration says for one of its sources.
    pub fn new(source: &SourceConfig, kinesis: &KinesisConfig) -> Self {
        let partition_key = match &kinesis.partition_key {
            PartitionKey::Template(template) => Some(Arc::clone(template)),
            PartitionKey::Random | PartitionKey::Source => None,
        };
        let explicit_hash_key = kinesis.explicit_hash_key.clone();
        Self { partition_key, explicit_hash_key, stream: source.stream.clone() }
    }
}

impl StreamRule {
    /// As it was written.
    pub fn text(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Template(template) => template.text(),
        }
    }
}

/// Where events go, beside what their batch says. Empty if no template is set: then all have the batch's key.
#[derive(Debug, Default)]
pub struct Routes {
    text: String,
    /// By event; empty if there is no template for keys.
    keys: Vec<Option<Key>>,
    /// By event; empty if there is none for hash keys.
    hash_keys: Vec<Option<u128>>,
    /// By event; empty if all of them go to [`Routes::stream`].
    streams: Vec<StreamIndex>,
    /// The stream of events without one of their own.
    pub stream: StreamIndex,
    /// What the streams are called; none if all events go to the default stream.
    pub names: Option<Arc<[Arc<str>]>>,
    /// What did not go as the templates say.
    pub counts: RouteCounts,
}

/// The place of a partition key in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    start: u32,
    end: u32,
}

/// Events that did not go where a template says, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteCounts {
    /// They have none of the fields, and got their source's partition key.
    pub missing: u64,
    /// Their partition key would be empty.
    pub empty: u64,
    /// Their partition key would be over [`MAX_KEY_CHARS`].
    pub too_long: u64,
    /// Their explicit hash key is none.
    pub invalid_hash_key: u64,
    /// They name no stream.
    pub stream_missing: u64,
    /// What they name can be no stream.
    pub stream_invalid: u64,
    /// They name a stream beyond `kinesis.max_streams`.
    pub stream_limit: u64,
}

impl RouteCounts {
    /// The events that got their source's partition key, or whose explicit hash key was left out, with the reason's label.
    pub fn keys(&self) -> [(u64, &'static str); 4] {
        [
            (self.missing, "missing"),
            (self.empty, "empty"),
            (self.too_long, "too_long"),
            (self.invalid_hash_key, "invalid_hash_key"),
        ]
    }

    /// The events that went to the default stream, with the reason's label.
    pub fn streams(&self) -> [(u64, &'static str); 3] {
        [(self.stream_missing, "missing"), (self.stream_invalid, "invalid"), (self.stream_limit, "limit")]
    }
}

impl Routes {
    /// Whether all events have the batch's key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.hash_keys.is_empty()
    }

    /// The event's own partition key; none if it has the batch's.
    pub fn partition_key(&self, event: usize) -> Option<&str> {
        let key = self.keys.get(event).copied().flatten()?;
        self.text.get(key.start as usize..key.end as usize)
    }

    /// The hash that its explicit hash key says, if it has one.
    pub fn hash_key(&self, event: usize) -> Option<u128> {
        self.hash_keys.get(event).copied().flatten()
    }

    /// The memory that the events' own keys take, here and, once more, when they are packed.
    pub fn memory(&self) -> usize {
        let keys = self.keys.iter().flatten().map(|key| (key.end - key.start) as usize).sum::<usize>();
        keys + self.text.len()
            + self.keys.len() * size_of::<Option<Key>>()
            + self.hash_keys.len() * size_of::<Option<u128>>()
            + self.streams.len() * size_of::<StreamIndex>()
    }

    /// Takes what was written from `start` on as the next event's key.
    fn push_written(&mut self, start: usize) {
        // Lines of one user, request or pod come in runs: a run has its key once.
        let last = self.keys.iter().next_back().copied().flatten();
        if let Some(last) = last
            && last.end as usize == start
            && self.text.get(last.start as usize..start) == self.text.get(start..)
        {
            self.text.truncate(start);
            self.keys.push(Some(last));
            return;
        }
        // Past 4 GiB of keys in one batch, which no read is large enough for, the source's key would do.
        let range = u32::try_from(start).ok().zip(u32::try_from(self.text.len()).ok());
        self.keys.push(range.map(|(start, end)| Key { start, end }));
    }

    /// Takes another one's event over.
    fn push_from(&mut self, other: &Self, event: usize) {
        if !other.keys.is_empty() {
            match other.partition_key(event) {
                Some(key) => {
                    let start = self.text.len();
                    self.text.push_str(key);
                    self.push_written(start);
                }
                None => self.keys.push(None),
            }
        }
        if !other.hash_keys.is_empty() {
            self.hash_keys.push(other.hash_key(event));
        }
    }
}

/// Where the events of one source go.
#[derive(Debug, Default)]
pub struct Router {
    wanted: Wanted,
    partition_key: Option<Compiled>,
    explicit_hash_key: Option<Compiled>,
    stream: Option<Compiled>,
    fixed_stream: StreamIndex,
    source: String,
    host: String,
}

/// A template whose fields are numbers of [`Wanted`].
type Compiled = Vec<Piece<usize>>;

/// All that a template can say of one event.
struct Sight<'a, 'e> {
    router: &'a Router,
    path: &'a str,
    found: &'a Found<'e>,
}

impl Router {
    /// The router of a source of this name, on a machine of this name.
    pub fn new(rules: &Rules, source: &str, host: &str, streams: &mut Streams) -> Self {
        let mut wanted = Wanted::default();
        let mut compile = |template: &Template| template.pieces(|name| wanted.field(name));
        let partition_key = rules.partition_key.as_deref().map(&mut compile);
        let explicit_hash_key = rules.explicit_hash_key.as_deref().map(&mut compile);
        let (stream, fixed_stream) = match &rules.stream {
            None => (None, StreamIndex::DEFAULT),
            // The configuration has been checked: there is room for every stream that it names.
            Some(StreamRule::Name(name)) => (None, streams.index(name).unwrap_or(StreamIndex::DEFAULT)),
            Some(StreamRule::Template(template)) => (Some(compile(template)), StreamIndex::DEFAULT),
        };
        let (source, host) = (source.to_owned(), host.to_owned());
        Self { wanted, partition_key, explicit_hash_key, stream, fixed_stream, source, host }
    }

    /// Whether no template is set, so that nothing has to be looked at.
    pub fn is_idle(&self) -> bool {
        self.partition_key.is_none() && self.explicit_hash_key.is_none() && self.stream.is_none()
    }

    /// The one stream that all events go to; none if each of them says it.
    pub fn fixed_stream(&self) -> Option<StreamIndex> {
        self.stream.is_none().then_some(self.fixed_stream)
    }

    /// Says where the events of a batch go. It is of the file at this path.
    pub fn route(&self, batch: &mut Batch, path: &str, streams: &mut Streams) {
        let mut routes = Routes { stream: self.fixed_stream, ..Routes::default() };
        if !self.is_idle() {
            self.look_at_events(batch, path, streams, &mut routes);
        }
        if routes.stream != StreamIndex::DEFAULT || !routes.streams.is_empty() {
            routes.names = Some(Arc::clone(streams.names()));
        }
        batch.routes = routes;
    }

    fn look_at_events(&self, batch: &Batch, path: &str, streams: &mut Streams, routes: &mut Routes) {
        let mut found = self.wanted.slots();
        let mut buffer = String::new();
        for event in &batch.events {
            if !self.wanted.is_empty() {
                self.wanted.find(batch.bytes(event), &mut found);
            }
            let sight = Sight { router: self, path, found: &found };
            if let Some(template) = &self.partition_key {
                partition_key(template, &sight, routes);
            }
            if let Some(template) = &self.explicit_hash_key {
                buffer.clear();
                hash_key(template, &sight, &mut buffer, routes);
            }
            if let Some(template) = &self.stream {
                buffer.clear();
                stream(template, &sight, &mut buffer, (streams, routes));
            }
        }
    }
}

fn partition_key(template: &Compiled, sight: &Sight<'_, '_>, routes: &mut Routes) {
    let start = routes.text.len();
    let is_there = sight.write(template, &mut routes.text);
    let key = routes.text.get(start..).unwrap_or_default();
    let reason = if !is_there {
        &mut routes.counts.missing
    } else if key.is_empty() {
        &mut routes.counts.empty
    } else if key.len() > MAX_KEY_CHARS && key.chars().count() > MAX_KEY_CHARS {
        &mut routes.counts.too_long
    } else {
        return routes.push_written(start);
    };
    *reason += 1;
    routes.text.truncate(start);
    routes.keys.push(None);
}

/// Without the field, the partition key says where an event goes; that is no fault.
fn hash_key(template: &Compiled, sight: &Sight<'_, '_>, buffer: &mut String, routes: &mut Routes) {
    let is_there = sight.write(template, buffer);
    let parsed = if is_there { parse_hash_key(buffer).map(Some) } else { Ok(None) };
    routes.counts.invalid_hash_key += u64::from(parsed.is_err());
    routes.hash_keys.push(parsed.unwrap_or_default());
}

fn stream(
    template: &Compiled,
    sight: &Sight<'_, '_>,
    buffer: &mut String,
    (streams, routes): (&mut Streams, &mut Routes),
) {
    let named = sight.write(template, buffer).then(|| streams.index(buffer));
    let reason = match named {
        Some(Ok(index)) => return routes.streams.push(index),
        Some(Err(StreamRefusal::Invalid)) => &mut routes.counts.stream_invalid,
        Some(Err(StreamRefusal::Limit)) => &mut routes.counts.stream_limit,
        None => &mut routes.counts.stream_missing,
    };
    *reason += 1;
    routes.streams.push(StreamIndex::DEFAULT);
}

impl Sight<'_, '_> {
    /// Appends what a template makes of the event, and answers whether all that it needs is there.
    fn write(&self, template: &Compiled, out: &mut String) -> bool {
        template.iter().all(|piece| match piece {
            Piece::Literal(text) => {
                out.push_str(text);
                true
            }
            Piece::First(choices) => self.first(choices, out),
        })
    }

    /// The first alternative that is there. An empty text gives way to one that is not.
    fn first(&self, choices: &[Choice<usize>], out: &mut String) -> bool {
        let (start, mut is_there) = (out.len(), false);
        for choice in choices {
            is_there |= self.choice(choice, out);
            if out.len() > start {
                return true;
            }
        }
        is_there
    }

    fn choice(&self, choice: &Choice<usize>, out: &mut String) -> bool {
        let text = match choice {
            Choice::Field(field) => return self.router.wanted.write(*field, self.found, out),
            Choice::Meta(Meta::Source) => &self.router.source,
            Choice::Meta(Meta::Path) => self.path,
            Choice::Meta(Meta::Host) => &self.router.host,
            Choice::Constant(text) => text,
        };
        out.push_str(text);
        true
    }
}

#[cfg(test)]
mod tests;
