//! Which tags a section is for.

use regex::Regex;

/// What stands between a container's name and the task's in a tag of `FireLens`.
const INFIX: &str = "-firelens-";
/// What a pattern of such tags ends with, before its star.
pub(super) const SUFFIX: &str = "-firelens";

/// What a tag has to be like, by `Match` or `Match_Regex`.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// A text with stars, each for any number of characters.
    Glob(String),
    /// A regular expression that is found in it.
    Regex(Regex),
}

impl Pattern {
    /// Whether a tag is like that.
    pub fn matches(&self, tag: &str) -> bool {
        match self {
            Self::Glob(glob) => glob_matches(glob, tag),
            Self::Regex(regex) => regex.is_match(tag),
        }
    }

    /// How much it asks for, to tell which of two is about fewer tags.
    pub(super) fn weight(&self) -> usize {
        self.text().bytes().filter(|byte| *byte != b'*').count()
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Glob(glob) => glob,
            Self::Regex(regex) => regex.as_str(),
        }
    }

    /// Whether some tag is certain to match both. Of patterns with stars in their midst it may not be seen.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.matches(&other.sample()) || other.matches(&self.sample())
    }

    /// A tag that it matches, if it is a text with stars.
    fn sample(&self) -> String {
        match self {
            Self::Glob(glob) => glob.replace('*', "-x"),
            Self::Regex(regex) => regex.as_str().to_owned(),
        }
    }
}

/// Whether a text matches one with stars. Each star takes as little as it can, and one character more when what follows it does not fit,
/// so that the time is that of the two lengths' product at most.
fn glob_matches(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            _ if part.is_empty() => {}
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The container that a tag of `FireLens` names: `app` of `app-firelens-158d1c8083dd49d6b527399fd6414f5c`.
pub fn container(tag: &str) -> Option<&str> {
    tag.rsplit_once(INFIX).map(|(name, _)| name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_number_of_characters() {
        for (glob, text, matches) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("app-firelens*", "app-firelens-158d", true),
            ("app-firelens*", "app-firelens", true),
            ("app-firelens*", "my-app-firelens-1", false),
            ("app-firelens*", "App-firelens-1", false),
            ("app", "app", true),
            ("app", "apps", false),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*b*b", "b", false),
            ("**x**", "axb", true),
            ("*.log", "a.log.log", true),
            ("ü*", "über", true),
        ] {
            assert_eq!(glob_matches(glob, text), matches, "{glob:?} and {text:?}");
        }
    }

    #[test]
    fn a_tag_names_its_container() {
        assert_eq!(container("app-firelens-158d1c80"), Some("app"));
        assert_eq!(container("my-firelens-app-firelens-1"), Some("my-firelens-app"));
        assert_eq!(container("app"), None);
        assert_eq!(container("-firelens-1"), None);
    }
}
