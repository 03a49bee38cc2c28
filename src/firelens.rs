//! The drop-in for `FireLens`: what the ECS agent generated for Fluent Bit, read as what kinetail is to do. A task definition that names an
//! image of Fluent Bit works with kinetail's in its place; whatever of it cannot be honoured is a [`Note`], which says so. It listens nowhere
//! and sends nothing.
//!
//! `FireLens` is a contract of four parts: a socket in `/var/run`, a port, an answer on port 8877, and the file that is read here, in the
//! classic format. Its sections say what each container's `logConfiguration` says.

mod classic;
mod filter;
pub mod health;
mod input;
mod note;
mod output;
mod settings;
mod tag;
mod time;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use filter::{Grep, Record};
pub use input::{Listen, Unix};
pub use note::{Note, Weight};
pub use output::{Nowhere, Output};
pub use settings::{Dispatch, Goes, Taken, take};
pub use tag::{Pattern, container};
pub use time::TimeFormat;

use classic::{Document, Section};
use note::Notes;

/// Where the ECS agent mounts what it generates, for `type: fluentbit`.
pub const CONFIG: &str = "/fluent-bit/etc/fluent-bit.conf";
/// The same where `config-file-value` names a file of YAML.
const YAML: &str = "/fluent-bit/etc/fluent-bit.yaml";
/// The same for `type: fluentd`.
const FLUENTD: &str = "/fluentd/etc/fluent.conf";
/// The variables of which ECS sets at least one in every container.
const ECS: [&str; 2] = [crate::enrich::ecs::VARIABLE, "ECS_CONTAINER_METADATA_URI"];
/// The tag of what the health check sends, which is no log.
const HEALTH_TAG: &str = "firelens-healthcheck";
/// All files together. A task definition may have 64 KiB; what it includes is written by people.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Sections in all files together: an input, filters and an output for each of a task's ten containers are some dozens.
pub const MAX_SECTIONS: usize = 1000;

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {what}; let kinetail's user read it, or configure kinetail by itself")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        what: String,
    },
    /// More than any task needs.
    #[error("{file} and what it includes have more than {MAX_BYTES} bytes; include less")]
    TooLong {
        /// The file in which the limit was met.
        file: String,
    },
    /// More than any task needs.
    #[error("{file}, line {line}: more than {MAX_SECTIONS} sections; include less")]
    TooManySections {
        /// The file in which the limit was met.
        file: String,
        /// The line.
        line: usize,
    },
    /// Another format.
    #[error(
        "{file} is YAML, and only Fluent Bit's classic format is read; give config-file-value a name that ends in .conf, or leave it out"
    )]
    Yaml {
        /// The file.
        file: String,
    },
    /// Another program's.
    #[error("{file} is written for Fluentd; set firelensConfiguration.type to fluentbit, whose options are honoured")]
    Fluentd {
        /// The file.
        file: String,
    },
}

/// What kinetail is to do in the place of Fluent Bit.
#[derive(Debug, Default)]
pub struct Plan {
    /// Where containers send their logs to.
    pub listen: Listen,
    /// Where the task's health check connects to.
    pub health: Option<SocketAddr>,
    /// The streams, each with the tags that go there.
    pub outputs: Vec<Output>,
    /// Fields that events get.
    pub records: Vec<Record>,
    /// Which events are kept.
    pub greps: Vec<Grep>,
    /// Tags whose events were to go where kinetail does not send, or are thrown away on purpose.
    pub nowhere: Vec<Nowhere>,
    /// What is not honoured, or not as it is written, in the order of the text.
    pub unsupported: Vec<Note>,
    /// How many more there were of these that lose no event.
    pub unsaid: usize,
}

