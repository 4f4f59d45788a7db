//! Protobuf, written front to back. prost measures a message before it writes it, and each message within once more for every level
//! above, after all of it has been put into structures: for the first reply to an identity that is six times the work.

use prost::encoding::{WireType, encode_key, encode_varint};

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

/// The number of a field.
pub(super) type Tag = u32;

impl Writer {
    /// An empty message that will have about so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// What has been written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What has been written, in the place where that was done.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Makes room for so many bytes more.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// An enum's number, of which the message knows the names.
    pub(super) fn number(&mut self, tag: Tag, number: u64) {
        encode_key(tag, WireType::Varint, &mut self.0);
        encode_varint(number, &mut self.0);
    }

    /// A string, also if it is empty.
    pub(super) fn string(&mut self, tag: Tag, text: &str) {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A message, also if `write` writes nothing.
    pub(super) fn message(&mut self, tag: Tag, write: impl FnOnce(&mut Self)) {
        encode_key(tag, WireType::LengthDelimited, &mut self.0);
        let start = self.0.len();
        write(self);
        // The length goes in front of what it is the length of.
        let end = self.0.len();
        self.length(end - start);
        let of_length = self.0.len() - end;
        self.0[start..].rotate_right(of_length);
    }

    fn length(&mut self, length: usize) {
        encode_varint(u64::try_from(length).unwrap_or(u64::MAX), &mut self.0);
    }
}
