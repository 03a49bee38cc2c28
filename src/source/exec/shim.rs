//! A moment of this program between the agent and the command: it asks the kernel to end it when the agent dies, and becomes the command.
//!
//! The wish lasts through `exec`, and can only be made by the process itself: between `fork` and `exec` that takes unsafe code, which there is
//! none of here. So the agent starts itself, with [`NAME`] as the first argument, and `main` comes here at once.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::{NOT_EXECUTABLE, NOT_FOUND, OWN_FAILURE};

/// The first argument that means this. Not for people, hence not in any help.
pub const NAME: &str = "__child";

/// The exit code of one whose agent was gone before it could ask to hear of that: as if it had heard.
const TERMINATED: u8 = 128 + 15;

/// What starts the shim, before its own arguments: this program.
pub fn this_program() -> Vec<OsString> {
    vec!["/proc/self/exe".into(), NAME.into()]
}

/// The shim's arguments: the process that it shall not outlive, and the command.
pub(super) fn arguments(command: &[OsString]) -> Vec<OsString> {
    let mut arguments = vec![std::process::id().to_string().into()];
    arguments.extend_from_slice(command);
    arguments
}

/// Becomes the command that these arguments name: those after [`NAME`]. Returns only if that is impossible, with the exit code that tells so;
/// the reason is on standard error, as a shell would have written it there.
pub fn become_command(arguments: &[OsString]) -> u8 {
    let [parent, command, rest @ ..] = arguments else {
        say(format_args!("{NAME} is for kinetail's own use"));
        return OWN_FAILURE;
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        say(format_args!("the system does not tell when the agent dies: {error}; `--orphan keep` does without"));
        return OWN_FAILURE;
    }
    // It may have died before it was asked.
    let is_orphan =
        getppid().map(|pid| pid.as_raw_nonzero().to_string()).is_none_or(|pid| *OsStr::new(&pid) != **parent);
    if is_orphan {
        return TERMINATED;
    }
    let error = Command::new(command).args(rest).exec();
    say(format_args!("cannot run {}: {error}", command.display()));
    if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

/// Nothing is to be done if nobody can be told.
fn say(what: std::fmt::Arguments<'_>) {
    writeln!(std::io::stderr().lock(), "kinetail: {what}").unwrap_or(());
}
