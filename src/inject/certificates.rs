//! The certificate and its key, taken anew from their files when these change, as they do under cert-manager by the swap of a link. Whoever
//! made them is not known here.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a certificate with its chain, or a key, may have. The largest sensible ones have a few KiB.
const MAX_BYTES: usize = 256 * 1024;

/// Where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePaths {
    /// The certificate, and those between it and the root, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// What was loaded last, good or not, so that only a change is worth a word.
#[derive(Debug)]
pub(super) struct Certificates {
    paths: CertificatePaths,
    seen: Pair,
}

#[derive(Debug, PartialEq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Loads them for the first time.
    pub(super) async fn load(paths: CertificatePaths) -> Result<(Self, TlsAcceptor), String> {
        let seen = read(&paths).await?;
        let acceptor = acceptor(&paths, &seen)?;
        Ok((Self { paths, seen }, acceptor))
    }

    /// What is there now, if it is something else than the last time. Files that are being replaced may not fit each other: then it is an error once, and
    /// the next look finds what does.
    pub(super) async fn changed(&mut self) -> Option<Result<TlsAcceptor, String>> {
        let found = match read(&self.paths).await {
            Ok(found) if found == self.seen => return None,
            Ok(found) => found,
            // Gone, or not all there: what was loaded goes on, and what comes will be another one.
            Err(problem) if self.seen.certificate.is_empty() => {
                tracing::debug!(problem, "the certificate is still not there");
                return None;
            }
            Err(problem) => {
                self.seen = Pair { certificate: Vec::new(), key: Vec::new() };
                return Some(Err(problem));
            }
        };
        self.seen = found;
        Some(acceptor(&self.paths, &self.seen))
    }
}

async fn read(paths: &CertificatePaths) -> Result<Pair, String> {
    let (certificate, key) = tokio::join!(bytes(&paths.certificate), bytes(&paths.key));
    Ok(Pair { certificate: certificate?, key: key? })
}

async fn bytes(path: &PathBuf) -> Result<Vec<u8>, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("{} cannot be read: {problem}", path.display());
    let size = tokio::fs::metadata(path).await.map_err(|error| failed(&error))?.len();
    if usize::try_from(size).is_ok_and(|size| size > MAX_BYTES) {
        return Err(failed(&format_args!("it has {size} bytes, which no certificate has")));
    }
    tokio::fs::read(path).await.map_err(|error| failed(&error))
}

fn acceptor(paths: &CertificatePaths, pair: &Pair) -> Result<TlsAcceptor, String> {
    let at = |path: &PathBuf, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| at(&paths.certificate, &error))?;
    if certificates.is_empty() {
        return Err(at(&paths.certificate, &"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|error| at(&paths.key, &error))?;
    // A key that is not the certificate's is refused here.
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key));
    let mut config = config.map_err(|error| at(&paths.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(paths: &CertificatePaths, certificate: &str, key: &str) {
        std::fs::write(&paths.certificate, certificate).unwrap();
        std::fs::write(&paths.key, key).unwrap();
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
        (made.cert.pem(), made.key_pair.serialize_pem())
    }

    #[tokio::test]
    async fn only_a_change_is_loaded_and_only_a_whole_one() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let paths = CertificatePaths { certificate: at("tls.crt"), key: at("tls.key") };
        let problem = Certificates::load(paths.clone()).await.map(|_| ()).unwrap_err();
        assert!(problem.contains("cannot be read"), "{problem}");
        let ((first, first_key), (second, second_key)) = (made(), made());
        write(&paths, &first, &first_key);
        let (mut certificates, _) = Certificates::load(paths.clone()).await.unwrap();
        assert!(certificates.changed().await.is_none());
        write(&paths, &second, &first_key);
        let problem = certificates.changed().await.unwrap().map(|_| ()).unwrap_err();
        assert!(problem.contains("tls.crt"), "{problem}");
        assert!(certificates.changed().await.is_none(), "it is told once");
        write(&paths, &second, &second_key);
        assert!(certificates.changed().await.unwrap().is_ok());
        std::fs::remove_file(&paths.key).unwrap();
        assert!(certificates.changed().await.unwrap().is_err());
        assert!(certificates.changed().await.is_none());
        write(&paths, "nothing", &second_key);
        let problem = certificates.changed().await.unwrap().map(|_| ()).unwrap_err();
        assert!(problem.contains("there is no certificate in it"), "{problem}");
        write(&paths, &second, &second_key);
        assert!(certificates.changed().await.unwrap().is_ok());
    }
}
