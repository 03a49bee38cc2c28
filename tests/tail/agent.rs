//! The agent of the model: the real reader on a thread of its own, and the ends of its channels that the sender and the writer of checkpoints
//! would hold. The only file of this test that names the crate's types; it decides nothing and checks nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use kinetail::budget::{Budget, Permit};
use kinetail::checkpoint::{Entry, Found, StateDir};
use kinetail::config::{Config, Document, Layers};
use kinetail::event::{Batch, SourceId, Span};
use kinetail::kinesis::{Spare, Statuses};
use kinetail::metrics::Metrics;
use kinetail::source::file::Group;
use kinetail::source::file::identity::{self, FileId};
use kinetail::source::file::reader::{Channels, Reader};
use tokio::sync::{mpsc, oneshot, watch};

/// Batches between the reader and the model.
const BATCH_QUEUE: usize = 4;
/// Lists of settled spans on their way to the reader.
const SETTLED_QUEUE: usize = 16;
/// The record limit of a stream that nobody changed.
const RECORD_LIMIT: usize = 1 << 20;

/// What an agent is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) state_dir: PathBuf,
    pub(crate) globs: Vec<String>,
    pub(crate) rotate_wait: &'static str,
    pub(crate) memory_limit: &'static str,
}

impl Settings {
    fn config(&self) -> Config {
        let globs: Vec<String> = self.globs.iter().map(|glob| format!("{glob:?}")).collect();
        let text = format!(
            "state_dir: {}\nmemory_limit: {}\nkinesis: {{ stream: model, partition_key: source }}\nsources:\n  - paths: [{}]\n    parse: raw\n    start_at: beginning\n    rotate_wait: {}\n    partial_line_timeout: 0s\n    deleted: {{ max_wait: 1day }}\n",
            self.state_dir.display(),
            self.memory_limit,
            globs.join(", "),
            self.rotate_wait,
        );
        let file = Some(Document { name: "model.yaml".to_owned(), text });
        Config::load(&Layers { file, ..Layers::default() }).expect("the model's configuration is good")
    }
}

/// Bytes of a source: where they begin, and the byte after the last.
pub(crate) type Range = (u64, u64);

/// An event, or bytes of which no event was made.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) spans: Vec<Range>,
}

/// What a batch holds of the budget.
pub(crate) type Memory = Permit;

/// A batch, and the memory that it holds until all of it is settled.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) source: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) memory: Memory,
}

impl Delivery {
    fn of(batch: Batch) -> Self {
        let mut pieces = Vec::new();
        for event in &batch.events {
            let spans = vec![(event.span_start, event.span_end)];
            pieces.push(Piece { text: Some(batch.bytes(event).to_vec()), spans });
        }
        pieces.extend(batch.unused.iter().map(|&span| Piece { text: None, spans: vec![span] }));
        let Batch { source, start, end, permit: memory, .. } = batch;
        Self { source: source.0, start, end, pieces, memory }
    }
}

/// A file that the checkpoint knows.
#[derive(Debug)]
pub(crate) struct Known(Entry);

impl Known {
    pub(crate) fn inode(&self) -> (u64, u64) {
        (self.0.dev, self.0.ino)
    }

    pub(crate) fn offset(&self) -> u64 {
        self.0.offset
    }

    /// In a line.
    pub(crate) fn shown(&self) -> String {
        let Entry { path, ino, offset, head_len, mark_end, .. } = &self.0;
        let name = Path::new(path).file_name().unwrap_or_default().display();
        format!("{name}, inode {ino}, to {offset} (head of {head_len}, mark at {mark_end})")
    }

    /// Whether the file at this path is the one, and can be told from another.
    pub(crate) fn is(&self, path: &Path) -> bool {
        let look = || -> std::io::Result<bool> {
            let file = std::fs::File::open(path)?;
            let metadata = file.metadata()?;
            let id = FileId::of(&metadata);
            Ok((id.dev, id.ino) == self.inode() && identity::has_content(&file, &metadata, &self.0)?)
        };
        self.0.head_len > 0 && look().expect("a file of the model")
    }
}

/// What a state directory holds; nothing before the first checkpoint.
fn known(state: &StateDir) -> Result<Option<Vec<Known>>, String> {
    match state.load() {
        Ok(Found::Nothing) => Ok(None),
        Ok(Found::Entries(entries)) => Ok(Some(entries.into_iter().map(Known).collect())),
        Ok(Found::Corrupt { why, .. }) => Err(format!("the checkpoint is corrupt: {why}")),
        Err(error) => Err(error.to_string()),
    }
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    batches: mpsc::Receiver<Batch>,
    settled: mpsc::Sender<Vec<Span>>,
    checkpoints: mpsc::Receiver<Vec<Entry>>,
    stop: watch::Sender<bool>,
    kill: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    state: StateDir,
    log: std::sync::mpsc::Receiver<Vec<u8>>,
    /// The other ends have to stay open.
    _spare: mpsc::Sender<Spare>,
    _status: watch::Sender<Statuses>,
    _record_limit: watch::Sender<usize>,
}

