//! Cuts a file's bytes into lines. Pure: it is handed the bytes from where the last frame ended, and says where the next one ends.
//!
//! For all ways in which a file's bytes can be handed over in pieces, the frames are the same, adjacent, and cover every byte.

use memchr::memchr;

use crate::config::LongLines;

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
}

impl Framer {
    /// A framer at the start of a line.
    pub fn new(max: usize, long_lines: LongLines) -> Self {
        Self { max, long_lines, within: Within::Start }
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
        Self { max, long_lines, within }
    }

    /// Changes the longest line that stays whole, from the next line on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// The next frame of these bytes, or none while more are needed to tell.
    pub fn next(&mut self, bytes: &[u8]) -> Option<Frame> {
        let newline = memchr(b'\n', bytes);
        match self.within {
            Within::Start => self.line(bytes, newline),
            Within::Parts => match newline.filter(|&at| at <= self.max) {
                // All of the line is out; only its newline came late.
                Some(0) => Some(self.late_newline(1)),
                Some(at) => {
                    self.within = Within::Start;
                    Some(Frame { end: at, next: at + 1, kind: FrameKind::Part { first: false, last: true } })
                }
                None => self.cut(bytes, FrameKind::Part { first: false, last: false }),
            },
            Within::Skip if bytes.is_empty() => None,
            Within::Skip => {
                let next = newline.map_or(bytes.len(), |at| at + 1);
                if newline.is_some() {
                    self.within = Within::Start;
                }
                Some(Frame { end: 0, next, kind: FrameKind::Skipped })
            }
            Within::Flushed => match bytes {
                [] | [b'\r'] => None,
                [b'\n', ..] => Some(self.late_newline(1)),
                [b'\r', b'\n', ..] => Some(self.late_newline(2)),
                _ => {
                    self.within = Within::Start;
                    self.line(bytes, newline)
                }
            },
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

    fn line(&mut self, bytes: &[u8], newline: Option<usize>) -> Option<Frame> {
        match newline {
            Some(at) if at <= self.max => Some(Frame { end: at, next: at + 1, kind: FrameKind::Whole }),
            _ => match self.long_lines {
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

    fn cut(&self, bytes: &[u8], kind: FrameKind) -> Option<Frame> {
        if bytes.len() <= self.max {
            return None;
        }
        let end = char_boundary(bytes, self.max);
        Some(Frame { end, next: end, kind })
    }

    fn late_newline(&mut self, next: usize) -> Frame {
        self.within = Within::Start;
        Frame { end: 0, next, kind: FrameKind::LateNewline }
    }
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
        out
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

    proptest! {
        /// For all files and all ways to hand them over, split frames joined with their newlines are the file.
        #[test]
        fn joined_frames_are_the_file(file in prop::collection::vec(prop_oneof![5 => any::<u8>(), 1 => Just(b'\n')], 0..300),
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
        fn truncated_frames_are_prefixes(file in prop::collection::vec(prop_oneof![5 => any::<u8>(), 1 => Just(b'\n')], 0..300),
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
