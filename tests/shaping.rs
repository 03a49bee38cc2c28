//! Events from lines by way of their fields: the settings and what is said of wrong ones, what comes out, whose bytes are whose, and the real binary, whose
//! ledger has to add up with what transforms drop.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/harness.rs"]
#[expect(dead_code, reason = "other tests need the rest")]
mod harness;

use std::io::Write as _;
use std::sync::Arc;

use harness::{Consumer, Setup, Stand, open, total, until};
use kinetail::config::{Document, Layers, Problems, SourceConfig};
use kinetail::line::{LineBuilder, Lines, Range};
use kinetail::parse::kind::NAMES;
use kinetail::source::file::Group;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::Instant;

/// 2026-11-28T18:40:00.123456789Z: when everything here is read.
const READ_AT: u64 = 1_795_891_200_123_456_789;
const MAX_EVENT: usize = 1 << 20;
const TAG: u64 = 0xABC;

fn load(source: &str) -> Result<SourceConfig, Problems> {
    let text = format!("sources:\n  - name: app\n    {}\n", source.replace('\n', "\n    "));
    let file = Some(Document { name: "k.yaml".to_owned(), text });
    SourceConfig::load_all(&Layers { file, ..Layers::default() }).map(|mut sources| sources.remove(0))
}

/// What a source makes of a file, in pieces of so many bytes.
struct Made {
    events: Vec<Value>,
    lines: Lines,
    ranges: Vec<Range>,
}

fn make(source: &str, file: &[u8]) -> Made {
    make_in_pieces(source, file, file.len().max(1))
}

fn make_in_pieces(source: &str, file: &[u8], piece: usize) -> Made {
    let group = Group::new(&load(source).unwrap_or_else(|problems| panic!("{problems}")), "here");
    let added = group.added_with_id(group.added("/app.log"), TAG);
    let mut line = LineBuilder::new(Arc::clone(&group.line), added, "tag".to_owned(), 0, 0);
    let mut lines = Lines::default();
    lines.shaping.read_at = READ_AT;
    let (mut at, mut end, mut taken) = (0, 0, 0);
    let mut events = Vec::new();
    let mut take = |lines: &Lines, chunk: &[u8]| {
        for event in &lines.events[taken..] {
            let from = if event.rendered { &lines.rendered } else { chunk };
            let bytes = &from[event.start as usize..event.end as usize];
            events.push(serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into()));
        }
        taken = lines.events.len();
    };
    while end < file.len() {
        end = (end + piece).min(file.len());
        loop {
            let used = line.advance(&file[at..end], at as u64, MAX_EVENT, Instant::now(), &mut lines);
            take(&lines, &file[at..end]);
            at += used;
            if !std::mem::take(&mut lines.capped) {
                break;
            }
        }
    }
    line.flush(&file[at..], at as u64, MAX_EVENT, &mut lines);
    take(&lines, &file[at..]);
    let mut ranges: Vec<Range> = lines.events.iter().map(|e| (e.span_start, e.span_end)).collect();
    ranges.extend(lines.more.iter().map(|more| (more.start, more.end)));
    ranges.extend(&lines.unused);
    ranges.sort_unstable();
    Made { events, lines, ranges }
}

fn events(source: &str, file: &str) -> Vec<Value> {
    make(source, file.as_bytes()).events
}

/// The one event of a line, as it is written.
fn text(source: &str, line: &str) -> String {
    let made = make(source, line.as_bytes());
    assert_eq!(made.events.len(), 1, "{:?}", made.events);
    let event = made.lines.events[0];
    let from = if event.rendered { &made.lines.rendered[..] } else { line.as_bytes() };
    String::from_utf8(from[event.start as usize..event.end as usize].to_vec()).unwrap()
}

fn problems(source: &str) -> Vec<String> {
    load(source).unwrap_err().iter().map(ToString::to_string).collect()
}

