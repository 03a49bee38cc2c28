//! The injector's own configuration: whom it serves, and what a sidecar looks like by default. The latter are the values of the chart
//! kinetail-lib, by the same names and with the same defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::config::{Document, Layers, LogFormat, LogLevel, SourceConfig, value};

/// Which pods get a sidecar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Those that ask for it.
    #[default]
    Annotated,
    /// All but those that say no.
    All,
}

/// Whether a sidecar is an init container that goes on running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Native {
    /// Where the cluster has them.
    #[default]
    Auto,
    /// Always.
    Yes,
    /// Never.
    No,
}

impl<'de> Deserialize<'de> for Native {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(true) => Ok(Self::Yes),
            Value::Bool(false) => Ok(Self::No),
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::String(text) if text == "true" => Ok(Self::Yes),
            Value::String(text) if text == "false" => Ok(Self::No),
            other => Err(serde::de::Error::custom(format!("native is {other}; allowed: auto, true, false"))),
        }
    }
}

/// The injector's configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which pods get a sidecar.
    pub policy: Policy,
    /// Namespaces whose pods never do: our own, and those of the cluster itself.
    pub exclude: Vec<String>,
    /// The version of Kubernetes, such as `v1.33.0`.
    pub kubernetes: String,
    /// What a sidecar looks like.
    pub sidecar: Sidecar,
    /// The injector's own log.
    pub log: Log,
}

/// The injector's own log.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

/// What a sidecar looks like: the values of kinetail-lib.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "kinetail-lib's README has them")]
pub struct Sidecar {
    pub name: String,
    pub image: Image,
    pub native: Native,
    pub config: Map<String, Value>,
    pub logs: Logs,
    pub state: State,
    pub pod_info: bool,
    pub app_grace_period_seconds: u64,
    pub termination_grace_period_seconds: Option<u64>,
    pub metrics: Scraping,
    pub probes: Probes,
    pub lifecycle: Map<String, Value>,
    pub resources: Map<String, Value>,
    pub security_context: Map<String, Value>,
    pub env: Vec<Value>,
    pub env_from: Vec<Value>,
    pub extra_volume_mounts: Vec<Value>,
}

/// The image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "kinetail-lib's README has them")]
pub struct Image {
    pub repository: String,
    pub tag: String,
    pub digest: String,
    pub pull_policy: String,
}

impl Default for Image {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            repository: text("kinetail"),
            tag: String::new(),
            digest: String::new(),
            pull_policy: text("IfNotPresent"),
        }
    }
}

impl Image {
    /// The whole reference.
    pub(super) fn reference(&self) -> String {
        let Self { repository, tag, digest, .. } = self;
        match (digest.as_str(), tag.as_str()) {
            ("", "") => format!("{repository}:{}", env!("CARGO_PKG_VERSION")),
            ("", tag) => format!("{repository}:{tag}"),
            (digest, _) => format!("{repository}@{digest}"),
        }
    }
}

/// The volume of the logs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "kinetail-lib's README has them")]
pub struct Logs {
    pub volume: String,
    pub create: bool,
    pub mount_path: String,
    pub size_limit: Value,
}

impl Default for Logs {
    fn default() -> Self {
        let (volume, mount_path) = ("kinetail-logs".to_owned(), "/var/log/app".to_owned());
        Self { volume, create: true, mount_path, size_limit: json!("1Gi") }
    }
}

/// The volume of checkpoints and the spool.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[expect(missing_docs, reason = "kinetail-lib's README has them")]
pub struct State {
    pub volume: String,
    pub create: bool,
    pub size_limit: Value,
}

impl Default for State {
    fn default() -> Self {
        Self { volume: "kinetail-state".to_owned(), create: true, size_limit: json!("512Mi") }
    }
}

/// Whether pods have annotations by which Prometheus finds them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "kinetail-lib's README has them")]
pub struct Scraping {
    pub annotations: bool,
}

impl Default for Scraping {
    fn default() -> Self {
        Self { annotations: true }
    }
}

/// The probes; none is left out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "kinetail-lib's README has them")]
pub struct Probes {
    pub startup: Option<Map<String, Value>>,
    pub liveness: Option<Map<String, Value>>,
    pub readiness: Option<Map<String, Value>>,
}

