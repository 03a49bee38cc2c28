//! The configuration from outside: what is read, what counts more than what, and the exact words for what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use kinetail::config::{
    Base, BaseSource, Compression, Config, Document, Encoding, FireLens, Format, Layers, LineFormat, LogFormat,
    LogLevel, LongLines, OnParseError, Parser, PartitionKey, Preset, StartAt, StreamRule, Until, schema, settings,
};
use kinetail::level::Numbers;
use kinetail::names::Scheme;
use kinetail::parse::kind::NAMES;
use kinetail::transform::Transform;
use proptest::prelude::*;

/// A document that sets everything to something else than its default.
const FULL: &str = r#"
state_dir: /state
memory_limit: 12MiB
firelens: "off"
sources:
  - name: app
    stream: audit
    paths: [/var/log/app/*.log, "/srv/a b/[0-9].log"]
    exclude: [/var/log/app/debug-*.log, "*.tmp"]
    start_at: end
    max_line_bytes: 50KB
    long_lines: truncate
    format: auto
    partial_line_timeout: 9s
    multiline: { preset: [java, rust], timeout: 2s, max_lines: 50 }
    encoding: Shift_JIS
    parse: json
    on_parse_error: dead_letter
    rotate_wait: 1m 30s
    oldest_first: true
    deleted: { max_wait: 2h }
    add:
      host: true
      path: true
      offset: true
      stream: false
      time: false
      tag: false
      kubernetes: false
      metadata: [ecs.*, kubernetes.labels.app]
      fields: { env: prod, "a \"b\"": [1, 2.5, true, null, { x: "yes" }] }
  - paths:
      - /var/log/nginx/access.log
    stream: logs-{team}
    parse: [nginx, { as: regex, pattern: '^(?P<n>\d+) (?P<text>.*)$', types: { n: int } }, { field: log, as: [json, raw] }]
    timestamp: { field: at, format: [clf, "%d/%m/%Y"], zone: Europe/Paris, name: time }
    level: { field: lvl, numbers: syslog, name: severity }
    names: otel
    transforms:
      - drop: 'status < 400 and path matches "^/health"'
      - sample: { rate: 0.5, key: "{trace_id}" }
      - redact: { presets: [email], patterns: ['\d{3}-\d{2}'] }
      - parse: { field: log, as: json }
    add: { id: true }
kinesis:
  stream: app-logs_1.x
  stream_arn: arn:aws:kinesis:eu-west-1:111122223333:stream/app-logs_1.x
  region: eu-west-1
  endpoint: http://127.0.0.1:4567
  ca_file: /etc/ca.pem
  assume_role: { arn: arn:aws:iam::111122223333:role/logs/writer, external_id: a-b_c, session_name: me@here }
  format: lines
  partition_key: "{kubernetes.namespace}/{app|'it''s none'}"
  explicit_hash_key: "{hash_key}"
  delimiter: "\r\n"
  compression: gzip
  max_in_flight_requests: 7
  max_streams: 3
  hot_key_share: 0.25
  request_timeout: 1500ms
  aggregate: { target_bytes: 8388608, max_bytes: 9MiB, max_records: 500, max_age: 0 }
checkpoint: { expire_after: 2days }
admin: { listen: "[::1]:9465", ready_max_age: 2m, watchdog: 3m }
shutdown: { timeout: 5s }
log: { level: debug, format: json }
"#;

/// The smallest good document.
const SMALL: &str = "sources: [{ paths: [/a] }]\nkinesis: { stream: s }\n";

fn layers(document: Option<&str>, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Layers {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Layers {
        file: document.map(|text| Document { name: "kinetail.yaml".to_owned(), text: text.to_owned() }),
        environment: map(environment),
        flags: map(flags),
    }
}

fn load(document: &str) -> Config {
    Config::load(&layers(Some(document), &[], &[])).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn assert_problems(layers: &Layers, expected: &[&str]) {
    match Config::load(layers) {
        Ok(config) => panic!("no problem in {layers:#?}\n{}", config.effective()),
        Err(problems) => assert_eq!(problems.to_string(), expected.join("\n"), "{layers:#?}"),
    }
}

#[test]
fn everything_can_be_set() {
    let config = load(FULL);
    assert_eq!(config.state_dir, PathBuf::from("/state"));
    assert_eq!(config.memory_limit, 12 * 1024 * 1024);
    let [app, nginx] = config.sources.as_slice() else { panic!("{:?}", config.sources) };
    assert_eq!(app.name, "app");
    assert_eq!(app.paths, ["/var/log/app/*.log", "/srv/a b/[0-9].log"]);
    assert_eq!(app.start_at, StartAt::End);
    assert_eq!(app.max_line_bytes, 50_000);
    assert_eq!(app.long_lines, LongLines::Truncate);
    assert_eq!(app.parse, Parser::json());
    assert_eq!(app.on_parse_error, OnParseError::DeadLetter);
    assert_eq!(app.rotate_wait, Duration::from_secs(90));
    assert_eq!(app.exclude, ["/var/log/app/debug-*.log", "*.tmp"]);
    assert!(app.oldest_first);
    assert_eq!(app.deleted_max_wait, Duration::from_hours(2));
    assert_eq!(config.checkpoint.expire_after, Duration::from_hours(48));
    assert_eq!((app.format, app.partial_line_timeout), (LineFormat::Auto, Duration::from_secs(9)));
    assert_eq!(app.encoding.label(), "shift_jis");
    assert!(app.add.host && app.add.path && app.add.offset);
    assert!(!app.add.stream && !app.add.time && !app.add.kubernetes && !app.add.tag);
    assert_eq!(app.add.metadata, ["ecs.*", "kubernetes.labels.app"]);
    assert_eq!(config.firelens, FireLens::Off);
    let fields = serde_json::json!({ "env": "prod", "a \"b\"": [1, 2.5, true, null, { "x": "yes" }] });
    assert_eq!(serde_json::to_value(&app.add.fields).unwrap(), fields);
    assert_eq!(nginx.name, "files");
    assert_eq!(nginx.paths, ["/var/log/nginx/access.log"]);
    assert_eq!(&**nginx.parse.label(), "nginx,regex,log:json,raw");
    let timestamp = nginx.shape.timestamp.as_ref().unwrap();
    assert_eq!((timestamp.field.as_deref(), timestamp.name.as_str()), (Some("at"), "time"));
    assert_eq!(
        (&timestamp.formats[..], timestamp.zone.as_deref()),
        (&["clf", "%d/%m/%Y"].map(str::to_owned)[..], Some("Europe/Paris"))
    );
    let level = nginx.shape.level.as_ref().unwrap();
    assert_eq!(
        (level.field.as_deref(), level.numbers, level.name.as_str()),
        (Some("lvl"), Numbers::Syslog, "severity")
    );
    assert_eq!(nginx.shape.names, Some(Scheme::Otel));
    let transforms: Vec<_> = nginx.shape.pipeline.transforms().iter().map(Transform::name).collect();
    assert_eq!(transforms, ["drop", "sample", "redact", "parse"]);
    assert!(nginx.add.id && app.shape.is_empty());
    let kinesis = &config.kinesis;
    assert_eq!(kinesis.stream, "app-logs_1.x");
    assert_eq!(kinesis.region.as_deref(), Some("eu-west-1"));
    assert_eq!(kinesis.endpoint.as_deref(), Some("http://127.0.0.1:4567"));
    assert_eq!(kinesis.ca_file, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!(kinesis.format, Format::Lines);
    let PartitionKey::Template(template) = &kinesis.partition_key else { panic!("{kinesis:?}") };
    assert_eq!(template.text(), "{kubernetes.namespace}/{app|'it''s none'}");
    assert_eq!(kinesis.explicit_hash_key.as_ref().map(|template| template.text()), Some("{hash_key}"));
    assert_eq!((kinesis.delimiter.as_str(), kinesis.compression), ("\r\n", Compression::Gzip));
    assert_eq!(kinesis.stream_arn.as_deref(), Some("arn:aws:kinesis:eu-west-1:111122223333:stream/app-logs_1.x"));
    let role = kinesis.assume_role.as_ref().unwrap();
    assert_eq!(role.arn, "arn:aws:iam::111122223333:role/logs/writer");
    assert_eq!((role.external_id.as_deref(), role.session_name.as_str()), (Some("a-b_c"), "me@here"));
    assert_eq!((kinesis.max_streams, kinesis.hot_key_share), (3, 0.25));
    assert_eq!(app.stream, Some(StreamRule::Name("audit".to_owned())));
    assert_eq!(nginx.stream.as_ref().map(StreamRule::text), Some("logs-{team}"));
    assert_eq!((kinesis.aggregate.max_bytes, kinesis.aggregate.max_records), (Some(9 << 20), 500));
    assert_eq!(kinesis.max_in_flight_requests, 7);
    assert_eq!(kinesis.request_timeout, Duration::from_millis(1500));
    assert_eq!(kinesis.aggregate.target_bytes, 8_388_608);
    assert_eq!(kinesis.aggregate.max_age, Duration::ZERO);
    assert_eq!(config.admin.listen, Some("[::1]:9465".parse().unwrap()));
    assert_eq!(
        (config.admin.ready_max_age, config.admin.watchdog),
        (Duration::from_mins(2), Some(Duration::from_mins(3)))
    );
    assert_eq!(config.shutdown.timeout, Duration::from_secs(5));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
}

#[test]
fn the_rest_has_the_documented_defaults() {
    let config = load(SMALL);
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/kinetail"));
    assert_eq!(config.memory_limit, 12 * 1024 * 1024);
    let source = &config.sources[0];
    assert_eq!(source.name, "files");
    assert_eq!(source.start_at, StartAt::Beginning);
    assert_eq!(source.max_line_bytes, 1024 * 1024);
    assert_eq!(source.long_lines, LongLines::Split);
    assert_eq!(source.parse, Parser::raw());
    assert_eq!(source.on_parse_error, OnParseError::Keep);
    assert_eq!(source.rotate_wait, Duration::from_secs(5));
    assert_eq!((source.format, source.partial_line_timeout), (LineFormat::Plain, Duration::from_secs(5)));
    assert_eq!((&source.multiline, source.encoding), (&None, Encoding::Auto));
    assert!(!source.add.host && !source.add.path && !source.add.offset && source.add.fields.is_empty());
    assert!(source.add.stream && source.add.time && source.add.kubernetes);
    let kinesis = &config.kinesis;
    assert_eq!((&kinesis.region, &kinesis.endpoint, &kinesis.ca_file), (&None, &None, &None));
    assert_eq!((kinesis.format, &kinesis.partition_key), (Format::Kpl, &PartitionKey::Random));
    assert_eq!((&kinesis.stream_arn, &kinesis.assume_role, &source.stream), (&None, &None, &None));
    assert_eq!((kinesis.delimiter.as_str(), kinesis.compression), ("\n", Compression::None));
    assert_eq!((&kinesis.explicit_hash_key, kinesis.max_streams, kinesis.hot_key_share), (&None, 16, 0.5));
    assert_eq!((kinesis.aggregate.max_bytes, kinesis.aggregate.max_records), (None, 0));
    assert_eq!(kinesis.max_in_flight_requests, 12);
    assert_eq!(kinesis.request_timeout, Duration::from_secs(10));
    assert_eq!(kinesis.aggregate.target_bytes, 51_200);
    assert_eq!(kinesis.aggregate.max_age, Duration::from_millis(100));
    assert_eq!(config.admin.listen, Some("0.0.0.0:9464".parse().unwrap()));
    assert_eq!(
        (config.admin.ready_max_age, config.admin.watchdog),
        (Duration::from_mins(1), Some(Duration::from_mins(1)))
    );
    assert_eq!(load(&format!("{SMALL}admin: {{ watchdog: 0s }}\n")).admin.watchdog, None);
    assert_eq!(config.shutdown.timeout, Duration::from_secs(25));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Text));
}

#[test]
fn what_is_in_effect_gives_the_same_configuration_again() {
    for document in [FULL, SMALL, &FULL.replace("\"[::1]:9465\"", "off")] {
        let config = load(document);
        assert_eq!(load(&config.effective().to_string()), config);
    }
}

#[test]
fn every_value_of_a_word_is_taken() {
    for setting in settings() {
        let schema_words: Vec<&str> = setting.allowed.split(", ").collect();
        let Some(default) = &setting.default else { continue };
        if !schema_words.contains(&default.as_str()) {
            continue;
        }
        for word in schema_words {
            let document = match setting.path.strip_prefix("sources[].") {
                Some(field) if matches!(field, "encoding" | "type") || field.contains('.') => continue,
                Some(field) => format!("sources: [{{ paths: [/a], {field}: {word} }}]\nkinesis: {{ stream: s }}"),
                None if !setting.path.contains('.') => {
                    format!("{SMALL}{}: {word}", setting.path)
                }
                None => {
                    let (group, field) = setting.path.split_once('.').unwrap();
                    // Whole records can be compressed in any way.
                    let stream = match (group, field) {
                        ("kinesis", "compression") => "stream: s, format: lines,",
                        ("kinesis", _) => "stream: s,",
                        _ => "",
                    };
                    let kinesis = if group == "kinesis" { "" } else { "kinesis: { stream: s }\n" };
                    format!("sources: [{{ paths: [/a] }}]\n{kinesis}{group}: {{ {stream} {field}: {word} }}")
                }
            };
            let effective = load(&document).effective().to_string();
            assert!(
                effective.contains(&format!(": {word}\n")) || effective.ends_with(&format!(": {word}")),
                "{document}"
            );
        }
    }
}

#[test]
fn no_document_is_needed() {
    let environment = [
        ("KINETAIL_PATHS", "/var/log/a/*.log, /var/log/b.log,"),
        ("KINETAIL_STREAM", "s"),
        ("KINETAIL_REGION", "eu-west-1"),
        ("AWS_REGION", "us-east-1"),
        ("KINETAIL_ENDPOINT", "https://kinesis.example.com:4567/"),
        ("KINETAIL_CA_FILE", "/etc/ca.pem"),
        ("KINETAIL_PARSE", "json"),
        ("KINETAIL_STREAM_ARN", "arn:aws:kinesis:eu-west-1:111122223333:stream/s"),
        ("KINETAIL_ROLE_ARN", "arn:aws:iam::111122223333:role/logs"),
        ("KINETAIL_EXTERNAL_ID", "id"),
        ("KINETAIL_FORMAT", "lines"),
        ("KINETAIL_COMPRESSION", "zstd"),
        ("KINETAIL_PARTITION_KEY", "{user_id}"),
        ("KINETAIL_EXPLICIT_HASH_KEY", "{hash}"),
        ("KINETAIL_START_AT", "end"),
        ("KINETAIL_STATE_DIR", "/state"),
        ("KINETAIL_MEMORY_LIMIT", "4194304"),
        ("KINETAIL_MAX_AGE", "1s"),
        ("KINETAIL_ADMIN_LISTEN", "off"),
        ("KINETAIL_LOG", "debug,json"),
        ("KINETAIL_FIRELENS", "off"),
        ("KINETAIL_METADATA", "host.name, ecs.*"),
        ("KINETAIL_SPOOL_MAX_BYTES", "64MiB"),
        ("KINETAIL_SPOOL_ON_FULL", "drop_oldest"),
        ("HOME", "/root"),
    ];
    let config = Config::load(&layers(None, &environment, &[])).unwrap();
    let source = &config.sources[0];
    assert_eq!(source.paths, ["/var/log/a/*.log", "/var/log/b.log"]);
    assert_eq!((source.parse.clone(), source.start_at), (Parser::json(), StartAt::End));
    assert_eq!(
        (&source.add.metadata[..], &config.firelens),
        (&["host.name", "ecs.*"].map(String::from)[..], &FireLens::Off)
    );
    assert_eq!((config.spool.max_bytes, config.spool.on_full.as_str()), (64 << 20, "drop_oldest"));
    assert_eq!(config.kinesis.stream, "s");
    assert_eq!(config.kinesis.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.kinesis.endpoint.as_deref(), Some("https://kinesis.example.com:4567/"));
    assert_eq!(config.kinesis.ca_file, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!((config.kinesis.format, config.kinesis.compression), (Format::Lines, Compression::Zstd));
    assert!(matches!(&config.kinesis.partition_key, PartitionKey::Template(key) if key.text() == "{user_id}"));
    assert!(config.kinesis.explicit_hash_key.is_some() && config.kinesis.stream_arn.is_some());
    let role = config.kinesis.assume_role.unwrap();
    assert_eq!((role.external_id.as_deref(), role.session_name.as_str()), (Some("id"), "kinetail"));
    assert_eq!(config.kinesis.aggregate.max_age, Duration::from_secs(1));
    assert_eq!(config.state_dir, PathBuf::from("/state"));
    assert_eq!(config.memory_limit, 4_194_304);
    assert_eq!(config.admin.listen, None);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    let known: BTreeSet<String> = settings().into_iter().filter_map(|setting| setting.variable).collect();
    let tested = environment.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with("KINETAIL_"));
    assert_eq!(tested.collect::<BTreeSet<_>>(), known, "a variable is not tested here");
}

#[test]
fn a_document_fits_into_a_variable() {
    let config = Config::load(&layers(None, &[("KINETAIL_CONFIG", FULL)], &[])).unwrap();
    assert_eq!(config, load(FULL));
    assert_problems(
        &layers(None, &[("KINETAIL_CONFIG", "kinesis: { stream: s }\nsources:\n  - paths: [a]\n")], &[]),
        &[
            "KINETAIL_CONFIG:3: sources[0].paths[0]: \"a\" is a relative path, which means another place wherever kinetail \
           is started; write it from the root, such as \"/a\"",
        ],
    );
    assert_problems(
        &layers(Some(SMALL), &[("KINETAIL_CONFIG", SMALL)], &[]),
        &["KINETAIL_CONFIG: is set, and --config kinetail.yaml is given too; use one of them"],
    );
}

#[test]
fn flags_count_more_than_the_environment_and_that_more_than_the_file() {
    let stream =
        |environment: &[_], flags: &[_]| Config::load(&layers(Some(SMALL), environment, flags)).unwrap().kinesis.stream;
    assert_eq!(stream(&[], &[]), "s");
    assert_eq!(stream(&[("KINETAIL_STREAM", "")], &[]), "s");
    assert_eq!(stream(&[("KINETAIL_STREAM", "e")], &[]), "e");
    assert_eq!(stream(&[("KINETAIL_STREAM", "e")], &[("stream", "f")]), "f");
    assert_eq!(stream(&[], &[("stream", "f")]), "f");

    let region = |document: &str, environment: &[_]| {
        Config::load(&layers(Some(document), environment, &[])).unwrap().kinesis.region.unwrap_or_default()
    };
    let with_region = SMALL.replace("stream: s", "stream: s, region: file-1");
    assert_eq!(region(SMALL, &[("AWS_REGION", "aws-1")]), "aws-1");
    assert_eq!(region(&with_region, &[("AWS_REGION", "aws-1")]), "file-1");
    assert_eq!(region(&with_region, &[("AWS_REGION", "aws-1"), ("KINETAIL_REGION", "own-1")]), "own-1");

    let log = |environment: &str, flag: &str| {
        Config::load(&layers(Some(SMALL), &[("KINETAIL_LOG", environment)], &[("log", flag)])).unwrap().log
    };
    assert_eq!(log("debug,json", "warn").level, LogLevel::Warn);
    assert_eq!(log("debug,json", "warn").format, LogFormat::Json);
    assert_eq!(log("debug,json", "warn,text").format, LogFormat::Text);
}

#[test]
fn a_variable_sets_a_field_in_every_source_but_the_paths_of_one() {
    let two = "sources:\n  - paths: [/a]\n    parse: json\n  - paths: [/b]\nkinesis: { stream: s }\n";
    let config = Config::load(&layers(Some(two), &[("KINETAIL_START_AT", "end")], &[("parse", "raw")])).unwrap();
    for source in &config.sources {
        assert_eq!((source.start_at, source.parse.clone()), (StartAt::End, Parser::raw()), "{}", source.name);
    }
    let config = Config::load(&layers(Some(SMALL), &[("KINETAIL_PATHS", "/other")], &[])).unwrap();
    assert_eq!(config.sources[0].paths, ["/other"]);
    assert_problems(
        &layers(Some(two), &[("KINETAIL_PATHS", "/c")], &[]),
        &[
            "KINETAIL_PATHS: the document has 2 sources, and the paths of which are meant is unclear; set them in the document",
        ],
    );
}

#[test]
fn sources_without_a_name_get_free_ones() {
    let document = "sources: [{ paths: [/a] }, { name: files-2, paths: [/b] }, { paths: [/c] }, { paths: [/d] }]\n\
                    kinesis: { stream: s }";
    let names: Vec<String> = load(document).sources.into_iter().map(|source| source.name).collect();
    assert_eq!(names, ["files", "files-2", "files-3", "files-4"]);
}

#[test]
fn a_key_without_a_value_is_not_given() {
    assert_eq!(load(&format!("{SMALL}admin:\nlog:\n  level:\nmemory_limit: ~\n")), load(SMALL));
}

#[test]
fn variables_that_kubernetes_makes_are_ignored() {
    let links = [
        ("KINETAIL_SERVICE_HOST", "10.0.0.1"),
        ("KINETAIL_SERVICE_PORT", "9464"),
        ("KINETAIL_SERVICE_PORT_METRICS", "9464"),
        ("KINETAIL_PORT", "tcp://10.0.0.1:9464"),
        ("KINETAIL_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
        ("KINETAIL_PORT_9464_TCP_ADDR", "10.0.0.1"),
        ("KINETAIL_LOGS_SERVICE_HOST", "10.0.0.1"),
        ("KINETAIL_LOGS_SERVICE_PORT_METRICS", "9464"),
        ("KINETAIL_LOGS_PORT", "tcp://10.0.0.1:9464"),
        ("KINETAIL_LOGS_PORT_9464_TCP_PROTO", "tcp"),
    ];
    assert_eq!(Config::load(&layers(Some(SMALL), &links, &[])).unwrap(), load(SMALL));
}

#[test]
fn what_is_wrong_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kinetail.yaml");
    let shown = path.display();
    for (bytes, expected) in [
        (&b"a: \xff\n"[..], "it is not UTF-8: invalid utf-8 sequence of 1 bytes from index 3"),
        (&b"\xe2\x82\xac".repeat(400_000), "it is larger than 1 MiB, which no configuration is"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let problems = Document::read(&path).unwrap_err();
        assert_eq!(problems.to_string(), format!("--config: \"{shown}\" cannot be read: {expected}"));
    }
    std::fs::write(&path, SMALL).unwrap();
    let document = Document::read(&path).unwrap();
    assert_eq!(document, Document { name: shown.to_string(), text: SMALL.to_owned() });
}

const VARIABLES: &str = "KINETAIL_ADMIN_LISTEN, KINETAIL_CA_FILE, KINETAIL_COMPRESSION, KINETAIL_CONFIG, KINETAIL_ENDPOINT, \
    KINETAIL_EXPLICIT_HASH_KEY, KINETAIL_EXTERNAL_ID, KINETAIL_FIRELENS, KINETAIL_FORMAT, KINETAIL_LOG, KINETAIL_MAX_AGE, \
    KINETAIL_MEMORY_LIMIT, KINETAIL_METADATA, KINETAIL_PARSE, KINETAIL_PARTITION_KEY, KINETAIL_PATHS, KINETAIL_REGION, \
    KINETAIL_ROLE_ARN, KINETAIL_SPOOL_MAX_BYTES, KINETAIL_SPOOL_ON_FULL, KINETAIL_START_AT, KINETAIL_STATE_DIR, \
    KINETAIL_STREAM, KINETAIL_STREAM_ARN";

#[test]
fn what_is_wrong_with_variables_and_flags() {
    let good = [("KINETAIL_PATHS", "/a"), ("KINETAIL_STREAM", "s")];
    for (name, value, message) in [
        (
            "KINETAIL_STRAEM",
            "x",
            format!("is not a variable of kinetail; allowed: {VARIABLES} (did you mean \"KINETAIL_STREAM\"?)"),
        ),
        ("KINETAIL_ADMIN_PORT", "9464", format!("is not a variable of kinetail; allowed: {VARIABLES}")),
        ("KINETAIL_BUFFERS", "x", format!("is not a variable of kinetail; allowed: {VARIABLES}")),
        ("KINETAIL_COMPRESSION", "gz", "\"gz\" is not one of none, gzip, zstd".into()),
        (
            "KINETAIL_PARTITION_KEY",
            "user_id",
            "\"user_id\" is not one of random, source, and no template, which has a field in braces (for the field of that name: \"{user_id}\")"
                .into(),
        ),
        ("KINETAIL_PARSE", "jason", format!("\"jason\" is not one of {} (did you mean \"json\"?)", NAMES.join(", "))),
        ("KINETAIL_FORMAT", "KPL", "\"KPL\" is not one of kpl, lines, single (did you mean \"kpl\"?)".into()),
        ("KINETAIL_LOG", "verbose", "\"verbose\" is not one of error, warn, info, debug, trace".into()),
        ("KINETAIL_LOG", "info,jsn", "\"jsn\" is not one of text, json (did you mean \"json\"?)".into()),
        ("KINETAIL_LOG", ",json", "\"\" is not one of error, warn, info, debug, trace".into()),
        ("KINETAIL_MAX_AGE", "2m", "\"2m\" is too large; allowed: a time from 0s to 1m, such as 100ms".into()),
        ("KINETAIL_MEMORY_LIMIT", "8", "\"8\" is too small; allowed: a size from 1MiB to 1TiB, such as 12MiB".into()),
        ("KINETAIL_PATHS", ",", "names nothing; allowed: globs of absolute paths, such as /var/log/app/*.log, separated by commas".into()),
        ("KINETAIL_PATHS", "/a,/a", "\"/a\" is in sources[0].paths[0] too; a file is read by one source only".into()),
        (
            "KINETAIL_ENDPOINT",
            "user:secret@host",
            "\"***@host\" is not an endpoint: it has no http:// or https://; allowed: an http or https URL, such as \
             https://kinesis.example.com:4567"
                .into(),
        ),
    ] {
        let environment: BTreeMap<&str, &str> = good.into_iter().chain([(name, value)]).collect();
        let environment: Vec<(&str, &str)> = environment.into_iter().collect();
        assert_problems(&layers(None, &environment, &[]), &[&format!("{name}: {message}")]);
    }
    assert_problems(
        &layers(Some(SMALL), &[("KINETAIL_START_AT", "nowhere")], &[("start-at", "begin"), ("stream", "a b")]),
        &[
            "--start-at: \"begin\" is not one of beginning, end",
            "--stream: \"a b\" contains \" \"; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\"",
        ],
    );
    assert_problems(
        &layers(None, &[("KINETAIL_PARSE", "json")], &[]),
        &[
            "kinesis.stream: is required; name the stream: in the document, with KINETAIL_STREAM or with --stream",
            "sources[0].paths: is required; name the files to read, as globs: here, with KINETAIL_PATHS or with --paths",
        ],
    );
}

#[test]
fn what_is_wrong_with_the_text() {
    for (document, expected) in [
        ("", "1: the document is empty; write settings into it, or leave it out"),
        ("# nothing\n---\n", "1: the document is empty; write settings into it, or leave it out"),
        ("- a\n", "1: is a list; a mapping of settings is needed, such as \"kinesis:\""),
        ("\nkinesis\n", "2: is text; a mapping of settings is needed, such as \"kinesis:\""),
        ("kinesis:\n\tstream: s\n", "2: is indented with a tab; YAML allows spaces only"),
        ("kinesis:\n  stream: s\n\tregion: x\n", "3: is indented with a tab; YAML allows spaces only"),
        ("a: [1\nb: 2\n", "2: is not valid YAML: illegal placement of ':' indicator"),
        ("a: \"b\n", "1: is not valid YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", "2: a second document starts here; write one document a file"),
    ] {
        assert_problems(&layers(Some(document), &[], &[]), &[&format!("kinetail.yaml:{expected}")]);
    }
    let small = "kinesis: { stream: s }\nsources:\n";
    for (document, expected) in [
        ("  - paths: &p [/a]\n", &["3: anchors (&name) are not supported; write the value out"][..]),
        (
            "  - paths: [&p /a]\n  - paths: [*p]\n",
            &[
                "3: anchors (&name) are not supported; write the value out",
                "4: aliases (*name) are not supported; write the value out",
            ],
        ),
        ("  - paths: [/a]\n? [b]\n: c\n", &["4: a list or mapping is used as a key; keys are text"]),
        ("  - paths: [!!str /a]\n", &["3: tags (!name) are not supported; quote a value to make it text"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|line| format!("kinetail.yaml:{line}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_problems(&layers(Some(&format!("{small}{document}")), &[], &[]), &expected);
    }
    for (levels, expected) in
        [(40, "is nested deeper than 32 levels"), (5000, "is not valid YAML: recursion limit exceeded")]
    {
        let deep = format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
        assert_problems(&layers(Some(&deep), &[], &[]), &[&format!("kinetail.yaml:1: {expected}")]);
    }
    assert_problems(
        &layers(Some(&"# x\n".repeat(300_000)), &[], &[]),
        &["kinetail.yaml:1: it is larger than 1 MiB, which no configuration is"],
    );
}

#[test]
fn what_is_wrong_with_the_shape() {
    let top = "admin, checkpoint, firelens, kinesis, log, memory_limit, reload, shutdown, sources, spool, state_dir";
    for (document, expected) in [
        ("kinesys: {}", format!("3: kinesys: is not a setting; allowed: {top} (did you mean \"kinesis\"?)")),
        ("start_at: end", format!("3: start_at: is not a setting; allowed: {top} (did you mean \"sources[].start_at\"?)")),
        ("tls: {}", format!("3: tls: is not a setting; allowed: {top}")),
        ("1: {}", format!("3: 1: is not a setting; allowed: {top}")),
        ("log: debug", "3: log: \"debug\" is text; allowed: a mapping".into()),
        ("log: [debug]", "3: log: is a list; allowed: a mapping".into()),
        ("log: { level: 3 }", "3: log.level: 3 is a number; allowed: error, warn, info, debug, trace".into()),
        ("log: { level: {} }", "3: log.level: is a mapping; allowed: error, warn, info, debug, trace".into()),
        ("log: { level: info, level: warn }", "3: log.level: is given twice, first in line 3; remove one of them".into()),
        ("kinesis: {}", "3: kinesis: is given twice, first in line 2; remove one of them".into()),
        ("state_dir: 12", "3: state_dir: 12 is a number; allowed: an absolute path (to make it text, quote it: \"12\")".into()),
        ("state_dir: true", "3: state_dir: true is true/false, not text; allowed: an absolute path (to make it text, quote it: \"true\")".into()),
        ("memory_limit: 1.5", "3: memory_limit: 1.5 is a number; allowed: a size from 1MiB to 1TiB, such as 12MiB".into()),
        ("memory_limit: [1]", "3: memory_limit: is a list; allowed: a size from 1MiB to 1TiB, such as 12MiB".into()),
    ] {
        assert_problems(&layers(Some(&format!("{SMALL}{document}\n")), &[], &[]), &[&format!("kinetail.yaml:{expected}")]);
    }
}

#[test]
fn what_is_wrong_with_the_values() {
    for (document, expected) in [
        (
            "state_dir: state",
            "3: state_dir: \"state\" is a relative path, which means another place wherever kinetail is started; write it from the root, such as \"/state\"",
        ),
        ("state_dir: \"\"", "3: state_dir: is empty; allowed: an absolute path"),
        (
            "memory_limit: 8MB3",
            "3: memory_limit: \"8MB3\" is not a size; allowed: a size from 1MiB to 1TiB, such as 12MiB",
        ),
        ("memory_limit: -1", "3: memory_limit: -1 is not a size; allowed: a size from 1MiB to 1TiB, such as 12MiB"),
        (
            "memory_limit: 512KiB",
            "3: memory_limit: \"512KiB\" is too small; allowed: a size from 1MiB to 1TiB, such as 12MiB",
        ),
        (
            "memory_limit: 99999999999999999999",
            "3: memory_limit: 1e+20 is a number; allowed: a size from 1MiB to 1TiB, such as 12MiB",
        ),
        (
            "shutdown: { timeout: 25 }",
            "3: shutdown.timeout: 25 is not a time; allowed: a time from 0s to 1h, such as 25s (did you mean \"25s\"?)",
        ),
        (
            "shutdown: { timeout: soon }",
            "3: shutdown.timeout: \"soon\" is not a time; allowed: a time from 0s to 1h, such as 25s",
        ),
        (
            "admin: { ready_max_age: 10ms }",
            "3: admin.ready_max_age: \"10ms\" is too small; allowed: a time from 1s to 1day, such as 1m",
        ),
        (
            "admin: { listen: localhost:9464 }",
            "3: admin.listen: \"localhost:9464\" is not an address; allowed: an IP address and port, such as 0.0.0.0:9464, or off (did you mean \"127.0.0.1:9464\"?)",
        ),
        (
            "admin: { listen: \":9464\" }",
            "3: admin.listen: \":9464\" is not an address; allowed: an IP address and port, such as 0.0.0.0:9464, or off (did you mean \"0.0.0.0:9464\"?)",
        ),
        (
            "admin: { listen: none }",
            "3: admin.listen: \"none\" is not an address; allowed: an IP address and port, such as 0.0.0.0:9464, or off",
        ),
    ] {
        assert_problems(
            &layers(Some(&format!("{SMALL}{document}\n")), &[], &[]),
            &[&format!("kinetail.yaml:{expected}")],
        );
    }
}

#[test]
fn what_is_wrong_with_kinesis() {
    let url = "allowed: an http or https URL, such as https://kinesis.example.com:4567";
    for (fields, expected) in [
        ("steam: s", "2: kinesis.steam: is not a setting; allowed: aggregate, assume_role, ca_file, compression, delimiter, endpoint, explicit_hash_key, format, hot_key_share, max_in_flight_requests, max_streams, partition_key, region, request_timeout, stream, stream_arn (did you mean \"stream\"?)".to_owned()),
        ("region: eu-west-1", "2: kinesis.stream: is required; name the stream: in the document, with KINETAIL_STREAM or with --stream".into()),
        ("stream: 123", "2: kinesis.stream: 123 is a number; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\" (to make it text, quote it: \"123\")".into()),
        ("stream: a/b", "2: kinesis.stream: \"a/b\" contains \"/\"; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\"".into()),
        ("stream: \"arn:aws:kinesis:eu-west-1:1:stream/x\"", "2: kinesis.stream: \"arn:aws:kinesis:eu-west-1:1:stream/x\" contains \":\"; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\" (of an ARN, only the name: \"x\"; for one in another account, kinesis.stream_arn)".into()),
        ("stream: s, region: EU West", "2: kinesis.region: \"EU West\" is not a region; allowed: a region, such as eu-west-1".into()),
        ("stream: s, endpoint: 127.0.0.1", format!("2: kinesis.endpoint: \"127.0.0.1\" is not an endpoint: it has no http:// or https://; {url}")),
        ("stream: s, endpoint: \"ftp://u:p@h\"", format!("2: kinesis.endpoint: \"ftp://***@h\" is not an endpoint: it has no http:// or https://; {url}")),
        ("stream: s, endpoint: \"http://h/?a=b\"", format!("2: kinesis.endpoint: \"http://h/?***\" is not an endpoint: it has a query or fragment; {url}")),
        ("stream: s, endpoint: \"http://\"", format!("2: kinesis.endpoint: \"http://\" is not an endpoint: it is not a URL (empty string); {url}")),
        ("stream: s, endpoint: \"https://h:99999\"", format!("2: kinesis.endpoint: \"https://h:99999\" is not an endpoint: its port is not a number up to 65535; {url}")),
        ("stream: s, ca_file: ./ca.pem", "2: kinesis.ca_file: \"./ca.pem\" is a relative path, which means another place wherever kinetail is started; write it from the root, such as \"/ca.pem\"".into()),
        ("stream: s, max_in_flight_requests: 65", "2: kinesis.max_in_flight_requests: 65 is too large; allowed: a whole number from 1 to 64, such as 12".into()),
        ("stream: s, max_in_flight_requests: -1", "2: kinesis.max_in_flight_requests: -1 is not a whole number; allowed: a whole number from 1 to 64, such as 12".into()),
        ("stream: s, max_in_flight_requests: four", "2: kinesis.max_in_flight_requests: \"four\" is text; allowed: a whole number from 1 to 64, such as 12".into()),
        ("stream: s, request_timeout: 1h", "2: kinesis.request_timeout: \"1h\" is too large; allowed: a time from 100ms to 5m, such as 10s".into()),
        ("stream: s, aggregate: { target_bytes: 11MiB }", "2: kinesis.aggregate.target_bytes: \"11MiB\" is too large; allowed: a size from 1KiB to 10MiB, such as 50KiB".into()),
        ("stream: s, aggregate: { target_bytes: 9MiB }", "2: kinesis.aggregate.target_bytes: 9MiB is more than memory_limit, 8MiB; lower it, or raise memory_limit".into()),
    ] {
        let document = format!("sources: [{{ paths: [/a] }}]\nkinesis: {{ {fields} }}\nmemory_limit: 8MiB\n");
        assert_problems(&layers(Some(&document), &[], &[]), &[&format!("kinetail.yaml:{expected}")]);
    }
}

#[test]
fn what_is_wrong_with_keys_and_packing() {
    let long = "x".repeat(17);
    for (fields, expected) in [
        ("partition_key: \"{user_id\"", "partition_key: \"{user_id\" is not a template: the brace at character 1 is not closed; write {field}, or {{ for a brace itself".to_owned()),
        ("partition_key: \"user_id}\"", "partition_key: \"user_id}\" is not a template: the brace at character 8 closes nothing; write {field}, or }} for a brace itself".into()),
        ("partition_key: \"{{user_id}}\"", "partition_key: \"{{user_id}}\" is not a template: it names no field, so that it is the same for all events; write a field in braces, such as {user_id}".into()),
        ("partition_key: {user_id}", "partition_key: is a mapping; allowed: the words random and source, or a template, such as \"{user_id}\" (to make it text, quote it: \"{user_id}\")".into()),
        ("partition_key: sorce", "partition_key: \"sorce\" is not one of random, source, and no template, which has a field in braces (did you mean \"source\"?)".into()),
        ("partition_key: \"\"", "partition_key: \"\" is not one of random, source, and no template, which has a field in braces".into()),
        ("explicit_hash_key: \"{h}\"", "explicit_hash_key: needs kinesis.partition_key to be a template, such as \"{user_id}\": the other keys are not the events' own".into()),
        ("partition_key: \"{a}\", explicit_hash_key: \"5\"", "explicit_hash_key: \"5\" is not a template: it names no field, so that it is the same for all events; write a field in braces, such as {user_id}".into()),
        (&format!("delimiter: {long}"), format!("delimiter: \"{long}\" has 17 bytes; allowed: up to 16")),
        ("delimiter: \"\", format: lines", "delimiter: is empty, so that the events of kinesis.format: lines run into each other; write \"\\n\", or use format kpl".into()),
        ("compression: gzip", "compression: \"gzip\" does not go with kinesis.format: kpl, which compresses each event by itself, where gzip's head and tail take 18 bytes; use zstd, or format lines".into()),
        ("compression: zstd, format: single", "compression: does not go with kinesis.format: single: one event by itself is hardly smaller when compressed, and costs a record all the same; use format lines, or kpl with zstd".into()),
        ("compression: zst", "compression: \"zst\" is not one of none, gzip, zstd (did you mean \"zstd\"?)".into()),
        ("max_streams: 0", "max_streams: 0 is too small; allowed: a whole number from 1 to 256, such as 16".into()),
        ("hot_key_share: 1.5", "hot_key_share: 1.5 is too large; allowed: a number from 0 to 1, such as 0.5".into()),
        ("hot_key_share: half", "hot_key_share: \"half\" is text; allowed: a number from 0 to 1, such as 0.5".into()),
        ("aggregate: { max_bytes: 40KiB }", "aggregate.max_bytes: 40KiB is less than kinesis.aggregate.target_bytes, 50KiB; raise it, or lower target_bytes".into()),
        ("aggregate: { max_bytes: 11MiB }", "aggregate.max_bytes: \"11MiB\" is too large; allowed: a size from 1KiB to 10MiB, such as 1MiB".into()),
        ("aggregate: { max_bytes: 9MiB }", "aggregate.max_bytes: 9MiB is more than memory_limit, 8MiB; lower it, or raise memory_limit".into()),
        ("aggregate: { max_records: -1 }", "aggregate.max_records: -1 is not a whole number; allowed: a whole number from 0 to 1000000, such as 0".into()),
        ("stream_arn: \"arn:aws:s3:::s\"", "stream_arn: \"arn:aws:s3:::s\" is not the ARN of a stream; allowed: arn:aws:kinesis:REGION:ACCOUNT:stream/NAME".into()),
        ("stream_arn: \"arn:aws:kinesis:eu-west-1:111122223333:stream/t\"", "stream: \"s\" is not \"t\", the stream of kinesis.stream_arn; remove one of them".into()),
        ("stream_arn: \"arn:aws:kinesis:eu-west-1:111122223333:stream/s\", region: us-east-1", "region: \"us-east-1\" is not \"eu-west-1\", the region of kinesis.stream_arn, and a stream is reached in its own; remove this".into()),
        ("assume_role: { external_id: x1 }", "assume_role.arn: is required; name the role to assume, or remove kinesis.assume_role".into()),
        ("assume_role: { arn: \"arn:aws:iam::1:role/x\" }", "assume_role.arn: \"arn:aws:iam::1:role/x\" is not the ARN of a role; allowed: arn:aws:iam::ACCOUNT:role/NAME".into()),
        ("assume_role: { arn: \"arn:aws:iam::111122223333:role/x\", session_name: a/b }", "assume_role.session_name: \"a/b\" is no session_name of a role's session; allowed: 2 to 64 letters, digits and _=,.@-".into()),
    ] {
        let document = format!("sources: [{{ paths: [/a] }}]\nkinesis: {{ stream: s, {fields} }}\nmemory_limit: 8MiB\n");
        assert_problems(&layers(Some(&document), &[], &[]), &[&format!("kinetail.yaml:2: kinesis.{expected}")]);
    }
}

#[test]
fn an_arn_says_the_stream_and_its_region() {
    let arn = "kinesis: { stream_arn: \"arn:aws-us-gov:kinesis:us-gov-west-1:111122223333:stream/logs\" }";
    let document = format!("sources: [{{ paths: [/a] }}]\n{arn}\n");
    // The platform's variable says where the agent runs, which need not be where the stream is.
    let config = Config::load(&layers(Some(&document), &[("AWS_REGION", "us-east-1")], &[])).unwrap();
    assert_eq!((config.kinesis.stream.as_str(), config.kinesis.region.as_deref()), ("logs", Some("us-gov-west-1")));
    assert_eq!(load(&config.effective().to_string()), config);
}

#[test]
fn what_is_wrong_with_streams_of_sources() {
    for (source, kinesis, expected) in [
        (
            "stream: a/b",
            "",
            "1: sources[0].stream: \"a/b\" contains \"/\"; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\"",
        ),
        (
            "stream: \"a/{b}\"",
            "",
            "1: sources[0].stream: \"a/{b}\" makes no name of a stream, since \"a/\" can be in none; allowed: letters, digits, \"_\", \".\" and \"-\", and fields in braces",
        ),
        (
            "stream: \"a-{@team}\"",
            "",
            "1: sources[0].stream: \"a-{@team}\" is not a template: \"@team\" is nothing that is known of an event; allowed: @source, @path, @host",
        ),
        (
            "stream: t",
            ", max_streams: 1",
            "2: kinesis.max_streams: 1 is less than the 2 streams that kinesis.stream and sources[].stream name; raise it",
        ),
        (
            "stream: \"{t}\"",
            ", max_streams: 1",
            "2: kinesis.max_streams: 1 is less than the 2 streams that kinesis.stream and sources[].stream name; raise it",
        ),
    ] {
        let document = format!("sources: [{{ paths: [/a], {source} }}]\nkinesis: {{ stream: s{kinesis} }}\n");
        assert_problems(&layers(Some(&document), &[], &[]), &[&format!("kinetail.yaml:{expected}")]);
    }
    // The stream of all is no second one.
    load("sources: [{ paths: [/a], stream: s }]\nkinesis: { stream: s, max_streams: 1 }");
}

#[test]
fn what_is_wrong_with_sources() {
    let paths = "is required; name the files to read, as globs: here, with KINETAIL_PATHS or with --paths";
    for (sources, expected) in [
        ("sources: []", "2: sources: is required; name the files to read: in the document, with KINETAIL_PATHS or with --paths".to_owned()),
        ("sources:", "2: sources: is required; name the files to read: in the document, with KINETAIL_PATHS or with --paths".into()),
        ("sources: { paths: [/a] }", "2: sources: is a mapping; allowed: a list of sources".into()),
        ("sources:\n  - name: a", format!("3: sources[0].paths: {paths}")),
        ("sources:\n  - name: a\n    paths: []", format!("4: sources[0].paths: {paths}")),
        ("sources:\n  -\n  - paths: [/a]", "3: sources[0]: is empty; write a value, or remove the item".into()),
        ("sources:\n  - paths: /var/log/*.log", "3: sources[0].paths: \"/var/log/*.log\" is text; allowed: globs of absolute paths, such as /var/log/app/*.log (as a list: [\"/var/log/*.log\"])".into()),
        ("sources:\n  - paths:\n    - /a\n    -", "5: sources[0].paths[1]: is empty; write a value, or remove the item".into()),
        ("sources:\n  - paths: [\"\"]", "3: sources[0].paths[0]: is empty; write a glob of an absolute path, or remove the item".into()),
        ("sources:\n  - paths: [/a/***]", "3: sources[0].paths[0]: \"/a/***\" is not a glob: wildcards are either regular `*` or recursive `**` at character 6".into()),
        ("sources:\n  - paths: [/a, ./b]", "3: sources[0].paths[1]: \"./b\" is a relative path, which means another place wherever kinetail is started; write it from the root, such as \"/b\"".into()),
        ("sources:\n  - paths: [/a]\n  - paths: [/b, /a]", "4: sources[1].paths[1]: \"/a\" is in sources[0].paths[0] too; a file is read by one source only".into()),
        ("sources:\n  - { name: a, paths: [/a] }\n  - { name: a, paths: [/b] }", "4: sources[1].name: \"a\" is the name of sources[0] too; give each its own".into()),
        ("sources:\n  - { name: \"a b\", paths: [/a] }", "3: sources[0].name: \"a b\" contains \" \"; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\"".into()),
        ("sources:\n  - { name: \"\", paths: [/a] }", "3: sources[0].name: is empty; allowed: 1 to 128 letters, digits, \"_\", \".\" and \"-\"".into()),
        ("sources:\n  - paths: [/a]\n    start_at: begining", "4: sources[0].start_at: \"begining\" is not one of beginning, end (did you mean \"beginning\"?)".into()),
        ("sources:\n  - paths: [/a]\n    on_parse_error: dead-letter", "4: sources[0].on_parse_error: \"dead-letter\" is not one of keep, drop, dead_letter (did you mean \"dead_letter\"?)".into()),
        ("sources:\n  - paths: [/a]\n    max_line_bytes: 9MiB", "4: sources[0].max_line_bytes: 9MiB is more than memory_limit, 8MiB; lower it, or raise memory_limit".into()),
        ("sources:\n  - paths: [/a]\n    add: { host: yes }", "4: sources[0].add.host: \"yes\" is text; allowed: true, false (did you mean true?)".into()),
        ("sources:\n  - paths: [/a]\n    add: { host: 1 }", "4: sources[0].add.host: 1 is a number; allowed: true, false".into()),
        ("sources:\n  - paths: [/a]\n    add: { fields: [env] }", "4: sources[0].add.fields: is a list; allowed: a mapping of names and values".into()),
        ("sources:\n  - paths: [/a]\n    add: { host: true, fields: { host: x } }", "4: sources[0].add.fields.host: is added by sources[0].add.host too; rename the field, or switch that off".into()),
        ("sources:\n  - paths: [/a]\n    add: { fields: { \"\": x } }", "4: sources[0].add.fields.: a field has no name".into()),
        ("sources:\n  - paths: [/a]\n    add: { fields: { a: 1, a: 2 } }", "4: sources[0].add.fields.a: is given twice, first in line 4; remove one of them".into()),
    ] {
        let document = format!("kinesis: {{ stream: s }}\n{sources}\nmemory_limit: 8MiB\n");
        assert_problems(&layers(Some(&document), &[], &[]), &[&format!("kinetail.yaml:{expected}")]);
    }
}

#[test]
fn what_is_wrong_with_lines() {
    let at = "sources[0].multiline";
    for (field, expected) in [
        ("format: crio", "format: \"crio\" is not one of plain, cri, docker, auto (did you mean \"cri\"?)".to_owned()),
        ("partial_line_timeout: 2h", "partial_line_timeout: \"2h\" is too large; allowed: a time from 0s to 1h, such as 5s".into()),
        ("encoding: utf-7", "encoding: \"utf-7\" is not an encoding; allowed: a label of the WHATWG's, such as auto, utf-8, utf-16le, utf-16be, windows-1252, iso-8859-1, shift_jis, euc-kr, big5, gb18030".into()),
        ("multiline: {}", "multiline: says nothing; name a preset, or give a pattern: start, continue, continue_past or end".into()),
        ("multiline: { preset: jav }", "multiline.preset: \"jav\" is not one of java, python, go, ruby, node, dotnet, php, rust, dart, auto (did you mean \"java\"?)".into()),
        ("multiline: { preset: [] }", "multiline.preset: is empty; allowed: auto, or one or a list of java, python, go, ruby, node, dotnet, php, rust, dart".into()),
        ("multiline: { preset: java, start: a }", format!("multiline.start: goes against {at}.preset: a record is by presets or by patterns; remove one of them")),
        ("multiline: { continue: a, end: b }", format!("multiline.end: goes against {at}.continue: a record ends in one way only; remove one of them")),
        ("multiline: { end_before: a }", format!("multiline.end_before: needs {at}.start, or no line begins a record; for records that begin with it, name it start")),
        ("multiline: { start: \"\" }", "multiline.start: is empty, and would match every line; write a regular expression".into()),
        ("multiline: { start: \"a(b\" }", "multiline.start: \"a(b\" is not a regular expression: regex parse error: | a(b | ^ | error: unclosed group".into()),
        ("multiline: { end: a, timeout: 1 }", "multiline.timeout: 1 is not a time; allowed: a time from 10ms to 1h, such as 1s (did you mean \"1s\"?)".into()),
        ("multiline: { end: a, max_lines: 0 }", "multiline.max_lines: 0 is too small; allowed: a whole number from 1 to 100000, such as 1000".into()),
    ] {
        let document = format!("kinesis: {{ stream: s }}\nsources:\n  - paths: [/a]\n    {field}\n");
        assert_problems(&layers(Some(&document), &[], &[]), &[&format!("kinetail.yaml:4: sources[0].{expected}")]);
    }
}

#[test]
fn records_of_several_lines_are_by_presets_or_by_patterns() {
    let multiline = |text: &str| {
        let document = format!("kinesis: {{ stream: s }}\nsources:\n  - paths: [/a]\n    multiline: {text}\n");
        let config = load(&document);
        assert_eq!(load(&config.effective().to_string()), config);
        config.sources[0].multiline.clone().unwrap()
    };
    assert_eq!(multiline("{ preset: java }").preset, [Preset::Java]);
    assert_eq!(multiline("{ preset: [go, java, go] }").preset, [Preset::Go, Preset::Java]);
    assert_eq!(multiline("{ preset: auto }").preset.len(), 9);
    let found = multiline("{ start: '^\\d', continue_past: '\\\\$', timeout: 3s, max_lines: 7 }");
    assert_eq!((found.start.as_deref(), found.timeout, found.max_lines), (Some("^\\d"), Duration::from_secs(3), 7));
    assert_eq!(found.until, Some((Until::ContinuePast, "\\\\$".to_owned())));
}

#[test]
fn merge_keys_are_told_from_typos() {
    let document = format!("{SMALL}log:\n  <<: {{ level: debug }}\n");
    assert_problems(
        &layers(Some(&document), &[], &[]),
        &["kinetail.yaml:4: merge keys (<<) are not supported; write the fields out"],
    );
}

#[test]
fn a_limit_below_what_has_to_fit_is_told_where_it_is_set() {
    let document = format!("{SMALL}memory_limit: 1MiB\n").replace("/a]", "/a], max_line_bytes: 2MiB");
    assert_problems(
        &layers(Some(&document), &[], &[]),
        &[
            "kinetail.yaml:1: sources[0].max_line_bytes: 2MiB is more than memory_limit, 1MiB; lower it, or raise memory_limit",
        ],
    );
}

#[test]
fn all_problems_come_at_once() {
    let document = "sources:\n  - paths: [app.log]\n    parse: yaml\n    add: { hots: true }\nkinesis:\n  format: kpi\n\
                    log: { level: loud }\n";
    assert_problems(
        &layers(Some(document), &[("KINETAIL_MAX_AGE", "1y"), ("KINETAIL_TOPIC", "t")], &[("region", "?")]),
        &[
            "kinetail.yaml:2: sources[0].paths[0]: \"app.log\" is a relative path, which means another place wherever \
             kinetail is started; write it from the root, such as \"/app.log\"",
            &format!("kinetail.yaml:3: sources[0].parse: \"yaml\" is not one of {}", NAMES.join(", ")),
            "kinetail.yaml:4: sources[0].add.hots: is not a setting; allowed: fields, host, id, kubernetes, metadata, offset, path, stream, tag, time (did you mean \"host\"?)",
            "kinetail.yaml:5: kinesis.stream: is required; name the stream: in the document, with KINETAIL_STREAM or with --stream",
            "kinetail.yaml:6: kinesis.format: \"kpi\" is not one of kpl, lines, single (did you mean \"kpl\"?)",
            "kinetail.yaml:7: log.level: \"loud\" is not one of error, warn, info, debug, trace",
            "KINETAIL_MAX_AGE: \"1y\" is too large; allowed: a time from 0s to 1m, such as 100ms",
            &format!("KINETAIL_TOPIC: is not a variable of kinetail; allowed: {VARIABLES}"),
            "--region: \"?\" is not a region; allowed: a region, such as eu-west-1",
        ],
    );
}

#[test]
fn passwords_are_shown_nowhere() {
    let secret = "https://user:hunter2@kinesis.example.com/";
    let config = Config::load(&layers(Some(SMALL), &[("KINETAIL_ENDPOINT", secret)], &[])).unwrap();
    assert_eq!(config.kinesis.endpoint.as_deref(), Some(secret));
    assert!(config.effective().to_string().contains("endpoint: \"https://***@kinesis.example.com/\"\n"));
    assert!(!format!("{config:?}").contains("hunter2"));
    for field in ["state_dir", "memory_limit", "log"] {
        let document = format!("{SMALL}{field}: \"{secret}\"\n");
        let problems = Config::load(&layers(Some(&document), &[], &[])).unwrap_err();
        assert!(!problems.to_string().contains("hunter2"), "{problems}");
    }
}

#[test]
fn every_setting_is_documented() {
    let settings = settings();
    assert!(settings.len() > 25, "{settings:#?}");
    for setting in &settings {
        assert!(setting.doc.ends_with(['.', ')']) && setting.doc.len() > 20, "{setting:#?}");
        assert!(!setting.allowed.is_empty(), "{setting:#?}");
        let is_needed = ["stream", "region", "endpoint", "ca_file", "stream_arn", "explicit_hash_key"]
            .iter()
            .chain(&["assume_role.arn", "assume_role.external_id", "aggregate.max_bytes"])
            .any(|name| setting.path == format!("kinesis.{name}"));
        let has_no_default = is_needed
            || ["paths", "exclude", "stream", "add.fields", "add.metadata", "timestamp.field", "level.field", "names"]
                .iter()
                .any(|name| setting.path == format!("sources[].{name}"))
            || ["unix", "shared_key", "tls_certificate", "tls_key"]
                .iter()
                .any(|name| setting.path == format!("sources[].forward.{name}"))
            || ["preset", "start", "continue", "continue_past", "end", "end_before"]
                .iter()
                .any(|name| setting.path == format!("sources[].multiline.{name}"));
        // A transform is what is written, and has defaults where one is what most would write.
        let is_transform = setting.path.starts_with("sources[].transforms[].");
        assert!(is_transform || setting.default.is_none() == has_no_default, "{setting:#?}");
    }
    let paths: BTreeSet<&str> = settings.iter().map(|setting| setting.path.as_str()).collect();
    assert_eq!(paths.len(), settings.len());
    for path in ["state_dir", "sources[].paths", "sources[].add.fields", "kinesis.aggregate.max_age", "log.format"] {
        assert!(paths.contains(path), "{path}");
    }
}

/// Follows a schema's references and the null of optional fields.
fn resolve<'a>(root: &'a serde_json::Value, schema: &'a serde_json::Value) -> &'a serde_json::Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolve(root, &root["$defs"][reference.trim_start_matches("#/$defs/")]);
    }
    schema["anyOf"].as_array().map_or(schema, |options| resolve(root, &options[0]))
}

/// Every field of a document has to be declared in the schema, down to the last one, and with a description.
fn assert_declared(root: &serde_json::Value, schema: &serde_json::Value, value: &serde_json::Value, path: &str) {
    let schema = resolve(root, schema);
    match value {
        serde_json::Value::Object(fields) if schema.get("properties").is_some() => {
            assert_eq!(schema["additionalProperties"], false, "{path} takes unknown fields");
            for (name, value) in fields {
                let declared = &schema["properties"][name];
                assert!(declared["description"].as_str().is_some_and(|text| !text.is_empty()), "{path}.{name}");
                assert_declared(root, declared, value, &format!("{path}.{name}"));
            }
        }
        serde_json::Value::Array(items) if schema.get("items").is_some() => {
            for item in items {
                assert_declared(root, &schema["items"], item, path);
            }
        }
        _ => {}
    }
}

#[test]
fn the_schema_declares_a_whole_document() {
    let root = schema();
    let document = serde_json::json!({
        "state_dir": "/s", "memory_limit": 1,
        "sources": [{
            "name": "a", "stream": "s", "paths": ["/a"], "start_at": "end", "max_line_bytes": 1, "long_lines": "split", "parse": "raw",
            "on_parse_error": "keep", "rotate_wait": "5s", "format": "cri", "partial_line_timeout": "1s", "encoding": "utf-8",
            "add": { "host": true, "path": true, "offset": true, "fields": { "env": "prod" } }
        }],
        "kinesis": {
            "stream": "s", "stream_arn": "a", "region": "r", "endpoint": "e", "ca_file": "c", "format": "kpl",
            "assume_role": { "arn": "a", "external_id": "e", "session_name": "s" }, "partition_key": "random",
            "explicit_hash_key": "h", "delimiter": "d", "compression": "none", "max_streams": 1, "hot_key_share": 0.5,
            "max_in_flight_requests": 1, "request_timeout": "1s",
            "aggregate": { "target_bytes": 1, "max_bytes": 1, "max_records": 1, "max_age": "1s" }
        },
        "admin": { "listen": "off", "ready_max_age": "1s", "watchdog": "1s" },
        "shutdown": { "timeout": "1s" },
        "log": { "level": "info", "format": "text" }
    });
    assert_declared(&root, &root, &document, "");
    assert_eq!(root["title"], "kinetail");
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC*|(\\PC|[\n\t ]){0,200}") {
        drop(Config::load(&layers(Some(&text), &[], &[])));
    }

    #[test]
    fn no_text_that_looks_like_yaml_makes_the_loader_panic(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "kinesis", "sources", "stream", "paths", "add", "fields", "log", "level", "info", "admin", "listen", "off",
            ":", ": ", ":\n", "\n", "\n  ", "\n    ", "- ", "-", "[", "]", "{", "}", ", ", "?", "? ", "|\n", ">\n", "&a ", "*a", "!x ",
            "<<", "#", "'", "\"", "\\", "~", "null", "0x", "1e9", "-1", "8MiB", "10s", "/a", "**", "%", "---\n", "...\n", "\t",
            "\u{feff}", "\u{0}", "\r", "é", "\u{2028}",
        ]), 0..60)
    ) {
        drop(Config::load(&layers(Some(&parts.concat()), &[], &[])));
    }

    #[test]
    fn no_value_makes_the_loader_panic(
        name in prop::sample::select(vec!["STREAM", "STREAM_ARN", "PARTITION_KEY", "PATHS", "ENDPOINT", "LOG", "MAX_AGE", "MEMORY_LIMIT", "ADMIN_LISTEN"]),
        value in "\\PC*"
    ) {
        drop(Config::load(&layers(Some(SMALL), &[(&format!("KINETAIL_{name}"), &value)], &[])));
    }
}

#[test]
fn what_is_wrong_with_metadata() {
    let of = |add: &str| format!("sources: [{{ paths: [/a], add: {add} }}]\nkinesis: {{ stream: s }}\n");
    for (add, problem) in [
        (
            "{ metadata: [ecs.clustr] }",
            "add.metadata[0]: \"ecs.clustr\" is no field that is known of a place, did you mean \"ecs.cluster\"?; write one such as ecs.task_arn, or kubernetes.*",
        ),
        (
            "{ metadata: [host.name, ecs.*.x] }",
            "add.metadata[1]: \"ecs.*.x\" has a \"*\" where none can be; write it last, such as ecs.* or kubernetes.labels.app*, or alone for all",
        ),
        (
            "{ host: true, metadata: [\"*\"] }",
            "add.host: is added by sources[0].add.metadata too, as an object; switch this off, or leave that out",
        ),
        (
            "{ metadata: [ecs.cluster], fields: { ecs: 1 } }",
            "add.fields.ecs: is added by sources[0].add.metadata too; rename the field, or leave that out",
        ),
    ] {
        let document = of(add);
        assert_problems(&layers(Some(&document), &[], &[]), &[&format!("kinetail.yaml:1: sources[0].{problem}")]);
    }
    load(&of("{ host: true, metadata: [ecs.*, \"kubernetes.labels.*\"] }"));
    let every = layers(Some(SMALL), &[("KINETAIL_METADATA", " ecs.cluster,host.name")], &[]);
    assert_eq!(Config::load(&every).unwrap().sources[0].add.metadata, ["ecs.cluster", "host.name"]);
    assert_problems(
        &layers(Some("sources: [{ type: forward, on_parse_error: drop }]\nkinesis: { stream: s }\n"), &[], &[]),
        &[
            "kinetail.yaml:1: sources[0].on_parse_error: does not go with type: forward, whose records stay as they are where log is no JSON object; remove it",
        ],
    );
}

#[test]
fn firelens_is_a_word_or_a_file() {
    let set = |value: &str| layers(Some(SMALL), &[("KINETAIL_FIRELENS", value)], &[]);
    assert_eq!(Config::load(&set("auto")).unwrap().firelens, FireLens::Auto);
    assert_eq!(Config::load(&set("/a/b.conf")).unwrap().firelens, FireLens::File(PathBuf::from("/a/b.conf")));
    assert_problems(
        &set("of"),
        &["KINETAIL_FIRELENS: \"of\" is not one of auto, off, and no absolute path (did you mean \"off\"?)"],
    );
}

#[test]
fn a_fifo_is_made_with_a_mode() {
    let fifo = |more: &str| {
        let text = format!("kinesis: {{ stream: s }}\nsources: [{{ type: fifo, paths: [/in.fifo]{more} }}]\n");
        Config::load(&layers(Some(&text), &[], &[]))
    };
    assert_eq!(fifo("").unwrap().sources[0].fifo_mode, 0o622);
    let config = fifo(", mode: \"660\"").unwrap();
    assert_eq!(config.sources[0].fifo_mode, 0o660);
    let effective = config.effective().to_string();
    assert!(effective.contains("mode: \"0660\""), "{effective}");
    for (mode, shown) in [("rw", "\"rw\""), ("\"0888\"", "\"0888\""), ("\"7777\"", "\"7777\"")] {
        let problems = fifo(&format!(", mode: {mode}")).unwrap_err().to_string();
        let message = "is no mode; allowed: permissions in octal, such as \"0622\"";
        assert_eq!(problems.trim_end(), format!("kinetail.yaml:2: sources[0].mode: {shown} {message}"));
    }
    let text = "kinesis: { stream: s }\nsources: [{ paths: [/a], mode: \"0600\" }]\n";
    let problems = Config::load(&layers(Some(text), &[], &[])).unwrap_err().to_string();
    assert!(
        problems.contains("sources[0].mode: does not go with type: file; remove it, or write type: fifo"),
        "{problems}"
    );
}

#[test]
fn what_is_below_everything_counts_where_nothing_else_does() {
    let json = |text: &str| serde_json::from_str(text).unwrap();
    let source = |line, text: &str| BaseSource { line, settings: json(text) };
    let base = Base {
        file: "/f.conf".to_owned(),
        line: 7,
        kinesis: json(r#"{ "stream": "below", "region": "eu-west-1", "endpoint": null, "format": "single" }"#),
        sources: vec![
            source(7, r#"{ "name": "a", "type": "forward" }"#),
            source(9, r#"{ "name": "b", "type": "forward" }"#),
        ],
    };
    let names = |config: &Config| config.sources.iter().map(|source| source.name.clone()).collect::<Vec<_>>();
    let variables = [("AWS_REGION", "us-east-1"), ("KINETAIL_FORMAT", "kpl"), ("KINETAIL_PARSE", "json")];
    let config = Config::load_over(&base, &layers(Some("memory_limit: 4MiB\nsources: []"), &variables, &[])).unwrap();
    assert_eq!((names(&config), config.memory_limit), (vec!["a".to_owned(), "b".to_owned()], 4 << 20));
    assert!(config.sources.iter().all(|source| source.parse == Parser::json()));
    let kinesis = &config.kinesis;
    assert_eq!(
        (&*kinesis.stream, kinesis.region.as_deref(), kinesis.format),
        ("below", Some("eu-west-1"), Format::Kpl)
    );
    let config = Config::load_over(&base, &layers(Some(SMALL), &[], &[])).unwrap();
    assert_eq!((names(&config), &*config.kinesis.stream), (vec!["files".to_owned()], "s"));

    let base =
        Base { kinesis: json(r#"{ "stream": "a b" }"#), sources: vec![source(9, r#"{ "type": "forwrad" }"#)], ..base };
    let problems = Config::load_over(&base, &Layers::default()).unwrap_err().to_string();
    assert!(problems.starts_with("/f.conf:7: kinesis.stream: \"a b\" contains \" \"; "), "{problems}");
    assert!(problems.contains("\n/f.conf:9: sources[0].type: \"forwrad\" is not one of "), "{problems}");
}

#[test]
fn layers_know_what_they_say() {
    for (document, variable, has_sources) in [
        ("state_dir: /a", ("KINETAIL_PARSE", "json"), false),
        ("sources: []", ("KINETAIL_PATHS", " "), false),
        ("sources: [{}]", ("HOME", "/"), true),
        ("", ("KINETAIL_PATHS", "/a"), true),
        ("{", ("HOME", "/"), true),
    ] {
        assert_eq!(layers(Some(document), &[variable], &[]).has_sources(), has_sources, "{document} {variable:?}");
    }
    let some = layers(Some("kinesis: { stream: a }"), &[("KINETAIL_REGION", "eu-west-1")], &[("stream", "b")]);
    assert_eq!(some.text("kinesis.stream").as_deref(), Some("b"));
    assert_eq!(some.text("kinesis.region").as_deref(), Some("eu-west-1"));
    assert_eq!(some.text("kinesis.format"), None);
}
