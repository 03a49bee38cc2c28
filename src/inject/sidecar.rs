//! What a pod gets, as Kubernetes has it: containers, volumes, mounts, variables. The same as what the chart kinetail-lib renders; the suite of the
//! charts compares them.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::annotations::Wish;
use super::configuration::{Agent, CONFIG_DIR, lay};
use super::settings::Sidecar;

/// The group by which the agent reads what the service writes, whoever that runs as.
const GROUP: u32 = 65532;
/// Where the pod's labels and annotations are.
pub(super) const POD_INFO_DIR: &str = "/etc/podinfo";
/// The volume of these.
pub(super) const POD_INFO: &str = "kinetail-podinfo";
/// Where the program is that commands are wrapped in.
pub(super) const PROGRAM_DIR: &str = "/opt/kinetail";
/// The container that puts it there.
pub(super) const INSTALL: &str = "kinetail-install";
/// What the program may take on the node.
const PROGRAM_LIMIT: &str = "128Mi";
/// Who and where the pod is, for `add.metadata`.
const POD_VARIABLES: [(&str, &str); 5] = [
    ("NODE_NAME", "spec.nodeName"),
    ("POD_IP", "status.podIP"),
    ("POD_NAME", "metadata.name"),
    ("POD_NAMESPACE", "metadata.namespace"),
    ("POD_UID", "metadata.uid"),
];

/// A sidecar by the injector's settings and a pod's wishes.
#[derive(Debug)]
pub(super) struct Template<'a> {
    sidecar: &'a Sidecar,
    image: String,
    /// Its resources.
    pub(super) resources: Map<String, Value>,
    security_context: Map<String, Value>,
}

impl<'a> Template<'a> {
    pub(super) fn new(sidecar: &'a Sidecar, wish: &Wish) -> Self {
        let mut resources = sidecar.resources.clone();
        lay(&mut resources, &wish.resources);
        for section in resources.values_mut().filter_map(Value::as_object_mut) {
            section.retain(|_, quantity| !quantity.is_null());
        }
        let mut security_context = sidecar.security_context.clone();
        if let Some(user) = wish.user {
            security_context.insert("runAsUser".to_owned(), json!(user));
        }
        let image = wish.image.clone().unwrap_or_else(|| sidecar.image.reference());
        Self { sidecar, image, resources, security_context }
    }

    /// The container of a sidecar.
    pub(super) fn container(&self, agent: &Agent, is_native: bool, mounts: Vec<Value>) -> Value {
        let mut container =
            self.base(&self.sidecar.name, ["run"].map(str::to_owned).into_iter().chain(agent.arguments.clone()));
        if is_native {
            container.insert("restartPolicy".to_owned(), json!("Always"));
        }
        container.insert("env".to_owned(), Value::Array(self.variables(agent)));
        if !self.sidecar.env_from.is_empty() {
            container.insert("envFrom".to_owned(), json!(self.sidecar.env_from));
        }
        if let Some(listen) = agent.listen {
            container.insert("ports".to_owned(), json!([port("metrics", listen)]));
            let probes = &self.sidecar.probes;
            for (name, probe, path) in [
                ("startupProbe", &probes.startup, "/livez"),
                ("livenessProbe", &probes.liveness, "/livez"),
                ("readinessProbe", &probes.readiness, "/readyz"),
            ] {
                if let Some(probe) = probe {
                    container.insert(name.to_owned(), probe_of(probe, path));
                }
            }
        }
        if !self.sidecar.lifecycle.is_empty() {
            container.insert("lifecycle".to_owned(), json!(self.sidecar.lifecycle));
        }
        container.insert("volumeMounts".to_owned(), Value::Array(mounts));
        Value::Object(container)
    }

    /// The container that puts the program where other containers find it.
    pub(super) fn install(&self, volume: &str) -> Value {
        let mut container = self.base(INSTALL, ["install".to_owned(), program()]);
        container.insert("volumeMounts".to_owned(), json!([{"name": volume, "mountPath": PROGRAM_DIR}]));
        Value::Object(container)
    }

