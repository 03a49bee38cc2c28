//! Partition keys and hash keys as Kinesis computes them. Pure.

use md5::{Digest, Md5};

/// The hash key of a partition key: its MD5 as a big-endian number.
pub fn partition_key(key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}
