//! What one seed stands for: how the agent is set up, how the stream behaves, and when the process dies. Drawn once, before anything runs.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kinetail::config::{Compression, Format, LongLines, OnParseError, PartitionKey};
use kinetail::kinesis::aggregate::Packing;
use kinetail::line::LineConfig;
use kinetail::parse::Direct;
use kinetail::route::Template;

use crate::file::{Content, File};

/// A bug that is built into the simulation on purpose, to see whether it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// None: the real thing.
    None,
    /// The tracker takes the highest settled end for the committed offset, whatever is missing before it.
    HighestEnd,
    /// What was read counts as committed.
    CommitOnRead,
    /// A refused record counts as stored.
    RefusalIsSuccess,
    /// A response with another number of results than records counts as success.
    MismatchIsSuccess,
    /// A broken connection counts as success.
    LostReplyIsSuccess,
    /// Results belong to the records in reverse order.
    ResultsReversed,
    /// Each request goes out twice, as from a client that retries by itself.
    ClientRetries,
}

/// How a run of the agent ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// It is killed after this time.
    Crash(Duration),
    /// It is told to stop after this time and has so long to drain.
    Stop(Duration, Duration),
    /// It runs until everything is written and read, and drains.
    Last,
}

/// A time in which every request is refused with one code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spell {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) code: &'static str,
}

/// How often a request or a record meets a fault: probabilities.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// The request fails before anything is stored.
    pub(crate) before: f64,
    /// All is stored and the answer is lost.
    pub(crate) lost: f64,
    /// No answer comes; what was sent may be stored, then, later, or never.
    pub(crate) hang: f64,
    /// The answer has another number of results than the request had records.
    pub(crate) mismatch: f64,
    /// A record fails by itself.
    pub(crate) record: f64,
    /// A record is throttled, however little was sent.
    pub(crate) noise: f64,
}

/// Everything that a seed decides.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mutant: Mutant,
    pub(crate) packing: Packing,
    pub(crate) partition_key: PartitionKey,
    /// The role may list the stream's shards.
    pub(crate) lists_shards: bool,
    /// The stream's record limit grows to this at that time.
    pub(crate) raised: Option<(Duration, usize)>,
    pub(crate) line: LineConfig,
    pub(crate) max_in_flight: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) memory: usize,
    pub(crate) read_bytes: usize,
    pub(crate) files: Rc<Vec<File>>,
    pub(crate) runs: Vec<End>,
    pub(crate) shards: u32,
    /// The number of shards becomes this at that time.
    pub(crate) reshards: Vec<(Duration, u32)>,
    /// The part of every shard's rate that other producers take, until that time.
    pub(crate) neighbours: (f64, Duration),
    pub(crate) faults: Faults,
    pub(crate) spells: Vec<Spell>,
    /// The directory of the dead-letter file cannot be written before this.
    pub(crate) dead_letters_from: Duration,
    pub(crate) checkpoint_interval: Duration,
    /// Longer than its faults, retries and holds together can take.
    pub(crate) patience: Duration,
}

