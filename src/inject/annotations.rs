//! What a pod asks for: its annotations, read and checked one by one. What becomes of that is not here.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::{Document, did_you_mean, value};

/// What the names begin with.
pub const PREFIX: &str = "kinetail.dev/";
/// Whether; as a label too.
pub const INJECT: &str = "kinetail.dev/inject";
/// What was done; set by us.
pub const STATUS: &str = "kinetail.dev/status";
/// The value of [`STATUS`].
pub const INJECTED: &str = "injected";

/// An annotation, as documentation shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotation {
    /// Its name after the prefix.
    pub name: &'static str,
    /// What it can be.
    pub allowed: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// All of them.
pub const ANNOTATIONS: [Annotation; 14] = [
    Annotation {
        name: "inject",
        allowed: "`true`, `false`",
        meaning: "Whether this pod gets a sidecar. As a label of that name `false` keeps the pod away from the injector altogether.",
    },
    Annotation {
        name: "files",
        allowed: "globs of absolute paths, with commas between them, each with a container's name and a colon before it if it is not the first container's",
        meaning: "What is read. A directory for which that container has no volume gets one, an emptyDir. By default what the configuration's `sources` say, or every `*.log` in `sidecar.logs.mountPath`.",
    },
    Annotation {
        name: "stdout",
        allowed: "`true` for the first container, or containers' names with commas between them",
        meaning: "Whose stdout and stderr are sent, by `kinetail exec` before its command. The pod has to state that command, and the image has to have a glibc. Without `files` there is no sidecar then.",
    },
    Annotation {
        name: "stream",
        allowed: "a name",
        meaning: "The stream, in place of the injector's `kinesis.stream`.",
    },
    Annotation { name: "region", allowed: "a region, such as `eu-west-1`", meaning: "The stream's region." },
    Annotation {
        name: "parse",
        allowed: "what the setting `parse` of a source can be, as YAML",
        meaning: "How lines become events, in every source.",
    },
    Annotation {
        name: "config",
        allowed: "kinetail's configuration, as YAML",
        meaning: "Settings over those of the injector; a list replaces the list there.",
    },
    Annotation {
        name: "config-map",
        allowed: "the name of a ConfigMap with `kinetail.yaml` in the pod's namespace",
        meaning: "The configuration in place of the injector's. `files` says then which directories are shared, and not what is read. `state_dir` and `admin.listen` are set by us, and `shutdown.timeout` should not be longer than the injector's.",
    },
    Annotation {
        name: "image",
        allowed: "a reference of an image",
        meaning: "kinetail's image, in place of the injector's.",
    },
    Annotation {
        name: "resources",
        allowed: "`requests` and `limits`, as YAML",
        meaning: "The sidecar's, over the injector's; null removes one.",
    },
    Annotation {
        name: "native",
        allowed: "`true`, `false`",
        meaning: "Whether the sidecar is an init container with `restartPolicy: Always`; by default where the cluster has them.",
    },
    Annotation {
        name: "port",
        allowed: "a port",
        meaning: "Where metrics and probes are served. By default 9464, or the next one that no container has; in the node's network nowhere.",
    },
    Annotation {
        name: "run-as-user",
        allowed: "a user id other than 0",
        meaning: "The sidecar's user, where it has to be that of the service: for files of mode 0600.",
    },
    Annotation { name: "status", allowed: "", meaning: "Set by the injector: `injected`." },
];

/// A file pattern, and the container in which that path is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) container: Option<String>,
    pub(super) glob: String,
}

/// Whose stdout is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Stdout {
    #[default]
    Nobodys,
    First,
    Of(Vec<String>),
}

/// What a pod asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wish {
    pub(super) files: Vec<Pattern>,
    pub(super) stdout: Stdout,
    pub(super) stream: Option<String>,
    pub(super) region: Option<String>,
    pub(super) parse: Option<Value>,
    pub(super) config: Map<String, Value>,
    pub(super) config_map: Option<String>,
    pub(super) image: Option<String>,
    pub(super) resources: Map<String, Value>,
    pub(super) native: Option<bool>,
    pub(super) port: Option<u16>,
    pub(super) user: Option<u32>,
    /// What is not understood and does no harm.
    pub(super) warnings: Vec<String>,
}

/// Whether a pod says that it wants a sidecar, by its annotation or else its label; none if it does not say, and the text that was not understood.
pub(super) fn wanted(
    annotations: &BTreeMap<&str, &str>,
    labels: &BTreeMap<&str, &str>,
) -> Result<Option<bool>, String> {
    match annotations.get(INJECT).or_else(|| labels.get(INJECT)) {
        None => Ok(None),
        Some(text) => flag(text).map(Some).map_err(|problem| format!("{INJECT}: {problem}")),
    }
}

