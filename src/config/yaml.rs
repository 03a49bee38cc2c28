//! YAML text into a tree, with everything that is wrong with the text. Not the settings: any mapping passes.
//!
//! The subset is what JSON can say, in YAML's clothes: no anchors, aliases, merge keys, tags or second document. Each of
//! those makes a configuration say something else than it seems to, and none of them is needed here.

use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::Number;

use super::Document;
use super::problem::{Place, Problem, Problems};
use super::tree::{Entry, Kind, Node};

/// Levels of lists and mappings; the settings need five, and the values of `add.fields` a few more.
const MAX_DEPTH: usize = 32;

/// Bytes of a document. The largest sensible one is a few KiB, so more is a wrong file, such as a log.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 1024 * 1024;

/// The document's root, if its text is YAML; what is wrong with it is added to the problems.
pub(super) fn parse(document: &Document, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut builder = Builder::new(document);
    let outcome = builder.read(&document.text);
    let root = match outcome {
        Ok(()) => builder.finish(),
        Err(fatal) => {
            builder.problems.push(fatal);
            None
        }
    };
    problems.append(&mut builder.problems);
    root
}

/// A document as plain data, whatever it is about: of settings that are not the agent's own.
///
/// # Errors
///
/// What is wrong with the text.
pub fn value(document: &Document) -> Result<serde_json::Value, Problems> {
    let mut builder = Builder::new(document);
    if let Err(fatal) = builder.read(&document.text) {
        builder.problems.push(fatal);
    }
    if !builder.problems.is_empty() {
        return Err(Problems::new(builder.problems));
    }
    Ok(builder.root.and_then(|root| root.to_json()).unwrap_or_default())
}

/// A list or mapping whose end is not yet read.
enum Open {
    List(Place, Vec<Node>),
    /// With the key whose value comes next; no name if it was refused, and its value with it.
    Map(Place, Vec<Entry>, Option<(Option<String>, Place)>),
}

struct Builder {
    name: Arc<str>,
    lines: Vec<String>,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn new(document: &Document) -> Self {
        Self {
            name: document.name.as_str().into(),
            lines: document.text.lines().map(str::to_owned).collect(),
            open: Vec::new(),
            root: None,
            documents: 0,
            problems: Vec::new(),
        }
    }

    fn place(&self, line: usize) -> Place {
        Place::Line { document: Arc::clone(&self.name), line }
    }

    fn problem(&self, line: usize, message: impl Into<String>) -> Problem {
        Problem { place: self.place(line), field: String::new(), message: message.into() }
    }

