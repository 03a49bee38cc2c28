//! The machine: the state directory, memory, descriptors, inotify, and the admin server's port.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use rustix::fs::{inotify, statfs, statvfs};
use rustix::process::{Resource, getrlimit};

use super::access::{Obstacle, Want, obstacle};
use super::{Line, Options};
use crate::ask;
use crate::checkpoint::LOCK_NAME;
use crate::config::{Config, SourceKind};

/// What the process takes beside log data, generously: the README has what was measured.
const BASE_BYTES: u64 = 20 << 20;
/// Checkpoint, journal and dead letters of an ordinary agent.
const LITTLE_SPACE: u64 = 100 << 20;
/// Below this not even a checkpoint of many files has room.
const NO_SPACE: u64 = 1 << 20;
/// Files that are open at once, requests and the rest.
const FEW_DESCRIPTORS: u64 = 256;
/// What old kernels begin with; one agent takes one instance, but all containers of a uid share them.
const FEW_INSTANCES: u64 = 128;
const FEW_WATCHES: u64 = 8192;
/// How long an agent beside this may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

const STATE: &str = "state_dir";

/// Whether an agent is seen to run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// It answers on the admin server's port.
    Yes,
    /// Nobody does.
    No,
}

/// Whether the admin server's port is free, or an agent's.
pub async fn admin(config: &Config, checks: &mut Vec<Line>) -> Running {
    const CHECK: &str = "admin";
    let Some(address) = config.admin.listen else {
        let fix = "set admin.listen to have metrics, health and status";
        checks.push(Line::warn(CHECK, "the admin server is off", fix));
        return Running::No;
    };
    let Err(error) = std::net::TcpListener::bind(address) else {
        checks.push(Line::pass(CHECK, format!("{address} is free")));
        return Running::No;
    };
    let status = ask::get(&format!("http://{address}/status"), PATIENCE).await;
    let is_ours = |reply: &ask::Reply| {
        let status: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        status["version"].is_string() && status["ledger"].is_object()
    };
    if status.as_ref().is_ok_and(is_ours) {
        checks.push(Line::pass(CHECK, format!("an agent answers on {address}")));
        return Running::Yes;
    }
    checks.push(Line::fail(
        CHECK,
        format!("{address}: {error}"),
        "give a free address in admin.listen (KINETAIL_ADMIN_LISTEN), or \"off\"; containers of a pod share their ports",
    ));
    Running::No
}

// === the state directory ===

/// Whether the state directory can be written, is this agent's alone, lasts, and has room.
pub fn state_dir(config: &Config, running: Running, checks: &mut Vec<Line>) {
    let path = &config.state_dir;
    let existing = nearest(path);
    match writable(path, &existing) {
        Some(line) => checks.push(line),
        None => checks.push(locked(path, running).unwrap_or_else(|| {
            let said = if existing == *path { "can be written" } else { "can be made" };
            Line::pass(STATE, format!("{} {said}", path.display()))
        })),
    }
    checks.push(lasting(path, &existing));
    checks.extend(room(config, &existing));
}

/// The path, or the directory above it that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(path: &Path, existing: &Path) -> Option<Line> {
    let fix = "mount a writable volume there, or set state_dir (KINETAIL_STATE_DIR) to one";
    if !existing.is_dir() {
        return Some(Line::fail(STATE, format!("{} is no directory", existing.display()), fix));
    }
    match obstacle(existing, Want::Write) {
        Some(Obstacle::Denied(denied)) => {
            return Some(Line::fail(STATE, denied.said(), format!("{fix}; or: {}", denied.fix())));
        }
        Some(Obstacle::Other(path, why)) => return Some(Line::fail(STATE, format!("{}: {why}", path.display()), fix)),
        Some(Obstacle::Missing(_)) | None => {}
    }
    // Only in the agent's own directory: what it will be made in is somebody else's.
    if existing != path {
        return None;
    }
    let probe = path.join(format!(".kinetail-doctor.{}", std::process::id()));
    let written = write(&probe);
    // It may not even be there.
    std::fs::remove_file(&probe).ok();
    written.err().map(|error| Line::fail(STATE, format!("{} cannot be written: {error}", path.display()), fix))
}

fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&[b'.'; 4096])?;
    file.sync_all()
}

fn locked(path: &Path, running: Running) -> Option<Line> {
    let lock = path.join(LOCK_NAME);
    let file = match File::options().write(true).open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let said = format!("{}: {error}", lock.display());
            let fix = "files in state_dir belong to another user: run as that user, or give this agent a state_dir of its own";
            return Some(Line::fail(STATE, said, fix));
        }
    };
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) if running == Running::Yes => {
            Some(Line::pass(STATE, format!("{} is in use by the agent that answers here", path.display())))
        }
        Err(std::fs::TryLockError::WouldBlock) => Some(Line::fail(
            STATE,
            format!("{} is in use by another kinetail", path.display()),
            "give each agent a state_dir of its own (KINETAIL_STATE_DIR, with the pod's name in it on a shared volume), or stop the other one",
        )),
        Err(std::fs::TryLockError::Error(error)) => Some(Line::warn(
            STATE,
            format!("{} cannot be locked: {error}", path.display()),
            "make sure that no other agent uses it, or mount a file system with locks",
        )),
        Ok(()) => None,
    }
}

