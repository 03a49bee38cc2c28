//! A template: text with the names of fields in braces, such as `{kubernetes.namespace}/{app|'unknown'}`. It is parsed once; what its names
//! stand for in an event is not its business.

use std::fmt;
use std::ops::Range;

/// Dots in a name lead into objects. Deeper ones than this are nobody's logs, and each level is a pass over a value.
pub(crate) const MAX_PARTS: usize = 8;

/// What begins the name of something that is known of an event without a look at it.
const META: char = '@';

/// Why a text is no template. Places are counted in characters, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace is open at the end.
    #[error("the brace at character {0} is not closed; write {{field}}, or {{{{ for a brace itself")]
    Unclosed(usize),
    /// A brace is closed that was not opened.
    #[error("the brace at character {0} closes nothing; write {{field}}, or }}}} for a brace itself")]
    Unopened(usize),
    /// A brace within braces.
    #[error(
        "there is a brace within the braces that open at character {0}; write one name in each pair, such as {{a}}{{b}}"
    )]
    Nested(usize),
    /// Braces, or a place between bars, with nothing in them.
    #[error(
        "the braces at character {0} have no name in them, or none at one side of a bar; write {{field}} or {{field|'other'}}"
    )]
    Empty(usize),
    /// A name that begins or ends with a dot, or has two in a row.
    #[error("{0:?} has a dot with nothing on one side of it; write names of nested fields like a.b")]
    Dots(String),
    /// A name that leads too deep.
    #[error("{0:?} leads more than {MAX_PARTS} levels deep; name a field that lies higher")]
    TooDeep(String),
    /// A name of nothing that is known.
    #[error("{0:?} is nothing that is known of an event; allowed: @source, @path, @host")]
    UnknownMeta(String),
    /// A quote that is not closed, or text after one.
    #[error(
        "the quoted text in the braces at character {0} does not end where the quote does; write {{field|'text'}}, and '' for a quote within it"
    )]
    Quote(usize),
    /// An alternative after a constant.
    #[error("after the quoted text in the braces at character {0} nothing is ever used; put it last")]
    AfterConstant(usize),
    /// No braces at all.
    #[error("it names no field, so that it is the same for all events; write a field in braces, such as {{user_id}}")]
    NoName,
}

/// What is known of every event without a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meta {
    /// The name of the configured source.
    Source,
    /// The path of the file, as it was before any rotation.
    Path,
    /// The machine.
    Host,
}

/// One of the alternatives between bars. Fields are named as the user of the type likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice<F> {
    Field(F),
    Meta(Meta),
    Constant(String),
}

/// A stretch of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<F> {
    /// Text as it stands.
    Literal(String),
    /// The first of these that is there.
    First(Vec<Choice<F>>),
}

/// Text with the names of fields in braces.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece<String>>,
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.text)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars().zip(1..).peekable();
        while let Some((c, at)) = chars.next() {
            let doubled = matches!(c, '{' | '}') && chars.next_if(|(next, _)| *next == c).is_some();
            match c {
                '}' if !doubled => return Err(TemplateError::Unopened(at)),
                '{' if !doubled => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    let inner = inside(&mut chars, at)?;
                    pieces.push(Piece::First(choices(&inner, at)?));
                }
                _ => literal.push(c),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))) {
            return Err(TemplateError::NoName);
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text between the braces' pairs.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::First(_) => None,
        })
    }

    /// The pieces, with the names of fields as this turns them.
    pub(crate) fn pieces<F>(&self, mut field: impl FnMut(&str) -> F) -> Vec<Piece<F>> {
        let mut choice = |choice: &Choice<String>| match choice {
            Choice::Field(name) => Choice::Field(field(name)),
            Choice::Meta(meta) => Choice::Meta(*meta),
            Choice::Constant(text) => Choice::Constant(text.clone()),
        };
        let mut piece = |piece: &Piece<String>| match piece {
            Piece::Literal(text) => Piece::Literal(text.clone()),
            Piece::First(choices) => Piece::First(choices.iter().map(&mut choice).collect()),
        };
        self.pieces.iter().map(&mut piece).collect()
    }
}

/// The characters up to the brace that closes, which is one outside of quotes.
fn inside(chars: &mut impl Iterator<Item = (char, usize)>, at: usize) -> Result<String, TemplateError> {
    let (mut inner, mut quoted) = (String::new(), false);
    for (c, _) in chars {
        match c {
            '}' if !quoted => return Ok(inner),
            '{' if !quoted => return Err(TemplateError::Nested(at)),
            _ => inner.push(c),
        }
        quoted ^= c == '\'';
    }
    Err(if quoted { TemplateError::Quote(at) } else { TemplateError::Unclosed(at) })
}

