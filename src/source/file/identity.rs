//! Which file is which. A file is what its device, its inode and its content say together: inodes are used again at once on most file
//! systems, device numbers change with a reboot, and content alone cannot tell two equal files apart. Only reads; decides for the reader.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::checkpoint::{Entry, fingerprint};

/// Bytes at a file's start that are part of its identity.
pub const HEAD_BYTES: usize = 256;
/// Bytes before an offset that are part of it: they change when the file is truncated and grows again, whatever its size is by then.
pub const MARK_BYTES: usize = 64;

/// A file's place in its file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl FileId {
    /// The place of the file that was looked at.
    pub fn of(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), ino: metadata.ino() }
    }
}

/// Reads up to `len` bytes before `end`.
pub fn bytes_before(file: &File, end: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(end).map_or(len, |end| end.min(len));
    let mut bytes = vec![0; len];
    let read = read_full(file, &mut bytes, end - len as u64)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads until the buffer is full or the file ends.
pub fn read_full(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match file.read_at(&mut buf[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// When a file's inode was made, in nanoseconds since 1970; none where the file system does not tell.
pub fn born(metadata: &Metadata) -> Option<u64> {
    let born = metadata.created().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(born.as_nanos()).ok()
}

/// Whether a file has the inode that an entry is of only because that was used again.
pub fn has_used_inode(metadata: &Metadata, entry: &Entry) -> bool {
    let is_place = FileId::of(metadata) == (FileId { dev: entry.dev, ino: entry.ino });
    is_place && born(metadata).zip(entry.born).is_some_and(|(its, known)| its != known)
}

/// Whether a file still has the content that a checkpoint entry is of. One whose inode was used again has not, however alike the two are.
pub fn has_content(file: &File, metadata: &Metadata, entry: &Entry) -> io::Result<bool> {
    if metadata.len() < entry.offset || has_used_inode(metadata, entry) {
        return Ok(false);
    }
    let matches = |end: u64, len: u64, print: u64| -> io::Result<bool> {
        let Ok(len) = usize::try_from(len) else { return Ok(false) };
        if len > HEAD_BYTES {
            return Ok(false);
        }
        let bytes = bytes_before(file, end, len)?;
        Ok(bytes.len() == len && fingerprint(&bytes) == print)
    };
    Ok(matches(entry.head_len, entry.head_len, entry.head)? && matches(entry.mark_end, entry.mark_len, entry.mark)?)
}

/// A file as the checkpoint names it.
#[derive(Debug)]
pub struct Named<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Where it was when its lane was given to it.
    pub lane: &'a Path,
    /// Its device and inode.
    pub id: FileId,
    /// When the inode was made.
    pub born: Option<u64>,
    /// Whether it may be a copy of another file.
    pub unproven: bool,
    /// Its name across restarts.
    pub tag: u64,
    /// When it was last there.
    pub seen: u64,
}

/// What was seen of a file up to an offset: enough to tell, later, whether a file is still that one, or another file a copy of it.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// Everything before this was read.
    end: u64,
    /// The first bytes, of which some may lie behind `end`.
    head: Vec<u8>,
    /// The bytes before `end`.
    mark: Vec<u8>,
    /// Marks of a while ago: a copy that was made meanwhile ends before `end`.
    older: [Option<Mark>; 2],
}

/// The bytes before an offset, at some time.
#[derive(Debug, Clone)]
struct Mark {
    end: u64,
    bytes: Vec<u8>,
    at: Instant,
}

/// How often a mark is kept for later. A copy takes less than twice as long, or its beginning alone has to do.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// What a file has of another one's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It is something else.
    None,
    /// All of it is from the other one, which has been read further.
    Part,
    /// All that was read of the other one.
    Whole,
}

impl Content {
    /// What a file holds up to this offset.
    pub fn of(file: &File, end: u64) -> io::Result<Self> {
        let mut head = vec![0; HEAD_BYTES];
        let filled = read_full(file, &mut head, 0)?;
        head.truncate(filled);
        head.shrink_to_fit();
        Ok(Self { end, head, mark: bytes_before(file, end, MARK_BYTES)?, older: [None, None] })
    }

    /// Up to where it was read.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The first bytes.
    pub fn first(&self) -> &[u8] {
        &self.head
    }

    /// The length and the fingerprint of the first bytes.
    pub fn head(&self) -> (u64, u64) {
        (self.head.len() as u64, fingerprint(&self.head))
    }

    /// The bytes before the end.
    pub fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// Takes in what was read next. Answers whether more of the first bytes is known now.
    pub fn extend(&mut self, new: &[u8], now: Instant) -> bool {
        if self.older[1].as_ref().is_none_or(|mark| mark.at + MARK_EVERY <= now) && !self.mark.is_empty() {
            let mark = Mark { end: self.end, bytes: self.mark.clone(), at: now };
            self.older = [self.older[1].take(), Some(mark)];
        }
        if self.end == 0 {
            // What was there when it was opened may have been truncated since, which no mark could tell.
            self.head.clear();
        }
        let known = usize::try_from(self.head.len() as u64 - self.end.min(self.head.len() as u64)).unwrap_or(0);
        let mut grew = false;
        if self.head.len() < HEAD_BYTES && self.end <= self.head.len() as u64 && known < new.len() {
            let room = HEAD_BYTES - self.head.len();
            self.head.extend(new[known..].iter().take(room));
            grew = true;
        }
        if new.len() >= MARK_BYTES {
            self.mark.clear();
            self.mark.extend_from_slice(&new[new.len() - MARK_BYTES..]);
        } else {
            let keep = self.mark.len().min(MARK_BYTES - new.len());
            self.mark.drain(..self.mark.len() - keep);
            self.mark.extend_from_slice(new);
        }
        self.end += new.len() as u64;
        grew
    }

    /// Whether a file still has what was read last.
    pub fn is_last_in(&self, file: &File) -> io::Result<bool> {
        has_bytes(file, self.end, &self.mark)
    }

    /// Whether a file still has the first bytes, which were there when it was opened.
    pub fn is_first_in(&self, file: &File) -> io::Result<bool> {
        has_bytes(file, self.head.len() as u64, &self.head)
    }

    /// What the checkpoint is to know of a file that holds this and is committed up to an offset, before which are these bytes.
    pub fn entry(&self, of: &Named<'_>, offset: u64, mark: &[u8]) -> Entry {
        let (head_len, head) = self.head();
        Entry {
            path: of.path.to_string_lossy().into_owned(),
            lane: (of.lane != of.path).then(|| of.lane.to_string_lossy().into_owned()),
            dev: of.id.dev,
            ino: of.id.ino,
            born: of.born,
            unproven: of.unproven,
            generation: of.tag,
            offset,
            head_len,
            head,
            mark_len: mark.len() as u64,
            mark_end: offset,
            mark: fingerprint(mark),
            seen: of.seen,
        }
    }

    /// What a file of this size has of this content. An overlap without a single byte is none.
    pub fn overlap(&self, file: &File, size: u64) -> io::Result<Overlap> {
        let head = self.head.get(..usize::try_from(size).unwrap_or(usize::MAX)).unwrap_or(&self.head);
        if head.is_empty() || !has_bytes(file, head.len() as u64, head)? {
            return Ok(Overlap::None);
        }
        if size >= self.end {
            return Ok(if self.is_last_in(file)? { Overlap::Whole } else { Overlap::None });
        }
        let older = self.older.iter().flatten().rev().find(|mark| mark.end <= size);
        let fits = older.map_or(Ok(true), |mark| has_bytes(file, mark.end, &mark.bytes))?;
        Ok(if fits { Overlap::Part } else { Overlap::None })
    }
}

/// Whether these bytes lie before an offset.
fn has_bytes(file: &File, end: u64, bytes: &[u8]) -> io::Result<bool> {
    Ok(end >= bytes.len() as u64 && bytes_before(file, end, bytes.len())? == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: &[u8], offset: usize) -> Entry {
        let head = &content[..content.len().min(HEAD_BYTES).min(offset)];
        let mark = &content[offset.saturating_sub(MARK_BYTES)..offset];
        Entry {
            path: "/x".to_owned(),
            lane: None,
            dev: 1,
            ino: 2,
            born: None,
            unproven: false,
            generation: 1,
            offset: offset as u64,
            head_len: head.len() as u64,
            head: fingerprint(head),
            mark_len: mark.len() as u64,
            mark_end: offset as u64,
            mark: fingerprint(mark),
            seen: 0,
        }
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, File, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, content).unwrap();
        let file = File::open(path).unwrap();
        (dir, file, content.len() as u64)
    }

    #[test]
    fn content_is_recognised_grown_and_told_apart_when_it_changed() {
        let old: Vec<u8> = (0..1000u32).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let entry = entry(&old, 5000);
        let grown = [&old[..], b"more\n"].concat();
        let head_changed = [b"LINE", &old[4..]].concat();
        let mut mark_changed = old.clone();
        mark_changed[4990] ^= 1;
        for (content, same) in [
            (&grown, true),
            (&old, true),
            (&head_changed, false),
            (&mark_changed, false),
            (&old[..4999].to_vec(), false),
        ] {
            let (_dir, file, _) = file(content);
            let metadata = file.metadata().unwrap();
            assert_eq!(has_content(&file, &metadata, &entry).unwrap(), same);
            // The same content under an inode that was made at another time is another file's; elsewhere it may be a copy.
            let FileId { dev, ino } = FileId::of(&metadata);
            for (ino, born, want) in [(ino, born(&metadata), same), (ino, Some(1), false), (ino + 1, Some(1), same)] {
                let entry = Entry { dev, ino, born, ..entry.clone() };
                assert_eq!(has_content(&file, &metadata, &entry).unwrap(), want);
            }
        }
    }

    #[test]
    fn a_copy_is_recognised_whole_growing_and_short_and_nothing_else_is() {
        let text: Vec<u8> = (0..1000u32).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        let (_dir, original, _) = file(&text);
        let now = Instant::now();
        let mut content = Content::of(&original, 0).unwrap();
        content.extend(&text[..5000], now);
        content.extend(&text[5000..6000], now + MARK_EVERY);
        content.extend(&text[6000..8000], now + MARK_EVERY);
        let mut other = text.clone();
        other[7990] ^= 1;
        let mut old_other = text.clone();
        old_other[4990] ^= 1;
        for (what, bytes, want) in [
            ("a copy that is longer", &text[..], Overlap::Whole),
            ("a copy of just that", &text[..8000], Overlap::Whole),
            ("a copy made before the last read", &text[..7000], Overlap::Part),
            ("a copy just begun", &text[..100], Overlap::Part),
            ("another file", &other[..], Overlap::None),
            ("another file, shorter", &old_other[..7000], Overlap::None),
            ("another beginning", &text[7..], Overlap::None),
            ("an empty file", b"", Overlap::None),
        ] {
            let (_dir, file, size) = file(bytes);
            assert_eq!(content.overlap(&file, size).unwrap(), want, "{what}");
        }
    }
}
