//! Configurations as the ECS agent generates them (its `firelensconfig_unix.go` and the template of its generator say how: inputs, filters,
//! the include, outputs, each option of `logConfiguration` verbatim), and as people write what those include.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Weight::{Differs, Moot};
use super::*;
use crate::config::{Compression, Format};

/// A task of two containers on Fargate.
const AWSVPC: &str = "
[INPUT]
    Name forward
    unix_path /var/run/fluent.sock
    Mem_Buf_Limit 25MB

[INPUT]
    Name forward
    Listen 127.0.0.1
    Port 24224

[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port 8877

[FILTER]
    Name   grep
    Match app-firelens*
    Regex  log ^(WARN|ERROR)

[FILTER]
    Name   grep
    Match app-firelens*
    Exclude log health[cC]heck

[FILTER]
    Name record_modifier
    Match *
    Record ecs_cluster prod
    Record ecs_task_arn arn:aws:ecs:eu-west-1:111122223333:task/prod/158d1c8083dd49d6b527399fd6414f5c
    Record ecs_task_definition shop:26

[OUTPUT]
    Name null
    Match firelens-healthcheck

[OUTPUT]
    Name kinesis_streams
    Match app-firelens*
    region eu-west-1
    role_arn arn:aws:iam::444455556666:role/logs
    stream logs
    time_key time
    time_key_format %Y-%m-%dT%H:%M:%S.%3N

[OUTPUT]
    Name kinesis
    Match proxy-firelens*
    aggregation true
    data_keys log, container_name
    partition_key kubernetes->pod_name
    region us-east-1
    stream ${STREAM_0}
";

fn environment(name: &str) -> Option<String> {
    (name == "STREAM_0").then(|| "from-secret".to_owned())
}

fn nothing_included(_: &str) -> Included {
    Err("no such file".to_owned())
}

fn read_text(text: &str) -> Plan {
    plan("fluent-bit.conf", text, nothing_included, environment).unwrap()
}

/// The plan of one output with these options, for every tag.
fn output_of(options: &str) -> Plan {
    read_text(&format!("[OUTPUT]\nName kinesis\nMatch *\nstream s\n{options}\n"))
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.unsupported.iter().map(|note| format!("{:?}: {note}", note.weight)).collect()
}

#[test]
fn what_firelens_generates_for_a_task_is_honoured() {
    let plan = read_text(AWSVPC);
    assert_eq!(plan.listen.unix, [Unix { path: PathBuf::from("/var/run/fluent.sock"), mode: None }]);
    assert_eq!(plan.listen.tcp, ["127.0.0.1:24224".parse().unwrap()]);
    assert_eq!(plan.health, Some("127.0.0.1:8877".parse().unwrap()));
    assert_eq!(plan.losses().count(), 0, "{:?}", notes(&plan));
    assert_eq!(
        notes(&plan),
        [
            "Moot: fluent-bit.conf, line 5: [INPUT] Mem_Buf_Limit 25MB: kinetail writes what it takes to its spool, which has limits of its own"
        ]
    );

    let Destination::Stream(app) = plan.destination("app-firelens-158d1c80") else { panic!("app goes nowhere") };
    assert_eq!((app.stream.as_str(), app.region.as_deref()), ("logs", Some("eu-west-1")));
    assert_eq!(app.role_arn.as_deref(), Some("arn:aws:iam::444455556666:role/logs"));
    assert_eq!((app.time_key.as_deref(), app.time_key_format.as_str()), (Some("time"), "%Y-%m-%dT%H:%M:%S.%3N"));
    assert_eq!((app.partition_key.as_deref(), app.format, app.newline), (None, Format::Single, true));

    let Destination::Stream(proxy) = plan.destination("proxy-firelens-158d1c80") else { panic!("proxy goes nowhere") };
    assert_eq!((proxy.stream.as_str(), proxy.region.as_deref()), ("from-secret", Some("us-east-1")));
    assert_eq!(proxy.partition_key.as_deref(), Some("kubernetes.pod_name"));
    assert_eq!(proxy.data_keys, ["log", "container_name"]);
    assert_eq!((proxy.format, proxy.newline, proxy.time_key.as_deref()), (Format::Kpl, false, None));

    assert!(matches!(plan.destination("firelens-healthcheck"), Destination::Discarded));
    assert!(matches!(plan.destination("other-firelens-1"), Destination::Unmatched));
}

#[test]
fn the_fields_of_ecs_are_added_to_every_event() {
    let plan = read_text(AWSVPC);
    assert_eq!(
        String::from_utf8(plan.members("app-firelens-1")).unwrap(),
        r#""ecs_cluster":"prod","ecs_task_arn":"arn:aws:ecs:eu-west-1:111122223333:task/prod/158d1c8083dd49d6b527399fd6414f5c","ecs_task_definition":"shop:26""#
    );
    let plan = read_text(
        "[FILTER]\nName record_modifier\nMatch a*\nRecord x \"two words\"\nRecord x y\nRecord q \"\n[FILTER]\nName record_modifier\nMatch *\nRecord e.f ${STREAM_0}",
    );
    assert_eq!(String::from_utf8(plan.members("a")).unwrap(), r#""x":"y","q":"\"","e.f":"from-secret""#);
    assert_eq!(String::from_utf8(plan.members("b")).unwrap(), r#""e.f":"from-secret""#);
}

#[test]
fn patterns_of_a_container_keep_and_drop_its_events() {
    let plan = read_text(AWSVPC);
    let keeps = |tag: &str, log: &str| plan.keeps(tag, |field| (field == "log").then_some(log));
    assert!(keeps("app-firelens-1", "ERROR: no"));
    assert!(keeps("app-firelens-1", "trace\nERROR: no"), "a circumflex is at the beginning of a line, as in Ruby");
    assert!(!keeps("app-firelens-1", "INFO: yes"));
    assert!(!keeps("app-firelens-1", "ERROR: healthCheck"));
    assert!(keeps("proxy-firelens-1", "INFO: healthcheck"));
    assert!(!plan.keeps("app-firelens-1", |_| None), "what has no such field does not match");
    assert!(plan.keeps("proxy-firelens-1", |_| None));

    let plan = read_text("[FILTER]\nName grep\nMatch *\nRegex $log /warn/i\nExclude log x\n");
    let keeps = |log: &'static str| plan.keeps("t", |_| Some(log));
    assert!(keeps("WARN x"), "the first rule that keeps is the last that is asked");
    assert!(!keeps("info"));
}

#[test]
fn patterns_that_cannot_be_used_let_all_pass_and_say_so() {
    for (rule, why) in [
        ("Regex log *failure*", "repetition operator missing expression"),
        ("Regex log (?<=a)b", "look-around"),
        ("Regex $log['x'] a", "top of an event"),
        ("Regex log", "no field and pattern"),
        ("Logical_Op or", "no such option"),
        (r"Regex log \w{500}{500}{500}", "size limit"),
    ] {
        let plan = read_text(&format!("[FILTER]\nName grep\nMatch *\nExclude log a\n{rule}\n"));
        assert!(plan.keeps("t", |_| Some("a")), "{rule}");
        let said = notes(&plan);
        assert!(said.len() == 1 && said[0].contains("line 5") && said[0].contains(why), "{rule}: {said:?}");
    }
}

#[test]
fn in_bridge_mode_every_address_is_listened_at() {
    let plan = read_text(
        "[INPUT]\nName forward\nListen 0.0.0.0\nPort 24224\n[INPUT]\nname FORWARD\n[INPUT]\nName forward\nListen ::1\nUnix_Perm 0666\n",
    );
    assert_eq!(plan.listen.tcp, ["0.0.0.0:24224".parse().unwrap(), "[::1]:24224".parse().unwrap()]);
    let plan = read_text("[INPUT]\nName forward\nunix_path /a\nunix_perm 0666\n[INPUT]\nName forward\nunix_path /a\n");
    assert_eq!(plan.listen.unix, [Unix { path: PathBuf::from("/a"), mode: Some(0o666) }]);
    assert!(plan.listen.tcp.is_empty());
}

#[test]
fn inputs_that_are_not_honoured_are_said() {
    let text = "[INPUT]\n  Name forward\n  Tag app\n  Shared_Key s3cret\n  tls.crt_file /a\n[INPUT]\n  Name tail\n  Path /var/log/*\n[INPUT]\n  Name tcp\n  Port 5000\n[INPUT]\n  Name forward\n  Listen logs.example.com\n[INPUT]\n  Name forward\n  unix_path /a\n  unix_perm rw\n  Odd 1\n";
    let plan = read_text(text);
    let said: Vec<_> =
        plan.unsupported.iter().map(|note| (note.line, note.weight, note.key.as_str(), note.value.as_str())).collect();
    assert_eq!(
        said,
        [
            (4, Weight::Differs, "Shared_Key", "***"),
            (5, Weight::Differs, "tls.crt_file", "/a"),
            (3, Weight::Differs, "Tag", "app"),
            (6, Weight::Lost, "Name", "tail"),
            (9, Weight::Lost, "Name", "tcp"),
            (14, Weight::Lost, "Listen", "logs.example.com"),
            (18, Weight::Differs, "unix_perm", "rw"),
            (19, Weight::Differs, "Odd", "1"),
        ]
    );
    assert_eq!(plan.listen.tcp, ["0.0.0.0:24224".parse().unwrap()]);
    assert_eq!(plan.health, None);
}

#[test]
fn events_of_other_plugins_are_named_as_going_nowhere() {
    let plan = read_text(
        "[OUTPUT]\n  Name firehose\n  Match app-firelens*\n  delivery_stream d\n  http_passwd hidden\n[OUTPUT]\n  Name es\n[OUTPUT]\n  Name kinesis_streams\n  Match b*\n[OUTPUT]\n  Name null\n  Match c*\n[OUTPUT]\n  Match d\n",
    );
    let Destination::Nowhere(nowhere) = plan.destination("app-firelens-1") else { panic!("it goes somewhere") };
    assert_eq!((nowhere.plugin.as_str(), nowhere.line, nowhere.on_purpose), ("firehose", 1, false));
    assert!(matches!(plan.destination("b"), Destination::Nowhere(_)), "it names no stream");
    assert!(matches!(plan.destination("c"), Destination::Discarded));
    assert!(matches!(plan.destination("d"), Destination::Nowhere(_)), "it names no plugin");
    let said: Vec<_> = plan.losses().map(ToString::to_string).collect();
    assert_eq!(
        said[0],
        "fluent-bit.conf, line 1: [OUTPUT] Name firehose: kinetail sends to Kinesis Data Streams, which a Firehose can read from; what is tagged app-firelens* goes nowhere"
    );
    assert_eq!(
        said.iter().map(|said| said.contains("line 6:")).filter(|is| *is).count(),
        2,
        "no pattern, and no stream: {said:?}"
    );
    assert!(said.iter().any(|said| {
        said.contains("line 8: [OUTPUT] Name kinesis_streams: it names no stream; what is tagged b* goes nowhere")
    }));
    assert!(!format!("{:?}", plan.unsupported).contains("hidden"));
}

#[test]
fn every_option_of_an_output_is_taken_over_or_noted() {
    let plan = output_of("endpoint vpce.example.com\nport 4567\nexternal_id e\nlog_key log\nappend_newline On\n");
    let output = &plan.outputs[0];
    assert_eq!(notes(&plan), [""; 0]);
    assert_eq!(output.endpoint.as_deref(), Some("https://vpce.example.com:4567"));
    assert_eq!((output.external_id.as_deref(), output.log_key.as_deref()), (Some("e"), Some("log")));
    assert!(output.newline);
    let plan = output_of("endpoint http://127.0.0.1:4567\nport 1");
    assert_eq!(plan.outputs[0].endpoint.as_deref(), Some("http://127.0.0.1:4567"));

    for (option, weight) in [
        ("Retry_Limit 2", Weight::Moot),
        ("auto_retry_requests false", Weight::Moot),
        ("net.keepalive off", Weight::Moot),
        ("storage.total_limit_size 1G", Weight::Moot),
        ("workers 2", Weight::Moot),
        ("tls.ca_file /a", Weight::Differs),
        ("profile other", Weight::Differs),
        ("sts_endpoint https://sts.example.com", Weight::Differs),
        ("replace_dots _", Weight::Differs),
        ("compression gzip", Weight::Differs),
        ("strem typo", Weight::Differs),
    ] {
        let plan = output_of(option);
        let (key, value) = option.split_once(' ').unwrap();
        let note = &plan.unsupported[0];
        assert_eq!(plan.unsupported.len(), 1, "{option}");
        assert_eq!((note.weight, note.line, note.key.as_str(), note.value.as_str()), (weight, 5, key, value));
        assert!(!note.instead.is_empty() && note.section == "OUTPUT" && note.file == "fluent-bit.conf");
    }
}

#[test]
fn compression_is_honoured_where_kinetail_has_it() {
    for (options, format, compression, said) in [
        ("compression none", Format::Single, Compression::None, 0),
        ("simple_aggregation on\ncompression gzip", Format::Lines, Compression::Gzip, 0),
        ("compression ZSTD\nsimple_aggregation on", Format::Lines, Compression::Zstd, 0),
        ("aggregation true\ncompression zstd", Format::Kpl, Compression::Zstd, 0),
        ("aggregation true\ncompression gzip", Format::Kpl, Compression::None, 1),
        ("compression snappy", Format::Single, Compression::None, 1),
    ] {
        let plan = output_of(options);
        let output = &plan.outputs[0];
        assert_eq!(
            (output.format, output.compression, plan.unsupported.len()),
            (format, compression, said),
            "{options}"
        );
    }
}

#[test]
fn an_event_that_two_streams_would_get_goes_to_that_of_the_longer_pattern() {
    let text = "[OUTPUT]\nName kinesis\nMatch *\nstream all\n[OUTPUT]\nName kinesis\nMatch app-firelens*\nstream app\n[OUTPUT]\nName kinesis\nMatch app-firelens*\nstream copy\n[OUTPUT]\nName kinesis\nMatch_Regex ^db\nstream db\n";
    let plan = read_text(text);
    let stream = |tag: &str| match plan.destination(tag) {
        Destination::Stream(output) => output.stream.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!([stream("app-firelens-1"), stream("x"), stream("db-1")], ["app", "all", "db"]);
    let lost: Vec<_> = plan.losses().map(|note| note.line).collect();
    assert_eq!(lost, [5, 9, 9, 13], "{:?}", notes(&plan));
    assert!(
        plan.losses().next().unwrap().to_string().contains("[OUTPUT] Match app-firelens*: it is for tags of all too")
    );
}

#[test]
fn blanks_case_carriage_returns_and_a_byte_order_mark_change_nothing() {
    let odd = format!(
        "\u{feff}# made by hand\r\n{}",
        AWSVPC.replace("    ", "\t ").replace('\n', " \r\n").replace("[OUTPUT]", "[Output]")
    );
    let odd = odd.replace("Match", "MATCH\t").replace("stream", "Stream");
    let (plain, odd) = (read_text(AWSVPC), read_text(&odd));
    assert_eq!(odd.listen, plain.listen);
    assert_eq!(odd.outputs.len(), 2);
    for (a, b) in plain.outputs.iter().zip(&odd.outputs) {
        assert_eq!((a.pattern.text(), &a.stream, &a.data_keys), (b.pattern.text(), &b.stream, &b.data_keys));
    }
    assert_eq!(odd.members("app"), plain.members("app"));
}

#[test]
fn what_makes_no_sense_is_said_and_takes_nothing_else_away() {
    let text = "stray key\n[SERVICE]\n    Flush 1\n[OUTPUT\n    Name x\n[MYSTERY]\n    a b\n@FROB x\n@SET nothing\n[OUTPUT]\n    Name kinesis\n    Match *\n    stream\n    stream good\n    [rule]\n        key value\n[PARSER]\n    Name p\n";
    let plan = read_text(text);
    assert_eq!(plan.outputs[0].stream, "good");
    let said: Vec<_> = plan.unsupported.iter().map(|note| (note.line, note.weight)).collect();
    let expected = [
        (1, Differs),
        (4, Differs),
        (5, Differs),
        (8, Differs),
        (9, Differs),
        (13, Differs),
        (15, Differs),
        (3, Moot),
        (6, Differs),
        (17, Moot),
    ];
    assert_eq!(said, expected, "{:?}", notes(&plan));
}

#[test]
fn variables_come_from_the_text_and_then_from_the_environment() {
    let text = "[OUTPUT]\nName ${PLUGIN}\nMatch ${ T }*\nstream a-${STREAM_0}-${STREAM_0}-$x-${open\nregion ${GONE}\n@SET PLUGIN=kinesis\n@SET T = tag\n@SET STREAM_0=set\n";
    let plan = read_text(text);
    let output = &plan.outputs[0];
    assert_eq!((output.stream.as_str(), output.pattern.text()), ("a-set-set-$x-${open", "tag*"));
    assert_eq!(output.region, None);
    assert_eq!(
        notes(&plan),
        [
            "Differs: fluent-bit.conf, line 5: [OUTPUT] region ${GONE}: the variable GONE is not set, and stands for nothing here"
        ]
    );

    let plan = read_text("[OUTPUT]\nName kinesis\nMatch *\nstream ${STREAM_0}\nstrem ${STREAM_0}");
    assert_eq!(plan.outputs[0].stream, "from-secret");
    assert!(!notes(&plan).concat().contains("from-secret"), "what came from a secret is not shown");
}

fn files(files: &[(&str, String)]) -> impl FnMut(&str) -> Included {
    let files: BTreeMap<String, String> = files.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
    move |wanted| {
        let text = files.get(wanted).ok_or("no such file")?;
        Ok(vec![(wanted.to_owned(), text.clone())])
    }
}

#[test]
fn what_is_included_stands_in_its_place_and_its_notes_name_its_file() {
    let main = "[INPUT]\nName forward\n@INCLUDE /extra.conf\nPort 4000\n@include gone.conf\n";
    let extra = "Port 1\n[OUTPUT]\nName kinesis\nMatch *\nstream s\nodd 1\n".to_owned();
    let plan = plan("main.conf", main, files(&[("/extra.conf", extra)]), environment).unwrap();
    assert_eq!(plan.listen.tcp, ["0.0.0.0:4000".parse().unwrap()], "the section goes on after the include");
    assert_eq!(plan.outputs[0].stream, "s");
    let said = notes(&plan);
    assert!(said[0].starts_with("Differs: /extra.conf, line 1: Port: it belongs to no section"), "{said:?}");
    assert_eq!(
        said[1],
        "Lost: main.conf, line 5: @INCLUDE gone.conf: not read, and what it says is not done: no such file"
    );
    assert!(said[2].starts_with("Differs: /extra.conf, line 6: [OUTPUT] odd 1:"), "{said:?}");
}

#[test]
fn includes_that_never_end_are_ended() {
    let circle = [("a", "@INCLUDE b\n".to_owned()), ("b", "@INCLUDE a\n@INCLUDE main\n".to_owned())];
    let plan_of =
        |include: &mut dyn FnMut(&str) -> Included| plan("main", "@INCLUDE a\n", include, environment).unwrap();
    let said = notes(&plan_of(&mut files(&circle)));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("b, line 1: @INCLUDE a: a was read before"), "{said:?}");

    // Each file another one: only its depth ends it.
    let mut made = 0;
    let said = notes(&plan_of(&mut |_| {
        made += 1;
        Ok(vec![(format!("file {made}"), "@INCLUDE next\n".to_owned())])
    }));
    assert!(said.len() == 1 && said[0].contains("more than 8 levels deep"), "{said:?}");

    // And two of them each time: their number does.
    let mut made = 0;
    let said = notes(&plan_of(&mut |_| {
        made += 1;
        Ok(vec![(format!("file {made}"), "@INCLUDE x\n@INCLUDE x\n".to_owned())])
    }));
    assert!(made <= 64, "{made} files were asked for");
    assert_eq!(said.iter().filter(|said| said.contains("more than 64 files")).count(), 1, "{said:?}");
}

#[test]
fn a_configuration_is_bounded() {
    let long = format!("[SERVICE]\n{}", "# a comment\n".repeat(MAX_BYTES / 12));
    assert!(matches!(plan("f", &long, nothing_included, environment), Err(Error::TooLong { .. })));
    let half = long.get(..MAX_BYTES / 2).unwrap().to_owned();
    let both = plan("f", "@INCLUDE a\n@INCLUDE b\n", files(&[("a", half.clone()), ("b", half)]), environment);
    assert_eq!(both.unwrap_err(), Error::TooLong { file: "b".to_owned() });
    let sections = "[X]\n".repeat(MAX_SECTIONS + 1);
    assert_eq!(
        plan("f", &sections, nothing_included, environment).unwrap_err(),
        Error::TooManySections { file: "f".to_owned(), line: MAX_SECTIONS + 1 }
    );
    let odd = read_text(&format!(
        "[OUTPUT]\nName kinesis\nMatch *\nstream s\n{}[OUTPUT]\nName es\nMatch *\n",
        "odd 1\n".repeat(5000)
    ));
    assert_eq!((odd.unsupported.len(), odd.unsaid, odd.losses().count()), (201, 4800, 1));
}

#[test]
fn other_formats_are_refused_with_a_way_out() {
    let refused = |file: &str, text: &str| plan(file, text, nothing_included, environment).unwrap_err().to_string();
    assert!(refused("/fluent-bit/etc/fluent-bit.yaml", "").contains("is YAML"));
    assert!(refused("f", "\n# x\nincludes:\n  - \"a\"\npipeline:\n").contains("config-file-value"));
    assert!(refused("f", "<source>\n  @type unix\n</source>\n").contains("firelensConfiguration.type"));
    assert!(plan("f", "", nothing_included, environment).unwrap().outputs.is_empty());
}

#[test]
fn a_router_of_firelens_is_known_by_its_file_and_by_ecs() {
    let ecs = |name: &str| (name == "ECS_CONTAINER_METADATA_URI_V4").then(|| "http://169.254.170.2/v4/x".to_owned());
    let mounted = |path: &'static str| move |asked: &Path| asked == Path::new(path);
    assert_eq!(detect(ecs, mounted(CONFIG)), Some(PathBuf::from(CONFIG)));
    assert_eq!(detect(ecs, mounted(FLUENTD)), Some(PathBuf::from(FLUENTD)));
    assert_eq!(detect(ecs, |_| false), None);
    assert_eq!(detect(|_| None, mounted(CONFIG)), None, "an image of Fluent Bit outside of ECS");
}

#[test]
fn files_on_disk_are_read_with_what_they_include() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fluent-bit.conf");
    std::fs::write(&path, "@INCLUDE parts/*.conf\n@INCLUDE fluent-bit.conf\n@INCLUDE gone.conf\n").unwrap();
    std::fs::create_dir(directory.path().join("parts")).unwrap();
    for name in ["a", "b"] {
        let text = format!("[OUTPUT]\nName kinesis\nMatch {name}*\nstream {name}\n");
        std::fs::write(directory.path().join("parts").join(format!("{name}.conf")), text).unwrap();
    }
    let plan = read(&path, environment).unwrap();
    assert_eq!(plan.outputs.iter().map(|output| output.stream.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let said = notes(&plan);
    assert!(said.len() == 2 && said[0].contains("was read before") && said[1].contains("gone.conf"), "{said:?}");

    std::fs::write(&path, vec![b'#'; MAX_BYTES * 2]).unwrap();
    assert!(matches!(read(&path, environment), Err(Error::TooLong { .. })));
    assert!(matches!(read(&directory.path().join("gone"), environment), Err(Error::Read { .. })));
}

proptest! {
    /// Whatever a file holds, there is an end, and no more notes than there may be.
    #[test]
    fn no_text_is_too_odd(lines in prop::collection::vec(prop_oneof![
        Just("[INPUT]".to_owned()), Just("[OUTPUT]".to_owned()), Just("[FILTER]".to_owned()), Just("  [x".to_owned()),
        Just("@INCLUDE y".to_owned()), Just("Name kinesis".to_owned()), Just("Name grep".to_owned()),
        "(Match|Match_Regex|stream|endpoint|Regex|Record|Port|Listen|compression) [ -~]{0,20}", "\\PC{0,30}", ".{0,30}",
    ], 0..40), tag in "\\PC{0,10}") {
        let text = lines.join("\n");
        if let Ok(plan) = plan("f", &text, |_| Ok(vec![("y".to_owned(), text.clone())]), |_| Some("${x".to_owned())) {
            let _ = plan.destination(&tag);
            let members = format!("{{{}}}", String::from_utf8(plan.members(&tag)).unwrap());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&members).is_ok());
            plan.keeps(&tag, |_| Some("x"));
        }
    }
}

/// What is made of outputs, each with these options, where these settings are set elsewhere.
fn taken(outputs: &[&str], set: &[(&str, &str)]) -> Taken {
    let section =
        |(at, options): (usize, &&str)| format!("[OUTPUT]\nName kinesis_streams\nMatch c{at}-firelens*\n{options}\n");
    let text: String = outputs.iter().enumerate().map(section).collect();
    let set: BTreeMap<&str, &str> = set.iter().copied().collect();
    take(read_text(&text), Path::new("fluent-bit.conf"), |name| set.get(name).map(|value| (*value).to_owned()))
}

fn said(taken: &Taken) -> Vec<(usize, Weight, &str)> {
    taken.notes.iter().map(|note| (note.line, note.weight, note.key.as_str())).collect()
}

#[test]
fn a_plan_becomes_settings_of_one_agent() {
    let made =
        taken(&["stream a\naggregation on\npartition_key x->y", "stream b\nregion eu-west-1\naggregation on"], &[]);
    assert_eq!(made.base.sources.len(), 1, "the second is in another region");
    assert_eq!(said(&made), [(7, Weight::Lost, "stream")]);
    assert!(matches!(made.dispatch.goes("c1-firelens-1"), Goes::Dropped("elsewhere")));
    assert!(matches!(made.dispatch.goes("c0-firelens-1"), Goes::To("c0", Some(_))));
    assert!(matches!(made.dispatch.goes("c2-firelens-1"), Goes::Dropped("unmatched")));
    assert!(matches!(made.dispatch.goes(HEALTH_TAG), Goes::NoLog));
    let kinesis = &made.base.kinesis;
    assert_eq!(
        (&kinesis["stream"], &kinesis["format"], &kinesis["partition_key"]),
        (&"a".into(), &"kpl".into(), &"{x.y}".into())
    );

    // A region that is set for all is that of all.
    let made = taken(&["stream a", "stream b\nregion eu-west-1"], &[("kinesis.region", "eu-west-1")]);
    assert_eq!((made.base.sources.len(), said(&made)), (2, Vec::new()));
    let streams: Vec<_> = made.base.sources.iter().map(|source| source.settings["stream"].as_str()).collect();
    assert_eq!(streams, [None, Some("b")], "the first is that of all");
}

#[test]
fn outputs_that_do_not_agree_are_said() {
    let made = taken(&["stream a\naggregation on", "stream a\npartition_key k"], &[]);
    assert_eq!(said(&made), [(1, Weight::Differs, "aggregation"), (1, Weight::Differs, "partition_key")]);
    assert_eq!(made.base.kinesis["format"], "single");
    let made = taken(
        &["stream a\ndata_keys log\npartition_key k\ntime_key t\ntime_key_format %Q"],
        &[("kinesis.format", "kpl")],
    );
    assert_eq!(said(&made), [(1, Weight::Differs, "partition_key"), (1, Weight::Differs, "time_key_format")]);
}

#[test]
fn a_stream_that_is_set_is_that_of_all() {
    for stream in
        [("kinesis.stream", "own"), ("kinesis.stream_arn", "arn:aws:kinesis:eu-west-1:111122223333:stream/own")]
    {
        let made = taken(&["stream own", "stream other"], &[stream]);
        assert_eq!(said(&made), [(5, Weight::Differs, "stream")]);
        assert!(made.base.sources.iter().all(|source| source.settings["stream"].is_null()));
        assert!(matches!(made.dispatch.goes("anything"), Goes::To("firelens", None)));
        assert!(made.dispatch.feeds("firelens") && !made.dispatch.feeds("c9"));
    }
    let nothing = taken(&[], &[]);
    assert_eq!(nothing.base.sources.len(), 1, "so that what is missing is the stream");
}
