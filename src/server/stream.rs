//! What connections are read from and written to.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

/// TCP or a unix socket, with TLS or without. One type for all of them, so that the code for a connection is there once.
pub(super) struct Stream {
    duplex: Box<dyn Duplex>,
    begun: Begun,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Stream {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { duplex: Box::new(stream), begun: Begun::default() }
    }

    /// The calls that come over it.
    pub(super) fn begun(&self) -> Begun {
        self.begun.clone()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream(..)")
    }
}

/// How many calls have begun since a connection was last written to.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<AtomicUsize>);

impl Begun {
    /// Waits until another call may begin. That is at once, unless enough have begun that are not answered: then the connection, which any of
    /// their answers has woken, comes first and writes them, and the call begins after that.
    pub(super) async fn another(&self) {
        if self.0.load(Ordering::Relaxed) >= ANSWERED_FIRST {
            yield_now().await;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn written(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Of calls that came together so many are answered first, in one write, and then the others, in another. With no such write Envoy has nothing
/// to do until the last call is ready, and all its clients wait longer. As it takes some 50 µs for a request and we 7 µs for a call whose
/// credential is remembered, it is busy with these until 50 others are ready. With 1, 2 and 4 clients wait as long, and a call costs 0.4
/// to 2.6 µs more (`cargo bench --bench load`, and with `-- envoy`).
const ANSWERED_FIRST: usize = 8;

/// A DATA frame that h2 writes by itself has at least so many bytes. h2: `CHAIN_THRESHOLD_WITHOUT_VECTORED_IO` of codec/framed_write.rs.
pub(super) const COPIED: usize = 1024;

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_read(context, buffer)
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
        self.begun.written();
        Pin::new(&mut self.duplex).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.duplex).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures_util::future::join_all;
    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::server::conn::http2;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::DuplexStream;

    use super::*;

    /// For each write to a stream, and before the first, how many calls have begun until the next.
    #[derive(Clone)]
    struct Writes(Arc<Mutex<Vec<usize>>>);

    impl Writes {
        fn new() -> Self {
            Self(Arc::new(Mutex::new(vec![0])))
        }

        fn another(&self) {
            self.0.lock().unwrap().push(0);
        }

        fn call(&self) {
            *self.0.lock().unwrap().last_mut().unwrap() += 1;
        }

        fn all(&self) -> Vec<usize> {
            self.0.lock().unwrap().clone()
        }
    }

    /// A stream with vectored writes, as TCP has them, that counts them.
    struct Counting(DuplexStream, Writes);

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
            self.1.another();
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.1.another();
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
        let ((near, far), counted) = (tokio::io::duplex(64 * 1024), Writes::new());
        let stream = stream(Counting(far, counted.clone()));
        let (client, server) = tokio::join!(h2::client::handshake(near), h2::server::handshake(stream));
        let ((client, connection), mut server) = (client.unwrap(), server.unwrap());
        tokio::spawn(connection);
        let mut calls = Vec::new();
        for _ in 0..8 {
            let mut ready = client.clone().ready().await.unwrap();
            let (answer, _body) = ready.send_request(Request::new(()), true).unwrap();
            calls.push((server.accept().await.unwrap().unwrap().1, answer));
        }
        let before = counted.all().len();
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
        counted.all().len() - before
    }

    #[tokio::test]
    async fn answers_to_calls_that_came_together_are_one_write() {
        assert_eq!(writes(COPIED - 1, Stream::new).await, 1);
        assert!(writes(COPIED, Stream::new).await > 8, "these are not copied: then `COPIED` can be larger");
        assert_eq!(writes(256, |stream| stream).await, 8, "else there would be no need for this");
    }

    /// How many calls begin between two writes, where so many come together and each is answered at once.
    async fn begun_together(calls: usize) -> Vec<usize> {
        let ((near, far), counted) = (tokio::io::duplex(64 * 1024), Writes::new());
        let (client, connection) = h2::client::handshake(near).await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..calls {
            let mut ready = client.clone().ready().await.unwrap();
            answers.push(ready.send_request(Request::new(()), true).unwrap().0);
        }
        let stream = Stream::new(Counting(far, counted.clone()));
        let (begun, count) = (stream.begun(), counted.clone());
        let answer = service_fn(move |_request| {
            let (begun, count) = (begun.clone(), count.clone());
            async move {
                begun.another().await;
                count.call();
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let server = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(connection);
        tokio::select! {
            ended = pin!(server) => panic!("{ended:?}"),
            answers = join_all(answers) => assert!(answers.iter().all(Result::is_ok), "{answers:?}"),
        }
        counted.all().into_iter().filter(|calls| *calls > 0).collect()
    }

    #[tokio::test]
    async fn of_calls_that_came_together_eight_are_answered_before_the_others_begin() {
        assert_eq!(begun_together(1).await, [1]);
        assert_eq!(begun_together(8).await, [8]);
        assert_eq!(begun_together(9).await, [8, 1]);
        assert_eq!(begun_together(20).await, [8, 12]);
    }
}
