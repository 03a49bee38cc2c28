//! The straight line from a chunk of a file to the events of a batch: framer, parser, rendering. Plain calls over one piece of memory;
//! it reads nothing, waits for nothing, and decides nothing about delivery.

mod emit;
mod held;
mod ids;
mod ranges;
mod renew;
mod shaped;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{LineFormat, LongLines, OnParseError, Parser};
use crate::container::{Piece, Stream, cri, docker};
use crate::encoding::{self, Encoding};
use crate::event::{EventRef, Further, Rejected};
use crate::frame::{Frame, FrameKind, Framer};
use crate::multiline::Multiline;
use crate::parse::{Added, Direct, Known, Origin};
use crate::shape::{Shape, Shaping};
use emit::{Emitter, Part, Text};
pub use ranges::Range;
use ranges::Spans;
pub use shaped::{DROP_REASONS, Shaped};
use streams::Streams;

/// Rendered bytes at which a stretch is cut short: tiny lines that get large fields would make hundreds of times their bytes of them.
const MAX_RENDERED_BYTES: usize = 1 << 20;

/// A line of a container runtime can be this long whatever `max_line_bytes` is, which is about the text in it: runtimes cut at 16 KiB, of which
/// JSON's escapes can make six times as much.
const MAX_RUNTIME_LINE_BYTES: usize = 128 * 1024;
/// What a runtime writes around the text of a line.
const RUNTIME_HEAD_BYTES: usize = 1024;

/// How the lines of one group of files become events.
#[derive(Debug, Clone)]
pub struct LineConfig {
    /// The parser.
    pub parse: Parser,
    /// What happens to lines that it refuses.
    pub on_parse_error: OnParseError,
    /// What is done to what it makes.
    pub shape: Shape,
    /// The longest line that stays whole.
    pub max_line_bytes: usize,
    /// What happens to longer ones.
    pub long_lines: LongLines,
    /// Who wrote the file.
    pub format: LineFormat,
    /// How long a line waits for its next piece; zero is without end.
    pub partial_line_timeout: Duration,
    /// Which lines are one record.
    pub multiline: Option<Multiline>,
    /// How its text is encoded.
    pub encoding: Encoding,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            parse: Parser::raw(),
            on_parse_error: OnParseError::Keep,
            shape: Shape::default(),
            max_line_bytes: 1 << 20,
            long_lines: LongLines::Split,
            format: LineFormat::Plain,
            partial_line_timeout: Duration::from_secs(5),
            multiline: None,
            encoding: Encoding::Auto,
        }
    }
}

impl LineConfig {
    /// The direct way, if nothing is asked of an event that takes a list of its fields.
    fn direct(&self) -> Option<Direct> {
        self.parse.direct().filter(|_| self.shape.is_empty())
    }

    /// The longest line of a file that is read as a whole.
    fn max_frame(&self, format: LineFormat) -> usize {
        match format {
            LineFormat::Plain => self.max_line_bytes,
            _ => self.max_line_bytes.max(MAX_RUNTIME_LINE_BYTES) + RUNTIME_HEAD_BYTES,
        }
    }
}

/// What a stretch of a file became.
#[derive(Debug, Default)]
pub struct Lines {
    /// The events.
    pub events: Vec<EventRef>,
    /// Ranges of events beside their spans, in the order of the events.
    pub more: Vec<Further>,
    /// Ranges that no event was made of, and none will be.
    pub unused: Vec<Range>,
    /// The bytes of events that are not ranges of the chunk.
    pub rendered: Vec<u8>,
    /// Lines for the dead-letter file.
    pub rejected: Vec<Rejected>,
    /// What was seen on the way.
    pub counts: Counts,
    /// What goes from one stretch to the next: memory, and what shaping remembers.
    pub shaping: Shaping,
    /// What was done to each line, in words, if somebody asks.
    pub trail: Option<Vec<String>>,
    /// There is more in the bytes than was used: they are to be handed in again before any more are read.
    pub capped: bool,
}

impl Lines {
    /// Whether there is nothing for the sender in it.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.unused.is_empty() && self.rejected.is_empty() && self.counts == Counts::default()
    }
}

