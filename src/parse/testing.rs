//! What the tests of parsers share.

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

use crate::event::{Event, Value};

/// What a parser appended of a line, as JSON.
pub(crate) fn outcome<'a>(
    line: &'a str,
    parse: impl Fn(&'a str, &mut Event<'a>) -> Result<(), &'static str>,
) -> String {
    let mut event = Event::default();
    parse(line, &mut event).unwrap_or_else(|why| panic!("{line:?}: {why}"));
    rendered(&event)
}

/// Why a parser refused a line.
pub(crate) fn refused<'a>(
    line: &'a str,
    parse: impl Fn(&'a str, &mut Event<'a>) -> Result<(), &'static str>,
) -> &'static str {
    let mut event = Event::default();
    match parse(line, &mut event) {
        Err(why) => why,
        Ok(()) => panic!("{line:?} became {}", rendered(&event)),
    }
}

/// What holds for every parser and every line: there is no panic, fields that were there before stay, what comes out is JSON with each name once,
/// and it is not out of proportion to the line.
pub(crate) fn sound<'a>(
    line: &'a str,
    parse: impl Fn(&'a str, &mut Event<'a>) -> Result<(), &'static str>,
) -> Result<(), TestCaseError> {
    let mut event = Event::default();
    event.push("before", Value::Number(1));
    if let Err(why) = parse(line, &mut event) {
        prop_assert!(!why.is_empty());
    } else {
        prop_assert!(event.len() > 1, "nothing came of {:?}", line);
    }
    let json = rendered(&event);
    prop_assert!(json.starts_with(r#"{"before":1"#), "{}", json);
    let value: serde_json::Value =
        serde_json::from_str(&json).map_err(|e| TestCaseError::fail(format!("{e}: {json}")))?;
    if parse(line, &mut Event::default()).is_ok() {
        let mut names: Vec<&str> = event.fields().iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        prop_assert_eq!(names.len(), event.len(), "a name twice in {}", value);
    }
    // An escaped character takes six bytes; a field of one byte gets a name of its own.
    prop_assert!(json.len() <= 256 + 24 * line.len(), "{} bytes from {}", json.len(), line.len());
    Ok(())
}

fn rendered(event: &Event<'_>) -> String {
    let mut out = Vec::new();
    event.write_to(&mut out);
    String::from_utf8(out).unwrap()
}
