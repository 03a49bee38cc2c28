//! Log lines as services write them: levels, latencies, users, a stack trace now and then. Pure but for its seed.

use std::time::{Duration, SystemTime};

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The services that write, each into a log of its own.
pub const SERVICES: [&str; 4] = ["checkout", "payments", "search", "sessions"];

/// What is said of requests that went well.
const DONE: [[&str; 3]; SERVICES.len()] = [
    ["order placed", "cart updated", "voucher applied"],
    ["card charged", "refund issued", "3-D Secure passed"],
    ["query answered", "suggestions served", "index segment merged"],
    ["signed in", "token refreshed", "signed out"],
];
/// What is said of those that did not.
const FAILED: [[&str; 2]; SERVICES.len()] = [
    ["inventory service timed out", "price changed during checkout"],
    ["card declined by issuer", "gateway answered 502"],
    ["shard did not answer in time", "query too broad"],
    ["token expired", "too many attempts"],
];
const PATHS: [&str; SERVICES.len()] = ["/v2/orders", "/v2/charges", "/v1/search", "/v1/sessions"];
const USERS: [&str; 8] = ["amélie", "björn", "chloe", "дмитрий", "esra", "李雷", "maría", "noah 🦀"];
const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "ap-northeast-1"];
const STACK: &str = "java.util.concurrent.TimeoutException: no answer within 1500 ms\n\tat shop.http.Client.await(Client.java:214)\n\tat shop.inventory.Stock.reserve(Stock.java:88)\n\tat shop.checkout.Order.place(Order.java:131)\nCaused by: java.net.SocketTimeoutException: Read timed out\n\t... 12 more";

/// Of a thousand requests, this many are errors, the next ones warnings, and so on; the rest is routine.
const ERRORS: u32 = 15;
const WARNINGS: u32 = 60;
const DEBUGS: u32 = 180;

/// All services at once.
#[derive(Debug)]
pub struct Services {
    rng: Rng,
    started: SystemTime,
    sequences: [u64; SERVICES.len()],
}

impl Services {
    /// Services whose clocks say this at the start.
    pub fn new(seed: u64, started: SystemTime) -> Self {
        Self { rng: Rng::with_seed(seed), started, sequences: [0; SERVICES.len()] }
    }

    /// The next line, without its newline, and the number of the service that writes it.
    pub fn line(&mut self, since_start: Duration) -> (usize, Vec<u8>) {
        let service = self.rng.usize(..SERVICES.len());
        self.sequences[service] += 1;
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        let dice = self.rng.u32(..1000);
        let (level, status) = match dice {
            0..ERRORS => ("ERROR", 503),
            ERRORS..WARNINGS => ("WARN", 409),
            WARNINGS..DEBUGS => ("DEBUG", 200),
            _ => ("INFO", 200),
        };
        let bad = dice < WARNINGS;
        let said = if bad { self.rng.choice(FAILED[service]) } else { self.rng.choice(DONE[service]) };
        let time = humantime::format_rfc3339_millis(self.started + since_start).to_string();
        set("time", time.into());
        set("level", level.into());
        set("service", SERVICES[service].into());
        set("sequence", self.sequences[service].into());
        set("message", said.unwrap_or_default().into());
        set("path", PATHS[service].into());
        set("status", status.into());
        set("latency_ms", self.latency(bad).into());
        set("trace_id", format!("{:032x}", self.rng.u128(..)).into());
        set("user", json!({ "name": self.rng.choice(USERS), "id": self.rng.u32(1000..99_000) }));
        set("region", self.rng.choice(REGIONS).into());
        if level == "ERROR" {
            set("stack", STACK.into());
        }
        (service, Value::Object(fields).to_string().into_bytes())
    }

    /// Mostly fast, sometimes slow, as latencies are.
    fn latency(&mut self, bad: bool) -> u32 {
        let fast = self.rng.u32(2..40);
        match self.rng.u32(..20) {
            0 => fast * 25,
            _ if bad => fast * 40,
            _ => fast,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_json_objects_that_differ_and_count_up() {
        let mut services = Services::new(7, SystemTime::UNIX_EPOCH);
        let mut sequences = [0; SERVICES.len()];
        let mut levels = std::collections::BTreeSet::new();
        for n in 0..2000 {
            let (service, line) = services.line(Duration::from_millis(n));
            assert!(!line.contains(&b'\n'));
            let line: Value = serde_json::from_slice(&line).unwrap();
            sequences[service] += 1;
            assert_eq!((&line["service"], &line["sequence"]), (&SERVICES[service].into(), &sequences[service].into()));
            assert_eq!(
                line["time"],
                humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(n)).to_string()
            );
            assert_eq!(line.get("stack").is_some(), line["level"] == "ERROR");
            levels.insert(line["level"].to_string());
        }
        assert_eq!(levels.len(), 4);
        assert!(sequences.iter().all(|&n| n > 300));
    }
}
