//! What kinetail knows about Kinesis Data Streams.

pub mod hash;
