//! Signals that are meant for the command although this process gets them. Sending them on is not done here.

use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// What is forwarded: what supervisors and people send to make a service stop, reload, rotate or tell.
const FORWARDED: [Signal; 7] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::WINCH];

/// What a terminal sends to all processes that use it: the command has it already.
const BY_TERMINAL: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::WINCH];

/// The signals, caught from the moment this is made.
#[derive(Debug)]
pub struct Forward {
    caught: Vec<(Signal, unix::Signal)>,
}

impl Forward {
    /// Catches them. One that was ignored before stays ignored, here and by the command, which inherits that: so `nohup` works. With a
    /// terminal, those that the terminal sends to both are not caught for the command.
    pub fn catch(terminal: bool) -> std::io::Result<Self> {
        let ignored = ignored();
        let mut caught = Vec::new();
        for signal in FORWARDED {
            let number = signal.as_raw();
            let is_ignored = ignored & (1 << (number - 1)) != 0;
            if is_ignored {
                continue;
            }
            // It is caught even if it is not forwarded: the command decides what it means.
            let stream = unix::signal(SignalKind::from_raw(number))?;
            if !(terminal && BY_TERMINAL.contains(&signal)) {
                caught.push((signal, stream));
            }
        }
        Ok(Self { caught })
    }

    /// The next of them. Several of one kind that came at once are one, as with any process.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, stream) in &mut self.caught {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that this process ignores, a bit each; none if the system does not tell.
fn ignored() -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| ignored_in(&status))
}

fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_is_ignored() {
        assert_eq!(ignored_in("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t00000001"), 0x1001);
        assert_eq!(ignored_in("Name:\tx\n"), 0);
        // Rust ignores SIGPIPE in every process.
        assert_ne!(ignored() & (1 << (Signal::PIPE.as_raw() - 1)), 0);
    }
}
