//! The feeders that the agent itself starts: stdin and FIFOs, each with a thread that writes to its source's spool. A wrapped command is started
//! by whoever was told to run it.

use std::path::Path;

use tokio::time::Instant;

use super::pipe::{Running, Why};
use super::{fifo, stdin};
use crate::config::{SourceConfig, SourceKind};
use crate::spool::Feed;

/// Why a feeder cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is stdin.
    #[error("stdin cannot be read: {0}")]
    Stdin(std::io::Error),
    /// It is a FIFO.
    #[error(transparent)]
    Fifo(#[from] fifo::Error),
}

/// Feeders that run.
#[derive(Debug, Default)]
pub struct Feeders {
    running: Vec<(String, Running)>,
    /// There is nothing to read once they have ended.
    is_all: bool,
}

impl Feeders {
    /// Starts those of all sources; `feed` answers the feed of the one of this name.
    pub fn start(sources: &[SourceConfig], feed: impl Fn(&str) -> Option<Feed>) -> Result<Self, Error> {
        let mut running = Vec::new();
        for source in sources {
            let Some(feed) = feed(&source.name) else { continue };
            let started = match (source.kind, &source.paths[..]) {
                (SourceKind::Stdin, _) => stdin::start(feed).map_err(Error::Stdin)?,
                (SourceKind::Fifo, [path]) => fifo::start(Path::new(path), fifo::DEFAULT_MODE, feed)?,
                _ => continue,
            };
            running.push((source.name.clone(), started));
        }
        let is_all = !sources.is_empty() && sources.iter().all(|source| source.kind == SourceKind::Stdin);
        Ok(Self { running, is_all })
    }

    /// Completes when everything that there is to read has come to its end by itself: `app | kinetail run` ends after `app`.
    pub async fn ended(&mut self) {
        if !self.is_all {
            return std::future::pending().await;
        }
        for (_, feeder) in &mut self.running {
            feeder.ended().await;
        }
    }

    /// Has all of them read what is there by now, and waits until it is kept.
    pub async fn stop(mut self) {
        let began = Instant::now();
        for (_, feeder) in &mut self.running {
            feeder.stop();
        }
        for (source, feeder) in &mut self.running {
            let ended = feeder.ended().await;
            let (bytes, events, lost_events) = (ended.bytes, ended.events, ended.lost_events);
            if let Why::Failed(error) = ended.why {
                tracing::error!(source, %error, bytes, events, "a source could not be read any more");
            }
            if lost_events > 0 {
                tracing::error!(source, lost_events, "events were read that the spool did not take any more");
            }
            tracing::debug!(source, bytes, events, took = ?began.elapsed(), "a source has ended");
        }
    }
}
