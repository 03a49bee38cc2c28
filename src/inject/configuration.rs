//! What an injected agent is told: kinetail's configuration, made of the injector's, the pod's annotations and what has to be, and checked as
//! the agent itself will check it. Nothing of pods but their ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::annotations::{PREFIX, Wish};
use super::settings::Settings;
use super::yaml;
use crate::config::{CONFIG_VARIABLE, Config, Document, Layers, Problems, SourceConfig};

/// Where state is, unless the configuration says otherwise.
pub(super) const STATE_DIR: &str = "/var/lib/kinetail";
/// Where a `ConfigMap` is mounted.
pub(super) const CONFIG_DIR: &str = "/etc/kinetail";
/// Where the admin server listens, unless the configuration says otherwise.
const LISTEN: &str = "0.0.0.0:9464";
/// How many ports are tried after that.
const PORTS: u16 = 100;
/// A name for the stream where another document has it.
const ELSEWHERE: &str = "elsewhere";

/// What an agent is told.
#[derive(Debug)]
pub(super) struct Agent {
    /// After `run` or `exec`.
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<Value>,
    /// The `ConfigMap` that it needs.
    pub(super) config_map: Option<String>,
    pub(super) sources: Vec<SourceConfig>,
    pub(super) state_dir: String,
    /// Where probes and Prometheus can ask, if they can.
    pub(super) listen: Option<SocketAddr>,
    pub(super) shutdown: Duration,
    /// None if another document says it.
    pub(super) memory_limit: Option<usize>,
}

/// The ports of a pod, from which agents get theirs.
#[derive(Debug)]
pub(super) struct Ports {
    taken: BTreeSet<u16>,
    in_host_network: bool,
    asked: Option<u16>,
    given: bool,
    /// Whether an agent had to do without one.
    pub(super) none: bool,
}

impl Ports {
    pub(super) fn new(taken: BTreeSet<u16>, in_host_network: bool, asked: Option<u16>) -> Self {
        Self { taken, in_host_network, asked, given: false, none: false }
    }

    /// Where the next agent listens, as its setting has it; none if that may stay as it is.
    fn next(&mut self, configured: Option<&str>) -> Result<Option<String>, String> {
        let is_first = !std::mem::replace(&mut self.given, true);
        let Ok(mut address) = configured.unwrap_or(LISTEN).parse::<SocketAddr>() else {
            // Off, or something that the check finds.
            return Ok(None);
        };
        let wished = self.asked.unwrap_or(address.port());
        let is_chosen = self.asked.is_some() || configured.is_some();
        if is_first && is_chosen && self.taken.contains(&wished) {
            return Err(format!("port {wished} is one of the pod's own; give another one by {PREFIX}port"));
        }
        // In the node's network every port is one of the node's, of which nobody here knows which are free.
        if self.in_host_network && !(is_first && is_chosen) {
            self.none = true;
            return Ok(Some("off".to_owned()));
        }
        let Some(port) = (wished..=wished.saturating_add(PORTS)).find(|port| !self.taken.contains(port)) else {
            return Err(format!("ports {wished} and all after it are the pod's own; give another one by {PREFIX}port"));
        };
        self.taken.insert(port);
        if port == address.port() {
            return Ok(None);
        }
        address.set_port(port);
        Ok(Some(address.to_string()))
    }
}

/// The settings before they are one agent's.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    wish: &'a Wish,
    fields: Map<String, Value>,
    /// Sources of commands, and all others.
    of_commands: Vec<Value>,
    of_files: Vec<Value>,
    /// Whether the pod itself says what is read.
    is_of_the_pod: bool,
}

impl<'a> Draft<'a> {
    /// The injector's settings with the pod's over them.
    pub(super) fn new(settings: &Settings, wish: &'a Wish) -> Self {
        let mut fields = settings.sidecar.config.clone();
        lay(&mut fields, &wish.config);
        if wish.config_map.is_none() {
            name_stream(&mut fields, wish);
        }
        let sources = match fields.remove("sources") {
            Some(Value::Array(sources)) => sources,
            // Something else is left to the check.
            Some(other) if !other.is_null() => vec![other],
            _ => Vec::new(),
        };
        let (of_commands, of_files) =
            sources.into_iter().partition(|source| source.get("type") == Some(&json!("exec")));
        let is_of_the_pod = wish.config.get("sources").is_some_and(|sources| !sources.is_null());
        Self { wish, fields, of_commands, of_files, is_of_the_pod }
    }

