//! Backslashes in quoted text: what each of them stands for.

/// The character that a letter behind a backslash stands for, where it stands for one by itself.
fn simple(letter: u8) -> Option<char> {
    Some(match letter {
        b'"' | b'\'' | b'\\' | b'/' => char::from(letter),
        b'a' => '\u{7}',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'v' => '\u{b}',
        _ => return None,
    })
}

/// Takes out the escapes of JSON and of Go's `%q`, which is what loggers write logfmt with. A backslash before any other character stands for
/// itself. An escape by number that is not whole is an error.
pub fn quoted(text: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let letter = after.bytes().next().unwrap_or(b'\\');
        rest = match (letter, simple(letter)) {
            (_, Some(c)) => {
                out.push(c);
                after.get(1..).unwrap_or_default()
            }
            (b'x' | b'u' | b'U', _) => {
                let (c, rest) = numbered(after).ok_or("an escape in quotes that is cut short")?;
                out.push(c);
                rest
            }
            _ => {
                out.push('\\');
                after
            }
        };
    }
    out.push_str(rest);
    Ok(out)
}

/// A character by its number, from behind the backslash on: `x` and two digits, `u` and four (two of these if it is a surrogate), `U` and eight.
/// A number that is no character gives the replacement character, as it does in Go.
fn numbered(text: &str) -> Option<(char, &str)> {
    let digits = |text: &str, count: usize| {
        let digits = text.get(1..=count)?;
        let number = digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        Some((number, count + 1))
    };
    let (mut number, mut len) = match text.bytes().next()? {
        b'x' => digits(text, 2).map(|(n, len)| (if n < 0x80 { n } else { 0xfffd }, len))?,
        b'u' => digits(text, 4)?,
        _ => digits(text, 8)?,
    };
    let low = text.get(len..).and_then(|rest| rest.strip_prefix("\\u").and(rest.get(1..)));
    if let (0xd800..0xdc00, Some((low @ 0xdc00..0xe000, low_len))) = (number, low.and_then(|low| digits(low, 4))) {
        number = 0x1_0000 + ((number - 0xd800) << 10) + (low - 0xdc00);
        len += 1 + low_len;
    }
    Some((char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER), text.get(len..)?))
}

/// Takes out the backslash before each character of a set, and what `\n`, `\r` and `\t` stand for if they are asked for; any other backslash stays.
pub fn some(text: &str, hidden: &[u8], controls: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let letter = after.bytes().next().unwrap_or_default();
        let stands_for = if hidden.contains(&letter) {
            Some(char::from(letter))
        } else if controls.contains(&letter) {
            simple(letter)
        } else {
            None
        };
        out.push(stands_for.unwrap_or('\\'));
        rest = if stands_for.is_some() { after.get(1..).unwrap_or_default() } else { after };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_json_and_go() {
        let cases = [
            (r#"a\"b\\c\td\n"#, "a\"b\\c\td\n"),
            (r"\u00e9\u000a\u000A", "é\n\n"),
            (r"\ud83d\ude00!", "😀!"),
            (r"\ud83d \ude00 \ud83dx \ud83d\u0041", "\u{fffd} \u{fffd} \u{fffd}x \u{fffd}A"),
            (r"\x1b[0m \xff \U0001F600", "\u{1b}[0m \u{fffd} 😀"),
            (r"C:\dir \é \", "C:\\dir \\é \\"),
        ];
        for (text, want) in cases {
            assert_eq!(quoted(text).as_deref(), Ok(want), "{text}");
        }
        for cut in [r"\u1", r"\u12g4", r"\x", r"\x+1", r"\U0001", r"\u00é"] {
            assert!(quoted(cut).is_err(), "{cut}");
        }
    }

    #[test]
    fn only_what_a_format_hides_is_taken_out() {
        assert_eq!(some(r"a\=b\\n\n\|\x\", b"=\\", b"n"), "a=b\\n\n\\|\\x\\");
    }
}
