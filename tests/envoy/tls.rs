//! TLS between Envoy and countersign, with certificates on both sides.

use std::fs;

use crate::support::{Authority, Config, Internal, Setup, eventually};

const ALICE: &str = "authorization: Bearer alice-token";

/// What countersign needs; Envoy's part is in `envoy.yaml`.
const FLAGS: [&str; 4] = [
    "--tls-cert-file=countersign.crt",
    "--tls-private-key-file=countersign.key",
    "--tls-client-ca-file=internal-ca.crt",
    "--reload-interval=50ms",
];

fn setup(internal: &Internal) -> Setup {
    let setup = Setup::new().flags(&FLAGS).config(Config::with_tls_to_countersign);
    internal.write(setup.directory());
    setup
}

#[tokio::test]
async fn over_mutual_tls_the_verdicts_are_the_same() {
    let setup = setup(&Internal::new()).flags(&["--tls-allowed-client-names=spiffe://lab/envoy"]);
    let stack = setup.start().await;
    for response in stack.envoy.edge.both(&[ALICE]).await {
        assert_eq!(response.forwarded()[0], "x-remote-user: alice");
    }
    for response in stack.envoy.edge.both(&["authorization: Bearer stranger"]).await {
        assert_eq!(response.status, 401);
    }
}

/// S40: who cannot show its certificate is not answered; an Envoy that is not answered lets nobody in.
#[tokio::test]
async fn an_envoy_that_is_not_let_in_lets_nobody_in() {
    let foreign = {
        let mut internal = Internal::new();
        internal.envoy = Internal::new().envoy;
        setup(&internal)
    };
    let of_another_name = setup(&Internal::new()).flags(&["--tls-allowed-client-names=spiffe://lab/other"]);
    let plaintext = setup(&Internal::new()).config(|_| Config::shipped());
    for setup in [foreign, of_another_name, plaintext] {
        let stack = setup.start().await;
        for lines in [[ALICE].as_slice(), &[], &["X-Remote-User: evil"]] {
            assert_eq!(stack.envoy.edge.http1(lines).await.status, 503);
        }
        assert!(stack.upstream.seen().is_empty());
    }
}

/// The other way round: Envoy tells no credential to a countersign that is not the one it means.
#[tokio::test]
async fn envoy_asks_nobody_but_the_countersign_that_it_trusts() {
    let mut internal = Internal::new();
    internal.countersign = Authority::root("internal").serve("countersign");
    let stack = setup(&internal).start().await;
    assert_eq!(stack.envoy.edge.http1(&[ALICE]).await.status, 503);
    assert!(stack.upstream.seen().is_empty());
}

/// Both certificates of countersign are renewed under load, and nobody notices.
#[tokio::test]
async fn a_certificate_is_renewed_without_a_refused_request() {
    let internal = Internal::new();
    let stack = setup(&internal).start().await;
    for round in 1..=3 {
        let renewed = internal.authority.serve("countersign");
        for (name, text) in [("countersign.crt", &renewed.chain), ("countersign.key", &renewed.key)] {
            let file = stack.directory().join(name);
            fs::write(file.with_extension("new"), text).unwrap();
            fs::rename(file.with_extension("new"), file).unwrap();
            assert_eq!(stack.envoy.edge.http1(&[ALICE]).await.status, 200);
        }
        eventually("the new pair serves", async || {
            assert_eq!(stack.envoy.edge.http1(&[ALICE]).await.status, 200);
            (stack.countersign[0].logged("reloaded") >= round).then_some(())
        })
        .await;
    }
}
