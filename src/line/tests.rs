//! Tests of the line as a whole: what becomes of files, and whose bytes are whose.

use super::*;
use crate::multiline::custom::{Custom, Until};
use crate::multiline::{Multiline, Rule};
use proptest::prelude::*;
use serde_json::Value as Json;

fn config(parse: Direct, max: usize, long_lines: LongLines) -> LineConfig {
    LineConfig { parse: parse.into(), max_line_bytes: max, long_lines, ..LineConfig::default() }
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
        run(builder(config(Direct::Json, 10, LongLines::Split)), b"{\"a\":1}\n0123456789abcdefghijKLM\n{}\n", 1000);
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
    let (events, _) = run(builder(config(Direct::Json, 4, LongLines::Split)), b"abc\rdef\r\n", 1000);
    let joined: String = events
        .iter()
        .map(|e| serde_json::from_slice::<Json>(e).unwrap()["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(joined, "abc\rdef");
}

#[test]
fn a_truncated_line_says_so_and_its_lost_bytes_are_counted() {
    let (events, lines) = run(builder(config(Direct::Raw, 10, LongLines::Truncate)), b"0123456789abcdef\nx\n", 1000);
    assert_eq!(events, [&b"{\"message\":\"0123456789\",\"truncated\":true}"[..], b"x"]);
    assert_eq!(lines.counts, Counts { lines: 2, truncated: 1, truncated_bytes: 7, ..Counts::default() });
}

#[test]
fn an_event_too_large_for_a_record_is_split_until_it_fits() {
    let mut line = "\u{1}".repeat(5000);
    line.push('\n');
    let (events, lines) = run(builder(config(Direct::Raw, 1 << 20, LongLines::Split)), line.as_bytes(), 4000);
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
        let config = LineConfig { on_parse_error, ..config(Direct::Json, 100, LongLines::Split) };
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
    /// For all files without NULs and carriage returns, raw events of lines within the limits are the file's lines, byte for byte.
    #[test]
    fn raw_events_are_the_lines(file in prop::collection::vec(prop_oneof![4 => 14u8.., 1 => Just(b'\n')], 0..400)) {
        let (events, lines) = run(builder(config(Direct::Raw, 1000, LongLines::Split)), &file, 1000);
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
        let (events, _) = run(builder(config(Direct::Json, max, LongLines::Split)), text.as_bytes(), max_event);
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

fn container(format: LineFormat, max: usize) -> LineConfig {
    LineConfig { format, ..config(Direct::Raw, max, LongLines::Split) }
}

fn with_stream(config: LineConfig) -> LineBuilder {
    LineBuilder::new(Arc::new(config), Added::default().with_origin(true, true, None), "tag".to_owned(), 0, 0)
}

fn json(events: &[Vec<u8>]) -> Vec<Json> {
    events.iter().map(|e| serde_json::from_slice(e).unwrap()).collect()
}

fn texts(events: &[Vec<u8>]) -> Vec<String> {
    json(events).iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn pieces_are_joined_by_stream() {
    let file = b"2026-01-02T03:04:05.1Z stdout P one \n2026-01-02T03:04:05.2Z stderr P two \n2026-01-02T03:04:05.3Z stdout F end\n\
        2026-01-02T03:04:05.4Z stderr F \n2026-01-02T03:04:05.5Z stdout F single\n2026-01-02T03:04:05.6Z stdout P no newline\n";
    for format in [LineFormat::Cri, LineFormat::Auto] {
        let (events, lines) = run(with_stream(container(format, 1000)), file, 1000);
        let events = json(&events);
        let got: Vec<_> =
            events.iter().map(|e| (e["message"].as_str(), e["stream"].as_str(), e["time"].as_str())).collect();
        let want = [
            (Some("one end"), Some("stdout"), Some("2026-01-02T03:04:05.1Z")),
            (Some("two "), Some("stderr"), Some("2026-01-02T03:04:05.2Z")),
            (Some("single"), Some("stdout"), Some("2026-01-02T03:04:05.5Z")),
            (Some("no newline"), Some("stdout"), Some("2026-01-02T03:04:05.6Z")),
        ];
        assert_eq!(got, want);
        assert_eq!(lines.more.len(), 2, "two events have their bytes in two places");
        assert_eq!(
            lines.counts.shaped.oldest,
            Some(1_767_323_045_100_000_000),
            "what the runtime says of the first piece"
        );
        let shaped = lines.counts.shaped;
        assert_eq!(lines.counts, Counts { lines: 6, shaped, ..Counts::default() });
    }
}

#[test]
fn dockers_entries_are_joined_until_one_ends_with_a_newline() {
    let file = br#"{"log":"one\n","stream":"stdout","time":"2026-01-02T03:04:05.1Z"}
{"log":"long \"","stream":"stdout","time":"2026-01-02T03:04:05.2Z"}
{"log":"err\r\n","stream":"stderr","time":"2026-01-02T03:04:05.3Z"}
{"log":"line\"\n","stream":"stdout","time":"2026-01-02T03:04:05.4Z"}
"#;
    for format in [LineFormat::Docker, LineFormat::Auto] {
        let (events, lines) = run(with_stream(container(format, 1000)), file, 1000);
        assert_eq!(texts(&events), ["one", "err", "long \"line\""]);
        assert_eq!(json(&events)[2]["time"], "2026-01-02T03:04:05.2Z");
        assert_eq!(lines.counts.docker_errors, 0);
    }
}

#[test]
fn a_text_that_needs_nothing_stays_where_it_is() {
    let file = b"2026-01-02T03:04:05.1Z stdout F {\"a\":1}\n{\"log\":\"{}\\n\"}\n";
    let config = LineConfig { parse: Parser::json(), ..container(LineFormat::Cri, 1000) };
    let (events, lines) = run(builder(config), file, 1000);
    assert_eq!(events[0], b"{\"a\":1}");
    assert!(!lines.events[0].rendered);
    assert_eq!(lines.counts.cri_errors, 1, "the other line is of another runtime");
    assert_eq!(events[1], b"{\"log\":\"{}\\n\"}");
}

#[test]
fn a_line_that_is_not_in_the_format_passes_as_it_is() {
    let file = b"2026-01-02T03:04:05.1Z stdout F one\noops\n2026-01-02T03:04:05.1Z stdout F two\n";
    let (events, lines) = run(with_stream(container(LineFormat::Cri, 1000)), file, 1000);
    assert_eq!((texts(&events), lines.counts.cri_errors), (["one", "oops", "two"].map(str::to_owned).to_vec(), 1));
    let (events, lines) =
        run(with_stream(container(LineFormat::Auto, 1000)), b"oops\n2026-01-02T03:04:05Z stdout F x\n", 1000);
    assert_eq!(events, [&b"oops"[..], b"2026-01-02T03:04:05Z stdout F x"]);
    assert_eq!(lines.counts.cri_errors, 0);
}

#[test]
fn what_waits_goes_when_it_is_due() {
    let file = b"2026-01-02T03:04:05.1Z stdout P part\n";
    let start = Instant::now();
    let mut line = with_stream(container(LineFormat::Cri, 1000));
    let mut lines = Lines::default();
    assert_eq!(line.advance(file, 0, 1000, start, &mut lines), file.len());
    assert!(lines.events.is_empty() && lines.unused.is_empty());
    let due = start + Duration::from_secs(5);
    assert_eq!((line.held_from(), line.due()), (Some(0), Some(due)));
    line.expire(due.checked_sub(Duration::from_millis(1)).unwrap(), 1000, &mut lines);
    assert!(lines.events.is_empty());
    line.expire(due, 1000, &mut lines);
    assert_eq!(
        (lines.events.len(), lines.events[0].span_end, line.due(), line.held_from()),
        (1, file.len() as u64, None, None)
    );
}

#[test]
fn a_joined_line_over_the_limit_is_cut_as_configured() {
    let file = b"2026-01-02T03:04:05.1Z stdout P 0123456789\n2026-01-02T03:04:05.2Z stderr F x\n2026-01-02T03:04:05.3Z stdout P abcdefghij\n2026-01-02T03:04:05.4Z stdout F KLM\n";
    let (events, lines) = run(with_stream(container(LineFormat::Cri, 16)), file, 1000);
    let parts: Vec<Json> = json(&events).into_iter().filter(|e| e["stream"] == "stdout").collect();
    let joined: String = parts.iter().map(|p| p["message"].as_str().unwrap()).collect();
    assert_eq!(joined, "0123456789abcdefghijKLM");
    let marks: Vec<_> = parts.iter().map(|p| (p["partial_ordinal"].as_str(), p["partial_last"].as_str())).collect();
    assert_eq!(marks, [(Some("1"), Some("false")), (Some("2"), Some("true"))]);
    assert_eq!((lines.counts.split, lines.counts.lines), (1, 4));
    let config = LineConfig { long_lines: LongLines::Truncate, ..container(LineFormat::Cri, 16) };
    let (events, lines) = run(with_stream(config), file, 1000);
    assert_eq!(texts(&events), ["x", "0123456789abcdef"]);
    assert_eq!((lines.counts.truncated, lines.counts.truncated_bytes), (1, 7));
}

#[test]
fn a_runtimes_line_that_is_longer_than_any_is_one_line_of_the_containers() {
    let text = "x".repeat(200_000);
    let file = format!("2026-01-02T03:04:05.1Z stdout F {text}\n2026-01-02T03:04:05.2Z stdout F y\n");
    let (events, lines) = run(with_stream(container(LineFormat::Cri, 150_000)), file.as_bytes(), 1 << 20);
    let joined: String = texts(&events).concat();
    assert_eq!(joined, text + "y");
    assert_eq!((lines.counts.cri_errors, lines.counts.lines), (0, 2));
}

#[test]
fn records_of_several_lines_are_held_by_stream_and_blank_lines_only_within_them() {
    let presets = crate::multiline::trace::Presets::new([crate::config::Preset::Java]);
    let multiline = Multiline { rule: Rule::Presets(presets), timeout: Duration::from_secs(1), max_lines: 3 };
    let config = LineConfig { multiline: Some(multiline), ..container(LineFormat::Plain, 1000) };
    let file = b"a.BException: x\n\tat a.B\r\n\nplain\na.BException: y\n\n\tat a.C\n\tat a.D\n";
    let (events, _) = run(builder(config.clone()), file, 1000);
    let want = ["a.BException: x\n\tat a.B", "", "plain", "a.BException: y\n\n\tat a.C", "\tat a.D"];
    assert_eq!(events, want.map(str::as_bytes));
    let file = b"2026-01-02T03:04:05.1Z stdout F a.BException: x\n2026-01-02T03:04:05.2Z stderr F plain\n2026-01-02T03:04:05.3Z stdout F \tat a.B\n";
    let (events, _) = run(with_stream(LineConfig { format: LineFormat::Cri, ..config }), file, 1000);
    assert_eq!(texts(&events), ["plain", "a.BException: x\n\tat a.B"]);
    assert_eq!(json(&events)[1]["time"], "2026-01-02T03:04:05.1Z");
}

/// A piece as a runtime writes it, and whether everything becomes due after it was read.
type Written = (bool, bool, String, bool);

/// What the lines of each stream are, by the simplest means.
fn oracle(pieces: &[Written]) -> [Vec<String>; 2] {
    let (mut open, mut lines): ([Option<String>; 2], [Vec<String>; 2]) = Default::default();
    for (stderr, partial, text, expire) in pieces {
        let at = usize::from(*stderr);
        open[at].get_or_insert_default().push_str(text);
        if !partial {
            lines[at].extend(open[at].take());
        }
        for at in if *expire { 0..2 } else { 0..0 } {
            lines[at].extend(open[at].take());
        }
    }
    for at in 0..2 {
        lines[at].extend(open[at].take());
    }
    lines
}

/// Runs a file of a runtime through in pieces that end at these places, and answers the joined texts of each stream. Checks the spans.
fn joined(pieces: &[Written], cuts: &[usize], config: LineConfig) -> [Vec<String>; 2] {
    let (mut file, mut now) = (Vec::new(), Instant::now());
    let mut ends = Vec::new();
    for (i, (stderr, partial, text, expire)) in pieces.iter().enumerate() {
        let (stream, tag) = (if *stderr { "stderr" } else { "stdout" }, if *partial { "P" } else { "F" });
        file.extend_from_slice(format!("2026-01-02T03:04:05.{i}Z {stream} {tag} {text}\n").as_bytes());
        ends.extend(expire.then_some(file.len()));
    }
    let mut cuts: Vec<usize> =
        cuts.iter().map(|c| c % (file.len() + 1)).chain(ends.iter().copied()).chain([file.len()]).collect();
    cuts.sort_unstable();
    let mut line = with_stream(config);
    let (mut at, mut ranges, mut out): (usize, Vec<Range>, [Vec<String>; 2]) = Default::default();
    let mut add = |lines: &Lines, chunk: &[u8]| {
        ranges.extend(lines.events.iter().map(|e| (e.span_start, e.span_end)));
        ranges.extend(lines.more.iter().map(|f| (f.start, f.end)));
        ranges.extend(&lines.unused);
        for event in &lines.events {
            assert!(event.span_start < event.span_end);
            let event: Json = serde_json::from_slice(&bytes(lines, chunk, event)).unwrap();
            let texts = &mut out[usize::from(event["stream"] == "stderr")];
            let text = event["message"].as_str().unwrap();
            match event["partial_ordinal"].as_str() {
                None | Some("1") => texts.push(text.to_owned()),
                Some(_) => texts.last_mut().unwrap().push_str(text),
            }
        }
    };
    for cut in cuts {
        let mut lines = Lines::default();
        let used = line.advance(&file[at..cut.max(at)], at as u64, 1 << 20, now, &mut lines);
        add(&lines, &file[at..]);
        at += used;
        if ends.contains(&cut) {
            now += Duration::from_mins(1);
            // A record can become due by what was a partial line until now.
            for _ in 0..2 {
                let mut lines = Lines::default();
                line.expire(now, 1 << 20, &mut lines);
                add(&lines, &[]);
                now += Duration::from_mins(1);
            }
            assert_eq!((line.held_from(), line.due()), (None, None));
        }
    }
    let mut lines = Lines::default();
    line.flush(&file[at..], at as u64, 1 << 20, &mut lines);
    add(&lines, &file[at..]);
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|w| w[0].1 == w[1].0), "{ranges:?}");
    assert_eq!((ranges.first().map_or(0, |r| r.0), ranges.last().map_or(0, |r| r.1)), (0, file.len() as u64));
    out
}

fn written() -> impl Strategy<Value = Vec<Written>> {
    let one = (any::<bool>(), any::<bool>(), "[ a-z\u{e9}]{0,12}", prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..30)
}

proptest! {
    /// For all ways in which a container's streams can alternate, a file be cut, and time pass: texts are joined as they were written, and
    /// every byte belongs to one event.
    #[test]
    fn streams_are_joined_and_every_byte_has_one_owner(pieces in written(), cuts in prop::collection::vec(any::<usize>(), 0..12),
                                                       max in prop_oneof![Just(1000usize), 16usize..40]) {
        prop_assert_eq!(joined(&pieces, &cuts, container(LineFormat::Cri, max)), oracle(&pieces));
    }

    /// The same with lines joined to records: without the newlines between them, the texts are what they were.
    #[test]
    fn records_are_joined_and_every_byte_has_one_owner(pieces in written(), cuts in prop::collection::vec(any::<usize>(), 0..12),
                                                       max in prop_oneof![Just(1000usize), 16usize..40], max_lines in 1usize..5) {
        let until = Until::Continue(regex::bytes::Regex::new("^[ a-f]").unwrap());
        let rule = Rule::Custom(Custom { start: None, until });
        let multiline = Some(Multiline { rule, timeout: Duration::from_secs(1), max_lines });
        let got = joined(&pieces, &cuts, LineConfig { multiline, ..container(LineFormat::Cri, max) });
        let bare = |texts: &[Vec<String>; 2]| texts.clone().map(|t| t.concat().replace('\n', ""));
        prop_assert_eq!(bare(&got), bare(&oracle(&pieces)));
    }
}

#[test]
fn a_file_in_another_encoding_becomes_utf_8() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let file = wide("\u{feff}one \u{a00}\r\n\u{1f600}\n\nend");
    let config = LineConfig { parse: Parser::json(), ..LineConfig::default() };
    let (events, lines) = run(builder(config.clone()), &file, 1000);
    assert_eq!(texts(&events), ["one \u{a00}", "\u{1f600}", "end"]);
    assert_eq!((lines.counts.lines, lines.counts.dropped_blank, lines.counts.invalid_utf8), (4, 1, 0));
    let (events, _) = run(builder(config.clone()), b"\xef\xbb\xbf{\"a\":1}\n", 1000);
    assert_eq!(events, [b"{\"a\":1}"]);
    let encoding = Encoding::of_label("windows-1252").unwrap();
    let file = b"caf\xe9\n{\"a\":\"\x80\"}\n";
    let (events, _) = run(builder(LineConfig { encoding, ..config.clone() }), file, 1000);
    assert_eq!(events, ["{\"message\":\"caf\u{e9}\"}", "{\"a\":\"\u{20ac}\"}"].map(str::as_bytes));
    // A file that is read from its middle on is told by its first bytes.
    let file = wide("\u{feff}one\ntwo\n");
    let mut line = LineBuilder::new(Arc::new(config), Added::default(), "tag".to_owned(), 10, 0);
    line.detect(&file);
    let mut lines = Lines::default();
    assert_eq!(line.advance(&file[10..], 10, 1000, Instant::now(), &mut lines), 8);
    assert_eq!(bytes(&lines, &[], &lines.events[0]), b"{\"message\":\"two\"}");
}

#[test]
fn a_byte_order_mark_that_is_written_bit_by_bit_is_waited_for() {
    let mut line = builder(config(Direct::Raw, 100, LongLines::Split));
    let mut lines = Lines::default();
    assert_eq!(line.advance(b"\xef\xbb", 0, 1000, Instant::now(), &mut lines), 0);
    assert_eq!(line.advance(b"\xef\xbb\xbf", 0, 1000, Instant::now(), &mut lines), 3);
    assert_eq!(lines.unused, [(0, 3)]);
    let (events, _) = run(builder(config(Direct::Raw, 100, LongLines::Split)), b"\xef\xbb", 1000);
    assert_eq!(events, [b"\xef\xbb"]);
}

#[test]
fn parts_of_decoded_text_settle_no_byte_of_which_the_text_is_in_a_later_one() {
    let file = vec![0x80; 5000];
    let encoding = Encoding::of_label("windows-1252").unwrap();
    let config = LineConfig { encoding, ..config(Direct::Raw, 1 << 20, LongLines::Split) };
    let (events, lines) = run(builder(config), &file, 2000);
    assert_eq!(texts(&events).concat(), "\u{20ac}".repeat(5000));
    let mut before = 0;
    for (event, text) in lines.events.iter().zip(texts(&events)) {
        assert!(
            event.span_start < event.span_end && event.span_start <= before,
            "{event:?} after {before} bytes of text"
        );
        before += text.chars().count() as u64;
    }
}

#[test]
fn a_hole_in_a_file_is_skipped_and_counted() {
    let mut file = b"whole\nbegun".to_vec();
    file.resize(file.len() + 1000, 0);
    file.extend_from_slice(b"next\n");
    let (events, lines) = run(builder(config(Direct::Raw, 1 << 20, LongLines::Split)), &file, 1000);
    assert_eq!(events, [&b"whole"[..], b"begun", b"next"]);
    assert_eq!(lines.counts, Counts { lines: 3, nul_bytes: 1000, ..Counts::default() });
}

#[test]
fn what_is_rendered_of_one_stretch_is_bounded() {
    let fields = [("blob".to_owned(), Json::from("x".repeat(10_000)))];
    let config = Arc::new(config(Direct::Raw, 100, LongLines::Split));
    let mut line = LineBuilder::new(config, Added::new(fields, false), "tag".to_owned(), 0, 0);
    let file = b"a\n".repeat(1000);
    let (mut at, mut calls, mut events) = (0, 0, 0);
    while at < file.len() {
        let mut lines = Lines::default();
        at += line.advance(&file[at..], at as u64, 1 << 20, Instant::now(), &mut lines);
        assert!(lines.rendered.len() < MAX_RENDERED_BYTES + 11_000);
        assert_eq!(lines.capped, at < file.len() || lines.rendered.len() > MAX_RENDERED_BYTES);
        (calls, events) = (calls + 1, events + lines.events.len());
    }
    assert_eq!((calls, events), (10, 1000));
}
