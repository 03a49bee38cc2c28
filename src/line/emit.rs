//! From one whole line, however it came about, to events: parsing, rendering, and the parts of what is too large for one event. It knows
//! nothing of frames, containers or joins.

use std::borrow::Cow;
use std::sync::Arc;

use super::ids::Ids;
use super::ranges::{Range, Spans};
use super::{LineConfig, Lines};
use crate::config::{LongLines, OnParseError};
use crate::event::{EventRef, Further, Value};
use crate::frame::char_boundary;
use crate::parse::{self, Added, Fields, Origin, Parsed};

/// A part of a line is never made smaller than this, whatever does not fit.
const SMALLEST_PART_BYTES: usize = 64;
/// Of a line that was decoded, each byte in the file stands for this many bytes of text at most.
const MAX_DECODED_GROWTH: usize = 3;

/// A line's text, and what goes with it into its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) bytes: &'a [u8],
    /// Where it lies in the chunk, if it does.
    pub(super) at: Option<usize>,
    /// Where the line starts in the file.
    pub(super) start: u64,
    pub(super) origin: Option<Origin<'a>>,
    /// It was decoded.
    pub(super) decoded: bool,
    /// Bytes of it were replaced when it was decoded.
    pub(super) replaced: bool,
}

/// Where a line that is sent in parts stands.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) line_offset: u64,
    pub(super) ordinal: u64,
}

impl Part {
    /// The first part of a line that starts here.
    pub(super) fn first(line_offset: u64) -> Self {
        Self { line_offset, ordinal: 1 }
    }
}

/// How much of a line an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Part { last: bool },
    Truncated,
}

/// Makes the events of one file.
#[derive(Debug)]
pub(super) struct Emitter {
    pub(super) config: Arc<LineConfig>,
    pub(super) added: Added,
    /// Names this file in the `partial_id` of lines that are sent in parts.
    pub(super) tag: String,
    /// The largest event that a record holds.
    pub(super) max_event: usize,
    /// Bytes without an event that no event has been found yet to go with.
    pub(super) idle: Option<Range>,
    /// What the next event is called.
    ids: Option<Ids>,
}

impl Emitter {
    pub(super) fn new(config: Arc<LineConfig>, added: Added, tag: String) -> Self {
        let ids = added.id().map(Ids::new);
        Self { config, added, tag, max_event: usize::MAX, idle: None, ids }
    }

    /// Makes events in another way from now on. Their names go on where they were.
    pub(super) fn renew(&mut self, config: Arc<LineConfig>, added: Added) {
        self.ids = match (self.ids.take(), added.id()) {
            (Some(ids), Some(_)) => Some(ids),
            (_, id) => id.map(Ids::new),
        };
        (self.config, self.added) = (config, added);
    }

    /// A whole line.
    pub(super) fn line(&mut self, text: Text<'_>, spans: Spans<'_>, lines: &mut Lines) {
        if text.bytes.len() > self.max_text(text) {
            return self.too_large(text, spans, lines);
        }
        if let Some(origin) = text.origin {
            lines.counts.shaped.note_runtime(origin.time);
        }
        let from = lines.rendered.len();
        let mut invalid_utf8 = text.replaced;
        if let Some(ids) = &mut self.ids {
            ids.name(spans);
        }
        let parsed = self.parse(text, lines, &mut invalid_utf8);
        let (start, end, rendered) = match (parsed, text.at) {
            (Parsed::Verbatim { start, end }, Some(at)) => (at + start, at + end, false),
            (Parsed::Verbatim { start, end }, None) => {
                lines.rendered.extend_from_slice(&text.bytes[start..end]);
                (from, lines.rendered.len(), true)
            }
            (Parsed::Rendered, _) => (from, lines.rendered.len(), true),
            (Parsed::Blank, _) => {
                lines.counts.dropped_blank += 1;
                return self.unused(spans, lines);
            }
            (Parsed::Refused | Parsed::Dropped, _) => return self.unused(spans, lines),
        };
        if end - start > self.max_event {
            lines.rendered.truncate(from);
            return self.too_large(text, spans, lines);
        }
        lines.counts.invalid_utf8 += u64::from(invalid_utf8);
        self.push((start, end, rendered), spans, lines);
    }

