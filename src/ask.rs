//! One question over plain HTTP, with an answer in time or none: for tools that look at an agent beside them. No TLS, proxy or redirect.

use std::convert::Infallible;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::header::{DATE, HOST};
use hyper::rt::{Read, Write};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest answer that is read.
const MAX_BODY_BYTES: usize = 4 << 20;
/// What a response's head may take.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no address that can be asked.
    #[error("{0:?} is no address that begins with http://")]
    Address(String),
    /// No connection.
    #[error("cannot connect to {url}: {source}; nothing listens there, or not yet")]
    Connect {
        /// What was asked.
        url: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// An exchange that broke off.
    #[error("{url} did not answer in HTTP: {what}")]
    Http {
        /// What was asked.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// No answer in time.
    #[error("{url} did not answer within {}", humantime::format_duration(*.within))]
    Timeout {
        /// What was asked.
        url: String,
        /// How long it had.
        within: Duration,
    },
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// When it was made, by the clock of whoever made it.
    pub date: Option<SystemTime>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks.
pub async fn get(url: &str, within: Duration) -> Result<Reply, Error> {
    let late = |_| Err(Error::Timeout { url: url.to_owned(), within });
    timeout(within, exchange(url)).await.unwrap_or_else(late)
}

async fn exchange(url: &str) -> Result<Reply, Error> {
    let refused = || Error::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(refused)?;
    // Brackets are of the address' text, not of the address.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let socket = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await;
    let socket = socket.map_err(|source| Error::Connect { url: url.to_owned(), source })?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    over(TokioIo::new(socket), authority.as_str(), path).await.map_err(|what| Error::Http { url: url.to_owned(), what })
}

/// Asks over a connection that there is, which may be of TLS.
pub async fn over(io: impl Read + Write + Unpin, authority: &str, path: &str) -> Result<Reply, String> {
    let words = |error: hyper::Error| error.to_string();
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(MAX_HEAD_BYTES);
    let (mut sender, connection) = client.handshake(io).await.map_err(words)?;
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).and_then(time);
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Reply { status, date, body })
    };
    // The connection is over before the last of the body is taken from it, or with an error that the body tells as well.
    let driven = async {
        connection.await.ok();
        std::future::pending::<Infallible>().await
    };
    match select(pin!(exchange), pin!(driven)).await {
        Either::Left((reply, _)) => reply,
        Either::Right((never, _)) => match never {},
    }
}

/// A time as HTTP has it.
fn time(text: &str) -> Option<SystemTime> {
    let time = aws_smithy_types::DateTime::from_str(text, aws_smithy_types::date_time::Format::HttpDate).ok()?;
    SystemTime::try_from(time).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read_as_http_has_it() {
        let seconds = time("Sat, 31 Jan 2026 08:00:00 GMT").unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(seconds.as_secs(), 1_769_846_400);
        assert_eq!(time("yesterday"), None);
    }

    #[tokio::test]
    async fn only_plain_http_is_asked() {
        for url in ["", "localhost:9090", "https://localhost/", "/livez", "http://"] {
            let error = get(url, Duration::from_secs(1)).await.unwrap_err();
            assert!(matches!(error, Error::Address(_)), "{url}: {error}");
        }
    }
}
