//! Covering what is hidden in JSON: every string, number and name of it, and members by their names. What has nothing to hide is copied as it is.

use std::ops::Range;

use super::{Preset, Redact};
use crate::transform::json::{self, Member};

/// How deep secrets are looked for. What parsers let through is not deeper; what is deeper all the same is covered as a whole.
const MAX_DEPTH: usize = 128;

/// The JSON with all secrets covered; nothing if there is none.
pub(super) fn json(redact: &Redact, name: &str, json: &str) -> Option<String> {
    let mut walk = Walk { redact, json, out: String::new(), copied: 0, is_changed: false, path: name.to_owned() };
    if redact.fields.is_empty() {
        walk.path.clear();
    }
    walk.value(name, 0..json.len(), 0);
    if !walk.is_changed {
        return None;
    }
    walk.out.push_str(json.get(walk.copied..).unwrap_or_default());
    Some(walk.out)
}

struct Walk<'w> {
    redact: &'w Redact,
    json: &'w str,
    out: String,
    /// How much of the JSON is in the output, or left out of it.
    copied: usize,
    is_changed: bool,
    /// Where it is, if anybody asks.
    path: String,
}

impl Walk<'_> {
    /// Puts something else in a place.
    fn put(&mut self, place: Range<usize>, text: &str) {
        self.out.push_str(self.json.get(self.copied..place.start.max(self.copied)).unwrap_or_default());
        self.out.push_str(text);
        self.copied = place.end.max(self.copied);
        self.is_changed = true;
    }

    fn value(&mut self, name: &str, place: Range<usize>, depth: usize) {
        let Some(whole) = self.json.get(place.clone()) else { return };
        let value = whole.trim_ascii_start();
        let start = place.end - value.len();
        match value.as_bytes().first() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => self.cover(start..place.end),
            Some(b'{') => self.object(start..place.end, depth),
            Some(b'[') => {
                // Elements are what the array is called.
                for element in json::elements(value) {
                    let at = start + (element.as_ptr().addr() - value.as_ptr().addr());
                    self.value(name, at..at + element.len(), depth + 1);
                }
            }
            Some(b'"') => {
                let end = start + value.trim_ascii_end().len();
                self.string(name, start + 1..end.saturating_sub(1).max(start + 1));
            }
            Some(b'-' | b'0'..=b'9') => {
                let text = value.trim_ascii_end();
                let is_long = text.len() >= 13;
                if (is_long || self.redact.by_name(name))
                    && let Some(covered) = self.redact.text(text, name, true)
                {
                    let mut quoted = String::new();
                    json::push_text(&covered, &mut quoted);
                    self.put(start..start + text.len(), &quoted);
                }
            }
            _ => {}
        }
    }

    /// What stands between quotes.
    fn string(&mut self, name: &str, inner: Range<usize>) {
        let Some(text) = self.json.get(inner.clone()) else { return };
        if let Some(covered) = self.redact.text(text, name, true) {
            self.put(inner, &covered);
        }
    }

    fn object(&mut self, place: Range<usize>, depth: usize) {
        let Some(object) = self.json.get(place.clone()) else { return };
        let mut members = json::members(object).peekable();
        let mut kept_to: Option<usize> = None;
        while let Some(member) = members.next() {
            let (start, end) = (place.start + member.start, place.start + member.end());
            let name = member.plain_name();
            let outer = self.path.len();
            let is_named = self.enter(&name);
            if is_named && self.redact.with.removes_fields() {
                let next = members.peek().map_or(end, |next| place.start + next.start);
                // With the comma before it, or the one after it if it is the first.
                self.put(kept_to.map_or(start..next, |kept| kept..end), "");
            } else {
                kept_to = Some(end);
                self.member(&name, &member, place.start, is_named, depth);
            }
            self.path.truncate(outer);
        }
    }

    fn member(&mut self, name: &str, member: &Member<'_>, base: usize, is_named: bool, depth: usize) {
        if self.redact.could_be_secret(name) {
            let start = base + member.start + 1;
            self.string("", start..start + member.name.len());
        }
        let value = base + member.value_start..base + member.end();
        if is_named {
            self.cover(value);
        } else {
            self.value(name, value, depth + 1);
        }
    }

    /// Goes on to a member, and answers whether its name says that it is covered.
    fn enter(&mut self, name: &str) -> bool {
        if self.redact.fields.is_empty() {
            return false;
        }
        self.path.push('.');
        self.path.push_str(name);
        let matches = |glob: &super::Glob| glob.matches(if glob.has_dots() { &self.path } else { name });
        self.redact.fields.iter().any(matches)
    }

    /// Covers a value as a whole.
    fn cover(&mut self, place: Range<usize>) {
        let value = self.json.get(place.clone()).unwrap_or_default();
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let text = inner.map_or(value.into(), json::unescaped);
        let (mut covered, mut quoted) = (String::new(), String::new());
        self.redact.with.write(None::<Preset>, &text, &mut covered);
        json::push_text(&covered, &mut quoted);
        self.put(place, &quoted);
    }
}
