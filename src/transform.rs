//! The Transforms: what becomes of an event between its parser and the Router. Pure: the time is passed in, and chance comes from a seed.
//!
//! A [`Pipeline`] is what is configured, and a [`State`] what it remembers: one of each for all files of a source. Events borrow from the pipeline as
//! they do from the line, so that a new name or a fixed value costs no copy; an event that a transform is not for costs no memory at all.

pub mod condition;
mod dedupe;
mod flatten;
mod glob;
mod json;
mod metric;
mod name;
mod nest;
mod nested;
mod rate_limit;
mod redact;
mod remove;
mod rename;
mod sample;
mod set;
mod table;
mod text;
mod truncate;

use std::time::Duration;

use crate::event::Event;
pub use condition::{Condition, ConditionError};
pub use dedupe::{Dedupe, REPEATS_FIELD, Repeats};
pub use flatten::{Arrays, Flatten};
pub use glob::Glob;
pub use metric::{Derived, Metric, MetricKind, MetricParts, OTHER, Sample as MetricSample, Series};
pub use name::{Name, NameError};
pub use nest::Nest;
pub use nested::{Nested, Parsers};
pub use rate_limit::RateLimit;
pub use redact::{PatternError, Preset, Redact, With};
pub use remove::Remove;
pub use rename::Rename;
pub use sample::{RATE_FIELD, Sample};
pub use set::{Set, Setting};
pub use text::Text;
pub use truncate::Truncate;

/// What is known of an event beside its fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'c> {
    /// The time, in nanoseconds since 1970.
    pub now_nanos: u64,
    /// The name of its configured source.
    pub source: &'c str,
    /// The path of its file.
    pub path: &'c str,
    /// The machine.
    pub host: &'c str,
}

/// One thing that is done with events.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is described where it is")]
pub enum Transform {
    Keep(Condition),
    Drop(Condition),
    Sample(Sample),
    RateLimit(RateLimit),
    Rename(Rename),
    Remove(Remove),
    Set(Set),
    Flatten(Flatten),
    Nest(Nest),
    Redact(Box<Redact>),
    Truncate(Truncate),
    Dedupe(Dedupe),
    Metric(Metric),
    Parse(Nested),
}

impl Transform {
    /// Its name in the configuration, which is the reason's label where it drops events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keep(_) => "keep",
            Self::Drop(_) => "drop",
            Self::Sample(_) => "sample",
            Self::RateLimit(_) => "rate_limit",
            Self::Rename(_) => "rename",
            Self::Remove(_) => "remove",
            Self::Set(_) => "set",
            Self::Flatten(_) => "flatten",
            Self::Nest(_) => "nest",
            Self::Redact(_) => "redact",
            Self::Truncate(_) => "truncate",
            Self::Dedupe(_) => "dedupe",
            Self::Metric(_) => "metric",
            Self::Parse(_) => "parse",
        }
    }

    fn memory(&self) -> Memory {
        match self {
            Self::RateLimit(limit) => Memory::Buckets(limit.buckets()),
            Self::Dedupe(dedupe) => Memory::Runs(Box::new(dedupe.runs())),
            Self::Redact(redact) => Memory::Keys(Box::new(redact.open_keys())),
            Self::Metric(_) => Memory::Series(Series::default()),
            _ => Memory::None,
        }
    }
}

/// What a transform remembers.
#[derive(Debug, Clone)]
enum Memory {
    None,
    Buckets(rate_limit::Buckets),
    Runs(Box<dedupe::Runs>),
    Series(Series),
    Keys(Box<redact::OpenKeys>),
}

/// What a transform has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that it changed, or counted.
    pub touched: u64,
    /// Events that it dropped.
    pub dropped: u64,
    /// Events that it was for and could do nothing with: text that is not what the parser takes, a name that is taken, no number for a metric.
    pub failed: u64,
    /// Keys that had to be forgotten for others.
    pub forgotten: u64,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Kept,
    /// It does not.
    Dropped {
        /// The number of the transform, from 0.
        transform: usize,
        /// Its name.
        reason: &'static str,
    },
}

/// What one transform did to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The number of the transform, from 0.
    pub transform: usize,
    /// Its name.
    pub name: &'static str,
    /// What it did.
    pub did: Did,
}

/// What was done to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// Nothing: it was not for it.
    Nothing,
    /// It was counted, or let through.
    Passed,
    /// It is this JSON now.
    Changed(String),
    /// It could not be done.
    Failed(&'static str),
    /// It was dropped.
    Dropped,
}

