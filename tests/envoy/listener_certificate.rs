//! The listener's certificate is renewed as it is on a machine: other files take the names of the old ones.

use std::fs;

use crate::support::{Edge, Setup, certificate, eventually};

const ALICE: &str = "authorization: Bearer alice-token";

/// Between the two renames certificate and key are not of each other; Envoy then goes on with those that were.
#[tokio::test]
async fn a_renewed_certificate_of_the_listener_is_shown_without_a_restart() {
    let stack = Setup::new().start().await;
    let (envoy, directory) = (&stack.envoy, stack.directory());
    let mut connection = envoy.edge.connect1().await;
    let next = tempfile::tempdir_in(directory).unwrap();
    let trusted = certificate::write(next.path());
    let renew = |name| fs::rename(next.path().join(name), directory.join(name)).unwrap();
    let counts = async |name, before| {
        eventually(name, async || (envoy.counted(name).await > before).then_some(())).await;
    };

    renew("certs/server.crt");
    counts("sds.listener.key_rotation_failed", 0).await;
    assert_eq!(envoy.edge.http1(&[ALICE]).await.status, 200);

    let taken = "listener.127.0.0.1_0.server_ssl_socket_factory.ssl_context_update_by_sds";
    let before = envoy.counted(taken).await;
    renew("certs/server.key");
    counts(taken, before).await;
    assert_eq!(Edge::new(envoy.edge.address, &trusted).http1(&[ALICE]).await.status, 200);
    assert_eq!(connection.get(&[ALICE.as_bytes()]).await.unwrap().status, 200, "a connection goes on");
}
