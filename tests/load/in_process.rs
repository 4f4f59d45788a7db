//! The program's configuration at work in this process, without a listener.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use countersign::authn::token::jwt::Remote;
use countersign::chain::Members;
use countersign::cluster::Clusters;
use countersign::config::{Config, ReplyConfig, options};
use countersign::envoy::{CheckService, FRAME_HEAD, Snapshot};
use countersign::https::Proxies;
use http::header::{CONTENT_TYPE, TE};
use http_body_util::Full;

use crate::cases::Case;

/// What the flags of a case and its files in `folder` mean. Whoever has to fetch something begins with it.
pub(crate) async fn load(case: &Case, folder: &Path, remote: &Remote) -> (Members, ReplyConfig) {
    // A flag that names one of the files names it from where this process runs.
    let flag = |flag: &&str| match flag.split_once('=') {
        Some((option, file)) if case.files.iter().any(|(name, _)| *name == file) => {
            format!("{option}={}", folder.join(file).display())
        }
        _ => (*flag).to_owned(),
    };
    let words = ["countersign", "serve"].map(str::to_owned).into_iter().chain(case.flags.iter().map(flag));
    let matches = options::command().get_matches_from(words);
    let (_, arguments) = matches.subcommand().unwrap();
    let clusters = Clusters::new(|_, _| None, Arc::default());
    let Config { mut chain, cluster, reply, .. } =
        Config::load(arguments, [], remote, &clusters).config.unwrap();
    if let Some(jwt) = chain.jwt() {
        for keys in jwt.keys() {
            keys.wait_ready(PATIENCE).await.unwrap();
        }
    }
    if let Some(cluster) = cluster {
        tokio::time::timeout(PATIENCE, cluster.synced()).await.unwrap();
    }
    (chain, reply)
}

/// What is fetched, and where it is counted.
pub(crate) fn remote() -> Remote {
    Remote::new(Proxies::from_environment(&[]))
}

/// The service that answers Checks.
pub(crate) async fn service(case: &Case, folder: &Path) -> CheckService {
    let remote = remote();
    let (members, reply) = load(case, folder, &remote).await;
    let snapshot = Snapshot::new(members, reply, Vec::new(), remote.metrics());
    let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
    CheckService::new(snapshot, Arc::clone(remote.metrics()), None)
}

/// A call as it comes from the transport.
pub(crate) fn call(frame: &Bytes) -> http::Request<Full<Bytes>> {
    let request = http::Request::post("http://test/envoy.service.auth.v3.Authorization/Check");
    let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
    request.body(Full::new(frame.clone())).unwrap()
}

/// The message in a frame.
pub(crate) fn message(frame: &Bytes) -> Bytes {
    frame.slice(FRAME_HEAD..)
}

/// Nothing here takes longer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