    fn base(&self, name: &str, arguments: impl IntoIterator<Item = String>) -> Map<String, Value> {
        let mut container = Map::new();
        let arguments: Vec<String> = arguments.into_iter().collect();
        container.insert("name".to_owned(), json!(name));
        container.insert("image".to_owned(), json!(self.image));
        container.insert("imagePullPolicy".to_owned(), json!(self.sidecar.image.pull_policy));
        container.insert("args".to_owned(), json!(arguments));
        for (name, fields) in [("resources", &self.resources), ("securityContext", &self.security_context)] {
            if !fields.is_empty() {
                container.insert(name.to_owned(), json!(fields));
            }
        }
        container
    }

    /// The variables of an agent.
    pub(super) fn variables(&self, agent: &Agent) -> Vec<Value> {
        let of_pod = POD_VARIABLES
            .iter()
            .map(|(name, path)| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}))
            .filter(|_| self.sidecar.pod_info);
        of_pod.chain(agent.variables.iter().cloned()).chain(self.sidecar.env.iter().cloned()).collect()
    }

    /// What an agent mounts for itself.
    pub(super) fn own_mounts(&self, agent: &Agent, state: &str, config: Option<&str>) -> Vec<Value> {
        let mut mounts = vec![json!({"name": state, "mountPath": agent.state_dir})];
        if self.sidecar.pod_info {
            mounts.push(json!({"name": POD_INFO, "mountPath": POD_INFO_DIR, "readOnly": true}));
        }
        if let Some(volume) = config {
            mounts.push(json!({"name": volume, "mountPath": CONFIG_DIR, "readOnly": true}));
        }
        mounts
    }
}

/// The program that commands are wrapped in.
pub(super) fn program() -> String {
    format!("{PROGRAM_DIR}/kinetail")
}

/// A port of the admin server.
pub(super) fn port(name: &str, listen: SocketAddr) -> Value {
    json!({"name": name, "containerPort": listen.port(), "protocol": "TCP"})
}

/// A handler of the user's own counts more.
fn probe_of(probe: &Map<String, Value>, path: &str) -> Value {
    let mut probe = probe.clone();
    if !["httpGet", "tcpSocket", "exec"]
        .iter()
        .any(|handler| probe.get(*handler).is_some_and(|handler| !handler.is_null()))
    {
        probe.insert("httpGet".to_owned(), json!({"path": path, "port": "metrics"}));
    }
    Value::Object(probe)
}

/// An empty volume.
pub(super) fn empty_dir(name: &str, limit: &Value) -> Value {
    json!({"name": name, "emptyDir": {"sizeLimit": limit}})
}

/// The volume of the program.
pub(super) fn program_volume(name: &str) -> Value {
    empty_dir(name, &json!(PROGRAM_LIMIT))
}

/// The volume of what the pod is told of itself.
pub(super) fn pod_info_volume() -> Value {
    let item = |name: &str| json!({"path": name, "fieldRef": {"fieldPath": format!("metadata.{name}")}});
    json!({"name": POD_INFO, "downwardAPI": {"items": [item("labels"), item("annotations")]}})
}

/// The volume of a configuration.
pub(super) fn config_volume(name: &str, config_map: &str) -> Value {
    json!({"name": name, "configMap": {"name": config_map}})
}

/// What of the pod's security context lets the agent read.
pub(super) fn pod_security_context() -> [(&'static str, Value); 2] {
    [("fsGroup", json!(GROUP)), ("fsGroupChangePolicy", json!("OnRootMismatch"))]
}

/// Annotations for a Prometheus that looks for them.
pub(super) fn scraped_at(listen: SocketAddr) -> [(&'static str, String); 3] {
    [
        ("prometheus.io/scrape", "true".to_owned()),
        ("prometheus.io/port", listen.port().to_string()),
        ("prometheus.io/path", "/metrics".to_owned()),
    ]
}
