//! kinetail: tails log files into Amazon Kinesis Data Streams without losing a line.
//!
//! The modules follow the data; ARCHITECTURE.md has the picture and the invariants.

pub mod admin;
pub mod agent;
pub mod ask;
pub mod backoff;
pub mod budget;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consume;
pub mod container;
pub mod deadletter;
pub mod deliver;
pub mod demo;
pub mod doctor;
pub mod encoding;
pub mod enrich;
pub mod event;
pub mod firelens;
pub mod frame;
pub mod heartbeat;
pub mod inject;
pub mod kinesis;
pub mod level;
pub mod line;
pub mod local;
pub mod log;
pub mod metrics;
pub mod multiline;
pub mod names;
pub mod offsets;
pub mod parse;
pub mod plan;
pub mod route;
pub mod shape;
pub mod signal;
pub mod source;
pub mod spool;
pub mod times;
pub mod top;
pub mod transform;
pub mod verify;
pub mod watchdog;
