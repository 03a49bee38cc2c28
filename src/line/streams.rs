//! Joining: the pieces of a container's line to the line, and lines to records. Each stream of a container is joined by itself, however its
//! lines and those of the other one alternate. It decides what is held back and for how long; it waits for nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::Lines;
use super::emit::{Emitter, Text};
use super::held::Held;
use super::ranges::{Ranges, Spans};
use crate::container::Stream;
use crate::multiline::{Multiline, State, Step};
use crate::parse::Origin;

/// Blank lines within a record that are held until it is known whether it goes on.
const MAX_BLANKS: usize = 16;

/// What is held back of one file.
#[derive(Debug, Default)]
pub(super) struct Streams([OneStream; Stream::COUNT]);

#[derive(Debug, Default)]
struct OneStream {
    /// The pieces of a line.
    line: Held,
    /// The lines of a record.
    record: Record,
}

#[derive(Debug, Default)]
struct Record {
    held: Held,
    state: State,
    blanks: Vec<Blank>,
}

/// A blank line that belongs to a record if more of that comes.
#[derive(Debug)]
struct Blank {
    bytes: Vec<u8>,
    start: u64,
    stream: Option<&'static str>,
    time: String,
    ranges: Ranges,
}

impl Streams {
    /// A whole line of a stream.
    pub(super) fn whole(
        &mut self,
        stream: Stream,
        text: Text<'_>,
        spans: Spans<'_>,
        now: Option<Instant>,
        (emit, lines): (&mut Emitter, &mut Lines),
    ) {
        self.0[stream.index()].record.line(text, spans, now, emit, lines);
    }

    /// A piece of a line of a stream; without `partial` the last one.
    pub(super) fn piece(
        &mut self,
        (stream, partial): (Stream, bool),
        text: Text<'_>,
        spans: Spans<'_>,
        now: Option<Instant>,
        (emit, lines): (&mut Emitter, &mut Lines),
    ) {
        let OneStream { line, record } = &mut self.0[stream.index()];
        if !partial && !line.is_open() {
            return record.line(text, spans, now, emit, lines);
        }
        line.add(text, spans, false, (emit, lines), |emit, lines| record.end(emit, lines));
        if partial {
            line.due = deadline(now, emit.config.partial_line_timeout);
        } else {
            line.end(emit, lines, |text, spans, emit, lines| record.line(text, spans, now, emit, lines));
        }
    }

    /// Nothing more belongs to the record of this stream.
    pub(super) fn end_record(&mut self, stream: Stream, emit: &mut Emitter, lines: &mut Lines) {
        self.0[stream.index()].record.end(emit, lines);
    }

    /// Nothing more belongs to any record.
    pub(super) fn end_records(&mut self, emit: &mut Emitter, lines: &mut Lines) {
        for OneStream { record, .. } in &mut self.0 {
            record.end(emit, lines);
        }
    }

    /// What is due by then goes; without a time, all of it.
    pub(super) fn expire(&mut self, now: Option<Instant>, emit: &mut Emitter, lines: &mut Lines) {
        let is_due = |held: &Held| held.is_open() && now.is_none_or(|now| held.due.is_some_and(|due| due <= now));
        for OneStream { line, record } in &mut self.0 {
            if is_due(line) {
                line.end(emit, lines, |text, spans, emit, lines| record.line(text, spans, now, emit, lines));
            }
            if is_due(&record.held) {
                record.end(emit, lines);
            }
        }
    }

    /// When the next thing is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().flat_map(|stream| [stream.line.due, stream.record.held.due]).flatten().min()
    }

    /// The first byte of the oldest thing that is held.
    pub(super) fn from(&self) -> Option<u64> {
        let blanks = |record: &Record| record.blanks.first().and_then(|blank| blank.ranges.first());
        let of = |stream: &OneStream| [stream.line.from(), stream.record.held.from(), blanks(&stream.record)];
        self.0.iter().flat_map(of).flatten().min()
    }

    /// How many bytes of the file are held.
    pub(super) fn bytes(&self) -> u64 {
        let blanks = |record: &Record| record.blanks.iter().map(|blank| blank.ranges.len()).sum::<u64>();
        let of = |stream: &OneStream| stream.line.bytes() + stream.record.held.bytes() + blanks(&stream.record);
        self.0.iter().map(of).sum()
    }
}

impl Record {
    /// The next line of the stream.
    fn line(&mut self, text: Text<'_>, spans: Spans<'_>, now: Option<Instant>, emit: &mut Emitter, lines: &mut Lines) {
        if emit.config.multiline.is_none() {
            return emit.line(text, spans, lines);
        }
        let config = std::sync::Arc::clone(&emit.config);
        let Some(multiline) = &config.multiline else { return };
        match multiline.step(&mut self.state, text.bytes) {
            Step::Alone => {
                self.release(emit, lines);
                emit.line(text, spans, lines);
            }
            Step::Start => {
                self.release(emit, lines);
                self.add(text, spans, multiline, now, (emit, lines));
            }
            step @ (Step::Join | Step::End) => {
                for blank in std::mem::take(&mut self.blanks) {
                    self.add(blank.text(), blank.ranges.spans(), multiline, now, (emit, lines));
                }
                self.add(text, spans, multiline, now, (emit, lines));
                if step == Step::End {
                    self.release(emit, lines);
                }
            }
            Step::Maybe if self.blanks.len() < MAX_BLANKS && self.held.is_open() => {
                self.blanks.push(Blank::new(text, spans));
                self.held.due = deadline(now, multiline.timeout);
            }
            Step::Maybe => {
                self.end(emit, lines);
                emit.line(text, spans, lines);
            }
        }
    }

    fn add(
        &mut self,
        text: Text<'_>,
        spans: Spans<'_>,
        multiline: &Multiline,
        now: Option<Instant>,
        (emit, lines): (&mut Emitter, &mut Lines),
    ) {
        if self.held.count >= multiline.max_lines {
            // The trace goes on in another event.
            self.held.end(emit, lines, |text, spans, emit, lines| emit.line(text, spans, lines));
        }
        self.held.add(text, spans, true, (emit, lines), |_, _| {});
        self.held.due = deadline(now, multiline.timeout);
    }

    /// Nothing more belongs to it.
    fn end(&mut self, emit: &mut Emitter, lines: &mut Lines) {
        self.release(emit, lines);
        self.state = State::default();
    }

    fn release(&mut self, emit: &mut Emitter, lines: &mut Lines) {
        if self.held.is_open() {
            self.held.end(emit, lines, |text, spans, emit, lines| emit.line(text, spans, lines));
        }
        for blank in std::mem::take(&mut self.blanks) {
            emit.line(blank.text(), blank.ranges.spans(), lines);
        }
    }
}

impl Blank {
    fn new(text: Text<'_>, spans: Spans<'_>) -> Self {
        let mut ranges = Ranges::default();
        ranges.append(spans);
        let stream = text.origin.map(|origin| origin.stream);
        let time = text.origin.map_or_else(String::new, |origin| origin.time.to_owned());
        Self { bytes: text.bytes.to_vec(), start: text.start, stream, time, ranges }
    }

    fn text(&self) -> Text<'_> {
        let origin = self.stream.map(|stream| Origin { stream, time: &self.time });
        Text { bytes: &self.bytes, at: None, start: self.start, origin, decoded: false, replaced: false }
    }
}

/// When something goes that waits for this long. No time at all is without end.
fn deadline(now: Option<Instant>, wait: Duration) -> Option<Instant> {
    now.filter(|_| !wait.is_zero()).map(|now| now + wait)
}
