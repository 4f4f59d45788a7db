//! What connections are read from and written to.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// TCP or a unix socket, with TLS or without. One type for all of them, so that the code for a connection is there once.
pub(super) struct Stream(Box<dyn Duplex>);

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Stream {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Box::new(stream))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(..)")
    }
}

/// A DATA frame that h2 writes by itself has at least so many bytes. h2: `CHAIN_THRESHOLD_WITHOUT_VECTORED_IO` of codec/framed_write.rs.
pub(super) const COPIED: usize = 1024;

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

/// It says of itself that it has no vectored writes. Where there are, h2 hands a DATA frame of 256 bytes or more to the system by
/// itself, so that each answer is a write. Where there are none it copies frames of less than [`COPIED`] bytes behind each other, and many
/// answers are one write. To copy half a kilobyte is nothing beside a call of the system.
impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http::{Request, Response};
    use tokio::io::DuplexStream;

    use super::*;

    /// A stream with vectored writes, as TCP has them, that counts them.
    struct Counting(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write_vectored(context, slices)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    /// How many writes answers of `size` bytes to eight calls take that came together.
    async fn writes<S: AsyncRead + AsyncWrite + Unpin>(
        size: usize,
        stream: impl FnOnce(Counting) -> S,
    ) -> usize {
        let ((near, far), counted) = (tokio::io::duplex(64 * 1024), Arc::new(AtomicUsize::new(0)));
        let stream = stream(Counting(far, Arc::clone(&counted)));
        let (client, server) = tokio::join!(h2::client::handshake(near), h2::server::handshake(stream));
        let ((client, connection), mut server) = (client.unwrap(), server.unwrap());
        tokio::spawn(connection);
        let mut calls = Vec::new();
        for _ in 0..8 {
            let mut ready = client.clone().ready().await.unwrap();
            let (answer, _body) = ready.send_request(Request::new(()), true).unwrap();
            calls.push((server.accept().await.unwrap().unwrap().1, answer));
        }
        counted.store(0, Ordering::Relaxed);
        let mut answers = Vec::new();
        for (mut call, answer) in calls {
            let mut body = call.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from(vec![0; size]), true).unwrap();
            answers.push(answer);
        }
        let all = async {
            for answer in answers {
                let mut body = answer.await.unwrap().into_body();
                assert_eq!(body.data().await.unwrap().unwrap().len(), size);
            }
        };
        tokio::select! {
            none = server.accept() => panic!("another call: {}", none.is_some()),
            () = all => {}
        }
        counted.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn answers_to_calls_that_came_together_are_one_write() {
        assert_eq!(writes(COPIED - 1, Stream::new).await, 1);
        assert!(writes(COPIED, Stream::new).await > 8, "these are not copied: then `COPIED` can be larger");
        assert_eq!(writes(256, |stream| stream).await, 8, "else there would be no need for this");
    }
}
