//! Raw → [`Config`]: what the values mean, in their final units, with every problem of meaning. Not their shape.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::limits::{self, Quantity, Range, Size};
use super::mask::quoted;
use super::problem::{Place, Problem, did_you_mean, listed};
use super::raw::{
    Amount, RawAdd, RawAdmin, RawCheckpoint, RawConfig, RawForward, RawLog, RawShutdown, RawSource, RawSpool,
};
use super::walk::Walked;
use super::{
    AddFields, AdminConfig, CheckpointConfig, Config, Demand, Encoding, FireLens, ForwardSettings, LogConfig,
    OnParseError, ReloadConfig, ShutdownConfig, SourceConfig, SourceKind, SpoolConfig,
};
use crate::enrich::Chosen;
use crate::parse::TOPS;

/// The configuration; it is only good if no problem was added.
pub(super) fn resolve(raw: RawConfig, walked: Walked, demand: Demand, problems: &mut Vec<Problem>) -> Config {
    let mut resolver = Resolver { places: walked.places, bad: walked.bad, demand, problems };
    let config = Config {
        state_dir: resolver.directory("state_dir", raw.state_dir.as_deref().unwrap_or(limits::STATE_DIR)),
        memory_limit: resolver.size("memory_limit", raw.memory_limit, &limits::MEMORY_LIMIT),
        firelens: resolver.firelens(raw.firelens.as_deref()),
        sources: resolver.sources(raw.sources.unwrap_or_default()),
        kinesis: resolver.kinesis(raw.kinesis.unwrap_or_default()),
        checkpoint: resolver.checkpoint(raw.checkpoint.unwrap_or_default()),
        spool: resolver.spool(raw.spool.unwrap_or_default()),
        admin: resolver.admin(raw.admin.unwrap_or_default()),
        shutdown: resolver.shutdown(raw.shutdown.unwrap_or_default()),
        reload: ReloadConfig { watch: raw.reload.unwrap_or_default().watch.unwrap_or(false) },
        log: log(&raw.log.unwrap_or_default()),
    };
    resolver.relations(&config);
    resolver.streams(&config.sources, &config.kinesis);
    config
}

fn log(raw: &RawLog) -> LogConfig {
    LogConfig { level: raw.level.unwrap_or(limits::LOG_LEVEL), format: raw.format.unwrap_or(limits::LOG_FORMAT) }
}

pub(super) struct Resolver<'a> {
    pub(super) places: BTreeMap<String, Place>,
    bad: BTreeSet<String>,
    demand: Demand,
    problems: &'a mut Vec<Problem>,
}

