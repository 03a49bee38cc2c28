//! A pod and its wishes, and what is done to it: a sidecar, wrapped commands, and what these need. It is all or nothing: a wish that cannot be
//! granted leaves the pod as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::annotations::{INJECTED, PREFIX, Pattern, STATUS, Stdout, Wish, quantity};
use super::configuration::{Agent, CONFIG_DIR, Draft, Ports};
use super::patch::{Patch, Step};
use super::pod::{Pod, free_name, name_of};
use super::settings::{Settings, is_label};
use super::share::{Share, directory_of};
use super::sidecar::{
    INSTALL, POD_INFO, POD_INFO_DIR, PROGRAM_DIR, Template, config_volume, empty_dir, pod_info_volume,
    pod_security_context, port, program, program_volume, scraped_at,
};
use crate::config::SourceKind;

/// What the process takes beside `memory_limit`.
const OWN_MEMORY: f64 = 16.0 * 1024.0 * 1024.0;
/// What the last checkpoint may take after `shutdown.timeout`.
const LAST_CHECKPOINT_SECONDS: u64 = 5;

/// What is to be done.
#[derive(Debug)]
struct Plan {
    sidecar: Option<Planned>,
    wrapped: Vec<(usize, Planned)>,
    /// Volumes of the pod, and mounts of its containers.
    volumes: Vec<Value>,
    additions: Vec<(usize, Value)>,
    program: Option<String>,
    is_native: bool,
    warnings: Vec<String>,
}

/// An agent, and what it mounts.
#[derive(Debug)]
struct Planned {
    agent: Agent,
    mounts: Vec<Value>,
}

/// Does to a pod what it asks for: the operations of the patch, and what its owner should know.
pub(super) fn inject(settings: &Settings, pod: Value, wish: &Wish) -> Result<(Vec<Value>, Vec<String>), String> {
    let template = Template::new(&settings.sidecar, wish);
    let plan = Planner::new(settings, Pod::of(&pod), wish, &template)?.plan()?;
    let mut patch = Patch::of(pod);
    let warnings = plan.warnings.clone();
    plan.carry_out(settings, &template, &mut patch);
    Ok((patch.into_operations(), warnings))
}

