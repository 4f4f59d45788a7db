//! `--identity-headers=impersonate`: the upstream is a kube-apiserver that is asked with a token of ours.

use std::path::Path;
use std::sync::Arc;

use super::options::option;
use super::pod;
use super::values::Values;
use crate::cluster::{AccessReviews, Cluster};
use crate::impersonation::{Impersonation, UpstreamToken};
use crate::metrics::ImpersonationStatistics;

/// Whether the identity is told in `Impersonate-*`.
pub(super) fn is_on(values: &mut Values<'_>) -> bool {
    values.choice(option("identity-headers"), &["x-remote", "impersonate"]) == "impersonate"
}

/// Whether clients may send such headers themselves, if the cluster lets them.
pub(super) fn is_allowed(values: &mut Values<'_>) -> bool {
    values.bool(option("allow-impersonation"))
}

/// What it takes, if it is on, or on for some routes (`by_profile`). Whom clients ask for is counted in `statistics`.
pub(super) fn read(
    values: &mut Values<'_>,
    cluster: Option<&Arc<Cluster>>,
    statistics: &Arc<ImpersonationStatistics>,
    by_profile: bool,
    warnings: &mut Vec<String>,
) -> Option<Impersonation> {
    let allowed = is_allowed(values);
    let file = option("impersonate-token-file");
    let is_on = is_on(values);
    if !is_on && !by_profile {
        if allowed {
            let place = values.place(option("allow-impersonation"));
            values.error(&place, "clients may impersonate with --identity-headers=impersonate only");
        }
        if values.is_set(file) {
            warnings.push(format!(
                "{}: nothing uses it without --identity-headers=impersonate",
                values.place(file)
            ));
        }
        return None;
    }
    for name in NAMES {
        if is_on && values.is_set(option(name)) {
            let place = values.place(option(name));
            values
                .error(&place, "--identity-headers=impersonate has names of its own; remove one of the two");
        }
    }
    let encoding = option("groups-encoding");
    if is_on && values.is_set(encoding) && values.text(encoding) != "metadata" {
        let place = values.place(encoding);
        values.error(
            &place,
            "--identity-headers=impersonate needs a line for each group, which metadata alone makes; remove this",
        );
    }
    let token = token(values);
    let reviews = cluster.filter(|_| allowed);
    let reviews = reviews.map(|cluster| Arc::new(AccessReviews::new(cluster, Arc::clone(statistics))));
    Some(Impersonation { token: token?, reviews })
}

