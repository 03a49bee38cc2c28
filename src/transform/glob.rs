//! Names with stars. A star stands for any characters, dots too; the case of ASCII letters does not matter.

/// A name with stars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
}

impl Glob {
    /// Takes a pattern.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_ascii_lowercase() }
    }

    /// The pattern.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is about paths and not only names.
    pub(super) fn has_dots(&self) -> bool {
        self.text.contains('.')
    }

    /// Whether a name matches. It goes back to the last star alone, so that the time is bounded by the product of the lengths.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.text.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p, n));
                p += 1;
            } else if pattern.get(p) == Some(&name[n].to_ascii_lowercase()) {
                (p, n) = (p + 1, n + 1);
            } else if let Some((at, from)) = star {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            } else {
                return false;
            }
        }
        pattern.get(p..).unwrap_or_default().iter().all(|b| *b == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, expected) in [
            ("password", "Password", true),
            ("pass*", "password", true),
            ("*word", "password", true),
            ("*ss*r*", "password", true),
            ("p*x", "password", false),
            ("password", "passwords", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a.*.c", "a.b.b.c", true),
            ("*.password", "user.password", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
