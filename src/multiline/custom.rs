//! Records by patterns of the user's own.

use regex::bytes::Regex;

use super::Step;

/// Where a record that is by patterns begins and ends.
#[derive(Debug, Clone)]
pub struct Custom {
    /// A line that begins a record. Without it, every line does that is in none.
    pub start: Option<Regex>,
    /// How far it goes.
    pub until: Until,
}

/// How far a record goes.
#[derive(Debug, Clone)]
pub enum Until {
    /// Up to the next line that begins one.
    Start,
    /// For as long as lines match.
    Continue(Regex),
    /// For as long as lines match, and one line more.
    ContinuePast(Regex),
    /// Up to a line that matches, which is its last.
    End(Regex),
    /// Up to a line that matches, which does not belong to it.
    EndBefore(Regex),
}

impl PartialEq for Custom {
    /// Patterns are what they are written as.
    fn eq(&self, other: &Self) -> bool {
        let start = |custom: &Self| custom.start.as_ref().map(|pattern| pattern.as_str().to_owned());
        start(self) == start(other) && self.until == other.until
    }
}

impl PartialEq for Until {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |until: &Self| match until {
            Self::Start => None,
            Self::Continue(pattern) | Self::ContinuePast(pattern) | Self::End(pattern) | Self::EndBefore(pattern) => {
                Some(pattern.as_str().to_owned())
            }
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && pattern(self) == pattern(other)
    }
}

impl Custom {
    /// What to do with a line while a record is open, or none is.
    pub(super) fn step(&self, open: bool, line: &[u8]) -> Step {
        if !open {
            return self.begin(line);
        }
        match &self.until {
            Until::Start => match self.begin(line) {
                Step::Alone => Step::Join,
                begun => begun,
            },
            Until::Continue(pattern) if pattern.is_match(line) => Step::Join,
            Until::EndBefore(pattern) if !pattern.is_match(line) => Step::Join,
            Until::Continue(_) | Until::EndBefore(_) => self.begin(line),
            Until::ContinuePast(pattern) => {
                if pattern.is_match(line) {
                    Step::Join
                } else {
                    Step::End
                }
            }
            Until::End(pattern) => {
                if pattern.is_match(line) {
                    Step::End
                } else {
                    Step::Join
                }
            }
        }
    }

    fn begin(&self, line: &[u8]) -> Step {
        let begins = match (&self.start, &self.until) {
            (Some(start), _) => start.is_match(line),
            // Only a line that says that it goes on does.
            (None, Until::ContinuePast(pattern)) => pattern.is_match(line),
            (None, _) => true,
        };
        let ends = matches!(&self.until, Until::End(pattern) if pattern.is_match(line));
        if begins && !ends { Step::Start } else { Step::Alone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multiline::tests::records;
    use crate::multiline::{Multiline, Rule};
    use std::time::Duration;

    fn rule(start: Option<&str>, until: Until) -> Multiline {
        let start = start.map(|s| Regex::new(s).unwrap());
        let rule = Rule::Custom(Custom { start, until });
        Multiline { rule, timeout: Duration::from_secs(1), max_lines: 1000 }
    }

    fn re(pattern: &str) -> Regex {
        Regex::new(pattern).unwrap()
    }

    #[test]
    fn a_start_begins_a_record_that_goes_on_to_the_next() {
        let got = records(&rule(Some("^a"), Until::Start), &["x", "a", "1", "2", "a", "a", "3"]);
        assert_eq!(got, ["x", "a\n1\n2", "a", "a\n3"]);
    }

    #[test]
    fn a_record_goes_on_while_lines_match() {
        assert_eq!(
            records(&rule(None, Until::Continue(re(r"^\s"))), &["a", " b", " c", "d", "e"]),
            ["a\n b\n c", "d", "e"]
        );
        let got = records(&rule(Some("^a"), Until::Continue(re("^b"))), &["b", "a", "b", "c", "b"]);
        assert_eq!(got, ["b", "a\nb", "c", "b"]);
    }

    #[test]
    fn a_line_that_goes_on_takes_the_next_with_it() {
        let lines = ["one", r"first \", r"second \", "last", "two", r"open \"];
        let got = records(&rule(None, Until::ContinuePast(re(r"\\$"))), &lines);
        assert_eq!(got, ["one", "first \\\nsecond \\\nlast", "two", "open \\"]);
    }

    #[test]
    fn a_record_goes_up_to_its_end() {
        let lines = ["one;", "first", "second", "last;", "two;", "open"];
        let want = ["one;", "first\nsecond\nlast;", "two;", "open"];
        assert_eq!(records(&rule(None, Until::End(re(";$"))), &lines), want);
        assert_eq!(records(&rule(Some("[^;]$"), Until::End(re(";$"))), &lines), want);
        let got = records(
            &rule(Some("^BEGIN"), Until::EndBefore(re("^(BEGIN|NOTE)"))),
            &["BEGIN", "a", "NOTE", "b", "BEGIN"],
        );
        assert_eq!(got, ["BEGIN\na", "NOTE", "b", "BEGIN"]);
    }
}
