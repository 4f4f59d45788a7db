//! What every pod has: where the API server of its cluster is, and a service account to ask it as (Go: `InClusterConfig` of
//! k8s.io/client-go/rest/config.go, but that a missing CA is an error).

use std::ffi::OsString;
use std::path::Path;

use super::values::Values;
use crate::cluster::{Access, Credentials};

/// Where Kubernetes puts a pod's credentials.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where the API server of the cluster is in which this runs as a pod, from the variables that every pod has.
pub(super) fn in_cluster_server(environment: &[(OsString, OsString)]) -> Option<String> {
    let value = |name| {
        let value = environment.iter().find(|(variable, _)| variable == name)?.1.to_str()?;
        (!value.is_empty()).then_some(value)
    };
    let (host, port) = value("KUBERNETES_SERVICE_HOST").zip(value("KUBERNETES_SERVICE_PORT"))?;
    // Go: net.JoinHostPort.
    Some(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}

/// The cluster in which this runs as a pod, for what is written at `place`. None where this is no pod, and then nothing has been said of it.
pub(super) fn access(values: &mut Values<'_>, place: &str) -> Option<Access> {
    access_with(values, place, Path::new(SERVICE_ACCOUNT))
}

fn access_with(values: &mut Values<'_>, place: &str, folder: &Path) -> Option<Access> {
    let server = values.in_cluster_server()?;
    let path = folder.join("token");
    let credentials = match values.read_at(place, &path) {
        Some(file) => Credentials::TokenFile { path, content: file.bytes },
        None => Credentials::None,
    };
    let certificate_authority = values.read_at(place, &folder.join("ca.crt")).map(|file| file.bytes);
    Some(Access { server, credentials, certificate_authority, ..Access::default() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::read_flags_in;
    use super::*;

    /// Go: TestInClusterConfig of k8s.io/client-go/rest/config_test.go.
    #[test]
    fn the_api_server_of_the_cluster_is_where_kubernetes_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        let read = |host: &str, port: &str| {
            let environment = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)];
            let environment = environment.map(|(name, value)| (name.into(), value.into())).to_vec();
            read_flags_in([""; 0], environment, |values| access_with(values, "k", folder.path()))
        };
        write("token", "my-token");
        write("ca.crt", "a CA");
        let expected = |server: &str| Access {
            server: server.to_owned(),
            certificate_authority: Some(b"a CA".to_vec().into()),
            credentials: Credentials::TokenFile {
                path: folder.path().join("token"),
                content: b"my-token".to_vec().into(),
            },
            ..Access::default()
        };
        assert_eq!(read("10.0.0.1", "443"), (Some(expected("https://10.0.0.1:443")), vec![]));
        assert_eq!(read("fd00::1", "6443"), (Some(expected("https://[fd00::1]:6443")), vec![]));
        assert_eq!(read("", "443"), (None, vec![]));
        assert_eq!(read("10.0.0.1", ""), (None, vec![]));
        std::fs::remove_file(folder.path().join("ca.crt")).expect("it was there");
        std::fs::remove_file(folder.path().join("token")).expect("it was there");
        let unreadable = |name: &str| {
            let path = folder.path().join(name);
            format!("k: {}: cannot be read: No such file or directory (os error 2)", path.display())
        };
        assert_eq!(read("10.0.0.1", "443").1, [unreadable("token"), unreadable("ca.crt")]);
    }
}
