//! One file as it was opened, with its descriptor, its offsets and its line. A rotated file and its successor under the same path are two
//! generations; so are a file before and after it was truncated.
//!
//! Every read is verified after it was made: had the file been truncated before, the bytes just before the offset would have changed. A
//! truncation after the verification cannot touch what was read before it, so there is no window.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Group;
use super::identity::{FileId, HEAD_BYTES, MARK_BYTES, bytes_before, read_full};
use crate::checkpoint::{Entry, Slot, fingerprint};
use crate::event::{LaneId, SourceId};
use crate::line::{LineBuilder, Lines};
use crate::offsets::OffsetTracker;

/// Bytes of one read: from 64 KiB on larger ones are no faster.
pub const READ_BYTES: usize = 128 * 1024;
/// How often a file is looked at while data flows; doubled after every look in vain ...
const POLL_HOT: Duration = Duration::from_millis(5);
/// ... up to this ...
const POLL_IDLE: Duration = Duration::from_millis(250);
/// ... and to this for a file that has not grown for [`QUIET_AFTER`]: an idle agent costs little more than its looks.
const POLL_QUIET: Duration = Duration::from_millis(500);
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// What a file's unfinished line keeps of its memory when the line is done.
const MAX_IDLE_CARRY: usize = 64 * 1024;
/// How far back the start of a line is looked for that a restart found itself in.
const MAX_LOOK_BACK: u64 = 128 << 20;

/// Where a file is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A glob names it.
    Live,
    /// No glob names it any more, since then; the service may still write to it.
    Draining(Instant),
    /// All of it is read. It stays until all of it is committed.
    Done,
}

/// What a read brought.
#[derive(Debug)]
pub enum Read {
    /// Bytes of the chunk that became lines: from this offset in the file to that one.
    Lines {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// Bytes, but no whole line yet.
    Partial,
    /// The file's end.
    End,
    /// The file is not what was read so far any more: it was truncated, and perhaps has grown since.
    Truncated,
}

/// One opened file.
#[derive(Debug)]
pub struct Generation {
    /// The name of its spans.
    pub id: SourceId,
    /// The index of its group.
    pub group: usize,
    /// Where it is, or was last.
    pub path: PathBuf,
    /// Whose order its events keep.
    pub lane: LaneId,
    /// The lane's partition key.
    pub partition_key: Arc<str>,
    /// Its device and inode.
    pub file_id: FileId,
    /// Names it in the checkpoint, across restarts.
    pub tag: u64,
    /// What is settled.
    pub tracker: OffsetTracker,
    /// Where it is in its life.
    pub state: State,
    /// When it last grew.
    pub grew_at: Instant,
    /// When it is looked at next.
    pub next_poll: Instant,
    /// When a look last reached its end, unless it has grown since.
    pub ended_at: Option<Instant>,
    /// Its content was replaced under it; another generation reads what is there now.
    pub replaced: bool,
    /// Its size at the last look.
    pub size: u64,
    file: File,
    /// When it lost its name to another file.
    superseded: Option<Instant>,
    poll: Duration,
    /// Up to here it is read.
    read: u64,
    /// The bytes before `read` that are no whole line yet.
    carry: Vec<u8>,
    head: Vec<u8>,
    /// The head has grown since it was last noted.
    head_grew: bool,
    mark: Vec<u8>,
    modified: (i64, i64),
    line: LineBuilder,
    /// There are whole lines among the carried bytes, which are to be taken before any more are read.
    capped: bool,
}

/// What a generation is opened with.
#[derive(Debug)]
pub struct Opening {
    /// The name of its spans.
    pub id: SourceId,
    /// The index of its group.
    pub group: usize,
    /// Where it is.
    pub path: PathBuf,
    /// Whose order its events keep.
    pub lane: LaneId,
    /// The lane's partition key.
    pub partition_key: Arc<str>,
    /// Names it in the checkpoint.
    pub tag: u64,
    /// Where reading begins.
    pub offset: u64,
    /// Whether a glob names it.
    pub state: State,
}

/// Opens a file for reading. A FIFO that took the file's place since it was looked at must not block the reader.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

impl Generation {
    /// A generation that is read from an offset on.
    pub fn new(opening: Opening, file: File, group: &Group, now: Instant) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let Opening { id, group: group_index, path, lane, partition_key, tag, offset, state } = opening;
        let file_id = FileId::of(&metadata);
        let mut head = vec![0; HEAD_BYTES];
        let filled = read_full(&file, &mut head, 0)?;
        head.truncate(filled);
        let mark = bytes_before(&file, offset, MARK_BYTES)?;
        let sent = bytes_since_newline(&file, offset)?;
        let shown = path.to_string_lossy();
        let line_tag = format!("{:x}-{:x}", file_id.dev, file_id.ino);
        let mut line = LineBuilder::new(Arc::clone(&group.line), group.added(&shown), line_tag, offset, sent);
        if offset > 0 {
            line.detect(&head);
        }
        Ok(Self {
            id,
            group: group_index,
            path,
            lane,
            partition_key,
            file_id,
            tag,
            tracker: OffsetTracker::starting_at(offset),
            state,
            grew_at: now,
            next_poll: now,
            ended_at: None,
            replaced: false,
            superseded: None,
            size: metadata.len(),
            file,
            poll: POLL_HOT,
            read: offset,
            carry: Vec::new(),
            head,
            head_grew: false,
            mark,
            modified: (0, 0),
            line,
            capped: false,
        })
    }

