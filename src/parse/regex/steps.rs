//! A pattern as steps for [`super::scan`]: what most patterns for log lines are made of, from `^` on. A pattern with anything else has none, and
//! the engine runs it.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// The most steps of a pattern: what is counted, such as `\d{1,3}(\.\d{1,3}){3}`, is written out.
const MAX_STEPS: usize = 500;
/// Levels of groups that are followed.
const MAX_DEPTH: usize = 50;

/// What to do next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// This text must be here.
    Text(Box<[u8]>),
    /// Characters of a set, as many as there are.
    Run(Run),
    /// A group begins or ends here.
    Save(usize),
    /// The next step or, if nothing comes of that, another one; the other way round if it is not greedy.
    Fork(Fork),
    /// Goes on elsewhere.
    Jump(usize),
    /// This must be the beginning.
    Start,
    /// This must be the end.
    End,
    /// It fits.
    Done,
}

/// Characters of a set.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) set: Set,
    pub(super) min: usize,
    pub(super) max: Option<usize>,
    pub(super) is_greedy: bool,
    /// What can come after them.
    pub(super) then: First,
    /// Nothing that can come after one is such a character: there is one way to take them.
    pub(super) is_exact: bool,
}

/// Two ways.
#[derive(Debug, Clone)]
pub(super) struct Fork {
    pub(super) ways: [usize; 2],
    pub(super) firsts: [First; 2],
}

/// What a byte is to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Out,
    In,
    /// It is part of a character that can be in the set or not: the engine has to look.
    Unknown,
}

/// A set of characters, by their first bytes.
#[derive(Debug, Clone)]
pub(super) struct Set {
    places: Box<[Place; 256]>,
    pub(super) kind: Kind,
}

/// How its end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All characters.
    All,
    /// All but one.
    Not(u8),
    /// All but two.
    NotEither(u8, u8),
    /// By a look at each byte.
    Table,
}

impl Set {
    fn new(ranges: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut places = Box::new([Place::Out; 256]);
        let mut beyond = Place::Out;
        for (start, end) in ranges {
            for (code, place) in (0..128).zip(places.iter_mut()) {
                if (start..=end).contains(&code) {
                    *place = Place::In;
                }
            }
            if start <= 128 && end == u32::from(char::MAX) {
                beyond = Place::In;
            } else if end >= 128 {
                beyond = Place::Unknown;
            }
        }
        places[128..].fill(beyond);
        let mut out = (0..128_u8).filter(|b| places[usize::from(*b)] == Place::Out);
        let kind = match (beyond, out.next(), out.next(), out.next()) {
            (Place::In, None, ..) => Kind::All,
            (Place::In, Some(a), None, _) => Kind::Not(a),
            (Place::In, Some(a), Some(b), None) => Kind::NotEither(a, b),
            _ => Kind::Table,
        };
        Self { places, kind }
    }

    fn of_class(class: &Class) -> Option<Self> {
        match class {
            Class::Unicode(class) => {
                Some(Self::new(class.ranges().iter().map(|r| (u32::from(r.start()), u32::from(r.end())))))
            }
            Class::Bytes(class) => {
                let ranges = class.ranges();
                let is_ascii = ranges.iter().all(|r| r.end().is_ascii());
                is_ascii.then(|| Self::new(ranges.iter().map(|r| (u32::from(r.start()), u32::from(r.end())))))
            }
        }
    }

    /// What a byte is to the set.
    pub(super) fn place(&self, byte: u8) -> Place {
        self.places[usize::from(byte)]
    }
}

/// The bytes that something can begin with.
#[derive(Debug, Clone)]
pub(super) struct First {
    bytes: Box<[bool; 256]>,
    /// It can be nothing, where the text ends.
    pub(super) at_end: bool,
    /// The one byte, if it is one.
    pub(super) only: Option<u8>,
}

impl First {
    fn none() -> Self {
        Self { bytes: Box::new([false; 256]), at_end: false, only: None }
    }

    /// Whether it can begin with what is there.
    pub(super) fn takes(&self, next: Option<&u8>) -> bool {
        next.map_or(self.at_end, |b| self.bytes[usize::from(*b)])
    }

    fn add(&mut self, takes: impl Fn(u8) -> bool) {
        for (byte, has) in (0..=u8::MAX).zip(self.bytes.iter_mut()) {
            *has |= takes(byte);
        }
    }
}

/// The steps of a pattern whose named groups are these, if it can be run in steps.
pub(super) fn compile(pattern: &str, groups: &[usize]) -> Option<Vec<Step>> {
    let hir = ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern).ok()?;
    // Without it, the engine looks for where the match begins.
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        return None;
    }
    let mut maker = Maker { steps: Vec::new(), groups };
    maker.add(&hir, 0)?;
    maker.steps.push(Step::Done);
    let mut steps = maker.steps;
    for at in 0..steps.len() {
        let made = match &steps[at] {
            Step::Run(run) => {
                let then = first(&steps, at + 1)?;
                let mixed = |b: u8| then.bytes[usize::from(b)] && run.set.place(b) != Place::Out;
                let is_exact = !(0..=u8::MAX).any(mixed);
                Step::Run(Run { then, is_exact, ..run.clone() })
            }
            Step::Fork(Fork { ways, .. }) => {
                Step::Fork(Fork { ways: *ways, firsts: [first(&steps, ways[0])?, first(&steps, ways[1])?] })
            }
            _ => continue,
        };
        steps[at] = made;
    }
    Some(steps)
}

