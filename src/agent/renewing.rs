//! Another configuration while the agent runs: loads it, refuses what is wrong with it or needs a restart, and hands its sources to the reader.
//! What becomes of the files is the reader's business; when it is loaded, the reloader's.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};

use super::{host_name, names_streams, sources};
use crate::admin::shown::Known;
use crate::budget::Budget;
use crate::clock;
use crate::config::Config;
use crate::enrich::places::{self, Places, Shared};
use crate::metrics::Metrics;
use crate::reload::{Reloader, Trigger};
use crate::source::file::reader::{Renewal, Renewed};

/// What came of a configuration that was loaded.
const RESULTS: [&str; 3] = [APPLIED, UNCHANGED, REFUSED];
const APPLIED: &str = "applied";
const UNCHANGED: &str = "unchanged";
const REFUSED: &str = "refused";

/// Who hears of another configuration.
#[derive(Debug)]
pub(super) struct Told {
    /// The reader.
    pub(super) renewals: mpsc::Sender<Renewal>,
    /// The status page.
    pub(super) known: watch::Sender<Known>,
    /// Who stops the agent.
    pub(super) stop_limit: watch::Sender<Duration>,
}

/// The configuration in effect, and the next one.
pub(super) struct Renewing {
    config: Config,
    reloader: Option<Reloader>,
    told: Told,
    shared: Shared,
    /// Who keeps up with what is known of the place.
    keeping: FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>>,
    budget: Arc<Budget>,
    metrics: Arc<Metrics>,
}

impl Renewing {
    /// The configuration that the agent starts with.
    pub(super) fn new(
        config: Config,
        (keeping, shared): (places::Keeping, Shared),
        reloader: Option<Reloader>,
        told: Told,
        (budget, metrics): (Arc<Budget>, Arc<Metrics>),
    ) -> Self {
        for result in RESULTS {
            metrics.config_reloads.with_label_values(&[result]);
        }
        let new = Self { config, reloader, told, shared, keeping: FuturesUnordered::new(), budget, metrics };
        new.keeping.push(Box::pin(keeping.keep()));
        new.note(None);
        new
    }

    /// Loads it whenever it is to be, for ever.
    pub(super) async fn keep(mut self) {
        loop {
            let trigger = tokio::select! {
                trigger = due(self.reloader.as_mut(), self.config.reload.watch) => trigger,
                Some(()) = self.keeping.next() => continue,
            };
            let loaded = self.reloader.as_mut().map(Reloader::load);
            let Some(loaded) = loaded else { continue };
            let result = match loaded {
                Ok(config) if config == self.config => Ok(None),
                Ok(config) => self.apply(config).await.map(Some),
                Err(refused) => Err(refused),
            };
            self.conclude(trigger, result);
        }
    }

    /// Puts a configuration into effect, all of it or nothing.
    async fn apply(&mut self, config: Config) -> Result<Renewed, String> {
        let restart = self.config.needs_restart(&config);
        if !restart.is_empty() {
            return Err(format!("{}: needs a restart; nothing of the new configuration is used", restart.join(", ")));
        }
        let host = host_name();
        let (mut places, mut shared) = (Places::default(), self.shared.clone());
        let sources = sources(&config, &host, &mut shared, &mut places);
        let (done, answer) = oneshot::channel();
        let renewal = Renewal { sources, expire_after: config.checkpoint.expire_after, done };
        let keeping = places.find(&host, |name| std::env::var(name).ok());
        // A reader that has ended, or is about to, answers nothing.
        self.told.renewals.send(renewal).await.ok();
        let renewed = match answer.await {
            Ok(answer) => answer.map_err(|no_room| no_room.to_string())?,
            Err(_) => return Err("the agent is stopping".to_owned()),
        };
        if names_streams(&config) {
            self.budget.share();
        }
        self.keeping.push(Box::pin(keeping.keep()));
        shared.retain(config.sources.iter().map(|source| &*source.add.metadata));
        self.shared = shared;
        self.told.stop_limit.send_replace(config.shutdown.timeout);
        self.told.known.send_replace(Known::new(&config, host));
        self.config = config;
        Ok(renewed)
    }

    fn conclude(&self, trigger: Trigger, result: Result<Option<Renewed>, String>) {
        let trigger = trigger.as_str();
        let label = match &result {
            Ok(Some(Renewed { left, unread })) => {
                let sources = self.config.sources.len();
                tracing::info!(trigger, sources, files_left = left, unread, "another configuration is in effect");
                APPLIED
            }
            Ok(None) => {
                tracing::info!(trigger, "the configuration was loaded again, and is what it was");
                UNCHANGED
            }
            Err(reason) => {
                tracing::error!(
                    trigger,
                    reason,
                    "the new configuration is refused, and the one before stays in effect"
                );
                REFUSED
            }
        };
        self.note(Some(label));
    }

    /// Notes what came of it, or that the agent has begun.
    fn note(&self, result: Option<&str>) {
        if let Some(result) = result {
            self.metrics.config_reloads.with_label_values(&[result]).inc();
        }
        let is_good = result != Some(REFUSED);
        self.metrics.config_last_reload_successful.set(i64::from(is_good));
        if is_good {
            let now = clock::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.metrics.config_last_reload_success.set(now.as_secs_f64());
        }
    }
}

async fn due(reloader: Option<&mut Reloader>, watches: bool) -> Trigger {
    match reloader {
        Some(reloader) => reloader.due(watches).await,
        None => std::future::pending().await,
    }
}
