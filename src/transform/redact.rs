//! `redact`: secrets, wherever in an event they stand: in text, in nested JSON and JSON within text, written with escapes or without, in numbers, and
//! in names.
//!
//! What is percent-encoded, as in the query of a URL, is found too.
//!
//! Presets are found by code and expressions of their own (`redact/`), `patterns` are the user's, and `fields` are covered whatever they hold: a name
//! without a dot at any depth, one with dots by its whole path, both without regard to case. JSON that has nothing to hide stays as it is written.
//!
//! A private key whose lines are events of their own is covered from its first line to its last: so much is remembered of each file.

mod address;
mod card;
mod cover;
mod email;
mod glance;
mod view;
mod walk;
mod words;

use std::borrow::Cow;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::Context;
use super::glob::Glob;
use super::table::{Table, stable_hash};
use crate::event::{Event, Value};
pub use cover::With;
use view::View;
use words::Words;

/// How often text within text is unpacked: JSON in a string of JSON in a string of JSON, in which there is a URL with another one in it.
const MAX_VIEWS: usize = 5;

/// Bytes of a compiled expression.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Bytes of the shortest secret that can consist of letters alone.
const MIN_KEY_BYTES: usize = 16;

/// Files of which it is known whether they are in the middle of a private key.
const MAX_FILES: usize = 1024;

/// Lines of a private key. Those of the largest keys have some hundred.
const MAX_KEY_LINES: u32 = 1000;

/// What kinds of secrets are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Access keys of AWS, secret keys beside something that speaks of them, session tokens.
    AwsKeys,
    /// Bearer tokens, JSON web tokens, user and password of basic authentication, what follows `Authorization`.
    Bearer,
    /// Addresses of mail.
    Email,
    /// Numbers of payment cards.
    Card,
    /// Addresses of the Internet Protocol.
    Ip,
    /// Private keys in PEM.
    PrivateKey,
    /// Tokens that begin with what they are: of GitHub, GitLab, Slack, Stripe, Google, npm and others.
    Tokens,
    /// Passwords in URLs, after `password=` and its like, and in fields that are called so.
    Passwords,
}

impl Preset {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 8] = [
        ("aws_keys", Self::AwsKeys),
        ("bearer", Self::Bearer),
        ("email", Self::Email),
        ("card", Self::Card),
        ("ip", Self::Ip),
        ("private_key", Self::PrivateKey),
        ("tokens", Self::Tokens),
        ("passwords", Self::Passwords),
    ];
}

/// Secrets, and what stands in their place.
#[derive(Debug, Clone)]
pub struct Redact {
    presets: Vec<Preset>,
    words: Words,
    patterns: Vec<Regex>,
    fields: Vec<Glob>,
    with: With,
}

impl PartialEq for Redact {
    fn eq(&self, other: &Self) -> bool {
        let texts = |redact: &Self| redact.patterns.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
        let same = (&self.presets, &self.fields, &self.with) == (&other.presets, &other.fields, &other.with);
        same && texts(self) == texts(other)
    }
}

/// A pattern that is none, by its number, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {index} is not a regular expression: {why}")]
pub struct PatternError {
    /// Its number, from 0.
    pub index: usize,
    /// Why, in one line.
    pub why: String,
}

/// A secret that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// Where it is.
    range: Range<usize>,
    preset: Option<Preset>,
    /// What it says, without escapes.
    secret: String,
}

/// The files that are in the middle of a private key, and how many lines of it there were.
#[derive(Debug, Clone)]
pub(super) struct OpenKeys {
    files: Table<OpenKey>,
    /// How many of them are open.
    open: usize,
}

/// A private key that has begun.
#[derive(Debug, Clone, Copy, Default)]
struct OpenKey {
    /// Its lines so far; none if there is no key.
    lines: u32,
    /// The name of the field that they stand in, hashed.
    field: u64,
}

