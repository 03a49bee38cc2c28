//! A model of the real file reader: seeded scripts of writes, rotations, stops and kills on a real file system, with a sender that stalls and
//! settles late, held against what must arrive, what may be lost, and what may come twice. The line and the stream are tested elsewhere.
//!
//! `KINETAIL_TAIL_SCRIPTS=n` runs so many scripts, from the seed `KINETAIL_TAIL_FIRST=n` on, `KINETAIL_TAIL_SEED=n` one seed, whose script
//! it prints (`--nocapture`), and with `KINETAIL_TAIL_STEPS=0,3,7` only these steps of it; `KINETAIL_TAIL_TIMES=n` does that so often.
//! `KINETAIL_TAIL_KINDS=all`, or a list of names, switches kinds on. `KINETAIL_TAIL_DEADLINE=s` gives up sooner on what never comes, and
//! `KINETAIL_TAIL_SHRINK=s` limits the time for finding a shorter script. `KINETAIL_TAIL_KEEP_GOING=1` runs all scripts whatever fails, and
//! tells of all failures at the end.

#[path = "tail/agent.rs"]
mod agent;
#[path = "tail/disk.rs"]
mod disk;
#[path = "tail/oracle.rs"]
mod oracle;
#[path = "tail/run.rs"]
mod run;
#[path = "tail/script.rs"]
mod script;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use run::{Failure, Options, Outcome};
use script::{Kind, Script};
use tokio::time::Instant;

/// What the reader is held to.
const KINDS: &[Kind] = &[
    Kind::Rename,
    Kind::Late,
    Kind::CopyTruncate,
    Kind::Regrow,
    Kind::Truncate,
    Kind::Delete,
    Kind::Replace,
    Kind::Symlink,
    Kind::HardLink,
    Kind::Subdirectory,
    Kind::WideGlob,
    Kind::Compress,
    Kind::Reuse,
    Kind::Equal,
    Kind::Unterminated,
    Kind::SymlinkDown,
    Kind::WideCompressed,
];

/// Kinds that the reader does not know yet.
const LATER: &[Kind] = &[Kind::UnseenUp, Kind::UnseenDown, Kind::OrderAfterRestart];

/// Scripts of a plain `cargo test`.
const SCRIPTS: u64 = 200;
/// Scripts that run side by side. They wait most of the time; a user has 128 inotify instances, and a reader takes one.
const WORKERS: usize = 40;
/// Far longer than anything takes on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long a shorter script is looked for, and what is taken for "never" meanwhile.
const SHRINK: Duration = Duration::from_secs(90);
const SHRINK_DEADLINE: Duration = Duration::from_secs(4);
/// A failure depends on how threads meet: a shorter script is tried so often.
const SHRINK_TRIES: usize = 3;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is {value:?} and must be a number")))
}

/// For people who run the tests with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the harness keeps what a test prints, and only that")]
fn say(text: &str) {
    println!("{text}");
}

fn kinds() -> Vec<Kind> {
    let all = || KINDS.iter().chain(LATER).copied();
    match std::env::var("KINETAIL_TAIL_KINDS") {
        Err(_) => KINDS.to_vec(),
        Ok(names) if names == "all" => all().collect(),
        Ok(names) => {
            let of_name = |name: &str| {
                let kind = all().find(|kind| format!("{kind:?}") == name.trim_start_matches('+'));
                kind.unwrap_or_else(|| panic!("KINETAIL_TAIL_KINDS: there is no kind {name:?}"))
            };
            let basic = names.starts_with('+').then_some(KINDS).into_iter().flatten().copied();
            basic.chain(names.split(',').map(of_name)).collect()
        }
    }
}