/// What the line saw and did, for the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines, each counted when its last byte was seen.
    pub lines: u64,
    /// Lines that the parser refused.
    pub parse_errors: u64,
    /// Fields that were to be parsed further, and that their parser refused.
    pub nested_errors: u64,
    /// Of those, the ones that were dropped.
    pub dropped_parse: u64,
    /// What shaping did.
    pub shaped: Shaped,
    /// Blank lines, which are no JSON.
    pub dropped_blank: u64,
    /// Lines in which bytes were replaced because they were not UTF-8.
    pub invalid_utf8: u64,
    /// Lines sent in parts.
    pub split: u64,
    /// Lines cut short.
    pub truncated: u64,
    /// Bytes that were cut off.
    pub truncated_bytes: u64,
    /// NULs that holes in the file left at the start of lines.
    pub nul_bytes: u64,
    /// Lines of a CRI file that are not in that format.
    pub cri_errors: u64,
    /// Lines of a file of Docker's that are not in its format.
    pub docker_errors: u64,
}

/// The line of one file: framing state, added fields, part numbers, and what is held back.
#[derive(Debug)]
pub struct LineBuilder {
    framer: Framer,
    emit: Emitter,
    /// Of the line in the file that is being sent in parts.
    part: Part,
    /// Who wrote the file; not known before its first line, if that is to tell.
    format: LineFormat,
    /// The first line that comes is not whole, and tells nothing.
    in_line: bool,
    /// In parts of a runtime's line: its stream, and whether the container's line goes on after it.
    continued: Option<(Stream, bool)>,
    /// What is held back, once something can be.
    streams: Option<Box<Streams>>,
    /// For text that had to be unescaped.
    buffer: Vec<u8>,
    /// What the file is in; not known before its first bytes.
    standard: Option<&'static encoding_rs::Encoding>,
    /// For text that had to be decoded.
    decoded: String,
    /// What lines are from the next chunk on, if how they are told apart and joined has changed; and the first bytes of the file.
    next: Option<(Arc<LineConfig>, Vec<u8>)>,
}

/// Where the bytes are that are being looked at: in the chunk, in the file, and when. Without a time, nothing is waited for.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    chunk: &'a [u8],
    /// Where the chunk begins in the file.
    offset: u64,
    now: Option<Instant>,
}

impl LineBuilder {
    /// The line of a file that is read from `offset` on; `sent` bytes before it belong to the same line and are out already.
    pub fn new(config: Arc<LineConfig>, added: Added, tag: String, offset: u64, sent: u64) -> Self {
        let format = config.format;
        let framer = Framer::resumed(config.max_frame(format), config.long_lines, sent);
        // Above every ordinal that can have been used for what is out already.
        let part = Part { line_offset: offset - sent, ordinal: sent + 1 };
        let emit = Emitter::new(config, added, tag);
        let (continued, streams, buffer) = (None, None, Vec::new());
        let (in_line, standard, decoded, next) = (sent > 0, None, String::new(), None);
        Self { framer, emit, part, format, in_line, continued, streams, buffer, standard, decoded, next }
    }

    /// Events from now on get this of what is known of the place.
    pub fn know(&mut self, known: Arc<Known>) {
        self.emit.added.know(known);
    }

    /// Tells a file's encoding by its first bytes. Reading that does not begin with them needs this first.
    pub fn detect(&mut self, head: &[u8]) {
        if self.standard.is_none()
            && let Some((standard, _)) = self.emit.config.encoding.detect(head, true)
        {
            self.set_encoding(standard);
        }
    }

    fn set_encoding(&mut self, standard: &'static encoding_rs::Encoding) {
        self.framer.set_code(encoding::code(standard));
        self.standard = Some(standard);
    }

    /// Tells the encoding at the file's beginning, and answers the length of a byte order mark there. None while more is needed to tell.
    fn begin(&mut self, place: Place<'_>, is_all: bool, lines: &mut Lines) -> Option<usize> {
        if self.standard.is_some() {
            return Some(0);
        }
        let head = if place.offset == 0 { place.chunk } else { &[] };
        let (standard, mark) = self.emit.config.encoding.detect(head, is_all || place.offset > 0)?;
        self.set_encoding(standard);
        if mark > 0 {
            self.emit.unused(Spans::one((0, mark as u64)), lines);
        }
        Some(mark)
    }

