//! Conditions: the one small language that says which events something is for. A condition is read once (`parse.rs`) and asked of each event.
//!
//! `status >= 500 and not path matches "^/health"`, `level in ["error", "warn"] or exists(error.stack)`.
//!
//! - Fields are named as in templates, dots lead inwards; in backticks, or as `field("...")`, a name may have any characters.
//! - Text stands in double quotes, in which `\"`, `\\`, `\n`, `\r` and `\t` are what they are in JSON and any other backslash is one; or in single
//!   quotes, in which nothing but `''` is special.
//! - `==`, `<` and so on go by number if one side is a number and the other is one too, or the text of one; by bytes if both are text. Truth values
//!   equal themselves and the words for them, null equals null. Everything else is unequal, and neither less nor greater.
//! - `matches`, `contains`, `starts_with` and `ends_with` look at the text of a field, which numbers and truth values have too. `contains` of an array
//!   is whether an element equals.
//! - A comparison with a field that is not there is false, `!=` and `not in` too; `exists(field)` asks for that alone. `not (a == 1)` is true then.
//! - A field by itself is whether it is `true`.

mod parse;

use std::cmp::Ordering;

use memchr::memmem;
use regex::Regex;

use super::json;
use super::name::{Name, Seen};
use crate::event::Event;
pub use parse::ConditionError;

/// Which events something is for.
#[derive(Debug, Clone)]
pub struct Condition {
    text: String,
    root: Node,
}

impl PartialEq for Condition {
    /// What is written the same is the same.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Condition {
    /// Reads a condition.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        Ok(Self { text: text.to_owned(), root: parse::parse(text)? })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds for an event.
    pub fn holds(&self, event: &Event<'_>) -> bool {
        self.root.holds(event)
    }
}

/// A part that is true or false. It is as deep as the parser lets it be.
#[derive(Debug, Clone)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Always(bool),
    Exists(Name),
    IsTrue(Name),
    Compare(Operand, Comparison, Operand),
    In { one: Name, list: Vec<Literal>, is_in: bool },
    Test { of: Name, test: Test, expected: bool },
}

#[derive(Debug, Clone)]
enum Operand {
    Field(Name),
    Literal(Literal),
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
enum Test {
    Matches(Regex),
    Contains(Box<memmem::Finder<'static>>),
    StartsWith(String),
    EndsWith(String),
}

impl Node {
    fn holds(&self, event: &Event<'_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(event)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(event)),
            Self::Not(part) => !part.holds(event),
            Self::Always(holds) => *holds,
            Self::Exists(name) => name.see(event).is_some(),
            Self::IsTrue(name) => name.see(event) == Some(Seen::Bool(true)),
            Self::Compare(left, comparison, right) => {
                let sides = left.see(event).zip(right.see(event));
                sides.is_some_and(|(left, right)| comparison.holds(&left, &right))
            }
            Self::In { one, list, is_in } => {
                one.see(event).is_some_and(|seen| list.iter().any(|literal| are_equal(&seen, &literal.see())) == *is_in)
            }
            Self::Test { of, test, expected } => of.see(event).is_some_and(|seen| test.holds(&seen) == *expected),
        }
    }
}

impl Operand {
    fn see<'e>(&'e self, event: &'e Event<'_>) -> Option<Seen<'e>> {
        match self {
            Self::Field(name) => name.see(event),
            Self::Literal(literal) => Some(literal.see()),
        }
    }
}

