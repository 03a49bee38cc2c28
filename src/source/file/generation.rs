//! One file as it was opened, with its descriptor, its offsets and its line. A rotated file and its successor under the same path are two
//! generations; so are a file before and after it was truncated.
//!
//! Every read is verified after it was made: had the file been truncated before, the bytes just before the offset would have changed. A
//! truncation after the verification cannot touch what was read before it, so there is no window.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Group;
use super::identity::{Content, FileId, HEAD_BYTES, MARK_BYTES, Named, Overlap, born, bytes_before, read_full};
use crate::checkpoint::{Entry, Slot, fingerprint};
use crate::clock::unix_nanos;
use crate::event::{LaneId, SourceId};
use crate::line::{LineBuilder, Lines};
use crate::offsets::OffsetTracker;
use crate::parse::{Added, Known};

/// Bytes of one read: from 64 KiB on larger ones are no faster.
pub const READ_BYTES: usize = 128 * 1024;
/// How often a file is looked at while data flows; doubled after every look in vain ...
const POLL_HOT: Duration = Duration::from_millis(5);
/// ... up to this ...
const POLL_IDLE: Duration = Duration::from_millis(250);
/// A file that has not grown for so long is looked at together with all others like it.
const QUIET_AFTER: Duration = Duration::from_secs(10);
/// What a file's unfinished line keeps of its memory when the line is done.
const MAX_IDLE_CARRY: usize = 64 * 1024;
/// Batches of which the oldest events are no further apart than this are told of as one, in nanoseconds.
const SAME_AGE: u64 = 250_000_000;
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
    /// Its descriptor had been closed, and another file or none is at its path.
    Moved,
}

/// What a look at a quiet file saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// It is to be read.
    Changed,
}

/// Bytes that were handed on and are not committed.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// The byte after the last.
    end: u64,
    /// The time of the oldest event in them, or when they came, in nanoseconds since 1970.
    since: u64,
}

/// Bytes that nobody gets.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    /// Of those that were not read.
    unread: u64,
    /// Of those that were: the beginning of a line or of a record.
    read: u64,
    /// Cut off before they were read, while the file went on.
    cut: u64,
}

/// One opened file.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself, and all mixtures of them happen")]
pub struct Generation {
    /// The name of its spans.
    pub id: SourceId,
    /// Of the generations of one file, the first: a file that was truncated keeps its place in its lane.
    pub birth: SourceId,
    /// The index of its group.
    pub group: usize,
    /// Where it is, or was last.
    pub path: PathBuf,
    /// Where it was when its lane was given to it.
    pub lane_path: PathBuf,
    /// Whose order its events keep.
    pub lane: LaneId,
    /// The lane's partition key.
    pub partition_key: Arc<str>,
    /// Its device and inode.
    pub file_id: FileId,
    /// When its inode was made, where the file system tells.
    pub born: Option<u64>,
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
    /// It came while others were read, and may be a copy that precedes a truncation: since when, and how large it was then.
    pub unproven: Option<(Instant, u64)>,
    /// The file that its path is a link to.
    pub target: Option<PathBuf>,
    /// It goes on in a copy that a rotator made.
    pub is_copy: bool,
    /// When it was found to be deleted.
    pub deleted_at: Option<Instant>,
    /// Closed while nothing is to be read: a quiet file costs no descriptor where there are many.
    file: Option<File>,
    /// Where it was when it was closed.
    place: Option<PathBuf>,
    /// When it lost its name to another file.
    superseded: Option<Instant>,
    poll: Duration,
    /// What was read of it, and up to where.
    content: Content,
    /// The bytes before the end of `content` that are no whole line yet.
    carry: Vec<u8>,
    /// The head has grown since it was last noted.
    head_grew: bool,
    modified: (i64, i64),
    /// What the last checkpoint knew of it.
    noted: Option<Entry>,
    line: LineBuilder,
    /// What is known of the place, where events get that.
    known: Option<watch::Receiver<Arc<Known>>>,
    /// There are whole lines among the carried bytes, which are to be taken before any more are read.
    capped: bool,
    /// Where reading began.
    start: u64,
    /// What was handed on and is not committed, oldest first.
    pending: VecDeque<Pending>,
    /// Since when there has been something to read, in nanoseconds since 1970.
    behind_since: Option<u64>,
    /// The same for what was read last.
    arrived: u64,
    lost: Lost,
    /// A scan saw it shorter than it was: what it holds since is another generation's, which the next read will tell.
    shrunk: bool,
    /// No source has it any more, and the rest of it is not read: when files were looked for last before that, in microseconds since 1970.
    left: Option<u64>,
}

