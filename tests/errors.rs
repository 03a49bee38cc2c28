//! Every error that `PutRecords` can answer with, for the request, for a record, or not at all: a table of what is answered and what the agent
//! makes of it. Each row is a run of the real binary: what it sent, and sent again, what it says and counts, and where every line has gone.

#![expect(clippy::unwrap_used, reason = "a panic is how a test's helpers fail")]

#[path = "support/canned.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod canned;
#[path = "support/harness.rs"]
#[expect(dead_code, reason = "not every test file needs all of it")]
mod harness;

use std::io::Write as _;

use canned::{Asked, Canned, Reply, reserved};
use futures_util::StreamExt as _;
use harness::{Agent, STREAM, Setup, open, until};
use kinetail::kinesis::deaggregate::{Deaggregated, deaggregate};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::watch;

/// Runs at once: each waits most of the time.
const ROWS_AT_ONCE: usize = 6;
/// The shard that everything is in.
const SHARD: &str = "shardId-000000000007";
/// A line that a row's server minds.
const POISON: &str = "poison";
const JSON: &str = "application/x-amz-json-1.1";

/// What is answered.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// The request is refused: status and code.
    Request(u16, &'static str),
    /// A status without a body.
    Bare(u16),
    /// Status 200 and a body that is no answer.
    Garbage(&'static str),
    /// Each record is refused: code and message.
    Records(&'static str, &'static str),
    /// Each record has neither a sequence number nor a code.
    Neither,
    /// The second record of several is refused as throttled.
    Second,
    /// The request is refused with this code if a line of it is poison.
    Poison(&'static str),
    /// So many results more than records, or fewer.
    Results(isize),
    /// The connection is closed without an answer.
    Close,
    /// No answer.
    Hang,
    /// Nobody listens.
    Nobody,
}

/// What the agent makes of it.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The same bytes go again by themselves; the code that is counted, and words of the log.
    Resent(&'static str, &'static str),
    /// Everything waits, and the log names the code and the way out.
    Held(&'static str, &'static str),
    /// The events are set aside, under this code, and the rest goes on.
    DeadLetter(&'static str),
}
use Answer::*;
use Outcome::*;

const FAILED: &str = "a request failed and is sent again";
const RECORD_FAILED: &str = "a record failed and is sent again";
const RATE: &str = "Rate exceeded for shard shardId-000000000007 in stream events under account 000000000000.";

const TABLE: &[(Answer, Outcome)] = &[
    // Too much was sent, or the service is in trouble: it passes.
    (Request(400, "ProvisionedThroughputExceededException"), Resent("ProvisionedThroughputExceededException", FAILED)),
    (Request(400, "KMSThrottlingException"), Resent("KMSThrottlingException", FAILED)),
    (Request(400, "LimitExceededException"), Resent("LimitExceededException", FAILED)),
    (Request(400, "ThrottlingException"), Resent("ThrottlingException", FAILED)),
    (Bare(429), Resent("Http429", FAILED)),
    (Request(500, "InternalFailure"), Resent("InternalFailure", FAILED)),
    (Request(500, "InternalFailureException"), Resent("InternalFailureException", FAILED)),
    (Request(503, "ServiceUnavailable"), Resent("ServiceUnavailable", FAILED)),
    (Request(400, "RequestTimeoutException"), Resent("RequestTimeoutException", FAILED)),
    (Request(500, "SomethingNew"), Resent("SomethingNew", FAILED)),
    (Bare(500), Resent("Http500", FAILED)),
    (Bare(502), Resent("Http502", FAILED)),
    (Bare(503), Resent("Http503", FAILED)),
    // There is no usable answer.
    (Nobody, Resent("ConnectionFailed", FAILED)),
    (Close, Resent("ConnectionFailed", FAILED)),
    (Hang, Resent("Timeout", "kinesis.request_timeout")),
    (Garbage("<html>a proxy's page</html>"), Resent("UnreadableResponse", FAILED)),
    (Garbage("{\"Records\":[{\"Sequ"), Resent("UnreadableResponse", FAILED)),
    (Garbage("{}"), Resent("ResultCount", "0 results for 1 records")),
    (Results(1), Resent("ResultCount", "2 results for 1 records")),
    (Results(-1), Resent("ResultCount", "0 results for 1 records")),
    // One record of a request that was taken.
    (Records("ProvisionedThroughputExceededException", RATE), Resent("ProvisionedThroughputExceededException", "")),
    (Records("InternalFailure", "Internal service failure."), Resent("InternalFailure", RECORD_FAILED)),
    (Records("KMSThrottlingException", ""), Resent("KMSThrottlingException", "")),
    (Records("SomethingNew", ""), Resent("SomethingNew", RECORD_FAILED)),
    (Neither, Resent("NoSequenceNumber", RECORD_FAILED)),
    (Second, Resent("ProvisionedThroughputExceededException", "")),
    (Records("KMSDisabledException", ""), Held("KMSDisabledException", "KMS key")),
    (Records("InvalidArgumentException", "no"), DeadLetter("InvalidArgumentException")),
    // Somebody has to act.
    (Request(400, "AccessDeniedException"), Held("AccessDeniedException", "kinesis:PutRecords")),
    (Request(400, "DryRunOperationException"), Held("DryRunOperationException", "see the code")),
    (Request(400, "KMSAccessDeniedException"), Held("KMSAccessDeniedException", "kms:GenerateDataKey")),
    (Request(400, "KMSDisabledException"), Held("KMSDisabledException", "KMS key")),
    (Request(400, "KMSInvalidStateException"), Held("KMSInvalidStateException", "KMS key")),
    (Request(400, "KMSNotFoundException"), Held("KMSNotFoundException", "KMS key")),
    (Request(400, "KMSOptInRequired"), Held("KMSOptInRequired", "KMS key")),
    (Request(400, "ResourceNotFoundException"), Held("ResourceNotFoundException", "create it")),
    (Request(400, "ResourceInUseException"), Held("ResourceInUseException", "being created")),
    (Request(400, "ExpiredTokenException"), Held("ExpiredTokenException", "renew them, or set the clock")),
    (Request(400, "UnrecognizedClientException"), Held("UnrecognizedClientException", "check the access key")),
    (Request(400, "InvalidSignatureException"), Held("InvalidSignatureException", "clock")),
    (Request(400, "IncompleteSignatureException"), Held("IncompleteSignatureException", "check the access key")),
    (Request(400, "MissingAuthenticationTokenException"), Held("MissingAuthenticationTokenException", "access key")),
    (Request(403, "InvalidClientTokenId"), Held("InvalidClientTokenId", "check the access key")),
    (Request(400, "UnknownOperationException"), Held("UnknownOperationException", "see the code")),
    (Request(400, "SomethingNew"), Held("SomethingNew", "see the code")),
    (Bare(403), Held("Http403", "check kinesis.endpoint")),
    // The service does not take these bytes.
    (Request(400, "InvalidArgumentException"), DeadLetter("InvalidArgumentException")),
    (Request(400, "ValidationException"), DeadLetter("ValidationException")),
    (Request(400, "SerializationException"), DeadLetter("SerializationException")),
    (Bare(413), DeadLetter("Http413")),
    (Poison("ValidationException"), DeadLetter("ValidationException")),
];

// === the service ===

/// A stream that takes everything but for the answer of a row, while that is in force. The records of requests, as they were sent.
#[derive(Debug)]
struct Service {
    canned: Canned,
    answer: watch::Sender<Option<Answer>>,
    stored: watch::Receiver<Vec<String>>,
    refused: watch::Receiver<Vec<String>>,
}

impl Service {
    async fn start(port: TcpSocket) -> Self {
        let (answer, in_force) = watch::channel(None);
        let (store, stored) = watch::channel(Vec::new());
        let (refuse, refused) = watch::channel(Vec::new());
        let canned = Canned::start_on(port, move |asked| {
            if !asked.headers["x-amz-target"].ends_with(".PutRecords") {
                return refusal(400, "AccessDeniedException");
            }
            let records = records(asked);
            let answer = *in_force.borrow();
            let (reply, taken): (Reply, Vec<bool>) = match answer {
                Some(answer) if concerns(answer, &records) => reply(answer, &records),
                _ => (results(&records, |_| stored_result()), vec![true; records.len()]),
            };
            for (record, taken) in records.into_iter().zip(taken) {
                if taken { &store } else { &refuse }.send_modify(|all| all.push(record));
            }
            reply
        })
        .await;
        Self { canned, answer, stored, refused }
    }

    fn set(&self, answer: Option<Answer>) {
        self.answer.send_replace(answer);
    }

    fn stored(&self) -> Vec<String> {
        self.stored.borrow().clone()
    }

    fn refused(&self) -> Vec<String> {
        self.refused.borrow().clone()
    }

    /// All lines that are stored, sorted.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.stored().iter().flat_map(|record| lines(record)).collect();
        lines.sort();
        lines
    }
}

/// The elements of `Records`, as they were written.
fn records(asked: &Asked) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
        #[serde(rename = "StreamName")]
        stream: String,
    }
    let body: Body<'_> = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body.stream, STREAM);
    body.records.iter().map(|record| record.get().to_owned()).collect()
}

