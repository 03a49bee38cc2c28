//! A plan as settings of kinetail, below all that is set otherwise, and the way of each tag to the source that its events are of. What a plan has
//! that one configuration cannot have, since kinetail sends to one region in one format, is noted.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::note::{Note, Weight};
use super::{Destination, HEALTH_TAG, Output, Pattern, Plan, TimeFormat, container, tag};
use crate::config::{Base, BaseSource, Compression, Format};
use crate::route::Template;

/// The socket that the ECS agent has containers send to.
const SOCKET: &str = "/var/run/fluent.sock";
/// The source of what no output names, where there is a stream for it.
const REST: &str = "firelens";
/// Streams that there may be without a word of it, as the configuration has it.
const USUAL_STREAMS: usize = 16;
/// Characters of a source's name that is made of a pattern; the number that may follow fits into what a name may have.
const MAX_NAME_CHARS: usize = 100;

/// What is done in the place of Fluent Bit.
#[derive(Debug)]
pub struct Taken {
    /// The settings.
    pub base: Base,
    /// What becomes of events by their tags.
    pub dispatch: Dispatch,
    /// What is not honoured, or not as it is written.
    pub notes: Vec<Note>,
    /// How many more there were of these that lose no event.
    pub unsaid: usize,
}

/// Which events are of which source.
#[derive(Debug)]
pub struct Dispatch {
    plan: Plan,
    /// The source of each output; none if it cannot be sent to.
    sources: Vec<Option<String>>,
    /// The source of what no output names.
    rest: Option<String>,
}

/// Where the events of a tag go.
#[derive(Debug)]
pub enum Goes<'a> {
    /// They are of this source, in the shape that an output wants.
    To(&'a str, Option<&'a Output>),
    /// They are dropped, for this reason.
    Dropped(&'static str),
    /// They are no logs.
    NoLog,
}

impl Dispatch {
    /// Where events of a tag go.
    pub fn goes(&self, tag: &str) -> Goes<'_> {
        if tag == HEALTH_TAG {
            return Goes::NoLog;
        }
        match self.plan.destination(tag) {
            Destination::Stream(output) => {
                let at = self.plan.outputs.iter().position(|other| std::ptr::eq(other, output));
                match at.and_then(|at| self.sources.get(at)).and_then(Option::as_deref) {
                    Some(source) => Goes::To(source, Some(output)),
                    None => Goes::Dropped("elsewhere"),
                }
            }
            Destination::Nowhere(_) => Goes::Dropped("elsewhere"),
            Destination::Discarded => Goes::Dropped("discarded"),
            Destination::Unmatched => match &self.rest {
                Some(source) => Goes::To(source, None),
                None => Goes::Dropped("unmatched"),
            },
        }
    }

    /// The plan that it follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether a source gets its events by this.
    pub fn feeds(&self, source: &str) -> bool {
        self.sources.iter().flatten().chain(&self.rest).any(|name| name == source)
    }
}

/// Makes settings of a plan. `set` answers what a setting is elsewhere, which counts more.
pub fn take(mut plan: Plan, file: &Path, set: impl Fn(&str) -> Option<String>) -> Taken {
    let (mut notes, unsaid) = (std::mem::take(&mut plan.unsupported), plan.unsaid);
    let file = file.display().to_string();
    let reach = Reach::new(&plan, &set, &mut notes);
    let kept: Vec<&Output> = plan.outputs.iter().filter(|output| reach.has(output)).collect();
    let stream = set("kinesis.stream").or_else(|| set("kinesis.stream_arn"));
    if let Some(stream) = stream.as_deref().map(|stream| stream.rsplit('/').next().unwrap_or(stream)) {
        for output in kept.iter().filter(|output| output.stream != stream) {
            let instead =
                format!("{stream} is set in kinesis.stream, which counts more; unset that for streams by container");
            notes.push(note(output, Weight::Differs, ["stream", &output.stream], &instead));
        }
    }
    let kinesis = kinesis(&kept, &reach, &set, &mut notes);
    shapes(&kept, &mut notes);
    let mut taken = BTreeSet::new();
    let names: Vec<Option<String>> =
        plan.outputs.iter().map(|output| reach.has(output).then(|| name_of(&output.pattern, &mut taken))).collect();
    // What no output names has a stream only where somebody gave one; without any, that one is missed.
    let rest = (stream.is_some() || kept.is_empty()).then(|| free(REST, &mut taken));
    let listen = listen(&plan, &file, &mut notes);
    let default = kept.first().map(|output| output.stream.as_str());
    let mut sources: Vec<BaseSource> = Vec::new();
    for (output, name) in plan.outputs.iter().zip(&names) {
        let Some(name) = name else { continue };
        let own = (stream.is_none() && default != Some(&output.stream)).then_some(output.stream.as_str());
        sources.push(BaseSource { line: output.line, settings: source(name, own, &listen) });
    }
    sources.extend(rest.iter().map(|name| BaseSource { line: 1, settings: source(name, None, &listen) }));
    let line = kept.first().map_or(1, |output| output.line);
    let base = Base { file, line, kinesis, sources };
    Taken { base, dispatch: Dispatch { plan, sources: names, rest }, notes, unsaid }
}

