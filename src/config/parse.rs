//! The meaning of `parse`: a name, a chain of them, or one with options, and which options each parser has. What a parser does with them is its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::mask::quoted;
use super::problem::{did_you_mean, listed};
use super::resolve::Resolver;
use crate::parse::alb::Alb;
use crate::parse::cef::Cef;
use crate::parse::csv::{self, Csv};
use crate::parse::envoy::Envoy;
use crate::parse::grok::Grok;
use crate::parse::haproxy::Haproxy;
use crate::parse::key_value::{self, KeyValue, Whitespace};
use crate::parse::kind::{ALIASES, Kind, NAMES};
use crate::parse::klog::Klog;
use crate::parse::log4j::Log4j;
use crate::parse::logfmt::Logfmt;
use crate::parse::ltsv::{self, Ltsv};
use crate::parse::regex::{Regex, Type};
use crate::parse::syslog::{Format, Syslog};
use crate::parse::types::Types;
use crate::parse::{self, Nested, Parser, Step, apache, nginx};

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
    pub(super) fn step(&mut self, path: &str, value: &Value) -> Option<(Step, Value)> {
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
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        let kind = match name {
            "raw" => Some(Kind::Raw),
            "json" => Some(Kind::Json),
            "cri" => Some(Kind::Cri),
            "docker" => Some(Kind::Docker),
            "klog" => Some(Kind::Klog(Klog)),
            "nginx" => Some(Kind::Nginx(nginx::Access)),
            "nginx_error" => Some(Kind::NginxError(nginx::ErrorLog)),
            "apache" => Some(Kind::Apache(apache::Access)),
            "apache_error" => Some(Kind::ApacheError(apache::ErrorLog)),
            "alb" => Some(Kind::Alb(Alb)),
            "envoy" => Some(Kind::Envoy(Envoy)),
            "haproxy" => Some(Kind::Haproxy(Haproxy)),
            "log4j" => Some(Kind::Log4j(Log4j)),
            "syslog" => Some(self.syslog(options)),
            "logfmt" => Some(self.logfmt(options)),
            "key_value" => self.key_value(options),
            "ltsv" => self.ltsv(options),
            "csv" => self.delimited(csv::Options::csv(Vec::new()), options).map(Kind::Csv),
            "tsv" => self.delimited(csv::Options::tsv(Vec::new()), options).map(Kind::Tsv),
            "cef" => Some(self.cef(options)),
            "regex" => self.regex(options),
            "grok" => self.grok(options),
            other => {
                let (list, hint) = (listed(NAMES), did_you_mean(other, NAMES));
                self.report(at, format!("{} is not one of {list}{hint}", quoted(other)));
                return None;
            }
        };
        self.no_more(options);
        kind.filter(|_| !self.has_bad_part(&options.path))
    }

    fn logfmt(&mut self, options: &mut Options<'_>) -> Kind {
        let default = Logfmt::default();
        let types = self.types(options);
        let standalone_keys = self.flag_option(options, "standalone_keys").unwrap_or(default.standalone_keys);
        Kind::Logfmt(Logfmt { types, standalone_keys })
    }

    fn key_value(&mut self, options: &mut Options<'_>) -> Option<Kind> {
        let default = key_value::Options::default();
        let words = [("lenient", Whitespace::Lenient), ("strict", Whitespace::Strict)];
        let made = key_value::Options {
            key_value_delimiter: self
                .text_option(options, "key_value_delimiter")
                .unwrap_or(default.key_value_delimiter),
            field_delimiter: self.text_option(options, "field_delimiter").unwrap_or(default.field_delimiter),
            whitespace: self.word_option(options, "whitespace", &words).unwrap_or_default(),
            standalone_keys: self.flag_option(options, "standalone_keys").unwrap_or(default.standalone_keys),
            types: self.types(options),
        };
        let made = KeyValue::new(&made);
        self.made(options, made).map(Kind::KeyValue)
    }

    fn ltsv(&mut self, options: &mut Options<'_>) -> Option<Kind> {
        let default = ltsv::Options::default();
        let pattern = self.text_option(options, "delimiter_pattern").map(|pattern| regex::Regex::new(&pattern));
        let pattern = match pattern.transpose() {
            Ok(pattern) => pattern,
            Err(error) => {
                self.report(
                    &options.at("delimiter_pattern"),
                    format!("is not a regular expression: {}", in_one_line(&error.to_string())),
                );
                None
            }
        };
        let made = Ltsv::new(ltsv::Options {
            delimiter: self.text_option(options, "delimiter").unwrap_or(default.delimiter),
            delimiter_pattern: pattern,
            label_delimiter: self.text_option(options, "label_delimiter").unwrap_or(default.label_delimiter),
            null_values: self.texts_option(options, "null_values").unwrap_or_default(),
            keep_unlabelled: self.flag_option(options, "keep_unlabelled").unwrap_or(default.keep_unlabelled),
            types: self.types(options),
        });
        self.made(options, made).map(Kind::Ltsv)
    }

    fn delimited(&mut self, default: csv::Options, options: &mut Options<'_>) -> Option<Csv> {
        let quote = match options.take("quote") {
            None => default.quote,
            Some(Value::Bool(false)) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) if text.len() == 1 => text.bytes().next(),
            Some(other) => {
                let message =
                    format!("{} is no quote; allowed: one character of ASCII, or false for none", shown(other));
                self.report(&options.at("quote"), message);
                None
            }
        };
        let made = Csv::new(csv::Options {
            columns: self.texts_option(options, "columns").unwrap_or(default.columns),
            delimiter: self.text_option(options, "delimiter").unwrap_or(default.delimiter),
            quote,
            null_values: self.texts_option(options, "null_values").unwrap_or_default(),
            types: self.types(options),
            exact: self.flag_option(options, "exact").unwrap_or(default.exact),
            rest: self.flag_option(options, "rest").unwrap_or(default.rest),
        });
        self.made(options, made)
    }

    fn syslog(&mut self, options: &mut Options<'_>) -> Kind {
        let words = [("auto", Format::Auto), ("rfc3164", Format::Rfc3164), ("rfc5424", Format::Rfc5424)];
        let format = self.word_option(options, "format", &words).unwrap_or_default();
        let compliant_message = self.flag_option(options, "compliant_message").unwrap_or_default();
        Kind::Syslog(Syslog { format, compliant_message })
    }

    fn cef(&mut self, options: &mut Options<'_>) -> Kind {
        let custom_labels = self.flag_option(options, "custom_labels").unwrap_or_default();
        Kind::Cef(Cef { custom_labels, types: self.types(options) })
    }

    fn regex(&mut self, options: &mut Options<'_>) -> Option<Kind> {
        let types = self.field_types(options);
        let Some(pattern) = self.text_option(options, "pattern") else {
            let message = "needs pattern, a regular expression with named groups, such as {as: regex, pattern: '^(?P<level>\\S+) (?P<message>.*)$'}";
            if !self.has_bad_part(&options.path) {
                self.report(&options.path.clone(), message.to_owned());
            }
            return None;
        };
        match Regex::new(&pattern, &types) {
            Ok(regex) => Some(Kind::Regex(regex)),
            Err(error) => {
                let field = if matches!(error, parse::regex::Error::NoField(_)) { "types" } else { "pattern" };
                self.report(&options.at(field), format!("{}: {}", quoted(&pattern), in_one_line(&error.to_string())));
                None
            }
        }
    }

    fn grok(&mut self, options: &mut Options<'_>) -> Option<Kind> {
        let types = self.field_types(options);
        let definitions = self.texts_by_name(options, "patterns");
        let Some(pattern) = self.text_option(options, "pattern") else {
            let message =
                "needs pattern, made of named ones, such as {as: grok, pattern: '%{IP:client} %{WORD:method}'}";
            if !self.has_bad_part(&options.path) {
                self.report(&options.path.clone(), message.to_owned());
            }
            return None;
        };
        match Grok::new(&pattern, &definitions, &types) {
            Ok(grok) => Some(Kind::Grok(grok)),
            Err(error) => {
                self.report(
                    &options.at("pattern"),
                    format!("{}: {}", quoted(&pattern), in_one_line(&error.to_string())),
                );
                None
            }
        }
    }

    /// A setting that is a mapping of names and texts.
    fn texts_by_name(&mut self, options: &mut Options<'_>, name: &'static str) -> BTreeMap<String, String> {
        let path = options.at(name);
        let Some(value) = options.take(name) else { return BTreeMap::new() };
        let entries = value.as_object().into_iter().flatten();
        let texts: Option<BTreeMap<String, String>> =
            entries.map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect();
        let texts = texts.filter(|_| value.is_object());
        texts.unwrap_or_else(|| {
            self.report(&path, format!("{} is no mapping of names and texts", shown(value)));
            BTreeMap::new()
        })
    }

    /// What values that look like numbers become.
    fn types(&mut self, options: &mut Options<'_>) -> Types {
        self.word_option(options, "types", &[("text", Types::Text), ("auto", Types::Auto)]).unwrap_or_default()
    }

    /// The types of fields by their names.
    fn field_types(&mut self, options: &mut Options<'_>) -> BTreeMap<String, Type> {
        let mut types = BTreeMap::new();
        let path = options.at("types");
        match options.take("types") {
            None => {}
            Some(Value::Object(fields)) => {
                for (field, word) in fields {
                    let name = word.as_str().unwrap_or_default();
                    if let Some(found) = Type::named(name) {
                        types.insert(field.clone(), found);
                        continue;
                    }
                    let known = || Type::NAMES.iter().map(|(name, _)| *name);
                    let message = format!(
                        "{} is no type; allowed: {}{}",
                        shown(word),
                        listed(known()),
                        did_you_mean(name, known())
                    );
                    self.report(&format!("{path}.{field}"), message);
                }
            }
            Some(other) => {
                self.report(
                    &path,
                    format!(
                        "{} is no mapping; allowed: names of fields, each with its type, such as {{status: int}}",
                        shown(other)
                    ),
                );
            }
        }
        types
    }

    /// What was made, or a report of why it cannot be.
    fn made<T>(&mut self, options: &Options<'_>, made: Result<T, String>) -> Option<T> {
        made.map_err(|reason| self.report(&options.path.clone(), reason)).ok()
    }

    /// A setting that is true or false.
    pub(super) fn flag_option(&mut self, options: &mut Options<'_>, name: &'static str) -> Option<bool> {
        match options.take(name)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                self.report(&options.at(name), format!("{} is not one of true, false", shown(other)));
                None
            }
        }
    }

    /// A setting that is a list of texts, or one of them.
    pub(super) fn texts_option(&mut self, options: &mut Options<'_>, name: &'static str) -> Option<Vec<String>> {
        let value = options.take(name)?;
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.report(&options.at(name), format!("{} is no list of texts", shown(value)));
        }
        texts
    }

    /// A setting that is one of some words.
    pub(super) fn word_option<T: Copy>(
        &mut self,
        options: &mut Options<'_>,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = options.take(name)?;
        let given = value.as_str().unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known = || words.iter().map(|(word, _)| *word);
            self.report(
                &options.at(name),
                format!("{} is not one of {}{}", shown(value), listed(known()), did_you_mean(given, known())),
            );
        }
        found
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

/// What is drawn over several lines.
fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
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
