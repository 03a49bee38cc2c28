//! A line in the CRI's format: `<time> <stream> <tags> <text>`. By hand, since every line of a node passes through here.

use memchr::memchr;

use super::{Piece, Stream};

/// The shortest time: to the second, in UTC. The longest: nanoseconds and an offset.
const TIME_BYTES: std::ops::RangeInclusive<usize> = 20..=35;
const STREAM_BYTES: usize = "stdout ".len();

/// Takes a line apart; nothing if it is not in the format.
pub fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let head = &line[..line.len().min(TIME_BYTES.end() + 1)];
    let (time, rest) = line.split_at(memchr(b' ', head)?);
    if !is_time(time) {
        return None;
    }
    let rest = &rest[1..];
    let stream = match rest.get(..STREAM_BYTES)? {
        b"stdout " => Stream::Stdout,
        b"stderr " => Stream::Stderr,
        _ => return None,
    };
    let rest = &rest[STREAM_BYTES..];
    let partial = match rest.first()? {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    // Further tags, separated by colons, are for versions to come.
    let text = match rest.get(1) {
        None => rest.len(),
        Some(b' ') => 2,
        Some(b':') => memchr(b' ', rest).map_or(rest.len(), |at| at + 1),
        Some(_) => return None,
    };
    let time = std::str::from_utf8(time).ok()?;
    let at = line.len() - rest.len() + text;
    Some(Piece { stream, time, text: &rest[text..], at: Some(at), partial })
}

/// Whether this looks like `2026-01-02T03:04:05.678Z`, of any precision, in UTC or with an offset.
fn is_time(time: &[u8]) -> bool {
    let shape = |b: &u8| b.is_ascii_digit() || matches!(b, b'.' | b':' | b'-' | b'+' | b'Z');
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _, fraction @ ..] = time else {
        return false;
    };
    TIME_BYTES.contains(&time.len()) && time[..4].iter().all(u8::is_ascii_digit) && fraction.iter().all(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        for (line, stream, time, text, partial) in [
            (
                "2026-11-22T18:48:03.51006013Z stdout F a b",
                Stream::Stdout,
                "2026-11-22T18:48:03.51006013Z",
                "a b",
                false,
            ),
            (
                "2026-11-22T18:35:52.300250892+00:00 stderr P  x",
                Stream::Stderr,
                "2026-11-22T18:35:52.300250892+00:00",
                " x",
                true,
            ),
            ("2026-11-22T18:35:52Z stdout F ", Stream::Stdout, "2026-11-22T18:35:52Z", "", false),
            ("2026-11-22T18:35:52Z stdout F", Stream::Stdout, "2026-11-22T18:35:52Z", "", false),
            (
                "2024-04-13T07:59:37.505201169-10:00 stdout P:tag:x y",
                Stream::Stdout,
                "2024-04-13T07:59:37.505201169-10:00",
                "y",
                true,
            ),
        ] {
            let piece = parse(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!((piece.stream, piece.time, piece.text, piece.partial), (stream, time, text.as_bytes(), partial));
            assert_eq!(&line.as_bytes()[piece.at.unwrap()..], text.as_bytes());
        }
    }

    #[test]
    fn what_is_not_in_the_format_is_refused() {
        for line in [
            "",
            " ",
            "text",
            "2026-11-22T18:48:03.510",
            "2026-11-22T18:48:03Z",
            "2026-11-22T18:48:03Z stdout",
            "2026-11-22T18:48:03Z stdlog F x",
            "2026-11-22T18:48:03Z stdout X x",
            "2026-11-22T18:48:03Z stdout Full x",
            "2026-11-22 18:48:03 stdout F x",
            "yyyy-11-22T18:48:03Z stdout F x",
            "2026-11-22T18:48:03Q stdout F x",
            "{\"log\":\"x\\n\"}",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
