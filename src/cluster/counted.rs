//! A client whose requests are counted, watches included. Go: `metrics.RequestResult` and `metrics.RequestLatency` of
//! k8s.io/client-go/rest (0.36.3).

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use tower_service::Service;

use crate::metrics::Requests;

/// Passes requests on to a client.
#[derive(Clone)]
struct Counted {
    client: kube::Client,
    host: Arc<str>,
    requests: Arc<Requests>,
}

/// The client of `config`, whose requests are counted in `requests`. They take until the answer begins.
pub(super) fn client(config: &kube::Config, requests: Arc<Requests>) -> Result<kube::Client, kube::Error> {
    let host = config.cluster_url.authority().map_or("", |authority| authority.as_str()).into();
    let counted = Counted { client: kube::Client::try_from(config.clone())?, host, requests };
    Ok(kube::Client::new(counted, config.default_namespace.clone()))
}

impl Service<Request<Body>> for Counted {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, kube::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { client, host, requests } = self.clone();
        let answer = async move {
            let method = request.method().clone();
            let query = request.uri().query().unwrap_or_default();
            // Go: `Request.Watch` counts, but takes no time that would say anything.
            let is_watch = query.split('&').any(|pair| pair == "watch=true");
            let asking = requests.begin(&host, method.as_str(), !is_watch);
            let response = client.send(request).await?;
            asking.answered(response.status().as_u16());
            Ok(response)
        };
        answer.boxed()
    }
}
