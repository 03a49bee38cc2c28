//! What is wrong with a configuration, and where. Not the checks themselves.

use std::fmt;
use std::sync::Arc;

/// Where a setting was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a line of a YAML document.
    Line {
        /// The file, or the variable that holds the document.
        document: Arc<str>,
        /// The line, counted from 1.
        line: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In a flag of the command line, without its dashes.
    Flag(String),
    /// Nowhere: it is a default, or it is missing.
    Unset,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is.
    pub place: Place,
    /// The setting, such as `sources[0].start_at`; empty for the document as a whole.
    pub field: String,
    /// The value, what is allowed, and the nearest name.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line { document, line } => write!(f, "{document}:{line}: ")?,
            // The variable's name says which setting it is.
            Place::Variable(name) => return write!(f, "{name}: {}", self.message),
            Place::Flag(name) => return write!(f, "--{name}: {}", self.message),
            Place::Unset => {}
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration, one problem a line, in the order of the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts the problems by place. A variable can set one field in every source: its problem is told once.
    pub(super) fn new(mut all: Vec<Problem>) -> Self {
        all.sort();
        all.dedup_by(|a, b| a.to_string() == b.to_string());
        Self(all)
    }

    /// The problems, sorted by place.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The question that ends a message when one of the allowed names is close to the one that was given.
pub(crate) fn did_you_mean<'a>(given: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(given, allowed) {
        Some(name) => format!(" (did you mean \"{name}\"?)"),
        None => String::new(),
    }
}

/// The allowed name that is closest to the given one, if it is close enough to be what was meant.
pub(super) fn nearest<'a>(given: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = given.to_lowercase().replace('-', "_");
    allowed
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_lowercase()), name))
        // A third of the letters may be wrong; short names have to be nearly right, or every one would be near.
        .filter(|&(distance, name)| distance <= (name.chars().count() / 3).max(1) && distance < name.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// Names as a message lists them.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_could_have_been_meant() {
        let names = ["stream", "region", "endpoint", "kpl"];
        assert_eq!(nearest("steam", names), Some("stream"));
        assert_eq!(nearest("End-Point", names), Some("endpoint"));
        assert_eq!(nearest("KPL", names), Some("kpl"));
        assert_eq!(nearest("compression", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest("x", ["a"]), None);
    }

    #[test]
    fn problems_stand_in_the_order_of_the_document() {
        let at = |line| Place::Line { document: "k.yaml".into(), line };
        let one = |place, field: &str| Problem { place, field: field.into(), message: "is wrong".into() };
        let problems = Problems::new(vec![
            one(Place::Unset, "z"),
            one(at(10), "b"),
            one(at(9), ""),
            one(Place::Variable("KINETAIL_X".into()), "sources[0].x"),
            one(Place::Variable("KINETAIL_X".into()), "sources[1].x"),
        ]);
        assert_eq!(
            problems.to_string(),
            "k.yaml:9: is wrong\nk.yaml:10: b: is wrong\nKINETAIL_X: is wrong\nz: is wrong"
        );
    }
}