/// Texts that other programs have stumbled over.
const AWKWARD: [&str; 40] = [
    "",
    " ",
    "\t",
    "null",
    "NaN",
    "-",
    "--",
    "-0",
    "1e999",
    "0x1f",
    "١٢٣",
    "1,000.00",
    "true",
    "undefined",
    "\\",
    "\"",
    "'\"`\"'",
    "{}",
    "[",
    "{\"a\":{\"a\":",
    "%s%n%p %d",
    "$(date) `date` ${HOME}",
    "'; DROP TABLE lines; --",
    "<script>alert(1)</script>",
    "../../../../etc/passwd%00",
    "a=b c==\"d\" e='",
    "x\u{0}\u{1}\u{7f}\u{80}\u{85}\u{a0}",
    "a \u{feff}bom",
    "\u{202e}backwards\u{202c}",
    "\u{200b}\u{200d}\u{2028}\u{2029}",
    "Z\u{0334}\u{0321}\u{0335}a\u{0334}\u{0356}l\u{0337}\u{0489}g\u{0338}o\u{0334}",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏿",
    "田中さんにあげて下さい",
    "הָיְתָהtestالصفحات",
    "ﷺ ﬃ İ ß ſ",
    "\u{10ffff}\u{e000}\u{fffd}\u{fffe}",
    "\u{1b}[31m red \u{1b}[0m",
    "2026-13-45T99:99:99Z",
    "<999>1 - - - - - -",
    "CEF:0|\\||=|",
];

