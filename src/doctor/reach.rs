//! The way to the endpoint: its name, a connection, TLS with the reason if that fails, and the time there.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use rustls_native_certs::load_native_certs;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use super::Line;
use crate::{ask, clock};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The service refuses signatures that are this far off.
const WRONG_CLOCK: Duration = Duration::from_mins(5);
/// The resolution of what is compared is a second, and an answer takes a moment.
const ODD_CLOCK: Duration = Duration::from_secs(20);

const ENDPOINT: &str = "endpoint";
const TLS: &str = "tls";
const CLOCK: &str = "clock";

/// Goes to the endpoint. Answers whether it can be reached.
pub async fn endpoint(url: &str, ca_file: Option<&Path>, checks: &mut Vec<Line>) -> bool {
    let shown = crate::config::mask_url(url);
    let Some(target) = Target::parse(url) else {
        let fix = "give kinesis.endpoint (KINETAIL_ENDPOINT) as https://HOST or http://HOST:PORT";
        checks.push(Line::fail(ENDPOINT, format!("{shown} is no address"), fix));
        return false;
    };
    let connected = match connect(&target).await {
        Ok((stream, address)) => {
            checks.push(Line::pass(ENDPOINT, format!("{shown} answers at {address}")));
            stream
        }
        Err(line) => {
            checks.push(line);
            return false;
        }
    };
    let date = if target.tls {
        match tls(&target, connected, ca_file).await {
            Ok(stream) => {
                let issued = issuers(ca_file);
                checks.push(Line::pass(TLS, format!("the certificate is for {} and trusted by {issued}", target.host)));
                date(TokioIo::new(stream), &target).await
            }
            Err(line) => {
                checks.push(line);
                return false;
            }
        }
    } else {
        checks.push(plain(&target));
        date(TokioIo::new(connected), &target).await
    };
    checks.push(match date {
        Ok(date) => compare(clock::now(), date),
        Err(why) => Line::warn(CLOCK, format!("the time there cannot be had: {why}"), NO_TIME),
    });
    true
}

const NO_TIME: &str = "what answers may not be the service: check kinesis.endpoint; and have the clock set by NTP";

/// Where to go.
#[derive(Debug)]
struct Target {
    tls: bool,
    host: String,
    port: u16,
    authority: String,
}

