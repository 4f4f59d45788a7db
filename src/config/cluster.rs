//! The cluster whose objects are looked at: `--kubeconfig`, or that in which this runs as a pod.

use std::path::Path;
use std::sync::Arc;

use super::options::option;
use super::values::Values;
use super::{impersonation, service_accounts};
use crate::cluster::{Cluster, Clusters, ConnectionError, Kubeconfig};
use crate::yaml;

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
    // Read here first, so that a file that cannot be read is told of in the same words as every other.
    let file = values.file(option);
    if file.is_none() && !path.is_empty() {
        return None;
    }
    let place = file.as_ref().map_or_else(|| values.place(option), |file| file.place.clone());
    let kubeconfig = match file.map(|file| kubeconfig(&file.bytes, Path::new(&path))).transpose() {
        Ok(kubeconfig) => kubeconfig,
        Err(problem) => {
            values.error(&place, &problem);
            return None;
        }
    };
    match clusters.cluster(kubeconfig.as_ref(), &mut |path| values.read_named(path)) {
        Ok(cluster) => {
            warnings.extend(cluster.warnings().iter().map(|warning| format!("{place}: {warning}")));
            Some(cluster)
        }
        Err(error) => {
            let mut problem = error.to_string();
            if error == ConnectionError::NotInCluster && service_accounts::need_cluster(values) {
                problem += "; or let service account tokens count until they expire, with --service-account-lookup-mode=offline";
            }
            values.error(&place, &problem);
            None
        }
    }
}

/// Whether an authenticator looks at objects, or somebody's rights are asked for.
fn is_needed(values: &mut Values<'_>) -> bool {
    let bootstrap_tokens = values.bool(option("enable-bootstrap-token-auth"));
    let impersonation = impersonation::is_allowed(values);
    service_accounts::need_cluster(values) || bootstrap_tokens || impersonation
}

fn kubeconfig(text: &[u8], path: &Path) -> Result<Kubeconfig, String> {
    let content = yaml::value(text)?;
    Kubeconfig::new(content, path).map_err(|error: ConnectionError| error.to_string())
}
