//! HTTP/1.1: from a connection to questions for the owner, and from its verdicts to answers.
//!
//! Knows headers, paths and bodies; what an operation does is in `api/`.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::api::Operation;
use super::owner::{Answer, Ask, Fate, Request};
use super::refusal::Refusal;

/// The longest body that is kept: 10 MiB of data in base64 and, escaped to the utmost, 500 keys.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// A longer body is read up to here and thrown away, so that its sender hears why; beyond, the connection is closed.
const MAX_DRAINED_BYTES: usize = 64 * 1024 * 1024;
/// What the API speaks.
const AWS_JSON: &str = "application/x-amz-json-1.1";
/// What newer clients for Java speak unless told otherwise; this doesn't.
const AWS_CBOR: &str = "application/x-amz-cbor-1.1";

/// Why a connection ends without an answer.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("closed by the fault plan")]
    ByPlan,
    #[error("the owner task has stopped")]
    OwnerGone,
    #[error("a body of over {MAX_DRAINED_BYTES} bytes")]
    BodyTooLong,
    #[error("the body broke off: {0}")]
    Body(#[from] hyper::Error),
    #[error("no answer could be built: {0}")]
    Answer(#[from] hyper::http::Error),
}

/// Serves one connection until it ends.
pub(crate) async fn serve(stream: TcpStream, owner: mpsc::Sender<Request>) {
    let service = service_fn(move |request| handle(request, owner.clone()));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        // Clients come and go, and the fault plan closes connections: no news.
        tracing::debug!(%error, "a connection ended");
    }
}

async fn handle(request: HttpRequest<Incoming>, owner: mpsc::Sender<Request>) -> Result<Response<Full<Bytes>>, Ended> {
    let (head, body) = request.into_parts();
    let body = read_body(body).await?;
    let path = head.uri.path();
    let ask = if path.starts_with("/_kinetail/") {
        match (&head.method, path, body) {
            (&Method::GET, "/_kinetail/stats", _) => Ask::Stats,
            (&Method::POST, "/_kinetail/faults", Ok(body)) => Ask::Faults(body),
            (&Method::POST, "/_kinetail/reset", _) => Ask::Reset,
            _ => {
                let text =
                    "{\"error\":\"there are GET /_kinetail/stats, POST /_kinetail/faults, POST /_kinetail/reset\"}";
                return answer(404, Bytes::from_static(text.as_bytes()));
            }
        }
    } else {
        match body.and_then(|body| Ok((operation(&head)?, body))) {
            Ok((operation, body)) => Ask::Call { operation, access_key: access_key(&head), body },
            Err(refusal) => Ask::Refused(refusal),
        }
    };
    let (reply, verdict) = oneshot::channel();
    owner.send(Request { ask, reply }).await.map_err(|_| Ended::OwnerGone)?;
    let Answer { delay, fate } = verdict.await.map_err(|_| Ended::OwnerGone)?;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match fate {
        Fate::Reply(status, body) => answer(status, body),
        Fate::Close => Err(Ended::ByPlan),
        // Until the client goes away: hyper then drops this future.
        Fate::Hang => match std::future::pending::<Infallible>().await {},
    }
}

/// What a request asks for, if it may be asked.
fn operation(head: &hyper::http::request::Parts) -> Result<Operation, Refusal> {
    let header = |name: &str| text(&head.headers, name);
    if head.method != Method::POST || head.uri.path() != "/" {
        return Err(unknown(&format!("{} {}", head.method, head.uri.path())));
    }
    let target = header("x-amz-target");
    let operation = Operation::by_target(target).ok_or_else(|| unknown(target))?;
    let signed_by_query = head.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="));
    // Whether the signature is right is not looked at: any key will do.
    if text(&head.headers, AUTHORIZATION.as_str()).is_empty() && !signed_by_query {
        return Err(Refusal::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    if header(CONTENT_TYPE.as_str()).starts_with(AWS_CBOR) {
        let advice = "CBOR is not spoken here; switch it off in the client (aws.cborEnabled=false, AWS_CBOR_DISABLE=1)";
        return Err(Refusal::new("SerializationException", advice));
    }
    Ok(operation)
}

/// The access key that a request is signed with: what stands before the first slash of its credential scope.
fn access_key(head: &hyper::http::request::Parts) -> String {
    let scope = text(&head.headers, AUTHORIZATION.as_str()).split_once("Credential=");
    let scope = scope.or_else(|| head.uri.query()?.split_once("X-Amz-Credential="));
    let key = scope.and_then(|(_, scope)| scope.split(['/', '%', '&', ',']).next());
    key.unwrap_or_default().to_owned()
}

fn unknown(what: &str) -> Refusal {
    Refusal::new("UnknownOperationException", format!("Unknown operation: {what:?}"))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads a body, or refuses it if it is too long.
async fn read_body(mut body: Incoming) -> Result<Result<Bytes, Refusal>, Ended> {
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut kept = BytesMut::with_capacity(expected.min(MAX_BODY_BYTES));
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY_BYTES {
            kept.extend_from_slice(&data);
        } else if length > MAX_DRAINED_BYTES {
            return Err(Ended::BodyTooLong);
        }
    }
    if length <= MAX_BODY_BYTES {
        return Ok(Ok(kept.freeze()));
    }
    let message = format!("A request of {length} bytes is over the limit of {MAX_BODY_BYTES} bytes.");
    Ok(Err(Refusal::new("RequestEntityTooLargeException", message)))
}

fn answer(status: u16, body: Bytes) -> Result<Response<Full<Bytes>>, Ended> {
    let id = uuid(fastrand::u128(..));
    let response = Response::builder()
        .status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(CONTENT_TYPE, HeaderValue::from_static(AWS_JSON))
        .header("x-amzn-requestid", id)
        .body(Full::new(body))?;
    Ok(response)
}

/// A request's id, in the form of the service's.
fn uuid(bits: u128) -> String {
    let field = |shift: u32, width: u32| (bits >> shift) & ((1 << width) - 1);
    let (time, version, variant) = (field(96, 32), [field(80, 16), field(64, 16)], field(48, 16));
    format!("{time:08x}-{:04x}-{:04x}-{variant:04x}-{:012x}", version[0], version[1], field(0, 48))
}
