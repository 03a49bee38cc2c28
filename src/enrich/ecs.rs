//! The metadata of an ECS task, from the endpoint in its container: what the task is, where it runs, and which container this is. Asked for
//! once, until it answers; it never changes while a container runs. Plain HTTP to one link-local address, so no TLS, proxy or redirect.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Field;
use crate::backoff::Backoff;

/// The variable that the ECS agent sets in every container: the address of version 4 of the endpoint.
pub const VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// The longest answer that is read. A task has ten containers at most, each with labels and networks: some tens of kilobytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// What a response's head may take.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long one request may take, from connecting to the last byte; the endpoint is on the same machine.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Waits between attempts: soon at first, since a task's endpoint can be late by a moment, and then seldom, since it throttles.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(30) };

/// Why the metadata was not had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable holds no address.
    #[error("{VARIABLE} is {0:?}, which is no address that begins with http://; leave it as the ECS agent sets it")]
    Address(String),
    /// No connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The host and port.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// An exchange that broke off.
    #[error("{uri} did not answer in HTTP: {source}")]
    Http {
        /// What was asked for.
        uri: String,
        /// What went wrong.
        source: hyper::Error,
    },
    /// An answer that says no.
    #[error("{uri} answered {status}")]
    Status {
        /// What was asked for.
        uri: String,
        /// The code.
        status: StatusCode,
    },
    /// An answer that is too long.
    #[error("{0} answered more than {MAX_BODY_BYTES} bytes")]
    TooLong(String),
    /// A body that broke off.
    #[error("the answer of {uri} broke off: {what}")]
    Body {
        /// What was asked for.
        uri: String,
        /// What went wrong.
        what: String,
    },
    /// No answer in time.
    #[error("{uri} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout {
        /// What was asked for.
        uri: String,
    },
    /// An answer that is not what it should be.
    #[error("{uri} answered something else than metadata: {source}")]
    Json {
        /// What was asked for.
        uri: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The endpoint of this container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Without a slash at its end.
    base: String,
    host: String,
    port: u16,
    authority: String,
}

/// What is used of the answer about the task. Names of the service's; it adds some at times, and removes none. An answer without the ARN is
/// another service's, or too early.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Task {
    cluster: Option<String>,
    service_name: Option<String>,
    #[serde(rename = "TaskARN")]
    arn: String,
    family: Option<String>,
    revision: Option<String>,
    launch_type: Option<String>,
    availability_zone: Option<String>,
}

/// What is used of the answer about the container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    name: String,
    #[serde(rename = "ContainerARN")]
    arn: Option<String>,
    docker_id: Option<String>,
    image: Option<String>,
}

impl Endpoint {
    /// The endpoint at an address such as `http://169.254.170.2/v4/…`.
    pub fn parse(uri: &str) -> Result<Self, Error> {
        let refused = || Error::Address(uri.to_owned());
        let base = uri.trim().trim_end_matches('/');
        let parsed: Uri = base.parse().map_err(|_| refused())?;
        let authority = parsed.authority().filter(|_| parsed.scheme_str() == Some("http")).ok_or_else(refused)?;
        // Brackets are of the address' text, not of the address.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { base: base.to_owned(), host: host.to_owned(), port, authority: authority.to_string() })
    }

    /// The fields, asked for until they are there.
    pub async fn fetch(&self) -> Vec<Field> {
        let mut rng = fastrand::Rng::new();
        for attempt in 1.. {
            match self.once().await {
                Ok(fields) => {
                    tracing::info!(attempt, "the task's metadata is known");
                    return fields;
                }
                Err(error) => {
                    let wait = BACKOFF.wait(attempt, &mut rng);
                    tracing::warn!(%error, attempt, wait_ms = wait.as_millis(), "the task's metadata cannot be had yet; its fields are left out of events until then");
                    sleep(wait).await;
                }
            }
        }
        Vec::new()
    }

    /// The fields, asked for once.
    pub async fn once(&self) -> Result<Vec<Field>, Error> {
        let task: Task = self.ask("/task").await?;
        let container: Container = self.ask("").await?;
        Ok(fields(task, container))
    }

    async fn ask<T: for<'a> Deserialize<'a>>(&self, path: &str) -> Result<T, Error> {
        let uri = format!("{}{path}", self.base);
        let body = match timeout(TIMEOUT, self.get(&uri)).await {
            Ok(body) => body?,
            Err(_) => return Err(Error::Timeout { uri }),
        };
        serde_json::from_slice(&body).map_err(|source| Error::Json { uri, source })
    }

