//! What lies beside a file: names that rotation gives, and files that are the same log under another name. Looks; decides nothing.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::generation::open;
use super::identity::FileId;

/// Endings of compressed files. What they hold was read before it was compressed, and would be read again.
const COMPRESSED: [&str; 10] = ["gz", "zst", "zstd", "bz2", "xz", "lz4", "lzma", "zip", "Z", "br"];
/// Words that rotation puts into a name beside digits.
const ROTATED_WORDS: [&str; 5] = ["old", "bak", "prev", "rot", "rotated"];
/// Files of one directory that are opened to find a log under another name: newer ones first.
const MAX_LOOKED_AT: usize = 256;

/// A file beside another one.
#[derive(Debug, Clone)]
pub struct Sibling {
    /// Where it is.
    pub path: PathBuf,
    /// Its place in the file system.
    pub id: FileId,
    /// What a look at it said.
    pub metadata: Metadata,
}

impl Sibling {
    /// When it came to be, as far as the file system knows.
    pub fn created(&self) -> SystemTime {
        self.metadata.created().or_else(|_| self.metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// When it was written to last.
    pub fn modified(&self) -> SystemTime {
        self.metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// Whether a file's name says that it is compressed.
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|e| COMPRESSED.iter().any(|c| e == *c))
}

/// The directories in which a file's siblings lie: that of its path and, if that is a link, that of the file.
pub fn directories(path: &Path) -> Vec<PathBuf> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut dirs: Vec<PathBuf> = [path.parent(), target.parent()].into_iter().flatten().map(Path::to_owned).collect();
    dirs.dedup();
    dirs
}

/// The regular files of a directory, without links and what is compressed.
pub fn list(dir: &Path) -> Vec<Sibling> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let look = |entry: std::fs::DirEntry| {
        let path = entry.path();
        // `DirEntry::metadata` does not follow links.
        let metadata = entry.metadata().ok().filter(|m| m.is_file() && !is_compressed(&path))?;
        Some(Sibling { id: FileId::of(&metadata), path, metadata })
    };
    entries.flatten().filter_map(look).collect()
}

/// The files beside this one, older ones first.
pub fn siblings(path: &Path) -> Vec<Sibling> {
    let own = std::fs::metadata(path).ok().map(|m| FileId::of(&m));
    let mut found: Vec<Sibling> = directories(path).iter().flat_map(|dir| list(dir)).collect();
    found.retain(|s| Some(s.id) != own);
    found.sort_by_key(Sibling::modified);
    found
}

/// The sibling that passes both looks, at its metadata and at its content: one with a name that rotation gives before others, and a newer one
/// before older ones.
pub fn find(
    path: &Path,
    likely: impl Fn(&Sibling) -> bool,
    is_it: impl Fn(&Sibling, &File) -> std::io::Result<bool>,
) -> Option<(Sibling, File)> {
    let mut likely: Vec<Sibling> = siblings(path).into_iter().rev().filter(likely).collect();
    likely.sort_by_key(|s| !is_rotated(path, &s.path));
    for sibling in likely.into_iter().take(MAX_LOOKED_AT) {
        let Ok(file) = open(&sibling.path) else { continue };
        // It may have been replaced since it was listed.
        let same = file.metadata().is_ok_and(|m| FileId::of(&m) == sibling.id);
        if same && is_it(&sibling, &file).unwrap_or(false) {
            return Some((sibling, file));
        }
    }
    None
}

/// Whether a path is one that rotation gives to the file of another path, whatever the directory.
pub fn is_rotated(was: &Path, path: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(was).zip(name(path)).is_some_and(|(was, now)| is_rotated_name(&was, &now))
}

/// Whether a name is one that rotation gives to a file of this name: `app.log` becomes `app.log.1`, `app.log-20260102`, `app.log.old` or
/// `app-2026-01-02.log`; kubelet's `0.log` becomes `0.log.20260102-030405`.
pub fn is_rotated_name(name: &str, other: &str) -> bool {
    if name == other {
        return false;
    }
    if let Some(suffix) = other.strip_prefix(name) {
        return is_rotation(suffix);
    }
    // In front of the ending.
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let middle = other.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)).and_then(|m| m.strip_suffix('.'));
    middle.is_some_and(is_rotation)
}

/// Digits, a date, a time, or one of a few words, after a separator.
fn is_rotation(part: &str) -> bool {
    let mut has_content = false;
    let fits = part.split(['.', '-', '_', ':', '+', 'T', 'Z']).all(|piece| {
        has_content |= !piece.is_empty();
        let word = piece.trim_end_matches(|c: char| c.is_ascii_digit());
        word.is_empty() || ROTATED_WORDS.contains(&word)
    });
    fits && has_content && part.starts_with(['.', '-', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rotation_gives() {
        for (name, other, want) in [
            ("app.log", "app.log.1", true),
            ("app.log", "app.rot2.log", true),
            ("app.log", "app.root.log", false),
            ("app.log", "app.log-20260102", true),
            ("app.log", "app.log.2026-01-02T03:04:05Z", true),
            ("app.log", "app.log.old", true),
            ("app.log", "app-2026-01-02.log", true),
            ("app.log", "app.1.log", true),
            ("0.log", "0.log.20260102-030405", true),
            ("app", "app.1", true),
            ("app.log", "app.log", false),
            ("app.log", "app.log.", false),
            ("app.log", "app.log.swp", false),
            ("app.log", "app.log2", false),
            ("app.log", "app-errors.log", false),
            ("app.log", "app.log.1.tmp", false),
            ("app.log", "other.log.1", false),
        ] {
            assert_eq!(is_rotated_name(name, other), want, "{name} {other}");
        }
        assert!(is_compressed(Path::new("/x/app.log.1.gz")) && !is_compressed(Path::new("/x/app.log.1")));
    }
}