/// What is to be run.
fn scripts(kinds: &[Kind]) -> Vec<Script> {
    let Some(seed) = setting("KINETAIL_TAIL_SEED") else {
        let count = setting("KINETAIL_TAIL_SCRIPTS").unwrap_or(SCRIPTS);
        let first = setting("KINETAIL_TAIL_FIRST").unwrap_or(0);
        return (first..first + count).map(|seed| Script::draw(seed, kinds)).collect();
    };
    let mut script = Script::draw(seed, kinds);
    if let Ok(list) = std::env::var("KINETAIL_TAIL_STEPS") {
        let numbers: Vec<usize> = list.split(',').filter_map(|n| n.trim().parse().ok()).collect();
        script.steps.retain(|step| numbers.contains(&step.number));
    }
    say(&script.to_string());
    let times = setting("KINETAIL_TAIL_TIMES").unwrap_or(1);
    (0..times).map(|_| script.clone()).collect()
}

/// Runs scripts side by side, up to the first failure, or all of them.
fn run_all(scripts: &[Script], options: &Options<'_>) -> (Vec<Outcome>, Vec<(Script, Failure)>) {
    let keep_going = setting("KINETAIL_TAIL_KEEP_GOING").is_some_and(|on| on > 0);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let (results, collected) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let results = results.clone();
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                while keep_going || !failed.load(Ordering::Relaxed) {
                    let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let result = run::run(script, options);
                    failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    results.send((script.clone(), result)).expect("the results are awaited");
                }
            });
        }
    });
    drop(results);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (script, result) in collected {
        match result {
            Ok(outcome) => good.push(outcome),
            Err(failure) => bad.push((script, failure)),
        }
    }
    (good, bad)
}

/// Takes steps away for as long as the script still fails.
fn shrink(mut script: Script, mut failure: Failure, kinds: &[Kind]) -> (Script, Failure) {
    let options = Options { kinds, deadline: SHRINK_DEADLINE };
    let limit = Instant::now() + setting("KINETAIL_TAIL_SHRINK").map_or(SHRINK, Duration::from_secs);
    let mut chunk = script.steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < script.steps.len() {
            if Instant::now() > limit {
                return (script, failure);
            }
            let mut shorter = script.clone();
            shorter.steps.drain(at..(at + chunk).min(script.steps.len()));
            match (0..SHRINK_TRIES).find_map(|_| run::run(&shorter, &options).err()) {
                Some(still) => (script, failure) = (shorter, still),
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    (script, failure)
}

#[test]
fn what_is_written_arrives_once_and_in_order() {
    let kinds = kinds();
    let deadline = setting("KINETAIL_TAIL_DEADLINE").map_or(DEADLINE, Duration::from_secs);
    let options = Options { kinds: &kinds, deadline };
    let began = Instant::now();
    let scripts = scripts(&kinds);
    let (good, bad) = run_all(&scripts, &options);
    for (script, failure) in &bad {
        say(&format!("seed {}: {}\n{script}\n{}", script.seed, failure.what, failure.trace.join("\n")));
    }
    if bad.len() > 1 {
        let seeds: Vec<String> =
            bad.iter().map(|(script, failure)| format!("{}: {}", script.seed, failure.what)).collect();
        say(&format!("{} of {} scripts fail:\n{}", bad.len(), scripts.len(), seeds.join("\n")));
    }
    if let Some((script, failure)) = bad.into_iter().next() {
        let seed = script.seed;
        let (script, failure) = shrink(script, failure, &kinds);
        panic!(
            "a promise is broken at seed {seed}: {}\n\nthe shortest script found that breaks one:\n{script}\nwhat was done:\n  {}",
            failure.what,
            failure.trace.join("\n  "),
        );
    }
    let sum = |of: fn(&Outcome) -> u64| good.iter().map(of).sum::<u64>();
    say(&format!(
        "{} scripts, {} runs of the agent, {} lines, {} deliveries, {} duplicates, {:?}",
        good.len(),
        sum(|o| o.runs as u64),
        sum(|o| o.lines as u64),
        sum(|o| o.deliveries),
        sum(|o| o.duplicates),
        began.elapsed(),
    ));
    // A model in which nothing goes wrong proves nothing.
    if good.len() >= 100 && setting("KINETAIL_TAIL_SEED").is_none() {
        assert!(sum(|o| o.duplicates) > 0, "no kill made anything come again");
        assert!(sum(|o| o.runs as u64) > 2 * good.len() as u64, "hardly any agent was started again");
    }
}