    async fn get(&self, uri: &str) -> Result<Bytes, Error> {
        let http = |source| Error::Http { uri: uri.to_owned(), source };
        let socket = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|source| Error::Connect { address: self.authority.clone(), source })?;
        let mut client = hyper::client::conn::http1::Builder::new();
        client.max_buf_size(MAX_HEAD_BYTES);
        let (mut sender, connection) = client.handshake(TokioIo::new(socket)).await.map_err(http)?;
        let path = uri.parse::<Uri>().map_err(|_| Error::Address(uri.to_owned()))?;
        let path = path.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(HOST, &self.authority)
            .body(Empty::<Bytes>::new())
            .map_err(|_| Error::Address(uri.to_owned()))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(http)?;
            if response.status() != StatusCode::OK {
                return Err(Error::Status { uri: uri.to_owned(), status: response.status() });
            }
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|error| match error.downcast_ref() {
                Some(LengthLimitError { .. }) => Error::TooLong(uri.to_owned()),
                None => Error::Body { uri: uri.to_owned(), what: error.to_string() },
            })
        };
        // The connection is over before the last of the body is taken from it, or with an error that the body tells as well.
        let driven = async {
            connection.await.ok();
            std::future::pending::<Infallible>().await
        };
        match select(pin!(exchange), pin!(driven)).await {
            Either::Left((body, _)) => body,
            Either::Right((never, _)) => match never {},
        }
    }
}

/// The fields that the two answers have, in the order of [`super::NAMES`].
fn fields(task: Task, container: Container) -> Vec<Field> {
    // The service gives the name or the whole ARN, by the platform; people know it by its name.
    let name = |text: String| last(&text).to_owned();
    let task_id = last(&task.arn).to_owned();
    let ecs = [
        ("cluster", task.cluster.map(name)),
        ("service", task.service_name),
        ("task_arn", Some(task.arn)),
        ("task_id", Some(task_id)),
        ("task_family", task.family),
        ("task_revision", task.revision),
        ("launch_type", task.launch_type),
        ("container_name", Some(container.name)),
        ("container_arn", container.arn),
        ("container_id", container.docker_id),
        ("image", container.image),
    ];
    let ecs = ecs.into_iter().map(|(key, value)| ("ecs", key, value));
    ecs.chain([("cloud", "availability_zone", task.availability_zone)])
        .filter_map(|(object, key, value)| Some((object, key, value.filter(|value| !value.is_empty())?)))
        .map(|(object, key, value)| Field::new(object, key, value))
        .collect()
}

/// What is after the last slash of an ARN.
fn last(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_plain_http() {
        let endpoint = Endpoint::parse("http://169.254.170.2/v4/abc-1/").unwrap();
        assert_eq!((endpoint.base.as_str(), endpoint.port), ("http://169.254.170.2/v4/abc-1", 80));
        let six = Endpoint::parse("http://[fd00:ec2::23]:8080/v4").unwrap();
        assert_eq!(
            (six.host.as_str(), six.port, six.authority.as_str()),
            ("fd00:ec2::23", 8080, "[fd00:ec2::23]:8080")
        );
        for refused in ["", "169.254.170.2", "https://169.254.170.2/v4", "/v4", "http://", "file:///etc/passwd"] {
            let error = Endpoint::parse(refused).unwrap_err().to_string();
            assert!(error.contains(&format!("{refused:?}")), "{error}");
        }
    }

    #[test]
    fn a_cluster_is_known_by_its_name_and_what_is_missing_is_left_out() {
        let task = r#"{"Cluster":"arn:aws:ecs:us-west-2:111122223333:cluster/default","TaskARN":"arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c","Family":"curltest","Revision":"26","LaunchType":"","Later":{"a":[1]}}"#;
        let fields = fields(serde_json::from_str(task).unwrap(), serde_json::from_str(r#"{"Name":"app"}"#).unwrap());
        let fields: Vec<_> = fields.iter().map(|field| (field.name(), field.value())).collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(
            fields,
            [
                ("ecs.cluster", "default"),
                ("ecs.task_arn", "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c"),
                ("ecs.task_id", "158d1c8083dd49d6b527399fd6414f5c"),
                ("ecs.task_family", "curltest"),
                ("ecs.task_revision", "26"),
                ("ecs.container_name", "app"),
            ]
        );
    }
}