impl Default for Sidecar {
    fn default() -> Self {
        let startup = json!({"periodSeconds": 1, "failureThreshold": 60});
        let liveness = json!({"periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 6});
        let resources = json!({"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}});
        let security_context = json!({
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        let map = |value: Value| value.as_object().cloned().unwrap_or_default();
        Self {
            name: "kinetail".to_owned(),
            image: Image::default(),
            native: Native::Auto,
            config: Map::new(),
            logs: Logs::default(),
            state: State::default(),
            pod_info: true,
            app_grace_period_seconds: 30,
            termination_grace_period_seconds: None,
            metrics: Scraping::default(),
            probes: Probes { startup: Some(map(startup)), liveness: Some(map(liveness)), readiness: None },
            lifecycle: Map::new(),
            resources: map(resources),
            security_context: map(security_context),
            env: Vec::new(),
            env_from: Vec::new(),
            extra_volume_mounts: Vec::new(),
        }
    }
}

impl Settings {
    /// Reads a document; what a sidecar is told by default has to be right, too, as far as it goes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn load(document: &Document) -> Result<Self, String> {
        let value = value(document).map_err(|problems| problems.to_string())?;
        let value = if value.is_null() { json!({}) } else { value };
        let settings: Self = serde_json::from_value(value).map_err(|error| format!("{}: {error}", document.name))?;
        settings.check().map_err(|problem| format!("{}: {problem}", document.name))?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let sidecar = &self.sidecar;
        if !is_label(&sidecar.name) {
            return Err(format!("sidecar.name: \"{}\" is no name of a container", sidecar.name));
        }
        for (path, name) in [("logs.volume", &sidecar.logs.volume), ("state.volume", &sidecar.state.volume)] {
            if !is_label(name) {
                return Err(format!("sidecar.{path}: \"{name}\" is no name of a volume"));
            }
        }
        if sidecar.image.repository.is_empty() {
            return Err("sidecar.image.repository is empty; give it the image".to_owned());
        }
        if !sidecar.logs.mount_path.starts_with('/') {
            return Err(format!("sidecar.logs.mountPath: \"{}\" is no absolute path", sidecar.logs.mount_path));
        }
        if sidecar.native == Native::Yes && self.version().is_some_and(|version| version < (1, 28)) {
            return Err(format!("sidecar.native is true, and Kubernetes {} has no native sidecars", self.kubernetes));
        }
        if !self.kubernetes.is_empty() && self.version().is_none() {
            return Err(format!("kubernetes: \"{}\" is no version, such as v1.33.0", self.kubernetes));
        }
        self.check_config()
    }

    /// What is said has to be right; what is missing, such as the stream, pods may say.
    fn check_config(&self) -> Result<(), String> {
        let text = Value::Object(self.sidecar.config.clone()).to_string();
        if self.sidecar.config.is_empty() {
            return Ok(());
        }
        let file = Some(Document { name: "sidecar.config".to_owned(), text });
        let layers = Layers { file, environment: BTreeMap::new(), flags: BTreeMap::new() };
        match SourceConfig::load_all(&layers) {
            Ok(_) => Ok(()),
            Err(problems) => {
                let problems: Vec<String> =
                    problems.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
                Err(format!("sidecar.config: {}", problems.join("; ")))
            }
        }
    }

    /// Whether a sidecar is native, if its pod does not say.
    pub(super) fn native(&self) -> bool {
        match self.sidecar.native {
            Native::Yes => true,
            Native::No => false,
            // Unknown is none: a plain sidecar runs anywhere.
            Native::Auto => self.version().is_some_and(|version| version >= (1, 29)),
        }
    }

    /// Whether the cluster could have native sidecars.
    pub(super) fn may_be_native(&self) -> bool {
        self.version().is_none_or(|version| version >= (1, 28))
    }

    /// The cluster's version, as far as it counts: `v1.29+` and `1.33.2-eks-1` are versions too.
    fn version(&self) -> Option<(u32, u32)> {
        let (major, rest) = self.kubernetes.strip_prefix('v').unwrap_or(&self.kubernetes).split_once('.')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| rest.split_at(end).0);
        Some((major.parse().ok()?, digits.parse().ok()?))
    }
}

/// Whether it can be the name of a container or volume.
pub(super) fn is_label(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Settings, String> {
        Settings::load(&Document { name: "injector.yaml".to_owned(), text: text.to_owned() })
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/helm/kinetail-lib/values.yaml");
        let values = value(&Document::read(path.as_ref()).unwrap()).unwrap();
        assert_eq!(serde_json::from_value::<Sidecar>(values).unwrap(), Sidecar::default());
    }

    #[test]
    fn auto_is_by_the_version() {
        for (version, want) in [
            ("v1.28.9", false),
            ("v1.29.0-eks-1", true),
            ("1.30+", true),
            ("v1.33.1", true),
            ("v2.0.0", true),
            ("", false),
        ] {
            assert_eq!(load(&format!("kubernetes: \"{version}\"")).unwrap().native(), want, "{version}");
        }
        assert!(load("sidecar: {native: true}\nkubernetes: v1.28.0").unwrap().native());
        assert!(!load("sidecar: {native: \"false\"}\nkubernetes: v1.33.0").unwrap().native());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("polici: all", "unknown field `polici`"),
            ("policy: some", "unknown variant `some`"),
            ("sidecar: {nativ: true}", "unknown field `nativ`"),
            ("sidecar: {native: maybe}", "allowed: auto, true, false"),
            ("sidecar: {name: Kinetail}", "\"Kinetail\" is no name of a container"),
            ("sidecar: {image: {repository: \"\"}}", "sidecar.image.repository is empty"),
            ("sidecar: {logs: {mountPath: logs}}", "\"logs\" is no absolute path"),
            ("sidecar: {native: true}\nkubernetes: v1.27.0", "has no native sidecars"),
            ("kubernetes: latest", "is no version"),
            ("sidecar: {config: {kinesis: {sream: a}}}", "kinesis.sream"),
            ("a: [", "is not valid YAML"),
        ] {
            let problem = load(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
        assert_eq!(load("# nothing\n").unwrap(), Settings::default());
    }

    #[test]
    fn an_image_is_by_its_digest_or_its_tag() {
        let image = |tag: &str, digest: &str| Image { tag: tag.into(), digest: digest.into(), ..Image::default() };
        assert_eq!(image("", "").reference(), format!("kinetail:{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(image("1.2", "").reference(), "kinetail:1.2");
        assert_eq!(image("1.2", "sha256:ab").reference(), "kinetail@sha256:ab");
    }
}
