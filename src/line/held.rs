//! Text that is held back because more of it may come: the pieces of a container's line, or the lines of a record. Bounded: what exceeds
//! `max_line_bytes` goes in parts, or is cut off and counted.

use tokio::time::Instant;

use super::Lines;
use super::emit::{Emitter, Part, Text};
use super::ranges::{Ranges, Spans};
use crate::config::LongLines;
use crate::frame::char_boundary;
use crate::parse::{self, Origin};

/// What a buffer keeps of its memory when it is empty.
const MAX_IDLE_BYTES: usize = 16 * 1024;

/// What became of the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// All of it is here.
    #[default]
    Whole,
    /// It is out, in parts.
    Parts,
    /// It is out, and nobody gets the rest.
    Skip,
}

/// Text that is held back.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// When it goes though no more of it came.
    pub(super) due: Option<Instant>,
    /// How many lines or pieces it was made of.
    pub(super) count: usize,
    text: Vec<u8>,
    ranges: Ranges,
    start: u64,
    stream: Option<&'static str>,
    time: String,
    decoded: bool,
    replaced: bool,
    mode: Mode,
    part: Part,
}

impl Held {
    /// Whether anything was added since it last ended.
    pub(super) fn is_open(&self) -> bool {
        self.count > 0
    }

    /// The first byte that is held.
    pub(super) fn from(&self) -> Option<u64> {
        self.ranges.first()
    }

    /// How many bytes of the file are held.
    pub(super) fn bytes(&self) -> u64 {
        self.ranges.len()
    }

    /// Adds text to the end, as a line of its own or as a piece. What does not fit any more goes, after whatever has to go before it.
    pub(super) fn add(
        &mut self,
        text: Text<'_>,
        spans: Spans<'_>,
        as_line: bool,
        (emit, lines): (&mut Emitter, &mut Lines),
        before: impl FnOnce(&mut Emitter, &mut Lines),
    ) {
        let max = emit.config.max_line_bytes;
        if self.mode == Mode::Skip {
            lines.counts.truncated_bytes += text.bytes.len() as u64;
            self.count += 1;
            return emit.unused(spans, lines);
        }
        if self.count == 0 {
            self.start = text.start;
            self.stream = text.origin.map(|origin| origin.stream);
            self.time.clear();
            self.time.push_str(text.origin.map_or("", |origin| origin.time));
            (self.decoded, self.replaced) = (false, false);
        }
        if as_line && self.count > 0 {
            let end = parse::without_return(&self.text).len();
            self.text.truncate(end);
        }
        let newline = as_line && self.count > 0;
        let fits = self.text.len() + usize::from(newline) + text.bytes.len() <= max;
        if !fits && emit.config.long_lines == LongLines::Split && self.ranges.first().is_some() {
            before(emit, lines);
            self.emit_part(false, emit, lines);
        } else if !fits && emit.config.long_lines == LongLines::Truncate {
            before(emit, lines);
        }
        if newline {
            self.text.push(b'\n');
        }
        self.count += 1;
        self.decoded |= text.decoded;
        self.replaced |= text.replaced;
        self.ranges.append(spans);
        if fits || emit.config.long_lines == LongLines::Split {
            return self.text.extend_from_slice(text.bytes);
        }
        let room = max.saturating_sub(self.text.len());
        let cut = if room < text.bytes.len() { char_boundary(text.bytes, room) } else { room };
        self.text.extend_from_slice(&text.bytes[..cut.min(text.bytes.len())]);
        lines.counts.truncated_bytes += (text.bytes.len() - cut.min(text.bytes.len())) as u64;
        emit.truncated(self.view(), self.ranges.spans(), lines);
        self.empty();
        self.mode = Mode::Skip;
    }

    /// All of it is here: hands it on if it is whole, or ends what is out in parts.
    pub(super) fn end(
        &mut self,
        emit: &mut Emitter,
        lines: &mut Lines,
        whole: impl FnOnce(Text<'_>, Spans<'_>, &mut Emitter, &mut Lines),
    ) {
        if self.ranges.first().is_some() {
            match self.mode {
                Mode::Whole => whole(self.view(), self.ranges.spans(), emit, lines),
                Mode::Parts => self.emit_part(true, emit, lines),
                Mode::Skip => {}
            }
        }
        self.empty();
        (self.mode, self.count, self.due) = (Mode::Whole, 0, None);
    }

    fn emit_part(&mut self, last: bool, emit: &mut Emitter, lines: &mut Lines) {
        if self.mode == Mode::Whole {
            self.mode = Mode::Parts;
            self.part = Part::first(self.start);
            lines.counts.split += 1;
        }
        let mut part = std::mem::take(&mut self.part);
        emit.part(self.view(), self.ranges.spans(), last, &mut part, lines);
        self.part = part;
        self.empty();
    }

    fn empty(&mut self) {
        self.text.clear();
        self.text.shrink_to(MAX_IDLE_BYTES);
        self.ranges.clear();
    }

    fn view(&self) -> Text<'_> {
        Text {
            bytes: &self.text,
            at: None,
            start: if self.mode == Mode::Whole { self.start } else { self.ranges.first().unwrap_or(self.start) },
            origin: self.stream.map(|stream| Origin { stream, time: &self.time }),
            decoded: self.decoded,
            replaced: self.replaced,
        }
    }
}
