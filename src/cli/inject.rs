//! `kinetail inject`: the webhook that gives pods their sidecars, from its files to its end. What it does to a pod is not here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{EXIT_FAILED, EXIT_USAGE, complain, runtime};
use crate::config::{Document, LogConfig};
use crate::inject::{CertificatePaths, Error, Injector, Options, Settings};
use crate::signal::Signals;

/// Give pods the sidecars that their annotations ask for: a mutating admission webhook of Kubernetes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct InjectArgs {
    /// Where the webhook listens; reviews come to /mutate
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    /// The certificate and those between it and the root, as PEM; what changes in the file is used without a restart
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,
    /// The certificate's key, as PEM
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,
    /// What sidecars look like, and whom they are for (YAML); without it, the defaults of the chart kinetail-lib
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where /metrics, /livez and /readyz are, without TLS: an address, or off
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9464", value_parser = address_or_off)]
    admin: Admin,
    /// How long requests are answered after SIGTERM, until everybody knows that this one ends, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain: u64,
    /// How often the certificate's files are looked at, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    reload: u64,
}

/// Where the admin server listens.
#[derive(Debug, Clone, Copy)]
struct Admin(Option<SocketAddr>);

fn address_or_off(text: &str) -> Result<Admin, String> {
    if text == "off" {
        return Ok(Admin(None));
    }
    text.parse().map(|address| Admin(Some(address))).map_err(|_| "an address such as 0.0.0.0:9464, or off".to_owned())
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn inject(args: &InjectArgs) -> ExitCode {
    let settings = match settings(args) {
        Ok(settings) => settings,
        Err(problem) => return complain(&problem, EXIT_USAGE),
    };
    crate::log::init(&LogConfig { level: settings.log.level, format: settings.log.format });
    match runtime() {
        Ok(runtime) => runtime.block_on(serve(args, settings)),
        Err(error) => complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    }
}

fn settings(args: &InjectArgs) -> Result<Settings, String> {
    match &args.config {
        Some(path) => Settings::load(&Document::read(path).map_err(|problems| problems.to_string())?),
        None => Ok(Settings::default()),
    }
}

async fn serve(args: &InjectArgs, settings: Settings) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return complain(&format_args!("signals cannot be caught: {error}"), EXIT_FAILED),
    };
    let options = Options {
        listen: args.listen,
        admin: args.admin.0,
        certificates: CertificatePaths { certificate: args.tls_cert.clone(), key: args.tls_key.clone() },
        reload: Duration::from_secs(args.reload),
        drain: Duration::from_secs(args.drain),
        settings,
    };
    let injector = match Injector::bind(options).await {
        Ok(injector) => injector,
        Err(error @ (Error::Listen { .. } | Error::Certificate(_))) => return complain(&error, EXIT_FAILED),
    };
    let (webhook, admin) = injector.addresses();
    let (webhook, admin) = (webhook.map(tracing::field::display), admin.map(tracing::field::display));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), webhook, admin, "the injector listens: /mutate");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let twice = async {
        signals.next().await;
        // It may be gone already.
        stop.send(()).ok();
        signals.next().await;
    };
    tokio::select! {
        () = Box::pin(injector.serve(async { drop(stopped.await) })) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        () = twice => {
            tracing::warn!("a second signal: ending at once");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