/// The transforms of a source, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pipeline {
    transforms: Vec<Transform>,
}

/// What the transforms of a source remember of its events. It is bounded, whatever they say.
#[derive(Debug)]
pub struct State {
    memories: Vec<Memory>,
    counts: Vec<Counts>,
    random: fastrand::Rng,
    scratch: String,
}

/// What a step did, before anybody puts it into words.
#[derive(Debug, Clone, Copy)]
enum Effect {
    Nothing,
    Passed,
    Changed,
    Failed(&'static str),
    Dropped,
}

impl Effect {
    fn changed(is_changed: bool) -> Self {
        if is_changed { Self::Changed } else { Self::Nothing }
    }

    /// The effect of something that lets through or drops, or is not for an event.
    fn filtered(keeps: Option<bool>) -> Self {
        match keeps {
            None => Self::Nothing,
            Some(true) => Self::Passed,
            Some(false) => Self::Dropped,
        }
    }
}

impl Pipeline {
    /// These transforms.
    pub fn new(transforms: Vec<Transform>) -> Self {
        Self { transforms }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.transforms.is_empty()
    }

    /// The transforms.
    pub fn transforms(&self) -> &[Transform] {
        &self.transforms
    }

    /// What it remembers before the first event.
    pub fn state(&self, seed: u64) -> State {
        State {
            memories: self.transforms.iter().map(Transform::memory).collect(),
            counts: vec![Counts::default(); self.transforms.len()],
            random: fastrand::Rng::with_seed(seed),
            scratch: String::new(),
        }
    }

    /// Takes an event through. The state is this pipeline's.
    pub fn apply<'a>(
        &'a self,
        state: &mut State,
        event: &mut Event<'a>,
        at: &Context<'_>,
        parsers: &impl Parsers,
    ) -> Outcome {
        for (index, transform) in self.transforms.iter().enumerate() {
            let effect = state.step(transform, index, event, (at, parsers));
            if matches!(effect, Effect::Dropped) {
                state.take_back(index);
                return Outcome::Dropped { transform: index, reason: transform.name() };
            }
        }
        Outcome::Kept
    }

    /// How long repeats are left out at most, if they are.
    pub fn dedupes_within(&self) -> Option<Duration> {
        let within = |transform: &Transform| match transform {
            Transform::Dedupe(dedupe) => Some(dedupe.within()),
            _ => None,
        };
        self.transforms.iter().filter_map(within).max()
    }

    /// Whether anything is redacted.
    pub fn redacts(&self) -> bool {
        self.transforms.iter().any(|transform| matches!(transform, Transform::Redact(_)))
    }

    /// Only redacts: what is no event, such as a part of a line, has secrets all the same. Answers whether it had one.
    pub fn redact<'a>(&'a self, state: &mut State, event: &mut Event<'a>, at: &Context<'_>) -> bool {
        let mut is_changed = false;
        for (index, transform) in self.transforms.iter().enumerate() {
            if matches!(transform, Transform::Redact(_)) {
                is_changed |= matches!(state.step(transform, index, event, (at, &())), Effect::Changed);
            }
        }
        is_changed
    }

    /// What redacts, alone, for lines that come by again: the second time it finds what it has covered, and leaves it or takes it away.
    #[must_use]
    pub fn provisional(&self) -> Self {
        let redacts = self.transforms.iter().filter_map(|transform| match transform {
            Transform::Redact(redact) => Some(Transform::Redact(Box::new(redact.provisional()))),
            _ => None,
        });
        Self { transforms: redacts.collect() }
    }

    /// The same, and what each transform did to the event.
    pub fn explain<'a>(
        &'a self,
        state: &mut State,
        event: &mut Event<'a>,
        at: &Context<'_>,
        parsers: &impl Parsers,
    ) -> (Outcome, Vec<Explained>) {
        let mut said = Vec::new();
        for (index, transform) in self.transforms.iter().enumerate() {
            let before = json_of(event);
            let effect = state.step(transform, index, event, (at, parsers));
            let after = json_of(event);
            let did = match effect {
                Effect::Dropped => Did::Dropped,
                Effect::Failed(why) => Did::Failed(why),
                _ if before != after => Did::Changed(after),
                Effect::Passed | Effect::Changed => Did::Passed,
                Effect::Nothing => Did::Nothing,
            };
            said.push(Explained { transform: index, name: transform.name(), did });
            if matches!(effect, Effect::Dropped) {
                state.take_back(index);
                return (Outcome::Dropped { transform: index, reason: transform.name() }, said);
            }
        }
        (Outcome::Kept, said)
    }

    /// The metrics that are derived from events.
    pub fn derived<'m>(&'m self, state: &'m State) -> impl Iterator<Item = Derived<'m>> {
        self.transforms.iter().zip(&state.memories).filter_map(|pair| match pair {
            (Transform::Metric(metric), Memory::Series(series)) => Some(metric.derived(series)),
            _ => None,
        })
    }

    /// What each transform has done, with its name.
    pub fn counts(&self, state: &State) -> impl Iterator<Item = (&'static str, Counts)> {
        let with_memory = |((transform, counts), memory): ((&Transform, &Counts), &Memory)| {
            let forgotten = match memory {
                Memory::Buckets(buckets) => buckets.evicted(),
                Memory::Runs(runs) => runs.evicted(),
                Memory::Series(series) => series.overflow,
                Memory::Keys(_) | Memory::None => 0,
            };
            let invalid = if let Memory::Series(series) = memory { series.invalid } else { 0 };
            (transform.name(), Counts { forgotten, failed: counts.failed + invalid, ..*counts })
        };
        self.transforms.iter().zip(&state.counts).zip(&state.memories).map(with_memory)
    }
}