    /// Whether the pod says which files are read.
    pub(super) fn has_files(&self) -> bool {
        (self.is_of_the_pod && !self.of_files.is_empty()) || !self.wish.files.is_empty()
    }

    /// Whether something is said about commands.
    pub(super) fn has_commands(&self) -> bool {
        self.is_of_the_pod && !self.of_commands.is_empty()
    }

    /// What a sidecar is told, which reads these files if nothing else says what is read.
    pub(super) fn sidecar(&self, files: &BTreeMap<String, Vec<String>>, ports: &mut Ports) -> Result<Agent, String> {
        let made = || {
            let name = |container: &str| if files.len() == 1 { "app".to_owned() } else { container.to_owned() };
            files.iter().map(|(container, paths)| json!({"name": name(container), "paths": paths})).collect()
        };
        let is_made = self.of_files.is_empty() || (!self.is_of_the_pod && !self.wish.files.is_empty());
        let sources: Vec<Value> = if is_made { made() } else { self.of_files.clone() };
        self.agent(sources, ports, Config::load)
    }

    /// What the agent around a container's command is told.
    pub(super) fn wrapper(&self, container: &str, ports: &mut Ports) -> Result<Agent, String> {
        let made = || vec![json!({"name": container, "type": "exec"})];
        let sources = if self.of_commands.is_empty() { made() } else { self.of_commands.clone() };
        self.agent(sources, ports, Config::load_exec)
    }

    fn agent(&self, sources: Vec<Value>, ports: &mut Ports, load: Load) -> Result<Agent, String> {
        let mut fields = self.fields.clone();
        let configured = fields.get("admin").and_then(|admin| admin.get("listen")?.as_str()).map(str::to_owned);
        let is_elsewhere = self.wish.config_map.is_some();
        let moved = ports.next(if is_elsewhere { None } else { configured.as_deref() })?;
        if let Some(listen) = &moved {
            set(&mut fields, "admin", "listen", json!(listen));
        }
        let sources = sources.into_iter().map(|source| self.parsed(source)).collect();
        fields.insert("sources".to_owned(), Value::Array(sources));
        fields.entry("state_dir").or_insert_with(|| json!(STATE_DIR));
        match &self.wish.config_map {
            None => configured_inline(fields, load),
            Some(name) => self.configured_elsewhere(name, fields, moved.as_deref(), load),
        }
    }

    fn parsed(&self, mut source: Value) -> Value {
        if let (Some(parse), Some(fields)) = (&self.wish.parse, source.as_object_mut()) {
            fields.insert("parse".to_owned(), parse.clone());
        }
        source
    }

    /// What a `ConfigMap` says is not known here, so that what has to be known is set by variables.
    fn configured_elsewhere(
        &self,
        name: &str,
        mut fields: Map<String, Value>,
        moved: Option<&str>,
        load: Load,
    ) -> Result<Agent, String> {
        let kinesis = fields.get("kinesis");
        if !["stream", "stream_arn"].iter().any(|key| kinesis.and_then(|kinesis| kinesis.get(key)).is_some()) {
            set(&mut fields, "kinesis", "stream", json!(ELSEWHERE));
        }
        let own = configured_inline(fields, load)?;
        let mut variables = vec![
            json!({"name": "KINETAIL_STATE_DIR", "value": STATE_DIR}),
            json!({"name": "KINETAIL_ADMIN_LISTEN", "value": moved.unwrap_or(LISTEN)}),
        ];
        let parse = self.wish.parse.as_ref().and_then(Value::as_str).map(str::to_owned);
        let set = [("STREAM", &self.wish.stream), ("REGION", &self.wish.region), ("PARSE", &parse)];
        for (variable, value) in set.into_iter().filter_map(|(variable, value)| Some((variable, value.as_ref()?))) {
            variables.push(json!({"name": format!("KINETAIL_{variable}"), "value": value}));
        }
        let arguments = vec!["--config".to_owned(), format!("{CONFIG_DIR}/kinetail.yaml")];
        let listen = moved.unwrap_or(LISTEN).parse().ok();
        let config_map = Some(name.to_owned());
        Ok(Agent {
            arguments,
            variables,
            config_map,
            sources: Vec::new(),
            state_dir: STATE_DIR.to_owned(),
            listen,
            memory_limit: None,
            ..own
        })
    }
}

type Load = fn(&Layers) -> Result<Config, Problems>;

