//! kinetail: tails log files into Amazon Kinesis Data Streams without losing a line.
//!
//! The modules follow the data; ARCHITECTURE.md has the picture and the invariants.

pub mod cli;
pub mod config;
pub mod kinesis;
pub mod local;
