//! Log files that are appended to and rotated, as a service and logrotate do it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// What is appended to the name of a log that is rotated.
const ROTATED: &str = ".1";
/// What the names of logs end with, before they are rotated.
pub const EXTENSION: &str = "log";

/// Some logs in one directory.
#[derive(Debug)]
pub struct Logs(Vec<Log>);

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
}

impl Logs {
    /// Makes empty logs of these names.
    pub fn create(directory: &Path, names: &[&str]) -> io::Result<Self> {
        let create = |name: &&str| {
            let path = directory.join(format!("{name}.{EXTENSION}"));
            Ok(Log { file: open(&path)?, path })
        };
        names.iter().map(create).collect::<io::Result<_>>().map(Self)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Appends to the log of this number.
    pub fn append(&mut self, log: usize, bytes: &[u8]) -> io::Result<()> {
        self.0[log].file.write_all(bytes)
    }

    /// Renames every log and opens a new one in its place.
    pub fn rotate(&mut self) -> io::Result<()> {
        for log in &mut self.0 {
            let mut rotated = log.path.clone().into_os_string();
            rotated.push(ROTATED);
            std::fs::rename(&log.path, rotated)?;
            log.file = open(&log.path)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create_new(true).append(true).open(path)
}