struct Planner<'a> {
    settings: &'a Settings,
    pod: Pod<'a>,
    wish: &'a Wish,
    template: &'a Template<'a>,
    ports: Ports,
    volumes: Vec<Value>,
    /// The volume of the `ConfigMap`, if there is one.
    config: Option<String>,
    warnings: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(settings: &'a Settings, pod: Pod<'a>, wish: &'a Wish, template: &'a Template<'a>) -> Result<Self, String> {
        if let Some(problem) = pod.problem() {
            return Err(format!("this is no pod as we know them: {problem}"));
        }
        if pod.is_for_windows() {
            return Err("the pod is for Windows, where kinetail does not run".to_owned());
        }
        let ports = Ports::new(pod.ports(), pod.is_in_host_network(), wish.port);
        let warnings = wish.warnings.clone();
        Ok(Self { settings, pod, wish, template, ports, volumes: Vec::new(), config: None, warnings })
    }

    fn plan(mut self) -> Result<Plan, String> {
        let draft = Draft::new(self.settings, self.wish);
        let containers = self.containers()?;
        if draft.has_commands() && containers.is_empty() {
            return Err(format!(
                "a source is of type exec, and no container's command is wrapped; name it by {PREFIX}stdout"
            ));
        }
        let is_native = self.is_native()?;
        let (mut sidecar, mut additions) = (None, Vec::new());
        if containers.is_empty() || draft.has_files() {
            let (planned, mounts) = self.sidecar(&draft, is_native)?;
            (sidecar, additions) = (Some(planned), mounts);
        }
        let wrapped = containers.into_iter().map(|index| Ok((index, self.wrapper(&draft, index, sidecar.is_some())?)));
        let wrapped = wrapped.collect::<Result<Vec<_>, String>>()?;
        let program = (!wrapped.is_empty()).then(|| self.free_volume("kinetail-program"));
        if let Some(program) = &program {
            self.volumes.push(program_volume(program));
        }
        if self.settings.sidecar.pod_info {
            self.volumes.push(pod_info_volume());
        }
        if self.ports.none {
            self.warnings.push(format!("the pod is in the node's network, so that kinetail has no port, no metrics and no probes; give it one by {PREFIX}port"));
        }
        let Self { volumes, warnings, .. } = self;
        Ok(Plan { sidecar, wrapped, volumes, additions, program, is_native, warnings })
    }

    fn is_native(&self) -> Result<bool, String> {
        let is_native = self.wish.native.unwrap_or_else(|| self.settings.native());
        if is_native && !self.settings.may_be_native() {
            return Err(format!(
                "{PREFIX}native is true, and Kubernetes {} has no native sidecars",
                self.settings.kubernetes
            ));
        }
        Ok(is_native)
    }

    // --- a sidecar ------------------------------------------------------------------------------------------------------

    fn sidecar(&mut self, draft: &Draft<'_>, is_native: bool) -> Result<(Planned, Vec<(usize, Value)>), String> {
        if !is_native && !self.pod.is_restarted() {
            return Err("the pod ends, and a sidecar that is not native would keep it from that; use Kubernetes 1.29 with native sidecars, or kinetail.dev/stdout".to_owned());
        }
        let agent = draft.sidecar(&self.files()?, &mut self.ports)?;
        self.check_memory(&agent)?;
        let mut share = Share::new(self.pod, &self.settings.sidecar.logs);
        self.share(&agent, &mut share)?;
        let is_writable =
            agent.sources.iter().any(|source| source.kind == SourceKind::Fifo || source.forward.unix.is_some());
        let mut mounts = share.sidecar_mounts(is_writable);
        self.check_group();
        self.volumes.append(&mut share.volumes);
        let state = self.state(&self.settings.sidecar.state.volume.clone())?;
        let own = self.mounts_of(&agent, &state);
        let extra = self.settings.sidecar.extra_volume_mounts.iter();
        let taken: Vec<&str> =
            own.iter().chain(extra.clone()).filter_map(|mount| mount.get("mountPath")?.as_str()).collect();
        share.check_against(&taken)?;
        let additions = share.additions;
        mounts.extend(own.iter().cloned());
        mounts.extend(extra.cloned());
        Ok((Planned { agent, mounts }, additions))
    }

    /// The files that are asked for, by container; those of the library's default if none are.
    fn files(&self) -> Result<BTreeMap<String, Vec<String>>, String> {
        let default = Pattern {
            container: None,
            glob: format!("{}/*.log", self.settings.sidecar.logs.mount_path.trim_end_matches('/')),
        };
        let patterns =
            if self.wish.files.is_empty() { std::slice::from_ref(&default) } else { self.wish.files.as_slice() };
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pattern in patterns {
            let index = self.container(pattern)?;
            files.entry(self.name(index).to_owned()).or_default().push(pattern.glob.clone());
        }
        Ok(files)
    }

    /// Shares what the annotation names, and what sources read beside that.
    fn share(&self, agent: &Agent, share: &mut Share<'_>) -> Result<(), String> {
        let mut named = Vec::new();
        for pattern in &self.wish.files {
            named.push((self.container(pattern)?, directory_of(&pattern.glob)));
        }
        if self.wish.config_map.is_some() && named.is_empty() {
            return Err(format!(
                "which directories the ConfigMap's sources read is not known here; name their files by {PREFIX}files too"
            ));
        }
        // Outer directories first: what lies in them needs no volume of its own.
        named.sort_by_key(|(_, directory)| directory.len());
        for (container, directory) in &named {
            share.add(*container, directory)?;
        }
        for source in &agent.sources {
            let socket = source.forward.unix.iter().map(|path| path.display().to_string());
            for path in source.paths.iter().cloned().chain(socket) {
                let directory = directory_of(&path);
                if !share.has(&directory) {
                    share.add(0, &directory)?;
                }
            }
        }
        Ok(())
    }

    fn check_memory(&self, agent: &Agent) -> Result<(), String> {
        let limit = self.template.resources.get("limits").and_then(|limits| limits.get("memory"));
        let (Some(limit), Some(budget)) = (limit, agent.memory_limit) else { return Ok(()) };
        #[expect(clippy::cast_precision_loss, reason = "it is compared with a limit that is written in MiB")]
        let needed = budget as f64 + OWN_MEMORY;
        if quantity(limit).is_some_and(|bytes| bytes < needed) {
            let mib = needed / 1024.0 / 1024.0;
            let shown = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
            return Err(format!(
                "the memory limit of {shown} is less than the {mib:.0}Mi of memory_limit and the process itself; raise it by {PREFIX}resources"
            ));
        }
        Ok(())
    }

    /// Tells of files that may not be readable. Giving all files of a lasting volume to a group can take hours, and is not undone.
    fn check_group(&mut self) {
        let lasting = self.pod.lasting_volumes();
        if self.pod.fs_group().is_none() && !lasting.is_empty() && self.wish.user.is_none() {
            self.warnings.push(format!("fsGroup is not set, since it would change the files of {}; what is written with a mode like 0640 is read only with {PREFIX}run-as-user", lasting.join(", ")));
        }
    }

    // --- wrapped commands -----------------------------------------------------------------------------------------------

    /// The containers whose commands are wrapped.
    fn containers(&self) -> Result<Vec<usize>, String> {
        let mut indices = match &self.wish.stdout {
            Stdout::Nobodys => Vec::new(),
            Stdout::First => vec![0],
            Stdout::Of(names) => names
                .iter()
                .map(|name| self.pod.container(Some(name)).map_err(|problem| format!("{PREFIX}stdout: {problem}")))
                .collect::<Result<_, _>>()?,
        };
        indices.sort_unstable();
        indices.dedup();
        Ok(indices)
    }

    fn wrapper(&mut self, draft: &Draft<'_>, index: usize, has_sidecar: bool) -> Result<Planned, String> {
        let name = self.name(index);
        let container = self.pod.containers().get(index).unwrap_or(&Value::Null);
        let is_set = |key: &str| container.get(key).is_some_and(|value| *value == Value::Bool(true));
        let command = container.get("command").and_then(Value::as_array);
        if command.is_none_or(Vec::is_empty) {
            return Err(format!(
                "container {name} states no command, and that of its image is not known here; state it in the pod to have its stdout sent"
            ));
        }
        if is_set("tty") {
            return Err(format!(
                "container {name} has a terminal (tty: true), which a pipe cannot replace; set that to false"
            ));
        }
        let variables = container.get("env").and_then(Value::as_array).into_iter().flatten();
        if let Some(own) = variables.filter_map(name_of).find(|variable| variable.starts_with("KINETAIL_")) {
            return Err(format!("container {name} has the variable {own} already; remove it, or {PREFIX}stdout"));
        }
        let agent = draft.wrapper(name, &mut self.ports)?;
        let state = self.state(&self.state_name(name, index, has_sidecar))?;
        let mut mounts = self.mounts_of(&agent, &state);
        self.check_mounts(index, &agent)?;
        mounts.retain(|mount| !self.is_mounted(index, mount));
        Ok(Planned { agent, mounts })
    }

    /// Each agent has its own.
    fn state_name(&self, container: &str, index: usize, has_sidecar: bool) -> String {
        let base = &self.settings.sidecar.state.volume;
        if !has_sidecar && self.containers().is_ok_and(|all| all.len() == 1) {
            return base.clone();
        }
        let name = format!("{base}-{container}");
        if is_label(&name) { name } else { format!("{base}-{index}") }
    }

    fn check_mounts(&self, index: usize, agent: &Agent) -> Result<(), String> {
        let mounts = self.pod.containers().get(index).and_then(|container| container.get("volumeMounts")?.as_array());
        let there: BTreeSet<&str> = mounts
            .into_iter()
            .flatten()
            .filter_map(|mount| mount.get("mountPath")?.as_str())
            .map(|path| path.trim_end_matches('/'))
            .collect();
        let needed = [PROGRAM_DIR, POD_INFO_DIR, CONFIG_DIR, agent.state_dir.as_str()];
        match needed.iter().find(|path| there.contains(**path)) {
            Some(path) => Err(format!(
                "container {} has a volume at {path}, which kinetail needs there; mount it elsewhere",
                self.name(index)
            )),
            None => Ok(()),
        }
    }

    fn is_mounted(&self, index: usize, mount: &Value) -> bool {
        let mounts = self.pod.containers().get(index).and_then(|container| container.get("volumeMounts")?.as_array());
        mounts.is_some_and(|mounts| mounts.contains(mount))
    }

    // --- what both need -------------------------------------------------------------------------------------------------

    fn container(&self, pattern: &Pattern) -> Result<usize, String> {
        self.pod.container(pattern.container.as_deref()).map_err(|problem| format!("{PREFIX}files: {problem}"))
    }

    fn name(&self, index: usize) -> &'a str {
        self.pod.containers().get(index).and_then(name_of).unwrap_or_default()
    }

    fn free_volume(&self, wished: &str) -> String {
        free_name(wished, &self.pod.volumes().iter().chain(&self.volumes).filter_map(name_of).collect())
    }

    /// The volume of an agent's state.
    fn state(&mut self, wished: &str) -> Result<String, String> {
        let state = &self.settings.sidecar.state;
        if !state.create {
            let is_there = self.pod.volumes().iter().any(|volume| name_of(volume) == Some(wished));
            let problem =
                || format!("the pod has no volume {wished}, and sidecar.state.create is false; add one to the pod");
            return if is_there { Ok(wished.to_owned()) } else { Err(problem()) };
        }
        let name = self.free_volume(wished);
        self.volumes.push(empty_dir(&name, &state.size_limit));
        Ok(name)
    }

    fn mounts_of(&mut self, agent: &Agent, state: &str) -> Vec<Value> {
        if let (Some(config_map), None) = (&agent.config_map, &self.config) {
            let name = self.free_volume("kinetail-config");
            self.volumes.push(config_volume(&name, config_map));
            self.config = Some(name);
        }
        self.template.own_mounts(agent, state, self.config.as_deref())
    }
}

