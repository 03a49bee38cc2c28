//! Grok: patterns that are made of named ones, `%{IP:client} %{WORD:verb}`, compiled once into one pattern of `regex.rs`.
//!
//! `%{NAME}`, `%{NAME:field}` and `%{NAME:field:type}` are what Logstash has; `[a][b]` as a field is `a.b`. A group that is named in the pattern
//! itself is a field too. What named patterns there are is in `grok/patterns.rs`, and users define more. Patterns are written for a
//! backtracking engine, and ours is linear: atomic groups and possessive quantifiers become plain ones, since there is nothing to cut short; `(?m)`
//! means here, as in Ruby, that `.` matches newlines, which it does anyway; `\h` is a hexadecimal digit. Lookarounds and references back are
//! refused. A field that is named several times has the text of the group that took part, and a list if several did. Groups that are
//! empty are left out, as Logstash does it.

pub mod patterns;

use std::collections::BTreeMap;

use super::regex::{self, Field, Regex, Type};
use super::sink::{Name, Sink};

/// How deep patterns may name each other.
const MAX_DEPTH: usize = 32;
/// How long a pattern may become, in bytes: the longest of the standard ones, for a line of Bacula, has about 40 KiB.
const MAX_EXPANDED: usize = 256 << 10;

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Nothing has this name; the second is one that is spelt like it.
    Unknown(String, Option<String>),
    /// A pattern that, through others, is made of itself: the names on the way.
    Recursion(Vec<String>),
    /// Patterns name each other too deep, at this one.
    Depth(String),
    /// The whole became too long in this one.
    Length(String),
    /// `%{` without its end, or without a name, in this pattern.
    Reference(String, String),
    /// A type that is none, for this field.
    Type(String, String),
    /// What the engine does not have: the construct, and the pattern that has it.
    Unsupported(String, String),
    /// The whole cannot be compiled.
    Pattern(regex::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name, None) => {
                write!(f, "there is no pattern of the name {name:?}: add it to the definitions")
            }
            Self::Unknown(name, Some(like)) => write!(f, "there is no pattern of the name {name:?}; there is {like:?}"),
            Self::Recursion(names) => write!(f, "patterns are made of themselves: {}", names.join(" → ")),
            Self::Depth(name) => {
                write!(f, "patterns are made of others more than {MAX_DEPTH} levels deep, at {name:?}")
            }
            Self::Length(name) => {
                write!(f, "the pattern has more than {MAX_EXPANDED} bytes with what it is made of, at {name:?}")
            }
            Self::Reference(text, name) => write!(f, "{text:?} in {name} is not of the form %{{NAME:field:type}}"),
            Self::Type(kind, field) => {
                let names: Vec<_> = Type::NAMES.iter().map(|(name, _)| *name).collect();
                write!(f, "{kind:?} of the field {field:?} is not a type: there are {}", names.join(", "))
            }
            Self::Unsupported(what, name) => write!(
                f,
                "{what:?} in {name} is not supported: patterns are matched in linear time, without lookarounds and references back; write the \
                 text around it out, or use \\b"
            ),
            Self::Pattern(regex::Error::NoGroup) => {
                f.write_str("the pattern names no field: write %{NAME:field} for what is to become one")
            }
            Self::Pattern(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// A grok pattern that was compiled.
#[derive(Debug)]
pub struct Grok {
    regex: Regex,
}

impl Grok {
    /// Compiles a pattern. Definitions are patterns by their names, and win over standard ones; types are those of fields, and win over the
    /// pattern's own.
    pub fn new(
        pattern: &str,
        definitions: &BTreeMap<String, String>,
        types: &BTreeMap<String, Type>,
    ) -> Result<Self, Error> {
        let mut expansion = Expansion { definitions, stack: Vec::new(), out: String::new(), groups: Vec::new() };
        expansion.expand(pattern)?;
        let engine = regex::compile(&expansion.out).map_err(Error::Pattern)?;
        let mut fields: Vec<Field> = Vec::new();
        let indices = engine.capture_names().enumerate().filter(|(_, name)| name.is_some()).map(|(index, _)| index);
        for (index, (name, kind)) in indices.zip(expansion.groups) {
            let kind = types.get(&name).copied().unwrap_or(kind);
            match fields.iter_mut().find(|field| field.name == name) {
                Some(field) => {
                    field.groups.push(index);
                    field.kind = if field.kind == Type::String { kind } else { field.kind };
                }
                None => fields.push(Field {
                    json: Name::json_of(&name),
                    name,
                    kind,
                    groups: vec![index],
                    keep_empty: false,
                }),
            }
        }
        if let Some(name) = types.keys().find(|name| fields.iter().all(|field| field.name != **name)) {
            return Err(Error::Pattern(regex::Error::NoField(name.clone())));
        }
        Ok(Self { regex: Regex::of_fields(engine, fields).map_err(Error::Pattern)? })
    }

    /// The names of its fields, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.regex.names()
    }

    /// Appends the fields of the first match in a record.
    pub fn parse<'a>(&'a self, line: &'a str, event: &mut impl Sink<'a>) -> Result<(), &'static str> {
        self.regex.parse(line, event)
    }
}

