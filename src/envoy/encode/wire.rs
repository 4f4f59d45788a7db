//! Protobuf, written front to back. prost measures a message before it writes it, and each message within once more for every level
//! above, after all of it has been put into structures: for the first reply to an identity that is six times the work.

/// A message in the making.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

/// The number of a field, below 16: then it takes a byte.
pub(super) type Tag = u8;

/// Wire types (protobuf.dev/programming-guides/encoding).
const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

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
    pub(super) fn number(&mut self, tag: Tag, number: usize) {
        self.0.push(tag << 3 | VARINT);
        self.varint(number);
    }

    /// A string, also if it is empty.
    pub(super) fn string(&mut self, tag: Tag, text: &str) {
        self.0.push(tag << 3 | LENGTH_DELIMITED);
        self.varint(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A message, also if `write` writes nothing.
    pub(super) fn message(&mut self, tag: Tag, write: impl FnOnce(&mut Self)) {
        self.0.push(tag << 3 | LENGTH_DELIMITED);
        let start = self.0.len();
        // A place for the length, which nearly always is one byte. More go behind the message, and from there to the front.
        self.0.push(0);
        write(self);
        let end = self.0.len();
        let length = end - start - 1;
        if let Some(byte) = u8::try_from(length).ok().filter(|byte| *byte < MORE) {
            self.0[start] = byte;
        } else {
            self.varint(length);
            let of_length = self.0.len() - end;
            self.0[start + 1..].rotate_right(of_length);
            self.0.remove(start);
        }
    }

    fn varint(&mut self, mut number: usize) {
        loop {
            let low = u8::try_from(number % usize::from(MORE)).unwrap_or_default();
            number /= usize::from(MORE);
            if number == 0 {
                return self.0.push(low);
            }
            self.0.push(low | MORE);
        }
    }
}

/// There is another byte of this number.
const MORE: u8 = 0x80;
