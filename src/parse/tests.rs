//! Tests of the direct ways, and of what is added.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn added(offset: bool) -> Added {
    Added::new([("host".to_owned(), json!("h1")), ("env".to_owned(), json!({"n": 1}))], offset)
}

fn run(parser: Direct, line: &[u8], added: &Added) -> (Parsed, String, bool) {
    run_from(parser, line, added, None)
}

fn run_from(parser: Direct, line: &[u8], added: &Added, origin: Option<Origin<'_>>) -> (Parsed, String, bool) {
    let (mut out, mut invalid) = (Vec::new(), false);
    let parsed = parse(parser, line, Fields { added, offset: 42, id: None, origin }, &mut out, &mut invalid);
    (parsed, String::from_utf8(out).unwrap(), invalid)
}

#[test]
fn a_line_that_nothing_changes_is_not_copied() {
    let line = b" \t{\"a\":1}\r";
    assert_eq!(run(Direct::Json, line, &Added::default()).0, Parsed::Verbatim { start: 2, end: 9 });
    assert_eq!(run(Direct::Raw, b"\xff\r", &Added::default()).0, Parsed::Verbatim { start: 0, end: 1 });
}

#[test]
fn added_fields_are_spliced_in_or_replace_the_lines_own() {
    for (line, want) in [
        (r#"{"a":1}"#, r#"{"a":1,"host":"h1","env":{"n":1},"offset":42}"#),
        ("{ }", r#"{ "host":"h1","env":{"n":1},"offset":42}"#),
        (r#"{"host":"x","a":[{}]}"#, r#"{"host":"h1","a":[{}],"env":{"n":1},"offset":42}"#),
        (r#"{"offset":"x"}"#, r#"{"offset":42,"host":"h1","env":{"n":1}}"#),
    ] {
        assert_eq!(run(Direct::Json, line.as_bytes(), &added(true)), (Parsed::Rendered, want.to_owned(), false));
    }
    let only_offset = Added::new([], true);
    assert_eq!(run(Direct::Json, b"{}", &only_offset).1, r#"{"offset":42}"#);
    assert_eq!(run(Direct::Raw, b"x\"y\r", &added(false)).1, r#"{"message":"x\"y","host":"h1","env":{"n":1}}"#);
}

#[test]
fn what_a_container_runtime_says_is_added_where_the_event_does_not_say_it() {
    let kubernetes = Some(json!({"pod_name": "p"}));
    let added = Added::new([("host".to_owned(), json!("h"))], false).with_origin(true, true, kubernetes);
    let origin = Some(Origin { stream: "stderr", time: "2026-01-02T03:04:05.6+00:00" });
    for (parser, line, want) in [
        (
            Direct::Json,
            r#"{"a":1}"#,
            r#"{"a":1,"stream":"stderr","time":"2026-01-02T03:04:05.6+00:00","kubernetes":{"pod_name":"p"},"host":"h"}"#,
        ),
        (Direct::Json, r#"{"time":1,"stream":2,"kubernetes":3}"#, r#"{"time":1,"stream":2,"kubernetes":3,"host":"h"}"#),
        (
            Direct::Json,
            r#"{"host":1,"time":2}"#,
            r#"{"host":"h","time":2,"stream":"stderr","kubernetes":{"pod_name":"p"}}"#,
        ),
        (
            Direct::Raw,
            "x",
            r#"{"message":"x","stream":"stderr","time":"2026-01-02T03:04:05.6+00:00","kubernetes":{"pod_name":"p"},"host":"h"}"#,
        ),
    ] {
        assert_eq!(run_from(parser, line.as_bytes(), &added, origin).1, want);
    }
    // A line of another origin has none of it, and a fixed field of the name wins.
    assert_eq!(run(Direct::Json, b"{}", &added).1, r#"{"host":"h"}"#);
    let fixed = Added::new([("time".to_owned(), json!(0))], false).with_origin(false, true, None);
    assert_eq!(run_from(Direct::Json, br#"{"time":1}"#, &fixed, origin).1, r#"{"time":0}"#);
    let nothing = Added::default().with_origin(false, false, None);
    assert_eq!(run_from(Direct::Raw, b"x", &nothing, origin).0, Parsed::Verbatim { start: 0, end: 1 });
}

#[test]
fn what_is_known_of_the_place_is_added_unless_the_event_has_a_field_of_the_name() {
    let objects = [("ecs", r#"{"cluster":"c"}"#), ("kubernetes", r#"{"pod_name":"own"}"#), ("nobody", "1")];
    let known = Arc::new(Known::new(objects.map(|(name, value)| (name, value.to_owned()))));
    let mut plain = Added::default();
    plain.know(Arc::clone(&known));
    let mut both = Added::new([("host".to_owned(), json!("h"))], false);
    both = both.with_origin(true, true, Some(json!({"pod_name": "other"})));
    both.know(known);
    let origin = Some(Origin { stream: "stdout", time: "" });
    for (added, origin, line, want) in [
        (&plain, None, r#"{"a":1}"#, r#"{"a":1,"ecs":{"cluster":"c"},"kubernetes":{"pod_name":"own"}}"#),
        (&plain, None, r#"{"ecs":1,"x":"\u0041"}"#, r#"{"ecs":1,"x":"\u0041","kubernetes":{"pod_name":"own"}}"#),
        (&plain, None, r#"{"kubernetes":{},"ecs":{}}"#, r#"{"kubernetes":{},"ecs":{}}"#),
        (&plain, None, "{}", r#"{"ecs":{"cluster":"c"},"kubernetes":{"pod_name":"own"}}"#),
        (
            &both,
            origin,
            "{}",
            r#"{"stream":"stdout","kubernetes":{"pod_name":"other"},"ecs":{"cluster":"c"},"host":"h"}"#,
        ),
        (
            &both,
            origin,
            r#"{"host":1}"#,
            r#"{"host":"h","stream":"stdout","kubernetes":{"pod_name":"other"},"ecs":{"cluster":"c"}}"#,
        ),
    ] {
        assert_eq!(run_from(Direct::Json, line.as_bytes(), added, origin).1, want);
    }
    assert_eq!(
        run(Direct::Raw, b"x", &plain).1,
        r#"{"message":"x","ecs":{"cluster":"c"},"kubernetes":{"pod_name":"own"}}"#
    );
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters_and_are_told_of() {
    let (parsed, text, invalid) = run(Direct::Json, b"{\"a\":\"\xff\"}", &Added::default());
    assert_eq!((parsed, text.as_str(), invalid), (Parsed::Rendered, "{\"a\":\"\u{fffd}\"}", true));
    let (_, text, invalid) = run(Direct::Raw, b"a\xc3(", &Added::new([], true));
    assert_eq!((text.as_str(), invalid), ("{\"message\":\"a\u{fffd}(\",\"offset\":42}", true));
}

#[test]
fn what_is_no_object_is_refused_and_what_is_blank_is_said_to_be() {
    for refused in ["1", "[1]", "\"x\"", "{", "{]", "nginx: started", "{\"a\":\0}"] {
        assert_eq!(run(Direct::Json, refused.as_bytes(), &Added::default()).0, Parsed::Refused, "{refused}");
    }
    for blank in ["", "  \r", "\t"] {
        assert_eq!(run(Direct::Json, blank.as_bytes(), &Added::default()).0, Parsed::Blank);
    }
}

proptest! {
    /// For all bytes, whatever the JSON parser lets through is one JSON object with the added fields in it.
    #[test]
    fn what_comes_out_is_json(line in prop_oneof![prop::collection::vec(any::<u8>(), 0..60),
                                                   "[{}\\[\\]\":,a-c0-9\\\\u]{0,24}".prop_map(String::into_bytes),
                                                   "\\{(\"[a-zo\"\\\\]{0,4}\":[0-9],?){0,3}\\}".prop_map(String::into_bytes)]) {
        let fields = added(true);
        let (mut out, mut invalid) = (Vec::new(), false);
        let fields = Fields { added: &fields, offset: 42, id: None, origin: None };
        match parse(Direct::Json, &line, fields, &mut out, &mut invalid) {
            Parsed::Rendered => {
                let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
                prop_assert_eq!((&value["host"], &value["offset"]), (&json!("h1"), &json!(42)));
            }
            other => prop_assert!(matches!(other, Parsed::Refused | Parsed::Blank) && out.is_empty()),
        }
        out.clear();
        message(&line, &[], fields, &mut out, &mut invalid);
        serde_json::from_slice::<serde_json::Value>(&out).unwrap();
    }
}
