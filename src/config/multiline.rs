//! The meaning of `multiline`: presets or patterns, and which patterns go together.

use regex::bytes::Regex;
use serde_json::Value;

use super::limits;
use super::mask::quoted;
use super::problem::{did_you_mean, listed};
use super::raw::RawMultiline;
use super::resolve::Resolver;
use super::{MultilineConfig, Preset, Until};

/// What `preset` can be, for people.
pub(super) const PRESETS: &str = "auto, or one or a list of java, python, go, ruby, node, dotnet, php, rust, dart";

/// The preset that stands for all.
const AUTO: &str = "auto";

impl Resolver<'_> {
    pub(super) fn multiline(&mut self, path: &str, raw: RawMultiline) -> MultilineConfig {
        let preset = raw.preset.map(|value| self.presets(&format!("{path}.preset"), &value));
        let ends = [
            ("continue", Until::Continue, raw.going_on),
            ("continue_past", Until::ContinuePast, raw.continue_past),
            ("end", Until::End, raw.end),
            ("end_before", Until::EndBefore, raw.end_before),
        ];
        let mut until: Option<(&str, Until, String)> = None;
        for (name, kind, pattern) in ends {
            let Some(pattern) = pattern else { continue };
            self.pattern(&format!("{path}.{name}"), &pattern);
            if let Some((other, ..)) = &until {
                let message = format!("goes against {path}.{other}: a record ends in one way only; remove one of them");
                self.report(&format!("{path}.{name}"), message);
            } else {
                until = Some((name, kind, pattern));
            }
        }
        if let Some(start) = &raw.start {
            self.pattern(&format!("{path}.start"), start);
        }
        let first = raw.start.as_ref().map(|_| "start").or(until.as_ref().map(|(name, ..)| *name));
        match (&preset, first) {
            (Some(_), Some(name)) => {
                let message =
                    format!("goes against {path}.preset: a record is by presets or by patterns; remove one of them");
                self.report(&format!("{path}.{name}"), message);
            }
            (None, None) if !self.is_bad(path) && !self.has_bad_part(path) => {
                let message = "says nothing; name a preset, or give a pattern: start, continue, continue_past or end";
                self.report(path, message.to_owned());
            }
            (None, Some("end_before")) => {
                let message = format!(
                    "needs {path}.start, or no line begins a record; for records that begin with it, name it start"
                );
                self.report(&format!("{path}.end_before"), message);
            }
            _ => {}
        }
        let max_lines = self.amount(&format!("{path}.max_lines"), raw.max_lines, &limits::MULTILINE_MAX_LINES);
        MultilineConfig {
            preset: preset.unwrap_or_default(),
            start: raw.start,
            until: until.map(|(_, kind, pattern)| (kind, pattern)),
            timeout: self.amount(&format!("{path}.timeout"), raw.timeout, &limits::MULTILINE_TIMEOUT).0,
            max_lines: usize::try_from(max_lines).unwrap_or(usize::MAX),
        }
    }

    fn pattern(&mut self, path: &str, pattern: &str) {
        if pattern.is_empty() {
            return self.report(path, "is empty, and would match every line; write a regular expression".to_owned());
        }
        if let Err(error) = Regex::new(pattern) {
            // The parser draws the pattern and points at the place, over several lines.
            let lines = error.to_string();
            let said: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            self.report(path, format!("{} is not a regular expression: {}", quoted(pattern), said.join(" | ")));
        }
    }

    fn presets(&mut self, path: &str, value: &Value) -> Vec<Preset> {
        let names = match value {
            Value::Array(names) => names.iter().collect(),
            one => vec![one],
        };
        let mut presets = Vec::new();
        for name in &names {
            let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            if name == AUTO {
                presets.extend(Preset::ALL.map(|(_, preset)| preset));
            } else if let Some((_, preset)) = Preset::ALL.iter().find(|(known, _)| *known == name) {
                presets.push(*preset);
            } else {
                let known = || Preset::ALL.iter().map(|(name, _)| *name).chain([AUTO]);
                let message =
                    format!("{} is not one of {}{}", quoted(&name), listed(known()), did_you_mean(&name, known()));
                self.report(path, message);
            }
        }
        if names.is_empty() {
            self.report(path, format!("is empty; allowed: {PRESETS}"));
        }
        let mut unique = Vec::new();
        for preset in presets {
            if !unique.contains(&preset) {
                unique.push(preset);
            }
        }
        unique
    }
}
