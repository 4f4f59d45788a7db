//! gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md). `Check` is served by hand, since it is what every request of every
//! user pays for: one message comes and one goes, for which tonic sets up a stream of messages in each direction and passes them through
//! a dozen boxes. The other services are tonic's.
//!
//! What comes in place of a CheckRequest, be it too large, compressed, cut off or nothing, is answered like a CheckRequest that does not
//! decode: with a denial. A gRPC error could be told to let the request pass (`failure_mode_allow`).
//!
//! # What is left to hyper and h2
//!
//! A remembered Check allocates ten times on this side of a connection, by valgrind's DHAT (`tests/load/allocations.rs` pins them
//! together with the client's): three times for what is decoded, and seven times for the transport, where only its crates could spare it:
//!
//! - six for `http::HeaderMap`, which has its entries and their index apart, and no place for one entry without either: two for the
//!   headers that h2 decodes, where it takes room for eight, two for the one header of the answer, two for the one trailer;
//! - one for the task that hyper spawns for each call, of some 2.9 KB with the future of the Check in it, though nearly all
//!   are ready when they are first asked.
//!
//! And where a stream has vectored writes, h2 fills each of them with one frame: see `stream.rs`.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tonic::Status;
use tonic::service::Routes;
use tower_service::Service;

use super::stream::COPIED;
use crate::envoy::{CheckService, FRAME_HEAD, METHOD};

/// What a connection serves.
#[derive(Debug, Clone)]
pub struct Services {
    check: CheckService,
    max_check_request_bytes: usize,
    others: Routes,
}

impl Services {
    /// `check`, asked with at most so many bytes, and `others` beside it.
    pub fn new(check: CheckService, max_check_request_bytes: usize, others: Routes) -> Self {
        Self { check, max_check_request_bytes, others }
    }

