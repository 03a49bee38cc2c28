//! The owner task: it alone holds the state, takes requests one by one from a bounded queue, and decides what becomes of each.
//!
//! It never waits for a client. Latency, closed connections and silence are verdicts that `server.rs` carries out.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::api::{self, Operation};
use super::clock::Clock;
use super::faults::{FaultPlan, Faults, RequestFault};
use super::refusal::Refusal;
use super::state::State;

/// What is asked of the owner.
#[derive(Debug)]
pub(crate) enum Ask {
    /// An operation of the API, with the request's body and the access key that it is signed with.
    Call { operation: Operation, access_key: String, body: Bytes },
    /// A request that was refused before its operation was known; only counted here.
    Refused(Refusal),
    /// The counters.
    Stats,
    /// Another fault plan.
    Faults(Bytes),
    /// Back to the start.
    Reset,
}

/// A question and where its answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Answer>,
}

/// What the client gets.
#[derive(Debug)]
pub(crate) enum Fate {
    /// A status and a body.
    Reply(u16, Bytes),
    /// Its connection is closed.
    Close,
    /// Nothing, for as long as it waits.
    Hang,
}

/// What the client gets, and after how long.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) delay: Duration,
    pub(crate) fate: Fate,
}

impl Answer {
    fn now(status: u16, body: impl Into<Bytes>) -> Self {
        Self { delay: Duration::ZERO, fate: Fate::Reply(status, body.into()) }
    }
}

/// The owner.
#[derive(Debug)]
pub(crate) struct Owner {
    state: State,
    clock: Clock,
}

impl Owner {
    pub(crate) fn new(state: State, clock: Clock) -> Self {
        Self { state, clock }
    }

    /// Answers until nobody can ask any more.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(Request { ask, reply }) = requests.recv().await {
            let answer = self.answer(ask, self.clock.now_ms());
            if reply.send(answer).is_err() {
                tracing::debug!("a client went away before its answer");
            }
        }
    }

    fn answer(&mut self, ask: Ask, now_ms: u64) -> Answer {
        match ask {
            Ask::Call { operation, access_key, body } => self.call(operation, &access_key, &body, now_ms),
            Ask::Refused(refusal) => {
                let (status, body) = self.refuse(&refusal);
                Answer::now(status, body)
            }
            Ask::Stats => Answer::now(200, self.state.stats().to_string()),
            Ask::Faults(body) => match FaultPlan::parse(&body) {
                Ok(plan) => {
                    let shown = json!({ "faults": plan }).to_string();
                    self.state.faults = Faults::new(plan);
                    Answer::now(200, shown)
                }
                Err(error) => Answer::now(400, json!({ "error": error.to_string() }).to_string()),
            },
            Ask::Reset => {
                self.state.reset(now_ms);
                Answer::now(200, "{}")
            }
        }
    }

    fn call(&mut self, operation: Operation, access_key: &str, body: &[u8], now_ms: u64) -> Answer {
        self.state.count_request(operation.name());
        self.state.expire(now_ms);
        let (fault, delay) = self.state.faults.for_request(operation);
        let fate = match fault {
            RequestFault::Hang => Fate::Hang,
            RequestFault::CloseBefore => Fate::Close,
            RequestFault::Refuse => {
                let code = self.state.faults.plan.fail_requests_code.clone();
                self.reply(Err(Refusal::new(code, "Refused by the fault plan.")))
            }
            RequestFault::CloseAfter | RequestFault::None if self.state.faults.has_expired(operation, access_key) => {
                let message = "The security token included in the request is expired";
                self.reply(Err(Refusal::new("ExpiredTokenException", message)))
            }
            RequestFault::CloseAfter => {
                // The answer is made, and thrown away with all that a client could learn from it.
                drop(self.reply_to(operation, body, now_ms));
                Fate::Close
            }
            RequestFault::None => {
                self.state.count_access_key(access_key);
                self.reply_to(operation, body, now_ms)
            }
        };
        Answer { delay, fate }
    }

    fn reply_to(&mut self, operation: Operation, body: &[u8], now_ms: u64) -> Fate {
        let result = api::call(&mut self.state, operation, body, now_ms);
        self.reply(result)
    }

    fn reply(&mut self, result: Result<Vec<u8>, Refusal>) -> Fate {
        match result {
            Ok(body) => Fate::Reply(200, body.into()),
            Err(refusal) => {
                let (status, body) = self.refuse(&refusal);
                Fate::Reply(status, body.into())
            }
        }
    }

    /// Counts a refusal. Returns its status and body.
    fn refuse(&mut self, refusal: &Refusal) -> (u16, String) {
        self.state.count_error(&refusal.code);
        (refusal.status, json!({ "__type": refusal.code, "message": refusal.message }).to_string())
    }
}
