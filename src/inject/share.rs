//! Which volumes a service and its sidecar share: from paths in a container to mounts in both. Whose files are read is not decided here.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::pod::{Pod, free_name, name_of};
use super::settings::Logs;

/// Directories of an image that a volume must not hide, and those of the kernel.
const OF_THE_SYSTEM: [&str; 18] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/opt", "/proc", "/root", "/run", "/sbin", "/srv",
    "/sys", "/usr", "/var", "/var/log",
];
/// Below these, too, there is nothing to be mounted.
const OF_THE_KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Volumes that nobody writes logs to.
const WRITTEN_BY_OTHERS: [&str; 4] = ["configMap", "secret", "projected", "downwardAPI"];

/// What is shared.
#[derive(Debug)]
pub(super) struct Share<'a> {
    pod: Pod<'a>,
    logs: &'a Logs,
    /// The sidecar's mounts, without what is read-only of them.
    mounts: Vec<Map<String, Value>>,
    /// Volumes that the pod gets.
    pub(super) volumes: Vec<Value>,
    /// Mounts that containers get, by the containers' places.
    pub(super) additions: Vec<(usize, Value)>,
}

impl<'a> Share<'a> {
    pub(super) fn new(pod: Pod<'a>, logs: &'a Logs) -> Self {
        Self { pod, logs, mounts: Vec::new(), volumes: Vec::new(), additions: Vec::new() }
    }

    /// Whether the sidecar sees a directory by now.
    pub(super) fn has(&self, directory: &str) -> bool {
        self.mounts.iter().any(|mount| is_within(directory, mount_path(mount)))
    }

    /// Shares a directory of a container.
    pub(super) fn add(&mut self, container: usize, directory: &str) -> Result<(), String> {
        let own = self.mounts_of(container);
        let cover = own.iter().filter(|mount| is_within(directory, mount_path(mount)));
        match cover.max_by_key(|mount| mount_path(mount).len()) {
            Some(mount) => {
                let mount = mount.clone();
                self.mirror(container, &mount)?;
            }
            None => self.make(container, directory)?,
        }
        // What is mounted below is not in the volume, and is part of what the paths mean.
        for mount in own.iter().filter(|mount| is_within(mount_path(mount), directory)) {
            if !self.is_written_by_others(mount) {
                self.mirror(container, mount)?;
            }
        }
        Ok(())
    }

    /// The sidecar's mounts. One that lies within another has to find its directory there, so that the outer one is not read-only: the
    /// sidecar may be the first to start.
    pub(super) fn sidecar_mounts(&self, is_writable: bool) -> Vec<Value> {
        let paths: Vec<&str> = self.mounts.iter().map(mount_path).collect();
        let has_inner = |path: &str| paths.iter().any(|other| *other != path && is_within(other, path));
        let finish = |mount: &Map<String, Value>| {
            let mut mount = mount.clone();
            if !is_writable && !has_inner(mount_path(&mount)) {
                mount.insert("readOnly".to_owned(), Value::Bool(true));
            }
            Value::Object(mount)
        };
        self.mounts.iter().map(finish).collect()
    }

    /// Paths that the sidecar has for itself may neither hide what is shared nor lie in it.
    pub(super) fn check_against(&self, paths: &[&str]) -> Result<(), String> {
        for shared in self.mounts.iter().map(mount_path) {
            if let Some(own) = paths.iter().find(|own| is_within(own, shared) || is_within(shared, own)) {
                return Err(format!(
                    "the volume at {shared} and {own}, which the sidecar needs itself, are in each other's way; mount the logs elsewhere"
                ));
            }
        }
        Ok(())
    }

    fn mounts_of(&self, container: usize) -> Vec<Map<String, Value>> {
        let there =
            self.pod.containers().get(container).and_then(|container| container.get("volumeMounts")?.as_array());
        let there = there.into_iter().flatten().filter_map(Value::as_object);
        let new = self.additions.iter().filter(|(at, _)| *at == container).filter_map(|(_, mount)| mount.as_object());
        there.chain(new).filter(|mount| mount_path(mount).starts_with('/')).cloned().collect()
    }