/// File systems that go with the container or the machine's power, by the numbers of Linux.
fn passing(kind: u32) -> Option<&'static str> {
    match kind {
        0x0102_1994 => Some("a tmpfs, which is memory and goes with the pod or the machine"),
        0x8584_58f6 => Some("a ramfs, which is memory and goes with the machine"),
        0x794c_7630 => Some("the container's own layer (overlayfs), which goes with the container"),
        _ => None,
    }
}

fn lasting(path: &Path, existing: &Path) -> Line {
    const CHECK: &str = "state_lasts";
    let kind = match statfs(existing) {
        // The numbers have 32 bits, in a type of the machine's width.
        Ok(found) => u32::try_from(found.f_type.cast_unsigned() & 0xffff_ffff).unwrap_or_default(),
        Err(error) => {
            let said = format!("{}: {error}", existing.display());
            return Line::warn(CHECK, said, "whether it outlives a restart cannot be known");
        }
    };
    match passing(kind) {
        Some(what) => Line::warn(
            CHECK,
            format!(
                "{} lies on {what}: after that all logs that are still there are sent again, or begin at start_at",
                path.display()
            ),
            "mount a volume at state_dir: an emptyDir outlives restarts of the container, a hostPath or persistent volume those of the pod",
        ),
        None => Line::pass(CHECK, format!("{} is neither memory nor the container's own layer", path.display())),
    }
}

fn room(config: &Config, existing: &Path) -> Option<Line> {
    const CHECK: &str = "disk";
    let found = statvfs(existing).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let spools = config.sources.iter().filter(|source| source.kind != SourceKind::File).count() as u64;
    let wanted = LITTLE_SPACE + spools.saturating_mul(config.spool.max_bytes);
    Some(space(&config.state_dir, (free, found.f_files > 0 && found.f_favail == 0), wanted, CHECK))
}

fn space(path: &Path, (free, no_inodes): (u64, bool), wanted: u64, check: &'static str) -> Line {
    let (shown, want) = (ByteSize::b(free).display().iec(), ByteSize::b(wanted).display().iec());
    let said = format!("{shown} are free at {}", path.display());
    if no_inodes {
        return Line::fail(
            check,
            format!("{said}, but no inode is"),
            "remove files there: checkpoints cannot be written",
        );
    }
    match free {
        free if free < NO_SPACE => Line::fail(check, said, "free some space: checkpoints cannot be written"),
        free if free < wanted => {
            let fix = format!(
                "checkpoint, dead letters and spools (spool.max_bytes each) can take {want}: free some space, or lower spool.max_bytes"
            );
            Line::warn(check, said, fix)
        }
        _ => Line::pass(check, said),
    }
}

// === limits ===

/// The memory limit of this process's control group against the agent's own.
pub fn memory(config: &Config, options: &Options) -> Line {
    const CHECK: &str = "memory";
    let own = config.memory_limit as u64;
    let needed = own + BASE_BYTES;
    let shown = |bytes| ByteSize::b(bytes).display().iec().to_string();
    let Some(limit) = memory_limit(options) else {
        return Line::pass(CHECK, format!("memory_limit is {}, and no control group limits this process", shown(own)));
    };
    let said = format!("memory_limit is {}, and the container may have {}", shown(own), shown(limit));
    let room = limit.saturating_sub(BASE_BYTES);
    let fix = format!(
        "give the container {} (resources.limits.memory), or set memory_limit (KINETAIL_MEMORY_LIMIT) to {} or less",
        shown(needed),
        shown(room.max(1 << 20))
    );
    match limit {
        limit if limit <= own => Line::fail(CHECK, said, fix),
        limit if limit < needed => Line::warn(CHECK, said, fix),
        _ => Line::pass(CHECK, said),
    }
}

