//! Every transform as people write it, and every mistake with its line and the way out.

use std::collections::BTreeMap;

use super::super::{Document, Layers, SourceConfig};
use crate::event::Event;
use crate::transform::{Context, Pipeline};

fn layers(transforms: &str) -> Layers {
    let items: String = transforms.lines().map(|line| format!("      {line}\n")).collect::<Vec<_>>().concat();
    let text = format!("sources:\n  - paths: [/a]\n    transforms:\n{items}");
    Layers { file: Some(Document { name: "k".to_owned(), text }), environment: BTreeMap::new(), flags: BTreeMap::new() }
}

fn pipeline(transforms: &str) -> Pipeline {
    let mut sources = SourceConfig::load_all(&layers(transforms)).unwrap_or_else(|problems| panic!("{problems}"));
    sources.remove(0).shape.pipeline
}

fn problems(transforms: &str) -> Vec<String> {
    let problems = SourceConfig::load_all(&layers(transforms)).err().unwrap_or_else(|| panic!("{transforms}"));
    problems.iter().map(ToString::to_string).collect()
}

fn through(pipeline: &Pipeline, json: &str) -> String {
    let mut state = pipeline.state(1);
    let mut event = Event::from_json(json).unwrap();
    pipeline.apply(&mut state, &mut event, &Context::default(), &());
    let mut out = Vec::new();
    event.write_to(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_transform_can_be_written() {
    let pipeline = pipeline(
        r#"- drop: 'status < 400 and path matches "^/health"'
- keep: 'level in ["error", "warn"] or exists(exception)'
- sample: {rate: 0.1, key: "{trace_id}", when: 'level == "debug"'}
- rate_limit: {events: 100, per: 1m, key: "{user}", when: 'exists(user)'}
- rename: {old: new}
- remove: [a, "tmp_*"]
- set: {greeting: "hello {user|'nobody'}", kind: 1, deep: {x: [true]}}
- flatten: {}
- flatten: {separator: "_", arrays: index, max_depth: 2, fields: [deep]}
- nest: {under: http, fields: [method, status]}
- redact: {presets: [aws_keys, bearer, email, card, ip, private_key, tokens, passwords]}
- redact: {patterns: ['\d{3}-\d{2}-\d{4}'], fields: [ssn, "user.*"], with: hash, salt: s-0123456789}
- redact: {fields: [x], mask: "[X]"}
- truncate: {fields: [message], bytes: 1KiB}
- dedupe: {fields: [message], within: 5s}
- metric: {name: orders_created, type: counter, value: "{amount}", labels: {type: "{type}"}, when: 'exists(amount)', max_series: 10}
- metric: {name: seconds, help: Time., type: histogram, value: "{s}", buckets: [0.1, 1, 10]}"#,
    );
    let names: Vec<&str> = pipeline.transforms().iter().map(crate::transform::Transform::name).collect();
    let expected = [
        "drop",
        "keep",
        "sample",
        "rate_limit",
        "rename",
        "remove",
        "set",
        "flatten",
        "flatten",
        "nest",
        "redact",
        "redact",
        "redact",
        "truncate",
        "dedupe",
        "metric",
        "metric",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        through(&pipeline, r#"{"level":"warn","old":1,"tmp_x":2,"status":500,"message":"to bob@x.com","x":3}"#),
        r#"{"level":"warn","new":1,"message":"to ***","x":"[X]","deep.x":[true],"greeting":"hello nobody","kind":1,"http":{"status":500}}"#
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_the_way_out() {
    for (written, field, message) in [
        ("- keep: 'a ='", "[0].keep", "\"a =\" is not a condition: at character 3: \"=\" is written \"==\" here"),
        ("- kep: 'a'", "[0].kep", "is not a setting; allowed: dedupe, drop, flatten, keep, "),
        ("- keep: 'a'\n  drop: 'b'", "[0]", "has keep and drop in one item; write each as an item of its own"),
        ("- {}", "[0]", "says nothing; write one of keep, drop, sample, "),
        ("- sample: {key: '{a}'}", "[0].sample.rate", "is required; write the part that is kept, such as 0.1"),
        ("- sample: {rate: 2}", "[0].sample.rate", "2 is too large; allowed: a number from 0.000001 to 1"),
        ("- sample: {rate: 0.5, key: '{a'}", "[0].sample.key", "\"{a\" is not a template: the brace at character 1"),
        (
            "- sample: {rate: 0.5, wehn: a}",
            "[0].sample.wehn",
            "is not a setting; allowed: key, rate, when (did you mean",
        ),
        (
            "- rate_limit: {events: 5, per: 5}",
            "[0].rate_limit.per",
            "5 is not a time; allowed: a time from 1ms to 1day",
        ),
        ("- rate_limit: {per: 5s}", "[0].rate_limit.events", "is required"),
        ("- rename: {a: b..c}", "[0].rename.a", "\"b..c\" has a dot with nothing on one side of it"),
        ("- remove: [a, '']", "[0].remove[1]", "the name is empty"),
        (
            "- remove: a",
            "[0].remove",
            "\"a\" is text; allowed: a list of fields' names, such as debug or tmp_* (as a list: [\"a\"])",
        ),
        ("- set: {a: '{b'}", "[0].set.a", "\"{b\" is not a template"),
        (
            "- flatten: {arrays: indx}",
            "[0].flatten.arrays",
            "\"indx\" is not one of keep, index (did you mean \"index\"?)",
        ),
        ("- flatten: {separator: ''}", "[0].flatten.separator", "\"\" is no separator"),
        ("- nest: {fields: [a]}", "[0].nest.under", "is required; name the object"),
        ("- nest: {under: a}", "[0].nest.fields", "is required; name the fields"),
        ("- redact: {presets: [emial]}", "[0].redact.presets[0]", "\"emial\" is not one of aws_keys, bearer, email, "),
        ("- redact: {with: remove}", "[0].redact", "hides nothing; name presets, patterns or fields"),
        ("- redact: {patterns: ['(']}", "[0].redact.patterns[0]", "\"(\" is not a regular expression: "),
        ("- redact: {fields: [a], with: hash}", "[0].redact.salt", "is required; without it, whoever sees a hash"),
        ("- redact: {fields: [a], with: hash, salt: abc}", "[0].redact.salt", "has 3 bytes, which can be guessed"),
        ("- redact: {fields: [a], salt: abcdefgh}", "[0].redact.salt", "goes with with: hash alone"),
        ("- redact: {fields: [a], mask: 'é'}", "[0].redact.mask", "\"é\" does not fit into every text"),
        ("- truncate: {fields: [a]}", "[0].truncate.bytes", "is required"),
        ("- dedupe: {within: 1s}", "[0].dedupe.fields", "is required; name the fields, as a list"),
        ("- metric: {help: x}", "[0].metric.name", "is required; give the metric a name"),
        ("- metric: {name: kinetail_x}", "[0].metric.name", "\"kinetail_x\" could be one of the agent's own"),
        ("- metric: {name: a-b}", "[0].metric.name", "\"a-b\" is not a metric's name"),
        ("- metric: {name: a, type: histogram}", "[0].metric.value", "is required; a histogram is of numbers"),
        ("- metric: {name: a, buckets: [1]}", "[0].metric.buckets", "goes with type: histogram alone"),
        (
            "- metric: {name: a, type: histogram, value: '{a}', buckets: [2, 1]}",
            "[0].metric.buckets",
            "is not a list of 1 to 100 rising",
        ),
        ("- metric: {name: a, labels: {'a b': x}}", "[0].metric.labels.a b", "\"a b\" is not a label's name"),
        (
            "- metric: {name: a}\n- metric: {name: a}",
            "[1].metric.name",
            "\"a\" is the name of sources[0].transforms[0] too",
        ),
    ] {
        let all = problems(written);
        let line = 4 + written.lines().count() - 1;
        let lines = [format!("k:{line}: "), "k:4: ".to_owned()];
        let expected = format!("sources[0].transforms{field}: {message}");
        assert_eq!(all.len(), 1, "{written}: {all:#?}");
        let said = lines.iter().find_map(|line| all[0].strip_prefix(line.as_str()));
        assert!(said.is_some_and(|said| said.starts_with(&expected)), "{written}\n{}\n{expected}", all[0]);
    }
}

#[test]
fn all_mistakes_are_said_at_once() {
    let all = problems(
        "- keep: 'a ='\n- drop: 7\n- sample: {rate: 0.5, when: '('}\n- nothing: 1\n- redact: {presets: [x, email, y]}",
    );
    assert_eq!(all.len(), 6, "{all:#?}");
}
