//! The handshake by a shared key: HELO with a nonce, PING with the client's digest, PONG with the server's. No users and passwords. It reads and
//! makes messages, and neither sends them nor makes the nonce.

use std::fmt;

use sha2::{Digest as _, Sha512};

use super::msgpack::{self, Reader, Token};

/// Bytes of a nonce, as Fluentd has them.
pub(super) const NONCE_BYTES: usize = 16;
/// What a PING may have: names, and digests of 128 characters.
pub(super) const MAX_PING_BYTES: usize = 4096;

/// A key that both ends know. It is never shown.
#[derive(Clone)]
pub struct SharedKey(String);

impl SharedKey {
    /// This key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(***)")
    }
}

/// Why a client does not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Msgpack(#[from] msgpack::Error),
    #[error("the first message is no PING; give the client the shared key, or take it from the server")]
    NoPing,
    #[error("shared key mismatch; give both ends the same shared key")]
    Mismatch,
}

/// The server's half of one handshake.
#[derive(Debug)]
pub(super) struct Handshake<'a> {
    pub(super) key: &'a SharedKey,
    pub(super) hostname: &'a str,
    pub(super) nonce: [u8; NONCE_BYTES],
}

impl Handshake<'_> {
    /// The server's first message. `auth` is empty: no user has to be named.
    pub(super) fn helo(&self) -> Vec<u8> {
        let mut out = vec![0x92];
        string(b"HELO", &mut out);
        out.push(0x83);
        string(b"nonce", &mut out);
        out.extend_from_slice(&[0xc4, 16]);
        out.extend_from_slice(&self.nonce);
        string(b"auth", &mut out);
        string(b"", &mut out);
        string(b"keepalive", &mut out);
        out.push(0xc3);
        out
    }

    /// Checks a PING and gives the PONG, which is sent in either case.
    pub(super) fn answer(&self, ping: &[u8]) -> (Vec<u8>, Result<(), Error>) {
        let (salt, result) = match self.check(ping) {
            Ok(salt) => (Some(salt), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let mut out = vec![0x95];
        string(b"PONG", &mut out);
        match (salt, result) {
            (Some(salt), Ok(())) => {
                out.push(0xc3);
                string(b"", &mut out);
                string(self.hostname.as_bytes(), &mut out);
                string(self.digest(salt, self.hostname.as_bytes()).as_bytes(), &mut out);
            }
            (_, result) => {
                let reason = result.err().map(|error| error.to_string()).unwrap_or_default();
                out.push(0xc2);
                string(reason.as_bytes(), &mut out);
                string(b"", &mut out);
                string(b"", &mut out);
            }
        }
        (out, result)
    }

    /// The salt of a PING whose digest is right.
    fn check<'p>(&self, ping: &'p [u8]) -> Result<&'p [u8], Error> {
        let mut reader = Reader::new(ping);
        if reader.token()? != Token::Array(6) || text(&mut reader)? != b"PING" {
            return Err(Error::NoPing);
        }
        let (hostname, salt, digest) = (text(&mut reader)?, text(&mut reader)?, text(&mut reader)?);
        let want = self.digest(salt, hostname);
        if is_same(want.as_bytes(), digest) { Ok(salt) } else { Err(Error::Mismatch) }
    }

    /// What shows that somebody of this name knows the key.
    fn digest(&self, salt: &[u8], hostname: &[u8]) -> String {
        let mut hash = Sha512::new();
        for part in [salt, hostname, &self.nonce, self.key.0.as_bytes()] {
            hash.update(part);
        }
        let mut hex = String::with_capacity(2 * Sha512::output_size());
        for byte in hash.finalize() {
            for digit in [byte >> 4, byte & 15] {
                hex.extend(char::from_digit(u32::from(digit), 16));
            }
        }
        hex
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    match reader.token()? {
        Token::Str(text) | Token::Bin(text) => Ok(text),
        _ => Err(Error::NoPing),
    }
}

/// Compares in a time that does not depend on where they differ, so that a digest cannot be guessed piece by piece.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differences) == 0
}

/// Appends a text of msgpack. Longer ones than there are, over 64 KiB, are cut.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    match u8::try_from(length) {
        Ok(short @ ..32) => out.push(0xa0 | short),
        Ok(length) => out.extend_from_slice(&[0xd9, length]),
        Err(_) => {
            out.push(0xda);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend(text.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    /// What a client and a server of npm `@fluent-org/logger` said to each other.
    const HELO: &str =
        "92a448454c4f83a56e6f6e6365c4106c8875801a490aa0a4754fec0f63c2dfa461757468a0a96b656570616c697665c3";
    const PING: &str = "96a450494e47a8636c692e74657374d9203433626361653830306537646135386633613164363436663761653363306430d9806332393762643334363864366638336364366133396565643233343632353136333264316635323533316339336537353962653335373730663161393161356631396434653436613835333933373038623164353130353837626466316639303530616234363236313361383561376435653036363434353731663433313133a0a0";
    const PONG: &str = "95a4504f4e47c3a0a87372762e74657374d9803834316462636461303337323765333037383761363139396464656634356234663031623861363337626162383834646233616430383630333562363135326239643639643638386365343233633936663135663135353564386237636332306565306336373031396635333535353934353266386639353134616462343565";

    fn handshake(key: &SharedKey) -> Handshake<'_> {
        let nonce = hex("6c8875801a490aa0a4754fec0f63c2df").try_into().unwrap();
        Handshake { key, hostname: "srv.test", nonce }
    }

    #[test]
    fn the_same_words_as_another_implementation() {
        let key = SharedKey::new("s3cret");
        let handshake = handshake(&key);
        assert_eq!(handshake.helo(), hex(HELO));
        assert_eq!(handshake.answer(&hex(PING)), (hex(PONG), Ok(())));
    }

    #[test]
    fn who_does_not_know_the_key_learns_nothing() {
        let key = SharedKey::new("other");
        let (pong, result) = handshake(&key).answer(&hex(PING));
        assert_eq!(result, Err(Error::Mismatch));
        assert_eq!(pong.get(..7), Some(&b"\x95\xa4PONG\xc2"[..]));
        assert!(pong.ends_with(&[0xa0, 0xa0]), "no digest");
        for junk in [&b"\x93\xa1t\x01\x80"[..], b"\x96\xa4PONG\xa0\xa0\xa0\xa0\xa0", b"\x96\xa4PING", b"\xc1", b""] {
            assert!(handshake(&key).answer(junk).1.is_err());
        }
        assert_eq!(format!("{key:?}"), "SharedKey(***)");
    }
}
