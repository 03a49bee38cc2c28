//! What an agent ends after, if it is told to: the service beside it, as far as that can be seen from here. It only looks; what an end is, is not here.

mod processes;
mod task;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{Pid, getpid};
use tokio::time::{Instant, sleep};

use processes::Process;
use task::Task;

/// Between two looks at this machine.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// When somebody is told that there is nothing to be seen yet.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// The end of a process.
    Process(Pid),
    /// That a file is there: the service's last act.
    File(PathBuf),
    /// The end of all other containers of the pod or task, or of the one of this name.
    Containers(Option<String>),
}

/// Why that cannot be awaited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not one of them.
    #[error(
        "{0:?} is none of: a process id; file: and the absolute path of a file that is made at the end; container; container: and a name, on ECS"
    )]
    Unknown(String),
    /// It has no processes but our own.
    #[error(
        "container: this container sees no other one's processes; set shareProcessNamespace: true (Kubernetes) or pidMode: task (ECS without its \
         metadata endpoint), or await a file: file:/path"
    )]
    Alone,
    /// It has all processes of the machine.
    #[error(
        "container: this is the process namespace of the whole machine, which never ends; await a process id or a file: file:/path"
    )]
    Machine,
    /// Names are known on ECS alone.
    #[error("container:{0}: only ECS tells the names of containers; await a process id or a file: file:/path")]
    Nameless(String),
}

impl FromStr for Awaited {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::Unknown(text.to_owned());
        if let Some(path) = text.strip_prefix("file:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::File(path)) } else { Err(unknown()) };
        }
        if text == "container" {
            return Ok(Self::Containers(None));
        }
        if let Some(name) = text.strip_prefix("container:").filter(|name| !name.is_empty()) {
            return Ok(Self::Containers(Some(name.to_owned())));
        }
        let raw: i32 = text.parse().ok().filter(|raw| *raw > 0).ok_or_else(unknown)?;
        Pid::from_raw(raw).map(Self::Process).ok_or_else(unknown)
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "{}", pid.as_raw_pid()),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Containers(None) => f.write_str("container"),
            Self::Containers(Some(name)) => write!(f, "container:{name}"),
        }
    }
}

/// How it is awaited here.
#[derive(Debug)]
pub struct Await {
    what: Awaited,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Process(Process),
    File,
    /// Containers, by the metadata of their ECS task.
    Task(Task),
    /// Containers, by the processes that are not ours.
    Others(processes::Others),
}

impl Awaited {
    /// How it is awaited where this runs; `metadata` is the address of an ECS task's.
    pub fn here(self, metadata: Option<&str>) -> Result<Await, Error> {
        let way = match &self {
            Self::Process(pid) => Way::Process(Process::of(*pid)),
            Self::File(_) => Way::File,
            Self::Containers(name) => match (metadata, name) {
                (Some(address), _) => Way::Task(Task::new(address, name.clone())),
                (None, Some(name)) => return Err(Error::Nameless(name.clone())),
                (None, None) if getpid().is_init() => return Err(Error::Alone),
                (None, None) if processes::is_machine() => return Err(Error::Machine),
                (None, None) => Way::Others(processes::Others::default()),
            },
        };
        Ok(Await { what: self, way })
    }
}

impl Await {
    /// Completes when it is gone. What cannot be seen for now is not gone.
    pub async fn gone(mut self) {
        let began = Instant::now();
        let (mut is_known, mut has_said) = (false, false);
        loop {
            let (is_gone, has_been_seen) = match &mut self.way {
                Way::Process(process) => (process.is_gone(), true),
                Way::File => (matches!(&self.what, Awaited::File(path) if path.exists()), true),
                Way::Task(task) => task.look().await,
                Way::Others(others) => others.look(),
            };
            if is_gone {
                tracing::info!(what = %self.what, "what --exit-when-gone names is gone");
                return;
            }
            if has_been_seen && !std::mem::replace(&mut is_known, has_been_seen) {
                tracing::info!(what = %self.what, "what --exit-when-gone names is awaited");
            }
            if !has_been_seen && !has_said && began.elapsed() > PATIENCE {
                has_said = true;
                tracing::warn!(what = %self.what, "what --exit-when-gone names has not been there yet, and is waited for");
            }
            sleep(if matches!(self.way, Way::Task(_)) { task::ASK_INTERVAL } else { LOOK_INTERVAL }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_is_said_in_a_word() {
        for text in ["17", "file:/shared/done", "container", "container:app"] {
            assert_eq!(text.parse::<Awaited>().unwrap().to_string(), text);
        }
        for text in ["", "0", "-1", "app", "file:", "file:done", "container:", "99999999999999999999", "/shared/done"] {
            assert_eq!(text.parse::<Awaited>(), Err(Error::Unknown(text.to_owned())));
        }
    }

    #[test]
    fn what_cannot_be_awaited_here_is_refused() {
        let named = Awaited::Containers(Some("app".to_owned()));
        assert_eq!(named.clone().here(None).unwrap_err(), Error::Nameless("app".to_owned()));
        assert!(named.here(Some("http://169.254.170.2/v4/x")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_awaited_until_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("done");
        let awaited: Awaited = format!("file:{}", path.display()).parse().unwrap();
        let gone = awaited.here(None).unwrap().gone();
        tokio::pin!(gone);
        tokio::select! {
            () = &mut gone => panic!("it is not there"),
            () = sleep(Duration::from_hours(1)) => {}
        }
        std::fs::write(&path, "").unwrap();
        gone.await;
    }
}