    /// Turns what can be turned of `chunk`, of which the first byte lies at `offset` in the file, into events of at most `max_event`
    /// bytes. Answers how many bytes were used; the rest waits for its newline, or, if [`Lines::capped`] is set, for another call.
    pub fn advance(&mut self, chunk: &[u8], offset: u64, max_event: usize, now: Instant, lines: &mut Lines) -> usize {
        self.emit.max_event = max_event;
        lines.capped = false;
        self.turn_over(lines);
        let place = Place { chunk, offset, now: Some(now) };
        let Some(mut at) = self.begin(place, false, lines) else { return 0 };
        while let Some(frame) = self.framer.next(&chunk[at..]) {
            self.take(place, at, frame, lines);
            at += frame.next;
            if lines.rendered.len() > MAX_RENDERED_BYTES {
                lines.capped = true;
                break;
            }
        }
        self.emit.end(lines);
        at
    }

    /// The file's end: turns all that there is into events, a last line without a newline and what is held back.
    pub fn flush(&mut self, rest: &[u8], offset: u64, max_event: usize, lines: &mut Lines) {
        self.emit.max_event = max_event;
        self.finish(Place { chunk: rest, offset, now: None }, lines);
    }

    /// Turns a last line that has waited for its newline for long enough into an event, and what is due. The newline may still come.
    pub fn flush_partial(&mut self, rest: &[u8], offset: u64, max_event: usize, now: Instant, lines: &mut Lines) {
        self.emit.max_event = max_event;
        self.finish(Place { chunk: rest, offset, now: Some(now) }, lines);
    }

    fn finish(&mut self, place: Place<'_>, lines: &mut Lines) {
        let mut at = if place.chunk.is_empty() { 0 } else { self.begin(place, true, lines).unwrap_or(0) };
        while let Some(frame) = self.framer.next(&place.chunk[at..]) {
            self.take(place, at, frame, lines);
            at += frame.next;
        }
        if let Some(frame) = self.framer.flush(&place.chunk[at..]) {
            self.take(place, at, frame, lines);
        }
        if let Some(streams) = &mut self.streams {
            streams.expire(place.now, &mut self.emit, lines);
        }
        self.emit.end(lines);
    }

    /// Adds an event that stands for none of the file's bytes, such as one that says how often another was repeated.
    pub fn tell(&mut self, event: &str, at: u64, lines: &mut Lines) {
        self.emit.aside(event, at, lines);
    }

    /// When something that is held back has to go though nothing more came.
    pub fn due(&self) -> Option<Instant> {
        self.streams.as_ref()?.due()
    }

    /// Turns what is due into events.
    pub fn expire(&mut self, now: Instant, max_event: usize, lines: &mut Lines) {
        self.emit.max_event = max_event;
        if self.due().is_some_and(|due| due <= now)
            && let Some(streams) = &mut self.streams
        {
            streams.expire(Some(now), &mut self.emit, lines);
            self.emit.end(lines);
        }
    }

    /// The first byte of the oldest thing that is held back.
    pub fn held_from(&self) -> Option<u64> {
        self.streams.as_ref()?.from()
    }

    /// How many bytes of the file are held back.
    pub fn held_bytes(&self) -> u64 {
        self.streams.as_ref().map_or(0, |streams| streams.bytes())
    }