    /// A second descriptor of the same file, to start over after a truncation.
    pub fn reopen(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Reads once. Lines are left in `lines`, as ranges of `chunk`, which is made large enough and not emptied.
    pub fn read(&mut self, chunk: &mut Vec<u8>, max_event: usize, lines: &mut Lines, now: Instant) -> io::Result<Read> {
        let carried = self.carry.len();
        if self.capped {
            chunk.clear();
            chunk.append(&mut self.carry);
            return Ok(self.advance(chunk, carried, max_event, lines, now));
        }
        if chunk.len() < carried + READ_BYTES {
            chunk.resize(carried + READ_BYTES, 0);
        }
        let n = self.file.read_at(&mut chunk[carried..carried + READ_BYTES], self.read)?;
        let metadata = self.file.metadata()?;
        if self.was_truncated(&metadata, n)? {
            return Ok(Read::Truncated);
        }
        self.size = metadata.len();
        if n == 0 {
            self.ended_at = Some(now);
            self.pause(now);
            self.line.expire(now, max_event, lines);
            let at = self.read - carried as u64;
            return Ok(if lines.is_empty() { Read::End } else { Read::Lines { start: at, end: at } });
        }
        chunk[..carried].copy_from_slice(&self.carry);
        self.remember(&chunk[carried..carried + n]);
        self.read += n as u64;
        self.grew_at = now;
        self.poll = POLL_HOT;
        self.ended_at = None;
        self.next_poll = now;
        Ok(self.advance(chunk, carried + n, max_event, lines, now))
    }

    /// Makes lines of the first bytes of the chunk, which are the last ones that were read, and carries the rest.
    fn advance(&mut self, chunk: &[u8], filled: usize, max_event: usize, lines: &mut Lines, now: Instant) -> Read {
        let filled = &chunk[..filled];
        let start = self.read - filled.len() as u64;
        let used = self.line.advance(filled, start, max_event, now, lines);
        self.line.expire(now, max_event, lines);
        self.capped = lines.capped;
        self.carry.clear();
        self.carry.shrink_to(MAX_IDLE_CARRY);
        self.carry.extend_from_slice(&filled[used..]);
        if used == 0 && lines.is_empty() { Read::Partial } else { Read::Lines { start, end: start + used as u64 } }
    }

    /// Makes an event of a last line that has no newline. The chunk is given to it.
    pub fn flush(&mut self, chunk: &mut Vec<u8>, max_event: usize, lines: &mut Lines) -> Option<Read> {
        if !self.has_partial_line() {
            return None;
        }
        let start = self.read - self.carry.len() as u64;
        chunk.clear();
        chunk.append(&mut self.carry);
        self.capped = false;
        self.line.flush(chunk, start, max_event, lines);
        Some(Read::Lines { start, end: self.read })
    }

    /// Whether there is the beginning of a line, or of a record of several lines.
    pub fn has_partial_line(&self) -> bool {
        !self.carry.is_empty() || self.line.held_from().is_some()
    }

    /// Whether everything that was read is committed.
    pub fn is_committed(&self) -> bool {
        self.tracker.committed() == self.read
    }

    /// Bytes that are there and were not read yet.
    pub fn backlog(&self) -> u64 {
        self.size.saturating_sub(self.read)
    }

    /// Has the file looked at without delay.
    pub fn wake(&mut self, now: Instant) {
        self.next_poll = now;
    }

    /// Another look after a pause that grows.
    pub fn pause(&mut self, now: Instant) {
        self.next_poll = now + self.poll;
        let longest = if now < self.grew_at + QUIET_AFTER { POLL_IDLE } else { POLL_QUIET };
        self.poll = (self.poll * 2).min(longest);
    }

    /// Another file took its name: what was written up to then is read before anything of its successor.
    pub fn supersede(&mut self, now: Instant) {
        self.superseded = Some(now);
        self.ended_at = None;
        self.wake(now);
    }

    /// Whether something may still come before what its successor holds: not once it has lost its name and a look, long enough after that
    /// and after its last growth, found its end.
    pub fn may_grow(&self, rotate_wait: Duration) -> bool {
        let since = match self.state {
            State::Done => return false,
            State::Live => self.superseded,
            State::Draining(since) => Some(self.superseded.unwrap_or(since)),
        };
        let quiet = |since: Instant| self.ended_at.is_some_and(|at| at >= since.max(self.grew_at) + rotate_wait);
        !since.is_some_and(quiet)
    }

    /// Takes note of a size that a scan saw, so that the backlog is right while nothing can be read.
    pub fn notice_size(&mut self, found: Option<&Metadata>) {
        let size = found.map_or_else(|| self.file.metadata().map_or(0, |m| m.len()), Metadata::len);
        self.size = self.size.max(size);
    }

    /// The number of links to the file: 0 when it was deleted.
    pub fn links(&self) -> u64 {
        self.file.metadata().map_or(0, |m| m.nlink())
    }

    /// Whether the journal has to learn more of the file's identity.
    pub fn take_head_grew(&mut self) -> bool {
        std::mem::take(&mut self.head_grew)
    }

    /// What the journal is to know of it now.
    pub fn slot(&self) -> Slot {
        let (head_len, head) = (self.head.len() as u64, fingerprint(&self.head));
        Slot { generation: self.tag, offset: self.tracker.committed(), head_len, head }
    }

    /// What the checkpoint is to know of it now; nothing if the file is not what was read of it any more.
    pub fn entry(&self, seen: u64) -> io::Result<Option<Entry>> {
        let offset = self.tracker.committed();
        let mark = bytes_before(&self.file, offset, MARK_BYTES)?;
        // After the mark was read, so that it is known to be of the same content.
        if bytes_before(&self.file, self.read, self.mark.len())? != self.mark {
            return Ok(None);
        }
        Ok(Some(Entry {
            path: self.path.to_string_lossy().into_owned(),
            dev: self.file_id.dev,
            ino: self.file_id.ino,
            generation: self.tag,
            offset,
            head_len: self.head.len() as u64,
            head: fingerprint(&self.head),
            mark_len: mark.len() as u64,
            mark_end: offset,
            mark: fingerprint(&mark),
            seen,
        }))
    }

    fn was_truncated(&mut self, metadata: &Metadata, n: usize) -> io::Result<bool> {
        if metadata.len() < self.read + n as u64 {
            return Ok(true);
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        // Nothing came and nothing was written: what was true at the last look is true now.
        if n == 0 && modified == self.modified {
            return Ok(false);
        }
        self.modified = modified;
        let mut now = [0; MARK_BYTES];
        let now = &mut now[..self.mark.len()];
        let filled = read_full(&self.file, now, self.read - self.mark.len() as u64)?;
        Ok(filled < self.mark.len() || *now != self.mark[..])
    }

    /// Keeps what identifies the file: its first bytes, and the last ones that were read.
    fn remember(&mut self, new: &[u8]) {
        let known = usize::try_from(self.head.len() as u64 - self.read.min(self.head.len() as u64)).unwrap_or(0);
        if self.head.len() < HEAD_BYTES && self.read <= self.head.len() as u64 && known < new.len() {
            let room = HEAD_BYTES - self.head.len();
            self.head.extend(new[known..].iter().take(room));
            self.head_grew = true;
        }
        if new.len() >= MARK_BYTES {
            self.mark.clear();
            self.mark.extend_from_slice(&new[new.len() - MARK_BYTES..]);
        } else {
            let keep = self.mark.len().min(MARK_BYTES - new.len());
            self.mark.drain(..self.mark.len() - keep);
            self.mark.extend_from_slice(new);
        }
    }
}

/// How many bytes lie between the last newline before an offset and the offset: more than none if a line was sent without its end.
fn bytes_since_newline(file: &File, offset: u64) -> io::Result<u64> {
    const STEP: usize = 64 * 1024;
    let mut end = offset;
    while end > 0 && offset - end < MAX_LOOK_BACK {
        let bytes = bytes_before(file, end, STEP)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(offset - end + (bytes.len() - at - 1) as u64);
        }
        if bytes.is_empty() {
            break;
        }
        end -= bytes.len() as u64;
    }
    Ok(offset - end)
}
