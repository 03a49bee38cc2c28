//! Templates over an event's fields, as its transforms use them: for keys, labels and values. Their grammar is that of the Router's.

use super::Context;
use super::name::{Name, Seen};
use crate::event::Event;
use crate::route::{Choice, Meta, Piece, Template, TemplateError};

/// A template whose names have been looked at, or text that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    written: String,
    pieces: Vec<Piece<Option<Name>>>,
}

impl Text {
    /// Reads a template. Without any name it is text, in which braces are doubled all the same.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let written = text.to_owned();
        match Template::parse(text) {
            // What a template takes for a name is one, but for its length.
            Ok(template) => Ok(Self { written, pieces: template.pieces(|name| Name::parse(name).ok()) }),
            Err(TemplateError::NoName) => {
                let literal = text.replace("{{", "{").replace("}}", "}");
                Ok(Self { written, pieces: vec![Piece::Literal(literal)] })
            }
            Err(error) => Err(error),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.written
    }

    /// The text of one that names nothing, and is the same for all events.
    pub(super) fn constant(&self) -> Option<&str> {
        match &self.pieces[..] {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The name of one that is nothing but a name.
    pub(super) fn only_name(&self) -> Option<&Name> {
        match &self.pieces[..] {
            [Piece::First(choices)] => match &choices[..] {
                [Choice::Field(name)] => name.as_ref(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Appends what it makes of an event, and answers whether all that it needs is there.
    pub(super) fn write(&self, event: &Event<'_>, at: &Context<'_>, out: &mut String) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Literal(text) => {
                out.push_str(text);
                true
            }
            Piece::First(choices) => first(choices, event, at, out),
        })
    }
}

/// The first alternative that is there. An empty text gives way to one that is not.
fn first(choices: &[Choice<Option<Name>>], event: &Event<'_>, at: &Context<'_>, out: &mut String) -> bool {
    let (start, mut is_there) = (out.len(), false);
    for choice in choices {
        let text = match choice {
            Choice::Field(name) => {
                is_there |= name.as_ref().and_then(|name| name.see(event)).is_some_and(|seen| push(&seen, out));
                ""
            }
            Choice::Meta(Meta::Source) => at.source,
            Choice::Meta(Meta::Path) => at.path,
            Choice::Meta(Meta::Host) => at.host,
            Choice::Constant(text) => text,
        };
        is_there |= !matches!(choice, Choice::Field(_));
        out.push_str(text);
        if out.len() > start {
            return true;
        }
    }
    is_there
}

fn push(seen: &Seen<'_>, out: &mut String) -> bool {
    seen.text().map(|text| out.push_str(&text)).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::name::tests::event;
    use super::*;

    fn written(text: &str, json: &str) -> Option<String> {
        let at = Context { source: "files", path: "/var/log/a.log", host: "web-1", now_nanos: 0 };
        let mut out = String::new();
        Text::parse(text).unwrap().write(&event(json), &at, &mut out).then_some(out)
    }

    #[test]
    fn names_lead_into_objects_and_alternatives_follow() {
        let json = r#"{"user":{"id":17},"name":"","ok":true,"none":null}"#;
        for (text, expected) in [
            ("u-{user.id}", Some("u-17")),
            ("{none|'nobody'}", Some("nobody")),
            ("{name|ok}", Some("true")),
            ("{name}", Some("")),
            ("{nowhere}", None),
            ("{user}", None),
            ("{@host}:{@source}:{@path}", Some("web-1:files:/var/log/a.log")),
            ("plain {{text}}", Some("plain {text}")),
            ("", Some("")),
        ] {
            assert_eq!(written(text, json).as_deref(), expected, "{text}");
        }
        assert!(matches!(Text::parse("{a"), Err(TemplateError::Unclosed(1))));
    }
}