    fn take(&mut self, place: Place<'_>, at: usize, frame: Frame, lines: &mut Lines) {
        let start = place.offset + at as u64;
        let spans = Spans::one((start, start + frame.next as u64));
        let bytes = &place.chunk[at..at + frame.end];
        let text = Text { bytes, at: Some(at), start, origin: None, decoded: false, replaced: false };
        match frame.kind {
            FrameKind::Whole | FrameKind::Truncated => lines.counts.lines += 1,
            FrameKind::Part { last, .. } => lines.counts.lines += u64::from(last),
            FrameKind::Skipped => {
                lines.counts.truncated_bytes += frame.next as u64;
                return self.emit.unused(spans, lines);
            }
            FrameKind::LateNewline => return self.emit.unused(spans, lines),
            FrameKind::Nuls => {
                lines.counts.nul_bytes += frame.next as u64;
                return self.emit.unused(spans, lines);
            }
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        let replaced = self.standard.and_then(|standard| encoding::decode(standard, text.bytes, &mut decoded));
        if let Some(replaced) = replaced {
            let text = Text { bytes: decoded.as_bytes(), at: None, decoded: true, replaced, ..text };
            self.dispatch(text, spans, frame.kind, place.now, lines);
        } else {
            self.dispatch(text, spans, frame.kind, place.now, lines);
        }
        self.decoded = decoded;
    }

    fn dispatch(&mut self, text: Text<'_>, spans: Spans<'_>, kind: FrameKind, now: Option<Instant>, lines: &mut Lines) {
        if self.format == LineFormat::Auto && !std::mem::take(&mut self.in_line) {
            self.detect_format(text.bytes);
        }
        match self.format {
            LineFormat::Cri | LineFormat::Docker => self.runtime_line(text, spans, kind, now, lines),
            LineFormat::Plain | LineFormat::Auto => self.plain_line(text, spans, kind, now, lines),
        }
    }

    /// The first line of a file tells who wrote it.
    fn detect_format(&mut self, line: &[u8]) {
        self.format = if cri::parse(line).is_some() {
            LineFormat::Cri
        } else if docker::is_entry(line) {
            LineFormat::Docker
        } else {
            LineFormat::Plain
        };
        self.framer.set_max(self.emit.config.max_frame(self.format));
    }

    fn plain_line(
        &mut self,
        text: Text<'_>,
        spans: Spans<'_>,
        kind: FrameKind,
        now: Option<Instant>,
        lines: &mut Lines,
    ) {
        match kind {
            FrameKind::Part { first, last } => {
                if first {
                    self.part = Part::first(text.start);
                    lines.counts.split += 1;
                }
                self.end_record(lines);
                self.emit.part(text, spans, last, &mut self.part, lines);
            }
            FrameKind::Truncated => {
                self.end_record(lines);
                self.emit.truncated(text, spans, lines);
            }
            _ if self.emit.config.multiline.is_none() => self.emit.line(text, spans, lines),
            _ => {
                let streams = self.streams.get_or_insert_default();
                streams.whole(Stream::Unknown, text, spans, now, (&mut self.emit, lines));
            }
        }
    }

    /// What is sent in parts is a record by itself.
    fn end_record(&mut self, lines: &mut Lines) {
        if let Some(streams) = &mut self.streams {
            streams.end_record(Stream::Unknown, &mut self.emit, lines);
        }
    }

    /// A line that a container runtime wrote, or a part of it.
    fn runtime_line(
        &mut self,
        text: Text<'_>,
        spans: Spans<'_>,
        kind: FrameKind,
        now: Option<Instant>,
        lines: &mut Lines,
    ) {
        let more = matches!(kind, FrameKind::Part { last: false, .. });
        if let (FrameKind::Part { first: false, .. }, Some((stream, partial))) = (kind, self.continued) {
            if !more {
                self.continued = None;
            }
            let streams = self.streams.get_or_insert_default();
            return streams.piece((stream, partial || more), text, spans, now, (&mut self.emit, lines));
        }
        let parsed = match self.format {
            LineFormat::Docker => docker::parse(text.bytes, &mut self.buffer),
            _ => cri::parse(text.bytes),
        };
        let Some(Piece { stream, time, text: bytes, at, partial }) = parsed else {
            let errors = if self.format == LineFormat::Docker {
                &mut lines.counts.docker_errors
            } else {
                &mut lines.counts.cri_errors
            };
            // Each line once, and none that a restart began in the middle of.
            *errors += u64::from(!matches!(kind, FrameKind::Part { first: false, .. }));
            let text = Text { origin: Some(Origin::default()), ..text };
            return self.plain_line(text, spans, kind, now, lines);
        };
        self.continued = more.then_some((stream, partial));
        let at = text.at.zip(at).map(|(line, text)| line + text);
        let text = Text { bytes, at, origin: Some(Origin { stream: stream.name(), time }), ..text };
        let streams = self.streams.get_or_insert_default();
        streams.piece((stream, partial || more), text, spans, now, (&mut self.emit, lines));
    }
}

#[cfg(test)]
mod tests;
