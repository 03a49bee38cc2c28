//! The whole line in paused time against a simulated Kinesis: what the agent promises, held against hundreds of seeded runs of faults, crashes
//! and restarts; and deliberate bugs, to see that the simulation would notice them. What reads real files is tested elsewhere.
//!
//! `KINETAIL_SIM_SEED=n` replays one seed, `KINETAIL_SIM_SEEDS=n` runs so many.

#[path = "sim/file.rs"]
mod file;
#[path = "sim/ledger.rs"]
mod ledger;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/reader.rs"]
mod reader;
#[path = "sim/run.rs"]
mod run;
#[path = "sim/stream.rs"]
mod stream;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use kinetail::config::PartitionKey;
use kinetail::route::Template;
use plan::Mutant;

/// Seeds of a plain `cargo test`, in all parts together.
const SEEDS: u64 = 208;
/// The seeds are run in so many tests, side by side.
const PARTS: u64 = 4;
/// A mutant is noticed within so many seeds, or the simulation is blind to it.
const MUTANT_SEEDS: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?} and must be a number")))
}

fn seeds(part: u64) -> Range<u64> {
    if let Some(seed) = setting("KINETAIL_SIM_SEED") {
        return if part == 0 { seed..seed + 1 } else { 0..0 };
    }
    let count = setting("KINETAIL_SIM_SEEDS").unwrap_or(SEEDS);
    count * part / PARTS..count * (part + 1) / PARTS
}

/// For people who run the tests with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the harness keeps what a test prints, and only that")]
fn say(text: &str) {
    println!("{text}");
}

fn run_part(part: u64) {
    let mut met = BTreeMap::<&str, u64>::new();
    let (mut deliveries, mut duplicates) = (0, 0);
    let seeds = seeds(part);
    let count = seeds.end - seeds.start;
    for seed in seeds {
        match run::run(seed, Mutant::None) {
            Ok(outcome) => {
                for (what, times) in outcome.met {
                    *met.entry(what).or_default() += times;
                }
                deliveries += outcome.deliveries;
                duplicates += outcome.duplicates;
            }
            Err(violation) => panic!("seed {seed}: {}; replay it with KINETAIL_SIM_SEED={seed}", violation.0),
        }
    }
    say(&format!("{count} seeds, {deliveries} deliveries, {duplicates} duplicates, {met:?}"));
    // A simulation in which nothing goes wrong proves nothing.
    if count >= SEEDS / PARTS {
        for what in ["before", "hang", "late", "lost", "mismatch", "poison", "record", "reshard", "spell", "throttled"]
        {
            assert!(met.contains_key(what), "no seed of this part met {what}: {met:?}");
        }
        assert!(duplicates > 0);
    }
}

#[test]
fn nothing_is_lost_or_reordered_part_1() {
    run_part(0);
}

#[test]
fn nothing_is_lost_or_reordered_part_2() {
    run_part(1);
}

#[test]
fn nothing_is_lost_or_reordered_part_3() {
    run_part(2);
}

#[test]
fn nothing_is_lost_or_reordered_part_4() {
    run_part(3);
}

/// The order of each key, and of each file, over a slow network and a stream that refuses much.
#[test]
fn an_hour_of_noise_keeps_the_order() {
    let template = PartitionKey::Template(Arc::new(Template::parse("{k}").expect("a template")));
    for key in [PartitionKey::Source, template] {
        let outcome = run::run_plan(|| plan::Plan::hour(1, key.clone()));
        let outcome = outcome.unwrap_or_else(|violation| panic!("{key:?}: {}", violation.0));
        say(&format!(
            "{key:?}: {} deliveries, {} duplicates, {:?}",
            outcome.deliveries, outcome.duplicates, outcome.met
        ));
        assert!(["lost", "record", "throttled"].iter().all(|what| outcome.met.contains_key(what)), "{:?}", outcome.met);
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in 0..8 {
        let (first, second) = (run::run(seed, Mutant::None), run::run(seed, Mutant::None));
        assert_eq!(first.expect("a good run"), second.expect("a good run"), "seed {seed}");
    }
}

/// The first seed at which a mutant is noticed, and by what.
fn notice(mutant: Mutant) -> String {
    let found = (0..MUTANT_SEEDS).find_map(|seed| Some((seed, run::run(seed, mutant).err()?)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("{mutant:?} goes unnoticed for {MUTANT_SEEDS} seeds"));
    say(&format!("{mutant:?} is noticed at seed {seed}: {}", violation.0));
    violation.0
}

#[test]
fn a_tracker_that_commits_the_highest_end_is_noticed() {
    notice(Mutant::HighestEnd);
}

#[test]
fn a_reader_that_commits_what_it_has_read_is_noticed() {
    notice(Mutant::CommitOnRead);
}

#[test]
fn a_verdict_that_takes_a_refused_record_for_stored_is_noticed() {
    notice(Mutant::RefusalIsSuccess);
}

#[test]
fn a_verdict_that_takes_a_wrong_number_of_results_for_success_is_noticed() {
    notice(Mutant::MismatchIsSuccess);
}

#[test]
fn a_verdict_that_takes_a_broken_connection_for_success_is_noticed() {
    notice(Mutant::LostReplyIsSuccess);
}

#[test]
fn results_that_belong_to_other_records_are_noticed() {
    notice(Mutant::ResultsReversed);
}

#[test]
fn a_client_that_retries_by_itself_is_noticed() {
    notice(Mutant::ClientRetries);
}
