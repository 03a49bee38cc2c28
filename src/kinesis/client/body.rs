//! The body of a `PutRecords` request, made piece by piece while it is sent, in place of what the SDK would make. What is not sent yet takes no
//! memory but the payloads themselves.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::error::BoxError;
use aws_sigv4::http_request::SignableBody;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Request, is_arn};
use crate::event::write_text;
use crate::kinesis::hash::hash_key_text;

/// Bytes of a piece. hyper gathers 16 of them for one write.
const PIECE_BYTES: usize = 16 * 1024;

/// Puts the body in place of the one that the SDK made (of no records), after it was made and before it is signed.
#[derive(Debug)]
pub(super) struct PreparedBody(pub(super) Arc<Request>);

impl Intercept for PreparedBody {
    fn name(&self) -> &'static str {
        "PreparedBody"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // Made once to be hashed and once to be sent: that costs less than to keep it.
        let (mut hash, mut length, mut piece) = (Sha256::new(), 0, Vec::with_capacity(PIECE_BYTES));
        let mut text = Text::new(Arc::clone(&self.0));
        while text.write(&mut piece) {
            hash.update(&piece);
            length += piece.len() as u64;
            piece.clear();
        }
        let hex = hex(&hash.finalize());
        let mut signing = config.load::<SigV4OperationSigningConfig>().cloned().unwrap_or_default();
        signing.signing_options.payload_override = Some(SignableBody::Precomputed(hex));
        config.interceptor_state().store_put(signing);
        let request = context.request_mut();
        request.headers_mut().insert("content-length", length.to_string());
        *request.body_mut() = SdkBody::from_body_1_x(Body { text: Text::new(Arc::clone(&self.0)), left: length });
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// `{"Records":[{"Data":"…","PartitionKey":"…"},…],"StreamName":"…"}`, from its beginning to its end.
struct Text {
    request: Arc<Request>,
    /// The entry that comes next.
    entry: usize,
    /// Bytes of its data that are written.
    offset: usize,
    is_done: bool,
}

impl Text {
    fn new(request: Arc<Request>) -> Self {
        Self { request, entry: 0, offset: 0, is_done: false }
    }

    /// Writes the next piece. Answers false, and writes nothing, after the last one.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if self.is_done {
            return false;
        }
        while let Some(entry) = self.request.entries.get(self.entry) {
            if self.offset == 0 {
                out.extend_from_slice(if self.entry == 0 { b"{\"Records\":[{\"Data\":\"" } else { b",{\"Data\":\"" });
            }
            // All but the last part of the data have to be whole groups of three bytes, or they would be padded.
            let room = PIECE_BYTES.saturating_sub(out.len()).max(4) / 4 * 3;
            let part = &entry.data[self.offset..entry.data.len().min(self.offset + room)];
            base64_simd::STANDARD.encode_append(part, out);
            self.offset += part.len();
            if self.offset < entry.data.len() {
                return true;
            }
            out.extend_from_slice(b"\",\"PartitionKey\":");
            write_text(&entry.partition_key, out);
            if let Some(hash) = entry.hash_key {
                out.extend_from_slice(b",\"ExplicitHashKey\":\"");
                out.extend_from_slice(hash_key_text(hash).as_bytes());
                out.push(b'"');
            }
            out.push(b'}');
            (self.entry, self.offset) = (self.entry + 1, 0);
            if out.len() >= PIECE_BYTES {
                return true;
            }
        }
        out.extend_from_slice(if is_arn(&self.request.stream) { b"],\"StreamARN\":" } else { b"],\"StreamName\":" });
        write_text(&self.request.stream, out);
        out.push(b'}');
        self.is_done = true;
        true
    }
}

struct Body {
    text: Text,
    /// Bytes that are not sent yet.
    left: u64,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        // A key and what is around it may follow what fills the piece.
        let mut piece = Vec::with_capacity(PIECE_BYTES + 512);
        let more = self.text.write(&mut piece);
        self.left -= piece.len() as u64;
        Poll::Ready(more.then(|| Ok(http_body::Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::client::Entry;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn entry() -> impl Strategy<Value = Entry> {
        let lengths = prop_oneof![0..100usize, 0..3 * PIECE_BYTES];
        let keys = prop_oneof![Just("k".to_owned()), "\\PC{1,256}"];
        (lengths, any::<u8>(), keys, any::<Option<u128>>()).prop_map(|(length, first, key, hash_key)| {
            let data = (0..length).map(|at| first.wrapping_add(u8::try_from(at % 251).unwrap()));
            Entry { data: data.collect(), partition_key: key.into(), hash_key }
        })
    }

    fn expected(request: &Request) -> Value {
        let records = request.entries.iter().map(|entry| {
            let mut record = json!({
                "Data": base64_simd::STANDARD.encode_to_string(&entry.data),
                "PartitionKey": &*entry.partition_key,
            });
            if let Some(hash) = entry.hash_key {
                record["ExplicitHashKey"] = hash_key_text(hash).as_str().into();
            }
            record
        });
        let name = if is_arn(&request.stream) { "StreamARN" } else { "StreamName" };
        json!({ "Records": records.collect::<Vec<_>>(), name: &*request.stream })
    }

    proptest! {
        /// For all requests, the pieces in a row are the JSON that the API wants, and none is much larger than it should be.
        #[test]
        fn the_pieces_are_the_request(entries in prop::collection::vec(entry(), 1..12), by_arn: bool) {
            let stream = if by_arn { "arn:aws:kinesis:eu-west-1:123456789012:stream/\"s" } else { "s" };
            let request = Request { stream: stream.into(), entries };
            let mut text = Text::new(Arc::new(request.clone()));
            let (mut all, mut piece) = (Vec::new(), Vec::new());
            while text.write(&mut piece) {
                prop_assert!(!piece.is_empty() && piece.len() <= PIECE_BYTES + 2048, "{}", piece.len());
                all.append(&mut piece);
            }
            prop_assert!(!text.write(&mut piece) && piece.is_empty());
            prop_assert_eq!(serde_json::from_slice::<Value>(&all).unwrap(), expected(&request));
        }
    }
}
