//! What all feeders of lines have in common: a thread that reads a descriptor, makes CRI lines of what it reads ([`format`]), and hands them to the
//! spool; what is read is on the disk, and passed through if that is wished ([`tee`]), before more is read. Where the descriptor comes from is not
//! known here: a command ([`super::exec`]), stdin ([`super::stdin`]), a FIFO ([`super::fifo`]).
//!
//! What the kernel's pipe holds (64 KiB as a rule), and the up to 64 KiB under way to the disk, is lost if this process is killed: nobody
//! else has the other end. All that was handed over stays.

pub mod format;
pub mod tee;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::format::Formatter;
use self::tee::Tee;
use crate::clock;
use crate::container::Stream;
use crate::spool::{Feed, Lines};

/// Read at once: what a pipe holds unless someone has changed it.
const READ_BYTES: usize = 64 * 1024;

/// The time for which lines gather where little is read at a time, so that a program that writes each line by itself does not cost a hand-over
/// for each: at most 500 a second. The first line after a pause never waits.
const GATHER: Duration = Duration::from_millis(2);

/// What is read at once and is so much does not gather: the writer would wait for room in the pipe.
const GATHER_BELOW_BYTES: usize = 16 * 1024;

/// Read after the stop at most, if the pipe holds no more than this: as much as a pipe can hold unless root has made it larger.
const LAST_PASS_BYTES: usize = 1024 * 1024;

/// What is read, and where it goes.
#[derive(Debug)]
pub struct Pipe {
    /// The descriptor. It may block or not: it is read only when something is there.
    pub input: OwnedFd,
    /// What the lines are said to come from.
    pub stream: Stream,
    /// Where the bytes are passed through to.
    pub tee: Option<Tee>,
    /// Where the lines go.
    pub feed: Feed,
}

/// A pipe that is being read. If it is dropped, reading stops as by [`Running::stop`].
#[derive(Debug)]
pub struct Running {
    /// Whoever polls the other end sees when this is closed.
    go_on: Option<OwnedFd>,
    end: oneshot::Receiver<Ended>,
    ended: Option<Ended>,
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub why: Why,
    /// Bytes that were read.
    pub bytes: u64,
    /// Lines that were read.
    pub events: u64,
    /// Lines of these that the spool had not kept when it closed.
    pub lost_events: u64,
    /// Bytes that were not passed through.
    pub tee_skipped_bytes: u64,
}

/// Why reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// All writers have closed it, and all is read.
    Eof,
    /// It was stopped; what was there by then is read.
    Stopped,
    /// The spool takes nothing any more.
    Closed,
    /// It cannot be read.
    Failed(Errno),
}

impl Pipe {
    /// Starts the thread. Its name is for people who look at threads.
    pub fn start(self, name: &str) -> std::io::Result<Running> {
        let (stop, go_on) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let (told, end) = oneshot::channel();
        let reader = Reader {
            formatter: Formatter::new(self.stream),
            pipe: self,
            stop,
            buffer: vec![0; READ_BYTES],
            last: None,
            ended: Ended { why: Why::Eof, bytes: 0, events: 0, lost_events: 0, tee_skipped_bytes: 0 },
        };
        // Nobody hears the end if nobody waits for it any more.
        let run = move || told.send(reader.run()).unwrap_or(());
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Running { go_on: Some(go_on), end, ended: None })
    }
}

impl Running {
    /// Reading ends after what is there now; nothing more is waited for, neither from the writers nor for the readers of what is passed through.
    /// What has been written without a newline is a line by then.
    pub fn stop(&mut self) {
        self.go_on = None;
    }

    /// Waits for the end: all that was read is kept by then. May be asked again, also after it was given up.
    pub async fn ended(&mut self) -> Ended {
        if let Some(ended) = self.ended {
            return ended;
        }
        let lost =
            Ended { why: Why::Failed(Errno::CANCELED), bytes: 0, events: 0, lost_events: 0, tee_skipped_bytes: 0 };
        let ended = (&mut self.end).await.unwrap_or(lost);
        self.ended = Some(ended);
        ended
    }
}

/// The thread's own.
#[derive(Debug)]
struct Reader {
    pipe: Pipe,
    formatter: Formatter,
    /// Closed at its other end when reading shall stop.
    stop: OwnedFd,
    buffer: Vec<u8>,
    /// When the last hand-over of little began.
    last: Option<Instant>,
    ended: Ended,
}

