//! The answer to the task's health check: a port that takes connections. What is said on them is read, so that they end in order, and is no log.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Connections at once. A check has one every some seconds.
const MAX_OPEN: usize = 16;
/// What a check says: a line of JSON.
const MAX_READ_BYTES: usize = 1024;
/// How long it may take to say it.
const PATIENCE: Duration = Duration::from_secs(1);
/// A pause after an accept that failed, for instance for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers for as long as it runs.
pub async fn serve(listener: TcpListener) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < MAX_OPEN => match accepted {
                Ok((stream, _)) => open.push(timeout(PATIENCE, hear(stream))),
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = open.next() => {}
        }
    }
}

/// Reads a line, or as much as it may be, and closes.
async fn hear(mut stream: TcpStream) {
    let mut buffer = [0; MAX_READ_BYTES];
    while let Ok(read) = stream.read(&mut buffer).await {
        let (said, _) = buffer.split_at(read);
        if read == 0 || read == MAX_READ_BYTES || said.contains(&b'\n') {
            break;
        }
    }
    // A client that is gone has its answer.
    stream.shutdown().await.ok();
}