/// A pattern that is being written out.
struct Expansion<'p> {
    definitions: &'p BTreeMap<String, String>,
    /// The names of the patterns that are being expanded, each in the one before.
    stack: Vec<String>,
    /// What the engine gets.
    out: String,
    /// The fields of its groups, in their order.
    groups: Vec<(String, Type)>,
}

impl Expansion<'_> {
    fn expand(&mut self, pattern: &str) -> Result<(), Error> {
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            if self.out.len() > MAX_EXPANDED {
                return Err(Error::Length(self.place()));
            }
            rest = match first {
                '%' if rest.starts_with("%{") => self.reference(rest)?,
                '\\' => self.escape(rest)?,
                '[' => self.class(rest)?,
                '(' => self.group(rest)?,
                '?' | '*' | '+' | '{' => self.quantifier(rest),
                other => {
                    self.out.push(other);
                    after(rest, other.len_utf8())
                }
            };
        }
        Ok(())
    }

    /// The pattern that is being expanded, for messages.
    fn place(&self) -> String {
        self.stack.last().map_or_else(|| "the pattern".to_owned(), |name| format!("%{{{name}}}"))
    }

    fn unsupported<T>(&self, what: &str) -> Result<T, Error> {
        Err(Error::Unsupported(what.to_owned(), self.place()))
    }

    /// `%{NAME:field:type}`; answers what comes after it.
    fn reference<'t>(&mut self, text: &'t str) -> Result<&'t str, Error> {
        let bad = || Error::Reference(text.chars().take(40).collect(), self.place());
        let (inner, rest) = text.strip_prefix("%{").and_then(|text| text.split_once('}')).ok_or_else(bad)?;
        let mut parts = inner.splitn(3, ':');
        let name =
            parts.next().filter(|name| !name.is_empty() && !name.contains(char::is_whitespace)).ok_or_else(bad)?;
        let (field, kind) = (parts.next().filter(|field| !field.is_empty()), parts.next());
        match field.map(field_name) {
            Some(field) => {
                let named =
                    kind.map(|kind| Type::named(kind).ok_or_else(|| Error::Type(kind.to_owned(), field.clone())));
                self.open(field, named.transpose()?.unwrap_or_default());
            }
            None => self.out.push_str("(?:"),
        }
        self.named(name)?;
        self.out.push(')');
        Ok(rest)
    }

    /// Opens the group of a field. Its name for the engine is of no meaning, since fields' names may have any characters.
    fn open(&mut self, field: String, kind: Type) {
        self.out.push_str("(?P<f");
        self.out.push_str(&self.groups.len().to_string());
        self.out.push('>');
        self.groups.push((field, kind));
    }

    /// What a name stands for.
    fn named(&mut self, name: &str) -> Result<(), Error> {
        let pattern = self.definitions.get(name).map(String::as_str).or_else(|| patterns::standard(name));
        let Some(pattern) = pattern.map(str::to_owned) else {
            let defined = self.definitions.keys().find(|known| is_alike(known, name)).cloned();
            let like = defined.or_else(|| patterns::names().find(|known| is_alike(known, name)).map(str::to_owned));
            return Err(Error::Unknown(name.to_owned(), like));
        };
        if self.stack.iter().any(|above| above == name) {
            let names = self.stack.iter().skip_while(|above| *above != name).cloned();
            return Err(Error::Recursion(names.chain([name.to_owned()]).collect()));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(Error::Depth(name.to_owned()));
        }
        self.stack.push(name.to_owned());
        self.expand(&pattern)?;
        self.stack.pop();
        Ok(())
    }

    fn escape<'t>(&mut self, text: &'t str) -> Result<&'t str, Error> {
        let Some(escaped) = text.chars().nth(1) else {
            return self.unsupported("a backslash at the end");
        };
        match escaped {
            'h' => self.out.push_str("[0-9A-Fa-f]"),
            'H' => self.out.push_str("[^0-9A-Fa-f]"),
            'Z' => self.out.push_str("(?:\\n?\\z)"),
            'e' => self.out.push_str("\\x1B"),
            'k' | 'g' | 'K' | 'G' | 'R' | 'X' | '1'..='9' => return self.unsupported(&format!("\\{escaped}")),
            // Characters that mean something after a backslash only to our engine.
            '<' | '>' => self.out.push(escaped),
            other => self.out.extend(['\\', other]),
        }
        Ok(after(text, 1 + escaped.len_utf8()))
    }

    /// A class in brackets, in which all but a few characters are themselves.
    fn class<'t>(&mut self, text: &'t str) -> Result<&'t str, Error> {
        let negated = text.starts_with("[^");
        self.out.push_str(if negated { "[^" } else { "[" });
        let mut rest = after(text, if negated { 2 } else { 1 });
        let start = rest.len();
        while let Some(next) = rest.chars().next() {
            let is_first = rest.len() == start;
            match next {
                ']' if !is_first => {
                    self.out.push(']');
                    return Ok(after(rest, 1));
                }
                '\\' if rest.starts_with("\\h") => self.out.push_str("0-9A-Fa-f"),
                '\\' => self.out.extend(rest.chars().take(2)),
                '[' if rest.starts_with("[:") && rest.contains(":]") => {
                    let name = rest.split_inclusive(":]").next().unwrap_or_default();
                    self.out.push_str(name);
                    rest = after(rest, name.len());
                    continue;
                }
                ']' | '[' | '&' | '~' => self.out.extend(['\\', next]),
                other => self.out.push(other),
            }
            let len = rest.chars().take(if next == '\\' { 2 } else { 1 }).map(char::len_utf8).sum();
            rest = after(rest, len);
        }
        self.unsupported("a class without its closing bracket")
    }

    fn group<'t>(&mut self, text: &'t str) -> Result<&'t str, Error> {
        let Some(kind) = text.strip_prefix("(?") else {
            // Groups without a name are no fields, and the engine need not remember them.
            self.out.push_str("(?:");
            return Ok(after(text, 1));
        };
        for lookaround in ["=", "!", "<=", "<!"] {
            if kind.starts_with(lookaround) {
                return self.unsupported(&format!("(?{lookaround}"));
            }
        }
        if let Some(rest) = kind.strip_prefix('>') {
            self.out.push_str("(?:");
            return Ok(rest);
        }
        if let Some(rest) = kind.strip_prefix('#') {
            return Ok(rest.split_once(')').map_or("", |(_, rest)| rest));
        }
        let named = kind.strip_prefix('P').unwrap_or(kind).strip_prefix('<').and_then(|rest| rest.split_once('>'));
        if let Some((name, rest)) = named {
            let (name, kind) = name.split_once(':').map_or((name, None), |(name, kind)| (name, Some(kind)));
            let kind = kind.map_or(Ok(Type::String), |kind| Type::named(kind).ok_or(kind));
            let kind = kind.map_err(|kind| Error::Type(kind.to_owned(), name.to_owned()))?;
            self.open(field_name(name), kind);
            return Ok(rest);
        }
        // Flags: Ruby's `m` is what `.` matches.
        let len = kind.find([':', ')']).map_or(kind.len(), |at| at + 1);
        let flags = kind.get(..len).unwrap_or(kind);
        self.out.push_str("(?");
        self.out.push_str(&flags.replace('m', "s"));
        Ok(after(kind, len))
    }

    /// A quantifier, without the plus that makes it possessive; a brace that is none is text.
    fn quantifier<'t>(&mut self, text: &'t str) -> &'t str {
        let len = match text.strip_prefix('{') {
            None => 1,
            Some(inner) => match inner.split_once('}') {
                Some((count, _)) if is_count(count) => count.len() + 2,
                _ => {
                    self.out.push_str("\\{");
                    return after(text, 1);
                }
            },
        };
        // Ruby has `{,n}`.
        let quantifier = text.get(..len).unwrap_or(text).replace("{,", "{0,");
        self.out.push_str(&quantifier);
        let rest = after(text, len);
        if let Some(rest) = rest.strip_prefix('?') {
            self.out.push('?');
            return rest;
        }
        rest.strip_prefix('+').unwrap_or(rest)
    }
}

