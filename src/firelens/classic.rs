//! Fluent Bit's classic format: a text and what it includes to sections of keys and values, and variables. What they mean is not its business.
//!
//! ```text
//! @SET name=value
//! @INCLUDE other.conf
//! [OUTPUT]
//!     Name   kinesis_streams
//!     # a comment has a line of its own
//!     stream ${STREAM}
//! ```
//!
//! Fluent Bit refuses to start for a line that is not indented as the one before; here all blanks are alike, and what cannot be read is noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::note::Notes;
use super::{Error, Included, MAX_BYTES, MAX_SECTIONS, Weight};

/// How deep files may include each other. `FireLens`' own includes one file, and people's seldom more than another.
const MAX_DEPTH: usize = 8;
/// How many times files are included, and how many are read at all.
pub(super) const MAX_FILES: usize = 64;
/// The sections that Fluent Bit knows. Another name that is indented is that of a group within a section.
const KNOWN: [&str; 10] = [
    "SERVICE",
    "INPUT",
    "FILTER",
    "OUTPUT",
    "CUSTOM",
    "PARSER",
    "MULTILINE_PARSER",
    "STREAM_TASK",
    "PLUGINS",
    "UPSTREAM",
];

/// A line of a file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
}

/// A key and its value, as it is written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) place: Place,
}

/// A section; its name is in capitals.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) entries: Vec<Entry>,
}

impl Section {
    /// The plugin that it is for, as it is written.
    pub(super) fn plugin(&self) -> Option<&str> {
        let name = self.entries.iter().rfind(|entry| entry.key.eq_ignore_ascii_case("name"));
        name.map(|entry| entry.value.as_str())
    }
}

/// All sections, with the values of the variables in them.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) sections: Vec<Section>,
    variables: BTreeMap<String, String>,
    /// Variables of the environment that the text names.
    environment: BTreeMap<String, String>,
}

impl Document {
    /// A value with its variables put in; those that are not set are nothing.
    pub(super) fn resolve(&self, value: &str) -> String {
        let mut out = String::new();
        let mut rest = value;
        while let Some((before, name, after)) = variable(rest) {
            out.push_str(before);
            let value = self.variables.get(name).or_else(|| self.environment.get(name));
            out.push_str(value.map(String::as_str).unwrap_or_default());
            rest = after;
        }
        out.push_str(rest);
        out.trim().to_owned()
    }

    /// Takes the variables that values name from the environment. What is set by `@SET` wins, wherever it stands.
    fn look_up(&mut self, env: impl Fn(&str) -> Option<String>, notes: &mut Notes) {
        for section in &self.sections {
            for entry in &section.entries {
                let mut rest = entry.value.as_str();
                while let Some((_, name, after)) = variable(rest) {
                    rest = after;
                    if self.variables.contains_key(name) || self.environment.contains_key(name) {
                        continue;
                    }
                    if let Some(value) = env(name) {
                        self.environment.insert(name.to_owned(), value);
                    } else {
                        notes.differs(
                            section,
                            entry,
                            &format!("the variable {name} is not set, and stands for nothing here"),
                        );
                    }
                }
            }
        }
    }
}

/// The first `${name}` of a text: what is before it, the name, what is after it.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("${")?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name.trim(), after))
}

/// Reads a text and what it includes.
pub(super) fn read(
    file: &str,
    text: &str,
    include: impl FnMut(&str) -> Included,
    env: impl Fn(&str) -> Option<String>,
    notes: &mut Notes,
) -> Result<Document, Error> {
    let mut reader = Reader { include, document: Document::default(), files: Vec::new(), asked: 0, bytes: 0, notes };
    reader.file(file, text, 0)?;
    let Reader { mut document, .. } = reader;
    document.look_up(env, notes);
    Ok(document)
}

struct Reader<'a, F> {
    include: F,
    document: Document,
    /// The names of the files that were read.
    files: Vec<String>,
    /// How often something was included.
    asked: usize,
    bytes: usize,
    notes: &'a mut Notes,
}

/// Where a line's key and value belong to.
#[derive(Debug, Clone, Copy)]
enum Within {
    Nothing,
    /// The section of this number.
    Section(usize),
    /// A group in a section; nothing of kinetail's has any.
    Group,
}

