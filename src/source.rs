//! Where lines come from. Everything is a file: inputs that cannot be read twice are written to files first.

pub mod file;
pub mod forward;
