//! Scripts: lists of steps that a seed draws, and their words. A step that makes no sense where it stands does nothing, so that any part of a
//! script is a script.

use std::fmt;

/// Ways of treating files that can be switched off, until the reader knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Rename, then create; numbered and dated.
    Rename,
    /// Rename or delete; the writer goes on with the old file, and creates the new one later.
    Late,
    /// Copy, perhaps write a little more, truncate.
    CopyTruncate,
    /// The same, and at once as large as before, or larger.
    Regrow,
    /// Truncate without a copy.
    Truncate,
    /// Delete, create.
    Delete,
    /// A new file is renamed over the old one.
    Replace,
    /// The path is a symbolic link that is made to point elsewhere.
    Symlink,
    /// A second name comes and goes.
    HardLink,
    /// Renamed into a subdirectory that a glob names too.
    Subdirectory,
    /// The glob names rotated files too.
    WideGlob,
    /// A rotated file is compressed, and removed later.
    Compress,
    /// A new file gets the inode of the one that was deleted while the agent was down.
    Reuse,
    /// Files begin with the same line, and hold equal lines.
    Equal,
    /// The equal lines are longer than what a reader compares of a file's beginning.
    EqualHead,
    /// The last line of a rotated file has no newline.
    Unterminated,
    /// What a copy holds and the agent had not read when the file was truncated is read from the copy; with the agent up ...
    CopyTailUp,
    /// ... and down.
    CopyTailDown,
    /// ... and killed after it was truncated.
    CopyTailKill,
    /// A file that was renamed before the agent ever saw it is found under its new name; with the agent up ...
    UnseenUp,
    /// ... and down.
    UnseenDown,
    /// A symbolic link's old target is found again after a restart.
    SymlinkDown,
    /// Compressed files that the glob names are left alone.
    WideCompressed,
    /// Generations keep their order across a restart, too, where the glob names the rotated ones or a file had two names.
    OrderAfterRestart,
}

/// What is done in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Write,
    Burst,
    /// The beginning of a line; the next write brings the rest.
    Part,
    Twins,
    Rotate,
    RotateLate,
    Create,
    CopyTruncate,
    CopyTruncateRegrow,
    Truncate,
    TruncateRegrow,
    Delete,
    DeleteLate,
    Replace,
    Swap,
    Link,
    Unlink,
    Compress,
    RemoveCompressed,
    Reuse,
    /// The sender takes nothing ...
    Stall,
    /// ... and goes on.
    Unstall,
    /// From now on it settles at once ...
    Prompt,
    /// ... or only when a step says so.
    Lazy,
    /// Some of what is unsettled, in any order.
    Settle,
    HoldCheckpoints,
    WriteCheckpoints,
    /// Waits for any delivery, if something is to come.
    Await,
    /// Waits until the agent has caught up.
    Sync,
    /// Waits until that is committed, too.
    Commit,
    Stop,
    /// A stop with a deadline before all is settled.
    StopEarly,
    Kill,
    Start,
}

impl Act {
    /// The kind that has to be switched on for it.
    fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Twins => Kind::Equal,
            Self::Rotate => Kind::Rename,
            Self::RotateLate | Self::DeleteLate => Kind::Late,
            Self::CopyTruncate => Kind::CopyTruncate,
            Self::CopyTruncateRegrow | Self::TruncateRegrow => Kind::Regrow,
            Self::Truncate => Kind::Truncate,
            Self::Delete => Kind::Delete,
            Self::Replace => Kind::Replace,
            Self::Swap => Kind::Symlink,
            Self::Link | Self::Unlink => Kind::HardLink,
            Self::Compress | Self::RemoveCompressed => Kind::Compress,
            Self::Reuse => Kind::Reuse,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Its place in the script that the seed draws.
    pub(crate) number: usize,
    pub(crate) act: Act,
    pub(crate) log: usize,
    /// Decides everything else, so that a step stays what it is when others are taken away.
    pub(crate) seed: u64,
}

/// Where a log lies, and what the glob names of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `n/*.log`; rotated files have other names.
    Narrow,
    /// `w/app0*`; rotated files are named too.
    Wide,
    /// `deep/**/*.log`; rotated files go to a subdirectory.
    Deep,
    /// `s/*.log`, which are symbolic links.
    Symlink,
}

#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    /// Rotated files are watched for ever, so that late writes are not a matter of time; otherwise they are let go at once, so that their
    /// last lines without a newline come.
    pub(crate) long_wait: bool,
    pub(crate) memory_limit: &'static str,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) steps: Vec<Step>,
}

