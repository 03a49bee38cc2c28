//! Subcommands.

pub mod local;
