//! Where lines come from. Everything is a file: inputs that cannot be read twice are written to files first.

pub mod exec;
pub mod feeders;
pub mod fifo;
pub mod file;
pub mod forward;
pub mod pipe;
pub mod stdin;