impl Agent {
    pub(crate) fn start(settings: &Settings) -> Result<Self, String> {
        let config = settings.config();
        let state = StateDir::open(&config.state_dir).map_err(|e| e.to_string())?;
        let found = state.load().map_err(|e| e.to_string())?;
        if let Found::Entries(entries) = &found {
            state.store(entries.clone()).map_err(|e| e.to_string())?;
        }
        let journal = state.journal().map_err(|e| e.to_string())?;
        let groups = config.sources.iter().map(|source| Group::new(source, "model")).collect();
        let budget = Budget::new(config.memory_limit);
        let metrics = Arc::new(Metrics::new());
        let reader = Reader::new(groups, config.kinesis.format, found, Some(journal), budget, metrics);

        let (batch_tx, batches) = mpsc::channel(BATCH_QUEUE);
        let (spare, spare_rx) = mpsc::channel(BATCH_QUEUE);
        let (settled, settled_rx) = mpsc::channel(SETTLED_QUEUE);
        let (checkpoint_tx, checkpoints) = mpsc::channel(1);
        let (stop, stop_rx) = watch::channel(false);
        let (status, status_rx) = watch::channel(Statuses::new());
        let (record_limit, record_limit_rx) = watch::channel(RECORD_LIMIT);
        let (kill, killed) = oneshot::channel();
        let channels = Channels {
            batches: batch_tx,
            spare: spare_rx,
            settled: settled_rx,
            checkpoints: checkpoint_tx,
            stop: stop_rx,
            sender: status_rx,
            record_limit: record_limit_rx,
            drops: mpsc::channel(1).1,
            renewals: mpsc::channel(1).1,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let run = async move {
            // A killed reader is dropped where it stands.
            tokio::select! {
                biased;
                _ = killed => {}
                () = reader.run(channels) => {}
            }
        };
        let (said, log) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().spawn(move || {
            let _logging = tracing::subscriber::set_default(log_to(said));
            runtime.block_on(run);
        });
        let thread = thread.expect("a thread");
        Ok(Self {
            batches,
            settled,
            checkpoints,
            stop,
            kill,
            thread,
            state,
            log,
            _spare: spare,
            _status: status,
            _record_limit: record_limit,
        })
    }

    /// The next batch; none when the reader has ended. Checkpoints that come meanwhile are written, unless they are held.
    pub(crate) async fn next(&mut self, take: bool, hold_checkpoints: bool) -> Option<Delivery> {
        loop {
            tokio::select! {
                biased;
                Some(entries) = self.checkpoints.recv(), if !hold_checkpoints => {
                    self.state.store(entries).expect("the state directory takes a checkpoint");
                }
                batch = self.batches.recv(), if take => return batch.map(Delivery::of),
                else => std::future::pending().await,
            }
        }
    }

    /// What the reader has said since this was last asked.
    pub(crate) fn said(&self) -> Vec<String> {
        let lines = self.log.try_iter();
        lines.map(|line| format!("        reader: {}", String::from_utf8_lossy(&line).trim_end())).collect()
    }

    /// A batch that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Delivery> {
        self.batches.try_recv().ok().map(Delivery::of)
    }

    /// Writes a checkpoint that is there already.
    pub(crate) fn write_checkpoint(&mut self) {
        if let Ok(entries) = self.checkpoints.try_recv() {
            self.state.store(entries).expect("the state directory takes a checkpoint");
        }
    }

    /// Tells the reader what is settled.
    pub(crate) async fn settle(&self, spans: Vec<(u32, Range)>) {
        let spans = spans.into_iter().map(|(source, (start, end))| Span { source: SourceId(source), start, end });
        // A reader that has ended shows by its batches.
        self.settled.send(spans.collect()).await.ok();
    }

    /// What the state directory holds now.
    pub(crate) fn known(&self) -> Result<Option<Vec<Known>>, String> {
        known(&self.state)
    }

    /// Asks the reader to end in order.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Lets a reader end that was asked to, writes its last checkpoints, and answers what the state directory holds then.
    pub(crate) async fn finish(self) -> Result<Option<Vec<Known>>, String> {
        let Self { batches, settled, mut checkpoints, thread, state, .. } = self;
        drop((batches, settled));
        while let Some(entries) = checkpoints.recv().await {
            state.store(entries).map_err(|e| e.to_string())?;
        }
        join(thread)?;
        known(&state)
    }

    /// Ends the reader where it stands.
    pub(crate) fn kill(self) -> Result<Option<Vec<Known>>, String> {
        self.kill.send(()).ok();
        join(self.thread)?;
        known(&self.state)
    }
}

/// A logger that hands on what it is told.
fn log_to(said: std::sync::mpsc::Sender<Vec<u8>>) -> impl tracing::Subscriber {
    let writer = move || Said(said.clone());
    tracing_subscriber::fmt().without_time().with_target(false).with_ansi(false).with_writer(writer).finish()
}

/// A line of the log is written at once.
struct Said(std::sync::mpsc::Sender<Vec<u8>>);

impl std::io::Write for Said {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        // Nobody asks a reader that was killed.
        self.0.send(line.to_vec()).ok();
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn join(thread: JoinHandle<()>) -> Result<(), String> {
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&t| t.to_owned()));
        format!("the reader panicked: {}", text.unwrap_or_default())
    })
}
