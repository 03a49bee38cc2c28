//! The file source: which files there are ([`discover`], hinted by [`watch`]), which of them is which ([`identity`], [`siblings`], [`known`]), and
//! reading them ([`generation`], [`files`], [`reader`]). The reader decides everything; a watcher only wakes it.

pub mod account;
pub mod discover;
pub mod files;
pub mod generation;
pub mod identity;
pub mod known;
pub mod mounts;
pub mod reader;
pub mod siblings;
pub mod watch;
pub mod writes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;

use self::discover::{Excludes, Glob};
use crate::config::{self, LineFormat, Parser, SourceConfig, SourceKind, StartAt};
use crate::container::kubelet;
use crate::line::LineConfig;
use crate::multiline::Multiline;
use crate::parse::{Added, Known, Whence};
use crate::route::Router;

/// A configured source, ready to open files.
#[derive(Debug, Clone)]
pub struct Group {
    /// The `source` label.
    pub name: Arc<str>,
    /// The globs, for a walk.
    pub globs: Vec<Glob>,
    /// What is left out of what they name.
    pub excludes: Excludes,
    /// The globs, to compare a path with.
    patterns: Vec<glob::Pattern>,
    /// Where files begin that were there before the agent ever ran.
    pub start_at: StartAt,
    /// How lines become events.
    pub line: Arc<LineConfig>,
    /// How long a rotated file is watched after its last growth.
    pub rotate_wait: Duration,
    /// Whether a file is read to its end before a newer one is begun.
    pub oldest_first: bool,
    /// How long a deleted file is held for what is unread of it.
    pub deleted_max_wait: Duration,
    /// Where events go by their own words.
    pub router: Arc<Router>,
    add: config::AddFields,
    known: Option<Receiver<Arc<Known>>>,
    host: String,
    /// Where the segment lies that is written to, if it is read from a spool. That says nothing of its events.
    pub spool: Option<PathBuf>,
    /// It is no source any more, and stays until what was read of it is delivered.
    pub has_left: bool,
}

impl Group {
    /// A group of this configuration, on a machine of this name.
    pub fn new(config: &SourceConfig, host: &str) -> Self {
        const CHECKED: &str = "globs are checked with the configuration";
        Self {
            name: config.name.as_str().into(),
            globs: config.paths.iter().map(|glob| Glob::new(glob).expect(CHECKED)).collect(),
            excludes: Excludes::new(config.exclude.iter().map(String::as_str)).expect(CHECKED),
            patterns: config.paths.iter().map(|glob| glob::Pattern::new(glob).expect(CHECKED)).collect(),
            start_at: config.start_at,
            line: Arc::new(LineConfig {
                parse: parser(config),
                shape: config.shape.clone(),
                on_parse_error: config.on_parse_error,
                max_line_bytes: config.max_line_bytes,
                long_lines: config.long_lines,
                format: config.format,
                partial_line_timeout: config.partial_line_timeout,
                multiline: config.multiline.as_ref().map(Multiline::new),
                encoding: config.encoding,
            }),
            rotate_wait: config.rotate_wait,
            oldest_first: config.oldest_first,
            deleted_max_wait: config.deleted_max_wait,
            router: Arc::default(),
            add: config.add.clone(),
            known: None,
            host: host.to_owned(),
            spool: None,
            has_left: false,
        }
    }

    /// The group with a router, without which all events have their source's key and the stream of all.
    #[must_use]
    pub fn with_router(self, router: Router) -> Self {
        Self { router: Arc::new(router), ..self }
    }

    /// The group with what is known of the place, as it becomes known.
    #[must_use]
    pub fn with_known(self, known: Option<Receiver<Arc<Known>>>) -> Self {
        Self { known, ..self }
    }

    /// What is known of the place, where events get that.
    pub fn known(&self) -> Option<Receiver<Arc<Known>>> {
        self.known.clone()
    }