fn token(values: &mut Values<'_>) -> Option<UpstreamToken> {
    let option = option("impersonate-token-file");
    let place = values.place(option);
    let file = if !values.text(option).is_empty() {
        values.file(option)?
    } else if values.in_cluster_server().is_some() {
        values.read_at(&place, &Path::new(pod::SERVICE_ACCOUNT).join("token"))?
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
const NAMES: [&str; 4] =
    ["identity-user-header", "identity-uid-header", "identity-group-header", "identity-extra-header-prefix"];

#[cfg(test)]
mod tests {
    use super::super::tests::{errors, file, load, read_flags_in};
    use super::*;
    use crate::config::GroupsEncoding;

    const ANONYMOUS: &str = "--anonymous-auth=true";
    const ON: &str = "--identity-headers=impersonate";
    const KUBECONFIG: &str = "current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
";

    #[test]
    fn a_token_is_all_that_it_takes() {
        let (_folder, token) = file("ours\n");
        let config = load(&[ANONYMOUS, ON, "--impersonate-token-file", &token], &[]).expect("good");
        let impersonation = config.reply.impersonation.expect("on");
        assert_eq!(impersonation.token.authorization(), "Bearer ours");
        assert!(impersonation.reviews.is_none() && config.cluster.is_none());
        assert_eq!(config.reply.headers.user, "impersonate-user");
        assert_eq!(config.reply.headers.extra_prefix, "impersonate-extra-");
        assert_eq!(config.reply.groups_encoding, GroupsEncoding::Metadata);

        let said = ["--groups-encoding=metadata", "--identity-headers=x-remote"];
        let config =
            load(&[ANONYMOUS, said[0], said[1], "--impersonate-token-file", "/none"], &[]).expect("good");
        assert!(config.reply.impersonation.is_none());
        assert_eq!(
            config.warnings,
            ["--impersonate-token-file: nothing uses it without --identity-headers=impersonate"]
        );
    }

    #[test]
    fn clients_may_impersonate_where_there_is_a_cluster_to_ask() {
        let ((_a, token), (_b, kubeconfig)) = (file("ours"), file(KUBECONFIG));
        let flags = [ANONYMOUS, ON, "--allow-impersonation", "--impersonate-token-file", &token];
        let config = load(&[&flags[..], &["--kubeconfig", &kubeconfig]].concat(), &[]).expect("good");
        let reviews = config.reply.impersonation.and_then(|impersonation| impersonation.reviews);
        assert_eq!(format!("{reviews:?}"), "Some(AccessReviews(Cluster(https://127.0.0.1:1/)))");
        assert!(config.cluster.is_some());
        let no_cluster = "--kubeconfig: no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and \
                          KUBERNETES_SERVICE_PORT";
        assert_eq!(errors(&flags, &[]), [no_cluster]);
        assert_eq!(
            errors(&[ANONYMOUS, "--allow-impersonation", "--kubeconfig", &kubeconfig], &[]),
            ["--allow-impersonation: clients may impersonate with --identity-headers=impersonate only"]
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_nothing_of_the_token() {
        let (_folder, token) = file("hunter2 hunter2");
        let names = [
            "--groups-encoding=joined",
            "--dynamic-metadata=false",
            "--identity-user-header=X-User",
            "--identity-extra-header-prefix=X-Extra-",
            "--allow-impersonation",
        ];
        let flags = [&[ANONYMOUS, ON, "--impersonate-token-file", &token], &names[..]].concat();
        let own = "--identity-headers=impersonate has names of its own; remove one of the two";
        let no_cluster = "--kubeconfig: no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and \
                          KUBERNETES_SERVICE_PORT";
        assert_eq!(
            errors(&flags, &[]),
            [
                no_cluster.to_owned(),
                format!("--identity-user-header: {own}"),
                format!("--identity-extra-header-prefix: {own}"),
                "--groups-encoding: --identity-headers=impersonate needs a line for each group, which metadata alone makes; \
                 remove this"
                    .to_owned(),
                format!(
                    "--impersonate-token-file: {token}: must hold one token: letters, digits and punctuation, with no white \
                     space or line end within"
                ),
                "--groups-encoding: metadata: groups travel as dynamic metadata, which --dynamic-metadata=false turns off"
                    .to_owned(),
            ]
        );
        let (_folder, empty) = file("\n");
        assert_eq!(
            errors(&[ANONYMOUS, ON, "--impersonate-token-file", &empty], &[]),
            [format!(
                "--impersonate-token-file: {empty}: is empty; it must hold the token of an account that may impersonate"
            )]
        );
        assert_eq!(
            errors(&[ANONYMOUS, ON, "--impersonate-token-file", "/none"], &[]),
            ["--impersonate-token-file: /none: cannot be read: No such file or directory (os error 2)"]
        );
        assert_eq!(
            errors(&[ANONYMOUS, ON], &[]),
            [
                "--impersonate-token-file: --identity-headers=impersonate needs a token of ours for the upstream: name its file, or \
              run as a pod, which has one"
            ]
        );
        assert_eq!(
            errors(&[ANONYMOUS, "--identity-headers=Impersonate"], &[]),
            ["--identity-headers: \"Impersonate\": must be one of x-remote, impersonate"]
        );
    }

    /// As a pod, whose file is not there in a test.
    #[test]
    fn a_pod_has_a_token() {
        let environment = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
        let environment = environment.map(|(name, value)| (name.into(), value.into())).to_vec();
        let (_none, told) = read_flags_in([ON], environment, |values| {
            read(values, None, &Arc::default(), false, &mut Vec::new()).is_none()
        });
        assert_eq!(
            told,
            [
                "--impersonate-token-file: /var/run/secrets/kubernetes.io/serviceaccount/token: cannot be read: No such file or \
              directory (os error 2)"
            ]
        );
    }
}
