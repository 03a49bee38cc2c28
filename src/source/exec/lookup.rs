//! Which file a command is, looked for as the system's own `execvp` does, so that a command that cannot be run is told before anything was begun.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

/// Why a command cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// There is no such file.
    NotFound,
    /// There is one, and it is no program for this user.
    NotExecutable,
}

/// Looks for a command in this `PATH`, or where it says itself if it has a slash.
pub fn look_up(command: &OsStr, path: Option<&OsString>) -> Result<(), Missing> {
    if command.is_empty() {
        return Err(Missing::NotFound);
    }
    if command.as_bytes().contains(&b'/') {
        return look_at(Path::new(command));
    }
    // Without a PATH the system has one of its own, which is not ours to know.
    let Some(path) = path else { return Ok(()) };
    let mut missing = Missing::NotFound;
    for directory in std::env::split_paths(path) {
        match look_at(&Path::new(".").join(directory).join(command)) {
            Ok(()) => return Ok(()),
            Err(Missing::NotExecutable) => missing = Missing::NotExecutable,
            Err(Missing::NotFound) => {}
        }
    }
    Err(missing)
}

fn look_at(file: &Path) -> Result<(), Missing> {
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Missing::NotExecutable,
        _ => Missing::NotFound,
    })?;
    if metadata.is_file() && access(file, Access::EXEC_OK).is_ok() { Ok(()) } else { Err(Missing::NotExecutable) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn commands_are_found_where_the_system_finds_them() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
        for (directory, name, mode) in [(&first, "data", 0o644), (&second, "data", 0o755), (&first, "only", 0o644)] {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::write(directory.join(name), "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(directory.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths([&first, &second]).unwrap();
        let look = |command: &OsStr| look_up(command, Some(&path));
        assert_eq!(look("data".as_ref()), Ok(()));
        assert_eq!(look("only".as_ref()), Err(Missing::NotExecutable));
        assert_eq!(look("none".as_ref()), Err(Missing::NotFound));
        assert_eq!(look("".as_ref()), Err(Missing::NotFound));
        assert_eq!(look(second.join("data").as_ref()), Ok(()));
        assert_eq!(look(first.join("data").as_ref()), Err(Missing::NotExecutable));
        assert_eq!(look(first.as_ref()), Err(Missing::NotExecutable));
        assert_eq!(look(first.join("data/below").as_ref()), Err(Missing::NotFound));
        assert_eq!(look_up("anything".as_ref(), None), Ok(()));
    }
}
