//! Reading HTTP/1.1 messages by hand: the tests look at header lines exactly as they came.

use tokio::io::{AsyncRead, AsyncReadExt};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// A connection's incoming side, with what has been read too far.
pub(crate) struct Incoming<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Incoming<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// The lines of the next head, or nothing if the peer is done.
    pub(crate) async fn head(&mut self) -> Option<Vec<String>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == END_OF_HEAD) {
                let rest = self.buffer.split_off(at + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Some(String::from_utf8_lossy(&head[..at]).split("\r\n").map(str::to_owned).collect());
            }
            self.fill().await?;
        }
    }

    /// Exactly `length` bytes, or nothing if the peer ends before.
    pub(crate) async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let rest = self.buffer.split_off(length);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// Some bytes, or nothing if the peer is done.
    pub(crate) async fn some(&mut self) -> Option<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        Some(std::mem::take(&mut self.buffer))
    }

    async fn fill(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(read) if read > 0 => Some(()),
            _ => None,
        }
    }
}

/// The value of the first header with this lower-case name.
pub(crate) fn value<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
