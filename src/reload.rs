//! When the configuration is loaded anew, and by whom: on SIGHUP, and where `reload.watch` asks for it, when its file has changed. What becomes of
//! it is not here.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use crate::config::Config;

/// How often the file is looked at. A look costs as much as that at one quiet log; kubelet takes a minute until it changes the file at all.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why it is loaded anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Hangup,
    /// The file is another one.
    File,
}

impl Trigger {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::File => "reload.watch",
        }
    }
}

/// What the file is, as far as a look tells: a link in the middle of its path that leads elsewhere makes it another one, as kubelet does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Loads the configuration, and says why not.
type Load = Box<dyn FnMut() -> Result<Config, String>>;

/// Who loads it.
pub struct Reloader {
    load: Load,
    hangup: Option<Signal>,
    file: Option<PathBuf>,
    /// As it was when it was loaded last.
    seen: Option<Seen>,
    /// As it is now, if it may still be being written.
    changing: Option<Seen>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("file", &self.file).field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Reloader {
    /// One that loads in this way, and has to be there before it is done for the first time: a file that changes after that is loaded again.
    pub fn new(file: Option<PathBuf>, load: impl FnMut() -> Result<Config, String> + 'static) -> Self {
        let mut reloader = Self { load: Box::new(load), hangup: None, file, seen: None, changing: None };
        reloader.seen = reloader.look();
        reloader
    }

    /// The same on SIGHUP too, which is caught from now on.
    pub fn on_hangup(self) -> std::io::Result<Self> {
        Ok(Self { hangup: Some(signal(SignalKind::hangup())?), ..self })
    }

    /// Completes when it is to be loaded. `watches` says whether the file is looked at.
    pub async fn due(&mut self, watches: bool) -> Trigger {
        loop {
            tokio::select! {
                () = hung_up(self.hangup.as_mut()) => return Trigger::Hangup,
                () = sleep(LOOK_INTERVAL), if watches && self.file.is_some() => {}
            }
            if self.has_changed() {
                return Trigger::File;
            }
        }
    }

    /// Loads it.
    pub fn load(&mut self) -> Result<Config, String> {
        // Before it is read: what is written after this is seen as another one.
        (self.seen, self.changing) = (self.look(), None);
        (self.load)()
    }

    /// Whether the file is another one, and has been since the last look: one that is being written is not read before it is whole. While there is
    /// none, whoever took it away is waited for.
    fn has_changed(&mut self) -> bool {
        let now = self.look().filter(|now| Some(*now) != self.seen);
        now.is_some() && std::mem::replace(&mut self.changing, now) == now
    }

    fn look(&self) -> Option<Seen> {
        let found = std::fs::metadata(self.file.as_ref()?).ok()?;
        Some(Seen {
            place: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

async fn hung_up(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => {
            if signal.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_that_is_another_one_is_noticed_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // As kubelet mounts a ConfigMap.
        for (version, text) in [("..1", "a"), ("..2", "b")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("kinetail.yaml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/kinetail.yaml", at("kinetail.yaml")).unwrap();
        let mut reloader = Reloader::new(Some(at("kinetail.yaml")), || Err(String::new()));
        assert!(!reloader.has_changed() && !reloader.has_changed());
        symlink("..2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert!(!reloader.has_changed(), "it may be being written");
        assert!(reloader.has_changed());
        reloader.load().unwrap_err();
        assert!(!reloader.has_changed() && !reloader.has_changed());
        fs::write(at("..2/kinetail.yaml"), "bc").unwrap();
        assert!(!reloader.has_changed());
        fs::write(at("..2/kinetail.yaml"), "bcd").unwrap();
        assert!(!reloader.has_changed(), "it is being written");
        assert!(reloader.has_changed());
        reloader.load().unwrap_err();
        fs::remove_file(at("..data")).unwrap();
        assert!(!reloader.has_changed() && !reloader.has_changed(), "there is none");
    }
}