impl Redact {
    /// Covers what presets and patterns find, and fields by their names.
    pub fn new(presets: &[Preset], patterns: &[String], fields: Vec<Glob>, with: With) -> Result<Self, PatternError> {
        let mut compiled = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let regex = RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
            compiled.push(regex.map_err(|error| {
                let lines = error.to_string();
                let said: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                PatternError { index, why: said.join(" | ") }
            })?);
        }
        Ok(Self { presets: presets.to_vec(), words: Words::new(presets), patterns: compiled, fields, with })
    }

    #[expect(clippy::unused_self, reason = "each transform makes its state")]
    pub(super) fn open_keys(&self) -> OpenKeys {
        OpenKeys { files: Table::new(MAX_FILES), open: 0 }
    }

    /// The same for lines that come by again.
    pub(super) fn provisional(&self) -> Self {
        Self { with: self.with.provisional(), ..self.clone() }
    }

    fn has(&self, preset: Preset) -> bool {
        self.presets.contains(&preset)
    }

    /// Covers all secrets of an event, and answers whether there was one.
    pub(super) fn apply(
        &self,
        (keys, scratch): (&mut OpenKeys, &mut String),
        event: &mut Event<'_>,
        at: &Context<'_>,
    ) -> bool {
        if keys.open == 0 && glance::finds_nothing(self, event, scratch) {
            return false;
        }
        let mut is_changed = false;
        if !self.fields.is_empty() {
            is_changed |= self.cover_fields(event);
        }
        if self.has(Preset::PrivateKey) {
            is_changed |= self.follow_keys(keys, event, at);
        }
        for (name, value) in event.fields_mut() {
            if let Some(covered) = self.value(name, value) {
                *value = covered;
                is_changed = true;
            }
            if self.could_be_secret(name)
                && let Some(covered) = self.text(name, "", false)
            {
                *name = Cow::Owned(covered);
                is_changed = true;
            }
        }
        is_changed
    }

    /// Fields at the top whose names say it.
    fn cover_fields(&self, event: &mut Event<'_>) -> bool {
        let is_named = |name: &str| self.fields.iter().any(|glob| glob.matches(name));
        if self.with.removes_fields() {
            let before = event.len();
            event.fields_mut().retain(|(name, _)| !is_named(name));
            return event.len() < before;
        }
        let mut is_changed = false;
        for (_, value) in event.fields_mut().iter_mut().filter(|(name, _)| is_named(name)) {
            let mut covered = String::new();
            self.with.write(None, &value.as_str(), &mut covered);
            *value = Value::Text(Cow::Owned(covered));
            is_changed = true;
        }
        is_changed
    }

    /// What stands in a value's place, if there is anything to hide.
    fn value<'a>(&self, name: &str, value: &Value<'_>) -> Option<Value<'a>> {
        match value {
            Value::Text(text) => self.text(text, name, false).map(|text| Value::Text(Cow::Owned(text))),
            Value::Raw(json) => walk::json(self, name, json).map(Value::Json),
            Value::Json(json) => walk::json(self, name, json).map(Value::Json),
            Value::Number(n) if *n < 1_000_000_000_000 && !self.by_name(name) => None,
            Value::Number(n) => walk::json(self, name, &n.to_string()).map(Value::Json),
            Value::Bool(_) => None,
        }
    }

    /// Whether numbers are looked at for their names too.
    fn by_name(&self, name: &str) -> bool {
        self.words.by_name(name, "0").is_some() || !self.patterns.is_empty()
    }

    /// Whether a name can be more than a name: a word is no secret, unless it is as long as the shortest key.
    fn could_be_secret(&self, name: &str) -> bool {
        let has_letters = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.');
        let is_word = name.len() < 6 || (name.len() < MIN_KEY_BYTES && name.bytes().all(has_letters));
        !is_word || !self.patterns.is_empty()
    }

    /// A text, or what stands between the quotes of JSON's, with all secrets covered; nothing if there is none.
    fn text(&self, text: &str, name: &str, is_json: bool) -> Option<String> {
        let mut found = Vec::new();
        let has_escapes = memchr::memchr(b'\\', text.as_bytes()).is_some();
        if !is_json || !has_escapes {
            self.find(text, name, &mut |one| found.push(one));
        }
        if has_escapes || view::has_percent(text) {
            self.find_in_views(text, name, &mut found);
        }
        if found.is_empty() { None } else { Some(self.covered(text, found)) }
    }

    fn find_in_views(&self, text: &str, name: &str, found: &mut Vec<Found>) {
        let mut views: Vec<View> = Vec::new();
        while views.len() < MAX_VIEWS {
            let source = views.last().map_or(text, |view| view.text.as_str());
            let Some(view) = View::next(source) else { return };
            views.push(view);
            let Some(view) = views.last() else { return };
            // The name is that of the outermost text.
            let name = if views.len() == 1 { name } else { "" };
            self.find(&view.text, name, &mut |one| {
                let range = views.iter().rev().fold(one.range.clone(), |range, view| view.source(&range));
                found.push(Found { range, ..one });
            });
        }
    }

    /// Says what secrets a text has.
    fn find(&self, text: &str, name: &str, found: &mut impl FnMut(Found)) {
        let mut one = |preset: Option<Preset>, range: Range<usize>| {
            let range = around_escapes(text, range);
            let secret = text.get(range.clone()).unwrap_or_default();
            let is_covered = self.with.is_covered(text.get(range.start..).unwrap_or_default(), secret);
            if !secret.is_empty() && !is_covered {
                found(Found { secret: secret.to_owned(), range, preset });
            }
        };
        self.words.find(text, &mut |preset, range| one(Some(preset), range));
        if let Some((preset, range)) = self.words.by_name(name, text) {
            one(Some(preset), range);
        }
        if text.len() >= 3 {
            for preset in &self.presets {
                match preset {
                    Preset::Email => email::find(text, &mut |range| one(Some(Preset::Email), range)),
                    Preset::Card => card::find(text, &mut |range| one(Some(Preset::Card), range)),
                    Preset::Ip => address::find(text, &mut |range| one(Some(Preset::Ip), range)),
                    _ => {}
                }
            }
        }
        if self.with.is_nothing() {
            text.match_indices(With::REMOVED).for_each(|(at, sign)| one(None, at..at + sign.len()));
        }
        for pattern in &self.patterns {
            pattern.find_iter(text).for_each(|found| one(None, found.range()));
        }
    }

    /// The text with what was found covered. What touches is covered as one, so that a text does not grow by more than a mask for two characters.
    fn covered(&self, text: &str, mut found: Vec<Found>) -> String {
        found.sort_by_key(|one| (one.range.start, one.range.end));
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        let mut found = found.into_iter().peekable();
        while let Some(mut one) = found.next() {
            while let Some(next) = found.next_if(|next| next.range.start <= one.range.end) {
                let end = one.range.end.max(next.range.end);
                if next.range.len() > one.range.len() {
                    (one.preset, one.secret) = (next.preset, next.secret);
                }
                one.range.end = end;
            }
            out.push_str(text.get(copied..one.range.start).unwrap_or_default());
            self.with.write(one.preset, &one.secret, &mut out);
            copied = one.range.end;
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        out
    }

    /// Covers the lines of a private key that are events of their own, in the field in which it began.
    fn follow_keys(&self, keys: &mut OpenKeys, event: &mut Event<'_>, at: &Context<'_>) -> bool {
        let begun =
            event.fields().iter().find(|(_, value)| begins_key(value)).map(|(name, _)| stable_hash(name.as_bytes()));
        if keys.open == 0 && begun.is_none() {
            return false;
        }
        let (key, evicted) = keys.files.entry(stable_hash(at.path.as_bytes()), OpenKey::default);
        keys.open -= usize::from(evicted.is_some_and(|key| key.lines > 0));
        let was_open = key.lines > 0;
        let (mut is_changed, mut is_open) = (false, false);
        let is_its = |name: &str| was_open && stable_hash(name.as_bytes()) == key.field;
        for (_, value) in event.fields_mut().iter_mut().filter(|(name, _)| is_its(name)) {
            let Some(line) = value.string().filter(|text| is_of_key(text)) else { continue };
            is_open |= !line.contains("-END") && key.lines < MAX_KEY_LINES;
            let mut covered = String::new();
            self.with.write(Some(Preset::PrivateKey), &line, &mut covered);
            *value = Value::Text(Cow::Owned(covered));
            is_changed = true;
        }
        *key = match begun {
            Some(field) => OpenKey { lines: 1, field },
            None if is_open => OpenKey { lines: key.lines + 1, ..*key },
            None => OpenKey::default(),
        };
        keys.open = (keys.open + usize::from(key.lines > 0)).saturating_sub(usize::from(was_open));
        is_changed
    }
}

