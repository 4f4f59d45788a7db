//! The cluster whose objects are looked at: `--kubeconfig`, or that in which this runs as a pod.

use std::path::Path;
use std::sync::Arc;

use super::options::option;
use super::values::Values;
use super::{impersonation, kubeconfig, pod, service_accounts};
use crate::cluster::{AccessError, Cluster, Clusters};

/// The cluster, if anybody needs one.
pub(super) fn read(
    values: &mut Values<'_>,
    clusters: &Clusters,
    warnings: &mut Vec<String>,
) -> Option<Arc<Cluster>> {
    let option = option("kubeconfig");
    let path = values.text(option);
    if !is_needed(values) {
        if !path.is_empty() {
            warnings.push(format!("{}: nothing looks at the cluster", values.place(option)));
        }
        return None;
    }
    let place = values.place(option);
    let (place, access) = if path.is_empty() {
        let Some(access) = pod::access(values, &place) else {
            let mut problem =
                "no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and \
                               KUBERNETES_SERVICE_PORT"
                    .to_owned();
            if service_accounts::need_cluster(values) {
                problem += "; or let service account tokens count until they expire, with --service-account-lookup-mode=offline";
            }
            values.error(&place, &problem);
            return None;
        };
        (place, access)
    } else {
        let file = values.file(option)?;
        let access = kubeconfig::access(values, &file, Path::new(&path), warnings)?;
        (file.place, access)
    };
    let cluster = clusters.cluster(&access);
    let refuse = |error: AccessError| values.error(&format!("{place}: {}", error.field), &error.problem);
    cluster.map_err(refuse).ok()
}

/// Whether an authenticator looks at objects, or somebody's rights are asked for.
fn is_needed(values: &mut Values<'_>) -> bool {
    let bootstrap_tokens = values.bool(option("enable-bootstrap-token-auth"));
    let impersonation = impersonation::is_allowed(values);
    service_accounts::need_cluster(values) || bootstrap_tokens || impersonation
}
