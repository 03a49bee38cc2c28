//! Where settings come from: a document, the environment and the flags, laid over each other. Reads no environment itself.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::problem::{Place, Problem, Problems, did_you_mean, listed};
use super::schema::Setting;
use super::tree::{Kind, Node};
use super::yaml;

/// The variable that holds a whole document.
pub const CONFIG_VARIABLE: &str = "KINETAIL_CONFIG";

/// What the names of all variables begin with.
pub const VARIABLE_PREFIX: &str = "KINETAIL_";

/// What names files without a document.
const PATHS_VARIABLE: &str = "KINETAIL_PATHS";
const PATHS_FLAG: &str = "paths";

/// The platform's own variable for the region, which counts where nothing else says one.
const AWS_REGION: &str = "AWS_REGION";

/// Everything that settings come from. Flags count more than the environment, and that more than the document.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file that `--config` names.
    pub file: Option<Document>,
    /// The environment's variables; those that are not kinetail's do no harm.
    pub environment: BTreeMap<String, String>,
    /// The flags that were given, by their names without dashes.
    pub flags: BTreeMap<String, String>,
}

/// Settings below all others: they count where nothing else says anything. Sources are taken together: any of the document's own win over all of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Base {
    /// The file that they are read off, for messages.
    pub file: String,
    /// The line in it that `kinesis` is from.
    pub line: usize,
    /// The settings of `kinesis`, as an object.
    pub kinesis: serde_json::Value,
    /// The sources.
    pub sources: Vec<BaseSource>,
}

/// A source of such settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BaseSource {
    /// The line that it is from.
    pub line: usize,
    /// Its settings, as an object.
    pub settings: serde_json::Value,
}

impl Base {
    fn node(&self) -> Node {
        let place = |line| Place::Line { document: self.file.as_str().into(), line };
        let sources = self.sources.iter().map(|source| Node::from_json(&place(source.line), &source.settings));
        let mut root = Node::empty_map(&Place::Unset);
        for (name, node) in [
            ("kinesis", Node::from_json(&place(self.line), &self.kinesis)),
            ("sources", Node::list(&Place::Unset, sources)),
        ] {
            if let Some(field) = root.get_or_insert(name, &place(self.line)) {
                *field = node;
            }
        }
        root
    }
}

impl Layers {
    /// Whether anything says what is read: the document, or a variable or flag of paths. What is wrong is told when all of it is loaded.
    pub fn has_sources(&self) -> bool {
        let Some(root) = document(self, &mut Vec::new()) else { return true };
        let in_document = root
            .get("sources")
            .is_some_and(|sources| !matches!(&sources.kind, Kind::Null) && sources.kind != Kind::List(Vec::new()));
        in_document || given(self, PATHS_VARIABLE).is_some() || self.flags.contains_key(PATHS_FLAG)
    }

    /// What a setting is as text, such as `kinesis.stream`, wherever it is set; none if it is not.
    pub fn text(&self, path: &str) -> Option<String> {
        let root = merge(None, self, &super::settings(), &mut Vec::new())?;
        let node = path.split('.').try_fold(&root, |node, name| node.get(name))?;
        match &node.kind {
            Kind::Null | Kind::Bad => None,
            Kind::Text(text) => Some(text.clone()),
            _ => Some(node.to_string()),
        }
    }
}

/// A YAML document and its name in messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The path of the file.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Document {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        // One byte more than allowed shows that there is too much, however large the file is.
        let outcome = std::fs::File::open(path)
            .and_then(|file| file.take(yaml::MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| error.to_string());
        let text = outcome.and_then(|_| {
            if is_too_large(bytes.len()) {
                return Err(TOO_LARGE.to_owned());
            }
            String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8: {}", error.utf8_error()))
        });
        text.map(|text| Self { name: name.clone(), text }).map_err(|error| {
            let message = format!("{} cannot be read: {error}", super::mask::quoted(&name));
            let place = Place::Flag("config".to_owned());
            Problems::new(vec![Problem { place, field: String::new(), message }])
        })
    }
}

/// What is said of a document that is too large.
const TOO_LARGE: &str = "it is larger than 1 MiB, which no configuration is";

fn is_too_large(bytes: usize) -> bool {
    u64::try_from(bytes).is_ok_and(|bytes| bytes > yaml::MAX_DOCUMENT_BYTES)
}

/// The tree that the layers make together, if there is any sense in looking at it.
pub(super) fn merge(
    base: Option<&Base>,
    layers: &Layers,
    settings: &[Setting],
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    unknown_variables(layers, settings, problems);
    let mut root = document(layers, problems)?;
    if let Some(base) = base {
        root.fill(&base.node());
    }
    for setting in settings {
        let variable = setting.variable.as_deref().and_then(|name| Some((name, given(layers, name)?)));
        if let Some((name, value)) = variable {
            lay(&mut root, setting, &Place::Variable(name.to_owned()), value, problems);
        }
        let flag = setting.flag.as_deref().and_then(|name| Some((name, layers.flags.get(name)?)));
        if let Some((name, value)) = flag {
            lay(&mut root, setting, &Place::Flag(name.to_owned()), value, problems);
        }
    }
    if let Some(region) = given(layers, AWS_REGION) {
        let place = Place::Variable(AWS_REGION.to_owned());
        let field = root.get_or_insert("kinesis", &place).and_then(|kinesis| kinesis.get_or_insert("region", &place));
        if let Some(field) = field.filter(|field| field.kind == Kind::Null) {
            *field = Node::text(&place, region);
        }
    }
    Some(root)
}

