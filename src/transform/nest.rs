//! `nest`: fields at the top become members of one object.

use super::json;
use super::name::{Name, text_of};
use crate::event::{Event, Value};

/// Fields that go into an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nest {
    under: Name,
    fields: Vec<Name>,
}

impl Nest {
    /// The object's name and what goes there.
    pub fn new(under: Name, fields: Vec<Name>) -> Self {
        Self { under, fields }
    }

    /// Nests what is there of the fields, and answers whether anything was. Members of the same names are replaced. Where the object's name is
    /// that of something else, which would be lost, nothing happens: that is the error.
    pub(super) fn apply<'a>(&'a self, event: &mut Event<'a>) -> Result<bool, ()> {
        let is_there = |name: &&Name| name.text() != self.under.text() && event.get(name.text()).is_some();
        let wanted: Vec<&Name> = self.fields.iter().filter(is_there).collect();
        if wanted.is_empty() {
            return Ok(false);
        }
        let mut object = match self.under.value(event) {
            None => "{}".to_owned(),
            Some(value) => value.json().filter(|json| json::is_object(json)).ok_or(())?.to_owned(),
        };
        for name in wanted {
            let Some(value) = event.remove(name.text()) else { continue };
            let whole = 0..object.len();
            if json::members(&object).any(|member| member.plain_name() == name.text()) {
                object = json::without(&object, &whole, name.text());
            }
            let whole = 0..object.len();
            object = json::extended(&object, &whole, name.text(), &text_of(&value));
        }
        self.under.put(event, Value::Json(object));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    fn nested(json: &str) -> (String, Result<bool, ()>) {
        let name = |text| Name::parse(text).unwrap();
        let nest = Nest::new(name("http"), vec![name("method"), name("status"), name("http")]);
        let mut event = event(json);
        let result = nest.apply(&mut event);
        (rendered(&event), result)
    }

    #[test]
    fn fields_go_into_one_object() {
        for (before, after, result) in [
            (r#"{"status":200,"a":1,"method":"GET"}"#, r#"{"a":1,"http":{"method":"GET","status":200}}"#, Ok(true)),
            (r#"{"status":200,"http":{"status":1,"x":2}}"#, r#"{"http":{"x":2,"status":200}}"#, Ok(true)),
            (r#"{"a":1}"#, r#"{"a":1}"#, Ok(false)),
            (r#"{"status":200,"http":"1.1"}"#, r#"{"status":200,"http":"1.1"}"#, Err(())),
        ] {
            assert_eq!(nested(before), (after.to_owned(), result), "{before}");
        }
    }
}
