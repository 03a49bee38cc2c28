//! The containers of an ECS task, as its metadata endpoint tells of them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use crate::ask;

/// Between two questions; the endpoint throttles at forty a second, for all containers of a task.
pub(super) const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer may take; it comes from the same machine.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The kind of containers that the task definition names. The others are the service's own.
const NORMAL: &str = "NORMAL";
/// What a container is when it has ended.
const STOPPED: &str = "STOPPED";

/// The other containers of this one's task.
#[derive(Debug)]
pub(super) struct Task {
    address: String,
    /// The one that is awaited, if not all of them are.
    name: Option<String>,
    /// This container.
    own: Option<String>,
    /// Those that have been there.
    seen: BTreeSet<String>,
}

/// What is used of the answers. Names are the service's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    docker_id: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "Type")]
    kind: Option<String>,
    known_status: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    containers: Vec<Container>,
}

impl Task {
    pub(super) fn new(address: &str, name: Option<String>) -> Self {
        Self { address: address.trim_end_matches('/').to_owned(), name, own: None, seen: BTreeSet::new() }
    }

    /// Whether all of them are gone, and whether any has been there. Without an answer nothing is.
    pub(super) async fn look(&mut self) -> (bool, bool) {
        let is_gone = match self.ask().await {
            Ok(containers) => self.is_gone(&containers),
            Err(why) => {
                tracing::warn!(why, "the metadata of the task is not to be had, and is asked for again");
                false
            }
        };
        (is_gone, !self.seen.is_empty())
    }

    async fn ask(&mut self) -> Result<Vec<Container>, String> {
        if self.own.is_none() {
            let own: Container = get(&self.address).await?;
            self.own = Some(own.docker_id);
        }
        let answer: Answer = get(&format!("{}/task", self.address)).await?;
        Ok(answer.containers)
    }

    /// Whether the others have all been there and ended. One that was there and is not named any more has ended as well.
    fn is_gone(&mut self, containers: &[Container]) -> bool {
        let is_awaited = |c: &&Container| {
            let is_other = Some(&c.docker_id) != self.own.as_ref() && c.kind.as_deref().unwrap_or(NORMAL) == NORMAL;
            is_other && self.name.as_ref().is_none_or(|name| *name == c.name)
        };
        let awaited: Vec<&Container> = containers.iter().filter(is_awaited).collect();
        self.seen.extend(awaited.iter().map(|c| c.docker_id.clone()));
        let has_ended = |c: &&Container| c.known_status.as_deref() == Some(STOPPED);
        !self.seen.is_empty() && awaited.iter().all(has_ended)
    }
}

async fn get<T: for<'de> Deserialize<'de>>(url: &str) -> Result<T, String> {
    let reply = ask::get(url, TIMEOUT).await.map_err(|error| error.to_string())?;
    if reply.status != 200 {
        return Err(format!("{url} answered {}", reply.status));
    }
    serde_json::from_slice(&reply.body).map_err(|error| format!("{url} answered something else than metadata: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, kind: Option<&str>, status: &str) -> Container {
        let text = |text: &str| Some(text.to_owned());
        Container {
            docker_id: format!("id-{name}"),
            name: name.to_owned(),
            kind: kind.and_then(text),
            known_status: text(status),
        }
    }

    #[test]
    fn a_task_is_gone_when_all_others_that_its_definition_names_have_ended() {
        let normal = |name, status| container(name, Some(NORMAL), status);
        let own = || normal("kinetail", "RUNNING");
        let pause = || container("~internal~ecs~pause", Some("CNI_PAUSE"), "RESOURCES_PROVISIONED");
        for (name, containers, want) in [
            (None, vec![own(), pause()], false),
            (None, vec![own(), pause(), normal("app", "PULLED")], false),
            (None, vec![own(), pause(), normal("app", "STOPPED"), normal("worker", "RUNNING")], false),
            (Some("app"), vec![own(), pause(), normal("app", "STOPPED"), normal("worker", "RUNNING")], true),
            (None, vec![own(), pause(), container("app", None, "STOPPED")], true),
            (Some("nobody"), vec![own(), normal("app", "STOPPED")], false),
        ] {
            let mut task = Task::new("http://h/v4/", name.map(str::to_owned));
            task.own = Some("id-kinetail".to_owned());
            assert_eq!(task.is_gone(&containers), want, "{name:?} {containers:?}");
        }
    }

    #[test]
    fn a_container_that_is_not_named_any_more_has_ended() {
        let mut task = Task::new("http://h/v4", None);
        task.own = Some("id-kinetail".to_owned());
        assert!(!task.is_gone(&[container("kinetail", None, "RUNNING")]), "nobody has been there");
        assert!(!task.is_gone(&[container("app", None, "RUNNING")]));
        assert!(task.is_gone(&[]));
    }
}
