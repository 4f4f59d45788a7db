//! Spans on their way to a collector, over OTLP.
//!
//! ```text
//!   a span ends ──▶ queue of MAX_WAITING ──▶ a task: MAX_BATCH, or DELAY ──▶ collector
//!                     │ full                                         │ refused, away or too slow
//!                     ▼                                              ▼
//!                   lost, and counted                              failed, and counted
//! ```
//!
//! No Check waits for it. The SDK has such a queue, too, but neither tells how much it has dropped nor says when a collector is away and
//! when it is back.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter as Otlp, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::metrics::{TraceStatistics, host_name};
use crate::trace::{TraceConfig, Tracer};

/// So many spans wait for the collector; more are lost. Go: `DefaultMaxQueueSize` of go.opentelemetry.io/otel/sdk/trace.
pub const MAX_WAITING: usize = 2048;

/// So many are sent at once. Go: `DefaultMaxExportBatchSize`.
pub const MAX_BATCH: usize = 512;

/// A span waits so long for others to go with. Go waits 5 s, and whoever looks for a trace with it.
const DELAY: Duration = Duration::from_secs(1);

/// A collector has so long for what is sent at once, repetitions included. Go: `defaultTimeout` of otlptracegrpc.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where spans go.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    queue: mpsc::Sender<Message>,
}

/// What the task is told.
#[derive(Debug)]
enum Message {
    Span(Box<SpanData>),
    /// Tell when everything before has been sent.
    Flush(oneshot::Sender<()>),
}

impl Traces {
    /// Starts the task that sends, in the runtime that this is called in. Nobody is asked for anything before the first span.
    ///
    /// # Errors
    /// The endpoint is none, or OpenTelemetry's own environment variables, such as `OTEL_EXPORTER_OTLP_HEADERS`, are wrong.
    pub fn start(config: &TraceConfig, statistics: Arc<TraceStatistics>) -> Result<Self, String> {
        let exporter = Otlp::builder().with_tonic().with_endpoint(&config.endpoint).with_timeout(TIMEOUT);
        let mut exporter = exporter.build().map_err(|error| error.to_string())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let instance = host_name().map(|name| KeyValue::new("service.instance.id", name));
        let resource = Resource::builder().with_service_name("countersign");
        let resource = resource.with_attributes(instance.into_iter().chain([version])).build();
        exporter.set_resource(&resource);
        let (queue, spans) = mpsc::channel(MAX_WAITING);
        tokio::spawn(send(exporter, config.endpoint.clone(), spans, Arc::clone(&statistics)));
        let provider = SdkTracerProvider::builder()
            .with_sampler(config.sampler())
            .with_resource(resource)
            .with_span_processor(Queue { queue: queue.clone(), statistics })
            .build();
        Ok(Self { provider, queue })
    }

    /// Whose spans go there.
    pub fn tracer(&self) -> Tracer {
        Tracer::new(&self.provider)
    }

    /// Waits until all that has ended has been sent, or the time is over.
    pub async fn flush(&self, within: Duration) {
        let (tell, told) = oneshot::channel();
        let flushed = async {
            self.queue.send(Message::Flush(tell)).await.ok()?;
            told.await.ok()
        };
        if timeout(within, flushed).await.ok().flatten().is_none() {
            tracing::warn!("the last spans were not sent");
        }
    }
}

/// The end of the queue where spans come from.
#[derive(Debug)]
struct Queue {
    queue: mpsc::Sender<Message>,
    statistics: Arc<TraceStatistics>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.statistics.lost();
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what comes until nobody is left to send anything.
async fn send(
    exporter: Otlp,
    collector: String,
    mut queue: mpsc::Receiver<Message>,
    statistics: Arc<TraceStatistics>,
) {
    let mut is_failing = false;
    while let Some(message) = queue.recv().await {
        let (mut spans, mut flush) = (Vec::new(), None);
        let (deadline, mut next) = (Instant::now() + DELAY, Some(message));
        while let Some(message) = next {
            match message {
                Message::Span(span) => spans.push(*span),
                Message::Flush(tell) => {
                    flush = Some(tell);
                    break;
                }
            }
            next = match spans.len() {
                MAX_BATCH => None,
                _ => timeout_at(deadline, queue.recv()).await.ok().flatten(),
            };
        }
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        if count > 0 {
            let sent = timeout(TIMEOUT, exporter.export(spans)).await;
            let error = match sent {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_elapsed) => Some("no answer in time".to_owned()),
            };
            let failed = error.is_some();
            match failed {
                false => statistics.exported(count),
                true => statistics.failed(count),
            }
            match error {
                None if is_failing => tracing::info!(collector, "the collector takes spans again"),
                Some(error) if !is_failing => {
                    tracing::warn!(collector, error, "the collector takes no spans")
                }
                _ => {}
            }
            is_failing = failed;
        }
        if let Some(tell) = flush {
            let _nobody_waits = tell.send(());
        }
    }
}
