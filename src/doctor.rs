//! One preflight: everything that an operator gets wrong is tried, and each thing that is wrong is said with its fix. Nothing is changed, and nothing
//! is sent to the stream unless that is asked for.

pub mod access;
pub mod logs;
pub mod place;
pub mod policy;
pub mod reach;
pub mod stream;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::config::Config;

/// How much is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Pass,
    /// It works, and something is worth a look; or it cannot be known.
    Warn,
    /// The agent will not work.
    Fail,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What, in a word.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was seen.
    pub said: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Line {
    /// Nothing is wrong.
    pub fn pass(check: &'static str, said: impl Into<String>) -> Self {
        Self { check, level: Level::Pass, said: said.into(), fix: None }
    }

    /// Something is worth a look.
    pub fn warn(check: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, said: said.into(), fix: Some(fix.into()) }
    }

    /// Something is wrong.
    pub fn fail(check: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, said: said.into(), fix: Some(fix.into()) }
    }
}

/// Everything that was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order in which it was looked at.
    pub checks: Vec<Line>,
}

impl Report {
    /// The worst of it.
    pub fn level(&self) -> Level {
        self.checks.iter().map(|line| line.level).max().unwrap_or(Level::Pass)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|line| line.check.len()).max().unwrap_or_default();
        for Line { check, level, said, fix } in &self.checks {
            let mut said = said.lines();
            writeln!(f, "{}  {check:width$}  {}", level.as_str(), said.next().unwrap_or_default())?;
            for line in said {
                writeln!(f, "      {:width$}  {}", "", line.trim_start())?;
            }
            for line in fix.iter().flat_map(|fix| fix.lines()) {
                writeln!(f, "      {:width$}  > {line}", "")?;
            }
        }
        let count = |level| self.checks.iter().filter(|line| line.level == level).count();
        let (pass, warn, fail) = (count(Level::Pass), count(Level::Warn), count(Level::Fail));
        write!(f, "{pass} passed, {warn} warnings, {fail} failures")
    }
}

/// How thoroughly it is looked, and where the machine's own facts are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Send an event, which alone proves that the stream takes one.
    pub send: bool,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys/fs/cgroup`.
    pub cgroup: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self { send: false, proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() }
    }
}

/// Looks at everything.
pub async fn examine(config: &Config, options: &Options) -> Report {
    let mut checks = Vec::new();
    let running = place::admin(config, &mut checks).await;
    place::state_dir(config, running, &mut checks);
    checks.push(place::memory(config, options));
    checks.push(place::descriptors());
    checks.push(place::inotify(options));
    logs::sources(config, &mut checks);
    Box::pin(stream::service(config, options, &mut checks)).await;
    Report { checks }
}
