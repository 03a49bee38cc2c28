//! The sockets of the server: TCP with or without TLS, a Unix socket, and heartbeats over UDP. It accepts, and reads nothing.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixListener, UnixStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{ACCEPT_PAUSE, Error, TlsPaths};

/// Connections that wait to be accepted. A restart of the agent has all clients come at once.
const BACKLOG: u32 = 1024;

/// What a connection is read from and written to.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection that was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, peer) => write!(f, "{peer}"),
            // Sockets of clients have no names; their processes do.
            Self::Unix(stream) => match stream.peer_cred().ok().and_then(|peer| peer.pid()) {
                Some(pid) => write!(f, "unix, process {pid}"),
                None => f.write_str("unix"),
            },
        }
    }
}

/// The sockets that are listened on.
#[derive(Debug)]
pub(super) struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixSocket>,
}

/// A Unix socket, whose file goes with it.
#[derive(Debug)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file: only this one is removed.
    identity: Option<(u64, u64)>,
}

impl Listeners {
    /// Listens on all of them.
    pub(super) async fn bind(tcp: &[SocketAddr], unix: Option<(&Path, u32)>) -> Result<Self, Error> {
        let bound: Result<Vec<_>, _> = tcp.iter().map(|address| bind_tcp(*address)).collect();
        let unix = match unix {
            Some((path, mode)) => Some(bind_unix(path, mode).await?),
            None => None,
        };
        Ok(Self { tcp: bound?, unix })
    }

    /// Where TCP is listened on, with the ports that the system chose.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The next connection on any of them.
    pub(super) async fn accept(&self) -> std::io::Result<Accepted> {
        let mut tcp: FuturesUnordered<_> = self.tcp.iter().map(TcpListener::accept).collect();
        tokio::select! {
            Some(accepted) = tcp.next() => {
                let (stream, peer) = accepted?;
                // Acknowledgements are small, and waited for.
                stream.set_nodelay(true).ok();
                Ok(Accepted::Tcp(stream, peer))
            }
            accepted = accept_unix(self.unix.as_ref()) => accepted.map(Accepted::Unix),
        }
    }
}

async fn accept_unix(unix: Option<&UnixSocket>) -> std::io::Result<UnixStream> {
    match unix {
        Some(unix) => unix.listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Taken over by what is accepted: a client whose machine is gone says nothing any more.
        socket.set_keepalive(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| Error::Tcp { address, source })
}

async fn bind_unix(path: &Path, mode: u32) -> Result<UnixSocket, Error> {
    let failed = |source| Error::Unix { path: path.to_owned(), source };
    remove_stale(path).await?;
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(UnixSocket { listener, path: path.to_owned(), identity: identity(path) })
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Removes the socket that an agent left when it was killed. One that somebody answers on is in use, and what is no socket is not ours.
async fn remove_stale(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Unix { path: path.to_owned(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(Error::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A backlog that is full is an answer, too.
        Ok(_) | Err(_) => Err(Error::InUse(path.to_owned())),
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        // Another agent may have put its own there.
        if self.identity.is_some() && identity(&self.path) == self.identity {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// TLS by a certificate and its key.
pub(super) fn tls(paths: &TlsPaths) -> Result<TlsAcceptor, Error> {
    let failed =
        |path: &Path, source: &dyn fmt::Display| Error::Tls { path: path.to_owned(), problem: source.to_string() };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&paths.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| failed(&paths.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&paths.key).map_err(|error| failed(&paths.key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| failed(&paths.certificate, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers the heartbeats that Fluentd and Fluent Bit can be set to send over UDP, byte for byte, on the ports of TCP.
pub(super) async fn heartbeats(addresses: Vec<SocketAddr>) {
    let answering: FuturesUnordered<_> = addresses.into_iter().map(heartbeat).collect();
    answering.collect::<()>().await;
}

async fn heartbeat(address: SocketAddr) {
    let socket = match UdpSocket::bind(address).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::info!(%address, %error, "heartbeats over UDP are not answered; clients have others");
            return;
        }
    };
    let mut datagram = [0; 2];
    loop {
        match socket.recv_from(&mut datagram).await {
            // Whether the answer arrives is not for us to know.
            Ok((1, from)) => drop(socket.send_to(datagram.split_at(1).0, from).await),
            Ok(_) => {}
            // That of a datagram sent before, to somebody who is gone, as a rule.
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}