impl Reader {
    /// Until the end, whichever it is.
    fn run(mut self) -> Ended {
        let why = match self.read_all() {
            Ok(why) | Err(why) => why,
        };
        // Whatever the reason: no more of the line will come.
        let mut bytes = Vec::new();
        let events = self.formatter.finish(clock::now(), &mut bytes);
        self.ended.why = match self.hand_over(Lines { bytes, events }) {
            Err(closed) => closed,
            Ok(()) => why,
        };
        self.ended.tee_skipped_bytes = self.pipe.tee.as_ref().map_or(0, Tee::skipped);
        self.ended
    }

    /// Reads and hands over, as long as there is a reason to. An `Err` is an end, too.
    fn read_all(&mut self) -> Result<Why, Why> {
        loop {
            if self.wait()? {
                return self.last_pass();
            }
            self.gather()?;
            if let Some(0) = self.read()? {
                return Ok(Why::Eof);
            }
        }
    }

    /// What is there when reading is stopped: until nothing is, within bounds, since writers may never rest.
    fn last_pass(&mut self) -> Result<Why, Why> {
        // What is no pipe, a file at stdin, can be read to the bound as well.
        let mut left = rustix::pipe::fcntl_getpipe_size(&self.pipe.input).unwrap_or(0).max(LAST_PASS_BYTES);
        while left > 0 {
            let mut ready = [PollFd::new(&self.pipe.input, PollFlags::IN)];
            match poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(0) => break,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Why::Failed(error)),
            }
            match self.read()? {
                None => break,
                Some(0) => return Ok(Why::Eof),
                Some(read) => left = left.saturating_sub(read),
            }
        }
        Ok(Why::Stopped)
    }

    /// Waits until something is there; true if reading shall stop.
    fn wait(&self) -> Result<bool, Why> {
        loop {
            let mut ready = [PollFd::new(&self.pipe.input, PollFlags::IN), PollFd::new(&self.stop, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Why::Failed(error)),
            }
            let [_, stop] = ready;
            return Ok(!stop.revents().is_empty());
        }
    }

    /// Gives lines a moment to gather if the last ones came just now and were few. A stop ends it.
    fn gather(&self) -> Result<(), Why> {
        let Some(rest) = self.last.and_then(|last| GATHER.checked_sub(last.elapsed())) else {
            return Ok(());
        };
        let rest = Timespec { tv_sec: 0, tv_nsec: rest.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.stop, PollFlags::IN)], Some(&rest)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Why::Failed(error)),
        }
    }

    /// Reads once and hands over what that gave: nothing if someone else took it, 0 at the end.
    fn read(&mut self) -> Result<Option<usize>, Why> {
        let read = match rustix::io::read(&self.pipe.input, &mut self.buffer) {
            Ok(read) => read,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            // The other side of a terminal or of a connection is gone.
            Err(Errno::IO | Errno::CONNRESET) => 0,
            Err(error) => return Err(Why::Failed(error)),
        };
        if read == 0 {
            return Ok(Some(0));
        }
        self.last = (read < GATHER_BELOW_BYTES).then(Instant::now);
        self.ended.bytes += u64::try_from(read).unwrap_or(u64::MAX);
        let chunk = self.buffer.get(..read).unwrap_or_default();
        let mut bytes = Vec::new();
        let events = self.formatter.add(chunk, clock::now(), &mut bytes);
        // First what must not be lost, then what shall be seen; and what was read is seen even if the spool is closed.
        let kept = self.hand_over(Lines { bytes, events });
        if let Some(tee) = &mut self.pipe.tee {
            tee.write(self.buffer.get(..read).unwrap_or_default(), self.stop.as_fd());
        }
        kept.map(|()| Some(read))
    }

    /// Returns when the lines are kept. While the spool has no room, this is where the writers come to feel it.
    fn hand_over(&mut self, lines: Lines) -> Result<(), Why> {
        if lines.bytes.is_empty() {
            return Ok(());
        }
        let events = lines.events;
        self.ended.events += events;
        self.pipe.feed.write_blocking(lines).map_err(|_| {
            self.ended.lost_events += events;
            Why::Closed
        })
    }
}
