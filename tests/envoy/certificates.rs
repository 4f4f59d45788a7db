//! Client certificates: Envoy takes any and hands it on, countersign verifies it.
//! Go: k8s.io/apiserver/pkg/authentication/request/x509, `CommonNameUserConversion`, and the order of the authenticators in
//! k8s.io/apiserver/pkg/authentication/authenticatorfactory.

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};
use tokio::time::sleep;

use crate::spoofing::{SPOOFS, UNDERSCORES};
use crate::support::{Authority, Certified, Config, Setup, valid};

const ALICE: &str = "authorization: Bearer alice-token";
const STRANGER: &str = "authorization: Bearer stranger";

const AS_ALICE: [&str; 3] =
    ["x-remote-user: alice", "x-remote-uid: alice-uid", "x-remote-group: dev,ops,system:authenticated"];
const AS_NOBODY: [&str; 2] = ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"];

/// What the application sees of a client with this certificate, whose name is `name`.
fn seen_as(name: &str, groups: &str, certificate: &Certified) -> [String; 3] {
    [
        format!("x-remote-user: {name}"),
        format!("x-remote-group: {groups}system:authenticated"),
        format!("x-remote-extra-authentication.kubernetes.io%2fcredential-id: {}", certificate.credential_id),
    ]
}

/// The kinds of keys that Go takes from a client, through Envoy: TestX509 ("common name", "groups").
#[tokio::test]
async fn common_name_and_organizations_are_the_identity_whatever_the_key() {
    let authority = Authority::root("clients");
    let stack = Setup::new().client_certificates(&authority.pem).start().await;
    let edge = &stack.envoy.edge;

    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let erin = authority.certify_with(algorithm, "erin", &["qa", "field"], |_| ());
        for response in edge.holding(&erin).both(&[]).await {
            assert_eq!(response.forwarded(), seen_as("erin", "qa,field,", &erin), "{algorithm:?}");
        }
    }
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P521_SHA512] {
        let erin = authority.certify_with(algorithm, "erin", &["qa", "field"], |_| ());
        let response = edge.http1_by_python(&erin, &[]).await;
        let mut forwarded = response.forwarded();
        forwarded.retain(|line| *line != "connection: close");
        assert_eq!(forwarded, seen_as("erin", "qa,field,", &erin), "{algorithm:?}");
    }
}

/// One line for all groups has no place for a comma, which is common in organizations.
#[tokio::test]
async fn an_organization_with_a_comma_takes_an_encoding_with_a_line_for_each_group() {
    let authority = Authority::root("clients");
    let erin = authority.certify("erin", &["Example, Inc.", "qa"]);
    let [_, _, extra] = seen_as("erin", "", &erin);
    let setup = || Setup::new().client_certificates(&authority.pem);
    let joined = setup().start().await;
    for response in joined.envoy.edge.holding(&erin).both(&[]).await {
        assert_eq!(response.status, 401);
    }
    let indexed = setup().flags(&["--groups-encoding=indexed"]).start().await;
    let metadata = setup().flags(&["--groups-encoding=metadata"]).config(Config::with_lua).start().await;
    let names = [["x-remote-group-1", "x-remote-group-2"], ["x-remote-group", "x-remote-group"]];
    for (stack, [second, third]) in [indexed, metadata].iter().zip(names) {
        let groups = ["x-remote-group: Example, Inc.", &format!("{second}: qa")];
        let more = [&*format!("{third}: system:authenticated"), &extra];
        for response in stack.envoy.edge.holding(&erin).both(&[]).await {
            assert_eq!(response.forwarded(), [&["x-remote-user: erin"], &groups[..], &more].concat());
        }
    }
}

