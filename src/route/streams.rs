//! The streams that events go to, by name and number, and a batch in parts of one stream each. It sends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Routes;
use crate::event::{Batch, EventRef, Further};

/// Characters of a stream's name: the service's own limit.
pub const MAX_STREAM_CHARS: usize = 128;

/// A stream's number: the order in which it was first named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamIndex(pub u32);

impl StreamIndex {
    /// `kinesis.stream`, to which everything goes that has no stream of its own.
    pub const DEFAULT: Self = Self(0);
}

/// Why a name is not the name of a stream that events go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamRefusal {
    /// No stream can have it.
    Invalid,
    /// There are as many streams as there may be.
    Limit,
}

/// Every stream that anything goes to.
#[derive(Debug, Clone)]
pub struct Streams {
    /// Shared with every batch, so that whoever splits it can name its parts.
    names: Arc<[Arc<str>]>,
    indexes: BTreeMap<Arc<str>, StreamIndex>,
    limit: usize,
}

impl Default for Streams {
    /// One stream, whatever it is called.
    fn default() -> Self {
        Self::new("", 1)
    }
}

impl Streams {
    /// The default stream alone, and how many there may be, with it.
    pub fn new(default: &str, limit: usize) -> Self {
        let default: Arc<str> = default.into();
        let indexes = BTreeMap::from([(Arc::clone(&default), StreamIndex::DEFAULT)]);
        Self { names: [default].into(), indexes, limit }
    }

    /// The number of a stream, which is new if the name is.
    pub fn index(&mut self, name: &str) -> Result<StreamIndex, StreamRefusal> {
        if let Some(known) = self.indexes.get(name) {
            return Ok(*known);
        }
        if !is_stream_name(name) {
            return Err(StreamRefusal::Invalid);
        }
        let index = u32::try_from(self.names.len()).map(StreamIndex).map_err(|_| StreamRefusal::Limit)?;
        if self.names.len() >= self.limit {
            return Err(StreamRefusal::Limit);
        }
        let name: Arc<str> = name.into();
        self.names = self.names.iter().chain([&name]).map(Arc::clone).collect();
        self.indexes.insert(name, index);
        Ok(index)
    }

    /// A stream's name.
    pub fn name(&self, index: StreamIndex) -> Option<&Arc<str>> {
        self.names.get(usize::try_from(index.0).ok()?)
    }

    /// All names, in the order of their numbers; the first is the default.
    pub fn names(&self) -> &Arc<[Arc<str>]> {
        &self.names
    }
}

/// Whether a stream can have this name: 1 to 128 of `[a-zA-Z0-9_.-]`.
pub fn is_stream_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=MAX_STREAM_CHARS).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// One stream's part of a batch, in the making.
#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    events: Vec<EventRef>,
    rendered: Vec<u8>,
    more: Vec<Further>,
    routes: Routes,
}

/// A batch in parts of one stream each, that with the most bytes first. It keeps the memory, and all that is counted once: the file's bytes and lines, what
/// became no event, what was refused. Of the others the events are copied. Every event is in exactly one of them, in its order.
pub fn split(mut batch: Batch) -> Vec<(StreamIndex, Batch)> {
    let mut streams = std::mem::take(&mut batch.routes.streams);
    streams.resize(batch.events.len(), batch.routes.stream);
    let Some(first) = streams.first().copied().filter(|first| streams.iter().any(|other| other != first)) else {
        let only = streams.first().copied().unwrap_or(batch.routes.stream);
        batch.routes.stream = only;
        return vec![(only, batch)];
    };
    let mut parts: BTreeMap<StreamIndex, Part> = BTreeMap::new();
    for (stream, event) in streams.iter().zip(&batch.events) {
        parts.entry(*stream).or_default().bytes += batch.bytes(event).len();
    }
    // A tie goes to the stream that was named first, so that the same batch is always split alike.
    let keeper = parts.iter().max_by_key(|(index, part)| (part.bytes, std::cmp::Reverse(**index)));
    let keeper = keeper.map_or(first, |(index, _)| *index);
    let mut further = batch.more.iter().peekable();
    for (index, (stream, event)) in streams.iter().zip(&batch.events).enumerate() {
        let Some(part) = parts.get_mut(stream) else { unreachable!("there is a part for each stream") };
        let place = u32::try_from(part.events.len()).unwrap_or(u32::MAX);
        while let Some(next) = further.next_if(|next| next.event as usize == index) {
            part.more.push(Further { event: place, ..*next });
        }
        part.routes.push_from(&batch.routes, index);
        part.events.push(if *stream == keeper { *event } else { copied(&batch, event, &mut part.rendered) });
    }
    assemble(batch, parts, keeper)
}

/// An event's bytes as rendered ones of another batch.
fn copied(batch: &Batch, event: &EventRef, rendered: &mut Vec<u8>) -> EventRef {
    let length = event.end - event.start;
    // Together they are no longer than the chunk and what was rendered, whose ranges have the same type.
    let start = u32::try_from(rendered.len()).unwrap_or(u32::MAX);
    rendered.extend_from_slice(batch.bytes(event));
    EventRef { start, end: start.saturating_add(length), rendered: true, ..*event }
}

fn assemble(mut batch: Batch, parts: BTreeMap<StreamIndex, Part>, keeper: StreamIndex) -> Vec<(StreamIndex, Batch)> {
    let (all, total) = (batch.permit.bytes(), parts.values().map(|part| part.bytes).sum::<usize>().max(1));
    let mut others = Vec::with_capacity(parts.len());
    for (index, part) in parts {
        let Part { bytes, events, rendered, more, mut routes } = part;
        routes.stream = index;
        if index == keeper {
            routes.counts = batch.routes.counts;
            (batch.events, batch.more, batch.routes) = (events, more, routes);
            continue;
        }
        let share = u128::try_from(bytes).unwrap_or(0) * u128::try_from(all).unwrap_or(0) / total as u128;
        let permit = batch.permit.split(usize::try_from(share).unwrap_or(usize::MAX));
        let other = Batch {
            source: batch.source,
            source_name: Arc::clone(&batch.source_name),
            parser: Arc::clone(&batch.parser),
            lane: batch.lane,
            partition_key: Arc::clone(&batch.partition_key),
            chunk: Vec::new(),
            rendered,
            events,
            more,
            unused: Vec::new(),
            rejected: Vec::new(),
            counts: crate::line::Counts::default(),
            routes,
            start: batch.end,
            end: batch.end,
            read_at: batch.read_at,
            permit,
        };
        others.push((index, other));
    }
    let mut split = vec![(keeper, batch)];
    split.append(&mut others);
    split
}
