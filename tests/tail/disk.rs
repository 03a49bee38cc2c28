//! The logs on disk: what their writers and rotators do to them, and what of each can still be read. It runs no agent.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::agent::Known;
use crate::oracle::{GenId, Line, Oracle};
use crate::script::{Kind, Layout};

/// Rotated files that are kept.
const KEEP: usize = 3;
/// An inode comes back within so many files, or this file system does not use them again.
const REUSE_TRIES: usize = 32;
/// The beginning of a partial line holds at least its name, so that it is like no other.
const NAME_ROOM: usize = 24;

/// A line that is being written.
#[derive(Debug)]
struct Partial {
    /// What of it is in no event yet.
    text: Vec<u8>,
    /// How much of that is in the file.
    written: usize,
    newline: &'static [u8],
    /// It is a line as it was begun; the rest of one that a stop has flushed is not.
    whole: bool,
}

#[derive(Debug)]
struct Writer {
    file: File,
    generation: GenId,
    partial: Option<Partial>,
}

/// A file that was a log once.
#[derive(Debug)]
struct Old {
    path: PathBuf,
    generation: GenId,
    copy: bool,
    compressed: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a log")]
pub(crate) struct Log {
    layout: Layout,
    name: String,
    /// What its writer opens.
    path: PathBuf,
    dated: bool,
    writer: Option<Writer>,
    /// Nothing is under its path: the writer goes on with the old file.
    absent: bool,
    olds: Vec<Old>,
    generations: usize,
    link: Option<PathBuf>,
    /// A file of it had two names.
    linked: bool,
    /// A file of it lost its name before an agent had opened it.
    unseen: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a generation")]
pub(crate) struct Generation {
    log: usize,
    ordinal: usize,
    pub(crate) lines: Vec<usize>,
    pub(crate) inode: (u64, u64),
    pub(crate) size: u64,
    /// The names of its inode.
    names: Vec<PathBuf>,
    /// Where its content was copied to.
    copy: Option<PathBuf>,
    /// Its content is not in its inode any more.
    gone: bool,
    /// The agent that runs now has delivered something of it, so that it holds it open.
    pub(crate) held: bool,
    /// The checkpoint that lies on disk while no agent runs knows it.
    pub(crate) known: bool,
    /// Nobody can read it any more, or need.
    hopeless: bool,
}

/// Repeats a line's name to a length: wherever a file is looked at, it is like no other.
fn lengthen(text: &mut Vec<u8>, name: &str, by: usize) {
    text.extend(name.bytes().cycle().take(by));
}

/// Everything on disk, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    kinds: Vec<Kind>,
    long_wait: bool,
    pub(crate) logs: Vec<Log>,
    pub(crate) generations: Vec<Generation>,
    pub(crate) oracle: Oracle,
    /// An agent runs.
    pub(crate) up: bool,
    /// There is a checkpoint on disk.
    pub(crate) has_checkpoint: bool,
    pub(crate) runs: usize,
    counter: usize,
    /// What was done, for people.
    pub(crate) trace: Vec<String>,
}

/// How a disk is laid out.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) root: &'a Path,
    pub(crate) layouts: &'a [Layout],
    pub(crate) kinds: &'a [Kind],
    pub(crate) long_wait: bool,
}

impl Disk {
    pub(crate) fn new(config: &Plan<'_>, rng: &mut fastrand::Rng) -> Self {
        let mut disk = Self {
            root: config.root.to_owned(),
            kinds: config.kinds.to_vec(),
            long_wait: config.long_wait,
            logs: Vec::new(),
            generations: Vec::new(),
            oracle: Oracle::default(),
            up: false,
            has_checkpoint: false,
            runs: 0,
            counter: 0,
            trace: Vec::new(),
        };
        for directory in ["n", "w", "deep/sub0", "deep/sub1", "s/data", "copies"] {
            fs::create_dir_all(config.root.join(directory)).expect("a directory");
        }
        for (index, &layout) in config.layouts.iter().enumerate() {
            let name = format!("app{index}");
            let directory = match layout {
                Layout::Narrow => "n",
                Layout::Wide => "w",
                Layout::Deep => "deep",
                Layout::Symlink => "s",
            };
            disk.logs.push(Log {
                layout,
                path: config.root.join(directory).join(format!("{name}.log")),
                name,
                dated: rng.bool(),
                writer: None,
                absent: true,
                olds: Vec::new(),
                generations: 0,
                link: None,
                linked: false,
                unseen: false,
            });
            disk.create(index, rng);
        }
        disk
    }

