//! Standard input as a feeder: `app | kinetail run`. It ends when the writers are gone; what then becomes of the agent is not decided here.

use std::os::fd::AsFd as _;

use super::pipe::{Pipe, Running};
use crate::container::Stream;
use crate::spool::Feed;

/// Reads standard input until its end. Nothing else may read it. It may be a pipe, a file, a socket or a terminal, and may be shared with other
/// processes: it is not changed.
pub fn start(feed: Feed) -> std::io::Result<Running> {
    let input = std::io::stdin().as_fd().try_clone_to_owned()?;
    Pipe { input, stream: Stream::Stdout, tee: None, feed }.start("stdin")
}