impl Target {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        // Brackets are of the address' text, not of the address.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, port, authority: format!("{}:{port}", authority.host()), host })
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

async fn connect(target: &Target) -> Result<(TcpStream, SocketAddr), Line> {
    let Target { host, port, .. } = target;
    let found = match timeout(PATIENCE, lookup_host((host.as_str(), *port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => return Err(unresolved(host, &error.to_string())),
        Err(_) => return Err(unresolved(host, &format!("no answer within {PATIENCE:?}"))),
    };
    let mut why = "it has no address".to_owned();
    for address in found {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no answer within {PATIENCE:?}"),
        }
    }
    Err(Line::fail(
        ENDPOINT,
        format!("cannot connect to {host}:{port}: {why}"),
        format!(
            "let TCP {port} out: security group, network policy and route of this subnet, or a VPC endpoint for kinesis-streams; or correct kinesis.region and kinesis.endpoint"
        ),
    ))
}

fn unresolved(host: &str, why: &str) -> Line {
    Line::fail(
        ENDPOINT,
        format!("{host} has no address: {why}"),
        "correct kinesis.region or kinesis.endpoint; in a private network give the name server of the VPC, or the VPC endpoint's own name",
    )
}

fn plain(target: &Target) -> Line {
    let said = "http: nothing is encrypted";
    if target.is_loopback() {
        return Line::pass(TLS, format!("{said}, and nothing leaves this machine"));
    }
    Line::warn(TLS, said, "write https:// in kinesis.endpoint, unless this is a stand-in for tests")
}

// === TLS ===

fn issuers(ca_file: Option<&Path>) -> String {
    ca_file.map_or("the system's certificates".to_owned(), |path| path.display().to_string())
}

async fn tls(target: &Target, stream: TcpStream, ca_file: Option<&Path>) -> Result<TlsStream<TcpStream>, Line> {
    let roots = roots(ca_file)?;
    let unusable = |why: String| Line::fail(TLS, why, "this is a bug of kinetail");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(target.host.clone()).map_err(|error| unusable(error.to_string()))?;
    match timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            let why = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            Err(why.map_or_else(|| broken(target, &error.to_string()), |why| refused(target, why, ca_file)))
        }
        Err(_) => Err(broken(target, &format!("no answer within {PATIENCE:?}"))),
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, Line> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        roots.add_parsable_certificates(load_native_certs().certs);
        if roots.is_empty() {
            let fix =
                "install ca-certificates in the image, or set kinesis.ca_file (KINETAIL_CA_FILE) or SSL_CERT_FILE";
            return Err(Line::fail(TLS, "this system has no certificates that it trusts", fix));
        }
        return Ok(roots);
    };
    let failed = |why: String| {
        let fix = "give a readable file with -----BEGIN CERTIFICATE----- blocks, or leave kinesis.ca_file out";
        Line::fail(TLS, format!("kinesis.ca_file {}: {why}", path.display()), fix)
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it holds no certificate".to_owned())) } else { Ok(roots) }
}

fn broken(target: &Target, why: &str) -> Line {
    let said = format!("no TLS with {}: {why}", target.authority);
    Line::fail(
        TLS,
        said,
        "what listens there may speak plain HTTP, or a proxy breaks in: check kinesis.endpoint and what lies between",
    )
}

fn refused(target: &Target, why: &rustls::Error, ca_file: Option<&Path>) -> Line {
    let host = &target.host;
    let rustls::Error::InvalidCertificate(problem) = why else { return broken(target, &why.to_string()) };
    let (said, fix) = match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            format!("the certificate of {host} has expired"),
            "renew the certificate there; if it is the service's own, set this machine's clock".to_owned(),
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
            format!("the certificate of {host} is not valid yet"),
            "set this machine's clock, or wait until the certificate is valid".to_owned(),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("the certificate is not for {host}: {problem}"),
            "write in kinesis.endpoint a name that the certificate has, or give the server one for this name".to_owned(),
        ),
        CertificateError::UnknownIssuer => (
            format!("nobody whom {} trusts has issued the certificate of {host}", issuers(ca_file)),
            match ca_file {
                Some(path) => format!("put the issuer's certificate into {}", path.display()),
                None => "set kinesis.ca_file (KINETAIL_CA_FILE) to the issuer's certificate; for the service's own endpoint, update ca-certificates, or look for a proxy that breaks in".to_owned(),
            },
        ),
        other => (format!("the certificate of {host} is refused: {other}"), "give the server a certificate that is in order".to_owned()),
    };
    Line::fail(TLS, said, fix)
}

// === the time ===

async fn date(io: impl hyper::rt::Read + hyper::rt::Write + Unpin, target: &Target) -> Result<SystemTime, String> {
    let asked = timeout(PATIENCE, ask::over(io, &target.authority, "/")).await;
    let reply = asked.map_err(|_| format!("no answer within {PATIENCE:?}"))??;
    reply.date.ok_or_else(|| format!("an answer without a Date (status {})", reply.status))
}

fn compare(here: SystemTime, there: SystemTime) -> Line {
    let (off, way) = match here.duration_since(there) {
        Ok(off) => (off, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let shown = humantime::format_duration(Duration::from_secs(off.as_secs()));
    let said = format!("this machine's clock is {shown} {way} the endpoint's");
    let fix = "set this machine's clock, and have NTP (chrony, or 169.254.169.123 on EC2) keep it: requests are refused from 5 minutes on";
    match off {
        off if off >= WRONG_CLOCK => Line::fail(CLOCK, said, fix),
        off if off >= ODD_CLOCK => Line::warn(CLOCK, said, fix),
        _ => Line::pass(CLOCK, "this machine's clock agrees with the endpoint's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn addresses_are_those_of_http() {
        let target = Target::parse("https://kinesis.eu-west-1.amazonaws.com").unwrap();
        assert_eq!((target.tls, target.port), (true, 443));
        let target = Target::parse("http://[::1]:4567/x").unwrap();
        assert_eq!(
            (target.host.as_str(), target.authority.as_str(), target.is_loopback()),
            ("::1", "[::1]:4567", true)
        );
        for url in ["", "kinesis", "ftp://x", "https://"] {
            assert!(Target::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn a_clock_may_be_off_a_little() {
        let there = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let level = |seconds: i64| {
            let off = Duration::from_secs(seconds.unsigned_abs());
            compare(if seconds < 0 { there - off } else { there + off }, there).level
        };
        assert_eq!([level(0), level(-5), level(60), level(-60)], [Level::Pass, Level::Pass, Level::Warn, Level::Warn]);
        assert_eq!([level(300), level(-3600)], [Level::Fail, Level::Fail]);
    }
}
