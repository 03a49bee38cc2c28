//! Sections of inputs: where containers send their logs to, and the health check.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::classic::{Document, Entry, Section};
use super::note::{Notes, Weight};
use super::{HEALTH_TAG, Plan};

/// The port of the Forward protocol, where none is given.
const FORWARD_PORT: u16 = 24224;
/// The port of Fluent Bit's `tcp`, where none is given.
const TCP_PORT: u16 = 5170;

/// Where the Forward protocol is spoken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Sockets in the file system.
    pub unix: Vec<Unix>,
    /// Addresses of the network.
    pub tcp: Vec<SocketAddr>,
}

/// A socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unix {
    /// Where it is made.
    pub path: PathBuf,
    /// Who may connect, as bits of its mode, if that is said.
    pub mode: Option<u32>,
}

/// What a section says, one after the other.
#[derive(Debug, Default)]
struct Input {
    unix: Option<PathBuf>,
    mode: Option<u32>,
    address: Option<IpAddr>,
    port: Option<u16>,
    tag: String,
    /// An address that is none, so that nothing may listen there.
    unusable: bool,
}

/// Adds what a section says.
pub(super) fn add(plan: &mut Plan, section: &Section, document: &Document, notes: &mut Notes) {
    let plugin = document.resolve(section.plugin().unwrap_or_default()).to_ascii_lowercase();
    if !matches!(plugin.as_str(), "forward" | "tcp") {
        notes.section(
            section,
            Weight::Lost,
            "kinetail does not read from there by this file; files are read by its own sources",
        );
        return;
    }
    let mut input = Input::default();
    for entry in &section.entries {
        input.take(section, entry, &document.resolve(&entry.value), notes);
    }
    if input.unusable {
        return;
    }
    let address =
        |port| SocketAddr::new(input.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), input.port.unwrap_or(port));
    if plugin == "tcp" {
        if input.tag == HEALTH_TAG {
            plan.health = Some(address(TCP_PORT));
        } else {
            notes.section(
                section,
                Weight::Lost,
                "kinetail answers health checks by plain TCP and takes no logs by it; nothing listens there",
            );
        }
        return;
    }
    if !input.tag.is_empty() {
        let instead = "tags stay as they are sent; this one is not put in their place";
        if let Some(tag) = section.entries.iter().find(|entry| entry.key.eq_ignore_ascii_case("tag")) {
            notes.differs(section, tag, instead);
        }
    }
    let listen = &mut plan.listen;
    if let Some(path) = input.unix {
        if listen.unix.iter().all(|known| known.path != path) {
            listen.unix.push(Unix { path, mode: input.mode });
        }
    } else if !listen.tcp.contains(&address(FORWARD_PORT)) {
        listen.tcp.push(address(FORWARD_PORT));
    }
}

impl Input {
    fn take(&mut self, section: &Section, entry: &Entry, value: &str, notes: &mut Notes) {
        match entry.key.to_ascii_lowercase().as_str() {
            "name" => {}
            "unix_path" => self.unix = Some(PathBuf::from(value)),
            "unix_perm" => {
                self.mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o777);
                if self.mode.is_none() {
                    notes.differs(section, entry, "it is no mode such as 0666; kinetail's own is used");
                }
            }
            "listen" => match value {
                "localhost" => self.address = Some(Ipv4Addr::LOCALHOST.into()),
                _ => match value.trim_start_matches('[').trim_end_matches(']').parse() {
                    Ok(address) => self.address = Some(address),
                    Err(_) => {
                        self.refuse(section, entry, notes, "it is no address such as 127.0.0.1; nothing listens there");
                    }
                },
            },
            "port" => match value.parse() {
                Ok(port) => self.port = Some(port),
                Err(_) => self.refuse(section, entry, notes, "it is no port; nothing listens there"),
            },
            "tag" => value.clone_into(&mut self.tag),
            "tag_prefix" => notes.differs(section, entry, "tags stay as they are sent; this is not put before them"),
            "shared_key" | "empty_shared_key" | "security.users" | "self_hostname" | "tls" => {
                notes.differs(
                    section,
                    entry,
                    "who may send is not checked by it; set that in kinetail's own configuration",
                );
            }
            key if key.starts_with("tls.") => {
                notes.differs(section, entry, "it is not used; set TLS in kinetail's own configuration");
            }
            "mem_buf_limit"
            | "buffer_chunk_size"
            | "buffer_max_size"
            | "chunk_size"
            | "buffer_size"
            | "storage.type"
            | "storage.pause_on_chunks_overlimit"
            | "threaded"
            | "alias"
            | "log_level"
            | "format"
            | "separator" => {
                notes.moot(section, entry, "kinetail writes what it takes to its spool, which has limits of its own");
            }
            _ => notes.differs(section, entry, "kinetail knows no such option; nothing is done by it"),
        }
    }

    fn refuse(&mut self, section: &Section, entry: &Entry, notes: &mut Notes, instead: &str) {
        self.unusable = true;
        notes.entry(section, entry, Weight::Lost, instead);
    }
}