impl State {
    fn step<'a>(
        &mut self,
        transform: &'a Transform,
        index: usize,
        event: &mut Event<'a>,
        (at, parsers): (&Context<'_>, &impl Parsers),
    ) -> Effect {
        let scratch = &mut self.scratch;
        let effect = match (transform, &mut self.memories[index]) {
            (Transform::Keep(condition), _) => Effect::filtered(Some(condition.holds(event))),
            (Transform::Drop(condition), _) => Effect::filtered(condition.holds(event).then_some(false)),
            (Transform::Sample(sample), _) => Effect::filtered(sample.keeps((&mut self.random, scratch), event, at)),
            (Transform::RateLimit(limit), Memory::Buckets(buckets)) => {
                Effect::filtered(limit.takes((buckets, scratch), event, at))
            }
            (Transform::Rename(rename), _) => Effect::changed(rename.apply(event)),
            (Transform::Remove(remove), _) => Effect::changed(remove.apply(event)),
            (Transform::Set(set), _) => Effect::changed(set.apply(event, at)),
            (Transform::Flatten(flatten), _) => Effect::changed(flatten.apply(event)),
            (Transform::Nest(nest), _) => match nest.apply(event) {
                Ok(is_changed) => Effect::changed(is_changed),
                Err(()) => Effect::Failed("the name is that of a field that is no object"),
            },
            (Transform::Redact(redact), Memory::Keys(keys)) => {
                Effect::changed(redact.apply((keys, scratch), event, at))
            }
            (Transform::Truncate(truncate), _) => Effect::changed(truncate.apply(event)),
            (Transform::Dedupe(dedupe), Memory::Runs(runs)) => Effect::filtered(dedupe.lets_through(runs, event, at)),
            (Transform::Metric(metric), Memory::Series(series)) => {
                if metric.count((series, scratch), event, at) {
                    Effect::Passed
                } else {
                    Effect::Nothing
                }
            }
            (Transform::Parse(nested), _) => match nested.apply(parsers, event) {
                Ok(is_changed) => Effect::changed(is_changed),
                Err(why) => Effect::Failed(why),
            },
            // A state of another pipeline.
            (Transform::RateLimit(_) | Transform::Dedupe(_) | Transform::Metric(_) | Transform::Redact(_), _) => {
                Effect::Nothing
            }
        };
        let counts = &mut self.counts[index];
        match effect {
            Effect::Nothing => {}
            Effect::Passed | Effect::Changed => counts.touched += 1,
            Effect::Failed(_) => counts.failed += 1,
            Effect::Dropped => counts.dropped += 1,
        }
        effect
    }

    /// What transforms before this one said in an event that is dropped now, they have to say again.
    fn take_back(&mut self, index: usize) {
        for memory in self.memories.iter_mut().take(index) {
            if let Memory::Runs(runs) = memory {
                runs.take_back();
            }
        }
    }

    /// Counts of repeats that no event has told of for so long; with no time, all of them, as at the end.
    pub fn quiet(&mut self, now_nanos: u64, wait: Duration) -> Vec<Repeats> {
        let mut taken = Vec::new();
        for memory in &mut self.memories {
            if let Memory::Runs(runs) = memory {
                runs.quiet(now_nanos, wait, &mut taken);
            }
        }
        taken
    }
}

fn json_of(event: &Event<'_>) -> String {
    let mut out = Vec::new();
    event.write_to(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;