fn source(name: &str, stream: Option<&str>, listen: &Value) -> Value {
    json!({
        "name": name,
        "type": "forward",
        "stream": stream,
        "forward": listen,
        // Fluent Bit adds neither.
        "add": { "tag": false, "time": false },
    })
}

fn note(output: &Output, weight: Weight, [key, value]: [&str; 2], instead: &str) -> Note {
    Note {
        weight,
        file: output.file.clone(),
        line: output.line,
        section: "OUTPUT".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        instead: instead.to_owned(),
    }
}

/// Where the agent can send to: one region or address, by one role.
#[derive(Debug, Default, PartialEq)]
struct Reach {
    region: Option<String>,
    endpoint: Option<String>,
    role: Option<(String, Option<String>)>,
    /// Which of them do not count, since they are set elsewhere.
    set: [bool; 3],
}

impl Reach {
    /// That of the first output. Others that need another one are noted.
    fn new(plan: &Plan, set: &impl Fn(&str) -> Option<String>, notes: &mut Vec<Note>) -> Self {
        let region = set("kinesis.region").is_some() || set("kinesis.stream_arn").is_some();
        let is_set = [region, set("kinesis.endpoint").is_some(), set("kinesis.assume_role.arn").is_some()];
        let Some(first) = plan.outputs.first() else { return Self::default() };
        let reach = Self::of(first, is_set);
        for output in plan.outputs.iter().filter(|output| !reach.has(output)) {
            let instead = format!(
                "it is in another region, at another endpoint or by another role than that of line {}, and kinetail sends to one place; what is tagged {} goes nowhere: give its container a task of its own",
                first.line,
                output.pattern.text()
            );
            notes.push(note(output, Weight::Lost, ["stream", &output.stream], &instead));
        }
        reach
    }

    fn of(output: &Output, set: [bool; 3]) -> Self {
        let [region, endpoint, role] = set;
        let arn = output.role_arn.clone().filter(|_| !role);
        Self {
            region: output.region.clone().filter(|_| !region),
            endpoint: output.endpoint.clone().filter(|_| !endpoint),
            role: arn.map(|arn| (arn, output.external_id.clone())),
            set,
        }
    }

    fn has(&self, output: &Output) -> bool {
        *self == Self::of(output, self.set)
    }
}

/// The settings of `kinesis` that all outputs have together.
fn kinesis(outputs: &[&Output], reach: &Reach, set: &impl Fn(&str) -> Option<String>, notes: &mut Vec<Note>) -> Value {
    let Some(first) = outputs.first() else { return json!({}) };
    let streams: BTreeSet<&str> = outputs.iter().map(|output| output.stream.as_str()).collect();
    let role = reach.role.as_ref().map(|(arn, id)| json!({ "arn": arn, "external_id": id }));
    let is_alike =
        outputs.iter().all(|output| (output.format, output.compression) == (first.format, first.compression));
    // Every consumer reads events that are records of their own.
    let (mut format, mut compression) =
        if is_alike { (first.format, first.compression) } else { (Format::Single, Compression::None) };
    if let Some(own) = set("kinesis.format") {
        // What goes with that format is its owner's to say.
        compression = Compression::None;
        format = if own == "lines" { Format::Lines } else { format };
    } else if !is_alike {
        let instead = "the outputs do not agree on it, so that each event is a record of its own, which costs more; set kinesis.format";
        notes.push(note(first, Weight::Differs, ["aggregation", ""], instead));
    }
    let newline = outputs.iter().any(|output| output.newline);
    for output in outputs.iter().filter(|output| output.newline != newline) {
        let instead = "others end events with a newline, and so do these; set kinesis.delimiter to say it for all";
        notes.push(note(output, Weight::Differs, ["append_newline", "false"], instead));
    }
    // Events of one record have to be told apart.
    let delimiter = if newline || format == Format::Lines { "\n" } else { "" };
    json!({
        "stream": set("kinesis.stream_arn").is_none().then_some(&first.stream),
        "region": reach.region,
        "endpoint": reach.endpoint,
        "assume_role": role,
        "format": format,
        "compression": compression,
        "delimiter": delimiter,
        "partition_key": partition_key(outputs, notes),
        "max_streams": (streams.len() > USUAL_STREAMS).then_some(streams.len()),
    })
}