impl Literal {
    fn see(&self) -> Seen<'_> {
        match self {
            Self::Null => Seen::Null,
            Self::Bool(b) => Seen::Bool(*b),
            Self::Number(digits) => Seen::Digits(digits),
            Self::Text(text) => Seen::Text(text.as_str().into()),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Seen<'_>, right: &Seen<'_>) -> bool {
        let order = || order(left, right);
        match self {
            Self::Equal => are_equal(left, right),
            Self::Unequal => !are_equal(left, right),
            Self::Less => order() == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order() == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

fn are_equal(left: &Seen<'_>, right: &Seen<'_>) -> bool {
    match (left, right) {
        (Seen::Null, Seen::Null) => true,
        (Seen::Bool(a), Seen::Bool(b)) => a == b,
        (Seen::Bool(b), Seen::Text(text)) | (Seen::Text(text), Seen::Bool(b)) => {
            text == if *b { "true" } else { "false" }
        }
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

/// Which comes first, of numbers or of texts.
fn order(left: &Seen<'_>, right: &Seen<'_>) -> Option<Ordering> {
    if let (Seen::Text(a), Seen::Text(b)) = (left, right) {
        return Some(a.as_bytes().cmp(b.as_bytes()));
    }
    if !left.is_number() && !right.is_number() {
        return None;
    }
    // Whole numbers are compared exactly: the ids that services count are larger than what a float tells apart.
    match (whole(left), whole(right)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => left.number()?.partial_cmp(&right.number()?),
    }
}

fn whole(seen: &Seen<'_>) -> Option<i128> {
    match seen {
        Seen::Whole(n) => Some(i128::from(*n)),
        Seen::Digits(digits) => digits.parse().ok(),
        // A plus and leading zeros make a text that is no number.
        Seen::Text(text) if crate::event::is_json_number(text) => text.parse().ok(),
        _ => None,
    }
}

impl Test {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        if let (Self::Contains(finder), Seen::Array(json)) = (self, seen) {
            let text = std::str::from_utf8(finder.needle()).unwrap_or_default();
            let wanted = Seen::Text(text.into());
            return json::elements(json).any(|element| are_equal(&Seen::of_json(element), &wanted));
        }
        let Some(text) = seen.text() else { return false };
        match self {
            Self::Matches(regex) => regex.is_match(&text),
            Self::Contains(finder) => finder.find(text.as_bytes()).is_some(),
            Self::StartsWith(start) => text.starts_with(start.as_str()),
            Self::EndsWith(end) => text.ends_with(end.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::event;
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = r#"{"status":503,"code":"404","big":9007199254740993,"level":"warn","path":"/health/live","ok":true,
        "off":false,"no":null,"http":{"status":200,"request":{"method":"GET"}},"odd name":"x","tags":["a","b",3],
        "time":"2026-01-02T03:04:05Z","message":"a \"quoted\" \u00e9","ratio":0.25,"in":1,"word":"true","k8s.io/app":"web"}"#;

    fn holds(condition: &str) -> bool {
        Condition::parse(condition).unwrap_or_else(|error| panic!("{condition}: {error}")).holds(&event(LINE))
    }

    #[test]
    fn what_holds() {
        for condition in [
            "status == 503",
            "status == 503.0 and status >= 503 and status <= 503 and status != 502",
            "code == 404 and code < 405 and code == \"404\"",
            "status == \"503\"",
            "big == 9007199254740993 and big != 9007199254740992 and big > 9007199254740992",
            "ratio < 0.3 and ratio > -1 and ratio == 2.5e-1",
            "level in [\"error\", 'warn'] and not level in ['info']",
            "level not in ['info'] and status in [500, 503]",
            "path matches \"^/health\" and path matches '/l[a-z]+e$'",
            "path matches \"\\w+\" and message matches '\"\\w+\"'",
            "path starts_with \"/health\" and path ends_with 'live' and path contains \"th/l\"",
            "path not contains 'ready'",
            "http.status == 200 and http.request.method == 'GET'",
            "`odd name` == \"x\" and field(\"odd name\") == 'x' and k8s.io/app == 'web'",
            "exists(http.request) and exists(no) and not exists(nowhere) and exists(`odd name`)",
            "no == null and http != null and status != null",
            "ok and not off and ok == true and off == false and word == true and ok == 'true'",
            "not nowhere == 1 and not nowhere != 1 and not nowhere > 1 and not nowhere not in [1]",
            "tags contains 'b' and not tags contains 'c' and tags contains '3'",
            "time > '2026-01-01' and time < \"2027\"",
            "message contains 'é' and message contains \"\\\"quoted\\\"\"",
            "`in` == 1",
            "(status == 1 or status == 503) and (((true)))",
            "status == 1 and status == 2 or status == 503",
            "503 == status and 500 < status and http.status < status",
            "not (status < 503)",
            "not not ok",
        ] {
            assert!(holds(condition), "{condition}");
        }
    }

    #[test]
    fn what_does_not_hold() {
        for condition in [
            "nowhere == null",
            "nowhere != 1",
            "level < 5",
            "level == 5",
            "level",
            "word",
            "no",
            "http == 'x'",
            "tags == 'a'",
            "no < 1",
            "ok > 0",
            "no contains ''",
            "http matches '.'",
            "status == 'x'",
            "status.x == 1",
            "level.x.y == 1",
            "code == '404.0'",
            "false",
        ] {
            assert!(!holds(condition), "{condition}");
        }
    }

    #[test]
    fn made_values_are_compared_like_those_that_were_read() {
        use crate::event::Value;
        let mut event = Event::default();
        event.push("n", Value::Number(7));
        event.push("b", Value::Bool(true));
        event.push("t", Value::text("x"));
        event.push("j", Value::Json("{\"k\":[1]}".to_owned()));
        for condition in ["n == 7 and n < 8", "b", "t == 'x'", "exists(j.k)"] {
            assert!(Condition::parse(condition).unwrap().holds(&event), "{condition}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_ordered_as_numbers(a in any::<i64>(), b in any::<i64>()) {
            let line = format!("{{\"a\":{a},\"b\":\"{b}\"}}");
            let event = event(&line);
            let holds = |text: &str| Condition::parse(text).unwrap().holds(&event);
            prop_assert_eq!(holds("a < b"), a < b);
            prop_assert_eq!(holds("a >= b"), a >= b);
            prop_assert_eq!(holds("a == b"), a == b);
        }
    }
}
