//! Cuts a file's bytes into lines. Pure: it is handed the bytes from where the last frame ended, and says where the next one ends.
//!
//! For all ways in which a file's bytes can be handed over in pieces, the frames are the same, adjacent, and cover every byte.

use memchr::{memchr, memchr_iter};

use crate::config::LongLines;

/// NULs in a row, within a line, that end it. A file has thousands of them where its writer crashed, or went on at its old offset after the
/// file was truncated; in what is meant as text there are a few at most.
const NUL_RUN_BYTES: usize = 512;
/// How far back from a cut a byte is looked for that is a character of its own in every encoding that is compatible with ASCII.
const LEGACY_LOOK_BACK_BYTES: usize = 64;

/// A UTF-8 character is at most this long; a cut moves back by less than that to stay between two characters.
const MAX_CHAR_BYTES: usize = 4;

/// One line, a part of an over-long one, or bytes that are only accounted for. Ranges are relative to the bytes handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where the line's bytes end, without the newline; they begin at 0.
    pub end: usize,
    /// Where the next frame begins.
    pub next: usize,
    /// What it is.
    pub kind: FrameKind,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A line.
    Whole,
    /// A part of a line over the limit.
    Part {
        /// The first of its line.
        first: bool,
        /// The last of its line.
        last: bool,
    },
    /// The beginning of a line over the limit, whose rest is skipped.
    Truncated,
    /// The rest of a truncated line.
    Skipped,
    /// The newline of a line that was sent before the newline was written.
    LateNewline,
    /// NULs that a hole in the file left at the start of a line.
    Nuls,
}

/// How a file's characters are made of bytes, as far as framing has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// UTF-8.
    Utf8,
    /// Compatible with ASCII: a byte 0x0A is a newline.
    Legacy,
    /// Units of two bytes, the lower one first.
    Utf16Le,
    /// Units of two bytes, the higher one first.
    Utf16Be,
}

impl Code {
    fn is_wide(self) -> bool {
        matches!(self, Self::Utf16Le | Self::Utf16Be)
    }

    fn width(self) -> usize {
        if self.is_wide() { 2 } else { 1 }
    }

    fn is_unit(self, bytes: &[u8], c: u8) -> bool {
        match self {
            Self::Utf8 | Self::Legacy => bytes.first() == Some(&c),
            Self::Utf16Le => bytes.starts_with(&[c, 0]),
            Self::Utf16Be => bytes.starts_with(&[0, c]),
        }
    }

    fn newline(self, bytes: &[u8]) -> Option<usize> {
        if !self.is_wide() {
            return memchr(b'\n', bytes);
        }
        let starts = memchr_iter(b'\n', bytes).map(|at| at & !1);
        starts.into_iter().find(|&at| self.is_unit(&bytes[at..], b'\n'))
    }

    /// The last place at or before `at` that is between two characters, as far as that can be told; never 0.
    fn boundary(self, bytes: &[u8], at: usize) -> usize {
        match self {
            Self::Utf8 => char_boundary(bytes, at),
            Self::Legacy => {
                let from = at.saturating_sub(LEGACY_LOOK_BACK_BYTES).max(1);
                let is_alone = |i: &usize| bytes.get(i - 1).is_some_and(|&b| b < b'0');
                (from..=at).rev().find(is_alone).unwrap_or(at)
            }
            Self::Utf16Le | Self::Utf16Be => {
                let at = at & !1;
                let high = bytes.get(at - 2..at).map(|unit| if self == Self::Utf16Be { unit[0] } else { unit[1] });
                // Not between the halves of a pair.
                if high.is_some_and(|b| b & 0xFC == 0xD8) && at > 2 { at - 2 } else { at }
            }
        }
    }
}

/// Where a line ends, as far as its bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At a newline.
    Newline(usize),
    /// At NULs.
    Nuls(usize),
    /// Not yet; the NULs from here on may become enough to end it.
    Perhaps(usize),
    /// Not yet.
    Open,
}

/// Where in a line the next byte lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// At its start.
    Start,
    /// In a line that is sent in parts, of which some are out.
    Parts,
    /// In a line whose beginning is out and whose rest nobody gets.
    Skip,
    /// In a line that was sent before its newline was written.
    Flushed,
}