fn one<T: Copy>(rng: &mut fastrand::Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

impl Script {
    pub(crate) fn draw(seed: u64, kinds: &[Kind]) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let on = |kind: Kind| kinds.contains(&kind);
        let mut layouts = vec![Layout::Narrow, Layout::Narrow];
        layouts.extend(on(Kind::WideGlob).then_some(Layout::Wide));
        layouts.extend(on(Kind::Subdirectory).then_some(Layout::Deep));
        layouts.extend(on(Kind::Symlink).then_some(Layout::Symlink));
        let layouts: Vec<Layout> = (0..rng.usize(1..4)).map(|_| one(&mut rng, &layouts)).collect();
        let long_wait = rng.bool();
        let memory_limit = one(&mut rng, &["1MiB", "8MiB"]);
        let rotations = rotations(&mut rng, kinds, long_wait, layouts.contains(&Layout::Symlink));
        let mut steps = Vec::new();
        let mut up = false;
        if rng.u8(..4) > 0 {
            steps.push(Step { number: 0, act: Act::Start, log: 0, seed: rng.u64(..) });
            up = true;
        }
        for _ in 0..rng.usize(20..41) {
            let act = draw_act(&mut rng, &rotations, up);
            up = match act {
                Act::Start => true,
                Act::Stop | Act::StopEarly | Act::Kill => false,
                _ => up,
            };
            // What was lately rotated is of interest to what comes next.
            let log = rng.usize(..layouts.len());
            if !act.kind().is_none_or(on) {
                continue;
            }
            steps.push(Step { number: steps.len(), act, log, seed: rng.u64(..) });
        }
        Self { seed, long_wait, memory_limit, layouts, steps }
    }
}

/// A script has its habits: a few ways to rotate, which meet more often then.
fn rotations(rng: &mut fastrand::Rng, kinds: &[Kind], long_wait: bool, symlink: bool) -> Vec<Act> {
    let mut all = vec![
        Act::Rotate,
        Act::CopyTruncate,
        Act::CopyTruncateRegrow,
        Act::Truncate,
        Act::TruncateRegrow,
        Act::Delete,
        Act::Replace,
        Act::Link,
        Act::Unlink,
        Act::Compress,
        Act::RemoveCompressed,
        Act::Reuse,
    ];
    if long_wait {
        all.extend([Act::RotateLate, Act::RotateLate, Act::DeleteLate]);
    }
    if symlink {
        all.extend([Act::Swap, Act::Swap]);
    }
    all.retain(|act| act.kind().is_none_or(|kind| kinds.contains(&kind)));
    let mut some = vec![Act::Rotate, Act::Rotate];
    for _ in 0..rng.usize(2..6) {
        some.push(one(rng, &all));
    }
    if some.contains(&Act::RotateLate) || some.contains(&Act::DeleteLate) {
        some.push(Act::Create);
    }
    if some.contains(&Act::Compress) {
        some.push(Act::RemoveCompressed);
    }
    if some.contains(&Act::Link) {
        some.push(Act::Unlink);
    }
    if symlink && kinds.contains(&Kind::Symlink) {
        some.push(Act::Swap);
    }
    some
}

fn draw_act(rng: &mut fastrand::Rng, rotations: &[Act], up: bool) -> Act {
    match rng.u8(..100) {
        0..30 => Act::Write,
        30..33 => Act::Burst,
        33..41 => Act::Part,
        41..43 => Act::Twins,
        43..70 => one(rng, rotations),
        _ if !up && rng.u8(..5) == 0 => one(rng, rotations),
        _ if !up => one(rng, &[Act::Start, Act::Start, Act::Start, Act::Write]),
        70..74 => one(rng, &[Act::Stall, Act::Unstall]),
        74..78 => one(rng, &[Act::Prompt, Act::Lazy]),
        78..80 => Act::Settle,
        80..82 => one(rng, &[Act::HoldCheckpoints, Act::WriteCheckpoints]),
        82..86 => Act::Await,
        86..90 => Act::Sync,
        90..92 => Act::Commit,
        92..94 => Act::Stop,
        94..95 => Act::StopEarly,
        _ => Act::Kill,
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = if self.long_wait { "long" } else { "short" };
        writeln!(f, "seed {}: logs {:?}, {wait} rotate_wait, memory {}", self.seed, self.layouts, self.memory_limit)?;
        for Step { number, act, log, .. } in &self.steps {
            writeln!(f, "  {number:2} {act:?} log {log}")?;
        }
        let numbers: Vec<String> = self.steps.iter().map(|step| step.number.to_string()).collect();
        write!(f, "replay it with KINETAIL_TAIL_SEED={} KINETAIL_TAIL_STEPS={}", self.seed, numbers.join(","))
    }
}