fn configured_inline(fields: Map<String, Value>, load: Load) -> Result<Agent, String> {
    let text = yaml::document(&Value::Object(fields));
    let file = Some(Document { name: CONFIG_VARIABLE.to_owned(), text: text.clone() });
    let config = load(&Layers { file, ..Layers::default() }).map_err(|problems| in_short(&problems))?;
    Ok(Agent {
        arguments: Vec::new(),
        variables: vec![json!({"name": CONFIG_VARIABLE, "value": text})],
        config_map: None,
        state_dir: config.state_dir.display().to_string(),
        // What listens on the pod's own loopback alone, neither the kubelet nor Prometheus can ask.
        listen: config.admin.listen.filter(|address| !address.ip().is_loopback()),
        shutdown: config.shutdown.timeout,
        memory_limit: Some(config.memory_limit),
        sources: config.sources,
    })
}

/// The first problem, without the line of a document that nobody has written.
fn in_short(problems: &Problems) -> String {
    let mut all = problems.iter();
    let first = all.next().map(|problem| match problem.field.as_str() {
        "" => problem.message.clone(),
        field => format!("{field}: {}", problem.message),
    });
    let more = match all.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    format!("{}{more}", first.unwrap_or_default())
}

fn name_stream(fields: &mut Map<String, Value>, wish: &Wish) {
    if let Some(stream) = &wish.stream {
        if let Some(kinesis) = fields.get_mut("kinesis").and_then(Value::as_object_mut) {
            kinesis.remove("stream_arn");
        }
        set(fields, "kinesis", "stream", json!(stream));
    }
    if let Some(region) = &wish.region {
        set(fields, "kinesis", "region", json!(region));
    }
}

/// Sets a setting of a section, which is made if it is missing. What is no section is left, and found by the check.
fn set(fields: &mut Map<String, Value>, section: &str, key: &str, value: Value) {
    if let Value::Object(section) = fields.entry(section).or_insert_with(|| json!({})) {
        section.insert(key.to_owned(), value);
    }
}

/// Lays settings over others: sections are merged, all else is replaced.
pub(super) fn lay(below: &mut Map<String, Value>, above: &Map<String, Value>) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Object(there)), Value::Object(fields)) => lay(there, fields),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(ports: &mut Ports, configured: Option<&str>) -> Result<Option<String>, String> {
        ports.next(configured)
    }

    #[test]
    fn each_agent_has_a_port_of_its_own() {
        let mut ports = Ports::new(BTreeSet::from([9464, 9466]), false, None);
        assert_eq!(next(&mut ports, None).unwrap().as_deref(), Some("0.0.0.0:9465"));
        assert_eq!(next(&mut ports, None).unwrap().as_deref(), Some("0.0.0.0:9467"));
        let mut ports = Ports::new(BTreeSet::new(), false, None);
        assert_eq!(next(&mut ports, None).unwrap(), None);
        assert_eq!(next(&mut ports, Some("[::]:9464")).unwrap().as_deref(), Some("[::]:9465"));
        assert_eq!(next(&mut ports, Some("off")).unwrap(), None);
    }

    #[test]
    fn a_port_that_was_chosen_is_that_port_or_none() {
        let mut ports = Ports::new(BTreeSet::from([8080]), false, Some(8080));
        assert!(next(&mut ports, None).unwrap_err().contains("port 8080 is one of the pod's own"));
        let mut ports = Ports::new(BTreeSet::from([8080]), false, None);
        assert!(next(&mut ports, Some("0.0.0.0:8080")).is_err());
        let mut ports = Ports::new(BTreeSet::new(), false, Some(8080));
        assert_eq!(next(&mut ports, Some("[::]:1")).unwrap().as_deref(), Some("[::]:8080"));
    }

    #[test]
    fn ports_of_the_node_are_only_taken_when_asked_for() {
        let mut ports = Ports::new(BTreeSet::new(), true, None);
        assert_eq!(next(&mut ports, None).unwrap().as_deref(), Some("off"));
        assert!(ports.none);
        let mut ports = Ports::new(BTreeSet::new(), true, Some(9999));
        assert_eq!(next(&mut ports, None).unwrap().as_deref(), Some("0.0.0.0:9999"));
        assert_eq!(next(&mut ports, None).unwrap().as_deref(), Some("off"));
    }

    #[test]
    fn sections_are_merged_and_lists_replaced() {
        let map = |value: Value| value.as_object().cloned().unwrap();
        let mut below = map(json!({"a": {"b": 1, "c": [1]}, "d": 1}));
        lay(&mut below, &map(json!({"a": {"c": [2], "e": 2}, "d": {"f": 1}})));
        assert_eq!(Value::Object(below), json!({"a": {"b": 1, "c": [2], "e": 2}, "d": {"f": 1}}));
    }
}