/// The framing state of one file.
#[derive(Debug, Clone)]
pub struct Framer {
    max: usize,
    long_lines: LongLines,
    within: Within,
    code: Code,
}

impl Framer {
    /// A framer at the start of a line.
    pub fn new(max: usize, long_lines: LongLines) -> Self {
        Self { max, long_lines, within: Within::Start, code: Code::Utf8 }
    }

    /// A framer that resumes in the middle of a line of which this many bytes are out already.
    pub fn resumed(max: usize, long_lines: LongLines, sent: u64) -> Self {
        let long = sent + (MAX_CHAR_BYTES as u64) > max as u64;
        let within = match (sent, long_lines) {
            (0, _) => Within::Start,
            (_, LongLines::Split) if long => Within::Parts,
            (_, LongLines::Truncate) if long => Within::Skip,
            _ => Within::Flushed,
        };
        Self { within, ..Self::new(max, long_lines) }
    }

    /// Changes the longest line that stays whole, from the next line on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Changes what happens to longer ones, from the next line on.
    pub fn set_long_lines(&mut self, long_lines: LongLines) {
        self.long_lines = long_lines;
    }

    /// Whether the next byte lies in a line of which something is out already.
    pub fn is_within(&self) -> bool {
        self.within != Within::Start
    }

    /// Changes the encoding.
    pub fn set_code(&mut self, code: Code) {
        self.code = code;
    }

    /// The next frame of these bytes, or none while more are needed to tell.
    pub fn next(&mut self, bytes: &[u8]) -> Option<Frame> {
        match self.within {
            Within::Start => self.line(bytes),
            Within::Parts => match self.end(bytes, self.max) {
                // All of the line is out; only its newline came late.
                End::Newline(0) => Some(self.late_newline(self.code.width())),
                End::Nuls(0) => {
                    self.within = Within::Start;
                    self.line(bytes)
                }
                End::Newline(at) if at <= self.max => {
                    Some(self.ended(at, at + self.code.width(), FrameKind::Part { first: false, last: true }))
                }
                End::Nuls(at) => Some(self.ended(at, at, FrameKind::Part { first: false, last: true })),
                End::Perhaps(_) => None,
                End::Newline(_) | End::Open => self.cut(bytes, FrameKind::Part { first: false, last: false }),
            },
            Within::Skip => self.skip(bytes),
            Within::Flushed => {
                let width = self.code.width();
                let rest = bytes.get(width..).unwrap_or_default();
                match self.code.is_unit(bytes, b'\r') {
                    _ if bytes.len() < width => None,
                    _ if self.code.is_unit(bytes, b'\n') => Some(self.late_newline(width)),
                    true if rest.len() < width => None,
                    true if self.code.is_unit(rest, b'\n') => Some(self.late_newline(2 * width)),
                    _ => {
                        self.within = Within::Start;
                        self.line(bytes)
                    }
                }
            }
        }
    }