impl Plan {
    fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.sidecar.iter().chain(self.wrapped.iter().map(|(_, planned)| planned)).map(|planned| &planned.agent)
    }

    fn carry_out(self, settings: &Settings, template: &Template<'_>, patch: &mut Patch) {
        self.annotate(settings, patch);
        self.give_time(settings, patch);
        let there: BTreeSet<String> =
            Pod::of(patch.document()).volumes().iter().filter_map(name_of).map(str::to_owned).collect();
        // One that is there is another webhook's or ours of another agent: what the pod is told of itself is the same for all.
        for volume in
            self.volumes.iter().filter(|volume| name_of(volume) != Some(POD_INFO) || !there.contains(POD_INFO))
        {
            patch.append(&["spec".into(), "volumes".into()], volume.clone());
        }
        for (index, mount) in &self.additions {
            patch.append(&of_container(*index, "volumeMounts"), mount.clone());
        }
        if let Some(sidecar) = self.sidecar {
            let container = template.container(&sidecar.agent, self.is_native, sidecar.mounts);
            give_group(patch);
            place(patch, container, self.is_native);
        }
        let Some(volume) = self.program else { return };
        patch.insert(&["spec".into(), "initContainers".into()], 0, template.install(&volume));
        for (index, planned) in self.wrapped {
            wrap(patch, index, planned, template, &volume);
        }
    }

    fn annotate(&self, settings: &Settings, patch: &mut Patch) {
        let mut annotations = vec![(STATUS, INJECTED.to_owned())];
        let is_scraped = Pod::of(patch.document()).annotations().keys().any(|name| name.starts_with("prometheus.io/"));
        let listen = self.agents().find_map(|agent| agent.listen);
        if let Some(listen) = listen.filter(|_| settings.sidecar.metrics.annotations && !is_scraped) {
            annotations.extend(scraped_at(listen));
        }
        for (name, value) in annotations {
            patch.set(&["metadata".into(), "annotations".into()], name, json!(value));
        }
    }

    /// The service's own time, then the agent's.
    fn give_time(&self, settings: &Settings, patch: &mut Patch) {
        let own = Pod::of(patch.document()).grace_period().unwrap_or(settings.sidecar.app_grace_period_seconds);
        let agents = self.agents().map(|agent| agent.shutdown.as_millis().div_ceil(1000)).max().unwrap_or_default();
        let needed =
            own.saturating_add(u64::try_from(agents).unwrap_or(u64::MAX)).saturating_add(LAST_CHECKPOINT_SECONDS);
        let whole = needed.max(settings.sidecar.termination_grace_period_seconds.unwrap_or_default());
        // Kubernetes counts in 63 bits.
        patch.set(&["spec".into()], "terminationGracePeriodSeconds", json!(whole.min(u64::from(u32::MAX))));
    }
}