struct Maker<'a> {
    steps: Vec<Step>,
    groups: &'a [usize],
}

impl Maker<'_> {
    fn add(&mut self, hir: &Hir, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH || self.steps.len() > MAX_STEPS {
            return None;
        }
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(text) => self.steps.push(Step::Text(text.0.clone())),
            HirKind::Class(class) => self.run(Set::of_class(class)?, 1, Some(1), true),
            HirKind::Look(Look::Start) => self.steps.push(Step::Start),
            HirKind::Look(Look::End) => self.steps.push(Step::End),
            HirKind::Look(_) => return None,
            HirKind::Repetition(repetition) => self.repeat(repetition, depth)?,
            HirKind::Capture(capture) => {
                let index = usize::try_from(capture.index).ok().filter(|index| self.groups.contains(index));
                self.steps.extend(index.map(|index| Step::Save(2 * index)));
                self.add(&capture.sub, depth + 1)?;
                self.steps.extend(index.map(|index| Step::Save(2 * index + 1)));
            }
            HirKind::Concat(parts) => parts.iter().try_for_each(|part| self.add(part, depth + 1))?,
            HirKind::Alternation(ways) => self.alternatives(ways, depth)?,
        }
        Some(())
    }

    fn run(&mut self, set: Set, min: usize, max: Option<usize>, is_greedy: bool) {
        self.steps.push(Step::Run(Run { set, min, max, is_greedy, then: First::none(), is_exact: false }));
    }

    fn fork(&mut self) -> usize {
        self.steps.push(Step::Fork(Fork { ways: [0; 2], firsts: [First::none(), First::none()] }));
        self.steps.len() - 1
    }

    fn set_ways(&mut self, fork: usize, way: usize, other: usize, is_greedy: bool) {
        if let Step::Fork(fork) = &mut self.steps[fork] {
            fork.ways = if is_greedy { [way, other] } else { [other, way] };
        }
    }

    fn repeat(&mut self, repetition: &Repetition, depth: usize) -> Option<()> {
        let Repetition { min, max, greedy, sub } = repetition;
        let min = usize::try_from(*min).ok()?;
        let max = max.map(usize::try_from).transpose().ok()?;
        let set = match sub.kind() {
            HirKind::Class(class) => Some(Set::of_class(class)?),
            HirKind::Literal(text) if text.0.len() == 1 => {
                Some(Set::new(text.0.iter().map(|b| (u32::from(*b), u32::from(*b)))))
            }
            _ => None,
        };
        if let Some(set) = set {
            self.run(set, min, max, *greedy);
            return Some(());
        }
        // Rounds in which nothing is taken have rules of their own.
        if sub.properties().minimum_len()? == 0 {
            return None;
        }
        for _ in 0..min {
            self.add(sub, depth + 1)?;
        }
        let Some(max) = max else {
            let fork = self.fork();
            self.add(sub, depth + 1)?;
            self.steps.push(Step::Jump(fork));
            let after = self.steps.len();
            self.set_ways(fork, fork + 1, after, *greedy);
            return Some(());
        };
        let mut forks = Vec::new();
        for _ in min..max {
            forks.push(self.fork());
            self.add(sub, depth + 1)?;
        }
        let after = self.steps.len();
        for fork in forks {
            self.set_ways(fork, fork + 1, after, *greedy);
        }
        Some(())
    }

    fn alternatives(&mut self, ways: &[Hir], depth: usize) -> Option<()> {
        let (last, others) = ways.split_last()?;
        let mut jumps = Vec::new();
        for way in others {
            let fork = self.fork();
            self.add(way, depth + 1)?;
            jumps.push(self.steps.len());
            self.steps.push(Step::Jump(0));
            let next = self.steps.len();
            self.set_ways(fork, fork + 1, next, true);
        }
        self.add(last, depth + 1)?;
        let after = self.steps.len();
        for jump in jumps {
            self.steps[jump] = Step::Jump(after);
        }
        Some(())
    }
}

/// What can begin at a step.
fn first(steps: &[Step], at: usize) -> Option<First> {
    let mut first = First::none();
    let (mut waiting, mut seen) = (vec![at], vec![false; steps.len()]);
    while let Some(at) = waiting.pop() {
        if std::mem::replace(seen.get_mut(at)?, true) {
            continue;
        }
        match &steps[at] {
            Step::Text(text) => {
                let byte = text.first().copied();
                first.add(|b| Some(b) == byte);
            }
            Step::Run(run) => {
                first.add(|b| run.set.place(b) != Place::Out);
                if run.min == 0 {
                    waiting.push(at + 1);
                }
            }
            Step::Save(_) => waiting.push(at + 1),
            Step::Fork(fork) => waiting.extend(fork.ways),
            Step::Jump(to) => waiting.push(*to),
            Step::End => first.at_end = true,
            Step::Start | Step::Done => {
                first.add(|_| true);
                first.at_end = true;
            }
        }
    }
    let mut bytes = (0..=u8::MAX).filter(|b| first.bytes[usize::from(*b)]);
    first.only = bytes.next().filter(|_| bytes.next().is_none());
    Some(first)
}