    fn parse(&self, text: Text<'_>, lines: &mut Lines, invalid_utf8: &mut bool) -> Parsed {
        let Some(way) = self.config.direct() else { return self.shaped(text, lines, invalid_utf8) };
        let fields = self.fields(text.start, text.origin);
        let parsed = parse::parse(way, text.bytes, fields, &mut lines.rendered, invalid_utf8);
        if lines.trail.is_some() {
            self.explain_direct(text, parsed, lines);
        }
        if parsed != Parsed::Refused {
            return parsed;
        }
        lines.counts.parse_errors += 1;
        match self.config.on_parse_error {
            OnParseError::Keep => {
                let line = parse::without_return(text.bytes);
                parse::message(line, &[], fields, &mut lines.rendered, invalid_utf8);
                return Parsed::Rendered;
            }
            OnParseError::Drop => lines.counts.dropped_parse += 1,
            OnParseError::DeadLetter => {
                self.reject(text.bytes, "parse_error", lines);
            }
        }
        Parsed::Refused
    }

    /// The longest text that stays whole. The limit counts the bytes of the file.
    fn max_text(&self, text: Text<'_>) -> usize {
        let growth = if text.decoded { MAX_DECODED_GROWTH } else { 1 };
        self.config.max_line_bytes.saturating_mul(growth)
    }

    pub(super) fn fields<'a>(&'a self, offset: u64, origin: Option<Origin<'a>>) -> Fields<'a> {
        Fields { added: &self.added, offset, id: self.ids.as_ref().map(Ids::current), origin }
    }

    /// A line whose event is larger than a record or a line may be.
    fn too_large(&mut self, text: Text<'_>, spans: Spans<'_>, lines: &mut Lines) {
        match self.config.long_lines {
            LongLines::Split => {
                lines.counts.split += 1;
                self.part(text, spans, true, &mut Part::first(text.start), lines);
            }
            LongLines::Truncate => self.truncated(text, spans, lines),
        }
    }

    /// A part of a line, which becomes several if it is still too large. Each of them settles bytes of its own, and none settles a byte of
    /// which the text is in a later one: wherever a restart begins, what was not delivered is read again.
    pub(super) fn part(&mut self, text: Text<'_>, spans: Spans<'_>, last: bool, part: &mut Part, lines: &mut Lines) {
        let (mut rest, mut settled, size) = (text.bytes, 0, spans.len());
        loop {
            let from = lines.rendered.len();
            let start = if settled == 0 { text.start } else { spans.cut(settled, 1).first().unwrap_or(text.start) };
            let (taken, invalid_utf8) =
                self.fit(Text { bytes: rest, start, ..text }, Extent::Part { last }, part, spans, lines);
            lines.counts.invalid_utf8 += u64::from(invalid_utf8 || text.replaced);
            part.ordinal += 1;
            if taken == rest.len() {
                if settled == 0 {
                    self.push_part(from, spans, lines);
                } else {
                    self.push_part(from, spans.cut(settled, size).spans(), lines);
                }
                return;
            }
            rest = &rest[taken..];
            let share = (taken / if text.decoded { MAX_DECODED_GROWTH } else { 1 }) as u64;
            let share = share.min((size - settled).saturating_sub(1));
            self.push_part(from, spans.cut(settled, share).spans(), lines);
            settled += share;
        }
    }

    /// The beginning of a line whose rest nobody gets.
    pub(super) fn truncated(&mut self, text: Text<'_>, spans: Spans<'_>, lines: &mut Lines) {
        let from = lines.rendered.len();
        let (taken, invalid_utf8) = self.fit(text, Extent::Truncated, &Part::default(), spans, lines);
        lines.counts.truncated += 1;
        lines.counts.truncated_bytes += (text.bytes.len() - taken) as u64;
        lines.counts.invalid_utf8 += u64::from(invalid_utf8 || text.replaced);
        self.push_part(from, spans, lines);
    }

    /// A part, or the beginning of a line, which was rendered from there on without its name: how much of the file it stands for was not known.
    fn push_part(&mut self, from: usize, spans: Spans<'_>, lines: &mut Lines) {
        if let Some(ids) = &mut self.ids {
            ids.name(spans);
            parse::append_id(ids.current(), &mut lines.rendered);
        }
        self.push((from, lines.rendered.len(), true), spans, lines);
    }

    /// An event that stands for none of the file's bytes.
    pub(super) fn aside(&mut self, event: &str, at: u64, lines: &mut Lines) {
        let from = lines.rendered.len();
        self.told(event, at, lines);
        let to = lines.rendered.len();
        if (1..=self.max_event).contains(&(to - from)) {
            let (start, end) = (small(from), small(to));
            lines.events.push(EventRef { start, end, rendered: true, span_start: at, span_end: at });
        }
    }

