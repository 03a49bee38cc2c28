//! The straight line from a chunk of a file to the events of a batch: framer, parser, rendering. Plain calls over one piece of memory;
//! it reads nothing, waits for nothing, and decides nothing about delivery.

mod emit;
mod ranges;

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{LongLines, OnParseError, Parse};
use crate::event::{EventRef, Further, Rejected};
use crate::frame::{Frame, FrameKind, Framer};
use crate::parse::Added;
use emit::{Emitter, Part, Text};
pub use ranges::Range;
use ranges::Spans;

/// Rendered bytes at which a stretch is cut short: tiny lines that get large fields would make hundreds of times their bytes of them.
const MAX_RENDERED_BYTES: usize = 1 << 20;

/// How the lines of one group of files become events.
#[derive(Debug, Clone)]
pub struct LineConfig {
    /// The parser.
    pub parse: Parse,
    /// What happens to lines that it refuses.
    pub on_parse_error: OnParseError,
    /// The longest line that stays whole.
    pub max_line_bytes: usize,
    /// What happens to longer ones.
    pub long_lines: LongLines,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            parse: Parse::Raw,
            on_parse_error: OnParseError::Keep,
            max_line_bytes: 1 << 20,
            long_lines: LongLines::Split,
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
    /// Of those, the ones that were dropped.
    pub dropped_parse: u64,
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
}

/// The line of one file: framing state, added fields, part numbers, and what is held back.
#[derive(Debug)]
pub struct LineBuilder {
    framer: Framer,
    emit: Emitter,
    /// Of the line in the file that is being sent in parts.
    part: Part,
}

/// Where the bytes are that are being looked at: in the chunk, in the file, and when.
#[derive(Debug, Clone, Copy)]
struct Place<'a> {
    chunk: &'a [u8],
    /// Where the chunk begins in the file.
    offset: u64,
    now: Instant,
}

impl LineBuilder {
    /// The line of a file that is read from `offset` on; `sent` bytes before it belong to the same line and are out already.
    pub fn new(config: Arc<LineConfig>, added: Added, tag: String, offset: u64, sent: u64) -> Self {
        let framer = Framer::resumed(config.max_line_bytes, config.long_lines, sent);
        // Above every ordinal that can have been used for what is out already.
        let part = Part { line_offset: offset - sent, ordinal: sent + 1 };
        let emit = Emitter { config, added, tag, max_event: usize::MAX, idle: None };
        Self { framer, emit, part }
    }

    /// Turns what can be turned of `chunk`, of which the first byte lies at `offset` in the file, into events of at most `max_event`
    /// bytes. Answers how many bytes were used; the rest waits for its newline, or, if [`Lines::capped`] is set, for another call.
    pub fn advance(&mut self, chunk: &[u8], offset: u64, max_event: usize, now: Instant, lines: &mut Lines) -> usize {
        self.emit.max_event = max_event;
        lines.capped = false;
        let place = Place { chunk, offset, now };
        let mut at = 0;
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
        // What is held back goes whatever the time is, and nothing is left that could become due.
        let now = Instant::now();
        self.flush_partial(rest, offset, max_event, now, lines);
        self.emit.end(lines);
    }

    /// Turns a last line that has waited for its newline for long enough into an event, and what is due. The newline may still come.
    pub fn flush_partial(&mut self, rest: &[u8], offset: u64, max_event: usize, now: Instant, lines: &mut Lines) {
        self.emit.max_event = max_event;
        let place = Place { chunk: rest, offset, now };
        let mut at = 0;
        while let Some(frame) = self.framer.next(&rest[at..]) {
            self.take(place, at, frame, lines);
            at += frame.next;
        }
        if let Some(frame) = self.framer.flush(&rest[at..]) {
            self.take(place, at, frame, lines);
        }
        self.emit.end(lines);
    }

    /// When something that is held back has to go though nothing more came.
    pub fn due(&self) -> Option<Instant> {
        None
    }

    /// Turns what is due into events.
    pub fn expire(&mut self, _now: Instant, max_event: usize, _lines: &mut Lines) {
        self.emit.max_event = max_event;
    }

