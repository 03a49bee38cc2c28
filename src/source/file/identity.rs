//! Which file is which. A file is what its device, its inode and its content say together: inodes are used again at once on most file
//! systems, device numbers change with a reboot, and content alone cannot tell two equal files apart. Only reads; decides for the reader.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

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
pub fn bytes_before(file: &std::fs::File, end: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(end).map_or(len, |end| end.min(len));
    let mut bytes = vec![0; len];
    let read = read_full(file, &mut bytes, end - len as u64)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Reads until the buffer is full or the file ends.
pub fn read_full(file: &std::fs::File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
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

/// Whether a file still has the content that a checkpoint entry is of.
pub fn has_content(file: &std::fs::File, size: u64, entry: &Entry) -> io::Result<bool> {
    if size < entry.offset {
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

/// How well an entry fits a file whose content it has: the same inode, or the same path on a device that got another number.
pub fn fits(entry: &Entry, id: FileId, path: &str) -> Option<Fit> {
    if entry.dev == id.dev && entry.ino == id.ino {
        return Some(Fit::SameFile);
    }
    // On the same device another inode is another file, and so it is without any content to go by.
    (entry.path == path && entry.dev != id.dev && entry.head_len > 0).then_some(Fit::SamePath)
}

/// Better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Device and inode are the same.
    SameFile,
    /// The path is the same.
    SamePath,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn entry(content: &[u8], offset: usize) -> Entry {
        let head = &content[..content.len().min(HEAD_BYTES).min(offset)];
        let mark = &content[offset.saturating_sub(MARK_BYTES)..offset];
        Entry {
            path: "/x".to_owned(),
            dev: 1,
            ino: 2,
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
            let (_dir, file, size) = file(content);
            assert_eq!(has_content(&file, size, &entry).unwrap(), same);
        }
    }

    #[test]
    fn an_entry_of_nothing_fits_by_inode_only() {
        let empty = entry(b"", 0);
        assert_eq!(fits(&empty, FileId { dev: 1, ino: 2 }, "/y"), Some(Fit::SameFile));
        assert_eq!(fits(&empty, FileId { dev: 1, ino: 3 }, "/x"), None);
        assert_eq!(fits(&entry(b"abc", 3), FileId { dev: 9, ino: 3 }, "/x"), Some(Fit::SamePath));
        assert_eq!(fits(&entry(b"abc", 3), FileId { dev: 9, ino: 3 }, "/y"), None);
        assert_eq!(fits(&entry(b"abc", 3), FileId { dev: 1, ino: 3 }, "/x"), None);
    }
}
