//! The threads that answer Checks: each with a runtime of its own, on which the connections that it is given live until they end.
//!
//! ```text
//!   accept ── the worker with the fewest connections ──▶ connection
//! ```
//!
//! Not one runtime of several threads: there, whoever has finished a Check wakes its connection, which comes next and writes, a
//! system call for each reply. A runtime of one thread takes tasks in the order in which they became ready, so a connection
//! writes the replies to many Checks that it had read at once together ([`Stream`] sees to that); that halves what a Check costs
//! (`cargo bench --bench load`). The price is that the Checks of one connection are answered by one core. Envoy has a connection
//! for each of its own workers.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ServerError;
use super::connection::Connections;
use super::stream::Stream;

/// Something that clients connect to.
pub(super) trait Listener: Send + 'static {
    /// A connection of no runtime.
    type Std: Send + 'static;

    /// The next client.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Std>> + Send;

    /// Makes a connection one of the runtime that this is called in.
    fn adopt(connection: Self::Std) -> io::Result<Stream>;
}

impl Listener for TcpListener {
    type Std = std::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Std> {
        self.accept().await?.0.into_std()
    }

    fn adopt(connection: Self::Std) -> io::Result<Stream> {
        // A reply is written whole, and its client waits for it.
        connection.set_nodelay(true)?;
        TcpStream::from_std(connection).map(Stream::new)
    }
}

impl Listener for UnixListener {
    type Std = std::os::unix::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Std> {
        self.accept().await?.0.into_std()
    }

    fn adopt(connection: Self::Std) -> io::Result<Stream> {
        UnixStream::from_std(connection).map(Stream::new)
    }
}

/// Serves what comes to `listener` with `count` workers until `draining`; then each connection is told to go away, and this ends with
/// the last of them.
pub(super) async fn serve<L: Listener>(
    listener: L,
    count: usize,
    connections: Connections,
    draining: oneshot::Receiver<()>,
) -> Result<(), ServerError> {
    let (drain, drained) = watch::channel(false);
    let start = |number| Worker::<L>::start(number, connections.apart(), drained.clone());
    let (workers, ended): (Vec<_>, Vec<_>) =
        (0..count).map(start).collect::<Result<Vec<_>, _>>().map_err(ServerError::Start)?.into_iter().unzip();
    let mut ended = Box::pin(try_join_all(ended.into_iter().map(end)));
    tokio::select! {
        never = accept(&listener, &workers) => match never {},
        ended = &mut ended => return ended.map(drop),
        _told = draining => {}
    }
    drop(listener);
    drain.send_replace(true);
    ended.await.map(drop)
}

/// Hands out connections for ever.
async fn accept<L: Listener>(listener: &L, workers: &[Worker<L>]) -> std::convert::Infallible {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let idlest = workers.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed));
                // One who does not take it any more is about to end the program.
                let _taken = idlest.map(|worker| worker.take(connection));
            }
            Err(error) if of_that_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who is gone before it was there is no trouble of ours. Go: `accept` of internal/poll, `TcpListener::accept` of axum.
pub(crate) fn of_that_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// When files have run out, it takes a while until some are closed. Go's `http.Server` waits so long at most.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How many connections may wait for a worker, which takes one whenever it has nothing else to do; more are closed.
const MAX_WAITING: usize = 1024;

/// A thread with a runtime.
struct Worker<L: Listener> {
    connections: mpsc::Sender<(L::Std, Open)>,
    /// How many connections it has.
    open: Arc<AtomicUsize>,
}

/// How a worker's thread ended.
type Ended = oneshot::Receiver<()>;

impl<L: Listener> Worker<L> {
    fn start(
        number: usize,
        connections: Connections,
        drained: watch::Receiver<bool>,
    ) -> io::Result<(Self, Ended)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (place, waiting) = mpsc::channel(MAX_WAITING);
        let (tell, ended) = oneshot::channel();
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            runtime.block_on(work::<L>(waiting, connections, drained));
            let _nobody_waits = tell.send(());
            // What is left are calls that outlived the drain, and password hashes that nobody waits for.
            runtime.shutdown_background();
        })?;
        Ok((Self { connections: place, open: Arc::default() }, ended))
    }

    fn take(&self, connection: L::Std) -> Result<(), ()> {
        let open = Open::new(&self.open);
        self.connections.try_send((connection, open)).map_err(|_full_or_ended| ())
    }
}

/// Serves those who come until `drained`, and then until the last of them is gone.
async fn work<L: Listener>(
    mut waiting: mpsc::Receiver<(L::Std, Open)>,
    connections: Connections,
    drained: watch::Receiver<bool>,
) {
    let (mut served, handshakes) = (JoinSet::new(), Arc::new(Semaphore::new(MAX_HANDSHAKES)));
    let mut draining = drained.clone();
    let mut draining = pin!(draining.wait_for(|drained| *drained));
    loop {
        let next = async {
            // Never closed.
            let handshake = Arc::clone(&handshakes).acquire_owned().await.ok();
            (waiting.recv().await, handshake)
        };
        tokio::select! {
            _told = &mut draining => break,
            Some(_ended) = served.join_next() => {}
            (next, handshake) = next => {
                let Some((connection, open)) = next else { break };
                let Ok(stream) = L::adopt(connection) else { continue };
                let (connections, drained) = (connections.clone(), drained.clone());
                served.spawn(async move {
                    connections.serve(stream, handshake, drained).await;
                    drop(open);
                });
            }
        }
    }
    drop(waiting);
    while served.join_next().await.is_some() {}
}

/// How many clients may shake hands at once with a worker.
const MAX_HANDSHAKES: usize = 1024;

async fn end(ended: Ended) -> Result<(), ServerError> {
    let panicked = |_| ServerError::Start(io::Error::other("a worker has panicked"));
    ended.await.map_err(panicked)
}

/// Counts as one connection of a worker for as long as it is there.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
