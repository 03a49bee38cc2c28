//! What of a configuration is not honoured, in words for whoever wrote it.

use std::fmt;

use super::classic::{Entry, Place, Section};

/// How many notes of what loses no event are kept; more tell nobody anything. Of the others there are as many as sections and includes.
const MAX_NOTES: usize = 200;
/// How much of a value is shown; enough for a name that can be recognized by its beginning.
const SHOWN_CHARS: usize = 100;
/// What the key of a secret has in it.
const SECRET: [&str; 6] = ["passw", "secret", "token", "shared_key", "api_key", "apikey"];

/// What it means that something is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nothing for the events: kinetail does it by other means, or does not need it.
    Moot,
    /// Events come out otherwise than from Fluent Bit, or the agent behaves otherwise.
    Differs,
    /// Events do not arrive where they would.
    Lost,
}

/// Something that is not honoured, or not as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What it means.
    pub weight: Weight,
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: usize,
    /// The section's name, without brackets; empty outside of one.
    pub section: String,
    /// The option's key; empty if it is about the whole section.
    pub key: String,
    /// Its value as it is written, before variables are put in, shortened; `***` if the key is one of a secret.
    pub value: String,
    /// What happens instead.
    pub instead: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}:", self.file, self.line)?;
        if !self.section.is_empty() {
            write!(f, " [{}]", self.section)?;
        }
        for word in [&self.key, &self.value] {
            if !word.is_empty() {
                write!(f, " {word}")?;
            }
        }
        write!(f, ": {}", self.instead)
    }
}

/// The notes of one configuration, while it is read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    unsaid: usize,
}

impl Notes {
    pub(super) fn done(self) -> (Vec<Note>, usize) {
        (self.notes, self.unsaid)
    }

    /// About an option that nobody misses.
    pub(super) fn moot(&mut self, section: &Section, entry: &Entry, instead: &str) {
        self.entry(section, entry, Weight::Moot, instead);
    }

    /// About an option without which something is different.
    pub(super) fn differs(&mut self, section: &Section, entry: &Entry, instead: &str) {
        self.entry(section, entry, Weight::Differs, instead);
    }

    /// About an option.
    pub(super) fn entry(&mut self, section: &Section, entry: &Entry, weight: Weight, instead: &str) {
        let key = entry.key.to_ascii_lowercase();
        let value = if SECRET.iter().any(|part| key.contains(part)) { "***" } else { &entry.value };
        self.at(&entry.place, weight, [&section.name, &entry.key, value], instead);
    }

    /// About a section as a whole; it is known by its plugin, if it has one.
    pub(super) fn section(&mut self, section: &Section, weight: Weight, instead: &str) {
        let plugin = section.plugin().unwrap_or_default();
        let key = if plugin.is_empty() { "" } else { "Name" };
        self.at(&section.place, weight, [&section.name, key, plugin], instead);
    }

    /// About a place; the words are a section, a key and a value.
    pub(super) fn at(&mut self, place: &Place, weight: Weight, words: [&str; 3], instead: &str) {
        if self.notes.len() >= MAX_NOTES && weight != Weight::Lost {
            self.unsaid += 1;
            return;
        }
        let [section, key, value] = words.map(shown);
        let (file, line) = (place.file.to_string(), place.line);
        self.notes.push(Note { weight, file, line, section, key, value, instead: instead.to_owned() });
    }
}

/// A word as it may be shown: on one line, not too long, no password of an address.
fn shown(word: &str) -> String {
    let word = if word.contains("://") { crate::config::mask_url(word) } else { word.to_owned() };
    let mut shown = String::new();
    for c in word.chars().take(SHOWN_CHARS) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    if word.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