/// The least limit of the control groups that this process is in, where there is one.
fn memory_limit(options: &Options) -> Option<u64> {
    let groups = std::fs::read_to_string(options.proc.join("self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (options.cgroup.clone(), "memory.max"),
            list if list.split(',').any(|name| name == "memory") => {
                (options.cgroup.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Within a container its own group is the root, and the path is one that is not there.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let text = std::fs::read_to_string(root.join(group).join(file)).unwrap_or_default();
            limits.extend(text.trim().parse::<u64>().ok());
        }
    }
    // The old kind says almost 2^63 for none.
    limits.into_iter().min().filter(|limit| *limit < 1 << 60)
}

/// The limit on open files.
pub fn descriptors() -> Line {
    few_descriptors(getrlimit(Resource::Nofile).current)
}

fn few_descriptors(limit: Option<u64>) -> Line {
    const CHECK: &str = "descriptors";
    match limit {
        Some(limit) if limit < FEW_DESCRIPTORS => Line::warn(
            CHECK,
            format!("{limit} files may be open at once"),
            format!(
                "raise the limit to {FEW_DESCRIPTORS} or more: ulimit -n, --ulimit nofile of docker, ulimits of the task definition"
            ),
        ),
        Some(limit) => Line::pass(CHECK, format!("{limit} files may be open at once")),
        None => Line::pass(CHECK, "any number of files may be open at once"),
    }
}

/// Whether this process can be told of changes to directories.
pub fn inotify(options: &Options) -> Line {
    const CHECK: &str = "inotify";
    let limit = |name: &str| {
        let text = std::fs::read_to_string(options.proc.join("sys/fs/inotify").join(name)).unwrap_or_default();
        text.trim().parse::<u64>().ok()
    };
    let (instances, watches) = (limit("max_user_instances"), limit("max_user_watches"));
    let fix = format!(
        "on the node: sysctl -w fs.inotify.max_user_instances={} fs.inotify.max_user_watches=524288; without it files are looked at from time to time, which is slower",
        FEW_INSTANCES * 8
    );
    if let Err(error) = inotify::init(inotify::CreateFlags::CLOEXEC) {
        return Line::warn(CHECK, format!("this user has no inotify instance left: {}", io::Error::from(error)), fix);
    }
    let shown = |limit: Option<u64>| limit.map_or("an unknown number of".to_owned(), |limit| limit.to_string());
    let said = format!("this user may have {} instances and {} watches", shown(instances), shown(watches));
    let few = instances.is_some_and(|n| n < FEW_INSTANCES) || watches.is_some_and(|n| n < FEW_WATCHES);
    if few { Line::warn(CHECK, said, fix) } else { Line::pass(CHECK, said) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::doctor::Level;

    fn options(root: &Path, files: &[(&str, &str)]) -> Options {
        for (name, text) in files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Options { send: false, proc: root.join("proc"), cgroup: root.join("cgroup") }
    }

    fn config() -> Config {
        let environment = [("KINETAIL_STREAM", "s"), ("KINETAIL_PATHS", "/x"), ("KINETAIL_MEMORY_LIMIT", "64MiB")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Config::load(&Layers { environment, ..Layers::default() }).unwrap()
    }

    #[test]
    fn a_control_group_has_to_have_room_for_the_memory_limit() {
        let mib = |n: u64| (n << 20).to_string();
        for (group, file, limit, level) in [
            ("0::/a/b\n", "cgroup/a/memory.max", mib(64), Level::Fail),
            ("0::/\n", "cgroup/memory.max", mib(70), Level::Warn),
            ("0::/../elsewhere\n", "cgroup/memory.max", mib(128), Level::Pass),
            ("0::/\n", "cgroup/memory.max", "max\n".to_owned(), Level::Pass),
            ("3:cpu,memory:/a\n1:name=x:/\n", "cgroup/memory/a/memory.limit_in_bytes", mib(32), Level::Fail),
            ("3:memory:/\n", "cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n".to_owned(), Level::Pass),
        ] {
            let root = tempfile::tempdir().unwrap();
            let options = options(root.path(), &[("proc/self/cgroup", group), (file, &limit)]);
            let line = memory(&config(), &options);
            assert_eq!(line.level, level, "{group}: {line:?}");
            if level == Level::Fail {
                assert!(line.fix.unwrap().contains("resources.limits.memory"));
            }
        }
    }

    #[test]
    fn low_limits_are_warned_of() {
        let root = tempfile::tempdir().unwrap();
        let dir = "proc/sys/fs/inotify";
        let (instances, watches) = (format!("{dir}/max_user_instances"), format!("{dir}/max_user_watches"));
        let low = options(root.path(), &[(&instances, "16\n"), (&watches, "524288\n")]);
        let line = inotify(&low);
        assert_eq!(line.level, Level::Warn);
        assert!(line.fix.unwrap().contains("sysctl -w fs.inotify.max_user_instances"));
        let fine = options(root.path(), &[(&instances, "1024\n"), (&watches, "524288\n")]);
        assert_eq!(inotify(&fine).level, Level::Pass);
        assert_eq!(few_descriptors(Some(64)).level, Level::Warn);
        assert_eq!(few_descriptors(None).level, Level::Pass);
    }

    #[test]
    fn space_runs_out_in_two_ways() {
        let path = Path::new("/s");
        let of = |free, inodes| space(path, (free, inodes), 1 << 30, "disk").level;
        assert_eq!(
            [of(2 << 30, false), of(1 << 29, false), of(1 << 10, false)],
            [Level::Pass, Level::Warn, Level::Fail]
        );
        assert_eq!(of(2 << 30, true), Level::Fail);
    }

    #[test]
    fn file_systems_that_pass_are_known_by_their_numbers() {
        assert!(passing(0x0102_1994).unwrap().contains("tmpfs"));
        assert!(passing(0x794c_7630).unwrap().contains("overlayfs"));
        assert_eq!(passing(0xef53), None, "ext4");
    }
}
