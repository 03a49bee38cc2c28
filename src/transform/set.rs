//! `set`: fields with values that are fixed, or made of other fields.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::Context;
use super::name::Name;
use super::text::Text;
use crate::event::{Event, Value};
use crate::route::TemplateError;

/// Fields and what they are set to; in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    fields: Vec<(Name, Setting)>,
}

/// What a field is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// JSON that is the same for all events.
    Fixed(String),
    /// Text that is made of fields.
    Template(Text),
    /// Another field's value, whatever kind it is of.
    Copy(Name),
}

impl Setting {
    /// What a value of the configuration says: text is a template, and one that is nothing but a name is that field's value, of its own kind.
    pub fn of(value: &Json) -> Result<Self, TemplateError> {
        let Json::String(text) = value else { return Ok(Self::Fixed(value.to_string())) };
        let template = Text::parse(text)?;
        if let Some(text) = template.constant() {
            return Ok(Self::Fixed(Json::from(text).to_string()));
        }
        Ok(template.only_name().cloned().map_or(Self::Template(template), Self::Copy))
    }
}

impl Set {
    /// Fields and what they are set to.
    pub fn new(fields: Vec<(Name, Setting)>) -> Self {
        Self { fields }
    }

    /// Sets, and answers whether anything was. A field whose template names something that is not there stays as it is.
    pub(super) fn apply<'a>(&'a self, event: &mut Event<'a>, at: &Context<'_>) -> bool {
        let mut is_changed = false;
        for (name, setting) in &self.fields {
            let value = match setting {
                Setting::Fixed(json) => Some(Value::Raw(json)),
                Setting::Copy(from) => from.value(event),
                Setting::Template(template) => {
                    let mut text = String::new();
                    template.write(event, at, &mut text).then_some(Value::Text(Cow::Owned(text)))
                }
            };
            is_changed |= value.is_some();
            if let Some(value) = value {
                name.put(event, value);
            }
        }
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::{event, rendered};
    use super::*;

    fn set(json: &str, fields: &Json) -> String {
        let fields = fields.as_object().unwrap().iter();
        let set = Set::new(fields.map(|(n, v)| (Name::parse(n).unwrap(), Setting::of(v).unwrap())).collect());
        let mut event = event(json);
        set.apply(&mut event, &Context::default());
        rendered(&event)
    }

    #[test]
    fn values_are_of_their_kind() {
        let fixed = serde_json::json!({"a": 1, "b": {"x": [true, null]}, "c": "it's {{so}}", "n": null});
        let expected = r#"{"z":0,"a":1,"b":{"x":[true,null]},"c":"it's {so}","n":null}"#;
        assert_eq!(set(r#"{"z":0}"#, &fixed), expected);
        let made = serde_json::json!({"greeting": "hello {user|'nobody'}", "same": "{n}", "deep.x": "{t}-{n}"});
        assert_eq!(
            set(r#"{"n":1.50,"t":"a\"b","deep":{}}"#, &made),
            r#"{"n":1.50,"t":"a\"b","deep":{"x":"a\"b-1.50"},"greeting":"hello nobody","same":1.50}"#
        );
        assert_eq!(set(r#"{"greeting":1}"#, &serde_json::json!({"greeting": "hello {user}"})), r#"{"greeting":1}"#);
    }
}
