//! A collector of OpenTelemetry's, as far as spans go, in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::port::hold;

/// A span, and whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Collected {
    /// Attributes of the resource.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) span: Span,
}

impl Collected {
    pub(crate) fn service(&self) -> &str {
        &self.resource["service.name"]
    }
}

/// In hexadecimal, as in `traceparent`.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Default)]
struct Shelf {
    spans: Mutex<Vec<Collected>>,
    is_wedged: Mutex<bool>,
}

/// At a port of its own, where connections are refused until it is up.
pub(crate) struct Collector {
    pub(crate) port: u16,
    shelf: Arc<Shelf>,
    held: Option<TcpSocket>,
    serving: Option<JoinHandle<()>>,
}

impl Collector {
    pub(crate) fn down() -> Self {
        let held = hold(0);
        let port = held.local_addr().unwrap().port();
        Self { port, shelf: Arc::default(), held: Some(held), serving: None }
    }

    pub(crate) fn up() -> Self {
        let mut collector = Self::down();
        collector.come_up();
        collector
    }

    pub(crate) fn come_up(&mut self) {
        let listener: TcpListener = self.held.take().unwrap().listen(64).unwrap();
        let service = TraceServiceServer::new(Service(Arc::clone(&self.shelf)));
        let serving = Server::builder().add_service(service);
        self.serving = Some(tokio::spawn(async move {
            serving.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        }));
    }

    /// From now on it takes what comes and does not answer.
    pub(crate) fn wedge(&self) {
        *self.shelf.is_wedged.lock().unwrap() = true;
    }

    /// What has come so far.
    pub(crate) fn spans(&self) -> Vec<Collected> {
        self.shelf.spans.lock().unwrap().clone()
    }

    /// The file that sends spans here.
    pub(crate) fn configuration(&self, sampling_rate_per_million: u32) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: 127.0.0.1:{}\n\
             samplingRatePerMillion: {sampling_rate_per_million}\n",
            self.port
        )
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

struct Service(Arc<Shelf>);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if *self.0.is_wedged.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        for of_resource in request.into_inner().resource_spans {
            let resource = texts(of_resource.resource.unwrap_or_default().attributes);
            for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
                let (resource, attributes) = (resource.clone(), texts(span.attributes.clone()));
                self.0.spans.lock().unwrap().push(Collected { resource, attributes, span });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::ArrayValue(items)) => {
            items.values.into_iter().map(|item| text(Some(item))).collect::<Vec<_>>().join("; ")
        }
        other => format!("{other:?}"),
    }
}
