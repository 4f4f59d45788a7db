//! The listener, the gRPC services on it, and the end of the process.

mod connection;
mod grpc;
mod stream;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, health_reporter};

use crate::admin::{self, Status};
use crate::audit::Auditor;
use crate::config::{Config, ListenAddress, ServerConfig, Tls};
use crate::envoy::{CheckService, FILE_DESCRIPTOR_SET, SERVICE_NAME, Snapshot};
use crate::explain;
use crate::reload::Reloader;
use crate::telemetry::LogFilter;
use crate::telemetry::traces::Traces;

use connection::Connections;

pub(crate) use connection::HANDSHAKE_TIMEOUT;
pub use grpc::{Answer, Services};
pub(crate) use workers::{ACCEPT_PAUSE, of_that_client};

/// Why the server stopped, or never started.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The threads could not be started, or signals not be listened to.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// The address is taken, or not ours.
    #[error("cannot listen on {0}: {1}; is another server there? choose an address with --listen")]
    Listen(ListenAddress, io::Error),
    /// Likewise, of the admin listener.
    #[error("cannot listen on {0}: {1}; choose an address with --admin-listen")]
    Admin(SocketAddr, io::Error),
    /// The audit log cannot be written.
    #[error("cannot open the audit log: {0}; choose a file with --audit-log-path")]
    Audit(io::Error),
    /// Spans have nowhere to go.
    #[error("cannot send spans: {0}; choose another endpoint in --tracing-config-file")]
    Traces(String),
    /// The descriptors that were compiled in do not fit together.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until SIGTERM or SIGINT, then drains. What `log` shows can be changed meanwhile.
pub fn run(config: Config, reloader: Reloader, log: LogFilter) -> Result<(), ServerError> {
    // For everything but Checks, which must not wait for any of it: see `workers`.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime =
        runtime.worker_threads(BACKGROUND_THREADS).enable_all().build().map_err(ServerError::Start)?;
    let done = runtime.block_on(serve(config, reloader, log));
    runtime.shutdown_background();
    done
}

/// Whoever asks for health or metrics does not wait for a large answer of an issuer to be read.
const BACKGROUND_THREADS: usize = 2;

async fn serve(config: Config, reloader: Reloader, log: LogFilter) -> Result<(), ServerError> {
    // Before anybody knows that we are there: a signal that is not listened to ends the process.
    let mut signals = Signals::new().map_err(ServerError::Start)?;
    let hangup = signal(SignalKind::hangup()).map_err(ServerError::Start)?;
    let status = Arc::new(Status::new(Arc::clone(reloader.remote().metrics())));
    status.told_of(&config.deadlines);
    status.metrics.reloads.started(reloader.authentication_config());
    let Config { mut chain, cluster, reply, profiles, server: limits, tls, admin_tls, options, .. } = config;
    status.options(options, |_| false);
    let jwt = chain.jwt().map(|jwt| Arc::clone(jwt));
    status.issuers(jwt.as_deref());
    let watches = cluster.is_some();
    status.cluster(cluster);
    let [tls, admin_tls] =
        [tls, admin_tls].map(|tls| tls.map(|Tls(settings)| Arc::new(ArcSwap::new(settings))));
    let snapshot = Snapshot::new(chain, reply, profiles, &status.metrics);
    let current = Arc::new(ArcSwap::from_pointee(snapshot));
    let audit = limits.audit.as_ref().map(|audit| Auditor::start(audit, Arc::clone(&status.metrics.audit)));
    let audit = audit.transpose().map_err(ServerError::Audit)?.map(Arc::new);
    let traces = limits.tracing.as_ref().map(|to| Traces::start(to, Arc::clone(&status.metrics.traces)));
    let traces = traces.transpose().map_err(ServerError::Traces)?;
    let (mut health, health_service) = health_reporter();
    let check = CheckService::new(Arc::clone(&current), Arc::clone(&status.metrics), audit.clone())
        .traced(traces.as_ref().map(Traces::tracer));
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let others = Routes::new(health_service)
        .add_service(descriptors().build_v1()?)
        .add_service(descriptors().build_v1alpha()?);
    let services = Services::new(check, limits.max_check_request_bytes, others.prepare());

    if let Some(address) = limits.admin_listen {
        let failed = |error| ServerError::Admin(address, error);
        let explain = explain::routes(Arc::clone(&current), limits.max_check_request_bytes)?;
        let tls = (admin_tls.clone(), limits.max_connection_age);
        let (debugging, profiling) = (limits.debugging, limits.profiling);
        let admin = admin::listen(address, tls, debugging, profiling, Arc::clone(&status), log, explain);
        let address = admin.await.map_err(failed)?;
        tracing::info!(%address, "health and metrics");
    }
    // The chain is built before we listen: whoever gets through to us gets a verdict.
    // But a replica that is not asked yet does better than one that refuses what the others accept. For issuers it does not wait
    // long: they may be away, and may be behind us. For the cluster it does, as other replicas know what it cannot.
    let getting_ready = if jwt.is_none() && !watches {
        ready(&health, &status).await;
        None
    } else {
        report(&health, ServingStatus::NotServing).await;
        let (health, status) = (health.clone(), Arc::clone(&status));
        Some(tokio::spawn(async move {
            if let Some(jwt) = jwt {
                join_all(jwt.keys().map(|keys| keys.attempted(MAX_WAIT_FOR_ISSUERS))).await;
            }
            status.cluster_synced().await;
            ready(&health, &status).await;
        }))
    };
    let (drain, draining) = oneshot::channel();
    let handshakes = Arc::clone(&status.metrics.handshakes);
    let connections = Connections::new(&limits, tls.clone(), handshakes, services);
    let mut server = listen(&limits, connections, draining).await?;
    let socket = socket_file(&limits.listen);

    tokio::select! {
        stopped = &mut server => return ended(stopped),
        () = signals.next() => {}
        () = reloader.run(current, [tls, admin_tls], limits.clone(), Arc::clone(&status), hangup) => {}
    }
    tracing::info!(delay = ?limits.shutdown_delay, "told to stop; health says NOT_SERVING, still serving");
    if let Some(task) = getting_ready {
        task.abort();
    }
    report(&health, ServingStatus::NotServing).await;
    status.now_draining();
    // Envoy must notice before connections go away, else half its calls fail: GOAWAY alone is no graceful restart.
    tokio::select! {
        () = sleep(limits.shutdown_delay) => {}
        () = signals.next() => tracing::info!("told to stop again; not waiting"),
    }
    // A health Watch never ends by itself and would hold its connection.
    for service in HEALTH_SERVICES {
        health.clear_service_status(service).await;
    }
    let _stopped = drain.send(());
    let deadline = Instant::now() + limits.shutdown_timeout;
    match timeout_at(deadline, server).await {
        Ok(stopped) => ended(stopped)?,
        Err(_elapsed) => tracing::warn!(bound = ?limits.shutdown_timeout, "calls were still in flight"),
    }
    if let Some(audit) = audit {
        audit.flush(deadline.saturating_duration_since(Instant::now()).max(MIN_FLUSH)).await;
    }
    if let Some(traces) = traces {
        traces.flush(deadline.saturating_duration_since(Instant::now()).max(MIN_FLUSH)).await;
    }
    // Since we stopped to listen another process may have taken our place.
    if let ListenAddress::Unix(path) = &limits.listen
        && socket_file(&limits.listen) == socket
    {
        let _gone = std::fs::remove_file(path);
    }
    tracing::info!("stopped");
    Ok(())
}