    /// Reads to the end, or to the first error after which the rest of the text means nothing.
    fn read(&mut self, text: &str) -> Result<(), Problem> {
        let mut parser = Parser::new_from_str(text);
        while let Some(next) = parser.next_event() {
            let (event, span) = next.map_err(|error| self.syntax(&error))?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn syntax(&self, error: &ScanError) -> Problem {
        let line = error.marker().line();
        // The scanner reports some tabs as such, at the token before; and others as something else, at the token after.
        let last = if error.info().contains("tab") { self.lines.len() } else { line };
        let tab = (line.saturating_sub(1)..=last).find(|&line| self.is_indented_by_tab(line));
        match tab {
            Some(line) => self.problem(line, "is indented with a tab; YAML allows spaces only"),
            None => self.problem(line, format!("is not valid YAML: {}", error.info())),
        }
    }

    fn is_indented_by_tab(&self, line: usize) -> bool {
        let Some(text) = line.checked_sub(1).and_then(|index| self.lines.get(index)) else { return false };
        text.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let line = span.start.line();
        let place = self.place(line);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.problem(line, "a second document starts here; write one document a file"));
                }
            }
            Event::Alias(_) => {
                self.problems.push(self.problem(line, "aliases (*name) are not supported; write the value out"));
                self.insert(Node { place, kind: Kind::Bad }, None);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(line, anchor, tag.is_some());
                let kind = if style == ScalarStyle::Plain { plain(&text) } else { Kind::Text(text.to_string()) };
                self.insert(Node { place, kind }, Some(&text));
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(line, anchor, tag.is_some());
                self.open(Open::List(place, Vec::new()), line)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(line, anchor, tag.is_some());
                self.open(Open::Map(place, Vec::new(), None), line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(place, items)) => self.insert(Node { place, kind: Kind::List(items) }, None),
                Some(Open::Map(place, entries, _)) => self.insert(Node { place, kind: Kind::Map(entries) }, None),
                None => {}
            },
        }
        Ok(())
    }

    fn refuse_extras(&mut self, line: usize, anchor: usize, tagged: bool) {
        if anchor > 0 {
            self.problems.push(self.problem(line, "anchors (&name) are not supported; write the value out"));
        }
        if tagged {
            self.problems.push(self.problem(line, "tags (!name) are not supported; quote a value to make it text"));
        }
    }

    fn open(&mut self, open: Open, line: usize) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(self.problem(line, format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a finished node where the document is at: a list's next item, a mapping's next key or value, or the root.
    fn insert(&mut self, node: Node, written: Option<&str>) {
        if matches!(self.open.last(), Some(Open::Map(_, _, None))) {
            let key = self.key(&node, written);
            if let Some(Open::Map(_, _, pending)) = self.open.last_mut() {
                *pending = Some((key, node.place));
            }
            return;
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending)) => {
                if let Some((Some(key), place)) = pending.take() {
                    entries.push(Entry { key, place, value: node });
                }
            }
        }
    }

    /// A key as it was written: `on` and `1` are names here, not values.
    fn key(&mut self, node: &Node, written: Option<&str>) -> Option<String> {
        let Place::Line { line, .. } = node.place else { return None };
        let message = match written {
            Some("<<") => "merge keys (<<) are not supported; write the fields out",
            Some(text) => return Some(text.to_owned()),
            None if node.kind == Kind::Bad => return None,
            None => "a list or mapping is used as a key; keys are text",
        };
        self.problems.push(self.problem(line, message));
        None
    }

    fn finish(&mut self) -> Option<Node> {
        match self.root.take() {
            Some(root) if matches!(root.kind, Kind::Map(_)) => Some(root),
            Some(Node { kind: Kind::Bad, .. }) => None,
            Some(Node { kind: Kind::Null, .. }) | None => {
                self.problems.push(self.problem(1, "the document is empty; write settings into it, or leave it out"));
                None
            }
            Some(other) => {
                let Place::Line { line, .. } = other.place else { return None };
                let message =
                    format!("is {}; a mapping of settings is needed, such as \"kinesis:\"", other.kind_name());
                self.problems.push(self.problem(line, message));
                None
            }
        }
    }
}

/// What an unquoted scalar is, by YAML 1.2's core schema: `yes` and `on` are text.
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    match number(text) {
        Some(number) => Kind::Number(number),
        // `.inf` and `.nan` are text, since JSON has no such numbers.
        None => Kind::Text(text.to_owned()),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(value) = text.parse::<u64>() {
        return Some(value.into());
    }
    if let Ok(value) = text.parse::<i64>() {
        return Some(value.into());
    }
    let radix = |digits: &str, radix| {
        let is_plain = digits.chars().all(|c| c.is_ascii_hexdigit());
        is_plain.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Number::from)
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    // Rust's parser takes `inf`, `nan` and `infinity` too, which are names here.
    let is_number = text.chars().any(|c| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'));
    is_number.then(|| text.parse::<f64>().ok()).flatten().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_yaml_1_2_says() {
        for (text, json) in [
            ("~", "null"),
            ("yes", r#""yes""#),
            ("off", r#""off""#),
            ("True", "true"),
            ("12", "12"),
            ("+12", "12"),
            ("-12", "-12"),
            ("++12", r#""++12""#),
            ("0x10", "16"),
            ("0o10", "8"),
            ("0x+1", r#""0x+1""#),
            ("010", "10"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.5", "1.5"),
            ("1e3", "1000.0"),
            (".inf", r#"".inf""#),
            ("inf", r#""inf""#),
            ("8MiB", r#""8MiB""#),
            ("0.0.0.0:9464", r#""0.0.0.0:9464""#),
        ] {
            let node = Node { place: Place::Unset, kind: plain(text) };
            assert_eq!(node.to_json().unwrap().to_string(), json, "{text}");
        }
    }
}
