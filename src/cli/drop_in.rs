//! The configuration of whoever runs or checks it: the layers that everybody has, and below them what `FireLens` generated, where nothing says what
//! is read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::SettingFlags;
use crate::config::{Config, FireLens, Layers, Problems, SourceKind};
use crate::firelens::{self, Dispatch, Note, Taken, Weight};

/// Messages of one kind that the log lets through at once, less one.
const MAX_MESSAGES: usize = 8;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Settings are wrong.
    #[error("{problems}{}", Lines(.notes))]
    Settings {
        /// What is wrong.
        problems: Problems,
        /// What of `FireLens` was not taken over, which may be why.
        notes: Vec<Note>,
    },
    /// What `FireLens` generated cannot be read.
    #[error(transparent)]
    FireLens(#[from] firelens::Error),
}

impl From<Problems> for Refused {
    fn from(problems: Problems) -> Self {
        Self::Settings { problems, notes: Vec::new() }
    }
}

/// Notes, each on a line of its own after what is there.
struct Lines<'a>(&'a [Note]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().filter(|note| note.weight != Weight::Moot).try_for_each(|note| write!(f, "\n{note}"))
    }
}

/// What was taken from `FireLens`.
#[derive(Debug)]
pub(super) enum DropIn {
    /// It is not here, or switched off.
    None,
    /// It is here, and there are sources.
    Unused(PathBuf),
    /// It is what is done.
    Used(PathBuf, Box<Taken>),
}

/// Loads the configuration.
pub(super) fn load(flags: &SettingFlags, environment: BTreeMap<String, String>) -> Result<(Config, DropIn), Refused> {
    let layers = flags.layers(environment)?;
    let env = |name: &str| layers.environment.get(name).cloned();
    let path = match layers.text("firelens").as_deref() {
        None | Some("auto") => firelens::detect(env, Path::is_file),
        Some(path) => Some(PathBuf::from(path)).filter(|path| path.is_absolute()),
    };
    let Some(path) = path else { return Ok((Config::load(&layers)?, DropIn::None)) };
    if layers.has_sources() {
        return Ok((Config::load(&layers)?, DropIn::Unused(path)));
    }
    take(&layers, path)
}

fn take(layers: &Layers, path: PathBuf) -> Result<(Config, DropIn), Refused> {
    let plan = firelens::read(&path, |name| layers.environment.get(name).cloned())?;
    let taken = Box::new(firelens::take(plan, &path, |setting| layers.text(setting)));
    match Config::load_over(&taken.base, layers) {
        Ok(config) => Ok((config, DropIn::Used(path, taken))),
        Err(problems) => Err(Refused::Settings { problems, notes: taken.notes }),
    }
}

impl DropIn {
    /// Which events are of which source.
    pub(super) fn dispatch(self) -> Option<Dispatch> {
        match self {
            Self::Used(_, taken) => Some(taken.dispatch),
            Self::None | Self::Unused(_) => None,
        }
    }

    /// What is not honoured.
    pub(super) fn notes(&self) -> impl Iterator<Item = &Note> {
        let taken = if let Self::Used(_, taken) = self { Some(taken) } else { None };
        taken.into_iter().flat_map(|taken| &taken.notes).filter(|note| note.weight != Weight::Moot)
    }

    /// Says what was taken, and what was not.
    pub(super) fn announce(&self, config: &Config) {
        match self {
            Self::None => {}
            Self::Unused(path) => {
                let is_heard = config.sources.iter().any(|source| source.kind == SourceKind::Forward);
                if is_heard || config.firelens == FireLens::Off {
                    tracing::info!(file = %path.display(), "sources are configured, so that what FireLens generated is not used");
                } else {
                    tracing::warn!(file = %path.display(), "sources are configured, so that what FireLens generated is not used, and nothing listens for the containers whose logDriver is awsfirelens: remove the sources, or add one of type forward with forward.unix: /var/run/fluent.sock");
                }
            }
            Self::Used(path, taken) => {
                let sources = config.sources.iter().map(|source| {
                    let stream = source.stream.as_ref().map_or(&*config.kinesis.stream, |stream| stream.text());
                    format!("{}: {stream}", source.name)
                });
                let sources: Vec<String> = sources.collect();
                tracing::info!(file = %path.display(), ?sources, "what FireLens generated for Fluent Bit is done");
                self.announce_notes(taken);
            }
        }
    }

    fn announce_notes(&self, taken: &Taken) {
        for note in taken.notes.iter().filter(|note| note.weight == Weight::Moot) {
            tracing::debug!(%note, "an option of FireLens needs nothing to be done");
        }
        let (lost, other): (Vec<&Note>, Vec<&Note>) = self.notes().partition(|note| note.weight == Weight::Lost);
        for notes in lost.chunks(lost.len().div_ceil(MAX_MESSAGES).max(1)) {
            tracing::warn!(
                what = joined(notes),
                "events do not go where FireLens would have sent them; they are dropped and counted"
            );
        }
        for notes in other.chunks(other.len().div_ceil(MAX_MESSAGES).max(1)) {
            tracing::warn!(what = joined(notes), "an option of FireLens is not honoured as it is written");
        }
        if taken.unsaid > 0 {
            tracing::warn!(count = taken.unsaid, "more options of FireLens are not honoured");
        }
    }
}

fn joined(notes: &[&Note]) -> String {
    notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
