//! Fleets of sidecars on one stream, in virtual time: the real pacer in each, a small model of the sender around it, and a service that keeps
//! its limits. What the pacer promises for a fleet, and mutants of it, to see that the simulation would notice them.
//!
//! A few fleets run by default. All of them, and the table of ARCHITECTURE.md:
//! `KINETAIL_FLEET=all cargo test --test fleet -- --nocapture`
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a simulation's sums are far from where a float or an integer ends"
)]

#[path = "fleet/outcome.rs"]
mod outcome;
#[path = "fleet/pace.rs"]
mod pace;
#[path = "fleet/run.rs"]
mod run;
#[path = "fleet/scenario.rs"]
mod scenario;
#[path = "fleet/service.rs"]
mod service;
#[path = "fleet/sidecar.rs"]
mod sidecar;

use outcome::Outcome;
use pace::Mutant;
use run::run;
use scenario::{Limits, Mode, SECOND, Scenario};

/// For people who run the tests with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the harness keeps what a test prints, and only that")]
fn say(text: &str) {
    println!("{text}");
}

/// Whether all fleets are to be run.
fn all() -> bool {
    match std::env::var("KINETAIL_FLEET").as_deref() {
        Ok("all") => true,
        Err(_) => false,
        Ok(other) => panic!("KINETAIL_FLEET is {other:?} and can only be all"),
    }
}

fn fleet(sidecars: u32, shards: u32, load: f64, mode: Mode) -> Scenario {
    let name = match mode {
        Mode::Source(1) => "one file each",
        Mode::Source(_) => "up to three files each",
        Mode::Random => "random",
    };
    Scenario { mode, load, ..Scenario::new(name, sidecars, shards) }
}

/// Five hundred senders on one shard.
fn crowd() -> Scenario {
    Scenario { warm: 600 * SECOND, end: 900 * SECOND, ..fleet(500, 1, 2.0, Mode::Source(1)) }
}

/// What a fleet has to reach; the first thing in which it fails.
fn judge(scenario: &Scenario, outcome: &Outcome) -> Result<(), String> {
    let overloaded = scenario.load > 1.0 && scenario.then.is_none();
    // Limits by the second refuse a whole burst at a second's end, and take none of a record of which only a part is left: who asks late in each
    // second gets little.
    let windows = scenario.limits == Limits::Windows;
    let checks = [
        ("throttled", outcome.throttled <= 0.05),
        ("delivered", scenario.load > 0.5 || outcome.delivered >= 0.99),
        ("goodput", !overloaded || outcome.goodput >= if windows { 0.90 } else { 0.95 }),
        ("goodput at the limit", (scenario.load - 1.0).abs() > f64::EPSILON || outcome.goodput >= 0.93),
        ("fairness", !overloaded || outcome.jain >= if windows { 0.75 } else { 0.95 }),
        ("starvation", !overloaded || outcome.least >= if windows { 0.03 } else { 0.25 }),
        ("drain", scenario.then.is_none() || outcome.drain.is_some_and(|(drain, _)| drain >= 0.9)),
    ];
    match checks.iter().find(|(_, holds)| !holds) {
        Some((what, _)) => Err(format!("{what}: {outcome:?} of {scenario:?}")),
        None => Ok(()),
    }
}

const HEAD: &str = "| Sidecars | Shards | Load | Keys | Goodput | Throttled | Jain | Least | Records/s | p99 |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";

fn row(s: &Scenario, o: &Outcome) -> String {
    // A backlog is hours old for reasons of its own.
    let p99 = if s.load < 1.0 { format!("{:.2} s", o.p99) } else { String::new() };
    let load = match s.then {
        Some((_, then)) => format!("{:.0} %, then {:.0} %", s.load * 100.0, then * 100.0),
        None => format!("{:.0} %", s.load * 100.0),
    };
    let goodput = match o.drain {
        Some((drain, _)) => format!("{:.1} % while it drains", drain * 100.0),
        None => format!("{:.1} %", o.goodput * 100.0),
    };
    format!(
        "| {} | {} | {load} | {} | {goodput} | {:.1} % | {:.3} | {:.2} | {:.0} | {p99} |",
        s.sidecars,
        s.shards,
        s.name,
        o.throttled * 100.0,
        o.jain,
        o.least,
        o.records
    )
}