/// What becomes of a tag's events.
#[derive(Debug)]
pub enum Destination<'a> {
    /// They go to a stream.
    Stream(&'a Output),
    /// They were to go where kinetail does not send.
    Nowhere(&'a Nowhere),
    /// They are thrown away on purpose.
    Discarded,
    /// No output matches them; Fluent Bit throws such events away.
    Unmatched,
}

/// The files that an `@INCLUDE` names, each with its own name and its text; or why there are none.
pub type Included = Result<Vec<(String, String)>, String>;

/// Whether this is a router's container of `FireLens`: the file to read. A file alone does not say so, since images of Fluent Bit have it too.
pub fn detect(env: impl Fn(&str) -> Option<String>, is_file: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let in_ecs = ECS.iter().any(|name| env(name).is_some_and(|value| !value.is_empty()));
    [CONFIG, YAML, FLUENTD].into_iter().map(PathBuf::from).find(|path| in_ecs && is_file(path))
}

/// Reads a file and what it includes.
pub fn read(path: &Path, env: impl Fn(&str) -> Option<String>) -> Result<Plan, Error> {
    // The name under which it would be included, so that it is known if it includes itself.
    let name = path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string();
    let text = load(path).map_err(|what| Error::Read { path: name.clone(), what })?;
    let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
    plan(&name, &text, |wanted| from_disk(&directory, wanted), env)
}

/// The plan in a text. `include` answers what an `@INCLUDE` names; `env` the variables that are not set by `@SET`.
pub fn plan(
    file: &str,
    text: &str,
    include: impl FnMut(&str) -> Included,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Plan, Error> {
    let extension = Path::new(file).extension();
    if extension.is_some_and(|extension| extension == "yaml" || extension == "yml") || looks_like_yaml(text) {
        return Err(Error::Yaml { file: file.to_owned() });
    }
    if first_line(text).is_some_and(|line| line.starts_with('<')) {
        return Err(Error::Fluentd { file: file.to_owned() });
    }
    let mut notes = Notes::default();
    let document = classic::read(file, text, include, &env, &mut notes)?;
    let mut plan = Plan::default();
    for section in &document.sections {
        plan.section(section, &document, &mut notes);
    }
    output::settle(&mut plan, &mut notes);
    (plan.unsupported, plan.unsaid) = notes.done();
    Ok(plan)
}

/// The first line that says anything.
fn first_line(text: &str) -> Option<&str> {
    text.trim_start_matches('\u{feff}').lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether a text begins as Fluent Bit's YAML does: with a key alone on its line.
fn looks_like_yaml(text: &str) -> bool {
    first_line(text).is_some_and(|line| line == "---" || (line.ends_with(':') && !line.contains(char::is_whitespace)))
}

fn load(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    // One byte more than there may be, so that the limit is seen to be passed.
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut text).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What an `@INCLUDE` names on this machine: a path, from the directory of the first file, or a pattern of such.
fn from_disk(directory: &Path, wanted: &str) -> Included {
    let path = directory.join(wanted);
    let paths = if wanted.contains('*') {
        let found = glob::glob(&path.display().to_string()).map_err(|error| error.to_string())?;
        found.take(classic::MAX_FILES + 1).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?
    } else {
        vec![path]
    };
    let file = |path: PathBuf| {
        let path = path.canonicalize().map_err(|error| error.to_string())?;
        Ok((path.display().to_string(), load(&path)?))
    };
    paths.into_iter().map(file).collect()
}

impl Plan {
    fn section(&mut self, section: &Section, document: &Document, notes: &mut Notes) {
        match section.name.as_str() {
            "SERVICE" => {
                for entry in &section.entries {
                    notes.moot(section, entry, "kinetail has settings of its own for this");
                }
            }
            "INPUT" => input::add(self, section, document, notes),
            "FILTER" => filter::add(self, section, document, notes),
            "OUTPUT" => output::add(self, section, document, notes),
            "PARSER" | "MULTILINE_PARSER" => {
                notes.section(
                    section,
                    Weight::Moot,
                    "it is not used: how lines are parsed is set by kinetail's own sources",
                );
            }
            _ => notes.section(section, Weight::Differs, "kinetail knows no such section; nothing is done by it"),
        }
    }

    /// What becomes of a tag's events. Of several streams whose patterns match it, the one with the longest pattern gets them.
    pub fn destination(&self, tag: &str) -> Destination<'_> {
        let streams = self.outputs.iter().filter(|output| output.pattern.matches(tag));
        // The first of equals, so that the order of the text decides and not that of a comparison.
        if let Some(output) = streams.rev().max_by_key(|output| output.pattern.weight()) {
            return Destination::Stream(output);
        }
        let mut nowhere = self.nowhere.iter().filter(|nowhere| nowhere.matches(tag)).peekable();
        if nowhere.peek().is_none() {
            return Destination::Unmatched;
        }
        nowhere.find(|nowhere| !nowhere.on_purpose).map_or(Destination::Discarded, Destination::Nowhere)
    }

    /// The fields that events of a tag get, in the order of the text.
    pub fn added(&self, tag: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.pattern.matches(tag))
    }

    /// The same as members of an object, without its braces: `"ecs_cluster":"prod","ecs_task_arn":"arn:…"`. Of two of one name the last.
    pub fn members(&self, tag: &str) -> Vec<u8> {
        let records: Vec<&Record> = self.added(tag).collect();
        let mut out = Vec::new();
        for (at, record) in records.iter().enumerate() {
            if records.iter().skip(at + 1).any(|later| later.name == record.name) {
                continue;
            }
            if !out.is_empty() {
                out.push(b',');
            }
            crate::enrich::string(&mut out, &record.name);
            out.push(b':');
            crate::enrich::string(&mut out, &record.value);
        }
        out
    }

    /// Whether an event of a tag is kept, by the text of its fields.
    pub fn keeps<'a>(&self, tag: &str, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.greps.iter().filter(|grep| grep.pattern.matches(tag)).all(|grep| grep.keeps(&field))
    }

    /// The notes of what loses events: why kinetail might better not start.
    pub fn losses(&self) -> impl Iterator<Item = &Note> {
        self.unsupported.iter().filter(|note| note.weight == Weight::Lost)
    }
}

#[cfg(test)]
mod tests;