impl Resolver<'_> {
    pub(super) fn report(&mut self, path: &str, message: String) {
        let place = self.places.get(path).cloned().unwrap_or(Place::Unset);
        self.bad.insert(path.to_owned());
        self.problems.push(Problem { place, field: path.to_owned(), message });
    }

    /// Whether a problem of this field, or of what it is a part of, was reported.
    pub(super) fn is_bad(&self, path: &str) -> bool {
        let is_within = |outer: &String| {
            outer.is_empty()
                || path.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.bad.iter().any(is_within)
    }

    /// Whether a problem of a part of this field was reported.
    pub(super) fn has_bad_part(&self, path: &str) -> bool {
        self.bad.iter().any(|bad| bad.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Reports a setting that is missing, at the innermost thing in the document that it should be a part of.
    pub(super) fn missing(&mut self, path: &str, help: &str) {
        if self.demand != Demand::Partial {
            self.required(path, help);
        }
    }

    /// The same of a setting without which what is around it means nothing, whatever else the configuration has to say.
    pub(super) fn required(&mut self, path: &str, help: &str) {
        if self.is_bad(path) {
            return;
        }
        let mut outer = Some(path);
        let mut place = Place::Unset;
        while let Some(name) = outer {
            if let Some(found @ Place::Line { .. }) = self.places.get(name) {
                place = found.clone();
                break;
            }
            outer = if name.is_empty() {
                None
            } else {
                Some(name.rsplit_once(['.', '[']).map_or("", |(before, _)| before))
            };
        }
        self.bad.insert(path.to_owned());
        self.problems.push(Problem { place, field: path.to_owned(), message: format!("is required; {help}") });
    }

    pub(super) fn amount<T: Quantity>(&mut self, path: &str, raw: Option<Amount>, range: &Range<T>) -> T {
        let Some(Amount(value)) = raw else { return range.default };
        let (text, shown) = match &value {
            serde_json::Value::String(text) => (text.trim().to_owned(), quoted(text)),
            other => (other.to_string(), other.to_string()),
        };
        let allowed = range.allowed();
        let message = match T::parse(&text) {
            Some(amount) if amount < range.min => format!("{shown} is too small; allowed: {allowed}"),
            Some(amount) if amount > range.max => format!("{shown} is too large; allowed: {allowed}"),
            Some(amount) => return amount,
            None => format!("{shown} is not {}; allowed: {allowed}{}", T::NOUN, T::hint(&text)),
        };
        self.report(path, message);
        range.default
    }

    pub(super) fn size(&mut self, path: &str, raw: Option<Amount>, range: &Range<Size>) -> usize {
        let size = self.amount(path, raw, range);
        usize::try_from(size.0).unwrap_or_else(|_| {
            self.report(path, format!("{size} is more than this machine can address"));
            usize::MAX
        })
    }

    pub(super) fn directory(&mut self, path: &str, value: &str) -> PathBuf {
        if value.is_empty() {
            self.report(path, "is empty; allowed: an absolute path".to_owned());
        } else if !Path::new(value).is_absolute() {
            let message = format!(
                "{} is a relative path, which means another place wherever kinetail is started; write it from the root, \
                 such as {}",
                quoted(value),
                quoted(&format!("/{}", value.trim_start_matches("./")))
            );
            self.report(path, message);
        }
        PathBuf::from(value)
    }

    fn firelens(&mut self, text: Option<&str>) -> FireLens {
        match text.unwrap_or(limits::FIRELENS_AUTO) {
            limits::FIRELENS_AUTO => FireLens::Auto,
            limits::FIRELENS_OFF => FireLens::Off,
            path if Path::new(path).is_absolute() => FireLens::File(PathBuf::from(path)),
            other => {
                let words = [limits::FIRELENS_AUTO, limits::FIRELENS_OFF];
                let (list, hint) = (listed(words), did_you_mean(other, words));
                let message = format!("{} is not one of {list}, and no absolute path{hint}", quoted(other));
                self.report("firelens", message);
                FireLens::Off
            }
        }
    }

    fn sources(&mut self, mut raw: Vec<RawSource>) -> Vec<SourceConfig> {
        if raw.is_empty() && self.demand == Demand::Partial {
            raw.push(RawSource::default());
        }
        if self.demand == Demand::Exec && !raw.iter().any(is_for_a_command) {
            raw.push(RawSource::default());
        }
        if raw.is_empty() {
            self.missing("sources", "name the files to read: in the document, with KINETAIL_PATHS or with --paths");
        }
        let names = self.names(&raw);
        let mut sources = Vec::new();
        for (index, (source, name)) in raw.into_iter().zip(names).enumerate() {
            let source = self.source(&format!("sources[{index}]"), source, name);
            sources.push(source);
        }
        self.unique_paths(&sources);
        sources
    }

    /// The names of the sources: those that are given, and free ones for the others.
    fn names(&mut self, raw: &[RawSource]) -> Vec<String> {
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, source) in raw.iter().enumerate() {
            let Some(name) = source.name.as_deref() else { continue };
            let path = format!("sources[{index}].name");
            if let Some(problem) = name_problem(name, limits::MAX_SOURCE_NAME_CHARS) {
                self.report(&path, problem);
            } else if let Some(first) = taken.get(name) {
                let message = format!("{} is the name of sources[{first}] too; give each its own", quoted(name));
                self.report(&path, message);
            }
            taken.entry(name).or_insert(index);
        }
        let mut names: Vec<String> = Vec::new();
        for source in raw {
            let base = match self.kind_of(source) {
                SourceKind::File => limits::SOURCE_NAME,
                other => other.as_str(),
            };
            let is_free = |name: &String| !taken.contains_key(name.as_str()) && !names.contains(name);
            // One of these is free: there are fewer sources than that.
            let numbered = (2..=raw.len() + 1).map(|n| format!("{base}-{n}"));
            let free = std::iter::once(base.to_owned()).chain(numbered).find(is_free);
            names.push(source.name.clone().or(free).unwrap_or_default());
        }
        names
    }

    /// What a source is that does not say it.
    fn kind_of(&self, raw: &RawSource) -> SourceKind {
        let paths = raw.paths.as_deref().unwrap_or_default();
        raw.kind.unwrap_or(match paths {
            [path] if path == STDIN => SourceKind::Stdin,
            [] if self.demand == Demand::Exec => SourceKind::Exec,
            _ => SourceKind::File,
        })
    }

    /// What a source reads, and where.
    fn paths(&mut self, path: &str, kind: SourceKind, raw: Option<Vec<String>>) -> Vec<String> {
        let mut paths = raw.unwrap_or_default();
        let paths_path = format!("{path}.paths");
        match kind {
            SourceKind::Stdin if paths == [STDIN] => paths.clear(),
            SourceKind::Stdin | SourceKind::Exec | SourceKind::Forward if !paths.is_empty() => {
                let message = format!("does not go with type: {}, which has no files; remove it", kind.as_str());
                self.report(&paths_path, message);
            }
            SourceKind::Fifo if paths.len() != 1 => self.missing(&paths_path, "a fifo has one path"),
            SourceKind::File if paths.is_empty() => {
                self.missing(
                    &paths_path,
                    "name the files to read, as globs: here, with KINETAIL_PATHS or with --paths",
                );
            }
            SourceKind::Stdin | SourceKind::Exec | SourceKind::Forward | SourceKind::Fifo | SourceKind::File => {}
        }
        if kind == SourceKind::Exec && self.demand == Demand::Complete {
            let message = "is exec, and there is no command: start it with kinetail exec -- COMMAND".to_owned();
            self.report(&format!("{path}.type"), message);
        }
        for (index, glob) in paths.iter().enumerate() {
            self.glob(&format!("{paths_path}[{index}]"), glob);
        }
        paths
    }

    fn source(&mut self, path: &str, raw: RawSource, name: String) -> SourceConfig {
        let stream = self.source_stream(path, &raw);
        let kind = self.kind_of(&raw);
        let paths = self.paths(path, kind, raw.paths);
        let fifo_mode = self.fifo_mode(&format!("{path}.mode"), kind, raw.mode);
        let forward = self.forward(&format!("{path}.forward"), kind, raw.forward);
        if kind == SourceKind::Forward && raw.on_parse_error.is_some_and(|policy| policy != OnParseError::Keep) {
            let message =
                "does not go with type: forward, whose records stay as they are where log is no JSON object; remove it";
            self.report(&format!("{path}.on_parse_error"), message.to_owned());
        }
        let exclude = raw.exclude.unwrap_or_default();
        for (index, glob) in exclude.iter().enumerate() {
            self.exclude(&format!("{path}.exclude[{index}]"), glob);
        }
        let deleted = raw.deleted.unwrap_or_default();
        let shape = self.shape(path, raw.timestamp, raw.level, raw.names, raw.transforms.unwrap_or_default());
        SourceConfig {
            name,
            kind,
            fifo_mode,
            forward,
            stream,
            paths,
            exclude,
            oldest_first: raw.oldest_first.unwrap_or(false),
            deleted_max_wait: self
                .amount(&format!("{path}.deleted.max_wait"), deleted.max_wait, &limits::DELETED_MAX_WAIT)
                .0,
            start_at: raw.start_at.unwrap_or(limits::START_AT),
            max_line_bytes: self.size(&format!("{path}.max_line_bytes"), raw.max_line_bytes, &limits::MAX_LINE_BYTES),
            long_lines: raw.long_lines.unwrap_or(limits::LONG_LINES),
            format: raw.format.unwrap_or(limits::LINE_FORMAT),
            partial_line_timeout: self
                .amount(
                    &format!("{path}.partial_line_timeout"),
                    raw.partial_line_timeout,
                    &limits::PARTIAL_LINE_TIMEOUT,
                )
                .0,
            multiline: raw.multiline.map(|raw| self.multiline(&format!("{path}.multiline"), raw)),
            encoding: self.encoding(&format!("{path}.encoding"), raw.encoding.as_deref()),
            parse: self.parser(&format!("{path}.parse"), raw.parse.as_ref()),
            shape,
            on_parse_error: raw.on_parse_error.unwrap_or(limits::ON_PARSE_ERROR),
            add: self.add(&format!("{path}.add"), raw.add.unwrap_or_default()),
            rotate_wait: self.amount(&format!("{path}.rotate_wait"), raw.rotate_wait, &limits::ROTATE_WAIT).0,
        }
    }

    fn fifo_mode(&mut self, path: &str, kind: SourceKind, raw: Option<String>) -> u32 {
        if raw.is_some() && kind != SourceKind::Fifo {
            self.report(path, format!("does not go with type: {}; remove it, or write type: fifo", kind.as_str()));
        }
        let text = raw.unwrap_or_else(|| limits::FIFO_MODE.to_owned());
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.unwrap_or_else(|| {
            let (shown, such) = (quoted(&text), limits::FIFO_MODE);
            self.report(path, format!("{shown} is no mode; allowed: permissions in octal, such as \"{such}\""));
            0
        })
    }

    /// A name without a directory needs none.
    fn exclude(&mut self, path: &str, glob: &str) {
        if glob.is_empty() || glob.contains('/') {
            self.glob(path, glob);
        } else {
            self.glob(path, &format!("/{glob}"));
        }
    }

    fn encoding(&mut self, path: &str, label: Option<&str>) -> Encoding {
        let found = label.map_or(Some(Encoding::Auto), Encoding::of_label);
        found.unwrap_or_else(|| {
            let label = label.unwrap_or_default();
            // Those that people name most; there are some two hundred labels.
            let common = [
                "auto",
                "utf-8",
                "utf-16le",
                "utf-16be",
                "windows-1252",
                "iso-8859-1",
                "shift_jis",
                "euc-kr",
                "big5",
                "gb18030",
            ];
            let (list, hint) = (listed(common), did_you_mean(label, common));
            self.report(
                path,
                format!("{} is not an encoding; allowed: a label of the WHATWG's, such as {list}{hint}", quoted(label)),
            );
            Encoding::Auto
        })
    }

    fn glob(&mut self, path: &str, glob: &str) {
        if self.is_bad(path) {
            return;
        }
        if glob.is_empty() {
            return self.report(path, "is empty; write a glob of an absolute path, or remove the item".to_owned());
        }
        if !Path::new(glob).is_absolute() {
            self.directory(path, glob);
        } else if let Err(error) = glob::Pattern::new(glob) {
            let message = format!("{} is not a glob: {} at character {}", quoted(glob), error.msg, error.pos + 1);
            self.report(path, message);
        }
    }

    /// One glob in two places would have each of its files read twice.
    fn unique_paths(&mut self, sources: &[SourceConfig]) {
        let mut first: BTreeMap<&str, String> = BTreeMap::new();
        for (source, config) in sources.iter().enumerate() {
            for (index, glob) in config.paths.iter().enumerate() {
                let path = format!("sources[{source}].paths[{index}]");
                if self.is_bad(&path) {
                    continue;
                }
                if let Some(other) = first.get(glob.as_str()) {
                    let message = format!("{} is in {other} too; a file is read by one source only", quoted(glob));
                    self.report(&path, message);
                } else {
                    first.insert(glob, path);
                }
            }
        }
    }

    fn add(&mut self, path: &str, raw: RawAdd) -> AddFields {
        let add = AddFields {
            fields: raw.fields.unwrap_or_default(),
            host: raw.host.unwrap_or(false),
            path: raw.path.unwrap_or(false),
            offset: raw.offset.unwrap_or(false),
            id: raw.id.unwrap_or(false),
            stream: raw.stream.unwrap_or(true),
            time: raw.time.unwrap_or(true),
            tag: raw.tag.unwrap_or(true),
            kubernetes: raw.kubernetes.unwrap_or(true),
            metadata: raw.metadata.unwrap_or_default(),
        };
        for (name, is_on, by) in [
            ("host", add.host, "host"),
            ("path", add.path, "path"),
            ("offset", add.offset, "offset"),
            ("_id", add.id, "id"),
        ] {
            if is_on && add.fields.contains_key(name) {
                let message = format!("is added by {path}.{by} too; rename the field, or switch that off");
                self.report(&format!("{path}.fields.{name}"), message);
            }
        }
        if add.fields.contains_key("") {
            self.report(&format!("{path}.fields."), "a field has no name".to_owned());
        }
        self.metadata(path, &add);
        add
    }

    /// Names that are known, and objects that nothing else has the name of.
    fn metadata(&mut self, path: &str, add: &AddFields) {
        for (index, name) in add.metadata.iter().enumerate() {
            let item = format!("{path}.metadata[{index}]");
            if let Err(error) = Chosen::parse(&[name])
                && !self.is_bad(&item)
            {
                self.report(&item, error.to_string());
            }
        }
        let Ok(chosen) = Chosen::parse(&add.metadata) else { return };
        for top in TOPS.into_iter().filter(|top| chosen.wants(top)) {
            let fixed = format!("{path}.fields.{top}");
            if add.fields.contains_key(top) {
                self.report(&fixed, format!("is added by {path}.metadata too; rename the field, or leave that out"));
            } else if top == "host" && add.host {
                let message =
                    format!("is added by {path}.metadata too, as an object; switch this off, or leave that out");
                self.report(&format!("{path}.host"), message);
            }
        }
    }

    fn checkpoint(&mut self, raw: RawCheckpoint) -> CheckpointConfig {
        let path = "checkpoint.expire_after";
        CheckpointConfig { expire_after: self.amount(path, raw.expire_after, &limits::EXPIRE_AFTER).0 }
    }

    fn forward(&mut self, path: &str, kind: SourceKind, raw: Option<RawForward>) -> ForwardSettings {
        if kind != SourceKind::Forward {
            if raw.is_some() {
                let message = format!("does not go with type: {}; remove it, or write type: forward", kind.as_str());
                self.report(path, message);
            }
            return ForwardSettings::default();
        }
        let raw = raw.unwrap_or_default();
        // With a socket of its own it needs no port.
        let default = if raw.unix.is_some() { Vec::new() } else { vec![limits::FORWARD_LISTEN.to_owned()] };
        let mut listen = Vec::new();
        for (index, address) in raw.listen.unwrap_or(default).iter().enumerate() {
            if let Ok(address) = address.parse() {
                listen.push(address);
                continue;
            }
            let (shown, such) = (quoted(address), limits::FORWARD_LISTEN);
            let message = format!("{shown} is not an address; allowed: an IP address and port, such as {such}");
            self.report(&format!("{path}.listen[{index}]"), message);
        }
        let mut file = |name: &str, value: Option<String>| value.map(|v| self.directory(&format!("{path}.{name}"), &v));
        let unix = file("unix", raw.unix);
        let tls = match (file("tls_certificate", raw.tls_certificate), file("tls_key", raw.tls_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => self.half_of_tls(path, "tls_certificate", "tls_key"),
            (None, Some(_)) => self.half_of_tls(path, "tls_key", "tls_certificate"),
        };
        let connections =
            self.amount(&format!("{path}.max_connections"), raw.max_connections, &limits::FORWARD_CONNECTIONS);
        ForwardSettings {
            listen,
            unix,
            shared_key: raw.shared_key,
            tls,
            max_message_bytes: self.size(
                &format!("{path}.max_message_bytes"),
                raw.max_message_bytes,
                &limits::FORWARD_MESSAGE_BYTES,
            ),
            max_connections: usize::try_from(connections).expect("the range ends at 65,536"),
            idle_timeout: self
                .amount(&format!("{path}.idle_timeout"), raw.idle_timeout, &limits::FORWARD_IDLE_TIMEOUT)
                .0,
        }
    }

    fn half_of_tls(&mut self, path: &str, given: &str, missing: &str) -> Option<(PathBuf, PathBuf)> {
        self.report(&format!("{path}.{given}"), format!("needs {missing} beside it"));
        None
    }

    fn spool(&mut self, raw: RawSpool) -> SpoolConfig {
        let path = "spool.segment_bytes";
        let max_bytes = self.amount("spool.max_bytes", raw.max_bytes, &limits::SPOOL_MAX_BYTES).0;
        let is_given = raw.segment_bytes.is_some();
        let mut segment_bytes = self.amount(path, raw.segment_bytes, &limits::SPOOL_SEGMENT_BYTES).0;
        if segment_bytes > max_bytes / 2 && !self.is_bad(path) && !self.is_bad("spool.max_bytes") {
            if is_given {
                let (segment, most) = (Size(segment_bytes), Size(max_bytes));
                let message =
                    format!("{segment} is more than half of spool.max_bytes, {most}; lower it, or raise max_bytes");
                self.report(path, message);
            }
            segment_bytes = max_bytes / 4;
        }
        SpoolConfig {
            max_bytes,
            segment_bytes,
            on_full: raw.on_full.unwrap_or(limits::SPOOL_ON_FULL),
            fsync: raw.fsync.unwrap_or(limits::SPOOL_FSYNC),
        }
    }

    fn admin(&mut self, raw: RawAdmin) -> AdminConfig {
        AdminConfig {
            listen: self.listen(raw.listen.as_deref().unwrap_or(limits::ADMIN_LISTEN)),
            ready_max_age: self.amount("admin.ready_max_age", raw.ready_max_age, &limits::READY_MAX_AGE).0,
            watchdog: Some(self.amount("admin.watchdog", raw.watchdog, &limits::WATCHDOG).0)
                .filter(|limit| !limit.is_zero()),
        }
    }

    fn listen(&mut self, listen: &str) -> Option<SocketAddr> {
        if listen == limits::ADMIN_OFF {
            return None;
        }
        if let Ok(address) = listen.parse() {
            return Some(address);
        }
        let port = listen.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let hint = match (port, listen.strip_prefix("localhost:")) {
            (_, Some(port)) => format!(" (did you mean \"127.0.0.1:{port}\"?)"),
            (Some(port), None) => format!(" (did you mean \"0.0.0.0:{port}\"?)"),
            (None, None) => String::new(),
        };
        let allowed = "an IP address and port, such as 0.0.0.0:9464, or off";
        self.report("admin.listen", format!("{} is not an address; allowed: {allowed}{hint}", quoted(listen)));
        None
    }

    fn shutdown(&mut self, raw: RawShutdown) -> ShutdownConfig {
        ShutdownConfig { timeout: self.amount("shutdown.timeout", raw.timeout, &limits::SHUTDOWN_TIMEOUT).0 }
    }

    /// What is right by itself and wrong together: nothing that has to be in memory as a whole may be larger than it.
    fn relations(&mut self, config: &Config) {
        let lines = config.sources.iter().enumerate();
        let mut parts: Vec<(String, usize)> =
            lines.map(|(index, source)| (format!("sources[{index}].max_line_bytes"), source.max_line_bytes)).collect();
        let aggregate = &config.kinesis.aggregate;
        parts.push(("kinesis.aggregate.target_bytes".to_owned(), aggregate.target_bytes));
        parts.extend(aggregate.max_bytes.map(|bytes| ("kinesis.aggregate.max_bytes".to_owned(), bytes)));
        for (path, bytes) in parts {
            if bytes <= config.memory_limit || self.is_bad(&path) || self.is_bad("memory_limit") {
                continue;
            }
            let (bytes, limit) = (shown_size(bytes), shown_size(config.memory_limit));
            if self.places.contains_key(&path) {
                let message = format!("{bytes} is more than memory_limit, {limit}; lower it, or raise memory_limit");
                self.report(&path, message);
            } else {
                let message = format!("{limit} is less than {path}, {bytes}; raise it, or lower {path}");
                self.report("memory_limit", message);
            }
        }
    }
}

/// The path that stands for stdin.
const STDIN: &str = "-";

/// Whether a source says that it is a command's output, or says nothing of what it reads.
fn is_for_a_command(source: &RawSource) -> bool {
    source.kind == Some(SourceKind::Exec) || (source.kind.is_none() && source.paths.as_ref().is_none_or(Vec::is_empty))
}

/// A size of the checked configuration, for people.
pub(super) fn shown_size(bytes: usize) -> Size {
    Size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// What is wrong with a name of a stream or source.
pub(super) fn name_problem(name: &str, max_chars: usize) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let chars = name.chars().count();
    let allowed = format!("1 to {max_chars} letters, digits, \"_\", \".\" and \"-\"");
    if chars == 0 {
        return Some(format!("is empty; allowed: {allowed}"));
    }
    if chars > max_chars {
        return Some(format!("{} has {chars} characters; allowed: {allowed}", quoted(name)));
    }
    let wrong = name.chars().find(|&c| !is_allowed(c))?;
    Some(format!("{} contains {}; allowed: {allowed}", quoted(name), quoted(&wrong.to_string())))
}