    /// The group of a spool, whose current segment this is.
    #[must_use]
    pub fn with_spool(self, current: PathBuf) -> Self {
        Self { spool: Some(current), ..self }
    }

    /// Whether a glob names this path.
    pub fn names(&self, path: &Path) -> bool {
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        self.patterns.iter().any(|pattern| pattern.matches_path_with(path, options))
    }

    /// Whether a file at this path is one of its own, as far as the path tells.
    pub fn has(&self, path: &Path) -> bool {
        self.names(path) && !path.ancestors().any(|part| self.excludes.has(part))
    }

    /// The same group when it is no source any more: it names nothing.
    #[must_use]
    pub fn leaving(self) -> Self {
        Self { globs: Vec::new(), patterns: Vec::new(), has_left: true, ..self }
    }

    /// The machine's name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The `parser` label.
    pub fn parser(&self) -> &Arc<str> {
        self.line.parse.label()
    }

    /// The fields that events of a file at this path get.
    pub fn added(&self, path: &str) -> Added {
        let mut fields: Vec<(String, serde_json::Value)> = Vec::new();
        if self.add.host {
            fields.push(("host".to_owned(), self.host.clone().into()));
        }
        if self.add.path {
            fields.push(("path".to_owned(), path.into()));
        }
        fields.extend(self.add.fields.clone());
        // The links that kubelet keeps have names with the container's id, and lead to files whose paths have the rest.
        let target = || std::fs::read_link(path).ok();
        let is_on = self.add.kubernetes && self.line.format != LineFormat::Plain;
        let kubernetes = is_on.then(|| kubelet::pod_of(Path::new(path), target().as_deref())).flatten();
        Added::new(fields, self.add.offset)
            .with_origin(self.add.stream, self.add.time, kubernetes.map(Into::into))
            .as_objects(self.line.multiline.is_some() || !self.add.metadata.is_empty())
            .with_whence(Whence { source: self.name.to_string(), path: path.to_owned(), host: self.host.clone() })
    }

    /// The same for a file of this tag, which its events' names begin with if they have one.
    pub fn added_with_id(&self, added: Added, tag: u64) -> Added {
        if self.add.id { added.with_id(format!("{tag:016x}")) } else { added }
    }

    /// The partition key of a file at this path: the machine is part of it, or every pod's `/var/log/app.log` would share a shard.
    pub fn partition_key(&self, path: &str) -> Arc<str> {
        let place = if self.spool.is_some() { &*self.name } else { path };
        let key = format!("{}:{place}", self.host);
        if key.len() <= crate::kinesis::aggregate::MAX_KEY_BYTES {
            return key.into();
        }
        format!(
            "{}:{:032x}",
            self.host.chars().take(MAX_HOST_IN_KEY).collect::<String>(),
            crate::kinesis::hash::hash_key(&key)
        )
        .into()
    }
}

/// What lines are read as. Those of a Forward server are objects already, in which `log` is what it was to become, so that they are looked at only
/// where something is added. Any other parser is for what `log` says.
fn parser(config: &SourceConfig) -> Parser {
    let add = &config.add;
    let adds = !config.shape.is_empty()
        || add.host
        || add.path
        || add.offset
        || add.id
        || !add.fields.is_empty()
        || !add.metadata.is_empty();
    match (config.kind, config.parse.direct()) {
        (SourceKind::Forward, Some(_)) if adds => Parser::json(),
        (SourceKind::Forward, Some(_)) => Parser::raw(),
        (SourceKind::Forward, None) if !config.parse.is_of_fields() => config.parse.clone().of_field(LOG),
        _ => config.parse.clone(),
    }
}

/// The field of a Forward client's record that holds the line.
const LOG: &str = "log";
/// Of a key that is too long, this much of the host stays readable (a host name has at most 64 characters of one byte on Linux).
const MAX_HOST_IN_KEY: usize = 48;
