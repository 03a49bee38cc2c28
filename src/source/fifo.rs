//! A FIFO as a feeder: a named pipe in a volume that containers share. Writers come and go; nobody waits in `open`, neither they nor the agent.
//!
//! It is opened for reading *and* writing, which Linux allows for FIFOs: so opening does not wait for a writer, and since there is
//! always one (ourselves), the end of the last of the others is no end of the file. Writers find a reader from then on, also before they
//! have anything to say.
//!
//! What writers should know: up to 4,096 bytes written at once stay together, longer lines of several writers can mix; a writer that goes
//! without a newline leaves its text to be the beginning of the next one's line; while no agent runs, `open` for writing waits, and who has
//! it open gets EPIPE. The agent does not remove the FIFO. Should someone else replace it, the new one is read after a restart.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::pipe::{Pipe, Running};
use crate::container::Stream;
use crate::spool::Feed;

/// Why a FIFO cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something else has its name.
    #[error("{} is {what}, not a FIFO: name a path where there is none, or remove what is there", path.display())]
    NotAFifo {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// It is not there and cannot be made.
    #[error("cannot create the FIFO {}: {source}; its directory must exist and be writable for this process's user", path.display())]
    Create {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is there and cannot be opened.
    #[error("cannot open the FIFO {}: {source}; this process's user needs to read and to write it, so that it stays open while there is no writer", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read for want of threads or descriptors.
    #[error("cannot start to read the FIFO {}: {source}", path.display())]
    Start {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads the FIFO at a path until it is stopped. It is made if it is not there, with exactly this mode, whatever the umask; one that is there
/// keeps its mode.
pub fn start(path: &Path, mode: u32, feed: Feed) -> Result<Running, Error> {
    let input = open(path, mode)?;
    Pipe { input, stream: Stream::Stdout, tee: None, feed }
        .start("fifo")
        .map_err(|source| Error::Start { path: path.to_owned(), source })
}

/// Makes it if need be, and opens it.
fn open(path: &Path, mode: u32) -> Result<OwnedFd, Error> {
    let create = |source: rustix::io::Errno| Error::Create { path: path.to_owned(), source: source.into() };
    let failed = |source: rustix::io::Errno| Error::Open { path: path.to_owned(), source: source.into() };
    let mode = Mode::from_raw_mode(mode);
    let is_ours = match rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, mode, 0) {
        Ok(()) => true,
        Err(rustix::io::Errno::EXIST) => false,
        Err(error) => return Err(create(error)),
    };
    // Looked at before it is opened, since opening a device can have effects, and after, since only then it cannot be another any more.
    check(path, rustix::fs::stat(path).map_err(failed)?)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let input = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
    check(path, rustix::fs::fstat(&input).map_err(failed)?)?;
    if is_ours {
        rustix::fs::fchmod(&input, mode).map_err(create)?;
    }
    Ok(input)
}

fn check(path: &Path, stat: rustix::fs::Stat) -> Result<(), Error> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => return Ok(()),
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink | FileType::Unknown => "something else",
    };
    Err(Error::NotAFifo { path: path.to_owned(), what })
}