/// The lines of a record.
fn lines(record: &str) -> Vec<String> {
    let record: Value = serde_json::from_str(record).unwrap();
    let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap().trim_end().to_owned();
    match deaggregate(&data, 0..=u128::MAX) {
        Deaggregated::Records(records) => records.iter().map(|record| text(record.data)).collect(),
        Deaggregated::Raw(data) => vec![text(data)],
        Deaggregated::Lost { why, .. } => panic!("{why:?}"),
    }
}

fn concerns(answer: Answer, records: &[String]) -> bool {
    let poisoned = || records.iter().any(|record| lines(record).iter().any(|line| line.contains(POISON)));
    !matches!(answer, Poison(_)) || poisoned()
}

/// What is said, and which records are stored.
fn reply(answer: Answer, records: &[String]) -> (Reply, Vec<bool>) {
    let none = vec![false; records.len()];
    let reply = match answer {
        Request(status, code) => refusal(status, code),
        Poison(code) => refusal(400, code),
        Bare(status) => Reply::Say(status, "text/html", String::new()),
        Garbage(body) => Reply::Say(200, JSON, body.to_owned()),
        Records(code, message) => results(records, |_| json!({ "ErrorCode": code, "ErrorMessage": message })),
        Neither => results(records, |_| json!({})),
        Results(more) => {
            let count = records.len().checked_add_signed(more).unwrap();
            let results: Vec<Value> = (0..count).map(|_| stored_result()).collect();
            Reply::Say(200, JSON, json!({ "FailedRecordCount": 0, "Records": results }).to_string())
        }
        Close => Reply::Close,
        Hang => Reply::Hang,
        Nobody => unreachable!("nobody listens"),
        Second => {
            let taken: Vec<bool> = (0..records.len()).map(|index| index != 1).collect();
            let throttled = json!({ "ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": RATE });
            let result = |index: usize| if taken[index] { stored_result() } else { throttled.clone() };
            return (results(records, result), taken);
        }
    };
    (reply, none)
}

