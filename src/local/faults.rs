//! The fault plan: what goes wrong on request, how often, and the dice that decide.
//!
//! A plan is data; it takes effect in `owner.rs` (whole requests) and `api/put.rs` (single records).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::Operation;

/// The longest latency that a plan may ask for: five minutes, in milliseconds.
const MAX_LATENCY_MS: u64 = 300_000;

/// Why a plan was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("a fault plan is a JSON object: {0}")]
    Shape(String),
    #[error("unknown key {key:?} in the fault plan; did you mean {nearest:?}?")]
    UnknownKey { key: String, nearest: String },
    #[error("{key} is {value}; give a fraction from 0 to 1")]
    Fraction { key: &'static str, value: f64 },
    #[error("{keys} add up to {sum}; a {what} meets one fault at most, so give at most 1 together")]
    Sum { keys: &'static str, sum: f64, what: &'static str },
    #[error("latency from {min} to {max} ms is no range; latency_min_ms <= latency_max_ms <= {MAX_LATENCY_MS}")]
    Latency { min: u64, max: u64 },
    #[error("unknown operation {name:?} in operations; the nearest is {nearest:?}")]
    UnknownOperation { name: String, nearest: String },
    #[error("fail_requests_code {0:?} isn't a code; give letters, like AccessDeniedException")]
    Code(String),
}

/// What goes wrong. Fractions are of all records, or of all requests; one record or request meets one fault at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FaultPlan {
    /// Records refused as throttled.
    pub(crate) throttle: f64,
    /// Records refused with `InternalFailure`.
    pub(crate) fail_records: f64,
    /// Requests refused.
    pub(crate) fail_requests: f64,
    /// The code that they are refused with.
    pub(crate) fail_requests_code: String,
    /// Every answer waits at least this long. Records are stored before the wait.
    pub(crate) latency_min_ms: u64,
    /// Every answer waits at most this long.
    pub(crate) latency_max_ms: u64,
    /// Connections closed before anything is stored.
    pub(crate) close_before: f64,
    /// Connections closed after everything is stored, without an answer.
    pub(crate) close_after: f64,
    /// Requests never answered, and nothing stored.
    pub(crate) hang: f64,
    /// Whether `FailedRecordCount` is wrong: 0 when records were refused, all of them when none was.
    pub(crate) wrong_failed_count: bool,
    /// The limit on bytes in place of the service's; 0 is none.
    pub(crate) shard_bytes_per_s: Option<u32>,
    /// The limit on records in place of the service's; 0 is none.
    pub(crate) shard_records_per_s: Option<u32>,
    /// What the dice start from; the same seed and the same requests meet the same faults.
    pub(crate) seed: Option<u64>,
    /// Access keys that have expired: requests signed with one are refused with `ExpiredTokenException`, unless they meet another fault.
    pub(crate) expired_keys: Vec<String>,
    /// The operations whose requests meet faults; empty is all.
    pub(crate) operations: Vec<String>,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self {
            throttle: 0.0,
            fail_records: 0.0,
            fail_requests: 0.0,
            fail_requests_code: "InternalFailure".to_owned(),
            latency_min_ms: 0,
            latency_max_ms: 0,
            close_before: 0.0,
            close_after: 0.0,
            hang: 0.0,
            wrong_failed_count: false,
            shard_bytes_per_s: None,
            shard_records_per_s: None,
            seed: None,
            expired_keys: Vec::new(),
            operations: Vec::new(),
        }
    }
}

impl FaultPlan {
    /// Reads a plan; what it doesn't mention doesn't go wrong.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, PlanError> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(body).map_err(|error| PlanError::Shape(error.to_string()))?;
        let known = Self::keys();
        for key in object.keys() {
            if !known.contains(key) {
                let nearest = nearest(key, known.iter().map(String::as_str));
                return Err(PlanError::UnknownKey { key: key.clone(), nearest });
            }
        }
        // A maximum below the minimum is a mistake, but one left out isn't.
        let only_minimum = object.contains_key("latency_min_ms") && !object.contains_key("latency_max_ms");
        let mut plan: Self =
            serde_json::from_value(object.into()).map_err(|error| PlanError::Shape(error.to_string()))?;
        if only_minimum {
            plan.latency_max_ms = plan.latency_min_ms;
        }
        plan.check()?;
        Ok(plan)
    }

    fn keys() -> Vec<String> {
        let plan = serde_json::to_value(Self::default()).expect("a plan holds only plain values");
        plan.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default()
    }

    fn check(&self) -> Result<(), PlanError> {
        for (key, value) in [
            ("throttle", self.throttle),
            ("fail_records", self.fail_records),
            ("fail_requests", self.fail_requests),
            ("close_before", self.close_before),
            ("close_after", self.close_after),
            ("hang", self.hang),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(PlanError::Fraction { key, value });
            }
        }
        let records = self.throttle + self.fail_records;
        let requests = self.hang + self.close_before + self.fail_requests + self.close_after;
        for (keys, sum, what) in [
            ("throttle and fail_records", records, "record"),
            ("hang, close_before, fail_requests and close_after", requests, "request"),
        ] {
            // Decimal fractions don't add up exactly.
            if sum > 1.0 + 1e-9 {
                return Err(PlanError::Sum { keys, sum, what });
            }
        }
        let (min, max) = (self.latency_min_ms, self.latency_max_ms);
        if min > max || max > MAX_LATENCY_MS {
            return Err(PlanError::Latency { min, max });
        }
        for name in &self.operations {
            if Operation::by_name(name).is_none() {
                let nearest = nearest(name, Operation::names());
                return Err(PlanError::UnknownOperation { name: name.clone(), nearest });
            }
        }
        let code = &self.fail_requests_code;
        if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(PlanError::Code(code.clone()));
        }
        Ok(())
    }

    fn concerns(&self, operation: Operation) -> bool {
        self.operations.is_empty() || self.operations.iter().any(|name| name == operation.name())
    }
}

fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(given, name);
    known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default().to_owned()
}

/// What goes wrong with one whole request, if anything does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestFault {
    None,
    /// Refused with the plan's code.
    Refuse,
    /// The connection is closed, nothing is stored.
    CloseBefore,
    /// The connection is closed, everything is stored.
    CloseAfter,
    /// There is no answer.
    Hang,
}

/// What goes wrong with one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFault {
    None,
    Throttle,
    Fail,
}

/// A plan and its dice.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) plan: FaultPlan,
    dice: fastrand::Rng,
}

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let dice = plan.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self { plan, dice }
    }

    /// What happens to a request, and how long its answer waits.
    pub(crate) fn for_request(&mut self, operation: Operation) -> (RequestFault, Duration) {
        if !self.plan.concerns(operation) {
            return (RequestFault::None, Duration::ZERO);
        }
        let latency_ms = self.dice.u64(self.plan.latency_min_ms..=self.plan.latency_max_ms);
        let fault = self.roll([
            (self.plan.hang, RequestFault::Hang),
            (self.plan.close_before, RequestFault::CloseBefore),
            (self.plan.fail_requests, RequestFault::Refuse),
            (self.plan.close_after, RequestFault::CloseAfter),
        ]);
        (fault.unwrap_or(RequestFault::None), Duration::from_millis(latency_ms))
    }

    /// Whether a request's access key has expired.
    pub(crate) fn has_expired(&self, operation: Operation, access_key: &str) -> bool {
        self.plan.concerns(operation) && self.plan.expired_keys.iter().any(|key| key == access_key)
    }

    /// What happens to a record.
    pub(crate) fn for_record(&mut self) -> RecordFault {
        let faults = [(self.plan.throttle, RecordFault::Throttle), (self.plan.fail_records, RecordFault::Fail)];
        self.roll(faults).unwrap_or(RecordFault::None)
    }

    /// One throw decides which of several faults happens, so that each happens in its fraction of all cases.
    fn roll<T>(&mut self, faults: impl IntoIterator<Item = (f64, T)>) -> Option<T> {
        // The dice stay below 1, so that a fraction of 1 always hits and one of 0 never.
        let mut rest = self.dice.f64();
        faults.into_iter().find_map(|(fraction, fault)| {
            rest -= fraction;
            (rest < 0.0).then_some(fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> FaultPlan {
        FaultPlan::parse(text.as_bytes()).unwrap()
    }

    fn refused(text: &str) -> String {
        FaultPlan::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_plan_is_no_fault() {
        let mut faults = Faults::new(plan("{}"));
        assert_eq!(faults.plan, FaultPlan::default());
        for _ in 0..1000 {
            assert_eq!(faults.for_request(Operation::PutRecords), (RequestFault::None, Duration::ZERO));
            assert_eq!(faults.for_record(), RecordFault::None);
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        assert_eq!(refused(r#"{"trottle":1}"#), r#"unknown key "trottle" in the fault plan; did you mean "throttle"?"#);
        assert!(refused(r#"{"latency_max":1}"#).contains("\"latency_max_ms\""));
        assert!(refused(r#"{"operations":["PutRecord","PutRecord5"]}"#).contains("PutRecord"));
    }

    #[test]
    fn an_access_key_expires_for_the_operations_of_the_plan() {
        let faults = Faults::new(plan(r#"{"expired_keys":["AKIA1","AKIA2"],"operations":["PutRecords"]}"#));
        assert!(faults.has_expired(Operation::PutRecords, "AKIA2"));
        assert!(!faults.has_expired(Operation::PutRecords, "AKIA3"));
        assert!(!faults.has_expired(Operation::ListShards, "AKIA2"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for text in [
            r#"{"throttle":1.5}"#,
            r#"{"hang":-0.1}"#,
            r#"{"throttle":0.7,"fail_records":0.4}"#,
            r#"{"hang":0.7,"close_after":0.4}"#,
            r#"{"throttle":"all"}"#,
            r#"{"latency_min_ms":5,"latency_max_ms":4}"#,
            r#"{"latency_max_ms":300001}"#,
            r#"{"fail_requests_code":"not a code"}"#,
            r#"{"operations":["Put"]}"#,
            "[]",
            "",
        ] {
            assert!(FaultPlan::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_are_kept_and_a_seed_repeats() {
        let text = r#"{"throttle":0.25,"fail_records":0.1,"seed":7}"#;
        let roll = || {
            let mut faults = Faults::new(plan(text));
            (0..10_000).map(|_| faults.for_record()).collect::<Vec<_>>()
        };
        let rolled = roll();
        let throttled = rolled.iter().filter(|fault| **fault == RecordFault::Throttle).count();
        assert!((2300..2700).contains(&throttled), "{throttled}");
        let failed = rolled.iter().filter(|fault| **fault == RecordFault::Fail).count();
        assert!((850..1150).contains(&failed), "{failed}");
        assert_eq!(rolled, roll());
    }

    #[test]
    fn a_fraction_of_one_always_hits() {
        let mut faults = Faults::new(plan(r#"{"hang":1,"operations":["PutRecords"],"latency_min_ms":3}"#));
        for _ in 0..1000 {
            assert_eq!(faults.for_request(Operation::PutRecords), (RequestFault::Hang, Duration::from_millis(3)));
            assert_eq!(faults.for_request(Operation::GetRecords), (RequestFault::None, Duration::ZERO));
        }
    }
}