/// Reads all of them.
pub(super) fn read(annotations: &BTreeMap<&str, &str>) -> Result<Wish, String> {
    let mut wish = Wish::default();
    for (name, text) in annotations {
        let Some(short) = name.strip_prefix(PREFIX) else { continue };
        wish.take(short, text.trim()).map_err(|problem| format!("{name}: {problem}"))?;
    }
    if wish.config_map.is_some() && !wish.config.is_empty() {
        return Err(format!("{PREFIX}config and {PREFIX}config-map are both set; leave one of them out"));
    }
    if wish.config_map.is_some() && wish.parse.as_ref().is_some_and(|parse| !parse.is_string()) {
        return Err(format!("{PREFIX}parse is more than a name, and goes into the ConfigMap of {PREFIX}config-map"));
    }
    Ok(wish)
}

impl Wish {
    fn take(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "inject" | "status" => {}
            "files" => self.files = patterns(text)?,
            "stdout" => self.stdout = stdout(text)?,
            "stream" => self.stream = Some(filled(text)?),
            "region" => self.region = Some(filled(text)?),
            "parse" => self.parse = Some(yaml(text)?),
            "config" => self.config = mapping(text)?,
            "config-map" => self.config_map = Some(filled(text)?),
            "image" => self.image = Some(filled(text)?),
            "resources" => self.resources = resources(text)?,
            "native" => self.native = Some(flag(text)?),
            "port" => self.port = Some(number(text, 1, "a port")?),
            "run-as-user" => self.user = Some(number(text, 1, "a user id other than 0")?),
            _ => {
                let hint = did_you_mean(name, ANNOTATIONS.iter().map(|known| known.name));
                self.warnings.push(format!("{PREFIX}{name} is not known, and has no effect{hint}"));
            }
        }
        Ok(())
    }
}

fn flag(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "enabled" | "yes" => Ok(true),
        "false" | "disabled" | "no" => Ok(false),
        _ => Err(format!("\"{}\" is neither true nor false", shortened(text))),
    }
}

fn number<T: std::str::FromStr + PartialOrd + From<u16>>(text: &str, least: u16, what: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number >= T::from(least) => Ok(number),
        _ => Err(format!("\"{}\" is not {what}", shortened(text))),
    }
}

fn filled(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty; give it a value, or leave it out".to_owned()) } else { Ok(text.to_owned()) }
}

fn items(text: &str) -> Result<Vec<&str>, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.is_empty() { Err("names nothing; give it a value, or leave it out".to_owned()) } else { Ok(items) }
}

fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    let pattern = |item: &str| {
        let (container, glob) = match item.split_once(':') {
            Some((container, glob)) if !container.contains('/') => (Some(container.trim().to_owned()), glob.trim()),
            _ => (None, item),
        };
        if !glob.starts_with('/') || glob.ends_with('/') || glob.split('/').any(|part| part == "..") {
            let problem = "is no absolute path of files; write /DIRECTORY/*.log, or CONTAINER:/DIRECTORY/*.log";
            return Err(format!("\"{}\" {problem}", shortened(item)));
        }
        Ok(Pattern { container, glob: glob.to_owned() })
    };
    items(text)?.into_iter().map(pattern).collect()
}

fn stdout(text: &str) -> Result<Stdout, String> {
    if let Ok(is_wanted) = flag(text) {
        return Ok(if is_wanted { Stdout::First } else { Stdout::Nobodys });
    }
    Ok(Stdout::Of(items(text)?.into_iter().map(str::to_owned).collect()))
}

fn yaml(text: &str) -> Result<Value, String> {
    let document = Document { name: "line".to_owned(), text: filled(text)? };
    value(&document).map_err(|problems| problems.iter().next().map(ToString::to_string).unwrap_or_default())
}

fn mapping(text: &str) -> Result<Map<String, Value>, String> {
    match yaml(text)? {
        Value::Object(fields) => Ok(fields),
        _ => Err("is no mapping of settings, such as \"kinesis: {stream: logs}\"".to_owned()),
    }
}

fn resources(text: &str) -> Result<Map<String, Value>, String> {
    let fields = mapping(text)?;
    for (name, value) in &fields {
        let is_quantity = |(_, value): (&String, &Value)| value.is_null() || quantity(value).is_some();
        let is_right = matches!(name.as_str(), "requests" | "limits")
            && value.as_object().is_some_and(|fields| fields.iter().all(is_quantity));
        if !is_right {
            let example = "requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 64Mi}";
            return Err(format!("{}: is not understood; write {example}", shortened(name)));
        }
    }
    Ok(fields)
}

