//! Bytes of a stream as lines in the CRI's format, as containerd writes them: `2026-01-02T03:04:05.123456789Z stdout F text`. No I/O, no clock.
//! What reads such lines is `container/cri.rs`.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use memchr::memchr_iter;

use crate::container::Stream;

/// Bytes of text in one line of the format; a longer line of the stream takes several, of which the last is tagged `F` and the others `P`.
/// It is what containerd and docker have.
pub const PART_BYTES: usize = 16 * 1024;

/// The last second that four digits of a year can tell.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

/// Bytes before a line's text: time, stream and tag.
const PREFIX_BYTES: usize = "2026-01-02T03:04:05.123456789Z stdout F ".len();

/// Makes lines of one stream.
#[derive(Debug)]
pub struct Formatter {
    stream: Stream,
    /// What is before the text of a line, or of its last part; the tag is the last byte but one.
    full: Vec<u8>,
    /// What is before the text of a part that is not the last.
    part: Vec<u8>,
    /// The beginning of a line that is not whole yet: at most [`PART_BYTES`].
    unfinished: Vec<u8>,
}

impl Formatter {
    /// Lines of this stream; one that is not known is said to be stdout, since the format has no word for it.
    pub fn new(stream: Stream) -> Self {
        let stream = if stream == Stream::Unknown { Stream::Stdout } else { stream };
        Self { stream, full: Vec::new(), part: Vec::new(), unfinished: Vec::new() }
    }

    /// Adds all lines that these bytes complete, and what is too long to be kept; the rest waits for more. Returns how many lines of the stream
    /// were completed: one in several parts counts when its last one is there.
    pub fn add(&mut self, chunk: &[u8], time: SystemTime, out: &mut Vec<u8>) -> u64 {
        self.stamp(time);
        let lines = memchr_iter(b'\n', chunk).count();
        let parts = lines + (self.unfinished.len() + chunk.len()) / PART_BYTES;
        out.reserve_exact(self.unfinished.len() + chunk.len() + parts * (PREFIX_BYTES + 1));
        let mut begin = 0;
        for newline in memchr_iter(b'\n', chunk) {
            self.line(&chunk[begin..newline], out);
            begin = newline + 1;
        }
        let rest = self.cut(&chunk[begin..], out);
        self.unfinished.extend_from_slice(rest);
        u64::try_from(lines).unwrap_or(u64::MAX)
    }

    /// Adds what is left when nothing more comes: a last line without a newline. Returns how many lines that is, none or one.
    pub fn finish(&mut self, time: SystemTime, out: &mut Vec<u8>) -> u64 {
        if self.unfinished.is_empty() {
            return 0;
        }
        self.stamp(time);
        self.line(&[], out);
        1
    }

    /// A line's end is here.
    fn line(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let rest = self.cut(text, out);
        out.extend_from_slice(&self.full);
        out.extend_from_slice(&self.unfinished);
        out.extend_from_slice(rest);
        out.push(b'\n');
        self.unfinished.clear();
    }

