//! The spool: what cannot be read twice is written to files first, which the reader tails like any others. This is the hand-over: a feeder (a
//! wrapped command, stdin, a FIFO, the Forward server) gives whole lines, and hears when they are kept.

use tokio::sync::{mpsc, oneshot};

/// Hand-overs that may wait for the disk. A feeder waits for its own; this bounds how many feeders of one spool do.
const QUEUE: usize = 16;

/// Lines on their way to the spool.
#[derive(Debug)]
pub struct Lines {
    /// Whole lines in the spool's format, each with its newline.
    pub bytes: Vec<u8>,
    /// How many events they are.
    pub events: u64,
}

/// The spool takes nothing any more: the agent stops, and what was not kept is the feeder's to keep or to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the spool is closed: the agent stops")]
pub struct Closed;

/// A feeder's end of a spool. Clones feed the same one; what one clone writes stays in order.
#[derive(Debug, Clone)]
pub struct Feed {
    to: mpsc::Sender<Handed>,
}

/// What arrives at the spool's own thread.
#[derive(Debug)]
pub struct Handed {
    /// What is to be kept.
    pub lines: Lines,
    /// Told when it is kept, or dropped because the policy says so. Dropped without a word if it is neither.
    pub kept: oneshot::Sender<()>,
}

impl Feed {
    /// A feed, and the end at which its lines arrive.
    pub fn new() -> (Self, mpsc::Receiver<Handed>) {
        let (to, from) = mpsc::channel(QUEUE);
        (Self { to }, from)
    }

    /// Keeps lines: returns when they are on the disk, as far as `spool.fsync` demands, or dropped by `spool.on_full`. With `block` it waits
    /// for as long as the spool is full.
    pub async fn write(&self, lines: Lines) -> Result<(), Closed> {
        let (kept, heard) = oneshot::channel();
        self.to.send(Handed { lines, kept }).await.map_err(|_| Closed)?;
        heard.await.map_err(|_| Closed)
    }

    /// The same for a feeder that has a thread of its own.
    pub fn write_blocking(&self, lines: Lines) -> Result<(), Closed> {
        let (kept, heard) = oneshot::channel();
        self.to.blocking_send(Handed { lines, kept }).map_err(|_| Closed)?;
        heard.blocking_recv().map_err(|_| Closed)
    }
}