#[test]
fn awkward_texts_come_out_as_they_went_in() {
    for awkward in AWKWARD {
        let object = format!(r#"{{"s":{},"n":1}}"#, Value::from(awkward));
        assert_eq!(text("parse: json", &object), object);
        assert_eq!(text("parse: [json, raw]\ntransforms: [{set: {n: 1}}]", &object), object);
        // As a line of its own it stays what it is, or is what a parser that fits says.
        let line = awkward.replace('\n', " ");
        for parser in NAMES {
            let options = match parser {
                "regex" => r"{as: regex, pattern: '^(?P<a>\S+)\s(?P<b>.*)'}",
                "grok" => "{as: grok, pattern: '%{WORD:w} %{GREEDYDATA:rest}'}",
                other => other,
            };
            let made = make(&format!("parse: [{options}]\nadd: {{offset: true}}"), format!("{line}\n").as_bytes());
            assert!(made.events.len() == 1 || line.trim_ascii().is_empty(), "{parser}: {line:?}: {:?}", made.events);
            let refused = made.lines.counts.parse_errors == 1;
            assert!(!refused || made.events[0]["message"] == line.as_str(), "{parser}: {line:?}: {:?}", made.events);
        }
    }
    // What stands for half a character passes as it stands, which no reader makes a text of.
    let half = r#"{"s":"\ud800"}"#;
    let made = make("parse: json", half.as_bytes());
    assert_eq!(made.lines.events.len(), 1);
}

#[test]
fn an_object_of_ten_megabytes_keeps_every_byte() {
    let numbers = (0..1_240_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let object = format!(r#"{{"numbers": [{numbers}], "last": 1.0}}"#);
    assert!(object.len() > 10_000_000, "{}", object.len());
    // One record does not hold it: its parts do.
    for source in ["parse: json\nmax_line_bytes: 10MiB", "parse: [json, raw]\ntransforms: [{remove: [last]}]"] {
        let made = make_in_pieces(source, format!("{object}\n").as_bytes(), 1 << 20);
        let parts = made.events.iter().map(|part| part["message"].as_str().unwrap());
        assert!(parts.collect::<String>() == object, "{source}");
        assert_eq!(made.events.last().unwrap()["partial_last"], "true");
        assert!(made.lines.counts.split >= 1, "{source}");
    }
    // As a whole, where a record could hold it.
    let mut event = kinetail::event::Event::default();
    event.read_json(&object).unwrap();
    let mut out = Vec::new();
    event.write_to(&mut out);
    let same = String::from_utf8(out).unwrap();
    assert!(same == object.replacen(": ", ":", 1).replacen(", \"last\": ", ",\"last\":", 1));
}

#[test]
fn the_first_of_a_chain_that_fits_makes_the_event() {
    let chain = "parse: [json, logfmt, raw]";
    let got = events(chain, "{\"a\": 1.50}\nlevel=info msg=\"it is done\"\n\nplain words\n{\"a\":\n");
    let want = [
        json!({"a": 1.50}),
        json!({"level": "info", "msg": "it is done"}),
        json!({"message": "plain words"}),
        json!({"message": "{\"a\":"}),
    ];
    assert_eq!(got, want);
    let made = make("parse: [json, logfmt]", b"plain words\n{}\n");
    assert_eq!(made.events, [json!({"message": "plain words"}), json!({})]);
    assert_eq!(made.lines.counts.parse_errors, 1);
    assert_eq!(&**load("parse: [json, logfmt]").unwrap().parse.label(), "json,logfmt");
    // A raw line stays bytes, also one that is blank.
    assert_eq!(make("parse: raw", b"\xff\n\nx\n").events.len(), 3);
}

#[test]
fn values_that_nothing_touches_pass_byte_for_byte() {
    for parse in ["parse: json", "parse: [json, raw]"] {
        let line = r#"{"n":123456789012345678901234567890,"f":1.10e+2,"u":"\u00e9\/","o":{"a" : [1, {"b":null}]},"d":1,"d":2}"#;
        assert_eq!(text(parse, line), line, "{parse}");
    }
    // Of a name that is there twice, the last one counts; who sets it sets both.
    let set = "parse: json\ntransforms: [{set: {seen: '{d}'}}]";
    assert_eq!(text(set, r#"{"d":1,"d":2}"#), r#"{"d":1,"d":2,"seen":2}"#);
    let set = "parse: json\ntransforms: [{set: {d: 3}}]";
    assert_eq!(text(set, r#"{"d":1,"x":0,"d":2}"#), r#"{"d":3,"x":0}"#);
}

#[test]
fn a_field_is_parsed_further_and_what_is_in_it_takes_its_place() {
    let nested = "parse: {field: log, as: [json, logfmt]}";
    for (line, want) in [
        (r#"{"a":1,"log":"{\"b\":\"x\\n\",\"a\":2}","z":3}"#, r#"{"b":"x\n","a":2,"z":3}"#),
        (r#"{"log":"level=info n=7","z":3}"#, r#"{"level":"info","n":"7","z":3}"#),
        (r#"{"log":{"b":1},"z":3}"#, r#"{"b":1,"z":3}"#),
        (r#"{"log":"just words","z":3}"#, r#"{"log":"just words","z":3}"#),
        (r#"{"log":7}"#, r#"{"log":7}"#),
        (r#"{"a":1}"#, r#"{"a":1}"#),
    ] {
        assert_eq!(text(nested, line), want, "{line}");
    }
    let made = make(nested, b"{\"log\":\"just words\"}\nno JSON\n");
    assert_eq!((made.lines.counts.nested_errors, made.lines.counts.parse_errors), (1, 1));
    // The same as a transform, deeper down.
    let transform = "parse: json\ntransforms: [{parse: {field: k.log, as: json}}]";
    assert_eq!(text(transform, r#"{"k":{"log":"{\"b\":1}"}}"#), r#"{"k":{},"b":1}"#);
}

#[test]
fn json_that_is_too_deep_is_refused_and_counted() {
    let bomb = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for parse in ["parse: json", "parse: json\ntimestamp: {}", "parse: {field: a, as: json}"] {
        let made = make(parse, bomb.as_bytes());
        assert_eq!(made.lines.counts.parse_errors, 1, "{parse}");
        assert_eq!(made.events[0]["message"], bomb.as_str());
    }
    let nested = make("parse: {field: a, as: json}", json!({"a": bomb}).to_string().as_bytes());
    assert_eq!((nested.lines.counts.nested_errors, &nested.events[0]["a"]), (1, &json!(bomb)));
}

const NGINX: &str = r#"10.0.0.1 - - [31/Mar/2021:12:04:07 +0200] "GET /a?b=c HTTP/1.1" 200 612 "-" "curl/7.64""#;

#[test]
fn times_and_levels_are_told_in_one_way() {
    let shape = "parse: [nginx, json, raw]\ntimestamp: {}\nlevel: {}";
    assert_eq!(events(shape, NGINX)[0]["@timestamp"], "2021-03-31T10:04:07.000000000Z");
    assert_eq!(
        text(shape, r#"{"lvl":"WARNING","ts":1617192247.25,"msg":"m"}"#),
        r#"{"level":"warn","@timestamp":"2021-03-31T12:04:07.250000000Z","msg":"m"}"#
    );
    // The place is that of the field that said it, and other fields of the name go.
    let named = "parse: json\ntimestamp: {field: when, format: '%d/%m/%Y %H:%M', zone: '+01:00', name: time}";
    let line = r#"{"time":0,"when":"28/11/2026 10:30","x":1}"#;
    assert_eq!(text(named, line), r#"{"time":"2026-11-28T09:30:00.000000000Z","x":1}"#);
    let made = make(shape, b"{\"ts\":\"soon\"}\n{\"a\":1}\n{\"time\":\"2026-11-28T18:39:58.123456789Z\"}\n");
    let read = "2026-11-28T18:40:00.123456789Z";
    assert_eq!((&made.events[0]["@timestamp"], &made.events[0]["ts"]), (&json!(read), &json!("soon")));
    assert_eq!(made.events[1], json!({"a": 1, "@timestamp": read}));
    let shaped = made.lines.counts.shaped;
    assert_eq!((shaped.times_unreadable, shaped.times_missing, shaped.skew_nanos), (1, 1, Some(2_000_000_000)));
    // What the container runtime says is nearer than the time of the reading.
    let cri = "format: cri\nparse: json\nadd: {time: false, stream: false}\ntimestamp: {}";
    let made = make(cri, b"2026-01-02T03:04:05.6Z stdout F {\"a\":1}\n");
    assert_eq!(made.events, [json!({"a": 1, "@timestamp": "2026-01-02T03:04:05.600000000Z"})]);
    assert_eq!(made.lines.counts.shaped.times_missing, 0);
}

#[test]
fn fields_get_the_names_of_a_scheme() {
    let got = &events("parse: nginx\nnames: otel\ntimestamp: {}", NGINX)[0];
    assert_eq!((&got["client.address"], &got["http.response.status_code"]), (&json!("10.0.0.1"), &json!(200)));
    assert_eq!(got["timestamp"], "2021-03-31T10:04:07.000000000Z");
    let got = &events("parse: nginx\nnames: ecs\ntimestamp: {}", NGINX)[0];
    assert_eq!((&got["source.ip"], &got["@timestamp"]), (&json!("10.0.0.1"), &json!("2021-03-31T10:04:07.000000000Z")));
}

#[test]
fn what_transforms_drop_is_counted_by_reason_and_settled() {
    let source = "parse: json\ntransforms:\n  - drop: 'a == 1'\n  - keep: 'exists(a)'\n  - dedupe: {fields: [a], within: 1h}\nadd: {id: true}";
    let file = b"{\"a\":1}\n{\"a\":2}\n\n{\"b\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":1}\n";
    let made = make(source, file);
    let ids = ["0000000000000abc-0-16", "0000000000000abc-16-41"];
    let want = [json!({"a": 2, "_id": ids[0]}), json!({"a": 3, "repeats_dropped": 1, "_id": ids[1]})];
    assert_eq!(made.events, want);
    let counts = made.lines.counts;
    assert_eq!((counts.lines, counts.dropped_blank, counts.shaped.dropped), (7, 1, [1, 2, 0, 0, 1]));
    assert_eq!(made.ranges.first().map(|r| r.0), Some(0));
    assert!(made.ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "{:?}", made.ranges);
    assert_eq!(made.ranges.last().map(|r| r.1), Some(file.len() as u64));
}

#[test]
fn secrets_are_in_no_event_part_or_dead_letter() {
    let secret = "joe@example.com";
    let redact = "transforms: [{redact: {presets: [email]}}]";
    let long = format!("{{\"m\":\"{}{secret} {}\"}}", "x ".repeat(250), "y".repeat(2000));
    for (more, line) in [
        ("parse: json", format!("{{\"m\":\"by {secret}\"}}")),
        ("parse: json", format!("no JSON by {secret}")),
        ("parse: raw", format!("by {secret}")),
        ("parse: json\non_parse_error: dead_letter", format!("no JSON by {secret}")),
        ("parse: json\nmax_line_bytes: 1KiB", long.clone()),
        ("parse: json\nmax_line_bytes: 1KiB\nlong_lines: truncate", long),
    ] {
        let made = make(&format!("{more}\n{redact}"), line.as_bytes());
        let rejected = made.lines.rejected.iter().map(|r| String::from_utf8(r.line.clone()).unwrap());
        let out: Vec<String> = made.events.iter().map(ToString::to_string).chain(rejected).collect();
        assert!(!out.is_empty() && out.iter().all(|text| !text.contains(secret)), "{more}: {out:?}");
        assert!(out.iter().any(|text| text.contains("by") || text.contains("x x")), "{out:?}");
    }
}

#[test]
fn wrong_settings_are_told_of_with_their_lines() {
    for (source, want) in [
        ("parse: jsom", "k.yaml:3: sources[0].parse: \"jsom\" is not one of "),
        ("parse: [json, ngnix]", "k.yaml:3: sources[0].parse[1]: \"ngnix\" is not one of "),
        ("parse: []", "k.yaml:3: sources[0].parse: has 0 parsers; allowed: 1 to 16"),
        (
            "parse: [raw, json]",
            "k.yaml:3: sources[0].parse[1]: is never used: raw, before it, fits every line; put raw last",
        ),
        ("parse: {as: regex}", "k.yaml:3: sources[0].parse: needs pattern, a regular expression with named groups"),
        ("parse:\n  as: regex\n  pattern: '(a'", "k.yaml:5: sources[0].parse.pattern: \"(a\": "),
        (
            "parse:\n  as: regex\n  pattern: '(?P<a>x)'\n  types: {a: itn}",
            "k.yaml:6: sources[0].parse.types.a: \"itn\" is no type; allowed: ",
        ),
        ("parse:\n  as: csv\n  colums: [a]", "k.yaml:5: sources[0].parse.colums: is not a setting here; allowed: "),
        ("parse: {pattern: x}", "k.yaml:3: sources[0].parse: has no as, which names the parser; allowed: "),
        ("parse: {as: [json]}", "k.yaml:3: sources[0].parse.as: is a list; without field, "),
        ("parse: 7", "k.yaml:3: sources[0].parse: 7 is no parser; allowed: "),
        (
            "parse:\n  as: json\n  as: raw",
            "k.yaml:5: sources[0].parse.as: is given twice, first in line 4; remove one of them",
        ),
        ("timestamp: {format: epoch_sm}", "k.yaml:3: sources[0].timestamp.format: `epoch_sm` is no time format"),
        ("timestamp: {format: '%Y-%Q'}", "k.yaml:3: sources[0].timestamp.format: "),
        (
            "timestamp: {zone: Europa/Paris}",
            "k.yaml:3: sources[0].timestamp.zone: the zone `Europa/Paris` is not known",
        ),
        (
            "timestamp: {feld: x}",
            "k.yaml:3: sources[0].timestamp.feld: is not a setting; allowed: field, format, name, zone (did you mean \"field\"?)",
        ),
        ("level: {numbers: tens_}", "k.yaml:3: sources[0].level.numbers: \"tens_\" is not one of "),
        ("names: otle", "k.yaml:3: sources[0].names: \"otle\" is not one of otel, ecs"),
        ("transforms: [{dorp: 'a == 1'}]", "k.yaml:3: sources[0].transforms[0].dorp: is not a setting"),
        (
            "transforms:\n  - drop: 'a = = 1'",
            "k.yaml:4: sources[0].transforms[0].drop: \"a = = 1\" is not a condition: ",
        ),
        ("transforms:\n  - parse: {as: json}", "k.yaml:4: sources[0].transforms[0].parse: has no field"),
        ("transforms:\n  - parse: {field: a..b, as: json}", "k.yaml:4: sources[0].transforms[0].parse.field: "),
        ("transforms:\n  - metric: {name: kinetail_x}", "k.yaml:4: sources[0].transforms[0].metric.name: "),
        ("add: {id: true, fields: {_id: 1}}", "k.yaml:3: sources[0].add.fields._id: is added by sources[0].add.id too"),
    ] {
        let got = problems(source);
        assert!(got.iter().any(|problem| problem.starts_with(want)), "{source}\nwant {want}\ngot  {got:#?}");
        assert_eq!(got.len(), 1, "{source}: {got:#?}");
    }
}

/// The bytes that a name of an event stands for.
fn of_id(id: &str) -> Vec<Range> {
    let ranges = id.strip_prefix("0000000000000abc-").unwrap();
    let range = |range: &str| {
        let (start, end) = range.split_once('-').unwrap();
        (start.parse().unwrap(), end.parse().unwrap())
    };
    ranges.split('+').map(range).collect()
}

proptest! {
    /// For all files of a container, however they are read, the names of the events cover the file, and no two of them have a byte of it in common.
    #[test]
    fn names_of_events_cover_the_file(
        lines in prop::collection::vec((prop::bool::ANY, prop::bool::ANY, 0..6_usize), 1..24),
        piece in 1..200_usize,
    ) {
        let words = ["{\"a\":1}", "", "words", "{\"drop\":1}", "\tat more", "{\"long\":\"0123456789012345678901234567890123456789\"}"];
        let line = |(stdout, whole, word): &(bool, bool, usize)| {
            let (stream, tag) = (if *stdout { "stdout" } else { "stderr" }, if *whole { "F" } else { "P" });
            format!("2026-01-02T03:04:05.6Z {stream} {tag} {}\n", words[*word])
        };
        let file: String = lines.iter().map(line).collect();
        let source = "format: cri\nparse: [json, raw]\nmultiline: {start: '^\\{'}\nadd: {id: true}\ntransforms: [{drop: 'exists(drop)'}]";
        let made = make_in_pieces(source, file.as_bytes(), piece);
        let mut named: Vec<Range> = made.events.iter().flat_map(|e| of_id(e["_id"].as_str().unwrap())).collect();
        named.sort_unstable();
        prop_assert!(named.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", named);
        let mut at = 0;
        for (start, end) in named {
            // What was found to be no event's after the last of them waits for the next one.
            let waits = made.lines.unused.iter().any(|(from, to)| *from <= at && start <= *to);
            prop_assert!(start == at || waits, "a gap from {at} to {start}");
            at = end;
        }
        prop_assert!(made.ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }
}

#[tokio::test]
async fn the_ledger_adds_up_with_what_transforms_drop_and_metrics_are_derived() {
    let stand = Stand::start(1).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PATHS", "");
    setup.configure(&json!({"sources": [{
        "name": "shop", "paths": [setup.log("shop.log")], "parse": ["json", "logfmt"], "timestamp": {}, "add": {"id": true},
        "transforms": [
            {"metric": {"name": "orders_created", "labels": {"kind": "{kind}"}, "max_series": 3, "when": "exists(kind)"}},
            {"drop": "n < 0"},
            {"redact": {"presets": ["email"]}},
        ],
    }]}));
    let mut log = open(&setup.log("shop.log"));
    for n in 0..1000_i64 {
        let kind = n % 5;
        writeln!(
            log,
            "{}",
            json!({"n": if n % 4 == 0 { -n - 1 } else { n }, "kind": format!("k{kind}"), "by": "joe@example.com"})
        )
        .unwrap();
    }
    writeln!(log, "level=info kind=k0\n").unwrap();
    let agent = setup.run().await;
    let mut consumer = Consumer::new(&stand).await;
    until("the events", async || {
        consumer.look().await;
        (consumer.events.len() >= 751).then_some(())
    })
    .await;
    let metrics = until("the metrics", async || {
        let metrics = agent.get("/metrics").await.1;
        metrics.contains("orders_created{source=\"shop\",kind=\"_other\"} 400\n").then_some(metrics)
    })
    .await;
    assert!(metrics.contains("orders_created{source=\"shop\",kind=\"k0\"} 201\n"), "{metrics}");
    let count = |name: &str| total(&metrics, name);
    assert_eq!(count("events_total"), 1002);
    assert_eq!(count("kinesis_user_records_total"), 751);
    assert_eq!(count("dropped_events_total{reason=\"drop\",stage=\"transform\"}"), 250);
    assert_eq!(count("dropped_events_total"), 251);
    assert_eq!(count("in_flight_events"), 0);
    assert_eq!(
        count("derived_metric_errors_total{metric=\"orders_created\",reason=\"max_series\",source=\"shop\"}"),
        400
    );
    assert_eq!(count("timestamp_errors_total{reason=\"missing\",source=\"shop\"}"), 751 + 250);
    assert!(consumer.events.iter().all(|event| !String::from_utf8_lossy(&event.data).contains("joe@")));
    let mut ends: Vec<Range> = consumer
        .events
        .iter()
        .map(|event| {
            let event: Value = serde_json::from_slice(&event.data).unwrap();
            let id = event["_id"].as_str().unwrap().rsplitn(3, '-').map(str::to_owned).collect::<Vec<_>>();
            (id[1].parse().unwrap(), id[0].parse().unwrap())
        })
        .collect();
    ends.sort_unstable();
    assert!(ends.windows(2).all(|pair| pair[0].1 == pair[1].0) && ends[0].0 == 0);
    agent.stop().await;
}

#[tokio::test]
async fn repeats_of_a_file_that_falls_silent_are_told_of() {
    let stand = Stand::start(1).await;
    let mut setup = Setup::new(&stand.endpoint());
    setup.set("KINETAIL_PATHS", "");
    setup.configure(&json!({"sources": [{
        "name": "app", "paths": [setup.log("app.log")], "parse": "json", "timestamp": {}, "add": {"fields": {"env": "prod"}, "id": true},
        "transforms": [{"dedupe": {"fields": ["m"], "within": "1ms"}}, {"remove": ["none"]}],
    }]}));
    let mut log = open(&setup.log("app.log"));
    let line = |m: &str| format!("{}\n", json!({ "m": m }));
    log.write_all((line("same").repeat(2000) + &line("other")).as_bytes()).unwrap();
    let agent = setup.run().await;
    let mut consumer = Consumer::new(&stand).await;
    let repeats = |consumer: &Consumer| -> u64 {
        let events = consumer.events.iter().map(|event| serde_json::from_slice::<Value>(&event.data).unwrap());
        events.map(|event| event["repeats_dropped"].as_u64().unwrap_or(0) + u64::from(event.get("_id").is_some())).sum()
    };
    // However the time ran, each line is an event or in the count of one.
    until("the events", async || {
        consumer.look().await;
        (repeats(&consumer) == 2001).then_some(())
    })
    .await;
    log.write_all(line("again").repeat(2000).as_bytes()).unwrap();
    until("the repeats", async || {
        consumer.look().await;
        (repeats(&consumer) == 4001).then_some(())
    })
    .await;
    let told: Vec<Value> = consumer.events.iter().map(|e| serde_json::from_slice(&e.data).unwrap()).collect();
    let aside =
        told.iter().find(|event| event.get("_id").is_none() && event["m"] == "again").expect("an event of its own");
    assert_eq!(aside["env"], "prod");
    assert!(aside["@timestamp"].is_string());
    let metrics = agent.get("/metrics").await.1;
    let (events, dropped) = (total(&metrics, "kinesis_user_records_total"), total(&metrics, "dropped_events_total"));
    assert_eq!(total(&metrics, "events_total"), events + dropped);
    agent.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For all bytes and all parsers, whatever comes out is one JSON object a line, and every byte of the file has one owner.
    #[test]
    fn whatever_is_read_events_are_objects(
        lines in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "[a-zA-Z0-9 =:,\"'\\\\\\[\\]{}<>/|.+\t-]{0,80}".prop_map(String::into_bytes),
            "<[0-9]{1,3}>1? ?[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [a-z]{1,8} [ -~]{0,40}".prop_map(String::into_bytes),
            Just(NGINX.as_bytes().to_vec()),
        ], 0..8),
        parser in prop::sample::select(NAMES.to_vec()),
        piece in 1..300_usize,
    ) {
        let options = match parser {
            "regex" => r"{as: regex, pattern: '(?P<a>\S+)\s*(?P<b>.*)', types: {a: number}}",
            "grok" => "{as: grok, pattern: '%{WORD:w} %{GREEDYDATA:rest}'}",
            other => other,
        };
        let file = lines.join(&b'\n');
        let source = format!(
            "parse: [{options}]\ntimestamp: {{}}\nlevel: {{}}\nnames: ecs\nadd: {{id: true, offset: true}}\ntransforms: [{{flatten: {{}}}}, {{redact: \
             {{presets: [email, ip, card, passwords]}}}}, {{truncate: {{bytes: 20}}}}, {{set: {{x: '{{message|''none''}}'}}}}]"
        );
        let made = make_in_pieces(&source, &file, piece);
        for event in &made.events {
            prop_assert!(event.is_object() && event["_id"].is_string(), "{event}");
        }
        prop_assert!(made.ranges.windows(2).all(|pair| pair[0].1 == pair[1].0), "{:?}", made.ranges);
        prop_assert_eq!(made.ranges.last().map_or(0, |range| range.1), file.len() as u64);
    }
}
