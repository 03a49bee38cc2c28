//! Packing, sending and settling: the second half of the line.

pub mod aggregate;
pub mod collect;
pub mod encode;
pub mod md5;
pub mod record;
pub mod verdict;
