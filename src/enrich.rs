//! What is known of the place that events come from: the task, the pod, the machine. Found once and kept, never in the way of data: what is
//! not known yet is left out of events, and nothing waits for it. It is not what kubelet's paths say of other pods' files: `container.rs`
//! has that.

pub mod ecs;
pub mod kubernetes;
pub mod places;

use std::borrow::Cow;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// How often the downward files are looked at. The kubelet itself may take a minute or more to write a change.
pub const POLL: Duration = Duration::from_secs(10);
/// How alike a name must be to a known one for it to be suggested; below that it is likelier to mislead.
const ALIKE: f64 = 0.6;

/// Every name that a field can have, but for the labels and annotations, which the pod's owner names.
pub const NAMES: [&str; 18] = [
    "ecs.cluster",
    "ecs.service",
    "ecs.task_arn",
    "ecs.task_id",
    "ecs.task_family",
    "ecs.task_revision",
    "ecs.launch_type",
    "ecs.container_name",
    "ecs.container_arn",
    "ecs.container_id",
    "ecs.image",
    "cloud.availability_zone",
    "kubernetes.namespace",
    "kubernetes.pod_name",
    "kubernetes.pod_uid",
    "kubernetes.pod_ip",
    "kubernetes.node_name",
    "host.name",
];
/// The objects whose members the pod's owner names.
const OPEN: [&str; 2] = [kubernetes::LABELS, kubernetes::ANNOTATIONS];

/// Why a list of fields cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name that no field has.
    #[error("{name:?} is no field that is known of a place{}; write one such as ecs.task_arn, or kubernetes.*", hint(.nearest.as_deref()))]
    Unknown {
        /// As it is written.
        name: String,
        /// The nearest that there is.
        nearest: Option<String>,
    },
    /// A star elsewhere than at the end, after a dot or alone.
    #[error(
        "{0:?} has a \"*\" where none can be; write it last, such as ecs.* or kubernetes.labels.app*, or alone for all"
    )]
    Star(String),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean {name:?}?"))
}

/// One thing that is known: where it lies in an event, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The objects that it lies in, from the outermost, with dots between them. Ours, so that there is no other dot in it.
    parents: &'static str,
    /// Its name in the innermost of them; a label's may have dots itself.
    key: Cow<'static, str>,
    value: String,
}

impl Field {
    /// A field of an object, such as `cluster` of `ecs`.
    pub fn new(parents: &'static str, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { parents, key: key.into(), value: value.into() }
    }

    /// Its whole name, such as `kubernetes.labels.app`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.parents, self.key)
    }

    /// What it is.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The objects below the given depth that it lies in.
    fn below(&self, depth: usize) -> impl Iterator<Item = &'static str> + use<> {
        self.parents.split('.').skip(depth)
    }
}

/// Which fields are added to events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    names: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    One(String),
    /// Every name that begins so.
    All(String),
}

impl Chosen {
    /// The fields of a list, each by its name or by the beginning of it with a star: `ecs.*`, `kubernetes.labels.app*`, `*`.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Result<Self, Error> {
        list.iter().map(|name| Choice::parse(name.as_ref())).collect::<Result<_, _>>().map(|names| Self { names })
    }

    /// Whether nothing is chosen.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether a field of that name is added.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|choice| match choice {
            Choice::One(one) => one == name,
            Choice::All(beginning) => name.starts_with(beginning.as_str()),
        })
    }

    /// Whether any field in that object can be chosen, so that it is worth finding out about.
    pub fn wants(&self, object: &str) -> bool {
        self.names.iter().any(|choice| match choice {
            Choice::One(one) => lies_in(one, object),
            Choice::All(beginning) => lies_in(beginning, object) || object.starts_with(beginning.trim_end_matches('.')),
        })
    }
}

impl Choice {
    fn parse(name: &str) -> Result<Self, Error> {
        let Some(beginning) = name.strip_suffix('*') else {
            return if name.contains('*') { Err(Error::Star(name.to_owned())) } else { Self::one(name) };
        };
        if beginning.contains('*') {
            return Err(Error::Star(name.to_owned()));
        }
        let known = NAMES.iter().any(|known| known.starts_with(beginning))
            || OPEN.iter().any(|object| lies_in(beginning, object) || object.starts_with(beginning));
        if known { Ok(Self::All(beginning.to_owned())) } else { Err(unknown(name)) }
    }

    fn one(name: &str) -> Result<Self, Error> {
        let labelled = OPEN.iter().any(|object| lies_in(name, object) && name.len() > object.len() + 1);
        if NAMES.contains(&name) || labelled { Ok(Self::One(name.to_owned())) } else { Err(unknown(name)) }
    }
}

fn unknown(name: &str) -> Error {
    let likeness = |known: &&str| strsim::jaro_winkler(known, name);
    let nearest = NAMES.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let nearest = nearest.filter(|known| likeness(known) >= ALIKE).map(str::to_owned);
    Error::Unknown { name: name.to_owned(), nearest }
}

fn lies_in(name: &str, object: &str) -> bool {
    name.strip_prefix(object).is_some_and(|rest| rest.starts_with('.'))
}

