//! A directory of the demo's own, for its logs and the agent's state. It is gone when the demo ends, however that comes.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Names that are tried. A second one is needed only if somebody guessed the first.
const ATTEMPTS: usize = 16;
/// Times that removal is tried: a thread of an agent that was dropped may still be writing its last file.
const REMOVALS: usize = 3;

/// The directory.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory below this one that nobody else can look into.
    pub fn create(parent: &Path) -> io::Result<Self> {
        let parent = std::path::absolute(parent)?;
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        for _ in 0..ATTEMPTS {
            let path = parent.join(format!("kinetail-demo-{}-{:08x}", std::process::id(), fastrand::u32(..)));
            match builder.create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Its path, which is absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::debug!(%error, path = %self.0.display(), "the demo's directory cannot be removed yet");
                }
                Ok(()) | Err(_) => return,
            }
        }
        tracing::warn!(path = %self.0.display(), "the demo's directory is still there; it can be removed");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_private_and_goes_with_all_that_is_in_it() {
        let parent = tempfile::tempdir().unwrap();
        let (one, two) = (Scratch::create(parent.path()).unwrap(), Scratch::create(parent.path()).unwrap());
        assert_ne!(one.path(), two.path());
        assert_eq!(std::fs::metadata(one.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::create_dir(one.path().join("state")).unwrap();
        std::fs::write(one.path().join("state/x"), "x").unwrap();
        drop((one, two));
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