/// Go: the union asks x509 before it asks for tokens, and the first success decides.
#[tokio::test]
async fn a_good_certificate_goes_before_any_token_and_no_certificate_leaves_it_to_the_token() {
    let authority = Authority::root("clients");
    let stack = Setup::new().client_certificates(&authority.pem).start().await;
    let erin = authority.certify("erin", &[]);
    for lines in [[].as_slice(), &[ALICE], &[STRANGER]] {
        for response in stack.envoy.edge.holding(&erin).both(lines).await {
            assert_eq!(response.forwarded(), seen_as("erin", "", &erin), "{lines:?}");
        }
    }
    for response in stack.envoy.edge.both(&[ALICE]).await {
        assert_eq!(response.forwarded(), AS_ALICE);
    }
    for response in stack.envoy.edge.both(&[]).await {
        assert_eq!(response.forwarded(), AS_NOBODY);
    }
    for response in stack.envoy.edge.both(&[STRANGER]).await {
        assert_eq!(response.status, 401);
    }
}

/// Certificates that Envoy hands on like good ones with `ACCEPT_UNTRUSTED`, all of somebody who would like to be an admin.
fn bad_certificates(authority: &Authority) -> Vec<(&'static str, Certified)> {
    let masters = ["system:masters"];
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        authority.certify_with(&PKCS_ECDSA_P256_SHA256, "admin", &masters, change)
    };
    vec![
        ("expired", with(&|params| valid(params, Duration::days(-2), Duration::days(-1)))),
        ("not yet valid", with(&|params| valid(params, Duration::HOUR, Duration::DAY))),
        ("of another CA", Authority::root("others").certify("admin", &masters)),
        ("of another CA with the same name", Authority::root("clients").certify("admin", &masters)),
        (
            "for servers",
            with(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        ("of an unknown intermediate", authority.intermediate("department").certify("admin", &masters)),
    ]
}

/// S30. Go: TestX509 ("expired", "wrong ca", "server cert"), TestUnion: an error is forgotten once another authenticator
/// succeeds, and stops anonymous.
#[tokio::test]
async fn a_bad_certificate_is_a_401_and_a_good_token_makes_up_for_it() {
    let authority = Authority::root("clients");
    let stack =
        Setup::new().client_certificates(&authority.pem).flags(&["--anonymous-auth=true"]).start().await;
    for (what, certificate) in bad_certificates(&authority) {
        let edge = stack.envoy.edge.holding(&certificate);
        let before = stack.upstream.seen().len();
        for lines in [[].as_slice(), &[STRANGER]] {
            for response in edge.both(lines).await {
                assert_eq!(response.status, 401, "{what}: {response:?}");
                assert!(response.body.contains(r#""reason":"Unauthorized""#), "{what}: {response:?}");
            }
        }
        assert_eq!(stack.upstream.seen().len(), before, "{what}");
        for response in edge.both(&[ALICE]).await {
            assert_eq!(response.forwarded(), AS_ALICE, "{what}");
        }
    }
}

/// What passes between two requests, at least.
const PACE: std::time::Duration = std::time::Duration::from_millis(10);

/// Envoy looks at a certificate when a connection begins; countersign remembers what it has verified.
#[tokio::test]
async fn a_certificate_that_expires_on_an_open_connection_is_a_401_from_then_on() {
    let authority = Authority::root("clients");
    let stack = Setup::new().client_certificates(&authority.pem).start().await;
    // The first will do, unless the machine is so slow that it expires before it has been used twice.
    for life in [3, 6, 12, 24] {
        let brief = authority.certify_with(&PKCS_ECDSA_P256_SHA256, "erin", &[], |params| {
            valid(params, Duration::hours(-1), Duration::seconds(life));
        });
        // Certificates know whole seconds, and are good to the end of the last one.
        let from = brief.not_after + Duration::SECOND;
        let mut connection = stack.envoy.edge.holding(&brief).connect1().await;
        let mut accepted = 0;
        let status = loop {
            let began = OffsetDateTime::now_utc();
            let response = connection.get(&[]).await.unwrap();
            if response.status != 200 {
                break response.status;
            }
            assert!(began < from, "accepted at {began}, expired since {from}");
            assert_eq!(response.forwarded(), seen_as("erin", "", &brief));
            accepted += 1;
            sleep(PACE).await;
        };
        assert_eq!(status, 401);
        let now = OffsetDateTime::now_utc();
        assert!(now >= brief.not_after, "refused at {now}, good until {}", brief.not_after);
        if accepted > 1 {
            return;
        }
    }
    panic!("no certificate has ever been good");
}

/// The other way to set Envoy up, as its comments have it.
#[tokio::test]
async fn with_verify_trust_chain_envoy_itself_hangs_up_on_bad_certificates() {
    let authority = Authority::root("clients");
    let stack = Setup::new()
        .client_certificates(&authority.pem)
        .config(|config| {
            let verification = "trust_chain_verification: ACCEPT_UNTRUSTED";
            let trusted = "trusted_ca: { filename: clients.pem }";
            let indent = "\n                  ";
            config
                .with(verification, &format!("{trusted}{indent}trust_chain_verification: VERIFY_TRUST_CHAIN"))
        })
        .start()
        .await;
    for (what, certificate) in bad_certificates(&authority) {
        // Envoy has the intermediate from the client; that countersign has not is the next test's matter.
        if what != "of an unknown intermediate" {
            assert!(stack.envoy.edge.holding(&certificate).hangs_up().await, "{what}");
        }
    }
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
    let erin = authority.certify("erin", &[]);
    for response in stack.envoy.edge.holding(&erin).both(&[]).await {
        assert_eq!(response.forwarded(), seen_as("erin", "", &erin));
    }
    for response in stack.envoy.edge.both(&[]).await {
        assert_eq!(response.forwarded(), AS_NOBODY);
    }
}

/// Go: kube-apiserver takes intermediates from what the client sent. Envoy tells of those in `x-forwarded-client-cert` alone.
#[tokio::test]
async fn intermediate_certificates_count_when_envoy_forwards_them_and_the_application_never_sees_them() {
    let root = Authority::root("clients");
    let department = root.intermediate("department");
    let team = department.intermediate("team");
    let setup = || {
        let setup = Setup::new().client_certificates(&root.pem);
        setup.flags(&["--xfcc-trusted-hops=1"]).config(Config::with_chains)
    };
    let stack = setup().start().await;
    // With a URI in its own certificate, Envoy writes that into the header as well.
    let named = setup().envoy_named("spiffe://mesh/edge").start().await;
    let map = setup().config(Config::with_header_map).start().await;
    // Envoy 1.38 and later.
    let json =
        |config: Config| config.with("cert: true, chain: true }", "cert: true, chain: true, format: JSON }");
    let json = setup().envoy_named("spiffe://mesh/edge").config(json).start().await;
    for (authority, length) in [(&root, 1), (&department, 2), (&team, 3)] {
        let erin = authority.certify("erin", &["qa"]);
        assert_eq!(erin.chain.matches("BEGIN").count(), length);
        for edge in [&stack.envoy.edge, &named.envoy.edge, &map.envoy.edge, &json.envoy.edge] {
            for response in edge.holding(&erin).both(&[]).await {
                assert_eq!(response.forwarded(), seen_as("erin", "qa,", &erin), "a chain of {length}");
            }
        }
    }
    // In whatever order they come (Go: a pool), but they have to lead to the root.
    let erin = team.certify("erin", &[]);
    let turned = Certified { chain: format!("{}{}{}", erin.leaf, department.pem, team.pem), ..erin.clone() };
    for response in stack.envoy.edge.holding(&turned).both(&[]).await {
        assert_eq!(response.forwarded(), seen_as("erin", "", &erin));
    }
    let gap = Certified { chain: format!("{}{}", erin.leaf, department.pem), ..erin };
    let other = Authority::root("others").intermediate("department").certify("erin", &[]);
    for (what, certificate) in [("a gap", gap), ("another root", other)] {
        for response in stack.envoy.edge.holding(&certificate).both(&[]).await {
            assert_eq!(response.status, 401, "{what}");
        }
    }
    for response in stack.envoy.edge.both(&[]).await {
        assert_eq!(response.forwarded(), AS_NOBODY);
    }
}

/// Without the chain only what the CAs of the bundle signed themselves can be verified.
#[tokio::test]
async fn intermediate_certificates_do_not_count_when_either_side_leaves_them_out() {
    let root = Authority::root("clients");
    let (direct, below) = (root.certify("erin", &[]), root.intermediate("department").certify("erin", &[]));
    let neither = Setup::new().client_certificates(&root.pem);
    let only_countersign = Setup::new().client_certificates(&root.pem).flags(&["--xfcc-trusted-hops=1"]);
    for (what, setup) in [("neither", neither), ("only countersign", only_countersign)] {
        let stack = setup.start().await;
        for response in stack.envoy.edge.holding(&below).both(&[]).await {
            assert_eq!(response.status, 401, "{what}");
        }
        for response in stack.envoy.edge.holding(&direct).both(&[]).await {
            assert_eq!(response.forwarded(), seen_as("erin", "", &direct), "{what}");
        }
    }
}

/// Go: every certificate of the bundle is a root, whether it signed itself or not.
#[tokio::test]
async fn an_intermediate_certificate_in_the_bundle_needs_no_chain() {
    let root = Authority::root("clients");
    let department = root.intermediate("department");
    let (below, beside) = (department.certify("erin", &[]), root.intermediate("others").certify("erin", &[]));
    let bundle = format!("{}{}", root.pem, department.pem);
    let stack = Setup::new().client_certificates(&bundle).start().await;
    for response in stack.envoy.edge.holding(&below).both(&[]).await {
        assert_eq!(response.forwarded(), seen_as("erin", "", &below));
    }
    for response in stack.envoy.edge.holding(&beside).both(&[]).await {
        assert_eq!(response.status, 401);
    }
}

/// S29 and the like: whatever a client says in `x-forwarded-client-cert`, Envoy drops or replaces it, and what is
/// forwarded in spite of that does not fit the certificate that the client has.
#[tokio::test]
async fn a_forwarded_certificate_of_the_clients_own_making_never_counts() {
    let root = Authority::root("clients");
    let admin = root.certify("admin", &["system:masters"]).forwarded();
    let erin = root.certify("erin", &[]);
    let underscores = admin.replace("X-Forwarded-Client-Cert", "X_Forwarded_Client_Cert");
    let hop = ["--xfcc-trusted-hops=1"];
    let setup = || Setup::new().client_certificates(&root.pem);
    let ways = [
        ("SANITIZE", setup()),
        ("SANITIZE, one hop", setup().flags(&hop)),
        ("SANITIZE_SET, one hop", setup().flags(&hop).config(Config::with_chains)),
        (
            "SANITIZE_SET, one hop, alone",
            setup().flags(&hop).config(Config::with_chains).config(Config::without_early_defences),
        ),
    ];
    for (what, setup) in ways {
        let stack = setup.start().await;
        let (nobody, holder) = (&stack.envoy.edge, stack.envoy.edge.holding(&erin));
        let mut attempts =
            vec![vec![&*admin], vec![&admin, &admin], vec!["X-Forwarded-Client-Cert: nonsense"]];
        if what.ends_with("alone") {
            attempts.push(vec![&underscores, "x_forwarded_client-cert: nonsense"]);
        }
        for lines in &attempts {
            for response in nobody.both(lines).await {
                assert_eq!(response.forwarded(), AS_NOBODY, "{what}");
            }
            for response in holder.both(lines).await {
                assert_eq!(response.forwarded(), seen_as("erin", "", &erin), "{what}");
            }
        }
    }
}

/// Envoy set up against the advice of its comments: what the client says stands before, or in place of, what Envoy says.
#[tokio::test]
async fn a_forwarded_certificate_that_envoy_lets_pass_is_a_401_for_a_client_with_another() {
    let root = Authority::root("clients");
    let admin = root.certify("admin", &["system:masters"]).forwarded();
    let erin = root.certify("erin", &[]);
    for mode in ["APPEND_FORWARD", "FORWARD_ONLY"] {
        let stack = Setup::new()
            .client_certificates(&root.pem)
            .flags(&["--xfcc-trusted-hops=1"])
            .config(|config| config.with("_details: SANITIZE #", &format!("_details: {mode} #")))
            .start()
            .await;
        for response in stack.envoy.edge.holding(&erin).both(&[&admin]).await {
            assert_eq!(response.status, 401, "{mode}");
        }
        for response in stack.envoy.edge.both(&[&admin]).await {
            assert_eq!(response.forwarded(), AS_NOBODY, "{mode}");
        }
        assert_eq!(stack.upstream.seen().len(), 2, "{mode}");
    }
}

/// A certificate is no secret: to show somebody's in a header is not to hold its key.
#[tokio::test]
async fn a_forwarded_certificate_without_one_in_tls_is_a_401() {
    let root = Authority::root("clients");
    let admin = root.certify("admin", &["system:masters"]).forwarded();
    let stack = Setup::new()
        .client_certificates(&root.pem)
        .flags(&["--xfcc-trusted-hops=1"])
        .config(|config| config.with("_details: SANITIZE #", "_details: ALWAYS_FORWARD_ONLY #"))
        .start()
        .await;
    for response in stack.envoy.edge.both(&[&admin]).await {
        assert_eq!(response.status, 401);
    }
    assert_eq!(stack.upstream.seen().len(), 0);
}

/// S29: in these parts of the header a client's certificate can write what it likes, so none of it is read.
#[tokio::test]
async fn a_forwarded_certificate_with_more_about_it_than_the_chain_is_a_401() {
    let root = Authority::root("clients");
    // Envoy writes no `DNS=` for a certificate without a name of that kind.
    let erin = root.certify_with(&PKCS_ECDSA_P256_SHA256, "erin", &[], |params| {
        params.subject_alt_names = vec![SanType::DnsName("erin.test".try_into().unwrap())];
    });
    for part in ["uri", "dns", "subject"] {
        let stack = Setup::new()
            .client_certificates(&root.pem)
            .flags(&["--xfcc-trusted-hops=1"])
            .config(Config::with_chains)
            .config(|config| {
                config.with("cert: true, chain: true }", &format!("cert: true, chain: true, {part}: true }}"))
            })
            .start()
            .await;
        for response in stack.envoy.edge.holding(&erin).both(&[]).await {
            assert_eq!(response.status, 401, "{part}");
        }
        for response in stack.envoy.edge.both(&[]).await {
            assert_eq!(response.forwarded(), AS_NOBODY, "{part}");
        }
    }
}

/// S1, S2, S13, S16 by a client with an ordinary certificate: through the shipped wiring, and without anything in front that
/// could have hidden a gap.
#[tokio::test]
async fn made_up_identity_of_a_client_with_a_certificate_does_not_pass() {
    let root = Authority::root("clients");
    let erin = root.certify("erin", &["qa"]);
    let setup = || Setup::new().client_certificates(&root.pem);
    let shipped = setup().start().await;
    let alone = setup().config(|config| config.without_early_defences()).start().await;

    for (stack, spoofs) in [(&shipped, SPOOFS.to_vec()), (&alone, [&SPOOFS[..], &UNDERSCORES].concat())] {
        let edge = stack.envoy.edge.holding(&erin);
        let mut attempts: Vec<Vec<&str>> = spoofs.iter().map(|&spoof| vec![spoof]).collect();
        attempts.push(spoofs.clone());
        attempts.push([&spoofs[..], &[ALICE]].concat());
        attempts.push(vec!["x-remote-extra-authentication.kubernetes.io%2fcredential-id: X509SHA256=00"]);
        for attempt in attempts {
            for response in edge.both(&attempt).await {
                assert_eq!(response.forwarded(), seen_as("erin", "qa,", &erin), "{attempt:?}");
            }
        }
    }
}
