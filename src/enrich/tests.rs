use super::*;

fn sample() -> Metadata {
    Metadata::new(vec![
        Field::new("ecs", "cluster", "prod"),
        Field::new("ecs", "image", "a \"b\"\n"),
        Field::new("cloud", "availability_zone", "eu-west-1a"),
        Field::new("kubernetes", "pod_name", "web-1"),
        Field::new(kubernetes::LABELS, "app.kubernetes.io/name", "web"),
        Field::new(kubernetes::LABELS, "tier", "front"),
        Field::new(kubernetes::ANNOTATIONS, "note", "x"),
        Field::new("host", "name", "node"),
    ])
}

fn rendered(chosen: &[&str]) -> String {
    String::from_utf8(sample().members(&Chosen::parse(chosen).unwrap())).unwrap()
}

#[test]
fn chosen_fields_are_rendered_as_members_in_their_objects() {
    assert_eq!(
        rendered(&["*"]),
        r#""ecs":{"cluster":"prod","image":"a \"b\"\n"},"cloud":{"availability_zone":"eu-west-1a"},"kubernetes":{"pod_name":"web-1","labels":{"app.kubernetes.io/name":"web","tier":"front"},"annotations":{"note":"x"}},"host":{"name":"node"}"#
    );
    assert_eq!(
        rendered(&["ecs.*", "host.name"]),
        r#""ecs":{"cluster":"prod","image":"a \"b\"\n"},"host":{"name":"node"}"#
    );
    assert_eq!(
        rendered(&["kubernetes.labels.app*", "ecs.cluster"]),
        r#""ecs":{"cluster":"prod"},"kubernetes":{"labels":{"app.kubernetes.io/name":"web"}}"#
    );
    assert_eq!(rendered(&["kubernetes.labels.tier"]), r#""kubernetes":{"labels":{"tier":"front"}}"#);
    assert_eq!(rendered(&["ecs.task_arn", "kubernetes.labels.nowhere"]), "");
    assert_eq!(rendered(&[]), "");
    let whole: serde_json::Value = serde_json::from_str(&format!("{{{}}}", rendered(&["*"]))).unwrap();
    assert_eq!(whole["kubernetes"]["labels"]["app.kubernetes.io/name"], "web");
}

#[test]
fn objects_come_apart_under_their_names() {
    let objects = sample().objects(&Chosen::parse(&["cloud.*", "host.*"]).unwrap());
    assert_eq!(
        objects,
        [("cloud", br#"{"availability_zone":"eu-west-1a"}"#.to_vec()), ("host", br#"{"name":"node"}"#.to_vec())]
    );
}

#[test]
fn every_known_name_can_be_chosen_and_each_alone_is_what_it_says() {
    for name in NAMES {
        let chosen = Chosen::parse(&[name]).unwrap();
        assert!(chosen.has(name));
        assert_eq!(NAMES.iter().filter(|other| chosen.has(other)).count(), 1, "{name}");
    }
}

#[test]
fn what_is_no_field_is_refused_with_the_nearest_that_is() {
    let refused = |name: &str| Chosen::parse(&[name]).unwrap_err().to_string();
    assert!(refused("ecs.task_am").contains("\"ecs.task_arn\""), "{}", refused("ecs.task_am"));
    assert!(refused("kubernetes.podname").contains("\"kubernetes.pod_name\""));
    for name in ["", "ecs", "ecs.", "zzz", "zzz.*", "kubernetes.labels", "kubernetes.labels.", "host.names.*"] {
        assert!(refused(name).contains(&format!("{name:?} is no field")), "{}", refused(name));
    }
    for name in ["*.arn", "ecs.*.*", "**", "ecs.ta*k"] {
        assert!(matches!(Chosen::parse(&[name]), Err(Error::Star(_))), "{name}");
    }
}

#[test]
fn only_what_is_chosen_is_found_out() {
    let env = |name: &str| match name {
        ecs::VARIABLE => Some("http://127.0.0.1:1/v4".to_owned()),
        "POD_NAME" => Some("web-1".to_owned()),
        _ => None,
    };
    let found = |chosen: &str| {
        let chosen = Chosen::parse(&[chosen]).unwrap();
        let sources = Sources::find(&chosen, Settings::default(), "node", env);
        (sources.ecs.is_some(), sources.kubernetes.is_some(), sources.host.is_some())
    };
    assert_eq!(found("*"), (true, true, true));
    assert_eq!(found("ecs.task_arn"), (true, false, false));
    assert_eq!(found("cloud.*"), (true, false, false));
    assert_eq!(found("kubernetes.labels.a"), (false, true, false));
    assert_eq!(found("kubernetes.lab*"), (false, true, false));
    assert_eq!(found("kube*"), (false, true, false));
    assert_eq!(found("host.name"), (false, false, true));
}

#[test]
fn an_unusable_address_is_no_reason_to_do_without_the_rest() {
    let env = |name: &str| (name == ecs::VARIABLE).then(|| "nonsense".to_owned());
    let sources = Sources::find(&Chosen::parse(&["*"]).unwrap(), Settings::default(), "node", env);
    assert!(sources.ecs.is_none() && sources.host.is_some());
}
