//! countersign as the program under test: the same request in every encoding, and its verdicts.

use std::path::Path;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use futures_util::future::join_all;
use tonic::transport::Channel;

use super::envoy::{ENCODINGS, Encoding, Request, check_request};
use super::program::Server;
use super::verdict::{Verdict, read};

/// A running server and a connection to it. Ends with the value.
pub(crate) struct Subject {
    client: AuthorizationClient<Channel>,
    server: Server,
}

impl Subject {
    /// Starts `serve` with these flags, and with the encoding of groups that loses nothing.
    pub(crate) async fn start(folder: &Path, flags: &[String]) -> Self {
        let more = ["--groups-encoding=metadata", "--xfcc-trusted-hops=1"].map(str::to_owned);
        Self::of(Server::start(folder, &[flags, &more].concat())).await
    }

    /// One that runs already, with the same encoding of groups and so many trusted hops.
    pub(crate) async fn of(server: Server) -> Self {
        Self { client: server.client().await, server }
    }

    /// Waits until nothing that is fetched at the start is waited for.
    pub(crate) async fn until_ready(&self) {
        self.server.until_ready().await;
    }

    /// Asks in every encoding, all at once, since a webhook may take its time. An error is a reply that Envoy could misread, or none.
    pub(crate) async fn verdicts(&self, request: &Request) -> Vec<(Encoding, Result<Verdict, String>)> {
        let verdict = async |encoding| {
            let verdict = match self.client.clone().check(check_request(request, encoding)).await {
                Ok(response) => read(response.get_ref(), request),
                Err(status) => Err(format!("a gRPC error: {status}")),
            };
            (encoding, verdict)
        };
        join_all(ENCODINGS.map(verdict)).await
    }
}
