//! `--identity-headers=impersonate`: the upstream is a kube-apiserver that is asked with a token of ours.

use std::path::Path;
use std::sync::Arc;

use super::options::option;
use super::values::Values;
use crate::cluster::{AccessReviews, Cluster, POD_TOKEN};
use crate::impersonation::{Impersonation, UpstreamToken};

/// Whether the identity is told in `Impersonate-*`.
pub(super) fn is_on(values: &mut Values<'_>) -> bool {
    values.choice(option("identity-headers"), &["x-remote", "impersonate"]) == "impersonate"
}

/// Whether clients may send such headers themselves, if the cluster lets them.
pub(super) fn is_allowed(values: &mut Values<'_>) -> bool {
    values.bool(option("allow-impersonation"))
}

/// What it takes, if it is on.
pub(super) fn read(
    values: &mut Values<'_>,
    cluster: Option<&Arc<Cluster>>,
    warnings: &mut Vec<String>,
) -> Option<Impersonation> {
    let allowed = is_allowed(values);
    let file = option("impersonate-token-file");
    if !is_on(values) {
        if allowed {
            let place = values.place(option("allow-impersonation"));
            values.error(&place, "clients may impersonate with --identity-headers=impersonate only");
        }
        if values.is_set(file) {
            warnings.push(format!("{}: nothing uses it without --identity-headers=impersonate", values.place(file)));
        }
        return None;
    }
    for name in NAMES {
        if values.is_set(option(name)) {
            let place = values.place(option(name));
            values.error(&place, "--identity-headers=impersonate has names of its own; remove one of the two");
        }
    }
    let encoding = option("groups-encoding");
    if values.is_set(encoding) && values.text(encoding) != "metadata" {
        let place = values.place(encoding);
        values.error(
            &place,
            "--identity-headers=impersonate needs a line for each group, which metadata alone makes; remove this",
        );
    }
    let token = token(values);
    let reviews = cluster.filter(|_| allowed).map(|cluster| Arc::new(AccessReviews::new(cluster)));
    Some(Impersonation { token: token?, reviews })
}

fn token(values: &mut Values<'_>) -> Option<UpstreamToken> {
    let option = option("impersonate-token-file");
    let place = values.place(option);
    let file = if !values.text(option).is_empty() {
        values.file(option)?
    } else if values.in_cluster_server().is_some() {
        values.read_at(&place, Path::new(POD_TOKEN))?
    } else {
        values.error(
            &place,
            "--identity-headers=impersonate needs a token of ours for the upstream: name its file, or run as a pod, which has one",
        );
        return None;
    };
    match UpstreamToken::new(&file.bytes) {
        Ok(token) => Some(token),
        Err(error) => {
            values.error(&file.place, &error.to_string());
            None
        }
    }
}

/// The options that name the headers of `x-remote`.
const NAMES: [&str; 4] = [
    "identity-user-header",
    "identity-uid-header",
    "identity-group-header",
    "identity-extra-header-prefix",
];