    /// The globs of the configuration.
    pub(crate) fn globs(&self) -> Vec<String> {
        let mut globs: Vec<String> = self.logs.iter().map(|log| self.glob(log)).collect();
        globs.sort();
        globs.dedup();
        globs
    }

    fn glob(&self, log: &Log) -> String {
        let pattern = match log.layout {
            Layout::Narrow => "n/*.log".to_owned(),
            Layout::Wide => format!("w/{}*", log.name),
            Layout::Deep => "deep/**/*.log".to_owned(),
            Layout::Symlink => "s/*.log".to_owned(),
        };
        self.root.join(pattern).display().to_string()
    }

    pub(crate) fn on(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    fn note(&mut self, text: impl Into<String>) {
        self.trace.push(text.into());
    }

    fn number(&mut self) -> usize {
        self.counter += 1;
        self.counter
    }

    // === generations ===

    /// Whether a glob names the path.
    fn is_named(&self, log: usize, path: &Path) -> bool {
        let log = &self.logs[log];
        let is_log = path.extension().is_some_and(|e| e == "log");
        match log.layout {
            Layout::Narrow | Layout::Deep => is_log,
            Layout::Wide => path.parent() == log.path.parent(),
            Layout::Symlink => fs::read_link(&log.path).is_ok_and(|target| target == path),
        }
    }

    /// Whether an agent that starts now would find the generation, and know it for what it is.
    fn is_findable(&self, id: GenId) -> bool {
        let generation = &self.generations[id];
        let layout = self.logs[generation.log].layout;
        if generation.gone {
            return generation.known
                && generation.copy.is_some()
                && layout == Layout::Narrow
                && self.on(Kind::CopyTailDown);
        }
        if generation.names.iter().any(|name| self.is_named(generation.log, name)) {
            return true;
        }
        let has_name = !generation.names.is_empty();
        match layout {
            Layout::Narrow => has_name && (generation.known || (self.on(Kind::UnseenDown) && self.has_checkpoint)),
            Layout::Symlink => has_name && generation.known && self.on(Kind::SymlinkDown),
            Layout::Wide | Layout::Deep => false,
        }
    }

    fn give_up(&mut self, id: GenId) {
        self.generations[id].hopeless = true;
        let lines = self.generations[id].lines.clone();
        self.oracle.forgive_generation(&lines);
    }

    /// Something that may make a generation unreadable has happened.
    fn reconsider(&mut self, id: GenId) {
        let generation = &self.generations[id];
        let readable = if generation.hopeless || generation.gone {
            !generation.hopeless && self.is_findable(id)
        } else if self.up {
            generation.held || !generation.names.is_empty()
        } else {
            self.is_findable(id)
        };
        if !readable {
            self.give_up(id);
        }
    }

    /// No agent runs any more; `known` is what the checkpoint knows.
    pub(crate) fn went_down(&mut self, known: Option<&[Known]>) {
        self.up = false;
        self.has_checkpoint = known.is_some();
        for id in 0..self.generations.len() {
            let kept = self.on(Kind::CopyTailKill) && self.generations[id].held;
            let generation = &mut self.generations[id];
            generation.held = false;
            let is = |path: &PathBuf| known.is_some_and(|known| known.iter().any(|k| k.is(path)));
            generation.known = generation.names.first().is_some_and(is);
            if generation.gone && !kept {
                self.give_up(id);
            }
            self.reconsider(id);
        }
    }

    /// Whether the generations of this log come in order.
    pub(crate) fn is_ordered(&self, log: usize) -> bool {
        let log = &self.logs[log];
        let one_lane = matches!(log.layout, Layout::Narrow | Layout::Symlink) && !log.linked;
        one_lane || (self.runs <= 1 && !log.unseen) || self.on(Kind::OrderAfterRestart)
    }

    /// The committed ends that a checkpoint has to come to: inode, offset, and the lines that are certain then.
    pub(crate) fn committable(&self) -> Vec<((u64, u64), u64, GenId)> {
        let shared = |g: &Generation| self.generations.iter().filter(|o| o.inode == g.inode).count() > 1;
        let all = self.generations.iter().enumerate();
        let good = all.filter(|(_, g)| !g.gone && !g.hopeless && g.held && !g.names.is_empty() && !shared(g));
        good.filter_map(|(id, g)| {
            let last = *g.lines.last()?;
            let all = g.lines.iter().all(|&line| self.oracle.is_settled(line));
            all.then(|| (g.inode, self.oracle.lines[last].end, id))
        })
        .collect()
    }

    // === writing ===

    fn add_line(&mut self, log: usize, text: Vec<u8>, due: bool, unique: bool) {
        let id = self.logs[log].writer.as_ref().expect("a line has a writer").generation;
        let generation = &self.generations[id];
        let line = Line {
            text,
            generation: id,
            log,
            place: (generation.ordinal, generation.lines.len()),
            end: generation.size,
            unique,
            due,
            may_lose: generation.hopeless,
            is_gone: generation.hopeless,
        };
        let index = self.oracle.write(line);
        self.generations[id].lines.push(index);
    }

    fn append(&mut self, log: usize, bytes: &[u8]) {
        let writer = self.logs[log].writer.as_mut().expect("a write has a writer");
        writer.file.write_all(bytes).expect("a write");
        self.generations[writer.generation].size += bytes.len() as u64;
    }

    fn text(&mut self, log: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
        let number = self.number();
        let generation = self.logs[log].writer.as_ref().map_or(0, |w| self.generations[w.generation].ordinal);
        let name = format!("{log}.{generation}.{number}#");
        let length = match rng.u8(..40) {
            0 => rng.usize(..100_000),
            1..5 => rng.usize(..5_000),
            _ => rng.usize(..160),
        };
        let mut text = format!("{name:.<NAME_ROOM$}").into_bytes();
        lengthen(&mut text, &name, length);
        text
    }

    /// Some lines, after the rest of the one that was begun. Sometimes each is a write of its own.
    pub(crate) fn write(&mut self, log: usize, count: usize, rng: &mut fastrand::Rng) {
        self.finish_part(log);
        let (mut bytes, at_once) = (Vec::new(), rng.bool());
        let base = self.logs[log].writer.as_ref().map(|w| w.generation);
        let mut added = Vec::new();
        for _ in 0..count {
            let text = self.text(log, rng);
            let newline: &[u8] = if rng.u8(..6) == 0 { b"\r\n" } else { b"\n" };
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(newline);
            added.push((text, bytes.len() as u64));
        }
        let from = base.map_or(0, |id| self.generations[id].size);
        if at_once {
            self.append(log, &bytes);
        } else {
            let mut at = 0;
            for (_, end) in &added {
                let end = usize::try_from(*end).expect("fits");
                self.append(log, &bytes[at..end]);
                at = end;
            }
        }
        for (text, end) in added {
            self.add_line(log, text, true, true);
            self.oracle.lines.last_mut().expect("it was added").end = from + end;
        }
        self.note(format!("log {log}: {count} lines written, {} bytes", bytes.len()));
    }

    /// The same text in two logs, or at the start of a file.
    pub(crate) fn write_equal(&mut self, log: usize, wide: bool) {
        self.finish_part(log);
        let text = if wide && self.on(Kind::EqualHead) { "=".repeat(400) } else { "= started =".to_owned() };
        self.append(log, text.as_bytes());
        self.append(log, b"\n");
        self.add_line(log, text.into_bytes(), true, false);
        // Whether such a line is an old one or a new one, nobody can tell when the file was truncated under it. That the file is another one
        // with the same inode shows: it was made later.
        let id = self.logs[log].writer.as_ref().expect("it has written").generation;
        let inode = self.generations[id].inode;
        if self.generations.iter().any(|g| g.inode == inode && g.gone) {
            self.oracle.forgive(self.oracle.lines.len() - 1);
        }
        self.note(format!("log {log}: an equal line written"));
    }

    /// The beginning of a line.
    pub(crate) fn write_part(&mut self, log: usize, rng: &mut fastrand::Rng) {
        self.finish_part(log);
        let text = self.text(log, rng);
        let written = rng.usize(NAME_ROOM..=text.len());
        self.append(log, &text[..written]);
        let newline: &[u8] = if rng.bool() { b"\r\n" } else { b"\n" };
        let writer = self.logs[log].writer.as_mut().expect("it has written");
        writer.partial = Some(Partial { text, written, newline, whole: true });
        self.note(format!("log {log}: {written} bytes of a line written"));
    }

    pub(crate) fn finish_part(&mut self, log: usize) {
        let Some(writer) = &mut self.logs[log].writer else { return };
        let Some(Partial { text, written, newline, whole }) = writer.partial.take() else { return };
        self.append(log, &text[written..]);
        self.append(log, newline);
        if !text.is_empty() {
            self.add_line(log, text, true, whole);
        }
        self.note(format!("log {log}: the line finished"));
    }

    /// The line that was begun stays as it is.
    fn cut_part(&mut self, log: usize, due: bool) {
        let Some(writer) = &mut self.logs[log].writer else { return };
        let Some(Partial { text, written, whole, .. }) = writer.partial.take() else { return };
        if written > 0 {
            self.add_line(log, text[..written].to_vec(), due, whole);
            self.note(format!("log {log}: the line stays unfinished"));
        }
    }

    pub(crate) fn has_partial(&self) -> bool {
        self.logs.iter().any(|log| log.writer.as_ref().is_some_and(|w| w.partial.is_some()))
    }

    /// An event of what is there of an unfinished line: a stop does this.
    pub(crate) fn flushed(&mut self, text: &[u8]) -> bool {
        for log in 0..self.logs.len() {
            let Some(Writer { partial: Some(partial), .. }) = &mut self.logs[log].writer else { continue };
            if partial.written > 0 && partial.text[..partial.written] == *text {
                let whole = partial.whole;
                let rest = partial.text.split_off(partial.written);
                (partial.text, partial.written, partial.whole) = (rest, 0, false);
                self.add_line(log, text.to_vec(), true, whole);
                return true;
            }
        }
        false
    }

    // === rotating ===

    /// A log's file is about to lose its name. Where late writes are a matter of time, the last line is finished or stays as it is; a file
    /// that keeps a name in a glob has no end that a reader could see.
    fn end_lines(&mut self, log: usize, rng: &mut fastrand::Rng) {
        let this = &self.logs[log];
        let plain = matches!(this.layout, Layout::Narrow | Layout::Symlink) && !this.linked;
        if plain && !self.long_wait && self.on(Kind::Unterminated) && rng.u8(..3) > 0 {
            self.cut_part(log, true);
        } else {
            self.finish_part(log);
        }
    }

    /// The generation under the log's path.
    pub(crate) fn current(&self, log: usize) -> Option<GenId> {
        self.logs[log].writer.as_ref().filter(|_| !self.logs[log].absent).map(|w| w.generation)
    }

    /// A new file under the log's path, unless there is one.
    pub(crate) fn create(&mut self, log: usize, rng: &mut fastrand::Rng) {
        if !self.logs[log].absent {
            return;
        }
        self.finish_part(log);
        let path = self.logs[log].path.clone();
        if self.logs[log].layout == Layout::Symlink {
            self.point(log);
        } else {
            self.open(log, &path, path.clone());
        }
        self.note(format!("log {log}: created, inode {}", self.generations.last().map_or(0, |g| g.inode.1)));
        self.begin(log, rng);
    }

    /// The path of a symbolic link gets a new target.
    fn point(&mut self, log: usize) {
        let number = self.number();
        let target = self.root.join(format!("s/data/{}.{number}", self.logs[log].name));
        self.open(log, &target, target.clone());
        let tmp = self.root.join(format!("s/data/link.{number}"));
        std::os::unix::fs::symlink(&target, &tmp).expect("a symbolic link");
        fs::rename(&tmp, &self.logs[log].path).expect("a rename");
    }

    /// Opens a new file for the log's writer.
    fn open(&mut self, log: usize, at: &Path, name: PathBuf) {
        let file = OpenOptions::new().append(true).create_new(true).open(at).expect("a new file");
        let metadata = file.metadata().expect("its metadata");
        self.adopt(log, file, (metadata.dev(), metadata.ino()), vec![name]);
    }

    fn adopt(&mut self, log: usize, file: File, inode: (u64, u64), names: Vec<PathBuf>) {
        let ordinal = self.logs[log].generations;
        self.logs[log].generations += 1;
        self.generations.push(Generation {
            log,
            ordinal,
            lines: Vec::new(),
            inode,
            size: 0,
            names,
            copy: None,
            gone: false,
            held: false,
            known: false,
            hopeless: false,
        });
        self.logs[log].writer = Some(Writer { file, generation: self.generations.len() - 1, partial: None });
        self.logs[log].absent = false;
    }

    /// Some files begin alike.
    fn begin(&mut self, log: usize, rng: &mut fastrand::Rng) {
        if self.on(Kind::Equal) && rng.u8(..4) == 0 {
            self.write_equal(log, rng.bool());
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        fs::rename(from, to).expect("a rename");
        for generation in &mut self.generations {
            generation.names.iter_mut().filter(|n| *n == from).for_each(|n| to.clone_into(n));
            generation.copy.iter_mut().filter(|c| *c == from).for_each(|c| to.clone_into(c));
        }
    }

    fn remove(&mut self, path: &Path) {
        fs::remove_file(path).expect("a file to remove");
        for id in 0..self.generations.len() {
            let generation = &mut self.generations[id];
            let had = generation.names.len() + usize::from(generation.copy.is_some());
            generation.names.retain(|n| n != path);
            if generation.copy.as_deref() == Some(path) {
                generation.copy = None;
            }
            if generation.names.len() + usize::from(generation.copy.is_some()) < had {
                self.reconsider(id);
            }
        }
    }

    /// A free name for a rotated file. Numbered ones make room, and the oldest goes.
    fn old_name(&mut self, log: usize, copy: bool) -> PathBuf {
        let number = self.number();
        let this = &self.logs[log];
        let (layout, name, dated) = (this.layout, this.name.clone(), this.dated);
        let directory = match layout {
            Layout::Narrow => "n",
            Layout::Wide | Layout::Deep if copy => "copies",
            Layout::Wide => "w",
            Layout::Deep => return self.root.join(format!("deep/sub{}/{name}-{number}.log", number % 2)),
            Layout::Symlink => "copies",
        };
        while self.logs[log].olds.len() >= KEEP {
            let old = self.logs[log].olds.remove(0);
            self.remove(&old.path);
        }
        let directory = self.root.join(directory);
        if dated || directory.ends_with("copies") {
            return directory.join(format!("{name}.log-20270102-{number}"));
        }
        let mut olds = std::mem::take(&mut self.logs[log].olds);
        let count = olds.len();
        for (index, old) in olds.iter_mut().enumerate() {
            let to = directory.join(format!("{name}.log.{}", count - index + 1));
            if old.path.extension().is_some_and(|e| e.len() == 1) && old.path.parent() == Some(&directory) {
                self.rename(&old.path.clone(), &to);
                old.path = to;
            }
        }
        self.logs[log].olds = olds;
        directory.join(format!("{name}.log.1"))
    }

    /// Whether a reader has to find the file that is under the log's path once it has lost that name; without a name, if it is to be
    /// deleted. `None` says that a reader has to be given the time to open it first.
    pub(crate) fn may_rename(&self, log: usize) -> Option<bool> {
        let Some(id) = self.current(log) else { return Some(true) };
        let (generation, layout) = (&self.generations[id], self.logs[log].layout);
        if generation.hopeless || layout == Layout::Wide || layout == Layout::Deep {
            return Some(true);
        }
        if self.up {
            // Before an agent has looked for the first time, nobody knows what is new.
            let has_looked = self.has_checkpoint || self.generations.iter().any(|g| g.held);
            let found = layout == Layout::Narrow && self.on(Kind::UnseenUp) && has_looked;
            return (found || generation.held).then_some(true);
        }
        Some(match layout {
            Layout::Narrow => generation.known || self.on(Kind::UnseenDown),
            _ => generation.known && self.on(Kind::SymlinkDown),
        })
    }

    /// The log's file gets another name.
    pub(crate) fn rename_away(&mut self, log: usize, rng: &mut fastrand::Rng, late: bool) {
        let Some(id) = self.current(log) else { return };
        if self.logs[log].layout == Layout::Symlink {
            return self.swap(log, rng);
        }
        if late {
            self.logs[log].absent = true;
        } else {
            self.end_lines(log, rng);
        }
        let (from, to) = (self.logs[log].path.clone(), self.old_name(log, false));
        self.rename(&from, &to);
        self.note(format!("log {log}: renamed to {}", to.display()));
        self.logs[log].unseen |= !self.generations[id].held;
        self.logs[log].olds.push(Old { path: to, generation: id, copy: false, compressed: false });
        self.logs[log].absent = true;
        self.reconsider(id);
    }

    /// A symbolic link is made to point to a new file.
    pub(crate) fn swap(&mut self, log: usize, rng: &mut fastrand::Rng) {
        let Some(id) = self.current(log).filter(|_| self.logs[log].layout == Layout::Symlink) else { return };
        self.end_lines(log, rng);
        self.point(log);
        self.begin(log, rng);
        self.note(format!("log {log}: the link points to a new file"));
        self.reconsider(id);
    }

    /// The content goes, and perhaps a copy stays. Answers how large the file was.
    pub(crate) fn truncate(&mut self, log: usize, copy: bool, rng: &mut fastrand::Rng) -> u64 {
        let Some(id) = self.current(log) else { return 0 };
        let sibling = self.logs[log].layout == Layout::Narrow;
        let kept = copy && sibling && self.on(if self.up { Kind::CopyTailUp } else { Kind::CopyTailDown });
        let between = copy && rng.u8(..3) == 0;
        if between {
            self.finish_part(log);
        } else {
            self.cut_part(log, kept);
        }
        let path = self.logs[log].path.clone();
        if copy {
            let to = self.old_name(log, true);
            fs::copy(&path, &to).expect("a copy");
            self.generations[id].copy = Some(to.clone());
            let forgivable = self.generations[id].lines.len();
            if between {
                self.write(log, 2, rng);
            }
            let lost: Vec<usize> = self.generations[id].lines[forgivable..].to_vec();
            self.oracle.forgive_generation(&lost);
            self.note(format!("log {log}: copied to {}", to.display()));
            self.logs[log].olds.push(Old { path: to, generation: id, copy: true, compressed: false });
        }
        let size = self.generations[id].size;
        let file = OpenOptions::new().write(true).open(&path).expect("the log");
        file.set_len(0).expect("a truncation");
        let old = &mut self.generations[id];
        old.gone = true;
        let (inode, names, known, held) = (old.inode, std::mem::take(&mut old.names), old.known, old.held);
        let writer = self.logs[log].writer.take().expect("a current generation has a writer");
        self.adopt(log, writer.file, inode, names);
        let recovered = kept && if self.up { held } else { known };
        if !recovered {
            self.give_up(id);
        }
        self.note(format!("log {log}: truncated at {size}"));
        self.begin(log, rng);
        size
    }

    /// The file grows to at least, or exactly, a size.
    pub(crate) fn regrow(&mut self, log: usize, size: u64, exactly: bool, rng: &mut fastrand::Rng) {
        let Some(id) = self.current(log) else { return };
        let told = self.trace.len();
        while self.generations[id].size < size {
            let room = usize::try_from(size - self.generations[id].size).expect("fits");
            if exactly && (NAME_ROOM + 1..50_000).contains(&room) {
                let mut text = self.text(log, rng);
                let name = String::from_utf8_lossy(&text[..NAME_ROOM]).trim_end_matches('.').to_owned();
                text.truncate(NAME_ROOM);
                lengthen(&mut text, &name, room - 1 - NAME_ROOM);
                self.append(log, &text);
                self.append(log, b"\n");
                self.add_line(log, text, true, true);
            } else {
                self.write(log, 2, rng);
            }
        }
        self.trace.truncate(told);
        self.note(format!("log {log}: grown to {}", self.generations[id].size));
    }

    pub(crate) fn delete(&mut self, log: usize, rng: &mut fastrand::Rng, late: bool) {
        let Some(id) = self.current(log) else { return };
        if self.logs[log].layout == Layout::Symlink {
            return;
        }
        if !late {
            self.end_lines(log, rng);
        }
        let path = self.logs[log].path.clone();
        self.logs[log].absent = true;
        self.remove(&path);
        self.note(format!("log {log}: deleted (generation {})", self.generations[id].ordinal));
    }

    /// A new file is renamed over the log.
    pub(crate) fn replace(&mut self, log: usize, rng: &mut fastrand::Rng) {
        let Some(old) = self.current(log) else { return };
        if self.logs[log].layout == Layout::Symlink {
            return;
        }
        self.end_lines(log, rng);
        let (path, tmp) = (self.logs[log].path.clone(), self.root.join(format!("copies/tmp.{}", self.counter)));
        self.generations[old].names.retain(|n| *n != path);
        self.open(log, &tmp, path.clone());
        if rng.bool() {
            self.write(log, 2, rng);
        }
        fs::rename(&tmp, &path).expect("a rename");
        self.note(format!("log {log}: replaced"));
        self.reconsider(old);
    }

    pub(crate) fn link(&mut self, log: usize) {
        let Some(id) = self.current(log) else { return };
        if self.logs[log].layout == Layout::Symlink || self.logs[log].link.is_some() {
            return;
        }
        let path = self.logs[log].path.clone();
        let link = path.with_file_name(format!("{}-link{}.log", self.logs[log].name, self.counter));
        fs::hard_link(&path, &link).expect("a link");
        self.generations[id].names.push(link.clone());
        self.note(format!("log {log}: linked as {}", link.display()));
        self.logs[log].link = Some(link);
        self.logs[log].linked = true;
    }

    pub(crate) fn unlink(&mut self, log: usize) {
        if let Some(link) = self.logs[log].link.take() {
            self.remove(&link);
            self.note(format!("log {log}: the link removed"));
        }
    }

    /// The newest rotated file that is not compressed gets a compressed copy.
    pub(crate) fn compress(&mut self, log: usize, rng: &mut fastrand::Rng) {
        let layout = self.logs[log].layout;
        if layout == Layout::Deep || (layout == Layout::Wide && !self.on(Kind::WideCompressed)) {
            return;
        }
        let number = self.number();
        let Some(old) = self.logs[log].olds.iter_mut().rev().find(|o| !o.compressed) else { return };
        old.compressed = true;
        let name = format!("{}.{number}.gz", old.path.file_name().expect("a file").to_string_lossy());
        let mut bytes = vec![0x1f, 0x8b, 8, 0];
        bytes.extend((0..rng.usize(10..600)).map(|_| rng.u8(..)));
        bytes.push(b'\n');
        fs::write(old.path.with_file_name(name), bytes).expect("a compressed file");
        self.note(format!("log {log}: a rotated file compressed"));
    }

    /// The plain files of compressed ones go.
    pub(crate) fn remove_compressed(&mut self, log: usize) {
        while let Some(at) = self.logs[log].olds.iter().position(|o| o.compressed) {
            let old = self.logs[log].olds.remove(at);
            self.remove(&old.path);
            let kind = if old.copy { "copy" } else { "file" };
            let ordinal = self.generations[old.generation].ordinal;
            self.note(format!("log {log}: the compressed {kind} of generation {ordinal} removed"));
        }
    }

    /// While no agent runs, the file is deleted, and another one gets its inode.
    pub(crate) fn reuse(&mut self, log: usize, rng: &mut fastrand::Rng) {
        let Some(id) = self.current(log) else { return };
        if self.up || self.logs[log].layout == Layout::Symlink {
            return;
        }
        self.delete(log, rng, false);
        self.logs[log].writer = None;
        let path = self.logs[log].path.clone();
        let inode = self.generations[id].inode;
        let tries = (0..REUSE_TRIES).map(|_| {
            fs::write(&path, b"").expect("a file");
            let same = fs::metadata(&path).is_ok_and(|m| (m.dev(), m.ino()) == inode);
            if !same {
                fs::remove_file(&path).expect("the file that was made");
            }
            same
        });
        if !tries.into_iter().any(|same| same) {
            return self.create(log, rng);
        }
        let file = OpenOptions::new().append(true).open(&path).expect("the file that was made");
        self.adopt(log, file, inode, vec![path]);
        self.note(format!("log {log}: a new file has the inode of the deleted one"));
        self.begin(log, rng);
    }
}