/// Binds the address and serves on it until `draining`; then GOAWAY, and the end when the last call has ended.
async fn listen(
    limits: &ServerConfig,
    connections: Connections,
    draining: oneshot::Receiver<()>,
) -> Result<JoinHandle<Result<(), ServerError>>, ServerError> {
    let failed = |error| ServerError::Listen(limits.listen.clone(), error);
    match &limits.listen {
        ListenAddress::Tcp(address) => {
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            tracing::info!(%address, "serving");
            Ok(tokio::spawn(workers::serve(listener, limits.worker_threads, connections, draining)))
        }
        ListenAddress::Unix(path) => {
            remove_stale(path).await.map_err(failed)?;
            let listener = UnixListener::bind(path).map_err(failed)?;
            tracing::info!(address = %limits.listen, "serving");
            Ok(tokio::spawn(workers::serve(listener, limits.worker_threads, connections, draining)))
        }
    }
}

/// Which file that is, if the address is one. The number of an inode may be that of a file before it, so the time says it too.
fn socket_file(address: &ListenAddress) -> Option<[i128; 4]> {
    let ListenAddress::Unix(path) = address else { return None };
    let file = std::fs::metadata(path).ok()?;
    Some([file.dev().into(), file.ino().into(), file.mtime().into(), file.mtime_nsec().into()])
}

/// A socket file that nobody answers on is left over from a process that was killed.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

fn ended(stopped: Result<Result<(), ServerError>, tokio::task::JoinError>) -> Result<(), ServerError> {
    stopped.unwrap_or_else(|join| Err(ServerError::Start(io::Error::other(join))))
}

/// The audit log and the last spans are given so long at the end even if calls have taken all the time there was.
const MIN_FLUSH: Duration = Duration::from_millis(500);

/// A replica that starts waits so long for the first answers of issuers before it says that it is ready.
const MAX_WAIT_FOR_ISSUERS: Duration = Duration::from_secs(5);

async fn ready(health: &HealthReporter, status: &Status) {
    report(health, ServingStatus::Serving).await;
    status.now_serving();
}

/// Health of the whole server and of the service, which say the same.
async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in HEALTH_SERVICES {
        health.set_service_status(service, status).await;
    }
}

const HEALTH_SERVICES: [&str; 2] = ["", SERVICE_NAME];

/// SIGTERM, from Kubernetes, and SIGINT, from a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