fn refusal(status: u16, code: &str) -> Reply {
    Reply::Say(status, JSON, json!({ "__type": code, "message": "as the table says" }).to_string())
}

fn stored_result() -> Value {
    json!({ "SequenceNumber": "49590338271490256608559692538361571095921575989136588898", "ShardId": SHARD })
}

fn results(records: &[String], result: impl Fn(usize) -> Value) -> Reply {
    let results: Vec<Value> = (0..records.len()).map(result).collect();
    // The count of failures is not to be believed, so here it is always wrong.
    Reply::Say(200, JSON, json!({ "FailedRecordCount": 99, "Records": results }).to_string())
}

// === the rows ===

/// A row under way.
#[derive(Debug)]
struct Row {
    answer: Answer,
    // Its log is in the directory below.
    agent: Agent,
    service: Service,
    setup: Setup,
    log: std::fs::File,
}

impl Row {
    /// An agent that has delivered one line and has three more, which meet the answer.
    async fn start(answer: Answer) -> Self {
        let port = reserved();
        let mut setup = Setup::new(&format!("http://{}", port.local_addr().unwrap()));
        // One record for each line where it counts which of several is minded.
        let single = matches!(answer, Second | Poison(_));
        setup.set("KINETAIL_FORMAT", if single { "single" } else { "kpl" });
        if matches!(answer, Hang) {
            setup.configure(&json!({ "kinesis": { "request_timeout": "300ms" } }));
        }
        let mut log = open(&setup.log("app.log"));
        let agent = setup.run().await;
        if matches!(answer, Nobody) {
            log.write_all(b"first\nsecond\nthird poison\nfourth\n").unwrap();
            counted(&agent, "ConnectionFailed", 2, answer).await;
            return Self { answer, agent, service: Service::start(port).await, setup, log };
        }
        let service = Service::start(port).await;
        log.write_all(b"first\n").unwrap();
        until("the first line", async || (service.lines() == ["first"]).then_some(())).await;
        service.set(Some(answer));
        log.write_all(b"second\nthird poison\nfourth\n").unwrap();
        Self { answer, agent, service, setup, log }
    }