impl<F: FnMut(&str) -> Included> Reader<'_, F> {
    /// A file has its own sections: the one that is open where it is included goes on after it.
    fn file(&mut self, name: &str, text: &str, depth: usize) -> Result<(), Error> {
        self.files.push(name.to_owned());
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_BYTES {
            return Err(Error::TooLong { file: name.to_owned() });
        }
        let file: Arc<str> = name.into();
        let mut within = Within::Nothing;
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let place = Place { file: file.clone(), line: at + 1 };
            let words = line.trim();
            match words.chars().next() {
                None | Some('#') => {}
                Some('@') => self.command(words, &place, depth)?,
                Some('[') => within = self.header(words, line.starts_with('['), within, place)?,
                Some(_) => self.entry(words, within, place),
            }
        }
        Ok(())
    }

    fn command(&mut self, words: &str, place: &Place, depth: usize) -> Result<(), Error> {
        let (command, argument) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
        let argument = argument.trim();
        match command.to_ascii_uppercase().as_str() {
            "@INCLUDE" => self.include(argument, place, depth),
            "@SET" => {
                match argument.split_once('=') {
                    Some((name, value)) => {
                        self.document.variables.insert(name.trim().to_owned(), value.trim().to_owned());
                    }
                    None => self.notes.at(
                        place,
                        Weight::Differs,
                        ["", command, argument],
                        "it sets nothing; write name=value",
                    ),
                }
                Ok(())
            }
            _ => {
                self.notes.at(
                    place,
                    Weight::Differs,
                    ["", command, argument],
                    "kinetail knows no such command; nothing is done by it",
                );
                Ok(())
            }
        }
    }

    fn include(&mut self, wanted: &str, place: &Place, depth: usize) -> Result<(), Error> {
        self.asked += 1;
        let found = if self.asked > MAX_FILES {
            // Said once, since a loop would say it without end.
            if self.asked > MAX_FILES + 1 {
                return Ok(());
            }
            Err(format!("more than {MAX_FILES} files are included; from here on none is"))
        } else if depth >= MAX_DEPTH {
            Err(format!("files include each other more than {MAX_DEPTH} levels deep"))
        } else {
            (self.include)(wanted)
        };
        let words = ["", "@INCLUDE", wanted];
        let files = found.unwrap_or_else(|why| {
            self.notes.at(place, Weight::Lost, words, &format!("not read, and what it says is not done: {why}"));
            Vec::new()
        });
        for (name, text) in files {
            if self.files.contains(&name) {
                self.notes.at(place, Weight::Differs, words, &format!("{name} was read before, and is not read again"));
            } else if self.files.len() >= MAX_FILES {
                let why = format!("{name} is not read, and what it says is not done: more than {MAX_FILES} files");
                self.notes.at(place, Weight::Lost, words, &why);
                return Ok(());
            } else {
                self.file(&name, &text, depth + 1)?;
            }
        }
        Ok(())
    }

    fn header(&mut self, words: &str, at_margin: bool, within: Within, place: Place) -> Result<Within, Error> {
        let Some((name, _)) = words.trim_start_matches('[').split_once(']') else {
            self.notes.at(
                &place,
                Weight::Differs,
                ["", words, ""],
                "the bracket is not closed, and what follows belongs to nothing",
            );
            return Ok(Within::Nothing);
        };
        let name = name.trim().to_ascii_uppercase();
        if !at_margin && !KNOWN.contains(&name.as_str()) && !matches!(within, Within::Nothing) {
            self.notes.at(
                &place,
                Weight::Differs,
                ["", words, ""],
                "groups within sections are nothing that kinetail uses; it is left out",
            );
            return Ok(Within::Group);
        }
        if self.document.sections.len() >= MAX_SECTIONS {
            return Err(Error::TooManySections { file: place.file.to_string(), line: place.line });
        }
        self.document.sections.push(Section { name, place, entries: Vec::new() });
        Ok(Within::Section(self.document.sections.len() - 1))
    }

    fn entry(&mut self, words: &str, within: Within, place: Place) {
        let (key, value) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
        let value = value.trim();
        let section = match within {
            Within::Group => return,
            Within::Nothing => None,
            Within::Section(at) => self.document.sections.get_mut(at),
        };
        let Some(section) = section else {
            self.notes.at(&place, Weight::Differs, ["", key, ""], "it belongs to no section, and is left out");
            return;
        };
        let entry = Entry { key: key.to_owned(), value: value.to_owned(), place };
        if value.is_empty() {
            self.notes.differs(section, &entry, "it has no value, and is left out");
            return;
        }
        section.entries.push(entry);
    }
}
