//! The files of a simulation: numbered lines, what must become of each, and how fast they are written. They live in memory.

use std::time::Duration;

use kinetail::config::OnParseError;
use kinetail::parse::Direct;

/// The name of a line in everything that is made of it: `#file.line#`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineId {
    pub(crate) file: usize,
    pub(crate) line: usize,
}

/// What a poisoned line contains: the stream refuses every request with such a record.
pub(crate) const POISON: &str = "POISON";

/// What must become of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// An event of these bytes.
    Event(Vec<u8>),
    /// Nothing.
    Dropped,
    /// A dead letter.
    Rejected,
}

#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) fate: Fate,
    pub(crate) poison: bool,
    /// What its field `k` says; files share their keys.
    pub(crate) key: Option<usize>,
}

/// The field that templates name.
pub(crate) const KEYS: usize = 5;

/// What kind of lines files have, and how they are parsed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content {
    pub(crate) parse: Direct,
    pub(crate) on_parse_error: OnParseError,
    pub(crate) longest: usize,
    /// The first file has lines that the stream does not take.
    pub(crate) poison: bool,
}

#[derive(Debug)]
pub(crate) struct File {
    /// Files of one lane keep their order among each other.
    pub(crate) lane: u32,
    /// The file that was under this path before: it is read first.
    pub(crate) after: Option<usize>,
    /// Lines of earlier files of the lane.
    pub(crate) lines_before: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: Vec<Line>,
    /// Bytes a second.
    rate: usize,
    /// The end of what is written before the last run. After a restart, something must still come that the stream takes, bit by bit: until it
    /// has taken something, a lone refused record waits.
    held: usize,
}

impl File {
    /// Two to five files, the second without poison.
    pub(crate) fn draw(rng: &mut fastrand::Rng, content: Content, large: bool) -> Vec<File> {
        let mut files: Vec<File> = Vec::new();
        for index in 0..rng.usize(2..6) {
            // A file whose predecessor was rotated away shares its lane.
            let after = (index > 1 && rng.u8(..3) == 0).then(|| rng.usize(..index));
            let after = after.filter(|a| files.iter().all(|f| f.after != Some(*a)));
            let (lane, lines_before) = match after {
                Some(a) => {
                    files[a].end_line();
                    (files[a].lane, files[a].lines_before + files[a].lines.len())
                }
                None => (u32::try_from(index).expect("a handful of files"), 0),
            };
            let poison = content.poison && index == 0;
            let count = if large { rng.usize(5..60) } else { rng.usize(20..350) };
            let mut file = File {
                lane,
                after,
                lines_before,
                bytes: Vec::new(),
                lines: Vec::new(),
                rate: *super::plan::one(rng, &[3_000, 30_000, 10_000_000]),
                held: 0,
            };
            for line in 0..count {
                if line == count * 9 / 10 {
                    file.held = file.bytes.len();
                }
                let is_poison = poison && line < count / 2 && rng.u8(..60) == 0;
                file.add(LineId { file: index, line }, is_poison, content, rng);
            }
            // The last line of some files has no newline, because its writer has ended.
            if rng.bool() && file.lines.last().is_some_and(|l| l.end - l.start > 1) {
                file.bytes.pop();
                file.lines.last_mut().expect("every file has lines").end -= 1;
            }
            if content.poison && index == 1 {
                // The last part in ten seconds, and all that comes before it in some minutes.
                file.rate = (file.bytes.len() - file.held).div_ceil(10).max(file.bytes.len() / 200).max(1);
            }
            files.push(file);
        }
        files
    }

    /// So many files, each of so many lines, that are written for as long as this.
    pub(crate) fn steady(
        rng: &mut fastrand::Rng,
        content: Content,
        (files, lines): (usize, usize),
        takes: Duration,
    ) -> Vec<File> {
        let one = |index| {
            let lane = u32::try_from(index).expect("a handful of files");
            let (bytes, ids) = (Vec::new(), Vec::new());
            let mut file = File { lane, after: None, lines_before: 0, bytes, lines: ids, rate: 0, held: 0 };
            for line in 0..lines {
                file.add(LineId { file: index, line }, false, content, rng);
            }
            file.rate = file.bytes.len() / usize::try_from(takes.as_secs()).expect("some hours");
            file
        };
        (0..files).map(one).collect()
    }

    /// A file that was rotated away ends with a whole line.
    fn end_line(&mut self) {
        if !self.bytes.ends_with(b"\n") {
            self.bytes.push(b'\n');
            self.lines.last_mut().expect("every file has lines").end += 1;
        }
    }

    fn add(&mut self, id: LineId, poison: bool, content: Content, rng: &mut fastrand::Rng) {
        let start = self.bytes.len();
        let padding = if rng.u8(..8) == 0 { rng.usize(..content.longest) } else { rng.usize(..content.longest / 6) };
        let padding = "x".repeat(padding);
        let name = format!("#{}.{}#", id.file, id.line);
        let mark = if poison { POISON } else { "" };
        let key = rng.usize(..KEYS);
        let json = format!("{{\"id\":\"{name}\",\"k\":\"{key}\",\"pad\":\"{mark}{padding}\"}}");
        let text = format!("oops {name} {mark}{padding}");
        let kind = if poison { 0 } else { rng.u8(..20) };
        let (line, fate) = match (content.parse, kind) {
            (Direct::Json, 0..15) => (json.clone(), Fate::Event(json.into())),
            (Direct::Raw, _) => (text.clone(), Fate::Event(text.into())),
            (Direct::Json, 15 | 16) => (" ".repeat(rng.usize(..3)), Fate::Dropped),
            (Direct::Json, _) => (
                text.clone(),
                match content.on_parse_error {
                    OnParseError::Keep => Fate::Event(format!("{{\"message\":\"{text}\"}}").into()),
                    OnParseError::Drop => Fate::Dropped,
                    OnParseError::DeadLetter => Fate::Rejected,
                },
            ),
        };
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        let key = line.starts_with("{\"id\"").then_some(key);
        self.lines.push(Line { start, end: self.bytes.len(), fate, poison, key });
    }

    /// The length of the file at this time; in the last run, which began at `last`, it grows to its end.
    pub(crate) fn visible(&self, now: Duration, last: Option<Duration>) -> usize {
        let grown =
            |since: Duration| usize::try_from(since.as_millis()).unwrap_or(usize::MAX).saturating_mul(self.rate) / 1000;
        let limit = last.map_or(self.held, |at| self.held.saturating_add(grown(now.saturating_sub(at))));
        grown(now).min(limit).min(self.bytes.len())
    }

    /// The end of the line that is being written.
    pub(crate) fn line_end(&self, offset: usize) -> usize {
        let next = self.lines.partition_point(|line| line.end < offset);
        self.lines.get(next).map_or(self.bytes.len(), |line| line.end).max(offset)
    }
}

/// The line that an event or a dead letter was made of.
pub(crate) fn line_id(bytes: &[u8]) -> Option<LineId> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, rest) = text.split_once('#')?;
    let (id, _) = rest.split_once('#')?;
    let (file, line) = id.split_once('.')?;
    Some(LineId { file: file.parse().ok()?, line: line.parse().ok()? })
}
