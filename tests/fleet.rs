//! Fleets of sidecars on one stream.

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

use pace::Mutant;
use scenario::{Limits, Mode, SECOND, Scenario};

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (n, s) in [(100, 4), (100, 40), (1000, 4), (1000, 40)] {
        for load in [0.5, 1.0, 2.0] {
            for mode in [Mode::Source(1), Mode::Random] {
                let mut x = Scenario::new("grid", n, s);
                x.load = load;
                x.mode = mode;
                if load < 1.0 {
                    x.end = 900 * SECOND;
                }
                all.push(x);
            }
        }
    }
    all
}

#[test]
fn tune() {
    let filter = std::env::var("FLEET").unwrap_or_default();
    for mut x in scenarios() {
        let name = format!("{}x{}@{} {:?}", x.sidecars, x.shards, x.load, x.mode);
        if !filter.split(',').any(|f| name.contains(f)) {
            continue;
        }
        if let Ok(w) = std::env::var("WARM") {
            x.warm = w.parse::<u64>().unwrap() * SECOND;
            x.end = x.warm + 600 * SECOND;
        }
        if let Ok(at) = std::env::var("THEN") {
            x.then = Some((at.parse::<u64>().unwrap() * SECOND, 0.5));
        }
        if let Ok(g) = std::env::var("GROWN") {
            x.grown = g.parse().unwrap();
        }
        if let Ok(g) = std::env::var("LOAD") {
            x.load = g.parse().unwrap();
        }
        if std::env::var("WINDOWS").is_ok() {
            x.limits = Limits::Windows;
        }
        let t = tokio::time::Instant::now();
        let o = run::run(&x, Mutant::None);
        println!(
            "{name:28} good {:.3} worst {:.3} deliv {:.4} thr {:.4} jain {:.3} least {:.2} p50 {:.2} p99 {:.2} rec/s {:.0} drain {:?} [{:.1} s]",
            o.goodput,
            o.worst,
            o.delivered,
            o.throttled,
            o.jain,
            o.least,
            o.p50,
            o.p99,
            o.records,
            o.drain,
            t.elapsed().as_secs_f64()
        );
    }
}
