//! A pod as it came: what is asked of it here. It changes nothing, and takes nothing for granted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a>(&'a Value);

impl<'a> Pod<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        Self(value)
    }

    fn at(self, path: &str) -> Option<&'a Value> {
        self.0.pointer(path).filter(|value| !value.is_null())
    }

    fn text(self, path: &str) -> Option<&'a str> {
        self.at(path)?.as_str()
    }

    fn list(self, path: &str) -> &'a [Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn texts(self, path: &str) -> BTreeMap<&'a str, &'a str> {
        let fields = self.at(path).and_then(Value::as_object).into_iter().flatten();
        fields.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
    }

    /// Its name, or what its name will begin with.
    pub(super) fn name(self) -> String {
        match (self.text("/metadata/name"), self.text("/metadata/generateName")) {
            (Some(name), _) if !name.is_empty() => name.to_owned(),
            (_, Some(prefix)) => format!("{prefix}*"),
            _ => "(no name)".to_owned(),
        }
    }

    pub(super) fn annotations(self) -> BTreeMap<&'a str, &'a str> {
        self.texts("/metadata/annotations")
    }

    pub(super) fn labels(self) -> BTreeMap<&'a str, &'a str> {
        self.texts("/metadata/labels")
    }

    /// Why it is no pod that can be given anything, if it is not.
    pub(super) fn problem(self) -> Option<&'static str> {
        let containers = self.containers();
        let is_named = |container: &Value| container.get("name").is_some_and(Value::is_string);
        if !self.at("/metadata").is_some_and(Value::is_object) {
            return Some("it has no metadata");
        }
        if containers.is_empty() {
            return Some("it has no containers");
        }
        let all_named = containers.iter().chain(self.init_containers()).all(is_named);
        (!all_named).then_some("a container has no name")
    }

    pub(super) fn containers(self) -> &'a [Value] {
        self.list("/spec/containers")
    }

    pub(super) fn init_containers(self) -> &'a [Value] {
        self.list("/spec/initContainers")
    }

    pub(super) fn volumes(self) -> &'a [Value] {
        self.list("/spec/volumes")
    }

    /// The names of all of its containers.
    pub(super) fn container_names(self) -> BTreeSet<&'a str> {
        self.containers().iter().chain(self.init_containers()).filter_map(name_of).collect()
    }

    /// Which container that is: one by its name, or the first.
    pub(super) fn container(self, name: Option<&str>) -> Result<usize, String> {
        let Some(name) = name else { return Ok(0) };
        self.containers().iter().position(|container| name_of(container) == Some(name)).ok_or_else(|| {
            let names: Vec<&str> = self.containers().iter().filter_map(name_of).collect();
            format!("there is no container {name}; there is {}", names.join(", "))
        })
    }

    /// The ports that its containers have, wherever they are.
    pub(super) fn ports(self) -> BTreeSet<u16> {
        let containers = self.containers().iter().chain(self.init_containers());
        let ports = containers.filter_map(|container| container.get("ports")?.as_array()).flatten();
        ports.filter_map(|port| u16::try_from(port.get("containerPort")?.as_u64()?).ok()).collect()
    }

    pub(super) fn is_in_host_network(self) -> bool {
        self.at("/spec/hostNetwork").and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn is_for_windows(self) -> bool {
        self.text("/spec/os/name") == Some("windows")
            || self.texts("/spec/nodeSelector").get("kubernetes.io/os") == Some(&"windows")
    }

    /// Whether the kubelet made it of a file: it can only show such a pod.
    pub(super) fn is_mirror(self) -> bool {
        self.annotations().contains_key("kubernetes.io/config.mirror")
    }

    /// Whether it goes on for ever, unlike those of Jobs.
    pub(super) fn is_restarted(self) -> bool {
        self.text("/spec/restartPolicy").is_none_or(|policy| policy == "Always")
    }

    pub(super) fn grace_period(self) -> Option<u64> {
        self.at("/spec/terminationGracePeriodSeconds")?.as_u64()
    }

    pub(super) fn fs_group(self) -> Option<&'a Value> {
        self.at("/spec/securityContext/fsGroup")
    }

    /// The volumes that outlive the pod or are not the kubelet's own: a group for all of its files could be a matter of hours there.
    pub(super) fn lasting_volumes(self) -> Vec<&'a str> {
        const LASTING: [&str; 4] = ["persistentVolumeClaim", "ephemeral", "csi", "nfs"];
        let is_lasting = |volume: &&Value| LASTING.iter().any(|kind| volume.get(*kind).is_some_and(|v| !v.is_null()));
        self.volumes().iter().filter(is_lasting).filter_map(name_of).collect()
    }
}

/// The name of a container, volume, mount or variable.
pub(super) fn name_of(value: &Value) -> Option<&str> {
    value.get("name")?.as_str()
}

/// A name that is not taken: the one that is wished for, or that with a number.
pub(super) fn free_name(wished: &str, taken: &BTreeSet<&str>) -> String {
    let numbered = (2..=taken.len() + 2).map(|n| format!("{wished}-{n}"));
    // One of these is free: there are more of them than names that are taken.
    std::iter::once(wished.to_owned()).chain(numbered).find(|name| !taken.contains(name.as_str())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_pod_is_told_of() {
        for (value, want) in [
            (json!(null), Some("it has no metadata")),
            (json!({"metadata": []}), Some("it has no metadata")),
            (json!({"metadata": {}}), Some("it has no containers")),
            (json!({"metadata": {}, "spec": {"containers": {}}}), Some("it has no containers")),
            (json!({"metadata": {}, "spec": {"containers": [1]}}), Some("a container has no name")),
            (
                json!({"metadata": {}, "spec": {"containers": [{"name": "a"}], "initContainers": [{}]}}),
                Some("a container has no name"),
            ),
            (json!({"metadata": {}, "spec": {"containers": [{"name": "a"}], "initContainers": null}}), None),
        ] {
            assert_eq!(Pod::of(&value).problem(), want, "{value}");
        }
    }

    #[test]
    fn free_names_are_free() {
        let taken = BTreeSet::from(["a", "a-2", "b"]);
        assert_eq!(free_name("a", &taken), "a-3");
        assert_eq!(free_name("c", &taken), "c");
    }
}