/// What a generation is opened with.
#[derive(Debug)]
pub struct Opening {
    /// The name of its spans.
    pub id: SourceId,
    /// The first generation of the file.
    pub birth: SourceId,
    /// The index of its group.
    pub group: usize,
    /// Where it is.
    pub path: PathBuf,
    /// Where it had its lane.
    pub lane_path: PathBuf,
    /// Whose order its events keep.
    pub lane: LaneId,
    /// The lane's partition key.
    pub partition_key: Arc<str>,
    /// What its events get.
    pub added: Added,
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
        let Opening { id, birth, group: group_index, path, lane_path, lane, partition_key, added, tag, offset, state } =
            opening;
        let file_id = FileId::of(&metadata);
        let is_link = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink());
        let target = is_link.then(|| std::fs::canonicalize(&path).ok()).flatten();
        let content = Content::of(&file, offset)?;
        let sent = bytes_since_newline(&file, offset)?;
        let line_tag = format!("{:x}-{:x}", file_id.dev, file_id.ino);
        let mut line =
            LineBuilder::new(Arc::clone(&group.line), group.added_with_id(added, tag), line_tag, offset, sent);
        if offset > 0 {
            line.detect(content.first());
        }
        // What is there by now is as old as the last write at least.
        let behind_since = (metadata.len() > offset).then(|| written(&metadata));
        let mut known = group.known();
        if let Some(known) = &mut known {
            line.know(Arc::clone(&known.borrow_and_update()));
        }
        Ok(Self {
            id,
            birth,
            group: group_index,
            path,
            lane_path,
            lane,
            partition_key,
            file_id,
            born: born(&metadata),
            tag,
            tracker: OffsetTracker::starting_at(offset),
            state,
            grew_at: now,
            next_poll: now,
            ended_at: None,
            replaced: false,
            unproven: None,
            target,
            is_copy: false,
            deleted_at: None,
            superseded: None,
            size: metadata.len(),
            file: Some(file),
            place: None,
            poll: POLL_HOT,
            content,
            carry: Vec::new(),
            head_grew: false,
            modified: (0, 0),
            noted: None,
            line,
            known,
            capped: false,
            start: offset,
            pending: VecDeque::new(),
            behind_since,
            arrived: 0,
            lost: Lost::default(),
            shrunk: false,
            left: None,
        })
    }

    /// Belongs to this group from now on, the one of this index.
    pub fn renew(&mut self, index: usize, group: &Group) {
        self.group = index;
        let added = group.added_with_id(group.added(&self.lane_path.to_string_lossy()), self.tag);
        self.line.renew(&group.line, added, self.content.first());
        self.known = group.known();
        if let Some(known) = &mut self.known {
            self.line.know(Arc::clone(&known.borrow_and_update()));
        }
    }

    /// No source has it any more: nothing more of it is read. Files were looked for last at `seen`. Answers how many bytes that are there nobody gets
    /// of it now.
    pub fn leave(&mut self, seen: u64) -> u64 {
        // The beginning of a record is delivered, that of a line is not.
        let carried = self.carry.len() as u64;
        let unread = self.give_up(false) + carried;
        self.lost.read += carried;
        (self.left, self.state) = (Some(seen), State::Done);
        unread
    }

    /// Whether no source has it any more.
    pub fn has_left(&self) -> bool {
        self.left.is_some()
    }

    /// A source has it again, before all that was read of it was delivered. Answers when it left.
    pub fn come_back(&mut self, state: State, now: Instant) -> Option<u64> {
        self.state = state;
        self.ended_at = None;
        self.wake(now);
        let left = self.left.take();
        if left.is_some() {
            // What was given up is found once more: it counts for what it was and for what becomes of it now.
            let carried = self.carry.len() as u64;
            self.lost.read -= carried;
            self.lost.unread += carried;
        }
        left
    }

    /// Whether something is held back of what was read that is more than a beginning of a line.
    pub fn holds_back(&self) -> bool {
        self.line.held_from().is_some()
    }

    /// Makes events of what is held back, but for the beginning of a line: whoever reads it again has the whole of it.
    pub fn let_go(&mut self, max_event: usize, lines: &mut Lines) -> Read {
        self.line.let_go(max_event, lines);
        let at = self.content.end() - self.carry.len() as u64;
        Read::Lines { start: at, end: at }
    }

    /// Whether it has a descriptor.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Lets go of the descriptor. What the file was is known, so that nothing else is taken for it when it is opened again.
    pub fn close(&mut self) {
        self.place = self.name();
        self.file = None;
        self.modified = (0, 0);
        self.carry.shrink_to_fit();
    }

    /// Its name by now, which the kernel knows if it was renamed.
    pub fn name(&self) -> Option<PathBuf> {
        match &self.file {
            Some(file) => std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok(),
            None => self.place.clone(),
        }
    }

    /// Closes it if it can be opened again.
    pub fn close_if_possible(&mut self) {
        if self.links().is_some_and(|links| links > 0) {
            self.close();
        }
    }

    /// How large the file is now.
    pub fn current_size(&self) -> u64 {
        let looked = match &self.file {
            Some(file) => file.metadata(),
            None => std::fs::metadata(self.place()),
        };
        looked.map_or(self.size, |m| m.len())
    }

    /// Where it is when it is closed.
    fn place(&self) -> &Path {
        self.place.as_deref().unwrap_or(&self.path)
    }

    /// The file, opened again where it was; none if it is not there any more.
    fn open_again(&self) -> io::Result<Option<File>> {
        match open(self.place()) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
            Ok(file) => Ok((FileId::of(&file.metadata()?) == self.file_id).then_some(file)),
        }
    }

    /// Opens it if it is closed. Answers whether it is still there.
    fn ensure_open(&mut self) -> io::Result<bool> {
        if self.file.is_none() {
            self.file = self.open_again()?;
        }
        Ok(self.file.is_some())
    }

    /// Gives its descriptor away, to who reads what the file holds now.
    pub fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }

    /// Goes on in another file, which has all that was read of this one: it was copied, or saved anew.
    pub fn move_to(&mut self, file: File) -> io::Result<()> {
        let metadata = file.metadata()?;
        (self.file_id, self.born) = (FileId::of(&metadata), born(&metadata));
        self.set_size(metadata.len());
        self.file = Some(file);
        self.modified = (0, 0);
        self.noted = None;
        self.deleted_at = None;
        Ok(())
    }

    /// What was read of it.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Whether this file begins as another one does: it may be a copy of it, perhaps one that is still being made.
    pub fn may_be_copy_of(&self, other: &Generation) -> io::Result<bool> {
        let opened;
        let file = match &self.file {
            Some(file) => file,
            None => match self.open_again()? {
                Some(file) => {
                    opened = file;
                    &opened
                }
                None => return Ok(false),
            },
        };
        let size = file.metadata()?.len();
        // Looked at in this order, a copy is never longer than what it is of, unless that was truncated since.
        if size > other.current_size() && other.is_what_it_was()? {
            return Ok(false);
        }
        if other.content.end() > 0 {
            return Ok(other.content.overlap(file, size)? != Overlap::None);
        }
        // Nothing was read of the other one yet; what it holds will be.
        let its = match &other.file {
            Some(file) => first_bytes(file)?,
            None => other.open_again()?.as_ref().map(first_bytes).transpose()?.unwrap_or_default(),
        };
        let mine = first_bytes(file)?;
        let length = mine.len().min(its.len());
        Ok(length > 0 && mine[..length] == its[..length])
    }

    /// Where the file itself is: the directory, and the name in it.
    pub fn directory_and_name(&self) -> Option<(&Path, &OsStr)> {
        let path = self.target.as_deref().unwrap_or(&self.path);
        Some((path.parent()?, path.file_name()?))
    }

    /// Whether it still holds what was read of it last.
    fn is_what_it_was(&self) -> io::Result<bool> {
        match &self.file {
            Some(file) => self.content.is_last_in(file),
            None => self.open_again()?.as_ref().map_or(Ok(false), |file| self.content.is_last_in(file)),
        }
    }

    /// A look at a quiet file.
    pub fn look(&mut self) -> Look {
        let looked = match &self.file {
            Some(file) => file.metadata(),
            None => std::fs::metadata(self.place()),
        };
        match looked {
            Ok(m) if FileId::of(&m) == self.file_id && m.len() == self.size && self.content.end() == self.size => {
                Look::Same
            }
            // Where it went is found by the next scan, which a hint or its time brings soon.
            Err(_) => Look::Same,
            Ok(_) => Look::Changed,
        }
    }

    /// Whether nothing is expected of it for a while: it can do with a look now and then.
    pub fn is_quiet(&self, now: Instant) -> bool {
        let at_end = (self.ended_at == Some(now) || self.unproven.is_some()) && self.content.end() == self.size;
        self.state == State::Live && at_end && !self.has_partial_line() && now >= self.grew_at + QUIET_AFTER
    }

    /// Has events from now on say what has become known since the last ones.
    fn learn(&mut self) {
        if let Some(known) = self.known.as_mut().filter(|known| known.has_changed().unwrap_or(false)) {
            self.line.know(Arc::clone(&known.borrow_and_update()));
        }
    }

    /// Reads once. Lines are left in `lines`, as ranges of `chunk`, which is made large enough and not emptied.
    pub fn read(&mut self, chunk: &mut Vec<u8>, max_event: usize, lines: &mut Lines, now: Instant) -> io::Result<Read> {
        self.learn();
        let carried = self.carry.len();
        if self.capped {
            chunk.clear();
            chunk.append(&mut self.carry);
            return Ok(self.advance(chunk, carried, max_event, lines, now));
        }
        if chunk.len() < carried + READ_BYTES {
            chunk.resize(carried + READ_BYTES, 0);
        }
        if !self.ensure_open()? {
            return Ok(Read::Moved);
        }
        let Some(file) = &self.file else { return Ok(Read::Moved) };
        let n = file.read_at(&mut chunk[carried..carried + READ_BYTES], self.content.end())?;
        let metadata = file.metadata()?;
        if self.was_truncated(&metadata, n)? {
            return Ok(Read::Truncated);
        }
        self.set_size(metadata.len());
        if n == 0 {
            self.ended_at = Some(now);
            self.behind_since = None;
            self.pause(now);
            return Ok(Read::End);
        }
        chunk[..carried].copy_from_slice(&self.carry);
        self.head_grew |= self.content.extend(&chunk[carried..carried + n], now);
        self.arrived = *self.behind_since.get_or_insert_with(|| written(&metadata));
        if self.content.end() >= self.size {
            self.behind_since = None;
        }
        self.grew_at = now;
        self.poll = POLL_HOT;
        self.ended_at = None;
        self.next_poll = now;
        Ok(self.advance(chunk, carried + n, max_event, lines, now))
    }

    /// Makes lines of the first bytes of the chunk, which are the last ones that were read, and carries the rest.
    fn advance(&mut self, chunk: &[u8], filled: usize, max_event: usize, lines: &mut Lines, now: Instant) -> Read {
        let filled = &chunk[..filled];
        let start = self.content.end() - filled.len() as u64;
        let used = self.line.advance(filled, start, max_event, now, lines);
        self.line.expire(now, max_event, lines);
        self.capped = lines.capped;
        self.carry.clear();
        self.carry.shrink_to(MAX_IDLE_CARRY);
        self.carry.extend_from_slice(&filled[used..]);
        if used == 0 && lines.is_empty() { Read::Partial } else { Read::Lines { start, end: start + used as u64 } }
    }

    /// Whether something of it has waited long enough for what may follow it.
    pub fn is_overdue(&self, now: Instant, partial_line_timeout: Duration) -> bool {
        let is_partial = !self.carry.is_empty() && !partial_line_timeout.is_zero();
        is_partial && now >= self.grew_at + partial_line_timeout || self.line.due().is_some_and(|due| due <= now)
    }

    /// Sends what is overdue: an unfinished line, pieces of a line, lines of a record. The chunk is given to it.
    pub fn expire(
        &mut self,
        chunk: &mut Vec<u8>,
        max_event: usize,
        lines: &mut Lines,
        now: Instant,
        timeout: Duration,
    ) -> Read {
        let start = self.content.end() - self.carry.len() as u64;
        let mut end = start;
        if !timeout.is_zero() && now >= self.grew_at + timeout {
            chunk.clear();
            chunk.append(&mut self.carry);
            end = self.content.end();
            self.line.flush_partial(chunk, start, max_event, now, lines);
        }
        self.line.expire(now, max_event, lines);
        Read::Lines { start, end }
    }

    /// Makes an event of a last line that has no newline. The chunk is given to it.
    pub fn flush(&mut self, chunk: &mut Vec<u8>, max_event: usize, lines: &mut Lines) -> Option<Read> {
        if !self.has_partial_line() {
            return None;
        }
        let start = self.content.end() - self.carry.len() as u64;
        chunk.clear();
        chunk.append(&mut self.carry);
        self.capped = false;
        self.line.flush(chunk, start, max_event, lines);
        Some(Read::Lines { start, end: self.content.end() })
    }

    /// Adds an event that stands for none of the file's bytes, and answers where it stands.
    pub fn tell(&mut self, event: &str, lines: &mut Lines) -> u64 {
        let at = self.content.end() - self.carry.len() as u64;
        self.line.tell(event, at, lines);
        at
    }

    /// Whether there is the beginning of a line, or of a record of several lines.
    pub fn has_partial_line(&self) -> bool {
        !self.carry.is_empty() || self.line.held_from().is_some()
    }

    /// How many bytes of them there are.
    fn unfinished_bytes(&self) -> u64 {
        self.carry.len() as u64 + self.line.held_bytes()
    }

    /// The bytes from the first of these to the last.
    pub fn partial_line_bytes(&self) -> u64 {
        let carried = self.content.end() - self.carry.len() as u64;
        self.content.end() - self.line.held_from().map_or(carried, |held| held.min(carried))
    }

    /// Whether everything that was read is committed.
    pub fn is_committed(&self) -> bool {
        let carried = if self.has_left() { self.carry.len() as u64 } else { 0 };
        self.tracker.committed() == self.content.end() - carried
    }

    /// Bytes that it was seen to hold, from where reading began, whatever became of them.
    pub fn found(&self) -> u64 {
        self.size.max(self.content.end()) - self.start + self.lost.unread + self.lost.cut
    }

    /// Bytes that were read and are neither settled nor given up.
    pub fn in_flight(&self) -> u64 {
        (self.content.end() - self.start).saturating_sub(self.tracker.settled() + self.lost.read)
    }

    /// Bytes that were gone before they were read, while the file went on.
    pub fn cut(&self) -> u64 {
        self.lost.cut
    }

    /// Nobody gets what was not read of it, nor, if that is asked for, the beginning of a line or of a record. Answers how many bytes that is.
    pub fn give_up(&mut self, with_unfinished: bool) -> u64 {
        let unread = self.backlog();
        let read = if with_unfinished { self.unfinished_bytes().min(self.in_flight()) } else { 0 };
        self.size = self.content.end();
        self.lost.unread += unread;
        self.lost.read += read;
        // Whatever it may be a copy of, it counts.
        self.unproven = None;
        self.behind_since = None;
        unread + read
    }

    /// Its size by now. What was noticed of it and is not there any more was cut off before it could be read.
    fn set_size(&mut self, size: u64) {
        // What comes to a file that no source has is nobody's.
        if self.has_left() {
            return;
        }
        let lost = self.size.saturating_sub(size.max(self.content.end()));
        if lost > 0 {
            tracing::warn!(path = %self.path.display(), bytes = lost, "the end of a file is gone before it was read");
            self.lost.cut += lost;
        }
        (self.size, self.shrunk) = (size, false);
    }

    /// What was read up to there is handed on; the time of its oldest event is this, if one is known.
    pub fn note_batch(&mut self, end: u64, oldest: Option<u64>) {
        let since = oldest.unwrap_or(self.arrived);
        match self.pending.back_mut() {
            Some(last) if since >= last.since && since - last.since < SAME_AGE => last.end = end,
            _ => self.pending.push_back(Pending { end, since }),
        }
    }

    /// How long ago the oldest byte came that is not committed, in seconds.
    pub fn behind(&mut self, now_nanos: u64) -> Option<f64> {
        let committed = self.tracker.committed();
        while self.pending.front().is_some_and(|batch| batch.end <= committed) {
            self.pending.pop_front();
        }
        let since = match self.pending.front() {
            Some(batch) => batch.since,
            None if self.in_flight() > 0 => self.arrived,
            None if self.backlog() > 0 => self.behind_since?,
            None => return None,
        };
        Some(Duration::from_nanos(now_nanos.saturating_sub(since)).as_secs_f64())
    }

    /// Bytes that are there and were not read yet.
    pub fn backlog(&self) -> u64 {
        if self.has_left() { 0 } else { self.size.saturating_sub(self.content.end()) }
    }

    /// Has the file looked at without delay.
    pub fn wake(&mut self, now: Instant) {
        self.next_poll = now;
    }

    /// Another look after a pause that grows.
    pub fn pause(&mut self, now: Instant) {
        self.next_poll = self.line.due().map_or(now + self.poll, |due| due.clamp(now, now + self.poll));
        self.poll = (self.poll * 2).min(POLL_IDLE);
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
        // Nobody writes to a copy.
        let rotate_wait = if self.is_copy { Duration::ZERO } else { rotate_wait };
        let quiet = |since: Instant| self.ended_at.is_some_and(|at| at >= since.max(self.grew_at) + rotate_wait);
        !since.is_some_and(quiet)
    }

    /// Whether it is the file that has the lane's name now: it has no successor yet, whatever was found after it.
    pub fn is_last(&self) -> bool {
        self.state == State::Live && self.superseded.is_none() && self.path == self.lane_path
    }

    /// Takes note of a size that a scan saw, so that the backlog is right while nothing can be read.
    pub fn notice_size(&mut self, found: Option<&Metadata>) {
        // What is in its place now is another one's.
        if self.state == State::Done {
            return;
        }
        let own = || self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |m| m.len());
        let size = found.map_or_else(own, Metadata::len);
        // One that was truncated may have outgrown what it was.
        self.shrunk =
            self.shrunk || size < self.size || size > self.size && matches!(self.still_holds_content(), Ok(false));
        if self.shrunk {
            return;
        }
        self.size = size;
        if self.backlog() > 0 {
            self.behind_since.get_or_insert_with(unix_nanos);
        }
    }

    /// The number of links to the file: 0 when it was deleted, none when it is closed.
    pub fn links(&self) -> Option<u64> {
        self.file.as_ref().map(|file| file.metadata().map_or(0, |m| m.nlink()))
    }

    /// Whether the journal has to learn more of the file's identity.
    pub fn take_head_grew(&mut self) -> bool {
        std::mem::take(&mut self.head_grew)
    }

    /// What the journal is to know of it now.
    pub fn slot(&self) -> Slot {
        let (head_len, head) = self.content.head();
        let offset = self.tracker.committed();
        // Without the mark, that of the checkpoint has to do.
        let mark = self.mark_before(offset).ok().flatten().unwrap_or_default();
        let (mark_len, mark) = (mark.len() as u64, fingerprint(&mark));
        Slot { generation: self.tag, offset, head_len, head, mark_len, mark }
    }

    /// What the checkpoint is to know of it now.
    pub fn entry(&mut self, seen: u64) -> Entry {
        // What came after it left has been seen by nobody.
        let seen = self.left.unwrap_or(seen);
        let offset = self.tracker.committed();
        let head_len = self.content.first().len() as u64;
        let place = (self.file_id.dev, self.file_id.ino);
        let unproven = self.unproven.is_some();
        if let Some(noted) = &mut self.noted
            && (noted.offset, noted.head_len, (noted.dev, noted.ino)) == (offset, head_len, place)
        {
            if Path::new(&noted.path) != self.path {
                noted.path = self.path.to_string_lossy().into_owned();
                noted.lane = (self.lane_path != self.path).then(|| self.lane_path.to_string_lossy().into_owned());
            }
            (noted.seen, noted.unproven) = (seen, unproven);
            return noted.clone();
        }
        // If it was truncated, or cannot be read, the bytes before the offset are not to be had any more. Those before the end of what was read
        // tell its copy from what it holds now just as well.
        let (mark, mark_end) = match self.mark_before(offset) {
            Ok(Some(mark)) => (mark, offset),
            Ok(None) | Err(_) => (self.content.mark().to_vec(), self.content.end()),
        };
        let (path, lane, id) = (&self.path, &self.lane_path, self.file_id);
        let named = Named { path, lane, id, born: self.born, unproven, tag: self.tag, seen };
        let entry = Entry { mark_end, ..self.content.entry(&named, offset, &mark) };
        self.noted = Some(entry.clone());
        entry
    }

    /// The bytes before an offset, if they can still be had from the file that was read.
    fn mark_before(&self, offset: u64) -> io::Result<Option<Vec<u8>>> {
        if offset == self.content.end() {
            return Ok(Some(self.content.mark().to_vec()));
        }
        let mark_in = |file: &File| {
            let mark = bytes_before(file, offset, MARK_BYTES)?;
            // After the mark was read, so that it is known to be of the same content.
            Ok(self.content.is_last_in(file)?.then_some(mark))
        };
        self.in_file(mark_in).unwrap_or(Ok(None))
    }

    fn was_truncated(&mut self, metadata: &Metadata, n: usize) -> io::Result<bool> {
        if metadata.len() < self.content.end() + n as u64 {
            return Ok(true);
        }
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        // Nothing came and nothing was written: what was true at the last look is true now.
        if n == 0 && modified == self.modified {
            return Ok(false);
        }
        self.modified = modified;
        Ok(!self.still_holds_content()?)
    }

    /// Whether what was read of it is still there, as far as that can be told.
    fn still_holds_content(&self) -> io::Result<bool> {
        let holds = |file: &File| {
            Ok(self.content.is_last_in(file)? && (self.content.end() > 0 || self.content.is_first_in(file)?))
        };
        self.in_file(holds).unwrap_or(Ok(true))
    }

    /// Looks into the file, which is opened for it if it is closed; none if it is not to be found.
    fn in_file<T>(&self, into: impl FnOnce(&File) -> io::Result<T>) -> Option<io::Result<T>> {
        match &self.file {
            Some(file) => Some(into(file)),
            None => self.open_again().transpose().map(|file| into(&file?)),
        }
    }
}

/// When a file was last written to, in nanoseconds since 1970; now, if that is later.
fn written(metadata: &Metadata) -> u64 {
    let at = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    u64::try_from(at).unwrap_or(0).min(unix_nanos())
}

fn first_bytes(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEAD_BYTES];
    let filled = read_full(file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
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
