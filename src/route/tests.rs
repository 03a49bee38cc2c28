//! Tests of the Router and of splitting.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::budget::Budget;
use crate::event::{EventRef, Further, LaneId, Rejected, SourceId};
use crate::line::Counts;

const HOST: &str = "node-1";
const PATH: &str = "/var/log/app.log";

fn template(text: &str) -> Arc<Template> {
    Arc::new(Template::parse(text).unwrap())
}

fn streams(limit: usize) -> Streams {
    Streams::new("main", limit)
}

/// A batch of these events, one a line: every other one rendered, the others as they stand in the chunk.
fn batch(events: &[&str], budget: &Arc<Budget>) -> Batch {
    let (mut chunk, mut rendered, mut refs) = (Vec::new(), Vec::new(), Vec::new());
    for (index, event) in events.iter().enumerate() {
        let span_start = chunk.len() as u64;
        chunk.extend_from_slice(event.as_bytes());
        chunk.push(b'\n');
        let from = if index % 2 == 0 { chunk.len() - 1 } else { rendered.len() + event.len() };
        if index % 2 == 1 {
            rendered.extend_from_slice(event.as_bytes());
        }
        let (start, end) = (u32::try_from(from - event.len()).unwrap(), u32::try_from(from).unwrap());
        refs.push(EventRef { start, end, rendered: index % 2 == 1, span_start, span_end: chunk.len() as u64 });
    }
    let end = chunk.len() as u64;
    Batch {
        source: SourceId(1),
        source_name: "app".into(),
        parser: "raw".into(),
        lane: LaneId(1),
        partition_key: "source-key".into(),
        chunk,
        rendered,
        events: refs,
        more: Vec::new(),
        unused: vec![(end, end + 7)],
        rejected: vec![Rejected { line: b"x".to_vec(), reason: "parse_error" }],
        counts: Counts { lines: events.len() as u64, ..Counts::default() },
        routes: Routes::default(),
        start: 0,
        end: end + 7,
        read_at: Instant::now(),
        permit: budget.try_reserve(1000).unwrap(),
    }
}

fn routed(rules: &Rules, events: &[&str], streams: &mut Streams) -> Batch {
    let mut batch = batch(events, &Budget::new(1 << 20));
    Router::new(rules, "app", HOST, streams).route(&mut batch, PATH, streams);
    batch
}

fn keys(text: &str, events: &[&str]) -> (Vec<Option<String>>, RouteCounts) {
    let rules = Rules { partition_key: Some(template(text)), ..Rules::default() };
    let routes = routed(&rules, events, &mut streams(1)).routes;
    assert!(!routes.is_empty());
    ((0..events.len()).map(|event| routes.partition_key(event).map(str::to_owned)).collect(), routes.counts)
}

#[test]
fn without_a_template_nothing_is_looked_at() {
    let batch = routed(&Rules::default(), &["{\"a\":1}"], &mut streams(1));
    assert!(batch.routes.is_empty() && batch.routes.memory() == 0);
    assert_eq!((batch.routes.partition_key(0), batch.routes.hash_key(0)), (None, None));
}

#[test]
fn an_event_has_the_key_that_its_fields_make() {
    let events = [
        r#"{"user":"u1","n":1}"#,
        r#"{"user":"u1","n":2}"#,
        r#"{"user":"u2"}"#,
        "no object",
        r#"{"user":7}"#,
        r#"{"user":"u1"}"#,
    ];
    let (keys, counts) = keys("{user}", &events);
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(keys, [some("u1"), some("u1"), some("u2"), None, some("7"), some("u1")]);
    assert_eq!(counts, RouteCounts { missing: 1, ..RouteCounts::default() });
}