    fn mirror(&mut self, container: usize, mount: &Map<String, Value>) -> Result<(), String> {
        let path = mount_path(mount);
        let at = || format!("{path} in container {}", self.container_name(container));
        if mount.contains_key("subPathExpr") {
            return Err(format!(
                "{} is mounted with subPathExpr, which depends on that container's variables; use subPath",
                at()
            ));
        }
        let mut mirrored = Map::new();
        for key in ["name", "mountPath", "subPath"] {
            if let Some(value) = mount.get(key) {
                mirrored.insert(key.to_owned(), value.clone());
            }
        }
        mirrored.insert("mountPath".to_owned(), json!(path));
        match self.mounts.iter().find(|there| mount_path(there) == path) {
            Some(there) if *there == mirrored => Ok(()),
            Some(_) => {
                Err(format!("{} is another volume than in another container; have them write to different paths", at()))
            }
            None => {
                self.mounts.push(mirrored);
                Ok(())
            }
        }
    }

    /// A volume for a directory that has none.
    fn make(&mut self, container: usize, directory: &str) -> Result<(), String> {
        // Where the library has it, if that is where it is.
        let default = trimmed(&self.logs.mount_path);
        let path = if is_within(directory, default) { default } else { directory };
        if OF_THE_SYSTEM.contains(&path) || OF_THE_KERNEL.iter().any(|kernel| is_within(path, kernel)) {
            let name = self.container_name(container);
            return Err(format!(
                "container {name} has no volume for {path}, and an empty one would hide what the image has there; write logs to a directory of their own"
            ));
        }
        if self.has(path) {
            let name = self.container_name(container);
            return Err(format!(
                "{path} is in a volume of another container than {name}; have them write to different paths, or mount one volume in both"
            ));
        }
        let name = self.volume_for_logs()?;
        let mount = json!({"name": name, "mountPath": path});
        self.additions.push((container, mount.clone()));
        self.mounts.extend(mount.as_object().cloned());
        Ok(())
    }

    fn volume_for_logs(&mut self) -> Result<String, String> {
        let there: BTreeSet<&str> = self.pod.volumes().iter().chain(&self.volumes).filter_map(name_of).collect();
        let wished = self.logs.volume.as_str();
        if !self.logs.create {
            if there.contains(wished) {
                return Ok(wished.to_owned());
            }
            return Err(format!(
                "the pod has no volume {wished}, and sidecar.logs.create is false; add one to the pod"
            ));
        }
        let name = free_name(wished, &there);
        self.volumes.push(json!({"name": name, "emptyDir": {"sizeLimit": self.logs.size_limit}}));
        Ok(name)
    }

    fn container_name(&self, index: usize) -> &str {
        self.pod.containers().get(index).and_then(name_of).unwrap_or_default()
    }

    fn is_written_by_others(&self, mount: &Map<String, Value>) -> bool {
        let name = mount.get("name").and_then(Value::as_str);
        let volume = self.pod.volumes().iter().find(|volume| name_of(volume) == name);
        volume
            .is_some_and(|volume| WRITTEN_BY_OTHERS.iter().any(|kind| volume.get(*kind).is_some_and(|v| !v.is_null())))
    }
}

fn mount_path(mount: &Map<String, Value>) -> &str {
    mount.get("mountPath").and_then(Value::as_str).map_or("", trimmed)
}

fn trimmed(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    if path.is_empty() { "/" } else { path }
}