fn of_container(index: usize, key: &str) -> [Step<'_>; 4] {
    ["spec".into(), "containers".into(), index.into(), key.into()]
}

/// The group, where the pod has none and no volume that outlives it.
fn give_group(patch: &mut Patch) {
    let pod = Pod::of(patch.document());
    if pod.fs_group().is_some() || !pod.lasting_volumes().is_empty() {
        return;
    }
    for (key, value) in pod_security_context() {
        patch.set(&["spec".into(), "securityContext".into()], key, value);
    }
}

/// A native sidecar goes behind others, such as a mesh's proxy, through which it sends and which should outlast it; and before everything that
/// ends. A plain one goes last.
fn place(patch: &mut Patch, container: Value, is_native: bool) {
    if !is_native {
        return patch.append(&["spec".into(), "containers".into()], container);
    }
    let is_sidecar = |container: &Value| container.get("restartPolicy") == Some(&json!("Always"));
    let after = Pod::of(patch.document()).init_containers().iter().rposition(is_sidecar).map_or(0, |last| last + 1);
    patch.insert(&["spec".into(), "initContainers".into()], after, container);
}

fn wrap(patch: &mut Patch, index: usize, planned: Planned, template: &Template<'_>, program_volume: &str) {
    let containers = Pod::of(patch.document()).containers();
    let container = containers.get(index).cloned().unwrap_or_default();
    let before =
        [program(), "exec".to_owned()].into_iter().chain(planned.agent.arguments.clone()).chain(["--".to_owned()]);
    let command = container.get("command").and_then(Value::as_array).into_iter().flatten().cloned();
    let command: Vec<Value> = before.map(Value::from).chain(command).collect();
    patch.set(&["spec".into(), "containers".into(), index.into()], "command", Value::Array(command));
    let own: BTreeSet<&str> =
        container.get("env").and_then(Value::as_array).into_iter().flatten().filter_map(name_of).collect();
    for variable in template.variables(&planned.agent) {
        if name_of(&variable).is_none_or(|name| !own.contains(name)) {
            patch.append(&of_container(index, "env"), variable);
        }
    }
    patch.append(
        &of_container(index, "volumeMounts"),
        json!({"name": program_volume, "mountPath": PROGRAM_DIR, "readOnly": true}),
    );
    for mount in planned.mounts {
        patch.append(&of_container(index, "volumeMounts"), mount);
    }
    if let Some(listen) = planned.agent.listen {
        patch.append(&of_container(index, "ports"), port("kt-metrics", listen));
    }
}

/// Whether a pod was given what it has by us, by its annotation; without a container of ours it means nothing, since annotations are copied from one
/// pod to the next.
pub(super) fn is_injected(pod: Pod<'_>) -> bool {
    pod.annotations().get(STATUS) == Some(&INJECTED)
}

/// Whether a container has one of our names.
pub(super) fn has_ours(settings: &Settings, pod: Pod<'_>) -> bool {
    let names = pod.container_names();
    names.contains(settings.sidecar.name.as_str()) || names.contains(INSTALL)
}
