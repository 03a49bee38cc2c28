//! The body of a `PutRecords` request: the records' JSON in a row, put in place of what the SDK made, with the hash that the signature needs.

use std::fmt;
use std::pin::Pin;
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

/// `{"Records":[entry,entry],"StreamName":"name"}` in pieces.
pub(super) fn pieces(request: &Request) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(2 * request.entries.len() + 1);
    for (i, entry) in request.entries.iter().enumerate() {
        pieces.push(Bytes::from_static(if i == 0 { b"{\"Records\":[" } else { b"," }));
        pieces.push(entry.clone());
    }
    let end: &[u8] = if is_arn(&request.stream) { b"],\"StreamARN\":" } else { b"],\"StreamName\":" };
    let mut end = end.to_vec();
    crate::event::write_text(&request.stream, &mut end);
    end.push(b'}');
    pieces.push(end.into());
    pieces
}

/// Puts the body in place of the one that the SDK made (of no records), after it was made and before it is signed.
#[derive(Debug)]
pub(super) struct PreparedBody(pub(super) Vec<Bytes>);

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
        let mut hash = Sha256::new();
        let mut length = 0;
        for piece in &self.0 {
            hash.update(piece);
            length += piece.len();
        }
        let hex = hex(&hash.finalize());
        let mut signing = config.load::<SigV4OperationSigningConfig>().cloned().unwrap_or_default();
        signing.signing_options.payload_override = Some(SignableBody::Precomputed(hex));
        config.interceptor_state().store_put(signing);
        let request = context.request_mut();
        request.headers_mut().insert("content-length", length.to_string());
        *request.body_mut() =
            SdkBody::from_body_1_x(Pieces { pieces: self.0.clone().into_iter(), length: length as u64 });
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|nibble| DIGITS[usize::from(nibble)]).collect()
}

/// A body of bytes that are in memory already.
struct Pieces {
    pieces: std::vec::IntoIter<Bytes>,
    length: u64,
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("length", &self.length).finish_non_exhaustive()
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.next();
        self.length -= piece.as_ref().map_or(0, |p| p.len() as u64);
        Poll::Ready(piece.map(|p| Ok(http_body::Frame::data(p))))
    }

    fn is_end_stream(&self) -> bool {
        self.length == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.length)
    }
}