#[test]
fn literals_metadata_and_alternatives_make_up_a_key() {
    let one = |text: &str, event: &str| keys(text, &[event]).0.remove(0);
    assert_eq!(one("{@source}/{@host}{@path}", "text").as_deref(), Some("app/node-1/var/log/app.log"));
    assert_eq!(one("a-{k8s.ns}-{n}", r#"{"k8s":{"ns":"x"},"n":1}"#).as_deref(), Some("a-x-1"));
    assert_eq!(one("a-{k8s.ns}-{n}", r#"{"n":1}"#), None);
    assert_eq!(one("{a|b.c|'none'}", r#"{"b":{"c":2},"a":null}"#).as_deref(), Some("2"));
    assert_eq!(one("{a|b.c|'none'}", "text").as_deref(), Some("none"));
    // An empty text gives way to one that is not, and is a text where there is none.
    assert_eq!(one("{a|b}", r#"{"a":"","b":"x"}"#).as_deref(), Some("x"));
    assert_eq!(one("{a|b}/", r#"{"a":""}"#).as_deref(), Some("/"));
}

#[test]
fn a_key_that_kinesis_would_refuse_gives_way_to_that_of_the_source() {
    let object = |user: &str| format!("{{\"user\":\"{user}\"}}");
    let (long, longest) = (object(&"é".repeat(257)), object(&"é".repeat(256)));
    let (keys, counts) = keys("{user}", &[&long, &longest, &object(""), "{}", &object(&"x".repeat(257))]);
    let lengths: Vec<_> = keys.iter().map(|key| key.as_ref().map(String::len)).collect();
    assert_eq!(lengths, [None, Some(512), None, None, None]);
    assert_eq!(counts, RouteCounts { too_long: 2, empty: 1, missing: 1, ..RouteCounts::default() });
}

#[test]
fn a_hash_key_is_a_decimal_number_or_it_does_not_count() {
    let rules =
        Rules { partition_key: Some(template("{u}")), explicit_hash_key: Some(template("{h}")), ..Rules::default() };
    let events = [
        r#"{"u":"a","h":12}"#,
        r#"{"u":"b","h":"340282366920938463463374607431768211455"}"#,
        r#"{"u":"c","h":"0x1"}"#,
        r#"{"u":"d","h":-1}"#,
        r#"{"h":5}"#,
        r#"{"u":"e"}"#,
    ];
    let routes = routed(&rules, &events, &mut streams(1)).routes;
    let hashes: Vec<_> = (0..6).map(|event| routes.hash_key(event)).collect();
    assert_eq!(hashes, [Some(12), Some(u128::MAX), None, None, Some(5), None]);
    assert_eq!(routes.partition_key(4), None);
    assert_eq!(routes.counts, RouteCounts { invalid_hash_key: 2, missing: 1, ..RouteCounts::default() });
}

fn by_stream(text: &str) -> Rules {
    Rules { stream: Some(StreamRule::Template(Arc::new(Template::parse(text).unwrap()))), ..Rules::default() }
}

#[test]
fn events_go_to_the_streams_that_they_name_up_to_the_limit() {
    let mut streams = streams(3);
    let events =
        [r#"{"team":"a"}"#, r#"{"team":"b"}"#, r#"{"team":"c"}"#, r#"{"team":"b/d"}"#, r#"{"x":1}"#, r#"{"team":"a"}"#];
    let batch = routed(&by_stream("logs-{team}"), &events, &mut streams);
    let expected = [1, 2, 0, 0, 0, 1].map(StreamIndex);
    assert_eq!(batch.routes.streams, expected);
    let reasons = RouteCounts { stream_limit: 1, stream_invalid: 1, stream_missing: 1, ..RouteCounts::default() };
    assert_eq!(batch.routes.counts, reasons);
    // What was written before a field turned out to be missing is the name of nothing.
    assert_eq!(streams.names().iter().map(|name| &**name).collect::<Vec<_>>(), ["main", "logs-a", "logs-b"]);
    assert_eq!(streams.name(StreamIndex(2)).map(|name| &**name), Some("logs-b"));
    assert_eq!(streams.name(StreamIndex(3)), None);
}

#[test]
fn a_source_can_have_a_stream_of_its_own() {
    let rules = Rules { stream: Some(StreamRule::Name("audit".to_owned())), ..Rules::default() };
    let parts = split(routed(&rules, &["a", "b"], &mut streams(2)));
    assert_eq!(
        parts.iter().map(|(stream, batch)| (*stream, batch.events.len())).collect::<Vec<_>>(),
        [(StreamIndex(1), 2)]
    );
    // So has what became no event of it.
    assert_eq!(split(routed(&rules, &[], &mut streams(2)))[0].0, StreamIndex(1));
}

#[test]
fn names_of_streams_are_those_that_the_service_takes() {
    for (name, is_one) in [
        ("a", true),
        ("A-b_c.9", true),
        ("", false),
        ("a b", false),
        ("é", false),
        ("a/b", false),
        (&*"x".repeat(128), true),
        (&"x".repeat(129), false),
    ] {
        assert_eq!(is_stream_name(name), is_one, "{name}");
    }
}

#[test]
fn a_batch_of_one_stream_stays_as_it_is() {
    let mut streams = streams(4);
    let before = routed(&by_stream("{s}"), &[r#"{"s":"x"}"#, r#"{"s":"x"}"#], &mut streams);
    let (chunk, rendered) = (before.chunk.as_ptr(), before.rendered.as_ptr());
    let mut parts = split(before);
    let (stream, batch) = parts.remove(0);
    assert!(parts.is_empty());
    assert_eq!((stream, batch.routes.stream), (StreamIndex(1), StreamIndex(1)));
    assert_eq!((batch.chunk.as_ptr(), batch.rendered.as_ptr(), batch.permit.bytes()), (chunk, rendered, 1000));
}

proptest! {
    /// For all events and streams: each event is in exactly one part, that of its stream, in its order, with its bytes, span, ranges and keys; what
    /// is counted once is counted once; and the memory adds up.
    #[test]
    fn parts_of_a_batch_are_the_batch(
        named in proptest::collection::vec((0u8..4, 0u8..3, 0usize..40, 0usize..3), 1..30),
    ) {
        let events: Vec<String> = named
            .iter()
            .map(|(stream, user, length, _)| format!("{{\"s\":\"s{stream}\",\"u\":\"{user}\",\"h\":{user},\"x\":\"{}\"}}", "x".repeat(*length)))
            .collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let budget = Budget::new(1 << 20);
        let mut batch = batch(&events, &budget);
        for (event, (.., further)) in named.iter().enumerate() {
            for at in 0..*further {
                let event = u32::try_from(event).unwrap();
                batch.more.push(Further { event, start: at as u64, end: u64::from(event) });
            }
        }
        let rules = Rules { partition_key: Some(template("{u}")), explicit_hash_key: Some(template("{h}")), ..by_stream("{s}") };
        let mut streams = streams(4);
        Router::new(&rules, "app", HOST, &mut streams).route(&mut batch, PATH, &mut streams);
        let counts = batch.routes.counts;
        let parts = split(batch);
        prop_assert_eq!(budget.used(), 1000);
        prop_assert_eq!(parts.iter().map(|(_, part)| part.permit.bytes()).sum::<usize>(), 1000);
        let mut next: BTreeMap<StreamIndex, usize> = BTreeMap::new();
        for (place, (stream, part)) in parts.iter().enumerate() {
            prop_assert_eq!(part.routes.stream, *stream);
            prop_assert!(next.insert(*stream, 0).is_none() && !part.events.is_empty());
            let once = (part.unused.len(), part.rejected.len(), part.end - part.start > 0, part.counts.lines > 0);
            prop_assert_eq!(once, if place == 0 { (1, 1, true, true) } else { (0, 0, false, false) });
            prop_assert_eq!(part.routes.counts, if place == 0 { counts } else { RouteCounts::default() });
        }
        let mut span_start = 0;
        for (event, (stream, user, _, further)) in events.iter().zip(&named) {
            let index = streams.index(&format!("s{stream}")).unwrap_or(StreamIndex::DEFAULT);
            let (_, part) = parts.iter().find(|(at, _)| *at == index).unwrap();
            let at = next[&index];
            next.insert(index, at + 1);
            let found = part.events[at];
            prop_assert_eq!(part.bytes(&found), event.as_bytes());
            prop_assert_eq!((found.span_start, found.span_end), (span_start, span_start + event.len() as u64 + 1));
            span_start = found.span_end;
            prop_assert_eq!(part.routes.partition_key(at), Some(&*user.to_string()));
            prop_assert_eq!(part.routes.hash_key(at), Some(u128::from(*user)));
            prop_assert_eq!(part.more.iter().filter(|more| more.event as usize == at).count(), *further);
        }
        for (stream, part) in &parts {
            prop_assert_eq!(next[stream], part.events.len());
            prop_assert!(part.more.is_sorted_by_key(|more| more.event));
        }
    }
}
