//! The Pipeline as a whole: order, drops, what it says, and that whatever comes is JSON again.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::name::tests::{event, rendered};
use super::*;

/// Any JSON value that is not deep.
fn value() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[a-c\"\\\\é\n\u{1F600}]{0,12}".prop_map(Json::from),
    ];
    scalar.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            proptest::collection::btree_map("[ab](\\.[ab])?|\"", inner, 0..4)
                .prop_map(|f| Json::Object(f.into_iter().collect())),
        ]
    })
}

/// Any JSON object that is not deep.
pub(super) fn object() -> impl Strategy<Value = Json> {
    proptest::collection::btree_map("[abc](\\.[ab])?|é\"", value(), 0..6)
        .prop_map(|f| Json::Object(f.into_iter().collect()))
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn condition(text: &str) -> Condition {
    Condition::parse(text).unwrap()
}

fn set(fields: &Json) -> Transform {
    let fields = fields.as_object().unwrap();
    Transform::Set(Set::new(fields.iter().map(|(n, v)| (name(n), Setting::of(v).unwrap())).collect()))
}

fn go(pipeline: &Pipeline, state: &mut State, json: &str) -> (Outcome, String) {
    let mut event = event(json);
    let outcome = pipeline.apply(state, &mut event, &Context::default(), &());
    (outcome, rendered(&event))
}

#[test]
fn transforms_come_in_their_order() {
    let pipeline = Pipeline::new(vec![
        Transform::Drop(condition("path starts_with '/health'")),
        Transform::Rename(Rename::new(vec![(name("msg"), name("message"))])),
        set(&json!({"who": "{user|'nobody'}"})),
        Transform::Remove(Remove::new(vec![name("user")], Vec::new())),
        Transform::Keep(condition("who != 'nobody' or level == 'error'")),
    ]);
    let mut state = pipeline.state(1);
    let go = |state: &mut State, json| go(&pipeline, state, json);
    assert_eq!(
        go(&mut state, r#"{"msg":"hi","user":"ann"}"#),
        (Outcome::Kept, r#"{"message":"hi","who":"ann"}"#.to_owned())
    );
    let dropped = |transform, reason| Outcome::Dropped { transform, reason };
    assert_eq!(go(&mut state, r#"{"path":"/healthz"}"#).0, dropped(0, "drop"));
    assert_eq!(go(&mut state, r#"{"msg":"x"}"#).0, dropped(4, "keep"));
    let counts: Vec<_> = pipeline.counts(&state).map(|(name, c)| (name, c.touched, c.dropped)).collect();
    assert_eq!(counts, [("drop", 0, 1), ("rename", 2, 0), ("set", 2, 0), ("remove", 1, 0), ("keep", 1, 1)]);
}

#[test]
fn it_can_say_what_each_did() {
    let pipeline = Pipeline::new(vec![
        Transform::Drop(condition("a == 2")),
        set(&json!({"b": 1})),
        Transform::Nest(Nest::new(name("a"), vec![name("b")])),
        Transform::Parse(Nested::new(name("t"), 0)),
        Transform::Keep(condition("b == 1")),
        Transform::Keep(condition("b == 2")),
        set(&json!({"c": 1})),
    ]);
    let mut state = pipeline.state(1);
    let mut event = event(r#"{"a":1,"t":"x"}"#);
    let (outcome, said) = pipeline.explain(&mut state, &mut event, &Context::default(), &());
    assert_eq!(outcome, Outcome::Dropped { transform: 5, reason: "keep" });
    let did: Vec<(&str, Did)> = said.into_iter().map(|one| (one.name, one.did)).collect();
    assert_eq!(
        did,
        [
            ("drop", Did::Nothing),
            ("set", Did::Changed(r#"{"a":1,"t":"x","b":1}"#.to_owned())),
            ("nest", Did::Failed("the name is that of a field that is no object")),
            ("parse", Did::Failed("there is no parser")),
            ("keep", Did::Passed),
            ("keep", Did::Dropped),
        ]
    );
}

#[test]
fn a_count_of_repeats_outlives_the_event_that_carried_it() {
    let pipeline = Pipeline::new(vec![
        Transform::Dedupe(Dedupe::new(vec![name("m")], Duration::from_secs(9))),
        Transform::Drop(condition("m == 'noise'")),
    ]);
    let mut state = pipeline.state(1);
    for m in ["x", "x", "x", "noise"] {
        go(&pipeline, &mut state, &format!("{{\"m\":\"{m}\"}}"));
    }
    assert_eq!(go(&pipeline, &mut state, r#"{"m":"y"}"#).1, r#"{"m":"y","repeats_dropped":2}"#);
    go(&pipeline, &mut state, r#"{"m":"y"}"#);
    let quiet = state.quiet(1, Duration::ZERO);
    assert_eq!(quiet.iter().map(|q| q.event.as_str()).collect::<Vec<_>>(), [r#"{"m":"y","repeats_dropped":1}"#]);
}

#[test]
fn an_event_that_nothing_is_for_stays_borrowed() {
    let pipeline = Pipeline::new(vec![
        Transform::Rename(Rename::new(vec![(name("x.y"), name("z"))])),
        Transform::Flatten(Flatten::new(".".to_owned(), Arrays::Keep, 8, Vec::new())),
        Transform::Truncate(Truncate::new(Vec::new(), 100)),
    ]);
    let mut state = pipeline.state(1);
    let line = r#"{"a":"b\n","c":[1,{"d":2}]}"#;
    let mut event = event(line);
    pipeline.apply(&mut state, &mut event, &Context::default(), &());
    assert_eq!(event.raw_fields().count(), 2);
    assert!(event.raw_fields().all(|(_, json)| line.as_bytes().as_ptr_range().contains(&json.as_ptr())));
}

fn everything() -> Pipeline {
    Pipeline::new(vec![
        Transform::Keep(condition("exists(a) or exists(b) or exists(c)")),
        Transform::Parse(Nested::new(name("c"), 0)),
        Transform::Rename(Rename::new(vec![
            (name("a.b"), name("b.a")),
            (name("b.b"), name("x")),
            (name("c"), name("a.c")),
        ])),
        set(&json!({"a.x": "{b|c|'none'}", "b.a.x": {"n": [1]}, "copy": "{a}", "t": "{a.b}-{b}"})),
        Transform::Remove(Remove::new(vec![name("a.a"), name("b.b.a")], vec![Glob::new("é*")])),
        Transform::Nest(Nest::new(name("n"), vec![name("x"), name("copy")])),
        Transform::Flatten(Flatten::new("_".to_owned(), Arrays::Index, 2, Vec::new())),
        Transform::Truncate(Truncate::new(Vec::new(), 9)),
        Transform::Dedupe(Dedupe::new(vec![name("a"), name("a_b")], Duration::from_secs(9))),
        Transform::RateLimit(RateLimit::new(9, Duration::from_secs(1), Some(Text::parse("{b_a}").unwrap()), None)),
        Transform::Sample(Sample::new(0.9, Some(Text::parse("{a_b}").unwrap()), Some(condition("exists(t)")))),
    ])
}

proptest! {
    #[test]
    fn whatever_comes_is_json_again(objects in proptest::collection::vec(object(), 1..6), spaces in any::<bool>()) {
        let pipeline = everything();
        let mut state = pipeline.state(7);
        for (second, object) in objects.iter().enumerate() {
            let line = if spaces { serde_json::to_string_pretty(object).unwrap() } else { object.to_string() };
            let at = Context { now_nanos: second as u64 * 1_000_000_000, path: "/x", ..Context::default() };
            let mut event = event(&line);
            pipeline.apply(&mut state, &mut event, &at, &());
            let out = rendered(&event);
            prop_assert!(serde_json::from_str::<Json>(&out).is_ok_and(|json| json.is_object()), "{}", out);
        }
        state.quiet(0, Duration::ZERO).iter().for_each(|one| assert!(serde_json::from_str::<Json>(&one.event).is_ok()));
    }
}