    async fn check(mut self, outcome: Outcome) {
        match outcome {
            Resent(code, words) => self.resent(code, words).await,
            Held(code, way_out) => self.held(code, way_out).await,
            DeadLetter(code) => return self.dead_letter(code).await,
        }
        self.log.write_all(b"last\n").unwrap();
        let all = ["first", "fourth", "last", "second", "third poison"];
        until("all lines", async || (self.service.lines() == all).then_some(())).await;
        // Whatever was refused has gone again, byte for byte, and once.
        let stored = self.service.stored();
        for record in self.service.refused() {
            assert_eq!(stored.iter().filter(|other| **other == record).count(), 1, "{:?}: {record}", self.answer);
        }
        assert_eq!(self.dead_letters(), Vec::<Value>::new(), "{:?}", self.answer);
        self.ended(5, 0).await;
    }

    async fn resent(&self, code: &str, words: &str) {
        // Alone, the record that was the second of several is taken.
        let times = if matches!(self.answer, Second) { 1 } else { 2 };
        counted(&self.agent, code, times, self.answer).await;
        if !words.is_empty() {
            self.agent.said(words).await;
        }
        until("a resend", async || (self.agent.metric("kinesis_retries_total").await > 0).then_some(())).await;
        if let Records(_, RATE) = self.answer {
            let series = format!("kinesis_throttled_records_total{{shard=\"{SHARD}\",stream=\"{STREAM}\"}}");
            assert!(self.agent.metric(&series).await >= 2);
        }
        assert_eq!(self.agent.metric("kinesis_blocked").await, 0, "{:?}", self.answer);
        assert!(self.agent.message("delivery is blocked").is_none(), "{:?}", self.answer);
        self.service.set(None);
    }