/// All that is known, in the order of [`NAMES`], with labels and annotations after the rest of `kubernetes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    fields: Vec<Field>,
    complete: bool,
}

impl Metadata {
    /// What is known as these fields; those of one object are next to each other.
    pub fn new(fields: Vec<Field>) -> Self {
        Self { fields, complete: true }
    }

    /// All fields, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The value of the field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| field.name() == name).map(Field::value)
    }

    /// Whether every source has answered. What is missing then does not exist here.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The chosen fields as members of an object, without its braces: `"ecs":{"cluster":"a"},"host":{"name":"b"}`. Empty if there are none.
    pub fn members(&self, chosen: &Chosen) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in self.objects(chosen) {
            comma(&mut out);
            string(&mut out, name);
            out.push(b':');
            out.extend_from_slice(&value);
        }
        out
    }

    /// The same, apart: the name of each object at the top, and its JSON.
    pub fn objects(&self, chosen: &Chosen) -> Vec<(&'static str, Vec<u8>)> {
        let fields: Vec<&Field> = self.fields.iter().filter(|field| chosen.has(&field.name())).collect();
        let top = |field: &&Field| field.below(0).next().unwrap_or_default();
        fields
            .chunk_by(|a, b| top(a) == top(b))
            .map(|alike| {
                let mut json = Vec::new();
                object(&mut json, alike, 1);
                (alike.first().map(top).unwrap_or_default(), json)
            })
            .collect()
    }
}

/// Writes fields that lie in the same objects down to a depth, which their names say, as the object at that depth.
fn object(out: &mut Vec<u8>, fields: &[&Field], depth: usize) {
    out.push(b'{');
    let deeper = |field: &&Field| field.below(depth).next();
    for alike in fields.chunk_by(|a, b| deeper(a).is_some() && deeper(a) == deeper(b)) {
        let Some(first) = alike.first() else { continue };
        comma(out);
        if let Some(name) = deeper(first) {
            string(out, name);
            out.push(b':');
            object(out, alike, depth + 1);
        } else {
            string(out, &first.key);
            out.push(b':');
            string(out, &first.value);
        }
    }
    out.push(b'}');
}

/// A comma, unless what would be before it is nothing.
fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{')) {
        out.push(b',');
    }
}

/// A string in JSON.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and a vector takes all that is written to it");
}

/// Where it is found out from.
#[derive(Debug)]
pub struct Sources {
    ecs: Option<ecs::Endpoint>,
    kubernetes: Option<kubernetes::Downward>,
    host: Option<String>,
}

/// What [`Sources`] are found by, beside the environment.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The variables that the pod's fields are in.
    pub variables: kubernetes::Variables,
    /// The directory of the downward volume; by default `/etc/podinfo`, if it is there.
    pub volume: Option<PathBuf>,
}

impl Sources {
    /// What there is here of what the chosen fields need. An address of ECS that cannot be used is said, and the rest goes on.
    pub fn find(chosen: &Chosen, settings: Settings, host: &str, env: impl Fn(&str) -> Option<String>) -> Self {
        let ecs = env(ecs::VARIABLE).filter(|_| chosen.wants("ecs") || chosen.wants("cloud"));
        let ecs = ecs.and_then(|uri| match ecs::Endpoint::parse(&uri) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                tracing::warn!(%error, "the task's metadata cannot be had; its fields are left out of events");
                None
            }
        });
        let kubernetes = chosen
            .wants("kubernetes")
            .then(|| kubernetes::Downward::find(&settings.variables, settings.volume, &env))
            .filter(|downward| !downward.is_empty());
        let host = chosen.wants("host").then(|| host.to_owned());
        Self { ecs, kubernetes, host }
    }

    /// What is known without asking anybody.
    pub fn at_once(&self) -> Metadata {
        self.metadata(None)
    }

    /// Finds out and keeps up, until nobody reads it any more. What is known at once is there before the first wait.
    pub async fn keep(mut self, to: watch::Sender<Metadata>) {
        let mut task = None;
        self.publish(task.as_deref(), &to);
        let endpoint = self.ecs.clone();
        let mut fetched = pin!(async {
            match endpoint {
                Some(endpoint) => endpoint.fetch().await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                () = to.closed() => return,
                fields = &mut fetched, if task.is_none() => {
                    task = Some(fields);
                    self.publish(task.as_deref(), &to);
                }
                () = sleep(POLL), if self.kubernetes.as_ref().is_some_and(kubernetes::Downward::can_change) => {
                    if self.kubernetes.as_mut().is_some_and(kubernetes::Downward::look) {
                        self.publish(task.as_deref(), &to);
                    }
                }
            }
        }
    }

    fn publish(&self, task: Option<&[Field]>, to: &watch::Sender<Metadata>) {
        to.send_replace(self.metadata(task));
    }

    fn metadata(&self, task: Option<&[Field]>) -> Metadata {
        let mut fields = task.unwrap_or_default().to_vec();
        if let Some(downward) = &self.kubernetes {
            fields.extend(downward.fields());
        }
        fields.extend(self.host.clone().map(|name| Field::new("host", "name", name)));
        Metadata { fields, complete: self.ecs.is_none() || task.is_some() }
    }
}

#[cfg(test)]
mod tests;
