//! The messages of `Check` on the wire: in, "decoded, or malformed"; out, bytes that are ready.

use bytes::Buf;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use super::decode::Incoming;
use super::encode::Reply;

/// The codec of the generated service.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckCodec;

impl Codec for CheckCodec {
    type Encode = Reply;
    type Decode = Incoming;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Decoder for CheckCodec {
    type Item = Incoming;
    type Error = Status;

    /// Never fails: a gRPC error could be told to let the request pass (`failure_mode_allow`), a denial cannot.
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Incoming>, Status> {
        Ok(Some(Incoming::decode(buffer.copy_to_bytes(buffer.remaining()))))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Encoder for CheckCodec {
    type Item = Reply;
    type Error = Status;

    fn encode(&mut self, reply: Reply, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, reply.as_bytes());
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}