    /// What is left when no newline will come: a line that is sent as it stands.
    pub fn flush(&mut self, bytes: &[u8]) -> Option<Frame> {
        let whole = |kind| Some(Frame { end: bytes.len(), next: bytes.len(), kind });
        if bytes.is_empty() {
            return None;
        }
        match std::mem::replace(&mut self.within, Within::Flushed) {
            Within::Start | Within::Flushed => whole(FrameKind::Whole),
            Within::Parts => whole(FrameKind::Part { first: false, last: true }),
            Within::Skip => whole(FrameKind::Skipped),
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Option<Frame> {
        if bytes.first() == Some(&0) && !self.code.is_wide() {
            let next = leading_nuls(bytes);
            return Some(Frame { end: 0, next, kind: FrameKind::Nuls });
        }
        match self.end(bytes, self.max) {
            End::Newline(at) if at <= self.max => Some(self.ended(at, at + self.code.width(), FrameKind::Whole)),
            End::Nuls(at) => Some(self.ended(at, at, FrameKind::Whole)),
            End::Perhaps(_) => None,
            End::Newline(_) | End::Open => match self.long_lines {
                LongLines::Split => {
                    let frame = self.cut(bytes, FrameKind::Part { first: true, last: false })?;
                    self.within = Within::Parts;
                    Some(frame)
                }
                LongLines::Truncate => {
                    let frame = self.cut(bytes, FrameKind::Truncated)?;
                    self.within = Within::Skip;
                    Some(frame)
                }
            },
        }
    }

    /// The rest of a truncated line, as far as it is there.
    fn skip(&mut self, bytes: &[u8]) -> Option<Frame> {
        let next = match self.end(bytes, usize::MAX) {
            End::Newline(at) => {
                self.within = Within::Start;
                at + self.code.width()
            }
            End::Nuls(0) => {
                self.within = Within::Start;
                return self.line(bytes);
            }
            End::Nuls(at) => {
                self.within = Within::Start;
                at
            }
            End::Perhaps(at) => at,
            // Half of a unit waits for the other half.
            End::Open => bytes.len() - bytes.len() % self.code.width(),
        };
        (next > 0).then_some(Frame { end: 0, next, kind: FrameKind::Skipped })
    }

    /// Where the line ends that these bytes begin with. NULs count if they begin in its first `max` bytes.
    fn end(&self, bytes: &[u8], max: usize) -> End {
        let newline = self.code.newline(bytes);
        let line = &bytes[..newline.unwrap_or(bytes.len())];
        let otherwise = newline.map_or(End::Open, End::Newline);
        let is_open = newline.is_none() && (bytes.len() > max || max == usize::MAX);
        // Most lines are shorter than any run that would end them.
        if self.code.is_wide() || (line.len() < NUL_RUN_BYTES && !is_open) {
            return otherwise;
        }
        let mut from = 0;
        while let Some(at) = memchr(0, &line[from..]).map(|at| from + at).filter(|&at| at <= max) {
            let run = leading_nuls(&line[at..]);
            if run >= NUL_RUN_BYTES {
                return End::Nuls(at);
            }
            if newline.is_none() && at + run == line.len() {
                return End::Perhaps(at);
            }
            from = at + run;
        }
        otherwise
    }

    fn cut(&self, bytes: &[u8], kind: FrameKind) -> Option<Frame> {
        if bytes.len() <= self.max {
            return None;
        }
        let end = self.code.boundary(bytes, self.max);
        Some(Frame { end, next: end, kind })
    }

    fn ended(&mut self, end: usize, next: usize, kind: FrameKind) -> Frame {
        self.within = Within::Start;
        Frame { end, next, kind }
    }

    fn late_newline(&mut self, next: usize) -> Frame {
        self.ended(0, next, FrameKind::LateNewline)
    }
}

fn leading_nuls(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&b| b == 0).count()
}

/// The last place at or before `at` that is not inside a UTF-8 character, as far as that can be told; never 0.
pub fn char_boundary(bytes: &[u8], at: usize) -> usize {
    let continues = |i: usize| bytes.get(i).is_some_and(|b| b & 0xC0 == 0x80);
    (at.saturating_sub(MAX_CHAR_BYTES - 1).max(1)..=at).rev().find(|&i| !continues(i)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The frames of a file that is handed over in pieces that end at these places, and what `flush` leaves.
    fn frames(file: &[u8], pieces: &[usize], mut framer: Framer) -> Vec<(Vec<u8>, FrameKind)> {
        let (mut at, mut out) = (0, Vec::new());
        for &upto in pieces.iter().chain([&file.len()]) {
            while let Some(f) = framer.next(&file[at..upto.max(at)]) {
                assert!(f.next > 0 && f.end <= f.next);
                out.push((file[at..at + f.end].to_vec(), f.kind));
                at += f.next;
            }
        }
        if let Some(f) = framer.flush(&file[at..]) {
            out.push((file[at..at + f.end].to_vec(), f.kind));
            at += f.next;
        }
        assert_eq!(at, file.len(), "every byte belongs to a frame");
        // NULs that are skipped and the rest of a truncated line are told of as they come: how often depends on the pieces.
        out.dedup_by(|b, a| a.1 == b.1 && matches!(a.1, FrameKind::Nuls | FrameKind::Skipped));
        out
    }

    /// What a hole in a file leaves of it: runs of NULs, short ones and long ones.
    fn holes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::collection::vec(prop_oneof![4 => b'a'..=b'c', 1 => Just(b'\n')], 0..30),
            1 => (1usize..6).prop_map(|n| vec![0; n]),
            1 => (500usize..530).prop_map(|n| vec![0; n]),
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn text(frames: Vec<(Vec<u8>, FrameKind)>) -> Vec<(String, FrameKind)> {
        frames.into_iter().map(|(b, k)| (String::from_utf8(b).unwrap(), k)).collect()
    }

    #[test]
    fn a_line_over_the_limit_is_split_between_characters() {
        let part = |t: &str, first, last| (t.to_owned(), FrameKind::Part { first, last });
        let got = text(frames("ab\naé€dcd\nz".as_bytes(), &[], Framer::new(4, LongLines::Split)));
        let want = [
            ("ab".to_owned(), FrameKind::Whole),
            part("aé", true, false),
            part("€d", false, false),
            part("cd", false, true),
            ("z".to_owned(), FrameKind::Whole),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_line_over_the_limit_is_truncated_and_its_rest_skipped() {
        let got = text(frames(b"abcdefgh\nxy\n", &[], Framer::new(3, LongLines::Truncate)));
        let want = [("abc", FrameKind::Truncated), ("", FrameKind::Skipped), ("xy", FrameKind::Whole)];
        assert_eq!(got, want.map(|(t, k)| (t.to_owned(), k)));
    }

    #[test]
    fn a_line_of_exactly_the_limit_stays_whole() {
        for mode in [LongLines::Split, LongLines::Truncate] {
            assert_eq!(text(frames(b"abcd\n", &[1, 4], Framer::new(4, mode))), [("abcd".to_owned(), FrameKind::Whole)]);
        }
    }

    #[test]
    fn the_newline_of_a_flushed_line_is_no_line() {
        for (late, want) in [
            (&b"\nnext\n"[..], vec![("", FrameKind::LateNewline), ("next", FrameKind::Whole)]),
            (b"\r\nnext\n", vec![("", FrameKind::LateNewline), ("next", FrameKind::Whole)]),
            (b"tail\n\n", vec![("tail", FrameKind::Whole), ("", FrameKind::Whole)]),
        ] {
            let mut framer = Framer::new(100, LongLines::Split);
            assert_eq!(framer.flush(b"abc").unwrap().kind, FrameKind::Whole);
            let want: Vec<_> = want.into_iter().map(|(t, k)| (t.to_owned(), k)).collect();
            assert_eq!(text(frames(late, &[1], framer)), want);
            assert_eq!(text(frames(late, &[1], Framer::resumed(100, LongLines::Split, 3))), want);
        }
    }

    #[test]
    fn a_restart_within_an_over_long_line_goes_on_with_it() {
        let got = text(frames(b"rest\nx\n", &[], Framer::resumed(10, LongLines::Split, 10)));
        let last = FrameKind::Part { first: false, last: true };
        assert_eq!(got, [("rest".to_owned(), last), ("x".to_owned(), FrameKind::Whole)]);
        let got = text(frames(b"rest\nx\n", &[], Framer::resumed(10, LongLines::Truncate, 10)));
        assert_eq!(got, [(String::new(), FrameKind::Skipped), ("x".to_owned(), FrameKind::Whole)]);
    }

    #[test]
    fn nuls_at_the_start_of_a_line_are_skipped_and_many_end_it() {
        let mut file = b"\0\0a\0b\nbegun".to_vec();
        file.resize(file.len() + 600, 0);
        file.extend_from_slice(b"next\n");
        let got = text(frames(&file, &[3, 300], Framer::new(10_000, LongLines::Split)));
        let (nuls, whole) = (FrameKind::Nuls, FrameKind::Whole);
        let want = [("", nuls), ("a\0b", whole), ("begun", whole), ("", nuls), ("next", whole)];
        assert_eq!(got, want.map(|(t, k)| (t.to_owned(), k)));
    }

    #[test]
    fn lines_of_utf_16_end_at_newlines_of_two_bytes() {
        // U+0A00 and U+000A have the same bytes, as have the end of one character and the start of the next.
        let wide = |text: &str, le: bool| -> Vec<u8> {
            text.encode_utf16().flat_map(|u| if le { u.to_le_bytes() } else { u.to_be_bytes() }).collect()
        };
        for (code, le) in [(Code::Utf16Le, true), (Code::Utf16Be, false)] {
            let mut framer = Framer::new(8, LongLines::Split);
            framer.set_code(code);
            let file = wide("a\u{a00}\u{a}\u{10a}\nabc\u{1f600}d", le);
            let got = frames(&file, &[1, 3, 5, 7, 9, 12], framer);
            let part = |first, last| FrameKind::Part { first, last };
            let want = [
                ("a\u{a00}", FrameKind::Whole),
                ("\u{10a}", FrameKind::Whole),
                ("abc", part(true, false)),
                ("\u{1f600}d", part(false, true)),
            ];
            assert_eq!(got, want.map(|(t, k)| (wide(t, le), k)));
        }
    }

    proptest! {
        /// For all files with holes and all ways to hand them over, the frames are the same, and nothing but NULs is left out.
        #[test]
        fn holes_are_the_same_in_all_pieces(file in holes(), mut pieces in prop::collection::vec(any::<usize>(), 0..8),
                                            max in prop_oneof![4usize..40, 400usize..700], split in any::<bool>()) {
            let mode = if split { LongLines::Split } else { LongLines::Truncate };
            for piece in &mut pieces {
                *piece %= file.len() + 1;
            }
            pieces.sort_unstable();
            let got = frames(&file, &pieces, Framer::new(max, mode));
            prop_assert_eq!(&got, &frames(&file, &[], Framer::new(max, mode)));
            if split {
                let bare = |bytes: &[u8]| bytes.iter().copied().filter(|b| !matches!(b, 0 | b'\n')).collect::<Vec<u8>>();
                let joined: Vec<u8> = got.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
                prop_assert_eq!(bare(&joined), bare(&file));
            }
        }

        /// For all files and all ways to hand them over, split frames joined with their newlines are the file.
        #[test]
        fn joined_frames_are_the_file(file in prop::collection::vec(prop_oneof![5 => 1u8.., 1 => Just(b'\n')], 0..300),
                                      mut pieces in prop::collection::vec(0usize..300, 0..8), max in 4usize..40) {
            pieces.retain(|&p| p <= file.len());
            pieces.sort_unstable();
            let in_pieces = frames(&file, &pieces, Framer::new(max, LongLines::Split));
            prop_assert_eq!(&in_pieces, &frames(&file, &[], Framer::new(max, LongLines::Split)));
            let mut joined = Vec::new();
            for (bytes, kind) in &in_pieces {
                prop_assert!(bytes.len() <= max);
                joined.extend_from_slice(bytes);
                if !matches!(kind, FrameKind::Part { last: false, .. }) {
                    joined.push(b'\n');
                }
            }
            let mut want = file.clone();
            if file.last().is_some_and(|&b| b != b'\n') {
                want.push(b'\n');
            }
            prop_assert_eq!(joined, want);
        }

        /// For all files, what truncation keeps of each line is a prefix of it, and whole where it fits.
        #[test]
        fn truncated_frames_are_prefixes(file in prop::collection::vec(prop_oneof![5 => 1u8.., 1 => Just(b'\n')], 0..300),
                                         mut pieces in prop::collection::vec(0usize..300, 0..8), max in 4usize..40) {
            pieces.retain(|&p| p <= file.len());
            pieces.sort_unstable();
            let kept: Vec<_> = frames(&file, &pieces, Framer::new(max, LongLines::Truncate))
                .into_iter().filter(|(_, k)| *k != FrameKind::Skipped).collect();
            let mut lines: Vec<_> = file.split(|&b| b == b'\n').collect();
            if lines.last().is_some_and(|l| l.is_empty()) {
                lines.pop();
            }
            prop_assert_eq!(kept.len(), lines.len());
            for ((got, kind), line) in kept.iter().zip(lines) {
                prop_assert!(line.starts_with(got));
                prop_assert_eq!(*kind == FrameKind::Whole, got.len() == line.len());
            }
        }
    }
}