    /// The first byte of the oldest thing that is held back.
    pub fn held_from(&self) -> Option<u64> {
        None
    }

    fn take(&mut self, place: Place<'_>, at: usize, frame: Frame, lines: &mut Lines) {
        let start = place.offset + at as u64;
        let spans = Spans::one((start, start + frame.next as u64));
        let bytes = &place.chunk[at..at + frame.end];
        let text = Text { bytes, at: Some(at), start, origin: None, decoded: false, replaced: false };
        match frame.kind {
            FrameKind::Whole => {
                lines.counts.lines += 1;
                self.emit.line(text, spans, lines);
            }
            FrameKind::Part { first, last } => {
                if first {
                    self.part = Part::first(start);
                    lines.counts.split += 1;
                }
                lines.counts.lines += u64::from(last);
                self.emit.part(text, spans, last, &mut self.part, lines);
            }
            FrameKind::Truncated => {
                lines.counts.lines += 1;
                self.emit.truncated(text, spans, lines);
            }
            FrameKind::Skipped => {
                lines.counts.truncated_bytes += frame.next as u64;
                self.emit.unused(spans, lines);
            }
            FrameKind::LateNewline => self.emit.unused(spans, lines),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    fn config(parse: Parse, max: usize, long_lines: LongLines) -> LineConfig {
        LineConfig { parse, max_line_bytes: max, long_lines, ..LineConfig::default() }
    }

    fn builder(config: LineConfig) -> LineBuilder {
        LineBuilder::new(Arc::new(config), Added::default(), "tag".to_owned(), 0, 0)
    }

    /// Runs a whole file through, checks the spans, and answers the events and what was counted.
    fn run(mut builder: LineBuilder, file: &[u8], max_event: usize) -> (Vec<Vec<u8>>, Lines) {
        let mut lines = Lines::default();
        let used = builder.advance(file, 0, max_event, Instant::now(), &mut lines);
        let events = lines.events.len();
        let mut out: Vec<Vec<u8>> = lines.events.iter().map(|e| bytes(&lines, file, e)).collect();
        builder.flush(&file[used..], used as u64, max_event, &mut lines);
        out.extend(lines.events[events..].iter().map(|e| bytes(&lines, &file[used..], e)));
        let mut ranges: Vec<Range> = lines.events.iter().map(|e| (e.span_start, e.span_end)).collect();
        ranges.extend(lines.more.iter().map(|f| (f.start, f.end)));
        ranges.extend(&lines.unused);
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|w| w[0].1 == w[1].0), "every byte belongs to one span: {ranges:?}");
        let whole = (ranges.first().map_or(0, |r| r.0), ranges.last().map_or(0, |r| r.1));
        assert_eq!(whole, (0, file.len() as u64));
        (out, lines)
    }

    fn bytes(lines: &Lines, chunk: &[u8], e: &EventRef) -> Vec<u8> {
        let from = if e.rendered { &lines.rendered[..] } else { chunk };
        from[e.start as usize..e.end as usize].to_vec()
    }

    #[test]
    fn parts_say_which_they_are_and_join_to_the_line() {
        let (events, lines) =
            run(builder(config(Parse::Json, 10, LongLines::Split)), b"{\"a\":1}\n0123456789abcdefghijKLM\n{}\n", 1000);
        assert_eq!(events.first().unwrap(), b"{\"a\":1}");
        assert_eq!(events.last().unwrap(), b"{}");
        let parts: Vec<Json> = events[1..4].iter().map(|e| serde_json::from_slice(e).unwrap()).collect();
        let joined: String = parts.iter().map(|p| p["message"].as_str().unwrap()).collect();
        assert_eq!(joined, "0123456789abcdefghijKLM");
        assert!(parts.iter().all(|p| p["partial_id"] == "tag-8" && p["partial_message"] == "true"));
        let marks: Vec<_> = parts.iter().map(|p| (p["partial_ordinal"].as_str(), p["partial_last"].as_str())).collect();
        assert_eq!(marks, [(Some("1"), Some("false")), (Some("2"), Some("false")), (Some("3"), Some("true"))]);
        assert_eq!(lines.counts, Counts { lines: 3, split: 1, ..Counts::default() });
    }

