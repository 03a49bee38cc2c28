//! The segments of one spool: files in a directory of `state_dir`, of which the last is written to. No policy, no waiting, no thread.
//!
//! They look like a rotated log to the reader: `current.log` is renamed when it is full, and its successor takes its name. So one lane, one
//! partition key and one order hold for all of them.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::source::file::identity::FileId;

/// The segment that is written to.
pub const CURRENT: &str = "current.log";
/// Logs are nobody else's business.
const MODE: u32 = 0o600;
/// How much is read at once to find the last newline.
const TAIL_BYTES: u64 = 64 * 1024;

/// A segment that nobody writes to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it is.
    pub path: PathBuf,
    /// Its place in the file system.
    pub id: FileId,
    /// Its length.
    pub bytes: u64,
}

/// The segments of one spool.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    current: File,
    current_bytes: u64,
    /// When the first of what is in it was written, or earlier.
    since: SystemTime,
    finished: VecDeque<(Segment, SystemTime)>,
    /// The number of the next finished segment.
    next: u64,
}

impl Segments {
    /// Opens the spool in a directory, which is made if it is not there. A line that was cut off by a crash was never said to be kept; it is
    /// taken away before anybody reads it.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut finished = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (Some(number), true) = (number(&entry.path()), metadata.is_file()) {
                let segment = Segment { path: entry.path(), id: FileId::of(&metadata), bytes: metadata.len() };
                finished.push((number, (segment, metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH))));
            }
        }
        finished.sort_by_key(|(number, _)| *number);
        let next = finished.last().map_or(0, |(number, _)| number + 1);
        let mut current = create(&dir.join(CURRENT))?;
        let whole = whole_lines(&mut current)?;
        current.set_len(whole)?;
        let since = current.metadata()?.modified().unwrap_or_else(|_| crate::clock::now());
        let finished = finished.into_iter().map(|(_, segment)| segment).collect();
        Ok(Self { dir: dir.to_owned(), current, current_bytes: whole, since, finished, next })
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.current_bytes + self.finished.iter().map(|(segment, _)| segment.bytes).sum::<u64>()
    }

    /// How many segments there are that hold something.
    pub fn count(&self) -> usize {
        self.finished.len() + usize::from(self.current_bytes > 0)
    }

    /// When the oldest of what is kept was written, or earlier.
    pub fn oldest(&self) -> Option<SystemTime> {
        let current = (self.current_bytes > 0).then_some(self.since);
        self.finished.front().map(|(_, since)| *since).or(current)
    }

    /// Bytes in the segment that is written to.
    pub fn current_bytes(&self) -> u64 {
        self.current_bytes
    }

    /// Writes whole lines, all of them or none.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.current.write_all(lines);
        if let Err(error) = written {
            // A line that is there in part would be read as a line.
            self.current.set_len(self.current_bytes)?;
            self.current.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        if self.current_bytes == 0 {
            self.since = crate::clock::now();
        }
        self.current_bytes += lines.len() as u64;
        Ok(())
    }

    /// Has the system write what it holds back.
    pub fn sync(&self) -> io::Result<()> {
        self.current.sync_data()
    }

    /// Finishes the segment that is written to, and begins another.
    pub fn roll(&mut self) -> io::Result<()> {
        let (from, to) = (self.dir.join(CURRENT), self.dir.join(format!("{CURRENT}.{:012}", self.next)));
        let id = FileId::of(&self.current.metadata()?);
        fs::rename(&from, &to)?;
        self.next += 1;
        self.finished.push_back((Segment { path: to, id, bytes: self.current_bytes }, self.since));
        self.current_bytes = 0;
        self.current = create(&from)?;
        Ok(())
    }

    /// The oldest finished segment.
    pub fn oldest_finished(&self) -> Option<&Segment> {
        self.finished.front().map(|(segment, _)| segment)
    }

    /// Whoever reads the segments removes those that are done with. What is gone takes no room any more.
    pub fn notice_released(&mut self) {
        while self.finished.front().is_some_and(|(segment, _)| !segment.path.exists()) {
            self.finished.pop_front();
        }
    }
}

/// The number of a finished segment, by its name.
pub fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(CURRENT)?.strip_prefix('.')?.parse().ok()
}

/// Bytes of all segments in a directory, as far as they can be looked at.
pub fn bytes_in(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(Metadata::is_file).map(|metadata| metadata.len()).sum()
}

/// Removes a segment, which may be gone already.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(MODE).open(path)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// The length up to the last newline; the file is left at that.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        tail.resize(usize::try_from(end - start).expect("it is at most TAIL_BYTES"), 0);
        file.read_exact_at(&mut tail, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &tail) {
            end = start + at as u64 + 1;
            break;
        }
        end = start;
    }
    file.seek(SeekFrom::Start(end))?;
    Ok(end)
}

/// How many events there are in a segment from an offset on: lines that are whole, or the last part of one that was cut.
pub fn count_events(path: &Path, from: u64) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = io::BufReader::with_capacity(usize::try_from(TAIL_BYTES).expect("it is small"), file);
    let (mut line, mut events) = (Vec::new(), 0);
    loop {
        line.clear();
        if io::BufRead::read_until(&mut reader.by_ref().take(u64::MAX), b'\n', &mut line)? == 0 {
            return Ok(events);
        }
        events += u64::from(!is_cri_part(&line));
    }
}

/// Whether a line in the format of the CRI is a part of a longer one and not its last.
fn is_cri_part(line: &[u8]) -> bool {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let has_stream = matches!(words.nth(1), Some(b"stdout" | b"stderr"));
    has_stream && words.next() == Some(b"P")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn segments_are_kept_over_a_restart_in_their_order_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut segments = Segments::open(dir.path()).unwrap();
        for text in ["one\n", "two\n", "three\n"] {
            segments.append(text.as_bytes()).unwrap();
            segments.roll().unwrap();
        }
        segments.append(b"four\n").unwrap();
        drop(segments);
        let mut segments = Segments::open(dir.path()).unwrap();
        assert_eq!((segments.bytes(), segments.count(), segments.current_bytes()), (19, 4, 5));
        for gone in ["current.log.000000000000", "current.log.000000000002"] {
            remove(&dir.path().join(gone)).unwrap();
        }
        segments.notice_released();
        // The oldest goes first, whatever is gone behind it.
        assert_eq!((segments.bytes(), segments.count()), (15, 3));
        segments.roll().unwrap();
        assert_eq!(names(dir.path()), ["current.log", "current.log.000000000001", "current.log.000000000003"]);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(200_000);
        for (content, left) in [("a\nb", "a\n"), ("a\n", "a\n"), ("", ""), ("ab", ""), (&*format!("a\n{long}"), "a\n")]
        {
            fs::write(dir.path().join(CURRENT), content).unwrap();
            let mut segments = Segments::open(dir.path()).unwrap();
            segments.append(b"next\n").unwrap();
            assert_eq!(fs::read_to_string(dir.path().join(CURRENT)).unwrap(), format!("{left}next\n"));
        }
    }

    #[test]
    fn events_are_counted_as_the_reader_joins_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = "2026-01-01T00:00:00.000000000Z stdout F one\n";
        fs::write(&path, format!("{first}2026-01-01T00:00:00.000000000Z stderr P tw\n2026-01-01T00:00:00.000000000Z stderr F o\n{{\"log\":\"P\"}}\n")).unwrap();
        assert_eq!(count_events(&path, 0).unwrap(), 3);
        assert_eq!(count_events(&path, first.len() as u64).unwrap(), 2);
    }
}