/// Whether a path is a directory or lies below it.
pub(super) fn is_within(path: &str, directory: &str) -> bool {
    let (path, directory) = (trimmed(path), trimmed(directory));
    directory == "/" || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The directory that holds all that a pattern can mean: up to the first part with a wildcard, and without the last part.
pub(super) fn directory_of(glob: &str) -> String {
    let parts: Vec<&str> = glob.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let before = parts.iter().take(parts.len().saturating_sub(1));
    let plain: Vec<&str> = before.take_while(|part| !part.contains(['*', '?', '['])).copied().collect();
    format!("/{}", plain.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_patterns() {
        for (glob, want) in [
            ("/var/log/app/*.log", "/var/log/app"),
            ("/var/log/app/current", "/var/log/app"),
            ("/var/log//./a*/b/c.log", "/var/log"),
            ("/srv/**/x/*.log", "/srv"),
            ("/app.log", "/"),
            ("/[ab]/c", "/"),
        ] {
            assert_eq!(directory_of(glob), want, "{glob}");
        }
    }

    #[test]
    fn below_is_by_parts_and_not_by_letters() {
        assert!(is_within("/var/log/app", "/var/log"));
        assert!(is_within("/var/log/", "/var/log"));
        assert!(is_within("/a", "/"));
        assert!(!is_within("/var/logs", "/var/log"));
        assert!(!is_within("/var", "/var/log"));
    }

    /// The sidecar's mounts, the pod's new volumes, and the new mounts of its containers.
    type Shared = (Vec<Value>, Vec<Value>, Vec<(usize, Value)>);

    fn share(pod: &Value, wishes: &[(usize, &str)]) -> Result<Shared, String> {
        let logs = Logs::default();
        let mut share = Share::new(Pod::of(pod), &logs);
        for (container, directory) in wishes {
            share.add(*container, directory)?;
        }
        Ok((share.sidecar_mounts(false), share.volumes, share.additions))
    }

    #[test]
    fn volumes_that_are_there_are_used() {
        let pod = json!({"spec": {
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tls", "secret": {}}],
            "containers": [{"name": "a", "volumeMounts": [
                {"name": "data", "mountPath": "/data/", "subPath": "x", "mountPropagation": "None"},
                {"name": "data", "mountPath": "/data/logs/old", "subPath": "y"},
                {"name": "tls", "mountPath": "/data/logs/tls"},
            ]}],
        }});
        let (mounts, volumes, additions) = share(&pod, &[(0, "/data/logs")]).unwrap();
        let outer = json!({"name": "data", "mountPath": "/data", "subPath": "x"});
        let inner = json!({"name": "data", "mountPath": "/data/logs/old", "subPath": "y", "readOnly": true});
        assert_eq!(mounts, [outer, inner]);
        assert!(volumes.is_empty() && additions.is_empty());
    }

    #[test]
    fn volumes_that_are_missing_are_made() {
        let pod =
            json!({"spec": {"volumes": [{"name": "kinetail-logs"}], "containers": [{"name": "a"}, {"name": "b"}]}});
        let (mounts, volumes, additions) =
            share(&pod, &[(0, "/var/log/app/x"), (0, "/var/log/app"), (1, "/srv/b")]).unwrap();
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0], json!({"name": "kinetail-logs-2", "mountPath": "/var/log/app", "readOnly": true}));
        assert_eq!(volumes[1], json!({"name": "kinetail-logs-3", "emptyDir": {"sizeLimit": "1Gi"}}));
        assert_eq!(additions[1], (1, json!({"name": "kinetail-logs-3", "mountPath": "/srv/b"})));
    }

    #[test]
    fn what_cannot_be_shared_is_told_of() {
        let plain = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        let by_variable = json!({"spec": {"containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/l", "subPathExpr": "$(X)"}]}]}});
        let two = json!({"spec": {"containers": [
            {"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/l"}]},
            {"name": "b", "volumeMounts": [{"name": "w", "mountPath": "/l"}]},
        ]}});
        for (pod, wishes, part) in [
            (&plain, vec![(0, "/var")], "would hide what the image has there"),
            (&plain, vec![(0, "/proc/1")], "would hide"),
            (&plain, vec![(0, "/logs"), (1, "/logs/b")], "another container than b"),
            (&by_variable, vec![(0, "/l")], "subPathExpr"),
            (&two, vec![(0, "/l"), (1, "/l")], "is another volume than in another container"),
        ] {
            let problem = share(pod, &wishes).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
