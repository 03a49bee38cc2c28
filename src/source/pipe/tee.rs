//! What the child wrote, passed through to this process's own output, byte for byte. A slow reader of that output is waited for, as the child
//! would have waited; one that is gone, or an output that fails, never stops delivery.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};

/// Bytes that a pipe takes without waiting once poll says that it has room: its smallest unit.
const PIECE_BYTES: usize = 4096;

/// `pwritev2` reads this as: where the output stands.
const AT_ITS_POSITION: u64 = u64::MAX;

/// An output of this process.
#[derive(Debug)]
pub struct Tee {
    to: OwnedFd,
    way: Way,
    /// Its reader is gone.
    broken: bool,
    /// It was said that bytes are missing.
    said: bool,
    skipped: u64,
}

/// How to write without being stuck in it, so that a stop is always heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The kernel takes what it has room for at once.
    NoWait,
    /// As much as there is certainly room for.
    Pieces,
    /// Nothing to wait for: a file.
    Whole,
}

impl Tee {
    /// To standard output.
    pub fn stdout() -> std::io::Result<Self> {
        Self::to(std::io::stdout().as_fd().try_clone_to_owned()?)
    }

    /// To standard error.
    pub fn stderr() -> std::io::Result<Self> {
        Self::to(std::io::stderr().as_fd().try_clone_to_owned()?)
    }

    /// To anything.
    pub fn to(output: OwnedFd) -> std::io::Result<Self> {
        let way = match FileType::from_raw_mode(rustix::fs::fstat(&output)?.st_mode) {
            FileType::Fifo | FileType::Socket => Way::NoWait,
            FileType::RegularFile => Way::Whole,
            _ => Way::Pieces,
        };
        Ok(Self { to: output, way, broken: false, said: false, skipped: 0 })
    }

    /// Bytes that were not written.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Writes all, or gives up: at an error, and when there is no room after `stop` was closed at its other end.
    pub fn write(&mut self, mut bytes: &[u8], stop: BorrowedFd<'_>) {
        while !bytes.is_empty() && !self.broken {
            match self.wait(stop).and_then(|()| self.some(bytes)) {
                // Nothing written is nothing to try again: no output says so for as long as poll says that it has room.
                Ok(0) => break,
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => {
                    self.broken = error == Errno::PIPE;
                    self.say(error);
                    break;
                }
            }
        }
        self.skipped += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    /// Waits for room. There being none at the stop is an error like others.
    fn wait(&self, stop: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut ready = [PollFd::new(&self.to, PollFlags::OUT), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        poll(&mut ready, None)?;
        let [output, _] = ready;
        if output.revents().is_empty() { Err(Errno::CANCELED) } else { Ok(()) }
    }

    /// Writes what goes at once.
    fn some(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        if self.way == Way::NoWait {
            match rustix::io::pwritev2(&self.to, &[IoSlice::new(bytes)], AT_ITS_POSITION, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => self.way = Way::Pieces,
                result => return result,
            }
        }
        let most = if self.way == Way::Whole { bytes.len() } else { bytes.len().min(PIECE_BYTES) };
        rustix::io::write(&self.to, &bytes[..most])
    }

    /// Says once that bytes are missing.
    fn say(&mut self, error: Errno) {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(%error, "what the command wrote cannot all be passed through to this process's own output; it is delivered all the same");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The end that is looked at, and the end whose closing says stop.
    fn stop() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe().unwrap()
    }

    #[test]
    fn a_slow_reader_gets_all() {
        for way in [Way::NoWait, Way::Pieces] {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let sent: Vec<u8> = (0..1_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let expected = sent.clone();
            let writing = std::thread::spawn(move || {
                let (stop, _go_on) = stop();
                let mut tee = Tee::to(writer).unwrap();
                tee.way = way;
                tee.write(&sent, stop.as_fd());
                tee.skipped()
            });
            let mut got = Vec::new();
            std::fs::File::from(reader).read_to_end(&mut got).unwrap();
            assert_eq!(writing.join().unwrap(), 0);
            assert!(got == expected, "{way:?}");
        }
    }

    #[test]
    fn a_reader_that_is_gone_or_asleep_at_the_stop_is_not_waited_for() {
        let (stop, go_on) = stop();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        let mut tee = Tee::to(writer).unwrap();
        for skipped in [3, 6] {
            tee.write(b"abc", stop.as_fd());
            assert_eq!((tee.skipped(), tee.broken), (skipped, true));
        }

        drop(go_on);
        for way in [Way::NoWait, Way::Pieces] {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let room = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
            let mut tee = Tee::to(writer).unwrap();
            tee.way = way;
            tee.write(&vec![0; room + 10], stop.as_fd());
            assert_eq!((tee.skipped(), tee.broken), (10, false), "{way:?}");
            drop(reader);
        }
    }
}