/// A quantity of Kubernetes', such as `64Mi`, in its unit; of memory that is bytes.
pub(super) fn quantity(value: &Value) -> Option<f64> {
    if let Some(number) = value.as_f64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits)? {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    let is_plain = digits.starts_with(|c: char| c.is_ascii_digit());
    digits.parse::<f64>().ok().filter(|_| is_plain).map(|number| number * factor)
}

/// A text that somebody wrote, short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    const CHARS: usize = 60;
    if text.chars().nth(CHARS).is_none() {
        return text.to_owned();
    }
    text.chars().take(CHARS).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(annotations: &[(&str, &str)]) -> Result<Wish, String> {
        read(&annotations.iter().copied().collect())
    }

    #[test]
    fn annotations_are_read() {
        let wish = wish(&[
            ("kinetail.dev/files", "/var/log/app/*.log, web:/srv/logs/**/*.json"),
            ("kinetail.dev/stdout", "web,worker"),
            ("kinetail.dev/parse", "[json, raw]"),
            ("kinetail.dev/config", "kinesis:\n  stream: a\nlog: {level: debug}"),
            ("kinetail.dev/resources", "limits: {memory: 96Mi, cpu: null}"),
            ("kinetail.dev/native", "False"),
            ("kinetail.dev/port", "9999"),
            ("kinetail.dev/run-as-user", "1000"),
            ("kinetail.dev/inject", "true"),
            ("other.dev/files", "x"),
        ])
        .unwrap();
        let pattern = |container: Option<&str>, glob: &str| Pattern {
            container: container.map(str::to_owned),
            glob: glob.to_owned(),
        };
        assert_eq!(wish.files, [pattern(None, "/var/log/app/*.log"), pattern(Some("web"), "/srv/logs/**/*.json")]);
        assert_eq!(wish.stdout, Stdout::Of(vec!["web".to_owned(), "worker".to_owned()]));
        assert_eq!(wish.parse, Some(json!(["json", "raw"])));
        assert_eq!(Value::Object(wish.config), json!({"kinesis": {"stream": "a"}, "log": {"level": "debug"}}));
        assert_eq!((wish.native, wish.port, wish.user), (Some(false), Some(9999), Some(1000)));
        assert!(wish.warnings.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_annotation() {
        for (name, text, part) in [
            ("files", "app.log", "\"app.log\" is no absolute path"),
            ("files", "/var/log/", "is no absolute path of files"),
            ("files", "/var/log/../*", "is no absolute path of files"),
            ("files", " , ", "names nothing"),
            ("native", "maybe", "\"maybe\" is neither true nor false"),
            ("port", "0", "\"0\" is not a port"),
            ("port", "70000", "is not a port"),
            ("run-as-user", "0", "is not a user id other than 0"),
            ("stream", "", "is empty"),
            ("config", "[1]", "is no mapping"),
            ("config", "a: [", "is not valid YAML"),
            ("config", "a: &b 1", "anchors"),
            ("resources", "limit: {memory: 1Mi}", "limit: is not understood"),
            ("resources", "limits: {memory: lots}", "limits: is not understood"),
        ] {
            let name = format!("{PREFIX}{name}");
            let problem = wish(&[(name.as_str(), text)]).unwrap_err();
            assert!(problem.starts_with(&format!("{name}: ")) && problem.contains(part), "{problem}");
        }
        let both = wish(&[("kinetail.dev/config", "a: 1"), ("kinetail.dev/config-map", "b")]).unwrap_err();
        assert!(both.contains("leave one of them out"), "{both}");
    }

    #[test]
    fn unknown_names_are_told_of() {
        let wish = wish(&[("kinetail.dev/strem", "a")]).unwrap();
        assert_eq!(wish.warnings, ["kinetail.dev/strem is not known, and has no effect (did you mean \"stream\"?)"]);
    }

    #[test]
    fn quantities_are_kubernetes() {
        for (value, want) in [
            (json!("64Mi"), Some(67_108_864.0)),
            (json!("1.5k"), Some(1500.0)),
            (json!(12), Some(12.0)),
            (json!("100m"), Some(0.1)),
            (json!("Mi"), None),
            (json!("-1"), None),
            (json!("1e3x"), None),
            (json!([]), None),
        ] {
            assert_eq!(quantity(&value), want, "{value}");
        }
    }
}
