//! Sections of filters: the fields that `FireLens` adds, and the patterns that tasks keep or drop events by.

use regex::{Regex, RegexBuilder};

use super::Plan;
use super::classic::{Document, Entry, Section};
use super::note::{Notes, Weight};
use super::output::pattern;
use super::tag::Pattern;

/// What a pattern may take when it is made ready, so that none of a few characters takes all memory.
const MAX_REGEX_BYTES: usize = 1024 * 1024;

/// A field that events get.
#[derive(Debug, Clone)]
pub struct Record {
    /// Of which events.
    pub pattern: Pattern,
    /// Its name, at the top of the event; dots in it are dots.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Patterns of one section, by which events are kept.
#[derive(Debug, Clone)]
pub struct Grep {
    /// Of which events.
    pub pattern: Pattern,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    field: String,
    regex: Regex,
    /// Whether what matches is kept, and not dropped.
    keep: bool,
}

impl Grep {
    /// Whether an event is kept, by the text of its fields. An event without the field matches nothing. As Fluent Bit has it, the first rule
    /// that keeps is the last that is asked.
    pub fn keeps<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        for rule in &self.rules {
            let matches = field(&rule.field).is_some_and(|text| rule.regex.is_match(text));
            if matches || rule.keep {
                return matches && rule.keep;
            }
        }
        true
    }
}

/// Adds what a section says.
pub(super) fn add(plan: &mut Plan, section: &Section, document: &Document, notes: &mut Notes) {
    let plugin = document.resolve(section.plugin().unwrap_or_default()).to_ascii_lowercase();
    if !matches!(plugin.as_str(), "record_modifier" | "grep") {
        notes.section(section, Weight::Differs, "kinetail has no such filter by this file; events pass as they are");
        return;
    }
    let Some(pattern) = pattern(section, document, notes, Weight::Differs) else { return };
    if plugin == "grep" {
        // All of its rules or none: a part of them would keep and drop other events than the whole.
        if let Some(rules) = rules(section, document, notes).filter(|rules| !rules.is_empty()) {
            plan.greps.push(Grep { pattern, rules });
        }
        return;
    }
    for entry in &section.entries {
        match entry.key.to_ascii_lowercase().as_str() {
            "name" | "match" | "match_regex" => {}
            "record" => match record(&document.resolve(&entry.value)) {
                Some((name, value)) => plan.records.push(Record { pattern: pattern.clone(), name, value }),
                None => notes.differs(section, entry, "it is no name and value, and adds nothing"),
            },
            "remove_key" | "allowlist_key" | "whitelist_key" => {
                notes.differs(section, entry, "fields are not taken away; events keep them");
            }
            _ => notes.differs(section, entry, "kinetail knows no such option; nothing is done by it"),
        }
    }
}

/// A name and a value, which may be in quotes if it has blanks.
fn record(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(char::is_whitespace)?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Some((name.to_owned(), quoted.unwrap_or(value).to_owned()))
}

/// The rules of a section, if all of them can be honoured.
fn rules(section: &Section, document: &Document, notes: &mut Notes) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut honoured = true;
    for entry in &section.entries {
        let made = match entry.key.to_ascii_lowercase().as_str() {
            "name" | "match" | "match_regex" => continue,
            "regex" => rule(entry, document, true),
            "exclude" => rule(entry, document, false),
            "logical_op" if entry.value.eq_ignore_ascii_case("legacy") => continue,
            _ => Err("kinetail knows no such option".to_owned()),
        };
        match made {
            Ok(rule) => rules.push(rule),
            Err(why) => {
                honoured = false;
                notes.differs(section, entry, &format!("the filter is left out, and all events pass: {why}"));
            }
        }
    }
    honoured.then_some(rules)
}

fn rule(entry: &Entry, document: &Document, keep: bool) -> Result<Rule, String> {
    let text = document.resolve(&entry.value);
    let (field, pattern) = text.split_once(char::is_whitespace).ok_or("it is no field and pattern")?;
    let field = field.strip_prefix('$').unwrap_or(field);
    if field.contains(['[', ']', '$']) {
        return Err("only fields at the top of an event can be looked at".to_owned());
    }
    Ok(Rule { field: field.to_owned(), regex: regex(pattern.trim())?, keep })
}

/// A pattern in Ruby's way of writing, as Fluent Bit takes it: maybe between slashes, with options; `^` and `$` are those of lines.
fn regex(pattern: &str) -> Result<Regex, String> {
    let within = pattern.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    let within = within.filter(|(_, options)| options.chars().all(|option| "imxo".contains(option)));
    let (pattern, options) = within.unwrap_or((pattern, ""));
    RegexBuilder::new(pattern)
        .multi_line(true)
        .case_insensitive(options.contains('i'))
        .dot_matches_new_line(options.contains('m'))
        .ignore_whitespace(options.contains('x'))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|error| last_line(&error.to_string()))
}

/// What is wrong with a pattern, without the drawing of it.
fn last_line(error: &str) -> String {
    error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// A pattern of tags.
pub(super) fn tags(pattern: &str) -> Result<Regex, String> {
    regex(pattern)
}
