//! The meaning of `parse`: a name, a chain of them, or one with options, and which options each parser has. What a parser does with them is its own.

use serde_json::{Map, Value};

use super::mask::quoted;
use super::problem::{did_you_mean, listed};
use super::resolve::Resolver;
use crate::parse::kind::{Kind, NAMES};
use crate::parse::{Nested, Parser, Step};

/// What `parse` can be, for people.
pub(super) const ALLOWED: &str = "a parser's name, a list of which the first that fits is taken, or a mapping of as, its options, and field for a part of the line";
/// More parsers than that for one line are a mistake.
const MAX_STEPS: usize = 16;

/// The settings of a thing that is written as a mapping. Each is asked for once; those that nobody asks for are none of it.
#[derive(Debug)]
pub(super) struct Options<'v> {
    pub(super) path: String,
    values: &'v Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'v> Options<'v> {
    pub(super) fn new(path: &str, values: &'v Map<String, Value>) -> Self {
        Self { path: path.to_owned(), values, known: Vec::new() }
    }

    /// The place of one of them, in messages.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A setting as it is written.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'v Value> {
        self.known.push(name);
        self.values.get(name).filter(|value| !value.is_null())
    }
}

impl Resolver<'_> {
    /// How lines are parsed.
    pub(super) fn parser(&mut self, path: &str, raw: Option<&Value>) -> Parser {
        raw.and_then(|value| self.chain(path, value)).unwrap_or_else(Parser::raw)
    }

    /// A chain of parsers, or one.
    pub(super) fn chain(&mut self, path: &str, value: &Value) -> Option<Parser> {
        let Value::Array(items) = value else {
            let (step, spec) = self.step(path, value)?;
            return Some(Parser::new(vec![step], spec));
        };
        if items.is_empty() || items.len() > MAX_STEPS {
            self.report(path, format!("has {} parsers; allowed: 1 to {MAX_STEPS}", items.len()));
            return None;
        }
        let mut steps = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if matches!(steps.last(), Some((Step::Whole(Kind::Raw), _))) {
                let message = "is never used: raw, before it, fits every line; put raw last";
                self.report(&path, message.to_owned());
            }
            steps.push(self.step(&path, item)?);
        }
        let (steps, mut specs): (Vec<Step>, Vec<Value>) = steps.into_iter().unzip();
        let spec = if specs.len() == 1 { specs.remove(0) } else { Value::Array(specs) };
        Some(Parser::new(steps, spec))
    }

    /// One parser, and how it is written in short.
    fn step(&mut self, path: &str, value: &Value) -> Option<(Step, Value)> {
        match value {
            Value::String(name) => {
                let empty = Map::new();
                let kind = self.kind(path, name, &mut Options::new(path, &empty))?;
                Some((Step::Whole(kind), Value::String(name.clone())))
            }
            Value::Object(fields) => self.mapping(path, fields),
            other => {
                self.report(path, format!("{other} is no parser; allowed: {ALLOWED}"));
                None
            }
        }
    }

    fn mapping(&mut self, path: &str, fields: &Map<String, Value>) -> Option<(Step, Value)> {
        let mut options = Options::new(path, fields);
        let field = self.text_option(&mut options, "field");
        let Some(reader) = options.take("as") else {
            let hint = fields.keys().find_map(|key| {
                let hint = did_you_mean(key, ["as"]);
                let is_parser = || NAMES.contains(&key.as_str()).then(|| format!(" (to name it: {{as: {key}, …}})"));
                if hint.is_empty() { is_parser() } else { Some(hint) }
            });
            self.report(
                path,
                format!("has no as, which names the parser; allowed: {}{}", listed(NAMES), hint.unwrap_or_default()),
            );
            return None;
        };
        let at = options.at("as");
        let (parser, short) = match reader {
            Value::String(name) => {
                let kind = self.kind(&at, name, &mut options)?;
                let mut spec = fields.clone();
                spec.remove("field");
                let spec = if spec.len() == 1 { Value::String(name.clone()) } else { Value::Object(spec) };
                (Step::Whole(kind), spec)
            }
            chain if field.is_some() => {
                self.no_more(&options);
                let parser = self.chain(&at, chain)?;
                let (field, spec) = (field?, fields.clone());
                return Some((Step::Field(Nested { field, parser }), Value::Object(spec)));
            }
            other => {
                let what = if other.is_array() { "a list" } else { "no name" };
                let message = format!(
                    "is {what}; without field, write the list as parse itself, with the options of each in its item"
                );
                self.report(&at, message);
                return None;
            }
        };
        let Some(field) = field else { return Some((parser, short)) };
        let parser = Parser::new(vec![parser], short);
        Some((Step::Field(Nested { field, parser }), Value::Object(fields.clone())))
    }

    /// A parser of this name with its options.
    fn kind(&mut self, at: &str, name: &str, options: &mut Options<'_>) -> Option<Kind> {
        let kind = match name {
            "raw" => Kind::Raw,
            "json" => Kind::Json,
            "cri" => Kind::Cri,
            "docker" => Kind::Docker,
            other => {
                let (list, hint) = (listed(NAMES), did_you_mean(other, NAMES));
                self.report(at, format!("{} is not one of {list}{hint}", quoted(other)));
                return None;
            }
        };
        self.no_more(options);
        (!self.has_bad_part(&options.path)).then_some(kind)
    }

    /// Reports what nobody asked for.
    pub(super) fn no_more(&mut self, options: &Options<'_>) {
        for key in options.values.keys().filter(|key| !options.known.contains(&key.as_str())) {
            let known = || options.known.iter().copied();
            let (list, hint) = (listed(known()), did_you_mean(key, known()));
            self.report(&options.at(key), format!("is not a setting here; allowed: {list}{hint}"));
        }
    }

    /// A setting that is text.
    pub(super) fn text_option(&mut self, options: &mut Options<'_>, name: &'static str) -> Option<String> {
        match options.take(name)? {
            Value::String(text) if text.is_empty() => {
                self.report(&options.at(name), "is empty; write a value, or remove it".to_owned());
                None
            }
            Value::String(text) => Some(text.clone()),
            other => {
                self.report(&options.at(name), format!("{} is not text; allowed: text", shown(other)));
                None
            }
        }
    }
}

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}