fn check(scenarios: &[Scenario]) {
    say(HEAD);
    let mut failures = Vec::new();
    for scenario in scenarios {
        let outcome = run(scenario, Mutant::None);
        say(&row(scenario, &outcome));
        failures.extend(judge(scenario, &outcome).err());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_fleet_shares_a_stream() {
    let one = Mode::Source(1);
    if !all() {
        return check(&[
            fleet(100, 4, 0.5, one),
            fleet(100, 4, 2.0, one),
            fleet(100, 4, 2.0, Mode::Random),
            fleet(100, 40, 2.0, one),
        ]);
    }
    let mut scenarios = Vec::new();
    for (sidecars, shards) in [(100, 4), (100, 40), (1000, 4), (1000, 40)] {
        for load in [0.5, 1.0, 2.0] {
            for mode in [one, Mode::Random] {
                let mut scenario = fleet(sidecars, shards, load, mode);
                if load < 2.0 || (mode == Mode::Random && shards == 40) {
                    (scenario.warm, scenario.end) = (300 * SECOND, 500 * SECOND);
                }
                if scenario.is_large() {
                    (scenario.warm, scenario.end) = (900 * SECOND, 1000 * SECOND);
                }
                scenarios.push(scenario);
            }
        }
    }
    check(&scenarios);
}

#[test]
fn a_backlog_drains_when_the_overload_ends() {
    let mut scenarios = vec![fleet(100, 4, 2.0, Mode::Source(1))];
    if all() {
        scenarios.extend([fleet(100, 40, 2.0, Mode::Source(1)), fleet(1000, 4, 2.0, Mode::Source(1))]);
    }
    for scenario in &mut scenarios {
        scenario.then = Some((900 * SECOND, 0.5));
        scenario.end = 4500 * SECOND;
    }
    check(&scenarios);
}

#[test]
fn a_hot_shard_slows_no_other() {
    let calm = Scenario { end: 1200 * SECOND, ..fleet(100, 4, 0.4, Mode::Source(3)) };
    let hot = Scenario { hot: 10.0, ..calm.clone() };
    let (calm, hot) = (run(&calm, Mutant::None), run(&hot, Mutant::None));
    say(&format!("cold shards, without a hot one: {calm:?}\ncold shards, beside a hot one: {hot:?}"));
    assert!(hot.goodput > 1.05 * calm.goodput && hot.throttled > 0.0, "it is hot");
    assert!(hot.cold >= 0.99 * calm.cold && hot.p50 <= 1.1 * calm.p50 && hot.p99 <= 1.1 * calm.p99);
}

#[test]
fn a_split_shard_is_used_whole() {
    let mut scenario = fleet(100, 4, 2.0, Mode::Source(1));
    (scenario.split, scenario.warm, scenario.end) = (Some(300 * SECOND), 900 * SECOND, 1500 * SECOND);
    let outcome = run(&scenario, Mutant::None);
    say(&format!("{outcome:?}"));
    // The keys of the split shard write twice what it took: each half is full.
    assert!(outcome.goodput >= 0.95 && outcome.throttled <= 0.05, "{outcome:?}");
}

#[test]
fn limits_by_the_second_do_not_break_it() {
    let limits = Limits::Windows;
    check(&[
        Scenario { limits, ..fleet(100, 4, 2.0, Mode::Source(1)) },
        Scenario { limits, ..fleet(100, 4, 0.5, Mode::Source(1)) },
    ]);
}

#[test]
fn a_seed_is_the_same_fleet_every_time() {
    let mut scenario = fleet(20, 2, 2.0, Mode::Random);
    (scenario.warm, scenario.end) = (60 * SECOND, 120 * SECOND);
    let told = |scenario: &Scenario| format!("{:?}", run(scenario, Mutant::None));
    assert_eq!(told(&scenario), told(&scenario));
    assert_ne!(told(&scenario), told(&Scenario { seed: 2, ..scenario.clone() }));
}

#[test]
fn a_pacer_that_never_slows_down_is_noticed() {
    let scenario = Scenario { end: 1000 * SECOND, ..fleet(100, 4, 2.0, Mode::Source(1)) };
    let problem = judge(&scenario, &run(&scenario, Mutant::NeverDecreases)).unwrap_err();
    assert!(problem.starts_with("throttled"), "{problem}");
}

#[test]
fn a_fixed_backoff_is_noticed() {
    let problem = judge(&crowd(), &run(&crowd(), Mutant::FixedBackoff)).unwrap_err();
    assert!(problem.starts_with("fairness") || problem.starts_with("throttled"), "{problem}");
}
