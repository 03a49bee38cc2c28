//! Values as people may see them: no passwords, no line breaks, no novels. Not the checks of those values.

/// Characters of a value that a message shows; enough for any name or path that can be recognized by its beginning.
const SHOWN_CHARS: usize = 200;

/// What stands in the place of a secret.
const MASK: &str = "***";

/// A URL without its user, password and query. It need not be a valid one: a typo must not show the password either.
pub fn mask_url(url: &str) -> String {
    let (credentials, rest) = match url.rsplit_once('@') {
        Some((before, rest)) => (Some(before), rest),
        None => (None, url),
    };
    let rest = match rest.split_once('?') {
        Some((before, _)) => format!("{before}?{MASK}"),
        None => rest.to_owned(),
    };
    match credentials.map(|before| before.split_once("://")) {
        None => rest,
        Some(None) => format!("{MASK}@{rest}"),
        Some(Some((scheme, _))) => format!("{scheme}://{MASK}@{rest}"),
    }
}

/// A value in quotes, as a message shows it.
pub(super) fn quoted(text: &str) -> String {
    let masked = if text.contains("://") { mask_url(text) } else { text.to_owned() };
    if masked.chars().count() <= SHOWN_CHARS {
        return format!("{masked:?}");
    }
    let shown: String = masked.chars().take(SHOWN_CHARS).collect();
    format!("{shown:?}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("https://kinesis.example.com/", "https://kinesis.example.com/"),
            ("https://user:secret@example.com:4567/", "https://***@example.com:4567/"),
            ("https://user:se@cret@example.com", "https://***@example.com"),
            ("user:secret@example.com", "***@example.com"),
            ("http:/user:secret@example.com", "***@example.com"),
            ("https://example.com/?token=secret", "https://example.com/?***"),
            ("https://user:sec?ret@example.com", "https://***@example.com"),
        ] {
            assert_eq!(mask_url(url), shown, "{url}");
        }
    }

    #[test]
    fn a_value_stays_on_one_line_of_bounded_length() {
        assert_eq!(quoted("a\nb\u{1b}[31m"), r#""a\nb\u{1b}[31m""#);
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), SHOWN_CHARS + 3);
    }
}
