//! Every metric of the injector. Those of the agent are in `crate::metrics`.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Registry};

use crate::metrics::gathered::Gathered;
use crate::metrics::{Description, Table, counters, gauge, register, text};

/// Seconds of a review: the API server waits for them.
const SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The pod has a sidecar now, or a wrapped command.
    Injected,
    /// It had before.
    AlreadyInjected,
    /// It did not ask.
    NotAsked,
    /// It said no.
    OptedOut,
    /// Its namespace is left out.
    Excluded,
    /// It is nothing that is given anything: another operation, another kind.
    Ignored,
    /// It asked for what cannot be done.
    Refused,
    /// No answer can be given to what came.
    Malformed,
    /// It is larger than what Kubernetes sends.
    TooLarge,
    /// Its sender took too long.
    TimedOut,
}

impl Outcome {
    const ALL: [Self; 10] = [
        Self::Injected,
        Self::AlreadyInjected,
        Self::NotAsked,
        Self::OptedOut,
        Self::Excluded,
        Self::Ignored,
        Self::Refused,
        Self::Malformed,
        Self::TooLarge,
        Self::TimedOut,
    ];

    /// The label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::AlreadyInjected => "already_injected",
            Self::NotAsked => "not_asked",
            Self::OptedOut => "opted_out",
            Self::Excluded => "excluded",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TimedOut => "timed_out",
        }
    }
}

/// The metrics of one injector.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    descriptions: Vec<Description>,
    requests: IntCounterVec,
    duration: Histogram,
    reloads: IntCounterVec,
    pub(super) connections: IntGauge,
    pub(super) handshake_errors: prometheus::IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics of their own registry; every outcome has a series from the start.
    pub fn new() -> Self {
        let r = Table::default();
        let requests = counters(
            &r,
            "injector_requests_total",
            "Requests by outcome: injected, already_injected, not_asked, opted_out, excluded (its namespace), ignored (no pod that is made), refused (what the pod asks for cannot be done), malformed, too_large, timed_out.",
            &["outcome"],
        );
        for outcome in Outcome::ALL {
            requests.with_label_values(&[outcome.as_str()]);
        }
        let duration = HistogramOpts::new(
            "kinetail_injector_request_duration_seconds",
            "How long requests took, from the last byte of one to its answer.",
        );
        let reloads = counters(
            &r,
            "injector_certificate_reloads_total",
            "Certificates that were there anew, by outcome: loaded, failed (the one before is kept).",
            &["outcome"],
        );
        for outcome in ["loaded", "failed"] {
            reloads.with_label_values(&[outcome]);
        }
        let duration = register(&r, Histogram::with_opts(duration.buckets(SECONDS.to_vec())));
        let connections = gauge(&r, "injector_connections", "Connections to the webhook.");
        let handshake_errors = counter_of_handshakes(&r);
        let (registry, descriptions) = r.finish();
        Self { registry, descriptions, requests, duration, reloads, connections, handshake_errors }
    }

    /// Every metric there is.
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// The text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        text(&Gathered::new(self.registry.gather()))
    }

    pub(super) fn answered(&self, outcome: Outcome, took: Duration) {
        self.requests.with_label_values(&[outcome.as_str()]).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn reloaded(&self, is_good: bool) {
        self.reloads.with_label_values(&[if is_good { "loaded" } else { "failed" }]).inc();
    }
}

fn counter_of_handshakes(r: &Table) -> prometheus::IntCounter {
    let name = "kinetail_injector_handshake_errors_total";
    register(
        r,
        prometheus::IntCounter::new(
            name,
            "Connections on which TLS did not come about, such as by a client that does not trust the certificate.",
        ),
    )
}