    /// The answer to a call.
    pub async fn call<B>(&self, request: Request<B>) -> Response<Answer>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if request.uri().path().strip_prefix('/') != Some(METHOD) {
            let Ok(response) = self.others.clone().call(request).await;
            return response.map(Answer::Other);
        }
        let (call, body) = request.into_parts();
        let message = only_message(body, self.max_check_request_bytes).await;
        let reply = self.check.check(&call.headers, message).await;
        let mut response = Response::new(Answer::Message(reply.into_frame()));
        // With room for one, not for the eight that the first insertion makes room for.
        *response.headers_mut() = HeaderMap::from_iter([(CONTENT_TYPE, GRPC)]);
        response
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The message of a body that holds one, of at most `max` bytes, and not compressed: nobody was told that it may be. Nearly always it is
/// all there in one piece, which is then not copied.
async fn only_message<B: Body<Data = Bytes> + Unpin>(mut body: B, max: usize) -> Option<Bytes> {
    let first = next(&mut body).await?;
    let mut whole = if body.is_end_stream() { first } else { join(first, body, FRAME_HEAD + max).await? };
    let is_compressed = whole.try_get_u8().ok()? != 0;
    let length = usize::try_from(whole.try_get_u32().ok()?).ok()?;
    (!is_compressed && length == whole.len() && length <= max).then_some(whole)
}

/// All data of a body, if that are at most `max` bytes.
async fn join<B: Body<Data = Bytes> + Unpin>(first: Bytes, mut body: B, max: usize) -> Option<Bytes> {
    let mut joined = BytesMut::from(first);
    while let Some(more) = next(&mut body).await {
        if joined.len() + more.len() > max {
            return None;
        }
        joined.extend_from_slice(&more);
    }
    Some(joined.freeze())
}

/// The next piece of data, if there is one.
async fn next<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Bytes> {
    loop {
        // Trailers of a request say nothing in gRPC.
        if let Ok(data) = body.frame().await?.ok()?.into_data() {
            return Some(data);
        }
    }
}

/// A message of so many bytes is sent in pieces that are copied, not written by themselves. A larger one costs more to cut than to write.
const MAX_IN_PIECES: usize = 8 * COPIED;

/// The body of an answer.
#[derive(Debug)]
pub enum Answer {
    /// A message in its frame, and then the status.
    Message(Bytes),
    /// The status: OK.
    Status,
    /// There is no more.
    End,
    /// That of another service.
    Other(tonic::body::Body),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (frame, rest) = match &mut *self {
            Self::Other(body) => return Pin::new(body).poll_frame(context),
            Self::Message(message) if message.len() >= COPIED && message.len() <= MAX_IN_PIECES => {
                return Poll::Ready(Some(Ok(Frame::data(message.split_to(COPIED - 1)))));
            }
            Self::Message(message) => (Frame::data(std::mem::take(message)), Self::Status),
            Self::Status => (Frame::trailers(HeaderMap::from_iter([(GRPC_STATUS, OK)])), Self::End),
            Self::End => return Poll::Ready(None),
        };
        *self = rest;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) | Self::Status => false,
            Self::End => true,
            Self::Other(body) => body.is_end_stream(),
        }
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// As every call of `Check` ends.
const OK: HeaderValue = HeaderValue::from_static("0");

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::StreamBody;

    use super::*;

    const MAX: usize = 6;

    /// What is read of a body that comes in these pieces.
    async fn read(pieces: &[&'static [u8]]) -> Option<Bytes> {
        let pieces = pieces.iter().map(|piece| Ok::<_, Status>(Frame::data(Bytes::from_static(piece))));
        only_message(StreamBody::new(stream::iter(pieces)), MAX).await
    }

    /// gRPC's `Length-Prefixed-Message`, wherever HTTP/2 has cut it.
    #[tokio::test]
    async fn a_message_is_read_in_one_piece_or_in_many() {
        let cuts: [&[&[u8]]; 5] = [
            &[b"\0\0\0\0\x06abcdef"],
            &[b"\0\0\0\0\x06abcdef", b""],
            &[b"", b"\0\0", b"\0\0\x06a", b"bcdef"],
            &[b"\0\0\0\0\x06", b"abcdef"],
            &[b"\0", b"\0", b"\0", b"\0", b"\x06", b"a", b"b", b"c", b"d", b"e", b"f"],
        ];
        for pieces in cuts {
            assert_eq!(read(pieces).await.as_deref(), Some(&b"abcdef"[..]), "{pieces:?}");
        }
        assert_eq!(read(&[b"\0\0\0\0\0"]).await.as_deref(), Some(&b""[..]), "all of its fields are unset");
    }

    /// Too large, cut off, compressed, more than one, none: S34, and what a CheckRequest never is.
    #[tokio::test]
    async fn what_is_no_single_message_is_none() {
        let others: [&[&[u8]]; 10] = [
            &[],
            &[b""],
            &[b"\0\0\0\0"],
            &[b"\0\0\0\0\x07abcdefg"],
            &[b"\0\0\0\0\x06abc", b"defg"],
            &[b"\0\0\0\0\x06abcde"],
            &[b"\0\0\0\0\x05abcdef"],
            &[b"\x01\0\0\0\x06abcdef"],
            &[b"\0\0\0\0\x01a\0\0\0\0\0"],
            &[b"\0\xff\xff\xff\xffabcdef"],
        ];
        for pieces in others {
            assert_eq!(read(pieces).await, None, "{pieces:?}");
        }
    }

    /// The lengths of the pieces in which an answer of so many bytes goes out.
    async fn pieces(size: usize) -> Vec<usize> {
        let whole: Vec<u8> = (0..size).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let (mut answer, mut pieces) = (Answer::Message(Bytes::from(whole.clone())), Vec::new());
        while let Some(frame) = answer.frame().await {
            pieces.extend(frame.unwrap().into_data());
        }
        assert_eq!(pieces.concat(), whole);
        pieces.iter().map(Bytes::len).collect()
    }

    #[tokio::test]
    async fn an_answer_goes_out_in_pieces_that_are_copied_unless_it_is_large() {
        assert_eq!(pieces(1023).await, [1023]);
        assert_eq!(pieces(1024).await, [1023, 1]);
        assert_eq!(pieces(8192).await, [1023, 1023, 1023, 1023, 1023, 1023, 1023, 1023, 8]);
        assert_eq!(pieces(8193).await, [8193]);
    }
}