const HOLDS: [&str; 4] =
    ["AccessDeniedException", "ResourceNotFoundException", "KMSDisabledException", "ExpiredTokenException"];

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(seed: u64, mutant: Mutant) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        // One in twelve moves records of up to a mebibyte, the others are many and small.
        let large = rng.u8(..12) == 0;
        let format = *one(&mut rng, &[Format::Kpl, Format::Kpl, Format::Lines, Format::Single]);
        let template = PartitionKey::Template(Arc::new(Template::parse("{k}").expect("a template")));
        let partition_key = one(&mut rng, &[PartitionKey::Random, PartitionKey::Source, template]).clone();
        let poison = rng.u8(..4) == 0;
        let content = Content {
            parse: *one(&mut rng, &[Direct::Json, Direct::Json, Direct::Raw]),
            on_parse_error: *one(&mut rng, &[OnParseError::Keep, OnParseError::Drop, OnParseError::DeadLetter]),
            longest: if large { 60_000 } else { 600 },
            poison,
        };
        let max = if large { 1 << 20 } else { *one(&mut rng, &[4 << 10, 16 << 10, 1 << 20]) };
        let read_bytes = if large { 128 << 10 } else { rng.usize(1500..12_000) };
        let max_age = match format {
            Format::Single => Duration::ZERO,
            Format::Kpl | Format::Lines => millis(&mut rng, 5, 1500),
        };
        let target = if large { 51_200 } else { rng.usize(600..max.min(8 << 10)) };
        let runs = runs(&mut rng);
        let files = File::draw(&mut rng, content, large);
        let mut memory = read_bytes * rng.usize(3..30);
        if poison {
            // A lane that waits behind a refused record at its head must leave room for another lane to deliver something.
            memory += files.iter().map(|f| 2 * f.bytes.len() + 1024 * f.lines.len()).sum::<usize>();
        }
        Self {
            seed,
            mutant,
            packing: Packing {
                format,
                target,
                max,
                max_records: *one(&mut rng, &[u32::MAX, u32::MAX, 7]),
                compression: Compression::None,
                max_age,
                delimiter: (*b"\n").into(),
            },
            partition_key,
            lists_shards: rng.bool(),
            raised: (rng.u8(..4) == 0).then(|| (millis(&mut rng, 0, 20_000), 2 * max)),
            line: LineConfig {
                parse: content.parse.into(),
                on_parse_error: content.on_parse_error,
                max_line_bytes: 256 << 10,
                long_lines: LongLines::Split,
                ..LineConfig::default()
            },
            max_in_flight: rng.usize(1..6),
            request_timeout: millis(&mut rng, 600, 10_000),
            memory,
            read_bytes,
            files: Rc::new(files),
            runs,
            shards: rng.u32(1..7),
            reshards: reshards(&mut rng),
            neighbours: (*one(&mut rng, &[0.0, 0.9, 0.99, 0.999]), millis(&mut rng, 0, 40_000)),
            faults: Faults {
                before: *one(&mut rng, &[0.0, 0.02, 0.2]),
                lost: *one(&mut rng, &[0.0, 0.02, 0.15]),
                hang: *one(&mut rng, &[0.0, 0.01, 0.1]),
                mismatch: *one(&mut rng, &[0.0, 0.02, 0.1]),
                record: *one(&mut rng, &[0.0, 0.02, 0.2]),
                noise: 0.0,
            },
            spells: (0..rng.u8(..3)).map(|_| spell(&mut rng)).collect(),
            dead_letters_from: if rng.u8(..4) == 0 { millis(&mut rng, 0, 20_000) } else { Duration::ZERO },
            checkpoint_interval: millis(&mut rng, 0, 3000),
            patience: Duration::from_mins(30),
        }
    }

    /// An hour in which three files are written, one record in five is throttled, one in ten fails and one answer in a hundred is lost. Nothing
    /// else happens.
    pub(crate) fn hour(seed: u64, partition_key: PartitionKey) -> Self {
        let hour = Duration::from_hours(1);
        let mut plan = Self::new(seed, Mutant::None);
        let content = Content { parse: Direct::Json, on_parse_error: OnParseError::Keep, longest: 600, poison: false };
        plan.line = LineConfig { parse: content.parse.into(), on_parse_error: content.on_parse_error, ..plan.line };
        let packing =
            Packing { format: Format::Kpl, target: 51_200, max: 1 << 20, max_records: u32::MAX, ..plan.packing };
        let files = File::steady(&mut fastrand::Rng::with_seed(seed), content, (3, 60_000), hour);
        Self {
            packing: Packing { max_age: Duration::from_millis(100), ..packing },
            partition_key,
            raised: None,
            max_in_flight: 12,
            request_timeout: Duration::from_secs(30),
            memory: 12 << 20,
            read_bytes: 64 << 10,
            files: Rc::new(files),
            runs: vec![End::Last],
            shards: 4,
            reshards: Vec::new(),
            neighbours: (0.0, Duration::ZERO),
            faults: Faults { lost: 0.01, record: 0.1, noise: 0.2, ..Faults::default() },
            spells: Vec::new(),
            dead_letters_from: Duration::ZERO,
            patience: hour + plan.patience,
            ..plan
        }
    }
}

fn reshards(rng: &mut fastrand::Rng) -> Vec<(Duration, u32)> {
    let count = rng.usize(..6).saturating_sub(2);
    let mut reshards: Vec<_> = (0..count).map(|_| (millis(rng, 0, 20_000), rng.u32(1..9))).collect();
    reshards.sort();
    reshards
}

fn runs(rng: &mut fastrand::Rng) -> Vec<End> {
    let mut runs: Vec<End> = (0..rng.u8(..4))
        .map(|_| {
            let after = millis(rng, 5, 12_000);
            if rng.u8(..3) == 0 { End::Stop(after, millis(rng, 0, 20_000)) } else { End::Crash(after) }
        })
        .collect();
    runs.push(End::Last);
    runs
}

fn spell(rng: &mut fastrand::Rng) -> Spell {
    let from = millis(rng, 0, 20_000);
    Spell { from, to: from + millis(rng, 100, 30_000), code: HOLDS[rng.usize(..HOLDS.len())] }
}

pub(crate) fn millis(rng: &mut fastrand::Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}

/// One of several.
pub(crate) fn one<'a, T>(rng: &mut fastrand::Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}