    /// Adds parts for as long as there is more than one holds, so that the last part is never empty. Returns what is left of the text.
    fn cut<'a>(&mut self, mut text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        while self.unfinished.len() + text.len() > PART_BYTES {
            let (now, later) = text.split_at(PART_BYTES - self.unfinished.len());
            out.extend_from_slice(&self.part);
            out.extend_from_slice(&self.unfinished);
            out.extend_from_slice(now);
            out.push(b'\n');
            self.unfinished.clear();
            text = later;
        }
        text
    }

    /// The time of the lines to come. Clocks that are out of all bounds give the nearest time that the format can tell.
    fn stamp(&mut self, time: SystemTime) {
        let time = time.clamp(SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + LAST_SECOND);
        let time = humantime::format_rfc3339_nanos(time);
        let stream = self.stream.name();
        self.full.clear();
        write!(self.full, "{time} {stream} F ").expect("a Vec takes all");
        self.part.clone_from(&self.full);
        if let [.., tag, _] = self.part.as_mut_slice() {
            *tag = b'P';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-02T03:04:05.000000006Z
    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, 6)
    }

    fn format(chunks: &[&[u8]]) -> (String, u64) {
        let mut formatter = Formatter::new(Stream::Stderr);
        let mut out = Vec::new();
        let mut events = 0;
        for chunk in chunks {
            events += formatter.add(chunk, time(), &mut out);
        }
        events += formatter.finish(time(), &mut out);
        (String::from_utf8(out).unwrap().replace("2026-01-02T03:04:05.000000006Z stderr ", ""), events)
    }

    #[test]
    fn lines_are_as_kubelet_has_them() {
        let mut out = Vec::new();
        assert_eq!(Formatter::new(Stream::Stdout).add(b"one\n", time(), &mut out), 1);
        assert_eq!(out, b"2026-01-02T03:04:05.000000006Z stdout F one\n");
        assert_eq!(out.len(), PREFIX_BYTES + 4);
    }

    #[test]
    fn lines_are_cut_where_the_stream_cuts_them_and_nowhere_else() {
        assert_eq!(format(&[b"a\nb\n"]), ("F a\nF b\n".to_owned(), 2));
        assert_eq!(format(&[b"a", b"", b"b\nc", b"\n", b"\n"]), ("F ab\nF c\nF \n".to_owned(), 3));
        assert_eq!(format(&[b"a\nb"]), ("F a\nF b\n".to_owned(), 2));
        assert_eq!(format(&[b"\0\r\n"]), ("F \0\r\n".to_owned(), 1));
        assert_eq!(format(&[]), (String::new(), 0));
    }

    #[test]
    fn a_long_line_is_cut_into_parts_of_which_none_is_empty() {
        for (bytes, expected) in [
            (PART_BYTES, vec![("F", PART_BYTES)]),
            (PART_BYTES + 1, vec![("P", PART_BYTES), ("F", 1)]),
            (2 * PART_BYTES, vec![("P", PART_BYTES), ("F", PART_BYTES)]),
            (2 * PART_BYTES + 5, vec![("P", PART_BYTES), ("P", PART_BYTES), ("F", 5)]),
        ] {
            let text = "x".repeat(bytes);
            let lines: Vec<String> =
                expected.iter().map(|(tag, bytes)| format!("{tag} {}\n", "x".repeat(*bytes))).collect();
            let expected = lines.concat();
            for end in ["", "\n"] {
                let whole = text.clone() + end;
                // At once, in pieces, and byte by byte.
                for size in [usize::MAX, 70_000, PART_BYTES, 1000, 1] {
                    let chunks: Vec<&[u8]> = whole.as_bytes().chunks(size).collect();
                    assert!(format(&chunks) == (expected.clone(), 1), "{bytes} bytes in pieces of {size}");
                }
            }
        }
    }

    #[test]
    fn what_is_added_was_reserved_for() {
        let mut formatter = Formatter::new(Stream::Stdout);
        for chunk in [vec![b'\n'; 1000], vec![b'x'; 100_000], b"a\n".repeat(500)] {
            let mut out = Vec::new();
            formatter.add(&chunk, time(), &mut out);
            let capacity = out.capacity();
            assert!(out.len() <= capacity && out.len() + 2 * PART_BYTES >= capacity, "{} of {capacity}", out.len());
        }
    }

    #[test]
    fn clocks_out_of_all_bounds_do_not_matter() {
        for (time, expected) in [
            (SystemTime::UNIX_EPOCH - Duration::from_secs(1), "1970-01-01T00:00:00.000000000Z stdout F x\n"),
            (SystemTime::UNIX_EPOCH + 2 * LAST_SECOND, "9999-12-31T23:59:59.000000000Z stdout F x\n"),
        ] {
            let mut out = Vec::new();
            Formatter::new(Stream::Stdout).add(b"x\n", time, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