fn choices(inner: &str, at: usize) -> Result<Vec<Choice<String>>, TemplateError> {
    let mut choices = Vec::new();
    for range in alternatives(inner) {
        if matches!(choices.last(), Some(Choice::Constant(_))) {
            return Err(TemplateError::AfterConstant(at));
        }
        choices.push(choice(inner.get(range).unwrap_or_default().trim(), at)?);
    }
    Ok(choices)
}

/// What lies between the bars that are outside of quotes.
fn alternatives(inner: &str) -> Vec<Range<usize>> {
    let (mut ranges, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in inner.char_indices() {
        quoted ^= c == '\'';
        if c == '|' && !quoted {
            ranges.push(start..at);
            start = at + 1;
        }
    }
    ranges.push(start..inner.len());
    ranges
}

fn choice(text: &str, at: usize) -> Result<Choice<String>, TemplateError> {
    if text.is_empty() {
        return Err(TemplateError::Empty(at));
    }
    if text.contains('\'') {
        let within =
            text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).ok_or(TemplateError::Quote(at))?;
        if within.replace("''", "").contains('\'') {
            return Err(TemplateError::Quote(at));
        }
        return Ok(Choice::Constant(within.replace("''", "'")));
    }
    if text.starts_with(META) {
        return match text {
            "@source" => Ok(Choice::Meta(Meta::Source)),
            "@path" => Ok(Choice::Meta(Meta::Path)),
            "@host" => Ok(Choice::Meta(Meta::Host)),
            other => Err(TemplateError::UnknownMeta(other.to_owned())),
        };
    }
    if text.split('.').any(str::is_empty) {
        return Err(TemplateError::Dots(text.to_owned()));
    }
    if text.split('.').count() > MAX_PARTS {
        return Err(TemplateError::TooDeep(text.to_owned()));
    }
    Ok(Choice::Field(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Vec<Piece<String>> {
        Template::parse(text).unwrap().pieces(str::to_owned)
    }

    fn field(name: &str) -> Choice<String> {
        Choice::Field(name.to_owned())
    }

    fn literal(text: &str) -> Piece<String> {
        Piece::Literal(text.to_owned())
    }

    #[test]
    fn names_literals_and_alternatives() {
        assert_eq!(pieces("{user_id}"), [Piece::First(vec![field("user_id")])]);
        assert_eq!(
            pieces("a-{ kubernetes.namespace }/{app}"),
            [
                literal("a-"),
                Piece::First(vec![field("kubernetes.namespace")]),
                literal("/"),
                Piece::First(vec![field("app")])
            ]
        );
        let unknown = Choice::Constant("it's | {unknown}".to_owned());
        assert_eq!(
            pieces("{user_id|session.id | 'it''s | {unknown}'}"),
            [Piece::First(vec![field("user_id"), field("session.id"), unknown])]
        );
        assert_eq!(
            pieces("{@host|''}"),
            [Piece::First(vec![Choice::Meta(Meta::Host), Choice::Constant(String::new())])]
        );
        assert_eq!(pieces("{{{a}}}"), [literal("{"), Piece::First(vec![field("a")]), literal("}")]);
    }

    #[test]
    fn what_is_no_template_says_where_and_what_to_write() {
        for (text, error) in [
            ("ab{user_id", TemplateError::Unclosed(3)),
            ("{a}}", TemplateError::Unopened(4)),
            ("é}", TemplateError::Unopened(2)),
            ("{a{b}}", TemplateError::Nested(1)),
            ("{}", TemplateError::Empty(1)),
            ("{a||b}", TemplateError::Empty(1)),
            ("x{ }", TemplateError::Empty(2)),
            ("{a..b}", TemplateError::Dots("a..b".to_owned())),
            ("{.a}", TemplateError::Dots(".a".to_owned())),
            ("{a.b.c.d.e.f.g.h.i}", TemplateError::TooDeep("a.b.c.d.e.f.g.h.i".to_owned())),
            ("{@file}", TemplateError::UnknownMeta("@file".to_owned())),
            ("{a|'b}", TemplateError::Quote(1)),
            ("{a|'b'c}", TemplateError::Quote(1)),
            ("{a|'b'c'd'}", TemplateError::Quote(1)),
            ("{a|it's}", TemplateError::Quote(1)),
            ("{'b'|a}", TemplateError::AfterConstant(1)),
            ("{{user_id}}", TemplateError::NoName),
            ("", TemplateError::NoName),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
        let said = Template::parse("ab{user_id").unwrap_err().to_string();
        assert_eq!(said, "the brace at character 3 is not closed; write {field}, or {{ for a brace itself");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a{}|'@.\u{0}é ]{0,20}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.text(), text);
            }
        }

        #[test]
        fn doubled_braces_are_braces(text in "[a{}|']{0,12}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            let template = Template::parse(&format!("{doubled}{{x}}")).unwrap().pieces(str::to_owned);
            let name = Piece::First(vec![field("x")]);
            let expected = if text.is_empty() { vec![name] } else { vec![Piece::Literal(text), name] };
            prop_assert_eq!(template, expected);
        }
    }
}
