//! Delivery: batches in parts of one stream each, and a sender for every stream, made when the first event for it comes. How a stream is sent to
//! is its sender's business.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, watch};

use crate::budget::Budget;
use crate::deadletter::DeadLetters;
use crate::event::{Batch, Span};
use crate::kinesis::client::{DescribeStream, PutRecords};
use crate::kinesis::compress::largest_input;
use crate::kinesis::facts::{DEFAULT_RECORD_LIMIT, Facts, Follow};
use crate::kinesis::{self, Sender, SenderConfig, Spare, Statuses};
use crate::metrics::Metrics;
use crate::route::{StreamIndex, split};

/// Batches on their way to one sender. A sender packs what it gets at once, also when its stream takes nothing: this is a hand-over and not a
/// buffer, and what may wait behind it is bounded by the budget.
const SENDER_QUEUE: usize = 4;

/// The ends of the channels.
#[derive(Debug)]
pub struct Channels {
    /// What the reader made. Its end is the order to drain.
    pub batches: mpsc::Receiver<Batch>,
    /// Spans that need not be read again.
    pub settled: mpsc::Sender<Vec<Span>>,
    /// Buffers on their way back.
    pub spare: mpsc::Sender<Spare>,
    /// How every sender is doing.
    pub status: watch::Sender<Statuses>,
    /// The record limit of the stream that takes the least: no event may be larger, since nobody knows where it goes before it is made.
    pub record_limit: watch::Sender<usize>,
}

/// What senders are made of.
#[derive(Debug)]
pub struct Delivery<P> {
    /// The way to the service.
    pub client: P,
    /// How the default stream is sent to. The others are sent to in the same way.
    pub config: SenderConfig,
    /// The memory that everything is charged to.
    pub budget: Arc<Budget>,
    /// Where refused events go.
    pub dead_letters: DeadLetters,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// By stream: its record limit.
type Limits = BTreeMap<Arc<str>, usize>;
type Running = FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>>;

/// The senders that there are.
struct Senders<P> {
    delivery: Delivery<P>,
    open: BTreeMap<StreamIndex, mpsc::Sender<Batch>>,
    settled: mpsc::Sender<Vec<Span>>,
    spare: mpsc::Sender<Spare>,
    status: watch::Sender<Statuses>,
    limits: watch::Sender<Limits>,
}

impl<P: PutRecords + DescribeStream + Clone + 'static> Delivery<P> {
    /// Sends until the batches end and everything is settled. Dropped before that, it leaves the rest uncommitted.
    pub async fn run(self, channels: Channels) {
        let Channels { mut batches, settled, spare, status, record_limit } = channels;
        let (limits, mut changed) = watch::channel(Limits::new());
        let (default, compression) = (Arc::clone(&self.config.stream), self.config.packing.compression);
        let mut senders = Senders { delivery: self, open: BTreeMap::new(), settled, spare, status, limits };
        let mut running = Running::new();
        senders.start(StreamIndex::DEFAULT, &default, &running);
        let mut waiting: VecDeque<(StreamIndex, Batch)> = VecDeque::new();
        let mut open = true;
        while open || !waiting.is_empty() {
            while let Some((stream, _)) = waiting.front() {
                let Some(channel) = senders.open.get(stream) else { break };
                let Ok(permit) = channel.try_reserve() else { break };
                permit.send(waiting.pop_front().expect("it was looked at").1);
            }
            let channel = waiting.front().and_then(|(stream, _)| senders.open.get(stream)).cloned();
            tokio::select! {
                biased;
                Some(()) = running.next() => {}
                Ok(()) = changed.changed() => {
                    let least = changed.borrow_and_update().values().copied().min().unwrap_or(DEFAULT_RECORD_LIMIT);
                    // What does not shrink must fit all the same.
                    let least = largest_input(compression, least);
                    record_limit.send_if_modified(|limit| std::mem::replace(limit, least) != least);
                }
                Some(Ok(())) = room(channel.as_ref()) => {}
                batch = batches.recv(), if open && waiting.is_empty() => match batch {
                    Some(batch) => {
                        let names = batch.routes.names.clone();
                        for (stream, mut part) in split(batch) {
                            part.permit.assign(stream.0 as usize);
                            let name = names.as_ref().and_then(|names| names.get(stream.0 as usize)).unwrap_or(&default);
                            senders.start(stream, name, &running);
                            waiting.push_back((stream, part));
                        }
                    }
                    None => open = false,
                },
            }
        }
        // No more batches: every sender drains and ends.
        senders.open.clear();
        while running.next().await.is_some() {}
    }
}

/// Completes when this sender takes another batch; never if there is nobody to wait for.
async fn room(channel: Option<&mpsc::Sender<Batch>>) -> Option<Result<(), mpsc::error::SendError<()>>> {
    Some(channel?.reserve().await.map(drop))
}

impl<P: PutRecords + DescribeStream + Clone + 'static> Senders<P> {
    /// Starts the sender of a stream that has none.
    fn start(&mut self, index: StreamIndex, name: &Arc<str>, running: &Running) {
        if self.open.contains_key(&index) {
            return;
        }
        let Delivery { client, config, budget, dead_letters, metrics } = &self.delivery;
        if index != StreamIndex::DEFAULT {
            tracing::info!(stream = &**name, "events go to another stream");
        }
        let (channel, batches) = mpsc::channel(SENDER_QUEUE);
        let (facts, facts_rx) = watch::channel(Facts::default());
        let (record_limit, record_limit_rx) = watch::channel(DEFAULT_RECORD_LIMIT);
        let resharded = Arc::new(Notify::new());
        let arn = config.arn.as_deref().map(|arn| sibling(arn, name));
        let follow = Follow {
            stream: Arc::clone(arn.as_ref().unwrap_or(name)),
            facts,
            record_limit,
            resharded: Arc::clone(&resharded),
        };
        let is_default = index == StreamIndex::DEFAULT;
        let config = SenderConfig {
            stream: Arc::clone(name),
            arn: arn.clone(),
            delivered_before: config.delivered_before && is_default,
            seed: config.seed.wrapping_add(u64::from(index.0)),
            ..config.clone()
        };
        let mut pool = budget.try_reserve(0).expect("nothing always fits");
        pool.assign(index.0 as usize);
        let sender = Sender::new(client.clone(), config, pool, dead_letters.clone(), Arc::clone(metrics));
        let channels = kinesis::Channels {
            batches,
            settled: self.settled.clone(),
            spare: self.spare.clone(),
            status: self.status.clone(),
            record_limit: record_limit_rx.clone(),
            facts: facts_rx,
            resharded,
        };
        let limits = publish(Arc::clone(name), record_limit_rx, self.limits.clone());
        let client = client.clone();
        running.push(Box::pin(async move {
            tokio::select! {
                () = sender.run(channels) => {}
                () = follow.run(&client) => unreachable!("a stream is followed for ever"),
                () = limits => unreachable!("its limit lives as long as it is followed"),
            }
        }));
        self.open.insert(index, channel);
    }
}

/// The ARN of a stream of this name in the same account and region.
fn sibling(arn: &str, name: &str) -> Arc<str> {
    match arn.rsplit_once('/') {
        Some((account, _)) => format!("{account}/{name}").into(),
        None => arn.into(),
    }
}

async fn publish(stream: Arc<str>, mut limit: watch::Receiver<usize>, limits: watch::Sender<Limits>) {
    loop {
        let bytes = *limit.borrow_and_update();
        limits.send_modify(|limits| {
            limits.insert(Arc::clone(&stream), bytes);
        });
        if limit.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