    #[test]
    fn a_return_where_a_line_is_cut_is_kept_and_one_at_its_end_is_not() {
        let (events, _) = run(builder(config(Parse::Json, 4, LongLines::Split)), b"abc\rdef\r\n", 1000);
        let joined: String = events
            .iter()
            .map(|e| serde_json::from_slice::<Json>(e).unwrap()["message"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(joined, "abc\rdef");
    }

    #[test]
    fn a_truncated_line_says_so_and_its_lost_bytes_are_counted() {
        let (events, lines) = run(builder(config(Parse::Raw, 10, LongLines::Truncate)), b"0123456789abcdef\nx\n", 1000);
        assert_eq!(events, [&b"{\"message\":\"0123456789\",\"truncated\":true}"[..], b"x"]);
        assert_eq!(lines.counts, Counts { lines: 2, truncated: 1, truncated_bytes: 7, ..Counts::default() });
    }

    #[test]
    fn an_event_too_large_for_a_record_is_split_until_it_fits() {
        let mut line = "\u{1}".repeat(5000);
        line.push('\n');
        let (events, lines) = run(builder(config(Parse::Raw, 1 << 20, LongLines::Split)), line.as_bytes(), 4000);
        assert!(events.iter().all(|e| e.len() <= 4000) && events.len() > 7);
        let joined: String = events
            .iter()
            .map(|e| serde_json::from_slice::<Json>(e).unwrap()["message"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(joined, "\u{1}".repeat(5000));
        assert_eq!(lines.counts.lines, 1);
        assert_eq!(lines.events.last().unwrap().span_end, 5001);
        assert!(lines.events.iter().all(|e| e.span_start < e.span_end), "each part settles bytes of its own");
    }

    #[test]
    fn a_refused_line_is_kept_dropped_or_rejected_as_configured() {
        let file = b"oops\n\n{\"a\":1}\n";
        let with = |on_parse_error| {
            let config = LineConfig { on_parse_error, ..config(Parse::Json, 100, LongLines::Split) };
            run(builder(config), file, 1000)
        };
        let (events, lines) = with(OnParseError::Keep);
        assert_eq!(events, [&b"{\"message\":\"oops\"}"[..], b"{\"a\":1}"]);
        assert_eq!(lines.counts, Counts { lines: 3, parse_errors: 1, dropped_blank: 1, ..Counts::default() });
        let (events, lines) = with(OnParseError::Drop);
        assert_eq!((events.len(), lines.counts.dropped_parse), (1, 1));
        let (events, lines) = with(OnParseError::DeadLetter);
        assert_eq!(events.len(), 1);
        assert_eq!(lines.rejected, [Rejected { line: b"oops".to_vec(), reason: "parse_error" }]);
    }

    proptest! {
        /// For all files, raw events of lines within the limits are the file's lines, byte for byte.
        #[test]
        fn raw_events_are_the_lines(file in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n')], 0..400)) {
            let (events, lines) = run(builder(config(Parse::Raw, 1000, LongLines::Split)), &file, 1000);
            let mut joined = events.join(&b'\n');
            if file.last() == Some(&b'\n') {
                joined.push(b'\n');
            }
            prop_assert_eq!(joined, file);
            prop_assert_eq!(lines.counts.lines, lines.events.len() as u64);
        }

        /// For all limits, no event is larger than a record may hold, and every byte of every line is in one.
        #[test]
        fn split_events_fit_and_lose_nothing(text in "[a-z\\x01\"\u{e9}\n]{0,600}", max in 8usize..200, max_event in 500usize..800) {
            let (events, _) = run(builder(config(Parse::Json, max, LongLines::Split)), text.as_bytes(), max_event);
            let mut joined = String::new();
            for e in &events {
                prop_assert!(e.len() <= max_event);
                let event: Json = serde_json::from_slice(e).unwrap();
                joined.push_str(event["message"].as_str().unwrap());
            }
            let want: String = text.split('\n').filter(|l| !l.trim_ascii().is_empty()).collect();
            prop_assert_eq!(joined, want);
        }
    }
}