/// A variable's value. An empty one counts as not set, as templates leave it behind.
fn given<'a>(layers: &'a Layers, name: &str) -> Option<&'a str> {
    layers.environment.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
}

fn document(layers: &Layers, problems: &mut Vec<Problem>) -> Option<Node> {
    let inline = given(layers, CONFIG_VARIABLE);
    let inline = inline.map(|text| Document { name: CONFIG_VARIABLE.to_owned(), text: text.to_owned() });
    let document = match (&layers.file, &inline) {
        (Some(file), Some(_)) => {
            let message = format!("is set, and --config {} is given too; use one of them", file.name);
            let place = Place::Variable(CONFIG_VARIABLE.to_owned());
            problems.push(Problem { place, field: String::new(), message });
            file
        }
        (Some(document), None) | (None, Some(document)) => document,
        (None, None) => return Some(Node::empty_map(&Place::Unset)),
    };
    if is_too_large(document.text.len()) {
        let place = Place::Line { document: document.name.as_str().into(), line: 1 };
        problems.push(Problem { place, field: String::new(), message: TOO_LARGE.to_owned() });
        return None;
    }
    yaml::parse(document, problems)
}

/// Lays the value of a variable or flag over what is below it.
fn lay(root: &mut Node, setting: &Setting, place: &Place, value: &str, problems: &mut Vec<Problem>) {
    let Some(node) = value_of(setting, place, value, problems) else { return };
    if let Some(field) = setting.path.strip_prefix("sources[].") {
        return lay_source(root, field, place, &node, problems);
    }
    let mut target = Some(root);
    for name in setting.path.split('.') {
        target = target.and_then(|target| target.get_or_insert(name, place));
    }
    if let Some(target) = target {
        *target = node;
    }
}

fn value_of(setting: &Setting, place: &Place, value: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let (first, second) = value.split_once(',').map_or((value, None), |(first, second)| (first, Some(second)));
    match setting.path.as_str() {
        "log.level" => Some(Node::text(place, first.trim())),
        "log.format" => second.map(|format| Node::text(place, format.trim())),
        "sources[].parse" if second.is_none() => Some(Node::text(place, value.trim())),
        "sources[].paths" | "sources[].parse" | "sources[].add.metadata" => {
            let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
            let list = Node::list(place, items.map(|item| Node::text(place, item)));
            if list.kind == Kind::List(Vec::new()) {
                let message = format!("names nothing; allowed: {}, separated by commas", setting.allowed);
                problems.push(Problem { place: place.clone(), field: String::new(), message });
                return Some(Node { place: place.clone(), kind: Kind::Bad });
            }
            Some(list)
        }
        _ => Some(Node::text(place, value.trim())),
    }
}

/// Sets a field of every source, or makes the first one. The paths are of one source only: of several, which one?
fn lay_source(root: &mut Node, field: &str, place: &Place, value: &Node, problems: &mut Vec<Problem>) {
    let Some(sources) = root.get_or_insert("sources", place) else { return };
    if sources.kind == Kind::Null || sources.kind == Kind::List(Vec::new()) {
        *sources = Node::list(place, [Node::empty_map(place)]);
    }
    let Kind::List(items) = &mut sources.kind else { return };
    if field == "paths" && items.len() > 1 {
        let message = format!(
            "the document has {} sources, and the paths of which are meant is unclear; \
            set them in the document",
            items.len()
        );
        problems.push(Problem { place: place.clone(), field: "sources[].paths".to_owned(), message });
        return;
    }
    for item in items {
        let inner = field.split('.').try_fold(item, |item, name| item.get_or_insert(name, place));
        if let Some(target) = inner {
            *target = value.clone();
        }
    }
}

fn unknown_variables(layers: &Layers, settings: &[Setting], problems: &mut Vec<Problem>) {
    let known = || {
        let mut names: Vec<&str> = settings.iter().filter_map(|setting| setting.variable.as_deref()).collect();
        names.push(CONFIG_VARIABLE);
        names.sort_unstable();
        names.dedup();
        names
    };
    for (name, value) in &layers.environment {
        let Some(suffix) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
        if is_service_link(suffix, value) || known().contains(&name.as_str()) {
            continue;
        }
        let short = || known().into_iter().filter_map(|known| known.strip_prefix(VARIABLE_PREFIX));
        let hint = match super::problem::nearest(suffix, short()) {
            Some(nearest) => did_you_mean(name, [format!("{VARIABLE_PREFIX}{nearest}").as_str()]),
            None => String::new(),
        };
        let message = format!("is not a variable of kinetail; allowed: {}{hint}", listed(known()));
        let place = Place::Variable(name.clone());
        problems.push(Problem { place, field: String::new(), message });
    }
}

/// Whether Kubernetes made a variable, given the part of its name after the prefix: it makes some for every Service in
/// the namespace, such as `KINETAIL_SERVICE_HOST` and `KINETAIL_PORT_9464_TCP_ADDR` for one that is called `kinetail`, and
/// `KINETAIL_LOGS_PORT` for `kinetail-logs`. That last one is a URL; a plain number is from a person, who means a setting.
fn is_service_link(suffix: &str, value: &str) -> bool {
    if suffix.starts_with("PORT") || suffix.starts_with("SERVICE_PORT") || suffix == "SERVICE_HOST" {
        return true;
    }
    let has_number = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    suffix.ends_with("_SERVICE_HOST")
        || suffix.contains("_SERVICE_PORT")
        || (suffix.ends_with("_PORT") && value.contains("://"))
        || suffix.split_once("_PORT_").is_some_and(has_number)
}
