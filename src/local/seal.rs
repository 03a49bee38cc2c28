//! Sealed tokens: the opaque texts that a client gets and hands back, shard iterators and tokens for the next page.
//!
//! A seal shows that a token came from this process and wasn't changed. It guards against mistakes, not attackers.

use md5::{Digest, Md5};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The length of a seal, in bytes.
const SEAL_BYTES: usize = 8;
/// The longest token, in characters; the API's own limit on shard iterators.
pub(crate) const MAX_TOKEN_CHARS: usize = 512;

/// Makes and reads tokens.
#[derive(Debug)]
pub(crate) struct Sealer {
    secret: [u8; 16],
}

impl Sealer {
    pub(crate) fn new(secret: u128) -> Self {
        Self { secret: secret.to_le_bytes() }
    }

    /// The token that holds `content`.
    pub(crate) fn seal<T: Serialize>(&self, content: &T) -> String {
        let text = serde_json::to_vec(content).expect("tokens hold only plain values");
        let mut token = self.sign(&text);
        token.extend_from_slice(&text);
        base64_simd::STANDARD.encode_to_string(token)
    }

    /// What a token holds, if it is one.
    pub(crate) fn open<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let bytes = base64_simd::STANDARD.decode_to_vec(token.as_bytes()).ok()?;
        let (seal, text) = bytes.split_at_checked(SEAL_BYTES)?;
        if seal != self.sign(text) {
            return None;
        }
        serde_json::from_slice(text).ok()
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let digest = Md5::new().chain_update(self.secret).chain_update(text).chain_update(self.secret).finalize();
        digest.iter().copied().take(SEAL_BYTES).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_only_unchanged_and_only_here() {
        let sealer = Sealer::new(1);
        let token = sealer.seal(&("stream", 5_u64));
        assert_eq!(sealer.open::<(String, u64)>(&token), Some(("stream".to_owned(), 5)));
        assert_eq!(Sealer::new(2).open::<(String, u64)>(&token), None);
        let changed = token.replace(char::from(token.as_bytes()[15]), "A");
        assert_eq!(sealer.open::<(String, u64)>(&changed), None);
        for other in ["", "AAAA", "no base64!", "AAAAAAAAAAAAAAAA"] {
            assert_eq!(sealer.open::<(String, u64)>(other), None, "{other}");
        }
    }
}
