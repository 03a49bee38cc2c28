//! The straight line from a chunk of a file to the events of a batch: framer, parser, rendering. Plain calls over one piece of memory;
//! it reads nothing, waits for nothing, and decides nothing about delivery.

use std::borrow::Cow;

use crate::config::{LongLines, OnParseError, Parse};
use crate::event::{EventRef, Rejected, Value};
use crate::frame::{Frame, FrameKind, Framer, char_boundary};
use crate::parse::{self, Added, Parsed};

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

/// What a stretch of a file became.
#[derive(Debug, Default)]
pub struct Lines {
    /// The events.
    pub events: Vec<EventRef>,
    /// The bytes of those that are not ranges of the chunk.
    pub rendered: Vec<u8>,
    /// Lines for the dead-letter file.
    pub rejected: Vec<Rejected>,
    /// What was seen on the way.
    pub counts: Counts,
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

/// The line of one file: framing state, added fields, part numbers.
#[derive(Debug)]
pub struct LineBuilder {
    config: LineConfig,
    framer: Framer,
    added: Added,
    /// Names this file in the `partial_id` of lines that are sent in parts.
    tag: String,
    part: Part,
    max_event: usize,
}

/// A stretch of the file that becomes events.
#[derive(Debug, Clone, Copy)]
struct Stretch<'a> {
    /// The line's bytes.
    line: &'a [u8],
    /// Where they begin in the file.
    start: u64,
    /// Where the next line, or the next part, begins.
    end: u64,
}

/// Where a line that is sent in parts stands.
#[derive(Debug, Default)]
struct Part {
    line_offset: u64,
    ordinal: u64,
}

/// How much of a line an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Part { last: bool },
    Truncated,
}

impl LineBuilder {
    /// The line of a file that is read from `offset` on; `sent` bytes before it belong to the same line and are out already.
    pub fn new(config: LineConfig, added: Added, tag: String, offset: u64, sent: u64) -> Self {
        let framer = Framer::resumed(config.max_line_bytes, config.long_lines, sent);
        // Above every ordinal that can have been used for what is out already.
        let part = Part { line_offset: offset - sent, ordinal: sent + 1 };
        Self { config, framer, added, tag, part, max_event: usize::MAX }
    }

    /// Turns what can be turned of `chunk[from..]`, of which the first byte lies at `offset` in the file, into events of at most `max_event`
    /// bytes. Answers how many bytes were used; the rest waits for its newline.
    pub fn advance(&mut self, chunk: &[u8], offset: u64, max_event: usize, lines: &mut Lines) -> usize {
        self.max_event = max_event;
        let mut at = 0;
        while let Some(frame) = self.framer.next(&chunk[at..]) {
            self.take(chunk, at, offset, frame, lines);
            at += frame.next;
        }
        at
    }

    /// Turns a last line without a newline into an event.
    pub fn flush(&mut self, rest: &[u8], offset: u64, max_event: usize, lines: &mut Lines) {
        self.max_event = max_event;
        if let Some(frame) = self.framer.flush(rest) {
            self.take(rest, 0, offset, frame, lines);
        }
    }

    fn take(&mut self, chunk: &[u8], at: usize, offset: u64, frame: Frame, lines: &mut Lines) {
        let line = &chunk[at..at + frame.end];
        let (start, end) = (offset + at as u64, offset + (at + frame.next) as u64);
        let stretch = Stretch { line, start, end };
        match frame.kind {
            FrameKind::Whole => {
                lines.counts.lines += 1;
                self.whole(stretch, at, lines);
            }
            FrameKind::Part { first, last } => {
                if first {
                    self.part = Part { line_offset: start, ordinal: 1 };
                    lines.counts.split += 1;
                }
                lines.counts.lines += u64::from(last);
                self.parts(stretch, last, lines);
            }
            FrameKind::Truncated => {
                lines.counts.lines += 1;
                self.truncated(stretch, lines);
            }
            FrameKind::Skipped => lines.counts.truncated_bytes += frame.next as u64,
            FrameKind::LateNewline => {}
        }
    }

    /// A line within the limit, of which the first byte lies at `at` in the chunk.
    fn whole(&mut self, stretch: Stretch<'_>, at: usize, lines: &mut Lines) {
        let Stretch { line, start, end } = stretch;
        let from = lines.rendered.len();
        let mut invalid_utf8 = false;
        let parsed = parse::parse(self.config.parse, line, &self.added, start, &mut lines.rendered, &mut invalid_utf8);
        let parsed = match parsed {
            Parsed::Refused => {
                lines.counts.parse_errors += 1;
                self.refused(line, start, lines, &mut invalid_utf8)
            }
            Parsed::Verbatim { .. } | Parsed::Rendered | Parsed::Blank => parsed,
        };
        let event = match parsed {
            Parsed::Verbatim { start: s, end: e } => {
                EventRef { start: small(at + s), end: small(at + e), rendered: false, span_end: end }
            }
            Parsed::Rendered => {
                EventRef { start: small(from), end: small(lines.rendered.len()), rendered: true, span_end: end }
            }
            Parsed::Blank => {
                lines.counts.dropped_blank += 1;
                return;
            }
            Parsed::Refused => return,
        };
        if (event.end - event.start) as usize > self.max_event {
            lines.rendered.truncate(from);
            return self.too_large(stretch, lines);
        }
        lines.counts.invalid_utf8 += u64::from(invalid_utf8);
        lines.events.push(event);
    }