    /// Bytes that no event is made of.
    pub(super) fn unused(&mut self, spans: Spans<'_>, lines: &mut Lines) {
        for range in spans.all() {
            if let Some(ids) = &mut self.ids {
                ids.skipped(range);
            }
            match &mut self.idle {
                Some(idle) if idle.1 == range.0 => idle.1 = range.1,
                idle => {
                    lines.unused.extend(idle.replace(range));
                }
            }
        }
    }

    /// Nothing more comes to this batch: bytes that no event could be found for are told of by themselves.
    pub(super) fn end(&mut self, lines: &mut Lines) {
        lines.unused.extend(self.idle.take());
    }

    fn push(&mut self, (start, end, rendered): (usize, usize, bool), spans: Spans<'_>, lines: &mut Lines) {
        let (mut span_start, span_end) = spans.last;
        // A span that goes on where the last one ended keeps the lists of spans short.
        if spans.earlier.is_empty() && self.idle.is_some_and(|idle| idle.1 == span_start) {
            span_start = self.idle.take().map_or(span_start, |idle| idle.0);
        }
        if let Some(ids) = &mut self.ids {
            ids.told();
        }
        let event = small(lines.events.len());
        lines.events.push(EventRef { start: small(start), end: small(end), rendered, span_start, span_end });
        lines.more.extend(spans.earlier.iter().map(|&(start, end)| Further { event, start, end }));
    }

    /// Renders as much of a line as fits into one event, and answers how much that was. Escapes can make text six times as long, so what
    /// fits is found by halving; a few bytes always fit.
    fn fit(&self, text: Text<'_>, extent: Extent, part: &Part, spans: Spans<'_>, lines: &mut Lines) -> (usize, bool) {
        let line = text.bytes;
        let from = lines.rendered.len();
        let max_event = self.max_event - self.ids.as_ref().map_or(0, |ids| ids.longest(spans)).min(self.max_event);
        let limit = max_event.min(self.max_text(text)).max(SMALLEST_PART_BYTES);
        let mut take = line.len().min(limit);
        loop {
            let cut = if take < line.len() { char_boundary(line, take) } else { take };
            let mut invalid_utf8 = false;
            // It is the last part only if the rest of the line is in it.
            let extent = match extent {
                Extent::Part { last } => Extent::Part { last: last && cut == line.len() },
                Extent::Truncated => extent,
            };
            let beginning = Text { bytes: &line[..cut], ..text };
            self.render_cut(beginning, extent, part, lines, &mut invalid_utf8);
            if lines.rendered.len() - from <= max_event || take <= SMALLEST_PART_BYTES {
                return (cut, invalid_utf8);
            }
            lines.rendered.truncate(from);
            take /= 2;
        }
    }

    /// A part of a line carries the fields by which Docker's log drivers mark parts, so that what joins those joins these. Of the transforms only
    /// those that redact are for it: it has no fields.
    fn render_cut(&self, text: Text<'_>, extent: Extent, part: &Part, lines: &mut Lines, invalid_utf8: &mut bool) {
        let owned = |t: String| Value::Text(Cow::Owned(t));
        let marks = match extent {
            Extent::Truncated => vec![("truncated", Value::Bool(true))],
            Extent::Part { last } => vec![
                ("partial_message", owned("true".to_owned())),
                ("partial_id", owned(format!("{}-{}", self.tag, part.line_offset))),
                ("partial_ordinal", owned(part.ordinal.to_string())),
                ("partial_last", owned(last.to_string())),
            ],
        };
        // Only the end of the line can be a line's end.
        let whole = matches!(extent, Extent::Part { last: true });
        let line = if whole { parse::without_return(text.bytes) } else { text.bytes };
        let fields = Fields { id: None, ..self.fields(text.start, text.origin) };
        let redacted = self.redacted(line, lines);
        let line = redacted.as_deref().map_or(line, str::as_bytes);
        parse::message(line, &marks, fields, &mut lines.rendered, invalid_utf8);
    }
}

/// An offset within a batch. Batches are a few MiB at most: `max_line_bytes` and the size of a read bound them.
fn small(n: usize) -> u32 {
    u32::try_from(n).expect("a batch is far smaller than 4 GiB")
}