    async fn held(&self, code: &str, way_out: &str) {
        let blocked = format!("kinesis_blocked{{code=\"{code}\"}}");
        let said = self.agent.said("delivery is blocked").await;
        assert_eq!((&said["level"], &said["code"]), (&json!("error"), &json!(code)), "{said}");
        assert!(said["message"].as_str().unwrap().contains(way_out), "{said}");
        until("the gauge", async || (self.agent.metric(&blocked).await == 1).then_some(())).await;
        let why = until("/readyz to say no", async || {
            let (status, why) = self.agent.get("/readyz").await;
            (status == 503).then_some(why)
        })
        .await;
        assert!(why.contains(code) && why.contains(way_out), "{why}");
        counted(&self.agent, code, 1, self.answer).await;
        self.service.set(None);
        until("the gauge to fall", async || (self.agent.metric(&blocked).await == 0).then_some(())).await;
        until("/readyz to say yes", async || (self.agent.get("/readyz").await.0 == 200).then_some(())).await;
    }

    async fn dead_letter(mut self, code: &str) {
        let aside: Vec<&str> = match self.answer {
            Poison(_) => vec!["third poison"],
            _ => vec!["second", "third poison", "fourth"],
        };
        let count = aside.len() as u64;
        until("the dead letters", async || (self.dead_letters().len() == aside.len()).then_some(())).await;
        for (letter, line) in self.dead_letters().iter().zip(&aside) {
            assert_eq!((&letter["reason"], &letter["stream"]), (&json!(code), &json!(STREAM)), "{letter}");
            assert_eq!(letter["data"].as_str().unwrap().trim_end(), *line, "{letter}");
        }
        let dropped = format!("dropped_events_total{{reason=\"{code}\",stage=\"deliver\"}}");
        until("the count", async || (self.agent.metric(&dropped).await == count).then_some(())).await;
        self.agent.said("refused for good").await;
        counted(&self.agent, code, 1, self.answer).await;
        self.service.set(None);
        self.log.write_all(b"last\n").unwrap();
        let mut rest = vec!["first", "fourth", "last", "second", "third poison"];
        rest.retain(|line| !aside.contains(line));
        until("the other lines", async || (self.service.lines() == rest).then_some(())).await;
        self.ended(5, count).await;
    }

    fn dead_letters(&self) -> Vec<Value> {
        let path = self.setup.dir.path().join("state/dead_letters.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The ledger adds up, and nothing more comes at the end.
    async fn ended(self, events: u64, dropped: u64) {
        let (answer, before) = (self.answer, self.service.stored());
        let ledger = async || {
            let status: Value = serde_json::from_str(&self.agent.get("/status").await.1).unwrap();
            (status["ledger"]
                == json!({ "events": events, "delivered": events - dropped, "dropped": dropped, "in_flight": 0 }))
            .then_some(())
        };
        until(&format!("the ledger of {answer:?}"), ledger).await;
        self.agent.stop().await;
        assert_eq!(self.service.stored(), before, "{answer:?}");
        drop(self.service.canned);
    }
}

/// Waits until so many records were refused with this code.
async fn counted(agent: &Agent, code: &str, least: u64, answer: Answer) {
    let series = format!("kinesis_record_errors_total{{code=\"{code}\",stream=\"{STREAM}\"}}");
    until(&format!("{series} of {answer:?}"), async || (agent.metric(&series).await >= least).then_some(())).await;
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let rows = TABLE.iter().map(|(answer, outcome)| async { Row::start(*answer).await.check(*outcome).await });
    futures_util::stream::iter(rows).buffer_unordered(ROWS_AT_ONCE).collect::<Vec<()>>().await;
}

/// Before anything was ever delivered, the fault may as well lie with the stream's name or the endpoint: nothing is set aside.
#[tokio::test]
async fn what_is_refused_from_the_start_waits() {
    let port = reserved();
    let setup = Setup::new(&format!("http://{}", port.local_addr().unwrap()));
    let service = Service::start(port).await;
    service.set(Some(Request(400, "ValidationException")));
    let mut log = open(&setup.log("app.log"));
    let agent = setup.run().await;
    log.write_all(b"first\nfourth\nsecond\nthird poison\n").unwrap();
    let row = Row { answer: Request(400, "ValidationException"), agent, service, setup, log };
    row.check(Held("ValidationException", "check kinesis.stream and kinesis.endpoint")).await;
}
