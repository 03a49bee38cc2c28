//! Whether the files of the sources are there and can be read.

use std::path::{Path, PathBuf};

use super::Line;
use super::access::{Obstacle, Want, obstacle};
use crate::config::{Config, SourceConfig, SourceKind};
use crate::source::file::Group;
use crate::source::file::discover::Discovery;

/// Files of a source that are named one by one.
const SHOWN: usize = 5;
const CHECK: &str = "logs";

/// Looks at all sources that read files or listen.
pub fn sources(config: &Config, checks: &mut Vec<Line>) {
    for source in &config.sources {
        match source.kind {
            SourceKind::File => files(source, checks),
            SourceKind::Fifo => source.paths.iter().for_each(|path| checks.push(fifo(source, Path::new(path)))),
            SourceKind::Forward => checks.extend(forward(source)),
            SourceKind::Stdin | SourceKind::Exec => {
                checks.push(Line::pass(CHECK, format!("{}: nothing to look at before it runs", source.name)));
            }
        }
    }
}

fn files(source: &SourceConfig, checks: &mut Vec<Line>) {
    let before = checks.len();
    let mut missing = Vec::new();
    for glob in &source.paths {
        let (directory, want) = base(glob);
        match obstacle(&directory, want) {
            None => {}
            Some(Obstacle::Missing(path)) => missing.push(format!("{glob} ({} does not exist)", path.display())),
            Some(in_the_way) => checks.push(line(source, in_the_way)),
        }
    }
    let scan = Discovery::default().scan(&[Group::new(source, "")]);
    let mut denied = 0;
    let unreadable = scan.files.values().map(|file| (file.path.as_path(), Want::Read));
    for (path, want) in scan.failed().iter().map(|path| (path.as_path(), Want::List)).chain(unreadable) {
        let Some(in_the_way) = obstacle(path, want) else { continue };
        let line = line(source, in_the_way);
        if matches!(want, Want::Read) {
            denied += 1;
        }
        let told = checks.len() - before;
        if told < SHOWN && checks.iter().skip(before).all(|known| known.said != line.said) {
            checks.push(line);
        }
    }
    if checks.len() > before {
        return if denied > SHOWN {
            let said = format!("{}: {denied} of {} files cannot be read", source.name, scan.files.len());
            checks.push(Line::fail(CHECK, said, "as above, for all of them"));
        };
    }
    let globs = source.paths.join(", ");
    checks.push(match scan.files.len() {
        0 if missing.is_empty() => Line::warn(
            CHECK,
            format!("{}: no file matches {globs}", source.name),
            "nothing to do if the service has not written yet; otherwise correct paths, or mount the log volume here too",
        ),
        0 => Line::warn(
            CHECK,
            format!("{}: no file matches {}", source.name, missing.join(", ")),
            "mount the volume that the service logs to at that path in this container too, or correct paths",
        ),
        files => Line::pass(CHECK, format!("{}: {files} files match {globs}, and all can be read", source.name)),
    });
}

/// The directory that a glob begins at, and what is wanted of it.
fn base(glob: &str) -> (PathBuf, Want) {
    let is_wild = |name: &std::path::Component<'_>| name.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let path = Path::new(glob);
    let literal: PathBuf = path.components().take_while(|name| !is_wild(name)).collect();
    if literal == path {
        return (path.parent().unwrap_or(path).to_owned(), Want::Search);
    }
    (literal, Want::List)
}

fn line(source: &SourceConfig, in_the_way: Obstacle) -> Line {
    let name = &source.name;
    match in_the_way {
        Obstacle::Denied(denied) => Line::fail(CHECK, format!("{name}: {}", denied.said()), denied.fix()),
        Obstacle::Missing(path) => {
            let said = format!("{name}: {} does not exist", path.display());
            Line::warn(CHECK, said, "correct paths, or mount the volume that the service logs to here too")
        }
        Obstacle::Other(path, why) => {
            let said = format!("{name}: {}: {why}", path.display());
            Line::fail(CHECK, said, "repair the file system, or correct paths")
        }
    }
}

fn fifo(source: &SourceConfig, path: &Path) -> Line {
    let name = &source.name;
    if path.exists() {
        return obstacle(path, Want::Read).map_or_else(
            || Line::pass(CHECK, format!("{name}: {} can be read", path.display())),
            |in_the_way| line(source, in_the_way),
        );
    }
    let directory = path.parent().unwrap_or(path);
    obstacle(directory, Want::Write).map_or_else(
        || Line::pass(CHECK, format!("{name}: {} can be made", path.display())),
        |in_the_way| line(source, in_the_way),
    )
}

fn forward(source: &SourceConfig) -> Vec<Line> {
    let name = &source.name;
    let mut lines = Vec::new();
    for address in &source.forward.listen {
        lines.push(match std::net::TcpListener::bind(address) {
            Ok(_) => Line::pass(CHECK, format!("{name}: {address} is free")),
            Err(error) => Line::warn(
                CHECK,
                format!("{name}: {address}: {error}"),
                "nothing to do if that is an agent of this configuration; otherwise give another address in forward.listen",
            ),
        });
    }
    if let Some(socket) = &source.forward.unix {
        let directory = socket.parent().unwrap_or(socket);
        lines.push(obstacle(directory, Want::Write).map_or_else(
            || Line::pass(CHECK, format!("{name}: {} can be made", socket.display())),
            |in_the_way| line(source, in_the_way),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_begins_at_its_last_plain_directory() {
        for (glob, directory, want) in [
            ("/var/log/*.log", "/var/log", Want::List),
            ("/var/log/pods/*/app/*.log", "/var/log/pods", Want::List),
            ("/var/log/app.log", "/var/log", Want::Search),
            ("/**", "/", Want::List),
        ] {
            assert_eq!(base(glob), (PathBuf::from(directory), want), "{glob}");
        }
    }
}
