//! Heartbeats: each stage of the line says what it does or waits for, and counts that it has moved. Who judges them is [`crate::watchdog`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What a stage does or waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    /// It has no work, or has ended.
    Nothing,
    /// Looks for files.
    Scans,
    /// Reads files and hands batches over.
    Reads,
    /// Packs, sends and judges answers.
    Sends,
    /// Writes the checkpoint.
    Stores,
    /// Writes to a spool.
    Keeps,
    /// Serves the admin port.
    Serves,
    /// Waits for files to grow, for a second or some at most.
    ForFiles,
    /// Waits for memory, which comes back when something is delivered.
    ForMemory,
    /// Waits until the sender takes another batch.
    ForSender,
    /// Waits for an answer of Kinesis, or until a shard or the stream may be asked again.
    ForKinesis,
    /// Waits for room in a spool, or for its disk.
    ForRoom,
}

/// What a stage that does not move is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It has to move.
    None,
    /// It may wait for as long as something is on its way to Kinesis.
    WhileSending,
    /// It may wait for ever.
    Endless,
}

impl Doing {
    const ALL: [Self; 12] = [
        Self::Nothing,
        Self::Scans,
        Self::Reads,
        Self::Sends,
        Self::Stores,
        Self::Keeps,
        Self::Serves,
        Self::ForFiles,
        Self::ForMemory,
        Self::ForSender,
        Self::ForKinesis,
        Self::ForRoom,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "has nothing to do",
            Self::Scans => "looks for files",
            Self::Reads => "reads files",
            Self::Sends => "packs and sends",
            Self::Stores => "writes the checkpoint",
            Self::Keeps => "writes to the spool",
            Self::Serves => "serves the admin port",
            Self::ForFiles => "waits for files to grow",
            Self::ForMemory => "waits for memory",
            Self::ForSender => "waits for the sender",
            Self::ForKinesis => "waits for Kinesis",
            Self::ForRoom => "waits for room in the spool",
        }
    }

    /// How long a stage may stay at it. The wait for files ends by itself, so that one that does not has lost its timer.
    pub fn patience(self) -> Patience {
        match self {
            Self::Scans | Self::Reads | Self::Sends | Self::Stores | Self::Keeps | Self::Serves | Self::ForFiles => {
                Patience::None
            }
            Self::ForMemory | Self::ForSender => Patience::WhileSending,
            Self::Nothing | Self::ForKinesis | Self::ForRoom => Patience::Endless,
        }
    }
}

/// The heartbeat of one stage. Two stores to memory that nobody else writes: cheap enough for every read and every record's way.
#[derive(Debug, Default)]
pub struct Beat {
    doing: AtomicU8,
    moved: AtomicU64,
}

impl Beat {
    /// The stage has moved, and does this now.
    pub fn at(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
        self.moved.store(self.moved.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// What it does.
    pub fn doing(&self) -> Doing {
        Doing::ALL.get(usize::from(self.doing.load(Ordering::Relaxed))).copied().unwrap_or(Doing::Nothing)
    }

    /// How often it has moved.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }
}

/// The heartbeats of the stages that every agent has once. A spool's keeper has one of its own.
#[derive(Debug, Default)]
pub struct Beats {
    /// The thread that finds and reads files.
    pub reader: Arc<Beat>,
    /// The senders, which share a thread.
    pub sender: Arc<Beat>,
    /// The thread that writes checkpoints.
    pub checkpoint: Arc<Beat>,
    /// The admin server, which shares the senders' thread: it moves as long as that does.
    pub admin: Arc<Beat>,
    scanned: AtomicBool,
}

impl Beats {
    /// Files were looked for once, to the end.
    pub fn note_scan(&self) {
        self.scanned.store(true, Ordering::Relaxed);
    }

    /// Whether files were looked for yet.
    pub fn has_scanned(&self) -> bool {
        self.scanned.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_says_what_was_said_last() {
        let beat = Beat::default();
        assert_eq!((beat.doing(), beat.moved()), (Doing::Nothing, 0));
        for (times, doing) in (1..).zip(Doing::ALL) {
            beat.at(doing);
            assert_eq!((beat.doing(), beat.moved()), (doing, times));
        }
    }
}
