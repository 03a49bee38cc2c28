//! `kinetail install`: copies this binary to a place, for init containers whose image has no shell.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{EXIT_FAILED, answer, complain};

/// What everybody may run, and only the owner change.
const MODE: u32 = 0o755;
/// The name in a directory.
const NAME: &str = "kinetail";

/// Where the binary goes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct InstallArgs {
    /// The file, or a directory for it; what is there is replaced, even while it runs
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

/// Why it was not copied.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("this program's own file cannot be read: {0}; run it by its path")]
    Own(io::Error),
    #[error("{0}: its directory does not exist; mount the volume there, or name one that exists")]
    NoDirectory(PathBuf),
    #[error(
        "{path}: {source}; the user that this runs as must be able to write to that directory (securityContext.fsGroup, or chmod), and it must not be mounted read-only"
    )]
    Write { path: PathBuf, source: io::Error },
}

/// Copies the binary, and says where it is.
pub(super) fn install(args: &InstallArgs) -> ExitCode {
    match copy(&args.path) {
        Ok(path) => answer(&path.display()),
        Err(error) => complain(&error, EXIT_FAILED),
    }
}

fn copy(path: &Path) -> Result<PathBuf, Error> {
    // Of the process, not of the path that it was started by: that may name another file by now.
    let mut own = File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?)).map_err(Error::Own)?;
    let directory_named = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let target = if directory_named { path.join(NAME) } else { path.to_owned() };
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return Err(Error::NoDirectory(target));
    }
    // Beside it, so that the renaming replaces it at once: a file that runs cannot be written to.
    let aside = directory.join(format!(".{NAME}.{}", std::process::id()));
    let written = write(&mut own, &aside, directory, &target);
    if written.is_err() {
        // It may not even be there.
        std::fs::remove_file(&aside).ok();
    }
    written.map_err(|source| Error::Write { path: target.clone(), source }).map(|()| target)
}

fn write(own: &mut File, aside: &Path, directory: &Path, target: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(aside)?;
    io::copy(own, &mut file)?;
    // The umask took its part when the file was made.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(aside, target)?;
    // Not all file systems can; the file itself is safe.
    File::open(directory).and_then(|directory| directory.sync_all()).ok();
    Ok(())
}
