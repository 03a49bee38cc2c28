//! Processes of the process namespace that this one is in: one of them, or all that are of other containers. Containers are told apart by their mount
//! namespaces, so that probes that run in our own are none of them; the pod's own process, which holds the namespace, is none either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

/// What the process is called that holds a pod's or a task's namespace open.
const PAUSE: &str = "pause";
/// The kernel's own process, which no container sees but one in the machine's namespace.
const KERNEL: (i32, &str) = (2, "kthreadd");

/// One process. Another one that gets its number later is another one.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    born: Option<u64>,
}

/// The processes of other containers.
#[derive(Debug, Default)]
pub(super) struct Others {
    last: BTreeSet<(i32, u64)>,
    has_been_seen: bool,
    /// Looks in a row that saw none.
    empty_looks: u32,
}

/// What `/proc` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: u8,
    /// When it began, in ticks of the machine.
    born: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(of_process(pid, "stat")).ok()?;
        // Its name may hold anything, also parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.bytes().next()?;
        // The twenty-second field; the state is the third.
        let born = fields.nth(18)?.parse().ok()?;
        Some(Self { state, born })
    }

    /// It has ended, and only nobody has asked for its exit code yet.
    fn has_ended(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

impl Process {
    pub(super) fn of(pid: Pid) -> Self {
        Self { pid, born: Stat::of(pid.as_raw_pid()).map(|stat| stat.born) }
    }

    /// Whether it has ended, now or before anybody looked.
    pub(super) fn is_gone(&self) -> bool {
        match Stat::of(self.pid.as_raw_pid()) {
            Some(stat) => stat.has_ended() || self.born.is_some_and(|born| born != stat.born),
            // Some systems hide the processes of others in /proc; the kernel says all the same whether there is one.
            None => test_kill_process(self.pid) == Err(Errno::SRCH),
        }
    }
}

impl Others {
    /// Whether all of them are gone, and whether any has been there. What is there for a moment only, such as a probe that is being started in our own
    /// container, has not been there, and what is missing for a moment only is not gone.
    pub(super) fn look(&mut self) -> (bool, bool) {
        let now: BTreeSet<(i32, u64)> = others().collect();
        self.has_been_seen |= now.intersection(&self.last).next().is_some();
        self.empty_looks = if now.is_empty() { self.empty_looks + 1 } else { 0 };
        self.last = now;
        (self.has_been_seen && self.empty_looks > 1, self.has_been_seen)
    }
}

/// Whether this is the machine's own process namespace.
pub(super) fn is_machine() -> bool {
    name(KERNEL.0).as_deref() == Some(KERNEL.1)
}

/// Processes of other containers that have not ended, by number and birth.
fn others() -> impl Iterator<Item = (i32, u64)> {
    let own = container_of(getpid().as_raw_pid());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(move |pid| {
        let is_holder = *pid == 1 && name(1).as_deref() == Some(PAUSE);
        // Of whom nothing may be known is another user, and so not of us.
        let is_own = own.is_some() && container_of(*pid) == own;
        *pid != getpid().as_raw_pid() && !is_own && !is_holder
    })
    .filter_map(|pid| Stat::of(pid).filter(|stat| !stat.has_ended()).map(|stat| (pid, stat.born)))
}

fn container_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(of_process(pid, "ns/mnt")).ok()
}

fn name(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(of_process(pid, "comm")).ok()?;
    Some(name.trim_end().to_owned())
}

fn of_process(pid: i32, what: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(what)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_ended_whoever_has_its_number_then() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::of(Pid::from_child(&child));
        assert!(!process.is_gone());
        let other = Process { born: process.born.map(|born| born + 1), ..process };
        assert!(other.is_gone(), "the number is another one's");
        child.kill().unwrap();
        while !process.is_gone() {
            std::thread::yield_now();
        }
        // It is a zombie until then.
        child.wait().unwrap();
        assert!(process.is_gone());
    }

    #[test]
    fn what_shares_our_files_is_of_our_container() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!others().any(|(other, _)| other == pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_moment_is_not_enough() {
        let mut looks = Others { last: [(1, 1)].into(), ..Others::default() };
        looks.has_been_seen |= BTreeSet::from([(1, 2)]).intersection(&looks.last).next().is_some();
        assert!(!looks.has_been_seen, "it is another process with the same number");
    }
}