/// `3`, `3,`, `,5` or `3,5`.
fn is_count(text: &str) -> bool {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (from, to) = text.split_once(',').unwrap_or((text, ""));
    !text.is_empty() && text != "," && is_number(from) && is_number(to)
}

/// What is after so many bytes.
fn after(text: &str, len: usize) -> &str {
    text.get(len..).unwrap_or_default()
}

/// `[a][b]` as it is called here, and anything else as it is.
fn field_name(field: &str) -> String {
    let nested = field.strip_prefix('[').and_then(|field| field.strip_suffix(']'));
    nested.map_or_else(|| field.to_owned(), |field| field.replace("][", "."))
}

/// Whether two names differ in case, or in what separates their words, alone.
fn is_alike(a: &str, b: &str) -> bool {
    let letters = |name: &str| {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect::<String>()
    };
    letters(a) == letters(b)
}

#[cfg(test)]
mod tests {
    use super::super::check::parsed;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    fn definitions(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, pattern)| ((*name).to_owned(), (*pattern).to_owned())).collect()
    }

    fn grok(pattern: &str, list: &[(&str, &str)]) -> Result<Grok, Error> {
        Grok::new(pattern, &definitions(list), &BTreeMap::new())
    }

    fn run(pattern: &str, line: &str) -> Result<Json, &'static str> {
        let grok = grok(pattern, &[]).unwrap_or_else(|error| panic!("{error}"));
        parsed(line, |line, event| grok.parse(line, event))
    }

    fn why(pattern: &str, list: &[(&str, &str)]) -> String {
        grok(pattern, list).unwrap_err().to_string()
    }

    #[test]
    fn named_patterns_are_fields_of_their_types() {
        let pattern =
            "%{IP:client} %{WORD:method} %{URIPATHPARAM:request} %{NUMBER:bytes:int} %{NUMBER:duration:float}";
        let want = json!({"client": "55.3.244.1", "method": "GET", "request": "/index.html", "bytes": 15824, "duration": 0.043});
        assert_eq!(run(pattern, "55.3.244.1 GET /index.html 15824 0.043"), Ok(want));
        assert_eq!(run(pattern, "an ungrokkable message"), Err("the pattern does not match"));
        assert_eq!(run(r"^(?<id>\h{4}) %{WORD:[a][b]}", "0aF9 x"), Ok(json!({"id": "0aF9", "a.b": "x"})));
    }

    #[test]
    fn fields_of_several_groups() {
        assert_eq!(run("(?:a=%{INT:n:int}|b=%{INT:n:int})", "b=2"), Ok(json!({"n": 2})));
        assert_eq!(run("%{WORD:w} %{WORD:w} %{DATA:empty}$", "x y "), Ok(json!({"w": ["x", "y"]})));
        let types = [("n".to_owned(), Type::Int)].into();
        let grok = Grok::new("%{INT:n}", &BTreeMap::new(), &types).unwrap();
        assert_eq!(parsed("7", |line, event| grok.parse(line, event)), Ok(json!({"n": 7})));
        assert_eq!(grok.names().collect::<Vec<_>>(), ["n"]);
    }

    #[test]
    fn definitions_of_users_win() {
        let list = [("ID", "[A-Z]{2}%{DIGITS:digits}"), ("DIGITS", "[0-9]+"), ("WORD", "w+")];
        let grok = grok("%{ID:id} %{WORD:w}", &list).unwrap();
        assert_eq!(
            parsed("AB12 www", |line, event| grok.parse(line, event)),
            Ok(json!({"id": "AB12", "digits": "12", "w": "www"}))
        );
    }

    #[test]
    fn what_other_engines_have_is_said_otherwise_or_refused_by_name() {
        assert_eq!(
            run(r"(?>a++)(?<b>\<x\>) [[]%{DATA:c}] {%{DATA:d}}", "aa<x> [y] {z}"),
            Ok(json!({"b": "<x>", "c": "y", "d": "z"}))
        );
        assert_eq!(run(r"(?m)^%{WORD:a}(?#note)(?<b>.*)\Z", "x\ny\n"), Ok(json!({"a": "x", "b": "\ny\n"})));
        assert_eq!(run(r"(?<a>[\h:]{,4}+[^[:alpha:]\]]?)", "0f:1]"), Ok(json!({"a": "0f:1"})));
        for (pattern, what) in
            [("(?=x)%{WORD:a}", "(?="), ("(?<!x)%{WORD:a}", "(?<!"), (r"(?<a>x)\1", r"\1"), (r"(?<a>x)\k<a>", r"\k")]
        {
            let why = why(pattern, &[]);
            assert!(why.starts_with(&format!("{what:?} in the pattern is not supported")), "{why}");
        }
        assert!(why("%{A:a}", &[("A", "%{B}"), ("B", "x(?!y)")]).starts_with("\"(?!\" in %{B} is not supported"));
    }

    #[test]
    fn errors_name_the_pattern() {
        assert_eq!(why("%{NOG}", &[]), "there is no pattern of the name \"NOG\": add it to the definitions");
        assert_eq!(
            why("%{ip_or_host:a}", &[]),
            "there is no pattern of the name \"ip_or_host\"; there is \"IPORHOST\""
        );
        let list = [("A", "x%{B}"), ("B", "%{C}"), ("C", "%{B}y")];
        assert_eq!(why("%{A:a}", &list), "patterns are made of themselves: B → C → B");
        assert!(why("%{WORD:a:array}", &[]).contains("\"array\" of the field \"a\" is not a type: there are int"));
        assert!(why("%{WORD", &[]).starts_with("\"%{WORD\" in the pattern is not of the form"));
        assert!(why("%{WORD}", &[]).starts_with("the pattern names no field"));
        assert!(why("%{WORD:a}[x", &[]).contains("closing bracket"));
        assert!(why("%{WORD:a})", &[]).starts_with("cannot use the pattern"));
    }

    #[test]
    fn patterns_that_grow_without_end_are_refused() {
        let many: Vec<(String, String)> =
            (0..31).map(|n| (format!("P{n}"), format!("%{{P{0}}}%{{P{0}}}", n + 1))).collect();
        let mut list: BTreeMap<String, String> = many.into_iter().collect();
        list.insert("P31".to_owned(), "x".to_owned());
        let error = Grok::new("%{P0:a}", &list, &BTreeMap::new()).unwrap_err();
        assert!(matches!(error, Error::Length(_)), "{error}");
        let deep: BTreeMap<String, String> = (0..40).map(|n| (format!("P{n}"), format!("%{{P{}}}", n + 1))).collect();
        assert!(matches!(Grok::new("%{P0:a}", &deep, &BTreeMap::new()), Err(Error::Depth(_))));
    }

    #[test]
    fn addresses_and_times_are_not_found_in_each_other() {
        assert_eq!(run("%{IP:ip}", "at 12:30:45 from 10.0.0.1"), Ok(json!({"ip": "10.0.0.1"})));
        for ip in [
            "::1",
            "::",
            "2001:db8::7",
            "2001:db8:1:2:3:4:5:8",
            "::ffff:10.0.0.1",
            "fe80::1%eth0",
            "1:2:3:4:5:6:10.0.0.1",
        ] {
            assert_eq!(run("^%{IP:ip}$", ip), Ok(json!({"ip": ip})));
        }
        for none in ["1:2:3", "256.1.1.1", "1.2.3", "2001:db8"] {
            assert!(run("^%{IP:ip}$", none).is_err(), "{none}");
        }
        assert_eq!(
            run("%{TIMESTAMP_ISO8601:t} ", "x 2020-10-02T23:22:12.223222Z y"),
            Ok(json!({"t": "2020-10-02T23:22:12.223222Z"}))
        );
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_line_is_a_panic(pattern in r"(%\{|\}|\(|\)|\[|\]|\?|:|<|>|\\|[a-z]|WORD|INT|\+|\{|,|3|\^|\||P){0,12}", line in any::<String>()) {
            if let Ok(grok) = grok(&pattern, &[]) {
                _ = parsed(&line, |line, event| grok.parse(line, event));
            }
        }

        #[test]
        fn no_line_is_a_panic_and_every_event_is_json(line in any::<String>()) {
            for pattern in ["%{WORD:a} %{NOTSPACE:b}", "(?<a>.)%{GREEDYDATA:b:int}"] {
                _ = run(pattern, &line);
            }
        }
    }
}
