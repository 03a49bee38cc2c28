//! `parse`: the text of a field, such as the `log` of a container's JSON, is parsed as lines are. What parses it belongs to others.

use std::borrow::Cow;

use super::name::Name;
use crate::event::{Event, Value};

/// Whoever has the parsers: each is known by its number.
pub trait Parsers {
    /// Appends the fields of a text, as a parser of lines does. After an error, what was appended is taken back.
    fn parse<'t>(&self, index: usize, text: &'t str, event: &mut Event<'t>) -> Result<(), &'static str>;
}

/// Nobody who has any: for those who know that there is no such transform.
impl Parsers for () {
    fn parse<'t>(&self, _: usize, _: &'t str, _: &mut Event<'t>) -> Result<(), &'static str> {
        Err("there is no parser")
    }
}

/// The parsing of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    field: Name,
    parser: usize,
}

impl Nested {
    /// The field, and the number of the parser.
    pub fn new(field: Name, parser: usize) -> Self {
        Self { field, parser }
    }

    /// Puts the fields of the text in the place of the field; of names that are there already, they win. Text that the parser refuses, and a field that
    /// is no text, stay as they are: the first is the error.
    pub(super) fn apply(&self, parsers: &impl Parsers, event: &mut Event<'_>) -> Result<bool, &'static str> {
        let Some(value) = self.field.value(event) else { return Ok(false) };
        let mut made = Event::default();
        match &value {
            Value::Text(Cow::Borrowed(text)) => parsers.parse(self.parser, text, &mut made)?,
            Value::Raw(json) => match plain(json) {
                Some(text) => parsers.parse(self.parser, text, &mut made)?,
                None => self.parse_owned(parsers, &value, &mut made)?,
            },
            _ => self.parse_owned(parsers, &value, &mut made)?,
        }
        if value.string().is_none() {
            return Ok(false);
        }
        self.put(event, made);
        Ok(true)
    }

    /// What is not borrowed from the line has fields that are not either.
    fn parse_owned(&self, parsers: &impl Parsers, value: &Value<'_>, made: &mut Event<'_>) -> Result<(), &'static str> {
        let Some(text) = value.string() else { return Ok(()) };
        let mut parsed = Event::default();
        parsers.parse(self.parser, &text, &mut parsed)?;
        for (name, value) in parsed.fields() {
            made.push(name.clone().into_owned(), owned(value));
        }
        Ok(())
    }

    fn put<'a>(&self, event: &mut Event<'a>, mut made: Event<'a>) {
        let at = event.fields().iter().rposition(|(name, _)| name == self.field.text());
        self.field.take(event);
        let fields = event.fields_mut();
        let made = std::mem::take(made.fields_mut());
        let before = fields.get(..at.unwrap_or(fields.len()).min(fields.len())).unwrap_or_default();
        let is_replaced = |name: &Cow<'_, str>| made.iter().any(|(new, _)| new == name);
        let place = before.iter().filter(|(name, _)| !is_replaced(name)).count();
        fields.retain(|(name, _)| !is_replaced(name));
        fields.splice(place..place, made);
    }
}

/// The text of JSON's string that has no escapes.
fn plain(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    memchr::memchr(b'\\', inner.as_bytes()).is_none().then_some(inner)
}

fn owned<'a>(value: &Value<'_>) -> Value<'a> {
    match value {
        Value::Raw(json) => Value::Json((*json).to_owned()),
        Value::Json(json) => Value::Json(json.clone()),
        Value::Text(text) => Value::Text(Cow::Owned(text.clone().into_owned())),
        Value::Number(n) => Value::Number(*n),
        Value::Bool(b) => Value::Bool(*b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    /// JSON objects.
    struct Json;

    impl Parsers for Json {
        fn parse<'t>(&self, index: usize, text: &'t str, event: &mut Event<'t>) -> Result<(), &'static str> {
            assert_eq!(index, 3);
            let mut parsed = Event::from_json(text).map_err(|_| "no JSON object")?;
            event.fields_mut().append(parsed.fields_mut());
            Ok(())
        }
    }

    fn parsed(json: &str, field: &str) -> (String, Result<bool, &'static str>) {
        let mut event = event(json);
        let result = Nested::new(Name::parse(field).unwrap(), 3).apply(&Json, &mut event);
        (rendered(&event), result)
    }

    #[test]
    fn the_fields_of_the_text_take_its_place() {
        for (before, after, result) in [
            (r#"{"a":1,"log":"{\"b\":\"x\\n\",\"c\":[1]}","z":2}"#, r#"{"a":1,"b":"x\n","c":[1],"z":2}"#, Ok(true)),
            (r#"{"a":1,"log":"{}","z":2}"#, r#"{"a":1,"z":2}"#, Ok(true)),
            (r#"{"a":1,"log":"{\"z\":3,\"a\":4}","z":2}"#, r#"{"z":3,"a":4}"#, Ok(true)),
            (r#"{"log":"{\"log\":\"again\"}"}"#, r#"{"log":"again"}"#, Ok(true)),
            (r#"{"log":"plain"}"#, r#"{"log":"plain"}"#, Err("no JSON object")),
            (r#"{"log":17}"#, r#"{"log":17}"#, Ok(false)),
            (r#"{"a":1}"#, r#"{"a":1}"#, Ok(false)),
        ] {
            assert_eq!(parsed(before, "log"), (after.to_owned(), result), "{before}");
        }
        assert_eq!(parsed(r#"{"k":{"log":"{\"b\":1}"}}"#, "k.log").0, r#"{"k":{},"b":1}"#);
    }
}