    fn refused(&self, line: &[u8], start: u64, lines: &mut Lines, invalid_utf8: &mut bool) -> Parsed {
        match self.config.on_parse_error {
            OnParseError::Keep => {
                parse::message(parse::without_return(line), &[], &self.added, start, &mut lines.rendered, invalid_utf8);
                return Parsed::Rendered;
            }
            OnParseError::Drop => lines.counts.dropped_parse += 1,
            OnParseError::DeadLetter => lines.rejected.push(Rejected { line: line.to_vec(), reason: "parse_error" }),
        }
        Parsed::Refused
    }

    /// A line within `max_line_bytes` whose event is larger than a record may be: it goes the way of over-long lines.
    fn too_large(&mut self, stretch: Stretch<'_>, lines: &mut Lines) {
        match self.config.long_lines {
            LongLines::Split => {
                self.part = Part { line_offset: stretch.start, ordinal: 1 };
                lines.counts.split += 1;
                self.parts(stretch, true, lines);
            }
            LongLines::Truncate => self.truncated(stretch, lines),
        }
    }

    fn parts(&mut self, stretch: Stretch<'_>, last: bool, lines: &mut Lines) {
        let Stretch { mut line, mut start, end } = stretch;
        let begin = start;
        loop {
            let (taken, invalid_utf8) = self.fit(line, start, Extent::Part { last }, lines);
            lines.counts.invalid_utf8 += u64::from(invalid_utf8);
            self.part.ordinal += 1;
            let whole = taken == line.len();
            if let Some(event) = lines.events.last_mut() {
                // The last one settles the whole stretch, so that a restart never begins where only a record ended.
                event.span_end = if whole { end } else { begin };
            }
            if whole {
                return;
            }
            (line, start) = (&line[taken..], start + taken as u64);
        }
    }

    fn truncated(&mut self, stretch: Stretch<'_>, lines: &mut Lines) {
        let (taken, invalid_utf8) = self.fit(stretch.line, stretch.start, Extent::Truncated, lines);
        lines.counts.truncated += 1;
        lines.counts.truncated_bytes += (stretch.line.len() - taken) as u64;
        lines.counts.invalid_utf8 += u64::from(invalid_utf8);
        if let Some(event) = lines.events.last_mut() {
            event.span_end = stretch.end;
        }
    }

    /// Renders as much of a line as fits into one event, and answers how much that was. Escapes can make text six times as long, so what
    /// fits is found by halving; a few bytes always fit.
    fn fit(&self, line: &[u8], start: u64, extent: Extent, lines: &mut Lines) -> (usize, bool) {
        const SMALLEST: usize = 64;
        let from = lines.rendered.len();
        let mut take = line.len().min(self.max_event.max(SMALLEST));
        loop {
            let cut = if take < line.len() { char_boundary(line, take) } else { take };
            let mut invalid_utf8 = false;
            // It is the last part only if the rest of the line is in it.
            let extent = match extent {
                Extent::Part { last } => Extent::Part { last: last && cut == line.len() },
                Extent::Truncated => extent,
            };
            self.render_cut(&line[..cut], start, extent, &mut lines.rendered, &mut invalid_utf8);
            if lines.rendered.len() - from <= self.max_event || take <= SMALLEST {
                let end = small(lines.rendered.len());
                lines.events.push(EventRef { start: small(from), end, rendered: true, span_end: 0 });
                return (cut, invalid_utf8);
            }
            lines.rendered.truncate(from);
            take /= 2;
        }
    }

    /// A part of a line carries the fields by which Docker's log drivers mark parts, so that what joins those joins these.
    fn render_cut(&self, line: &[u8], start: u64, extent: Extent, out: &mut Vec<u8>, invalid_utf8: &mut bool) {
        let text = |t: String| Value::Text(Cow::Owned(t));
        let marks = match extent {
            Extent::Truncated => vec![("truncated", Value::Bool(true))],
            Extent::Part { last } => vec![
                ("partial_message", text("true".to_owned())),
                ("partial_id", text(format!("{}-{}", self.tag, self.part.line_offset))),
                ("partial_ordinal", text(self.part.ordinal.to_string())),
                ("partial_last", text(last.to_string())),
            ],
        };
        // Only the end of the line can be a line's end.
        let whole = matches!(extent, Extent::Part { last: true });
        let line = if whole { parse::without_return(line) } else { line };
        parse::message(line, &marks, &self.added, start, out, invalid_utf8);
    }
}

/// An offset within a batch. Batches are a few MiB at most: `max_line_bytes` and the size of a read bound them.
fn small(n: usize) -> u32 {
    u32::try_from(n).expect("a batch is far smaller than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    fn config(parse: Parse, max: usize, long_lines: LongLines) -> LineConfig {
        LineConfig { parse, on_parse_error: OnParseError::Keep, max_line_bytes: max, long_lines }
    }

    fn builder(config: LineConfig) -> LineBuilder {
        LineBuilder::new(config, Added::default(), "tag".to_owned(), 0, 0)
    }

    /// Runs a whole file through, checks the spans, and answers the events and what was counted.
    fn run(mut builder: LineBuilder, file: &[u8], max_event: usize) -> (Vec<Vec<u8>>, Lines) {
        let mut lines = Lines::default();
        let used = builder.advance(file, 0, max_event, &mut lines);
        let events = lines.events.len();
        let mut out: Vec<Vec<u8>> = lines.events.iter().map(|e| bytes(&lines, file, e)).collect();
        builder.flush(&file[used..], used as u64, max_event, &mut lines);
        out.extend(lines.events[events..].iter().map(|e| bytes(&lines, &file[used..], e)));
        let ends: Vec<_> = lines.events.iter().map(|e| e.span_end).collect();
        assert!(
            ends.windows(2).all(|w| w[0] <= w[1]) && ends.last().is_none_or(|&e| e <= file.len() as u64),
            "{ends:?}"
        );
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
