//! msgpack to JSON, in one pass and straight into the line that is kept. Knows no Forward.
//!
//! What JSON has no form for: a float that is no number is `null`; bytes that are not UTF-8 become U+FFFD in text; binary data is text where it is
//! UTF-8, and base64 where not; an extension is the text of its time where it is one, and base64 where not; a key that is no text is the text of it.
//! Keys that come twice stay twice. A line break is escaped as any control character, so that the JSON of a value is one line.

use super::msgpack::{self, MAX_DEPTH, Reader, Token};
use super::time::{Stamp, Time};

/// Why a value has no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Msgpack(#[from] msgpack::Error),
    #[error("a map has a map or an array for a key")]
    Key,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What a byte of UTF-8 looks like in a JSON string: 0 stands for itself, `u` for `\u00..`, any other for itself after a backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Appends a string with its quotes.
pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    text(bytes, out);
    out.push(b'"');
}

/// Appends what stands between a string's quotes.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if std::str::from_utf8(bytes).is_ok() {
        return escape(bytes, out);
    }
    for chunk in bytes.utf8_chunks() {
        escape(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let (clean, from) = rest.split_at(clean_length(rest));
        out.extend_from_slice(clean);
        let Some((byte, after)) = from.split_first() else { return };
        match escape_of(*byte) {
            b'u' => {
                let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            short => out.extend_from_slice(&[b'\\', short]),
        }
        rest = after;
    }
}

fn escape_of(byte: u8) -> u8 {
    ESCAPES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// How many bytes there are before the first that has to be escaped. Most texts have none, so that eight are looked at together.
fn clean_length(text: &[u8]) -> usize {
    let (words, _) = text.as_chunks::<8>();
    let clean = 8 * words.iter().take_while(|word| !has_escape(u64::from_le_bytes(**word))).count();
    let (_, rest) = text.split_at(clean);
    clean + rest.iter().position(|byte| escape_of(*byte) != 0).unwrap_or(rest.len())
}

/// Whether one of eight bytes is a control character, a quote or a backslash.
fn has_escape(word: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    // The highest bit of some byte is set if a byte is below this; true of the word as a whole, not of each byte.
    let has_below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let (quote, backslash) = (ONES * u64::from(b'"'), ONES * u64::from(b'\\'));
    has_below(word, 0x20) | has_below(word ^ quote, 1) | has_below(word ^ backslash, 1) != 0
}

/// Appends the next value, which lies in so many others.
pub(super) fn nested(reader: &mut Reader<'_>, stamp: &mut Stamp, out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    let token = reader.token()?;
    if matches!(token, Token::Array(_) | Token::Map(_)) && depth >= MAX_DEPTH {
        return Err(msgpack::Error::TooDeep.into());
    }
    match token {
        Token::Array(count) => {
            out.push(b'[');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                nested(reader, stamp, out, depth + 1)?;
            }
            out.push(b']');
        }
        Token::Map(count) => {
            out.push(b'{');
            for index in 0..count {
                if index > 0 {
                    out.push(b',');
                }
                key(reader.token()?, stamp, out)?;
                nested(reader, stamp, out, depth + 1)?;
            }
            out.push(b'}');
        }
        plain => scalar(plain, stamp, out),
    }
    Ok(())
}

/// Appends a key with its colon.
pub(super) fn key(token: Token<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) -> Result<(), Error> {
    match token {
        Token::Array(_) | Token::Map(_) => return Err(Error::Key),
        Token::Str(_) | Token::Bin(_) | Token::Ext(..) => scalar(token, stamp, out),
        // Their JSON has no quotes, and nothing to escape.
        plain => {
            out.push(b'"');
            scalar(plain, stamp, out);
            out.push(b'"');
        }
    }
    out.push(b':');
    Ok(())
}

/// Appends a value that has no others in it.
pub(super) fn scalar(token: Token<'_>, stamp: &mut Stamp, out: &mut Vec<u8>) {
    match token {
        Token::Str(bytes) => string(bytes, out),
        Token::Bin(bytes) => match std::str::from_utf8(bytes) {
            Ok(_) => string(bytes, out),
            Err(_) => base64(bytes, out),
        },
        Token::Ext(tag, bytes) => match Time::of_extension(tag, bytes) {
            Some(Time::At { seconds, nanos }) => {
                out.push(b'"');
                stamp.write(seconds, nanos, out);
                out.push(b'"');
            }
            _ => base64(bytes, out),
        },
        Token::Bool(true) => out.extend_from_slice(b"true"),
        Token::Bool(false) => out.extend_from_slice(b"false"),
        Token::Uint(n) => number(&n, out),
        Token::Int(n) => number(&n, out),
        Token::F32(n) if n.is_finite() => number(&n, out),
        Token::F64(n) if n.is_finite() => number(&n, out),
        Token::Nil | Token::F32(_) | Token::F64(_) | Token::Array(_) | Token::Map(_) => out.extend_from_slice(b"null"),
    }
}

fn number(n: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing a number to memory cannot fail.
    serde_json::to_writer(out, n).ok();
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(base64_simd::STANDARD.encode_to_string(bytes).as_bytes());
    out.push(b'"');
}