/// Whether a private key begins in a text and does not end there.
fn begins_key(value: &Value<'_>) -> bool {
    let text = match value {
        Value::Text(text) => text,
        Value::Raw(json) => *json,
        Value::Json(json) => json,
        Value::Number(_) | Value::Bool(_) => return false,
    };
    let begins = |at: usize| text.get(at..).is_some_and(|rest| !rest.contains("-END") && !rest.contains("- END"));
    text.len() > 20 && text.contains("PRIVATE KEY") && text.rfind("BEGIN ").is_some_and(begins)
}

/// Whether a line can be one of a private key: base64, a header, or its end.
fn is_of_key(line: &str) -> bool {
    let line = line.trim();
    line.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
        || ["Proc-Type:", "DEK-Info:", "Comment:"].iter().any(|header| line.starts_with(header))
        || line.contains("-END") && line.contains("PRIVATE KEY")
}

/// A range that cuts no escape in two: not between a backslash and what it is for.
fn around_escapes(text: &str, range: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let is_odd = |end: usize| bytes[..end].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1;
    let start = if is_odd(range.start) { range.start - 1 } else { range.start };
    let end = if range.end < bytes.len() && is_odd(range.end) { range.end - 1 } else { range.end };
    start..end.max(start)
}

#[cfg(test)]
mod tests;
