//! The embedded stream on a thread of its own, as far from the agent as another process would be but for the memory.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::local::{self, LocalOptions, LocalStream};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not start.
    #[error("the embedded stream: {0}")]
    Local(#[from] local::Error),
    /// The system gives no thread or no runtime.
    #[error("the embedded stream has no thread to run on: {0}; raise the limit of processes")]
    Thread(#[from] std::io::Error),
    /// It ended before it began.
    #[error("the embedded stream ended at once; this is a bug")]
    Gone,
}

/// A stream that answers until this is dropped.
#[derive(Debug)]
pub struct StandIn {
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts it, with this stream on a port that is free.
    pub async fn start(stream: &str, shards: u32) -> Result<Self, Error> {
        let options = LocalOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            streams: vec![(stream.to_owned(), shards)],
            ..LocalOptions::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = oneshot::channel();
        let serve = async move {
            let stream = match LocalStream::bind(options).await {
                Ok(stream) => stream,
                // Whoever asked is gone if this cannot be told.
                Err(error) => return ready.send(Err(error)).unwrap_or_default(),
            };
            ready.send(Ok(stream.endpoint())).unwrap_or_default();
            if let Err(error) = stream.run(async { drop(stopped.await) }).await {
                tracing::error!(%error, "the embedded stream has ended");
            }
        };
        let builder = std::thread::Builder::new().name("stream".to_owned());
        let thread = builder.spawn(move || runtime.block_on(serve))?;
        let endpoint = bound.await.map_err(|_| Error::Gone)??;
        Ok(Self { endpoint, stop: Some(stop), thread: Some(thread) })
    }

    /// The URL that clients take for the service's.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the embedded stream's thread has panicked");
        }
    }
}
