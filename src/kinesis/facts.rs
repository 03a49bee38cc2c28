//! What is found out about a stream while it is sent to: its record limit, its shards, and whether it may be sent aggregates at all. Asks rarely,
//! with jitter, and only as far as the role may; without an answer the service's defaults hold, which are never too much.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::kinesis::client::{DescribeStream, OpenShard, RequestError, StreamInfo};

/// The record limit of a stream that nobody changed: key and data.
pub const DEFAULT_RECORD_LIMIT: usize = 1 << 20;
/// Sending waits for the first answer about the stream, but not longer than this: a control plane that hangs is no reason not to deliver.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// What a stream is changes seldom, and the service allows an account 20 such questions a second: 10,000 sidecars ask 11 times a second.
const INFO_INTERVAL: Duration = Duration::from_mins(15);
/// A fleet that starts at once spreads its second try over this time.
const INFO_RETRY: Backoff = Backoff { base: Duration::from_mins(1), cap: Duration::from_mins(15) };
/// A new map is asked for within this time after a record went elsewhere than the map says: all senders of the stream see that at once.
const MAP_JITTER: Duration = Duration::from_secs(3);
/// And not again before this has passed: a reshard of many shards takes minutes.
const MAP_PAUSE: Duration = Duration::from_secs(2);
const MAP_RETRY: Backoff = Backoff { base: Duration::from_secs(5), cap: Duration::from_mins(5) };

/// What is known of a stream.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// It was asked about, whatever came of it: sending may begin.
    pub asked: bool,
    /// The service ignores keys, and consumers with KCL throw aggregates away.
    pub auto_distribution: bool,
    /// Its open shards, if the role may list them.
    pub shards: Option<Arc<[OpenShard]>>,
}

/// Finds out about a stream for ever.
#[derive(Debug)]
pub struct Follow {
    /// Its name or ARN.
    pub stream: Arc<str>,
    /// Where the facts go, but for the record limit, ...
    pub facts: watch::Sender<Facts>,
    /// ... which the reader needs as well.
    pub record_limit: watch::Sender<usize>,
    /// Told when the map of the shards is out of date.
    pub resharded: Arc<Notify>,
}

impl Follow {
    /// Asks, and passes on what changes.
    pub async fn run(self, service: &impl DescribeStream) {
        tokio::join!(self.follow_info(service), self.follow_shards(service));
    }

    async fn follow_info(&self, service: &impl DescribeStream) {
        let mut created = None;
        let mut failures = 0;
        let mut answer = timeout(FIRST_ANSWER, service.stream_info(&self.stream)).await.ok();
        loop {
            let pause = match answer {
                Some(Ok(info)) => {
                    failures = 0;
                    self.take(&info, &mut created);
                    INFO_INTERVAL.mul_f64(0.5 + fastrand::f64())
                }
                other => {
                    if failures == 0 {
                        let code = other.and_then(Result::err).map_or("Timeout".to_owned(), |error| error.code);
                        tracing::info!(
                            code,
                            stream = &*self.stream,
                            "what the stream is cannot be asked (kinesis:DescribeStreamSummary): its record limit is taken for 1 MiB, and its record distribution for USER_PARTITION_KEY"
                        );
                    }
                    failures += 1;
                    INFO_RETRY.wait(failures, &mut fastrand::Rng::new()).max(MAP_RETRY.base)
                }
            };
            self.facts.send_if_modified(|facts| !std::mem::replace(&mut facts.asked, true));
            sleep(pause).await;
            answer = Some(service.stream_info(&self.stream).await);
        }
    }

    fn take(&self, info: &StreamInfo, created: &mut Option<SystemTime>) {
        let limit = info.record_limit.max(DEFAULT_RECORD_LIMIT);
        if self.record_limit.send_if_modified(|before| std::mem::replace(before, limit) != limit) {
            tracing::info!(bytes = limit, stream = &*self.stream, "the stream's record limit");
        }
        self.facts.send_if_modified(|facts| {
            std::mem::replace(&mut facts.auto_distribution, info.auto_distribution) != info.auto_distribution
        });
        // A stream that was deleted and made again has other shards under the same name.
        if std::mem::replace(created, info.created).is_some_and(|before| info.created != Some(before)) {
            self.resharded.notify_one();
        }
    }

    async fn follow_shards(&self, service: &impl DescribeStream) {
        let mut rng = fastrand::Rng::new();
        let mut failures = 0;
        loop {
            match service.open_shards(&self.stream).await {
                Ok(shards) => {
                    failures = 0;
                    let shards: Arc<[OpenShard]> = shards.into();
                    self.facts.send_if_modified(|facts| {
                        facts.shards.replace(Arc::clone(&shards)).as_deref() != Some(&*shards)
                    });
                    sleep(MAP_PAUSE).await;
                    self.resharded.notified().await;
                    sleep(MAP_JITTER.mul_f64(rng.f64())).await;
                }
                Err(error) => {
                    if failures == 0 {
                        self.say_unmapped(&error);
                    }
                    failures += 1;
                    sleep(MAP_RETRY.wait(failures, &mut rng).max(MAP_PAUSE)).await;
                    if is_denied(&error) {
                        // A permission that is missing seldom comes by itself; a reshard is a reason to ask once more.
                        self.resharded.notified().await;
                    }
                }
            }
        }
    }

    fn say_unmapped(&self, error: &RequestError) {
        tracing::info!(
            code = error.code,
            stream = &*self.stream,
            "the stream's shards cannot be listed (kinesis:ListShards): which of them takes what is learnt from answers"
        );
    }
}

fn is_denied(error: &RequestError) -> bool {
    error.code.starts_with("AccessDenied") || error.code == "NotAuthorized"
}
