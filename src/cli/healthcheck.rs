//! `kinetail healthcheck`: asks the admin server of the agent beside it whether all is well, for images without a shell.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{EXIT_FAILED, SettingFlags, answer, complain, runtime};
use crate::ask;
use crate::config::AdminConfig;

/// What is asked, and where.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct HealthcheckArgs {
    /// The whole address to ask; the answer has to be 200
    #[arg(long, value_name = "URL", conflicts_with_all = ["admin", "live"])]
    url: Option<String>,
    /// Where the admin server listens; by default where the configuration says
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Ask whether the process serves (/livez), not whether it delivers (/readyz)
    #[arg(long)]
    live: bool,
    /// How long the answer may take
    #[arg(long, value_name = "TIME", default_value = "3s")]
    timeout: humantime::Duration,
    /// The agent's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Asks, and says by the exit code whether all is well. Every failure is a 1: Docker reserves 2.
pub(super) fn healthcheck(args: &HealthcheckArgs, environment: BTreeMap<String, String>) -> ExitCode {
    let url = match args.url(environment) {
        Ok(url) => url,
        Err(problem) => return complain(&problem, EXIT_FAILED),
    };
    let asked = match runtime() {
        Ok(runtime) => {
            let asked = runtime.block_on(ask::get(&url, Duration::from(args.timeout)));
            // Resolving a name takes a thread, which may hang for longer than anybody waits.
            runtime.shutdown_background();
            asked
        }
        Err(error) => return complain(&format_args!("the runtime cannot be started: {error}"), EXIT_FAILED),
    };
    match asked {
        Ok(reply) if reply.status == 200 => answer(&reply.text().trim_end()),
        Ok(reply) => {
            complain(&format_args!("{url} answered {}: {}", reply.status, reply.text().trim_end()), EXIT_FAILED)
        }
        Err(error) => complain(&error, EXIT_FAILED),
    }
}

impl HealthcheckArgs {
    fn url(&self, environment: BTreeMap<String, String>) -> Result<String, String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let path = if self.live { "livez" } else { "readyz" };
        let address = address(self.admin.as_deref(), self.config.as_ref(), environment)?;
        Ok(format!("http://{address}/{path}"))
    }
}

/// Where the agent's admin server can be asked: as it was said, or as the configuration says.
pub(super) fn address(
    said: Option<&str>,
    config: Option<&PathBuf>,
    environment: BTreeMap<String, String>,
) -> Result<SocketAddr, String> {
    let address = match said {
        Some(text) => text.parse().map_err(|_| format!("--admin: {text:?} is no address such as 127.0.0.1:9090"))?,
        None => configured(config, environment)?,
    };
    if address.port() == 0 {
        return Err("the admin server's port is 0, which is any that is free: give a port in admin.listen (KINETAIL_ADMIN_LISTEN)".to_owned());
    }
    Ok(reachable(address))
}

fn configured(config: Option<&PathBuf>, environment: BTreeMap<String, String>) -> Result<SocketAddr, String> {
    let flags = SettingFlags { config: config.cloned(), ..SettingFlags::default() };
    let admin = flags.layers(environment).and_then(|layers| AdminConfig::load(&layers));
    let admin = admin.map_err(|problems| problems.to_string())?;
    admin.listen.ok_or_else(|| {
        "the admin server is off, and nothing else can be asked: give an address in admin.listen (KINETAIL_ADMIN_LISTEN)".to_owned()
    })
}

/// Where a server that listens there can be reached from beside it.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in
            [("0.0.0.0:9090", "127.0.0.1:9090"), ("[::]:1", "[::1]:1"), ("10.0.0.7:80", "10.0.0.7:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