/// One template for all outputs: the first field of these that an event has.
fn partition_key(outputs: &[&Output], notes: &mut Vec<Note>) -> Option<String> {
    let mut fields: Vec<&str> = Vec::new();
    for output in outputs {
        let Some(field) = output.partition_key.as_deref() else { continue };
        if Template::parse(&format!("{{{field}}}")).is_err() {
            let instead = "it is no name of a field that kinetail can look for; set kinesis.partition_key";
            notes.push(note(output, Weight::Differs, ["partition_key", field], instead));
        } else if !fields.contains(&field) {
            fields.push(field);
        }
        let top = field.split('.').next().unwrap_or(field);
        if !output.data_keys.is_empty() && output.data_keys.iter().all(|key| key != top) {
            let instead =
                "it is not one of data_keys, and what is not sent is no key: events have that of their source";
            notes.push(note(output, Weight::Differs, ["partition_key", field], instead));
        }
    }
    if fields.is_empty() {
        return None;
    }
    for output in outputs.iter().filter(|output| output.partition_key.is_none()) {
        let instead = "it has none, and others have: events without their fields have the key of their source; set kinesis.partition_key";
        notes.push(note(output, Weight::Differs, ["partition_key", ""], instead));
    }
    Some(format!("{{{}}}", fields.join("|")))
}

/// Notes what of the shape of events is not as it is written.
fn shapes(outputs: &[&Output], notes: &mut Vec<Note>) {
    for output in outputs.iter().filter(|output| output.time_key.is_some()) {
        for unknown in TimeFormat::parse(&output.time_key_format).1 {
            let instead = format!("{unknown} stands for nothing that kinetail knows, and stays as it is");
            notes.push(note(output, Weight::Differs, ["time_key_format", &output.time_key_format], &instead));
        }
    }
}

/// Where is listened, as settings of a source.
fn listen(plan: &Plan, file: &str, notes: &mut Vec<Note>) -> Value {
    let listen = &plan.listen;
    for unix in listen.unix.iter().skip(1) {
        notes.push(Note {
            weight: Weight::Lost,
            file: file.to_owned(),
            line: 1,
            section: "INPUT".to_owned(),
            key: "unix_path".to_owned(),
            value: unix.path.display().to_string(),
            instead: "kinetail listens at the first socket alone; have all containers use that".to_owned(),
        });
    }
    let unix = listen.unix.first().map_or(Path::new(SOCKET), |unix| &unix.path);
    json!({ "unix": unix.to_string_lossy(), "listen": listen.tcp })
}

/// A source's name for the tags of a pattern: the container's, if they are those of one.
fn name_of(pattern: &Pattern, taken: &mut BTreeSet<String>) -> String {
    let text = pattern.text().trim_end_matches('*');
    let text = container(text).or_else(|| text.strip_suffix(tag::SUFFIX)).unwrap_or(text);
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name: String = text.chars().filter(is_allowed).take(MAX_NAME_CHARS).collect();
    // A directory of the spool has the name of its source.
    let is_name = name.contains(|c: char| c.is_ascii_alphanumeric());
    free(if is_name { &name } else { REST }, taken)
}

fn free(name: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|n: usize| format!("{name}-{n}"));
    let found = std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name));
    let found = found.unwrap_or_default();
    taken.insert(found.clone());
    found
}
