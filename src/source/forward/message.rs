//! A message of Forward in its four modes, and what may stand in its option. It decodes no records.
//!
//! | Mode | Message |
//! | --- | --- |
//! | Message | `[tag, time, record, option?]` |
//! | Forward | `[tag, [[time, record], ..], option?]` |
//! | `PackedForward` | `[tag, bytes of [time, record] in a row, option?]` |
//! | `CompressedPackedForward` | the same with `{"compressed": "gzip"}` or `"zstd"` |

use std::io::Read as _;

use super::line;
use super::msgpack::{self, Reader, Token};

/// Each event of a message carries the tag, so that a long one would make much of little. Those of people are names of services.
const MAX_TAG_BYTES: usize = 1024;
/// An acknowledgement gives the chunk's name back. Clients use 24 bytes.
const MAX_CHUNK_BYTES: usize = 1024;
/// The window of zstd that has to be kept to read a frame, 8 MiB: what its levels below 20 use.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Why a message is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Msgpack(#[from] msgpack::Error),
    #[error(transparent)]
    Line(#[from] line::Error),
    #[error("a message is no array of a tag, events and an option")]
    Shape,
    #[error("a tag is no text of at most {MAX_TAG_BYTES} bytes")]
    Tag,
    #[error("an entry is no pair of a time and a record")]
    Entry,
    #[error("an option is no map with names for keys, or its chunk is no text of at most {MAX_CHUNK_BYTES} bytes")]
    Option,
    #[error("events are compressed by {0:?}; gzip, zstd and text are understood")]
    Unsupported(String),
    #[error("compressed events cannot be read: {0}")]
    Corrupt(std::io::Error),
}

impl Error {
    /// The word for it in metrics.
    pub(super) fn reason(&self) -> &'static str {
        use super::json;
        match self {
            Self::Msgpack(error) | Self::Line(line::Error::Json(json::Error::Msgpack(error))) => match error {
                msgpack::Error::TooDeep => "too_deep",
                msgpack::Error::TooLarge { .. } => "too_large",
                msgpack::Error::Truncated | msgpack::Error::Invalid => "malformed",
            },
            Self::Unsupported(_) => "unsupported",
            Self::Corrupt(_) => "corrupt",
            _ => "malformed",
        }
    }
}

/// How the events of a message are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Compression {
    #[default]
    None,
    Gzip,
    Zstd,
}

/// What comes after the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Options<'a> {
    /// The name to acknowledge the message by, in msgpack as it came, if the client wants that.
    pub(super) chunk: Option<&'a [u8]>,
    pub(super) compression: Compression,
}

/// The events of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    One(Reader<'a>),
    Listed(u32, Reader<'a>),
    Packed(&'a [u8]),
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) tag: &'a [u8],
    pub(super) body: Body<'a>,
    pub(super) options: Options<'a>,
}

impl<'a> Message<'a> {
    /// Reads a whole message. What is in its events is not looked at.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let Token::Array(count @ 2..=4) = reader.token()? else { return Err(Error::Shape) };
        let tag = match reader.token()? {
            Token::Str(tag) | Token::Bin(tag) if tag.len() <= MAX_TAG_BYTES => tag,
            _ => return Err(Error::Tag),
        };
        let start = reader;
        let (body, read) = match (reader.token()?, count) {
            (Token::Array(entries), 2 | 3) => {
                let inside = reader;
                reader = start;
                reader.skip()?;
                (Body::Listed(entries, inside), 2)
            }
            (Token::Str(packed) | Token::Bin(packed), 2 | 3) => (Body::Packed(packed), 2),
            (_, 3 | 4) => {
                reader = start;
                reader.skip()?;
                reader.skip()?;
                (Body::One(start), 3)
            }
            _ => return Err(Error::Shape),
        };
        let options = if count > read { Options::read(&mut reader)? } else { Options::default() };
        Ok(Self { tag, body, options })
    }
}

impl<'a> Options<'a> {
    /// Reads an option. Of what it may say, `size` is not needed, and what is unknown is passed over.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let mut options = Self::default();
        let count = match reader.token()? {
            Token::Nil => 0,
            Token::Map(count) => count,
            _ => return Err(Error::Option),
        };
        for _ in 0..count {
            let Token::Str(name) = reader.token()? else { return Err(Error::Option) };
            let value = reader.skip()?;
            let text = match Reader::new(value).token()? {
                Token::Str(text) | Token::Bin(text) => Some(text),
                _ => None,
            };
            match (name, text) {
                (b"chunk", Some(chunk)) if chunk.len() <= MAX_CHUNK_BYTES => options.chunk = Some(value),
                (b"chunk", None) if value == [0xc0] => {}
                (b"chunk", _) => return Err(Error::Option),
                (b"compressed", Some(b"gzip")) => options.compression = Compression::Gzip,
                (b"compressed", Some(b"zstd")) => options.compression = Compression::Zstd,
                (b"compressed", Some(b"text")) => {}
                (b"compressed", Some(other)) => {
                    return Err(Error::Unsupported(String::from_utf8_lossy(other).chars().take(32).collect()));
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

/// What compressed events were before, which may not be more than so much.
pub(super) fn decompress(packed: &[u8], compression: Compression, limit: usize) -> Result<Vec<u8>, Error> {
    let (mut plain, most) = (Vec::new(), u64::try_from(limit).unwrap_or(u64::MAX));
    match compression {
        Compression::None => plain.extend_from_slice(packed),
        // Fluentd puts several members in a row.
        Compression::Gzip => {
            let decoder = flate2::read::MultiGzDecoder::new(packed);
            decoder.take(most.saturating_add(1)).read_to_end(&mut plain).map_err(Error::Corrupt)?;
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(Error::Corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Error::Corrupt)?;
            decoder.take(most.saturating_add(1)).read_to_end(&mut plain).map_err(Error::Corrupt)?;
        }
    }
    if plain.len() > limit {
        return Err(msgpack::Error::TooLarge { at_least: plain.len() as u64, limit }.into());
    }
    Ok(plain)
}

/// The events of a message, one after the other.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    /// How many there are; none if they go on to the end.
    left: Option<u32>,
    /// Each is an array of its own.
    framed: bool,
}

impl<'a> Entries<'a> {
    /// Those of a body that is not compressed.
    pub(super) fn new(body: Body<'a>) -> Self {
        match body {
            Body::One(reader) => Self { reader, left: Some(1), framed: false },
            Body::Listed(count, reader) => Self { reader, left: Some(count), framed: true },
            Body::Packed(packed) => Self { reader: Reader::new(packed), left: None, framed: true },
        }
    }

    /// Where the next one can be read, its time and then its record; both have to be, before this is asked again.
    pub(super) fn next(&mut self) -> Result<Option<&mut Reader<'a>>, Error> {
        match &mut self.left {
            Some(0) => return Ok(None),
            Some(left) => *left -= 1,
            None if self.reader.is_empty() => return Ok(None),
            None => {}
        }
        if self.framed && self.reader.token()? != Token::Array(2) {
            return Err(Error::Entry);
        }
        Ok(Some(&mut self.reader))
    }
}
